package e2e_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/tests/built"
	"github.com/tasker-systems/taskerpy/tests/cluster"
)

func TestWorkersThatShareAQueueRunEveryStepOnce(t *testing.T) {
	for _, n := range []int{2, 4} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			p := newProject(t, shared, fmt.Sprintf("sharing_%d", n), chain(3, "steps.Work")...)
			var workers []*cluster.Worker
			for range n {
				workers = append(workers, p.launch("--concurrency", "2"))
			}
			for _, w := range workers {
				require.NoError(t, w.Ready(t.Context()), w.Log())
			}
			ids := p.createMany(40, map[string]any{"ms": 20})
			p.requireDone(ids)
			by := map[string]bool{}
			for _, s := range p.steps(ids...) {
				require.Equal(t, 1, s.Attempts)
				require.Equal(t, 1, p.noted("ran")[s.ID])
				by[s.History[2].Worker] = true
			}
			require.Greater(t, len(by), 1, "one did it all")
		})
	}
}

// Item 8 of the conformance checklist: messages to the worker.
func TestAMessageThatComesTwiceHasNoEffect(t *testing.T) {
	p := newProject(t, shared, "twice", chain(2, "steps.Gate")...)
	p.worker("--concurrency", "4", "--visibility-timeout", "3s")
	id := p.create("flow", nil)
	p.awaitNotes("entered", 1)
	const again = `SELECT count(tasker.pgmq_send_with_notify($1, jsonb_build_object('task_uuid', t.task_uuid, 'step_uuid', s.workflow_step_uuid,
		'correlation_id', t.correlation_id), 0)) FROM tasker.tasks t JOIN tasker.workflow_steps s USING (task_uuid), generate_series(1, 3) WHERE t.task_uuid = $2`
	queue := "worker_" + p.namespace + "_queue"
	require.Equal(t, 6, p.number(again, queue, id)) // while one runs, and the other must wait
	p.awaitNumber(7, `SELECT sum(read_ct) + (SELECT count(*) FROM pgmq.a_worker_twice_queue) FROM `+p.queue())
	p.open()
	p.requireDoneSteps([]string{id})
	require.Equal(t, 6, p.number(again, queue, id)) // when they are done
	p.requireNothingLeft()
	for _, s := range p.steps(id) {
		require.Equal(t, 1, p.noted("entered")[s.ID])
		require.Equal(t, 1, s.Attempts)
	}
}

// Item 8: messages to the server.
func TestAResultThatIsToldTwiceHasNoEffect(t *testing.T) {
	p := newProject(t, shared, "told_twice", chain(2, "steps.Work")...)
	p.worker()
	id := p.create("flow", nil)
	p.requireDone([]string{id})
	before := p.steps(id)
	p.number(`SELECT count(tasker.pgmq_send_with_notify('orchestration_step_results', jsonb_build_object('task_uuid', t.task_uuid,
		'step_uuid', s.workflow_step_uuid, 'correlation_id', t.correlation_id), 0)) FROM tasker.tasks t JOIN tasker.workflow_steps s USING (task_uuid) WHERE t.task_uuid = $1`, id)
	p.requireDone([]string{id})
	require.ElementsMatch(t, before, p.steps(id))
}

// Item 7: messages that nothing can be done with.
func TestMessagesThatNameNoStepArePutAside(t *testing.T) {
	p := newProject(t, shared, "nonsense", chain(1, "steps.Work")...)
	w := p.worker()
	for _, message := range []string{
		`{}`, `[]`, `null`, `"text"`, `{"step_uuid": 1}`, `{"step_uuid": "x", "task_uuid": "y", "correlation_id": "z"}`,
		`{"step_uuid": null, "task_uuid": null, "correlation_id": null}`,
		`{"task_uuid": "01a20a07-d507-78d9-9c11-89acdb8509d3", "step_uuid": "01a20a07-d509-78d9-82ab-df579604da4e", "correlation_id": "d7132090-21e2-4081-824d-2144e8caebc3"}`,
	} {
		_, err := p.DB().Exec(t.Context(), `SELECT tasker.pgmq_send_with_notify('worker_nonsense_queue', $1::jsonb, 0)`, message)
		require.NoError(t, err, message)
	}
	p.requireDone([]string{p.create("flow", nil)})
	require.Equal(t, 9, p.number(`SELECT count(*) FROM pgmq.a_worker_nonsense_queue`))
	require.EqualValues(t, 7, p.metric(w, "tasker_worker_undecodable_messages_total"))
	require.NoError(t, w.Ready(t.Context()))
}

// Item 7: a step that this worker has no handler for, and templates that it
// does not know.
func TestStepsThatCannotBeRunFailForGood(t *testing.T) {
	p := newProject(t, shared, "foreign", chain(1, "steps.Work")...)
	// Registered by somebody who has the handlers.
	configuration := func(step, callable string) string {
		return strings.NewReplacer("STEP", step, "CALLABLE", callable).Replace(`{"name": "other", "namespace_name": "foreign", "version": "9.0.0", "description": null, "metadata": null,
			"system_dependencies": {"primary": "default", "secondary": []}, "domain_events": [], "input_schema": null, "environments": {}, "lifecycle": null,
			"steps": [{"name": "STEP", "description": null, "handler": {"callable": "CALLABLE", "method": null, "resolver": null, "initialization": {}}, "type": "standard",
			"system_dependency": null, "dependencies": [], "retry": {"retryable": true, "max_attempts": 3, "backoff": "none", "backoff_base_ms": null, "max_backoff_ms": null},
			"timeout_seconds": null, "publishes_events": [], "batch_config": null}]}`)
	}
	w := p.worker()
	change := func(name, configuration string) {
		_, err := p.DB().Exec(t.Context(), `INSERT INTO tasker.named_tasks (task_namespace_uuid, name, version, configuration, created_at, updated_at)
			SELECT task_namespace_uuid, $1, '9.0.0', $2::jsonb, now(), now() FROM tasker.task_namespaces WHERE name = 'foreign'
			ON CONFLICT (task_namespace_uuid, name, version) DO UPDATE SET configuration = EXCLUDED.configuration, updated_at = now()`, name, configuration)
		require.NoError(t, err)
	}
	for name, c := range map[string]struct{ later, errorType string }{
		"no_handler":  {configuration("alien", "nobody.has.This"), "handler_not_found"},
		"no_step":     {configuration("another", "steps.Work"), "template_not_found"},
		"unreadable":  {`{"steps": 7}`, "hydration_error"},
		"other_shape": {`{"steps": [{"name": 1}]}`, "hydration_error"},
	} {
		t.Run(name, func(t *testing.T) {
			p := p.in(t)
			require.NoError(t, w.Pause())
			change(name, configuration("alien", "nobody.has.This"))
			id := p.CreateTask(t.Context(), name, "foreign", "9.0.0", p.input(nil))
			change(name, c.later)
			require.NoError(t, w.Resume())
			p.awaitNumber(1, `SELECT count(*) FROM tasker.workflow_step_transitions x JOIN tasker.workflow_steps s USING (workflow_step_uuid)
				WHERE s.task_uuid = $1 AND x.to_state = 'error'`, id)
			s := p.steps(id)[0]
			require.Equal(t, c.errorType, s.Results.Error.ErrorType)
			require.False(t, s.Results.Error.Retryable)
			require.Equal(t, 1, s.Attempts)
			p.requireNothingLeft()
		})
	}
	p.requireDone([]string{p.create("flow", nil)})
}

// Item 17. The published worker claims in several transactions, and overwrites
// a claim that comes between the first and the last of them: then both run the
// step. One result counts all the same.
func TestAFleetOfBothWorkersSharesANamespace(t *testing.T) {
	p := newProject(t, shared, "mixed", chain(3, "steps.Work")...)
	// Each has the queue to itself once, for either may win all that they compete for.
	w := p.worker("--concurrency", "1")
	ours := p.uuid(w).String()
	ids := p.createMany(1, nil)
	p.await(ids)
	require.NoError(t, w.Pause())
	p.StartReferenceWorker(t.Context(), filepath.Join(built.Root(), "tests", "e2e", "handlers"), p.templates)
	ids = append(ids, p.createMany(1, nil)...)
	p.awaitNotes("ran", 4)
	require.NoError(t, w.Resume())
	ids = append(ids, p.createMany(30, map[string]any{"ms": 10})...)
	p.await(ids)
	p.requireNothingLeft()
	byUs, byThem, twice := 0, 0, 0
	for _, s := range p.read(ids...) {
		require.Equal(t, 1, s.History.count("enqueued_for_orchestration", "complete"), "%s: %s", s.ID, s.History)
		require.Equal(t, "complete", s.History[len(s.History)-1].To)
		require.True(t, s.Results.Success)
		require.EqualValues(t, slices.Index(stepNames, s.Name)+1, s.Results.Result["value"], "%s %s", s.Name, s.ID)
		switch claims := s.History.count("enqueued", "in_progress"); {
		case claims > 1: // theirs was the second
			twice++
			require.LessOrEqual(t, p.noted("ran")[s.ID], claims)
		default:
			require.Equal(t, 1, p.noted("ran")[s.ID], "%s: %s", s.ID, s.History)
		}
		if s.History[len(s.History)-2].Worker == ours {
			byUs++
		} else {
			byThem++
		}
	}
	t.Logf("%d steps by taskerpy, %d by tasker-py; %d were claimed by both", byUs, byThem, twice)
	require.Positive(t, byUs)
	require.Positive(t, byThem)
}

// Item 18, with the server away: what is counted is the worker. Two of them, so
// that they could get into each other's way.
func TestTenThousandTinyStepsTakeLessThanAStatementEach(t *testing.T) {
	const steps = 10_000
	c := cluster.Start(t, cluster.Options{NoServer: true, NoSync: true})
	p := newProject(t, c, "tiny", chain(1, "steps.Tiny")...)
	p.worker()
	p.worker()
	c.LogStatements(t.Context(), true)
	require.Equal(t, steps, p.number(`
WITH named AS (
  INSERT INTO tasker.named_steps (name, created_at, updated_at) VALUES ('one', now(), now()) RETURNING named_step_uuid
), task AS (
  INSERT INTO tasker.tasks (named_task_uuid, requested_at, initiator, source_system, reason, tags, context, identity_hash, priority, correlation_id, created_at, updated_at)
  SELECT nt.named_task_uuid, now(), 'desk', 'crm', 'test', '[]', jsonb_build_object('n', n), gen_random_uuid()::text, 0, gen_random_uuid(), now(), now()
    FROM generate_series(1, $1) n, tasker.named_tasks nt WHERE nt.name = 'flow'
  RETURNING task_uuid, correlation_id
), step AS (
  INSERT INTO tasker.workflow_steps (task_uuid, named_step_uuid, retryable, max_attempts, created_at, updated_at)
  SELECT task_uuid, named_step_uuid, true, 3, now(), now() FROM task, named RETURNING workflow_step_uuid, task_uuid
), moved AS (
  INSERT INTO tasker.workflow_step_transitions (workflow_step_uuid, from_state, to_state, metadata, sort_key, most_recent, created_at, updated_at)
  SELECT workflow_step_uuid, 'pending', 'enqueued', '{}', 2, true, now(), now() FROM step
)
SELECT count(tasker.pgmq_send_with_notify('worker_tiny_queue',
         jsonb_build_object('task_uuid', task_uuid, 'step_uuid', workflow_step_uuid, 'correlation_id', correlation_id), 0))
  FROM step JOIN task USING (task_uuid)`, steps))
	p.awaitNumber(steps, `SELECT count(*) FROM tasker.workflow_step_transitions WHERE most_recent AND to_state = 'enqueued_for_orchestration'`)
	c.LogStatements(t.Context(), false)
	sent := len(c.Statements("taskerpy-worker"))
	t.Logf("%d statements for %d steps", sent, steps)
	require.Less(t, sent, steps)
	require.Equal(t, steps, p.number(`SELECT count(*) FROM tasker.workflow_step_transitions WHERE to_state = 'in_progress'`))
	require.Equal(t, steps, p.number(`SELECT count(DISTINCT message->>'step_uuid') FROM pgmq.q_orchestration_step_results`))
	require.Equal(t, steps, p.number(`SELECT count(*) FROM pgmq.q_orchestration_step_results`))
	p.requireNoErrorsOfOurs()
}

// A worker and a database whose clocks differ: claims and takeovers go by the
// database's clock alone.
func TestTheDatabasesClockMayBeWrong(t *testing.T) {
	t.Parallel()
	for name, skew := range map[string]time.Duration{"ahead": 2 * time.Hour, "behind": -2 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := cluster.Start(t, cluster.Options{ClockSkew: skew})
			var now time.Time
			require.NoError(t, c.DB().QueryRow(t.Context(), `SELECT now()`).Scan(&now))
			require.WithinDuration(t, time.Now().Add(skew), now, time.Minute)
			p := newProject(t, c, "skewed", chain(2, "steps.Work")...)
			p.template("held", chain(1, "steps.Gate")...)
			p.template("failing", "{name: one, handler: {callable: steps.Failing}, retry: {retryable: true, max_attempts: 2, backoff: linear, backoff_base_ms: 1000}}")
			first := p.worker("--visibility-timeout", "3s")
			p.requireDone(p.createMany(3, nil))
			p.requireDone([]string{p.create("failing", map[string]any{"failures": 0})})
			retried := p.create("failing", map[string]any{"failures": 1, "permanent": false})
			require.Equal(t, "complete", p.WaitTask(t.Context(), retried).Status)
			require.Equal(t, 2, p.steps(retried)[0].Attempts)

			// Longer than its visibility timeout: nobody takes it over while its worker lives.
			held := p.create("held", nil)
			p.awaitNotes("entered", 1)
			second := p.worker("--visibility-timeout", "3s")
			beats := map[time.Time]bool{}
			require.Eventually(t, func() bool {
				var beat time.Time
				require.NoError(t, p.DB().QueryRow(t.Context(), `SELECT x.updated_at FROM tasker.workflow_step_transitions x
					JOIN tasker.workflow_steps s USING (workflow_step_uuid) WHERE s.task_uuid = $1 AND x.most_recent`, held).Scan(&beat))
				beats[beat] = true
				return len(beats) > 5 // one a second
			}, patience, 50*time.Millisecond)
			require.Equal(t, 1, p.noted("entered")[p.steps(held)[0].ID])
			first.Kill()
			p.awaitNumber(1, `SELECT count(*) FROM tasker.workflow_steps WHERE task_uuid = $1 AND attempts = 2`, held)
			p.open()
			p.requireDone([]string{held})
			require.EqualValues(t, 1, p.metric(second, "tasker_worker_takeovers_total"))
		})
	}
}
