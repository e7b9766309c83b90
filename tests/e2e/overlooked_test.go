package e2e_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// slowEnqueuing makes the server wait, before it notes that the steps of a
// namespace's tasks are enqueued, for an advisory lock of this number.
const slowEnqueuing = `
CREATE OR REPLACE FUNCTION tasker.test_wait_%[1]s() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(%[2]d)
     FROM tasker.tasks t JOIN tasker.named_tasks n USING (named_task_uuid) JOIN tasker.task_namespaces s USING (task_namespace_uuid)
    WHERE t.task_uuid = NEW.task_uuid AND s.name = '%[1]s';
  RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER test_wait_%[1]s BEFORE INSERT ON tasker.task_transitions
FOR EACH ROW WHEN (NEW.to_state = 'steps_in_process') EXECUTE FUNCTION tasker.test_wait_%[1]s()`

// disregarded makes a task whose first step ends while the server is enqueuing
// it, so that nothing is left that would make the server go on. Meanwhile is
// called when the server has disregarded the result.
func disregarded(t *testing.T, p *project, meanwhile func()) (id string) {
	t.Helper()
	const key = 4217
	_, err := p.DB().Exec(t.Context(), fmt.Sprintf(slowEnqueuing, p.namespace, key))
	require.NoError(t, err)
	holder, err := p.DB().Acquire(t.Context())
	require.NoError(t, err)
	defer holder.Release()
	_, err = holder.Exec(t.Context(), `SELECT pg_advisory_lock($1)`, key)
	require.NoError(t, err)
	created := make(chan string, 1)
	go func() { created <- p.create("flow", nil) }()
	p.awaitNumber(1, `SELECT count(*) FROM tasker.tasks t JOIN tasker.workflow_steps s USING (task_uuid) JOIN tasker.workflow_step_transitions x USING (workflow_step_uuid)
		WHERE t.context->>'run' = $1 AND x.most_recent AND x.to_state = 'complete'
		  AND NOT EXISTS (SELECT 1 FROM pgmq.q_orchestration_step_results q WHERE q.message->>'task_uuid' = t.task_uuid::text)`, p.notes)
	meanwhile()
	_, err = holder.Exec(t.Context(), `SELECT pg_advisory_unlock($1)`, key)
	require.NoError(t, err)
	return <-created
}

// The server disregards results that reach it while it is still enqueuing the
// task's steps, and looks at the task again only when another result comes.
func TestAResultThatTheServerDisregardsIsToldAgain(t *testing.T) {
	p := newProject(t, shared, "early", chain(2, "steps.Work")...)
	w := p.worker()
	p.requireDone([]string{disregarded(t, p, func() {})})
	require.EqualValues(t, 1, p.metric(w, "tasker_worker_overlooked_tasks_total"))
}

func TestAResultThatTheServerDisregardsIsToldAgainByAnotherWorker(t *testing.T) {
	p := newProject(t, shared, "orphan", chain(2, "steps.Work")...)
	id := disregarded(t, p, p.worker().Kill)
	// As if it had been a while ago.
	p.awaitNumber(1, `WITH aged AS (
		UPDATE tasker.task_transitions SET created_at = created_at - interval '1 minute' WHERE task_uuid = $1 AND most_recent AND to_state = 'steps_in_process' RETURNING 1
	  ) SELECT count(*) FROM aged`, id)
	p.worker()
	p.requireDone([]string{id})
}

// The server blocks a task when its database goes away while it evaluates the last
// result, and never looks at it again.
func TestATaskThatTheServerHasBlockedWithoutAFailureIsFinished(t *testing.T) {
	p := newProject(t, shared, "misjudged", chain(1, "steps.Work")...)
	id := disregarded(t, p, p.worker().Kill)
	// As if it had been a while ago.
	p.awaitNumber(1, `WITH before AS (
		UPDATE tasker.task_transitions SET most_recent = false WHERE task_uuid = $1 AND most_recent AND to_state = 'steps_in_process' RETURNING *
	  ), blocked AS (
		INSERT INTO tasker.task_transitions (task_uuid, from_state, to_state, metadata, sort_key, most_recent, created_at, updated_at)
		SELECT task_uuid, to_state, 'blocked_by_failures', '{}', sort_key + 1, true, now() - interval '1 minute', now() FROM before RETURNING 1
	  ) SELECT count(*) FROM blocked`, id)
	w := p.worker()
	p.requireDone([]string{id})
	require.EqualValues(t, 1, p.metric(w, "tasker_worker_abandoned_tasks_total"))
}

// The server does nothing about a task after an operator has worked on its steps.
func TestABlockedTaskWhoseStepsAnOperatorHasCompletedIsFinished(t *testing.T) {
	p := newProject(t, shared, "by_hand", "{name: one, handler: {callable: steps.Failing}, retry: {retryable: false, max_attempts: 1}}")
	first := p.worker()
	id := p.create("flow", map[string]any{"failures": 1, "permanent": true})
	require.Equal(t, "blocked_by_failures", p.WaitTask(t.Context(), id).Status)
	first.Kill()
	require.NoError(t, p.REST.CompleteStep(t.Context(), id, p.steps(id)[0].ID, map[string]any{"value": 1}))
	// As if it had been a while ago.
	p.awaitNumber(1, `WITH aged AS (
		UPDATE tasker.task_transitions SET created_at = created_at - interval '1 minute' WHERE task_uuid = $1 AND most_recent RETURNING 1
	  ) SELECT count(*) FROM aged`, id)
	p.worker()
	p.await([]string{id})
	require.EqualValues(t, 1, p.steps(id)[0].Results.Result["value"])
}
