package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/tests/built"
	"github.com/tasker-systems/taskerpy/tests/cluster"
)

// project is the templates of a test, for the handlers of the folder handlers,
// in a namespace of its own, and what these handlers tell.
type project struct {
	*cluster.Cluster
	t         *testing.T
	namespace string
	templates string // folder
	notes     string // folder
	created   *atomic.Int32
}

// newProject makes a template called flow with these steps, each in a line of YAML.
func newProject(t *testing.T, c *cluster.Cluster, namespace string, steps ...string) *project {
	t.Helper()
	p := &project{Cluster: c.For(t), t: t, namespace: namespace, templates: t.TempDir(), notes: t.TempDir(), created: &atomic.Int32{}}
	p.template("flow", steps...)
	return p
}

// in is the project for a part of its test.
func (p *project) in(t *testing.T) *project {
	part := *p
	part.t, part.Cluster = t, p.Cluster.For(t)
	return &part
}

// template adds a template.
func (p *project) template(name string, steps ...string) {
	p.t.Helper()
	text := fmt.Sprintf("name: %s\nnamespace_name: %s\nversion: 1.0.0\nsteps:\n", name, p.namespace)
	for _, s := range steps {
		text += "  - " + s + "\n"
	}
	require.NoError(p.t, os.WriteFile(filepath.Join(p.templates, name+".yaml"), []byte(text), 0o600))
}

// lasting is a step after others that may be lost with its worker, or be tried
// again, as often as it happens; and the events that it publishes.
func lasting(name, after, callable string, events ...string) string {
	return fmt.Sprintf("{name: %s, dependencies: [%s], handler: {callable: %s}, retry: {retryable: true, max_attempts: 100, backoff: none}, publishes_events: [%s]}",
		name, after, callable, strings.Join(events, ", "))
}

// chain are the steps one, two, … of a handler, each after the one before, which
// last.
func chain(n int, callable string) []string {
	steps := make([]string, n)
	for i := range steps {
		steps[i] = lasting(stepNames[i], strings.Join(stepNames[max(i-1, 0):i], ""), callable)
	}
	return steps
}

var stepNames = []string{"one", "two", "three", "four"}

// worker starts one and waits until it is ready.
func (p *project) worker(more ...string) *cluster.Worker {
	p.t.Helper()
	w := p.launch(more...)
	require.NoError(p.t, w.Ready(p.t.Context()), w.Log())
	return w
}

func (p *project) launch(more ...string) *cluster.Worker {
	p.t.Helper()
	return p.LaunchWorker(program, filepath.Join(built.Root(), "tests", "e2e", "handlers"),
		append([]string{"--templates", p.templates}, more...)...)
}

// create makes a task of a template.
func (p *project) create(template string, input map[string]any) (id string) {
	p.t.Helper()
	return p.CreateTask(p.t.Context(), template, p.namespace, "1.0.0", p.input(input))
}

// input is completed by what every task has.
func (p *project) input(given map[string]any) map[string]any {
	input := map[string]any{"notes": p.notes, "n": p.created.Add(1), "run": p.notes}
	maps.Copy(input, given)
	return input
}

// createMany makes n tasks of flow. Those that the server did not take, because
// it or its database was away, are tried again.
func (p *project) createMany(n int, input map[string]any) (ids []string) {
	p.t.Helper()
	for range n {
		given := p.input(input)
		request := cluster.TaskRequest{
			Name: "flow", Namespace: p.namespace, Version: "1.0.0", Context: given, Initiator: "tests", SourceSystem: "tests", Reason: "tests",
		}
		var id string
		require.Eventually(p.t, func() bool {
			ctx, cancel := context.WithTimeout(p.t.Context(), patience)
			defer cancel()
			var err error
			id, err = p.REST.CreateTask(ctx, request)
			var status *cluster.StatusError
			if errors.As(err, &status) && status.Status == 409 {
				// It was taken, though nobody said so.
				return p.DB().QueryRow(ctx, `SELECT task_uuid FROM tasker.tasks WHERE context->>'run' = $1 AND context->'n' = to_jsonb($2::int)`,
					p.notes, given["n"]).Scan(&id) == nil
			}
			return err == nil
		}, 2*time.Minute, 50*time.Millisecond, "no task can be created")
		ids = append(ids, id)
	}
	return ids
}

// open lets the handlers at the gate go.
func (p *project) open() {
	p.t.Helper()
	require.NoError(p.t, os.WriteFile(filepath.Join(p.notes, "open"), nil, 0o600))
}

// noted is what handlers have noted: how often, by step.
func (p *project) noted(what string) map[string]int {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.notes, what))
	if !errors.Is(err, fs.ErrNotExist) {
		require.NoError(p.t, err)
	}
	found := map[string]int{}
	for line := range strings.Lines(string(text)) {
		found[strings.Fields(line)[0]]++
	}
	return found
}

// awaitNotes waits until n steps have noted something.
func (p *project) awaitNotes(what string, n int) {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return len(p.noted(what)) >= n }, patience, 5*time.Millisecond, "fewer than %d have %s", n, what)
}

// number is what a query counts.
func (p *project) number(query string, args ...any) (n int) {
	p.t.Helper()
	require.NoError(p.t, p.DB().QueryRow(p.t.Context(), query, args...).Scan(&n))
	return n
}

// queued is number in the database of the queues.
func (p *project) queued(query string) (n int) {
	p.t.Helper()
	require.NoError(p.t, p.QueueDB().QueryRow(p.t.Context(), query).Scan(&n))
	return n
}

// awaitNumber waits until a query counts at least n. The database may be away,
// and tasks that a server died over take two minutes.
func (p *project) awaitNumber(n int, query string, args ...any) {
	p.t.Helper()
	got := 0
	require.Eventually(p.t, func() bool {
		return p.DB().QueryRow(p.t.Context(), query, args...).Scan(&got) == nil && got >= n
	}, 3*time.Minute, 5*time.Millisecond, "%s: is not %d", query, n)
}

// finishedSteps counts the project's steps that the server has seen the end of.
const finishedSteps = `SELECT count(*) FROM tasker.workflow_step_transitions x JOIN tasker.workflow_steps s USING (workflow_step_uuid) JOIN tasker.tasks t USING (task_uuid)
	WHERE x.most_recent AND x.to_state = 'complete' AND t.context->>'run' = $1`

func (p *project) awaitFinished(n int) {
	p.t.Helper()
	p.awaitNumber(n, finishedSteps, p.notes)
}

// queue is the table of the project's messages.
func (p *project) queue() string { return "pgmq.q_worker_" + p.namespace + "_queue" }

// uuid is what a worker calls itself in the database.
func (p *project) uuid(w *cluster.Worker) uuid.UUID {
	p.t.Helper()
	var health struct {
		ID string `json:"worker_id"`
	}
	require.NoError(p.t, w.REST.Get(p.t.Context(), "/health", &health))
	id, err := uuid.FromString(strings.TrimPrefix(health.ID, "worker-"))
	require.NoError(p.t, err)
	return id
}

// metric is a value of a worker's /metrics, the sum if it has labels.
func (p *project) metric(w *cluster.Worker, name string) (sum float64) {
	p.t.Helper()
	for rest, value := range seriesOf(p.t, w.REST, name) {
		if rest == "" || rest[0] == '{' {
			sum += value
		}
	}
	return sum
}

// stored is what a step has left.
type stored struct {
	ID       string
	Name     string
	Attempts int
	Results  struct {
		Success bool
		Status  string
		Result  map[string]any
		Error   *struct {
			Message   string
			ErrorType string `json:"error_type"`
			Retryable bool
		}
	}
	History history
	Audits  int
}

// transition is a row of a step's history.
type transition struct {
	From   *string `json:"from_state"`
	To     string  `json:"to_state"`
	Key    int     `json:"sort_key"`
	Recent bool    `json:"most_recent"`
	Worker string  `json:"worker_uuid"`
}

type history []transition

// count is how many transitions there are from a state to another; "" is any.
func (h history) count(from, to string) (n int) {
	for _, x := range h {
		if (from == "" || x.From != nil && *x.From == from) && (to == "" || x.To == to) {
			n++
		}
	}
	return n
}

const storedSQL = `
SELECT jsonb_build_object('ID', s.workflow_step_uuid, 'Name', n.name, 'Attempts', COALESCE(s.attempts, 0), 'Results', s.results,
         'Audits', (SELECT count(*) FROM tasker.workflow_step_result_audit a WHERE a.workflow_step_uuid = s.workflow_step_uuid),
         'History', (SELECT jsonb_agg(to_jsonb(x) || jsonb_build_object('worker_uuid', x.metadata->>'worker_uuid') ORDER BY x.sort_key, x.created_at)
                       FROM tasker.workflow_step_transitions x WHERE x.workflow_step_uuid = s.workflow_step_uuid))
  FROM tasker.workflow_steps s JOIN tasker.named_steps n USING (named_step_uuid)
 WHERE s.task_uuid = ANY($1::uuid[])`

func (h history) String() string {
	var text strings.Builder
	for _, x := range h {
		fmt.Fprintf(&text, "%d→%s ", x.Key, x.To)
	}
	return text.String()
}

// steps are the steps of tasks. Each one's history is seen to be sound: every
// transition starts where the one before ended, only the last one counts, and
// what was accepted of each attempt is one result at most.
func (p *project) steps(ids ...string) []stored {
	p.t.Helper()
	all := p.read(ids...)
	for _, s := range all {
		p.requireSound(s)
	}
	return all
}

func (p *project) read(ids ...string) []stored {
	p.t.Helper()
	rows, err := p.DB().Query(p.t.Context(), storedSQL, ids)
	require.NoError(p.t, err)
	defer rows.Close()
	var all []stored
	for rows.Next() {
		var text []byte
		require.NoError(p.t, rows.Scan(&text))
		var s stored
		require.NoError(p.t, json.Unmarshal(text, &s), string(text))
		all = append(all, s)
	}
	require.NoError(p.t, rows.Err())
	return all
}

func (p *project) requireSound(s stored) {
	p.t.Helper()
	for i, x := range s.History {
		require.Equal(p.t, i == len(s.History)-1, x.Recent, "%s: %s", s.ID, s.History)
		if i > 0 {
			before := s.History[i-1]
			require.Equal(p.t, before.Key+1, x.Key, "%s: %s", s.ID, s.History)
			require.NotNil(p.t, x.From, "%s: %s", s.ID, s.History)
			require.Equal(p.t, before.To, *x.From, "%s: %s", s.ID, s.History)
		}
	}
	results := s.History.count("in_progress", "enqueued_for_orchestration") + s.History.count("in_progress", "enqueued_as_error_for_orchestration")
	require.Equal(p.t, results, s.Audits, "%s: %s", s.ID, s.History)
	begun, released := s.History.count("", "in_progress"), s.History.count("in_progress", "enqueued")
	require.LessOrEqual(p.t, s.Attempts, begun, "%s: %s", s.ID, s.History)
	require.GreaterOrEqual(p.t, s.Attempts, begun-released, "%s: %s", s.ID, s.History)
}

// completed tells whether tasks are complete. The database may be away.
func (p *project) completed(ids []string) bool {
	n := 0
	err := p.DB().QueryRow(p.t.Context(), `SELECT count(*) FROM tasker.task_transitions
		WHERE most_recent AND to_state = 'complete' AND task_uuid = ANY($1::uuid[])`, ids).Scan(&n)
	return err == nil && n == len(ids)
}

// await waits until tasks are complete.
func (p *project) await(ids []string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return p.completed(ids) }, 3*time.Minute, 10*time.Millisecond, "tasks are not complete")
}

// requireDone is requireDoneSteps, and that nothing is left in the queues.
func (p *project) requireDone(ids []string) {
	p.t.Helper()
	p.requireDoneSteps(ids)
	p.requireNothingLeft()
}

// requireDoneSteps waits for tasks of chains and requires of each that it is
// complete, every step with exactly one result, the right one.
func (p *project) requireDoneSteps(ids []string) {
	p.t.Helper()
	p.await(ids)
	for _, s := range p.steps(ids...) {
		require.Equal(p.t, 1, s.History.count("in_progress", "enqueued_for_orchestration"), "%s %s: %s", s.Name, s.ID, s.History)
		require.Equal(p.t, 1, s.History.count("enqueued_for_orchestration", "complete"), "%s %s: %s", s.Name, s.ID, s.History)
		require.Equal(p.t, "complete", s.History[len(s.History)-1].To)
		require.True(p.t, s.Results.Success)
		for i, name := range stepNames {
			if s.Name == name {
				require.EqualValues(p.t, i+1, s.Results.Result["value"], "%s %s", s.Name, s.ID)
			}
		}
	}
}

// requireNothingLeft waits until all messages are dealt with.
func (p *project) requireNothingLeft() {
	p.t.Helper()
	for _, table := range []string{p.queue(), "pgmq.q_orchestration_step_results"} {
		require.Eventually(p.t, func() bool { return p.queued("SELECT count(*) FROM "+table) == 0 }, patience, 10*time.Millisecond, table)
	}
	p.requireNoErrorsOfOurs()
}

// requireNoErrorsOfOurs looks for statements of workers that got into each
// other's way.
func (p *project) requireNoErrorsOfOurs() {
	p.t.Helper()
	for line := range strings.Lines(p.PostgresLog()) {
		if strings.Contains(line, "taskerpy-worker: ERROR") {
			require.NotContains(p.t, line, "duplicate key")
			require.NotContains(p.t, line, "deadlock")
		}
	}
}
