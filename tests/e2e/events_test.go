package e2e_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/tests/cluster"
)

// publishing is a step whose attempts publish these events, each as YAML.
func publishing(callable string, events ...string) string {
	return fmt.Sprintf("{name: one, handler: {callable: %s}, retry: {retryable: true, max_attempts: 2, backoff: none}, publishes_events: [%s]}",
		callable, strings.Join(events, ", "))
}

func event(name, mode string, more ...string) string {
	return fmt.Sprintf("{name: %s, description: for a test, delivery_mode: %s, schema: {type: object}%s}", name, mode, strings.Join(append([]string{""}, more...), ", "))
}

// domainEvent is a message of a namespace's queue of events.
type domainEvent struct {
	ID      string `json:"event_id"`
	Name    string `json:"event_name"`
	Version string `json:"event_version"`
	Payload struct {
		Sequence struct {
			Task struct {
				Namespace string `json:"namespace_name"`
			}
		} `json:"task_sequence_step"`
		Result struct {
			Success bool
			Result  map[string]any
		} `json:"execution_result"`
		Payload map[string]any
	}
	Metadata struct {
		Task        string    `json:"task_uuid"`
		Step        string    `json:"step_uuid"`
		Name        string    `json:"step_name"`
		Namespace   string    `json:"namespace"`
		Correlation string    `json:"correlation_id"`
		FiredAt     time.Time `json:"fired_at"`
	}
}

// events are the durable events of the project once there are n, with their names.
func (p *project) events(n int) (all []domainEvent, names []string) {
	p.t.Helper()
	table := "pgmq.q_" + p.namespace + "_domain_events"
	p.awaitNumber(n, `SELECT count(*) FROM `+table)
	rows, err := p.DB().Query(p.t.Context(), `SELECT message FROM `+table+` ORDER BY msg_id`)
	require.NoError(p.t, err)
	defer rows.Close()
	for rows.Next() {
		var text []byte
		require.NoError(p.t, rows.Scan(&text))
		var e domainEvent
		require.NoError(p.t, json.Unmarshal(text, &e), string(text))
		all, names = append(all, e), append(names, e.Name)
	}
	require.NoError(p.t, rows.Err())
	require.Len(p.t, all, n)
	return all, names
}

// router is what a worker counts of events.
func (p *project) router(w *cluster.Worker) (counted map[string]int) {
	p.t.Helper()
	var answer struct{ Router map[string]int }
	require.NoError(p.t, w.REST.Get(p.t.Context(), "/metrics/events", &answer))
	return answer.Router
}

// Item 14 of the conformance checklist (worker-protocol §12).
func TestEventsGoTheWayOfTheirDeliveryMode(t *testing.T) {
	p := newProject(t, shared, "modes", publishing("steps.Wordy",
		event("a.durable", "durable"), event("a.fast", "fast"), event("a.broadcast", "broadcast"),
		event("a.failure", "durable", "condition: failure"), event("an.always", "durable", "condition: always")))
	w := p.worker()
	id := p.create("flow", map[string]any{"characters": 3})
	require.Equal(t, "complete", p.WaitTask(t.Context(), id).Status)
	all, names := p.events(3)
	require.Equal(t, []string{"a.durable", "a.broadcast", "an.always"}, names)
	step := p.steps(id)[0]
	task := p.Task(t.Context(), id)
	for _, e := range all {
		require.Equal(t, "1.0", e.Version)
		require.Equal(t, "modes", e.Payload.Sequence.Task.Namespace)
		require.True(t, e.Payload.Result.Success)
		require.Equal(t, "äää", e.Payload.Result.Result["text"])
		require.Equal(t, "äää", e.Payload.Payload["text"])
		require.Equal(t, id, e.Metadata.Task)
		require.Equal(t, step.ID, e.Metadata.Step)
		require.Equal(t, "one", e.Metadata.Name)
		require.Equal(t, "modes", e.Metadata.Namespace)
		require.Equal(t, task.CorrelationID, e.Metadata.Correlation)
		require.False(t, e.Metadata.FiredAt.IsZero())
	}
	require.Eventually(t, func() bool { return p.router(w)["total_routed"] == 4 }, patience, 10*time.Millisecond)
	require.Equal(t, map[string]int{
		"total_routed": 4, "durable_routed": 2, "fast_routed": 1, "broadcast_routed": 1, "fast_delivery_errors": 0, "routing_errors": 0,
	}, p.router(w))
	p.requireNothingLeft()
}

// Item 14: a notification may have 8,000 bytes; the wrapper counts characters.
func TestLargeEventsOfManyBytesPerCharacterAreSent(t *testing.T) {
	p := newProject(t, shared, "wordy", publishing("steps.Wordy", event("a.durable", "durable")))
	p.worker()
	sizes := []int{1000, 1500, 3000, 5000, 100_000}
	for _, n := range sizes {
		require.Equal(t, "complete", p.WaitTask(t.Context(), p.create("flow", map[string]any{"characters": n})).Status)
	}
	all, _ := p.events(len(sizes))
	for i, n := range sizes {
		require.Equal(t, strings.Repeat("ä", n), all[i].Payload.Payload["text"])
	}
	p.requireNothingLeft()
}

// Item 14.
func TestAPublisherThatFailsDoesNotFailTheStep(t *testing.T) {
	p := newProject(t, shared, "broken", publishing("steps.Wordy", event("it.was.lost", "durable", "publisher: publishers.Broken")))
	w := p.worker()
	id := p.create("flow", map[string]any{"characters": 3})
	require.Equal(t, "complete", p.WaitTask(t.Context(), id).Status)
	p.requireNothingLeft()
	require.Equal(t, 1, p.router(w)["routing_errors"])
	p.events(0)
	require.Equal(t, 1, p.steps(id)[0].Attempts)
}

// Item 14: the conditions of failures.
func TestEachFailedAttemptPublishesByItsCondition(t *testing.T) {
	p := newProject(t, shared, "conditions", publishing("steps.Failing",
		event("step.failed.somehow", "durable", "condition: failure"), event("step.failed.once", "durable", "condition: retryable_failure"),
		event("step.failed.forever", "durable", "condition: permanent_failure"), event("step.did.it", "durable")))
	p.worker()
	for _, permanent := range []bool{false, true} {
		id := p.create("flow", map[string]any{"failures": 1, "permanent": permanent})
		require.Equal(t, map[bool]string{false: "complete", true: "blocked_by_failures"}[permanent], p.WaitTask(t.Context(), id).Status)
	}
	_, names := p.events(5)
	require.Equal(t, []string{"step.failed.somehow", "step.failed.once", "step.did.it", "step.failed.somehow", "step.failed.forever"}, names)
}

// A worker that dies between a result and its events leaves them to another.
func TestEventsOfAWorkerThatIsKilledArePublishedByAnother(t *testing.T) {
	p := newProject(t, shared, "orphans", publishing("steps.Wordy", event("a.durable", "durable", "publisher: publishers.Slow")))
	first := p.worker("--visibility-timeout", "3s")
	id := p.create("flow", map[string]any{"characters": 3})
	require.Equal(t, "complete", p.WaitTask(t.Context(), id).Status)
	p.awaitNotes("publishing", 1)
	first.Kill()
	require.Zero(t, p.number(`SELECT count(*) FROM pgmq.q_orphans_domain_events`))
	p.open()
	p.worker("--visibility-timeout", "3s")
	all, _ := p.events(1)
	require.Equal(t, id, all[0].Metadata.Task)
	p.requireNothingLeft()
	step := p.steps(id)[0]
	require.Equal(t, 1, step.Attempts)
	require.Equal(t, p.eventID(step), all[0].ID, "the id that the first worker would have given")
}

// eventID is the id of the event of a step's first declaration and last attempt.
func (p *project) eventID(s stored) string {
	p.t.Helper()
	id, err := uuid.FromString(s.ID)
	require.NoError(p.t, err)
	publication := dispatch.Publication{StepUUID: id, Attempt: s.Attempts}
	return publication.EventID(0).String()
}

// One that was only thought to be dead publishes, too: readers tell by the id.
func TestAnEventThatTwoWorkersPublishHasOneID(t *testing.T) {
	p := newProject(t, shared, "twins", publishing("steps.Wordy", event("a.durable", "durable", "publisher: publishers.Slow")))
	first := p.worker("--visibility-timeout", "3s")
	id := p.create("flow", map[string]any{"characters": 3})
	p.awaitNotes("publishing", 1)
	require.Equal(t, "complete", p.WaitTask(t.Context(), id).Status)
	require.NoError(t, first.Pause())
	p.open()
	second := p.worker("--visibility-timeout", "3s")
	p.events(1)
	require.NoError(t, first.Resume())
	all, _ := p.events(2)
	for _, e := range all {
		require.Equal(t, p.eventID(p.steps(id)[0]), e.ID)
	}
	for _, w := range []*cluster.Worker{first, second} {
		p.awaitMetric(w, 1, "tasker_domain_events_published_total")
	}
	p.requireNothingLeft()
}

// Item 13, beside what tests/workflows runs on the deployment.
func TestADecisionMayTakeNoBranch(t *testing.T) {
	p := newProject(t, shared, "decisions", "{name: zero, handler: {callable: steps.Work}}",
		"{name: one, type: decision, dependencies: [zero], handler: {callable: steps.Decide}}",
		"{name: two, dependencies: [one], handler: {callable: steps.Work}}")
	p.worker()
	for outcome, steps := range map[string]int{
		`{"type": "no_branches"}`: 2, `{"type": "create_steps", "step_names": ["two"]}`: 3,
	} {
		id := p.create("flow", map[string]any{"outcome": json.RawMessage(outcome)})
		require.Equal(t, "complete", p.WaitTask(t.Context(), id).Status)
		require.Len(t, p.steps(id), steps, outcome)
	}
	p.requireNothingLeft()
}
