package commands_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/engine"
)

// failing runs a command line that must fail with this exit code, and gives
// what it prints and why it failed.
func (s *shop) failing(code int, args ...string) (out, why string) {
	s.t.Helper()
	out, _, err := run(s.t, "", append(args, "--url", s.url)...)
	require.Error(s.t, err)
	var coded interface{ ExitCode() int }
	require.ErrorAs(s.t, err, &coded)
	require.Equal(s.t, code, coded.ExitCode(), err.Error())
	require.NotContains(s.t, err.Error(), "\n")
	return out, err.Error()
}

func TestAStepIsResetResolvedAndCompletedFromTheCommandLine(t *testing.T) {
	t.Parallel()
	for verb, c := range map[string]struct {
		flags []string
		says  string
		by    string
	}{
		"reset-step":    {[]string{"-b", "ada"}, "step check_order is enqueued\n", "ada"},
		"resolve-step":  {nil, "step check_order is resolved_manually\n", "cli-operator"},
		"complete-step": {[]string{"--result", `{"ok": true}`, "--metadata", `{"ticket": 7}`, "--completed-by", "ada"}, "step check_order is complete\n", "ada"},
	} {
		s := open(t)
		task := s.create(`{"order_id": 1}`)
		s.work(task, "check_order")
		out := s.ask(append([]string{"task", verb, task, "check_order", "-r", "stock is back"}, c.flags...)...)
		require.Equal(t, c.says, out)
		s.work(task, "")
		require.Contains(t, s.ask("task", "get", task), "status          complete")
		if verb == "complete-step" {
			shown := s.ask("task", "step", task, "check_order", "--output", "json")
			require.Contains(t, shown, `"completed_by": "ada"`)
			require.Contains(t, shown, `"ticket": 7`)
			require.Contains(t, shown, `"completion_reason": "stock is back"`)
		}
	}
}

func TestAStepMayBeNamedByItsUUIDAndTheAnswerShownAsJSON(t *testing.T) {
	t.Parallel()
	s := open(t)
	task := s.create(`{"order_id": 1}`)
	s.work(task, "check_order")
	var step engine.Step
	require.NoError(t, json.Unmarshal([]byte(s.ask("task", "step", task, "check_order", "-o", "json")), &step))
	out := s.ask("task", "resolve-step", task, step.StepUUID.String(), "-r", "done by hand", "--output", "json")
	require.NoError(t, json.Unmarshal([]byte(out), &step))
	require.Equal(t, "resolved_manually", step.CurrentState)
}

func TestAResultMayComeFromAFileOrStandardInput(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "result.json")
	require.NoError(t, os.WriteFile(file, []byte(`["from a file"]`), 0o600))
	for argument, want := range map[string]string{"@" + file: "from a file", "-": "from standard input", `"itself"`: "itself"} {
		s := open(t)
		task := s.create(`{"order_id": 1}`)
		s.work(task, "check_order")
		_, _, err := run(t, `{"text": "from standard input"}`, "task", "complete-step", task, "check_order", "-r", "r", "--result", argument, "--url", s.url)
		require.NoError(t, err)
		require.Contains(t, s.ask("task", "step", task, "check_order"), want)
	}
}

func TestOperationsThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	s := open(t)
	task := s.create(`{"order_id": 1}`)
	for want, args := range map[string][]string{
		"task reset-step: --reason is missing": {"reset-step", task, "check_order"},
		"did you mean \"check_order\"?":        {"reset-step", task, "chek_order", "-r", "r"},
		"reset step: a step in state":          {"reset-step", task, "check_order", "-r", "r"},
		"--result is missing":                  {"complete-step", task, "check_order", "-r", "r"},
		"--result: --result is not JSON":       {"complete-step", task, "check_order", "-r", "r", "--result", "{"},
		"--metadata: --metadata is not JSON":   {"complete-step", task, "check_order", "-r", "r", "--result", "1", "--metadata", "{"},
		"no such file":                         {"complete-step", task, "check_order", "-r", "r", "--result", "@/nowhere.json"},
		"task resolve-step: STEP is missing":   {"resolve-step", task},
		"is not the UUID of a task":            {"resolve-step", "seven", "check_order", "-r", "r"},
	} {
		_, why := s.failing(2, append([]string{"task"}, args...)...)
		require.Contains(t, why, want)
	}
}

func TestTheAuditOfAStepIsNumbered(t *testing.T) {
	t.Parallel()
	s := open(t)
	task := s.create(`{"order_id": 1}`)
	require.Equal(t, "no finished attempts\n", s.ask("task", "step-audit", task, "check_order"))
	s.work(task, "check_order")
	require.Equal(t, text(`
#  RECORDED  SUCCESS  TOOK  TO                                   WORKER  ERROR
1  TIME      no       0 ms  enqueued_as_error_for_orchestration  -       PermanentError: no stock
`), still(columns(s.ask("task", "step-audit", task, "check_order"))))
	var all []engine.StepAudit
	require.NoError(t, json.Unmarshal([]byte(s.ask("task", "step-audit", task, "check_order", "--output", "json")), &all))
	require.Len(t, all, 1)
}

// columns makes the times as wide as what stands for them.
func columns(out string) string {
	return strings.ReplaceAll(times.ReplaceAllString(out, "TIME    "), "RECORDED              ", "RECORDED  ")
}

func TestATaskIsDrawnInEveryFormat(t *testing.T) {
	t.Parallel()
	s := open(t)
	task := s.create(`{"order_id": 1}`)
	s.work(task, "close_order")
	require.Equal(t, text(`
shop/order_intake@1.2.0
check_order: complete
└─ close_order: error
`), s.ask("task", "graph", task))
	for format, want := range map[string]string{
		"mermaid": `close_order["close_order"]:::error`, "svg": "<svg ", "dot": "digraph", "json": `"current_state": "error"`,
		"markdown": "## Step Details",
	} {
		require.Contains(t, s.ask("task", "graph", task, "-f", format), want, format)
		require.Contains(t, s.ask("task", "visualize", task, "--format", format), want, format)
	}
	_, why := s.failing(2, "task", "graph", task, "--format", "png")
	require.Contains(t, why, `"png" is none of text, mermaid, svg, dot, markdown, json`)
}

func TestVisualizeDescribesATaskAsMarkdown(t *testing.T) {
	t.Parallel()
	s := open(t)
	task := s.create(`{"order_id": 1}`)
	s.work(task, "close_order")
	out := still(s.ask("task", "visualize", task, "--base-url", "http://tasks.example/"))
	require.Contains(t, out, text(`
# order_intake

- **Task**: UUID
- **Namespace**: shop
- **Version**: 1.2.0
- **Status**: blocked_by_failures
- **Completion**: 1 of 2 steps (50%)
- **Health**: blocked
- **Elapsed**: `))
	require.Contains(t, out, "- **DLQ**: no\n\n```mermaid\ngraph TD\n")
	require.Contains(t, out, "    check_order --> close_order\n```\n")
	require.Regexp(t, `\| check_order \| Standard \| shop\.Check \| complete \| [^|]+ \| 1/4 \| — \| \[step\]\(http://tasks\.example/v1/tasks/UUID/workflow_steps/UUID\) \|`, out)
	require.Contains(t, out, "| close_order | Standard | shop.Close | error | — | 1/3 | PermanentError | [step]")
	require.Contains(t, s.ask("task", "visualize", task), "| PermanentError | — |")

	bare := s.ask("task", "visualize", task, "--graph-only")
	require.True(t, strings.HasPrefix(bare, "graph TD\n"))
	file := filepath.Join(t.TempDir(), "task.md")
	require.Empty(t, s.ask("task", "visualize", task, "--graph-only", "-o", file))
	written, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, bare, string(written))
}

func TestATaskIsWatchedToItsEnd(t *testing.T) {
	t.Parallel()
	s := open(t)
	task := s.create(`{"order_id": 1}`)
	s.work(task, "")
	out, progress, err := run(t, "", "task", "watch", task, "--progress", "plain", "--url", s.url)
	require.NoError(t, err)
	require.Contains(t, out, "status          complete")
	require.Contains(t, progress, "check_order")
	require.Contains(t, progress, "close_order")
}

func TestAWatchedTaskShowsWhatHappens(t *testing.T) {
	t.Parallel()
	s := open(t)
	task := s.create(`{"order_id": 1}`)
	type ended struct {
		out, progress string
		err           error
	}
	done := make(chan ended, 1)
	go func() {
		out, progress, err := run(t, "", "task", "watch", task, "-o", "json", "--progress", "plain", "--url", s.url)
		done <- ended{out, progress, err}
	}()
	s.work(task, "close_order")
	e := <-done
	var failed interface{ ExitCode() int }
	require.ErrorAs(t, e.err, &failed)
	require.Equal(t, 1, failed.ExitCode())
	require.ErrorContains(t, e.err, "task shop/order_intake@1.2.0: blocked_by_failures: step close_order failed: ")
	require.ErrorContains(t, e.err, "stock")
	var end engine.Task
	require.NoError(t, json.Unmarshal([]byte(e.out), &end))
	require.Equal(t, "blocked_by_failures", end.Status)
	require.Contains(t, e.progress, "close_order")
}

func TestACancelledTaskIsNoSuccess(t *testing.T) {
	t.Parallel()
	s := open(t)
	task := s.create(`{"order_id": 1}`)
	require.Contains(t, s.ask("task", "cancel", task), "is cancelled")
	out, why := s.failing(1, "task", "watch", task)
	require.Contains(t, out, "status          cancelled")
	require.Equal(t, "task shop/order_intake@1.2.0: cancelled", why)
}

const deadLetter = `{"dlq_entry_uuid": "0190d0a0-0000-7000-8000-00000000000a", "task_uuid": "0190d0a0-0000-7000-8000-000000000001",
	"original_state": "steps_in_process", "dlq_reason": "StalenessTimeout", "dlq_timestamp": "2026-02-03T10:00:00.5",
	"resolution_status": "ManuallyResolved", "resolution_timestamp": "2026-02-03T11:00:00", "resolution_notes": "looked into it",
	"resolved_by": "ops-7", "task_snapshot": {"task_name": "order_intake"}, "metadata": null,
	"created_at": "2026-02-03T10:00:00.5", "updated_at": "2026-02-03T11:00:00"}`

// deadLetters is a server that answers as the reference does, and notes what
// it is asked.
func deadLetters(t *testing.T, answers map[string]string) (url string, asked *[]string) {
	t.Helper()
	asked = &[]string{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		*asked = append(*asked, strings.TrimSpace(r.Method+" "+r.URL.String()+" "+string(body)))
		answer, ok := answers[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			answer = `{"error": {"code": "NOT_FOUND", "message": "No DLQ entry"}}`
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(s.Close)
	return s.URL, asked
}

func TestDeadLettersAreListed(t *testing.T) {
	t.Parallel()
	url, asked := deadLetters(t, map[string]string{"/v1/dlq": "[" + deadLetter + "]"})
	out, _, err := run(t, "", "dlq", "list", "-s", "manually_resolved", "-l", "7", "-o", "3", "--url", url)
	require.NoError(t, err)
	require.Equal(t, text(`
ENTRY                                 TASK                                  REASON             STATUS             FROM              SINCE                 RESOLVED BY
0190d0a0-0000-7000-8000-00000000000a  0190d0a0-0000-7000-8000-000000000001  staleness_timeout  manually_resolved  steps_in_process  2026-02-03 10:00:00Z  ops-7
`), out)
	require.Equal(t, []string{"GET /v1/dlq?limit=7&offset=3&resolution_status=ManuallyResolved"}, *asked)
	out, _, err = run(t, "", "dlq", "list", "--output", "json", "--url", url)
	require.NoError(t, err)
	require.JSONEq(t, "["+deadLetter+"]", out)
	require.Equal(t, "GET /v1/dlq?limit=50&offset=0", (*asked)[1])
}

func TestADeadLetterIsShown(t *testing.T) {
	t.Parallel()
	const task = "0190d0a0-0000-7000-8000-000000000001"
	url, _ := deadLetters(t, map[string]string{"/v1/dlq/task/" + task: deadLetter})
	out, _, err := run(t, "", "dlq", "get", task, "--url", url)
	require.NoError(t, err)
	require.Equal(t, text(`
dead-letter entry
  entry            0190d0a0-0000-7000-8000-00000000000a
  task             0190d0a0-0000-7000-8000-000000000001
  reason           staleness_timeout
  original state   steps_in_process
  since            2026-02-03 10:00:00Z
  status           manually_resolved
  resolved         2026-02-03 11:00:00Z
  resolved by      ops-7
  notes            looked into it
  updated          2026-02-03 11:00:00Z
  task then
{
  "task_name": "order_intake"
}
`), out)
	why, code := refused(t, "dlq", "get", "0190d0a0-0000-7000-8000-000000000002", "--url", url)
	require.Equal(t, 2, code)
	require.Contains(t, why, "No DLQ entry")
}

func TestADeadLetterIsUpdatedWithWhatIsGiven(t *testing.T) {
	t.Parallel()
	const entry = "0190d0a0-0000-7000-8000-00000000000a"
	url, asked := deadLetters(t, map[string]string{
		"/v1/dlq/entry/" + entry: fmt.Sprintf(`{"success": true, "message": "DLQ entry updated", "dlq_entry_uuid": %q}`, entry),
	})
	out, _, err := run(t, "", "dlq", "update", entry, "-s", "permanently_failed", "-n", "gone", "-b", "ops-7", "--url", url)
	require.NoError(t, err)
	require.Equal(t, "dead-letter entry "+entry+": DLQ entry updated\n", out)
	_, _, err = run(t, "", "dlq", "update", entry, "--notes", "", "--url", url)
	require.NoError(t, err)
	require.Equal(t, []string{
		"PATCH /v1/dlq/entry/" + entry + ` {"resolution_status":"PermanentlyFailed","resolution_notes":"gone","resolved_by":"ops-7"}`,
		"PATCH /v1/dlq/entry/" + entry + ` {"resolution_notes":""}`,
	}, *asked)
}

func TestStatisticsQueueAndStalenessAreTables(t *testing.T) {
	t.Parallel()
	url, asked := deadLetters(t, map[string]string{
		"/v1/dlq/stats": `[{"dlq_reason": "StalenessTimeout", "total_entries": 3, "pending": 1, "manually_resolved": 1, "permanent_failures": 1,
			"cancelled": 0, "oldest_entry": "2026-02-03T10:00:00", "newest_entry": null, "avg_resolution_time_minutes": 12.34}]`,
		"/v1/dlq/investigation-queue": `[{"dlq_entry_uuid": "0190d0a0-0000-7000-8000-00000000000a", "task_uuid": "0190d0a0-0000-7000-8000-000000000001",
			"dlq_reason": "MaxRetriesExceeded", "minutes_in_dlq": 30, "namespace_name": "shop", "task_name": "order_intake", "current_state": "error",
			"priority_score": 530.4}]`,
		"/v1/dlq/staleness": `[{"task_uuid": "0190d0a0-0000-7000-8000-000000000001", "namespace_name": "shop", "task_name": "order_intake",
			"current_state": "steps_in_process", "time_in_state_minutes": 25, "task_age_minutes": 26, "staleness_threshold_minutes": 30,
			"health_status": "warning", "priority": 5}]`,
	})
	for verb, want := range map[string]string{
		"stats": `
REASON             TOTAL  PENDING  RESOLVED  FAILED  CANCELLED  OLDEST                NEWEST  MINUTES TO RESOLVE
staleness_timeout  3      1        1         1       0          2026-02-03 10:00:00Z  -       12.3
`,
		"queue": `
SCORE  ENTRY                                 TASK                                  NAME          NAMESPACE  REASON                STATE  MINUTES
530    0190d0a0-0000-7000-8000-00000000000a  0190d0a0-0000-7000-8000-000000000001  order_intake  shop       max_retries_exceeded  error  30
`,
		"staleness": `
TASK                                  NAME          NAMESPACE  STATE             HEALTH   MINUTES  OF  AGE  PRIORITY
0190d0a0-0000-7000-8000-000000000001  order_intake  shop       steps_in_process  warning  25       30  26   5
`,
	} {
		out, _, err := run(t, "", "dlq", verb, "--url", url)
		require.NoError(t, err, verb)
		require.Equal(t, text(want), out)
		out, _, err = run(t, "", "dlq", verb, "-o", "json", "--url", url)
		require.NoError(t, err, verb)
		require.True(t, json.Valid([]byte(out)))
	}
	*asked = nil
	_, _, err := run(t, "", "dlq", "queue", "-l", "3", "--url", url)
	require.NoError(t, err)
	require.Equal(t, []string{"GET /v1/dlq/investigation-queue?limit=3"}, *asked)
}

func TestDeadLettersOfARunningTaskerpyThatHasNone(t *testing.T) {
	t.Parallel()
	s := open(t)
	for verb, want := range map[string]string{
		"list": "no dead-letter entries\n", "stats": "no dead-letter entries\n", "queue": "nothing to investigate\n",
		"staleness": "no tasks that could get stale\n",
	} {
		require.Equal(t, want, s.ask("dlq", verb))
	}
	s.create(`{"order_id": 1}`)
	require.Contains(t, s.ask("dlq", "staleness"), "healthy")
}

func TestMistakesInVerbsOfDeadLetters(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		`--status "open" is none of pending`:                {"list", "-s", "open"},
		"--limit must be at least 1":                        {"list", "-l", "0"},
		"dlq queue: --limit must be at least 1, not 0":      {"queue", "-l", "0"},
		"nothing to change":                                 {"update", "0190d0a0-0000-7000-8000-00000000000a"},
		`dlq update: --status "x"`:                          {"update", "0190d0a0-0000-7000-8000-00000000000a", "-s", "x"},
		"is not the UUID of a dead-letter entry":            {"update", "seven", "-n", "x"},
		"dlq get: TASK is missing":                          {"get"},
		`unknown command "dlq stat"; did you mean "stats"?`: {"stat"},
	} {
		why, code := refused(t, append([]string{"dlq"}, args...)...)
		require.Equal(t, 2, code)
		require.Contains(t, why, want)
	}
}
