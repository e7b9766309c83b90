package e2e_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/tests/built"
)

// command runs a command of ours with nothing but tasker-server's address.
func command(t *testing.T, args ...string) (output string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = built.Environ("TASKER_ORCHESTRATION_URL=" + shared.ServerURL())
	text, err := cmd.CombinedOutput()
	require.NotNil(t, cmd.ProcessState, err)
	return string(text), cmd.ProcessState.ExitCode()
}

func TestTheCommandsAskATaskerServer(t *testing.T) {
	p := newProject(t, shared, "commanded", chain(2, "steps.Work")...)
	p.template("failing", "{name: one, handler: {callable: steps.Failing}, retry: {retryable: false, max_attempts: 1}}")
	p.template("blocking", chain(1, "steps.Gate")...)
	worker := p.worker().REST.URL
	done := p.create("flow", nil)
	p.requireDone([]string{done})
	failed := p.create("failing", map[string]any{"failures": 100, "permanent": true})
	p.awaitNumber(1, "SELECT count(*) FROM tasker.task_transitions WHERE most_recent AND to_state = 'blocked_by_failures' AND task_uuid = $1", failed)
	blocking := p.create("blocking", nil)
	p.awaitNotes("entered", 1)
	var entry string
	require.NoError(t, p.DB().QueryRow(t.Context(), `INSERT INTO tasker.tasks_dlq (task_uuid, original_state, dlq_reason, task_snapshot)
		VALUES ($1, 'blocked_by_failures', 'manual_dlq', '{"steps": 1}') RETURNING dlq_entry_uuid`, failed).Scan(&entry))

	for _, c := range []struct {
		args string
		says string
		code int
	}{
		{args: "task create -n commanded --name flow --input @input.json", says: "input.json", code: 2},
		{args: "task create -n commanded --name flow --input {\"notes\":\"" + p.notes + "\"}", says: "initiator       tasker-ctl (cli)"},
		{args: "task get " + done, says: "status          complete"},
		{args: "task list -n commanded", says: done},
		{args: "task list -n commanded -s completed", says: done},
		{args: "task list -n commanded -s complete", says: `tasker-server lists tasks that are completed or pending, not "complete"`, code: 2},
		{args: "task watch --progress none " + done, says: "complete"},
		{args: "task watch --progress none " + failed, says: "blocked_by_failures", code: 1},
		{args: "task graph " + done, says: "two"},
		{args: "task graph --format mermaid " + done, says: "one --> two"},
		{args: "task graph --format svg " + done, says: "<svg"},
		{args: "task graph --format dot " + done, says: "digraph"},
		{args: "task graph --format json " + done, says: `"created_at"`},
		{args: "task visualize " + failed, says: "blocked_by_failures"},
		{args: "task steps " + done, says: "1 of 1 complete"},
		{args: "task step " + done + " one", says: "state           complete"},
		{args: "task step " + done + " ome", says: `did you mean "one"?`, code: 2},
		{args: "task step-audit " + done + " one", says: "enqueued_for_orchestration"},
		{args: "task reset-step " + failed + " one --reason again", says: "step one is pending"},
		{args: "task resolve-step " + failed + " one --reason enough", says: "step one is resolved_manually"},
		{args: "task complete-step " + done + " one --reason late --result {}", says: "complete"},
		{args: "dlq staleness", says: blocking},
		{args: "task cancel " + blocking, says: "task " + blocking + " is cancelled"},
		{args: "task cancel " + done, says: "cancel task: ", code: 2},
		{args: "dlq list", says: entry},
		{args: "dlq get " + failed, says: "blocked_by_failures"},
		{args: "dlq get " + done, says: "DLQ entry not found", code: 2},
		{args: "dlq stats", says: "manual"},
		{args: "dlq queue", says: failed},
		{args: "dlq update " + entry + " --status manually_resolved --notes seen --resolved-by me", says: "dead-letter entry " + entry},
		{args: "dlq list --status manually_resolved", says: "me"},
		{args: "template list", says: "commanded"},
		{args: "template show commanded/flow", says: "up to 100"},
		{args: "template graph commanded/flow", says: "name the template's file instead", code: 2},
		{args: "system health", says: "orchestration at " + shared.ServerURL()},
		{args: "system info", says: "orchestration  healthy"},
		{args: "worker list", says: "no worker at " + shared.ServerURL(), code: 2},
		{args: "worker status", says: "no worker at " + shared.ServerURL(), code: 2},
		{args: "worker health", says: "no worker at " + shared.ServerURL(), code: 2},
		{args: "worker list -n commanded --url " + worker, says: "commanded"},
		{args: "worker status --url " + worker, says: "worker at " + worker},
		{args: "worker health --url " + worker, says: "commanded"},
		{args: "system health --workers --url " + worker, says: "worker at " + worker},
	} {
		output, code := command(t, strings.Fields(c.args)...)
		assert.Equal(t, c.code, code, "%s\n%s", c.args, output)
		assert.Contains(t, output, c.says, c.args)
		if _, refusal, _ := strings.Cut(output, "taskerpy: "); c.code == 2 {
			assert.Equal(t, 1, strings.Count(refusal, "\n"), output)
		}
	}
	p.awaitNotes("ran", 5) // those of the task that was created here are done, too
	p.open()
}
