package e2e_test

import (
	"encoding/json"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/tests/cluster"
)

// Item 1 of the conformance checklist (worker-protocol §12).
func TestAChainCompletesOnAFreshDatabase(t *testing.T) {
	p := newProject(t, cluster.Start(t, cluster.Options{}), "fresh", chain(2, "steps.Work")...)
	w := p.worker()
	require.Equal(t, 3, p.number(`SELECT count(*) FROM pgmq.meta WHERE queue_name IN ('worker_fresh_queue', 'fresh_domain_events', 'fresh_domain_events_dlq')`))
	id := p.create("flow", nil)
	p.requireDone([]string{id})
	require.Equal(t, 2, p.number(`SELECT count(*) FROM tasker.workflow_step_result_audit a JOIN tasker.tasks t USING (task_uuid)
		WHERE a.task_uuid = $1 AND a.worker_uuid = $2 AND a.correlation_id = t.correlation_id AND a.success`, id, p.uuid(w)))
}

// role makes a role that may do what a worker needs to (worker-protocol §1.3)
// and returns the URL for it.
func (p *project) role(name string) string {
	p.t.Helper()
	for _, statement := range []string{
		"CREATE ROLE " + name + " LOGIN PASSWORD 'limited'",
		"GRANT USAGE ON SCHEMA tasker, pgmq TO " + name,
		"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA tasker TO " + name,
		"GRANT SELECT ON pgmq.meta TO " + name,
	} {
		_, err := p.DB().Exec(p.t.Context(), statement)
		require.NoError(p.t, err, statement)
	}
	u, err := url.Parse(p.URL())
	require.NoError(p.t, err)
	u.User = url.UserPassword(name, "limited")
	return u.String()
}

// Items 2 and 3.
func TestARoleThatMayNotCreateQueuesWorksWhenTheyExist(t *testing.T) {
	p := newProject(t, cluster.Start(t, cluster.Options{}), "limits", chain(2, "steps.Work")...)
	url := p.role("limited")
	w := p.launch("--database-url", url)
	code, err := w.Wait()
	require.NoError(t, err)
	require.Equal(t, 3, code, w.Log())
	require.Regexp(t, `taskerpy: .*queue \w+ does not exist, and limited may not create it: run SELECT pgmq.create\('\w+'\)`, w.Log())
	for _, queue := range []string{"worker_limits_queue", "limits_domain_events", "limits_domain_events_dlq"} {
		_, err := p.DB().Exec(t.Context(), `SELECT pgmq.create($1)`, queue)
		require.NoError(t, err)
	}
	for _, statement := range []string{
		"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA pgmq TO limited", "GRANT SELECT, USAGE ON ALL SEQUENCES IN SCHEMA pgmq TO limited",
	} {
		_, err := p.DB().Exec(t.Context(), statement)
		require.NoError(t, err)
	}
	w = p.worker("--database-url", url)
	p.requireDone(p.createMany(2, nil))
	require.NotContains(t, w.Log(), `"level":"ERROR"`)
}

// Item 3.
func TestTheRoleMayHaveAnyName(t *testing.T) {
	p := newProject(t, shared, "somebody", chain(2, "steps.Work")...)
	url := p.role("somebody")
	_, err := p.DB().Exec(t.Context(), "ALTER ROLE somebody SUPERUSER")
	require.NoError(t, err)
	p.worker("--database-url", url)
	p.requireDone([]string{p.create("flow", nil)})
}

// failing is a step that fails as its task's input says.
func failing(retry string) string {
	return "{name: one, handler: {callable: steps.Failing}, retry: " + retry + "}"
}

// fail runs a task whose step fails, and returns the step.
func (p *project) fail(permanent bool) stored {
	p.t.Helper()
	id := p.create("flow", map[string]any{"failures": 100, "permanent": permanent})
	require.Equal(p.t, "blocked_by_failures", p.WaitTask(p.t.Context(), id).Status)
	p.requireNothingLeft()
	s := p.steps(id)[0]
	require.Equal(p.t, "error", s.History[len(s.History)-1].To)
	require.Equal(p.t, "failed", s.Results.Status)
	require.Equal(p.t, s.Attempts, p.noted("ran")[s.ID])
	require.Equal(p.t, s.Attempts, s.History.count("in_progress", "enqueued_as_error_for_orchestration"))
	return s
}

// waits counts the step's rows that hold a wait.
const waits = `SELECT COALESCE(max(backoff_request_seconds), 0) FROM tasker.workflow_steps WHERE workflow_step_uuid = $1`

// Item 4: immediate.
func TestARetryWithoutABackoffIsImmediate(t *testing.T) {
	p := newProject(t, shared, "immediate", failing("{retryable: true, max_attempts: 3, backoff: none}"))
	p.worker()
	s := p.fail(false)
	require.Equal(t, 3, s.Attempts)
	require.Equal(t, 2, s.History.count("enqueued_as_error_for_orchestration", "waiting_for_retry"))
	require.Zero(t, p.number(waits, s.ID))
}

// Item 4: delayed.
func TestARetryWaitsAsItsTemplateWants(t *testing.T) {
	p := newProject(t, shared, "delayed", failing("{retryable: true, max_attempts: 3, backoff: linear, backoff_base_ms: 1000}"))
	p.worker()
	s := p.fail(false)
	require.Equal(t, 3, s.Attempts)
	require.Equal(t, 2, s.History.count("enqueued_as_error_for_orchestration", "waiting_for_retry"))
	require.Equal(t, 2, p.number(waits, s.ID), "the second wait is twice the first")
}

// Item 4: the last attempt that is left may be the one that works.
func TestAStepMayWorkAtItsLastAttempt(t *testing.T) {
	p := newProject(t, shared, "at_last", failing("{retryable: true, max_attempts: 3, backoff: none}"))
	p.worker()
	id := p.create("flow", map[string]any{"failures": 2, "permanent": false})
	p.requireDone([]string{id})
	require.Equal(t, 3, p.steps(id)[0].Attempts)
}

// Item 5.
func TestARetryableFailureOfAStepThatMayNotBeRetriedIsFinal(t *testing.T) {
	p := newProject(t, shared, "unretryable", failing("{retryable: false, max_attempts: 3, backoff: none}"))
	p.worker()
	s := p.fail(false)
	require.Equal(t, 1, s.Attempts)
	require.False(t, s.Results.Error.Retryable)
}

// Item 6.
func TestAPermanentFailureIsFinalAtOnce(t *testing.T) {
	p := newProject(t, shared, "permanent", failing("{retryable: true, max_attempts: 3, backoff: none}"))
	p.worker()
	s := p.fail(true)
	require.Equal(t, 1, s.Attempts)
	require.Equal(t, "it will never work", s.Results.Error.Message)
}

// Item 15.
func TestResultsThatAreHardToStoreHaveADefinedEnd(t *testing.T) {
	p := newProject(t, shared, "strange", "{name: one, handler: {callable: steps.Strange}}",
		"{name: two, dependencies: [one], handler: {callable: steps.Work}}")
	p.worker()
	for kind, want := range map[string]string{
		"nul":   `{"text": "a\ufffdb", "value": 1}`,
		"nan":   `{"nan": null, "inf": null, "one": 1.5, "value": 1}`,
		"large": "", // it is large
		"125":   "", // as deep as the server can read
	} {
		t.Run(kind, func(t *testing.T) {
			p := p.in(t)
			id := p.create("flow", map[string]any{"kind": kind})
			require.Equal(t, "complete", p.WaitTask(t.Context(), id).Status)
			for _, s := range p.steps(id) {
				if s.Name == "one" && want != "" {
					got, err := json.Marshal(s.Results.Result)
					require.NoError(t, err)
					require.JSONEq(t, want, string(got))
				}
			}
		})
	}
	for kind, want := range map[string]struct{ errorType, message string }{
		"126":       {"result_not_storable", "nested"},
		"5000":      {"FFI_SERIALIZATION_ERROR", "depth"},
		"integer":   {"result_not_storable", "number"},
		"surrogate": {"FFI_SERIALIZATION_ERROR", "surrogates"},
	} {
		t.Run(kind, func(t *testing.T) {
			p := p.in(t)
			id := p.create("flow", map[string]any{"kind": kind})
			require.Equal(t, "blocked_by_failures", p.WaitTask(t.Context(), id).Status)
			for _, s := range p.steps(id) {
				if s.Name == "one" {
					require.Equal(t, want.errorType, s.Results.Error.ErrorType)
					require.Contains(t, s.Results.Error.Message, want.message)
					require.Equal(t, 1, s.Attempts)
				}
			}
		})
	}
	p.requireNothingLeft()
}

// Item 15: beyond the worker's own limit.
func TestAResultAboveTheLimitFailsItsStepForGood(t *testing.T) {
	p := newProject(t, shared, "large", "{name: one, handler: {callable: steps.Strange}}")
	p.worker("--max-result-size", "1MiB")
	id := p.create("flow", map[string]any{"kind": "large"})
	require.Equal(t, "blocked_by_failures", p.WaitTask(t.Context(), id).Status)
	s := p.steps(id)[0]
	require.Equal(t, "result_too_large", s.Results.Error.ErrorType)
	require.Equal(t, 1, s.Attempts)
	p.requireNothingLeft()
}

// Item 16.
func TestACancelledTasksHandlerIsEndedAndItsResultDropped(t *testing.T) {
	p := newProject(t, shared, "cancelled", chain(1, "steps.Gate")...)
	w := p.worker("--visibility-timeout", "3s")
	id := p.create("flow", nil)
	p.awaitNotes("entered", 1)
	require.NoError(t, p.REST.CancelTask(t.Context(), id))
	require.Eventually(t, func() bool { return p.metric(w, "tasker_worker_fenced_total") == 1 }, patience, 10*time.Millisecond)
	code, err := w.Stop() // it waits for handlers
	require.NoError(t, err)
	require.Zero(t, code, w.Log())
	require.Empty(t, p.noted("left"), "its handler was not ended")
	require.Equal(t, "cancelled", p.Task(t.Context(), id).Status)
	s := p.steps(id)[0]
	require.Equal(t, "cancelled", s.History[len(s.History)-1].To)
	require.Zero(t, s.Audits)
}
