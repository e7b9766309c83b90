package worker

import (
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/domainevent"
	"github.com/tasker-systems/taskerpy/embed"
	"github.com/tasker-systems/taskerpy/template"
)

// answer calls a native function that must succeed.
func answer(t *testing.T, n *natives, name, payload string) string {
	t.Helper()
	out, err := n.native(name, []byte(payload))
	require.NoError(t, err)
	return string(out)
}

func TestWithoutAWorkerOnlyQuestionsAboutItAreAnswered(t *testing.T) {
	n := &natives{}
	require.Equal(t, "false", answer(t, n, "is_worker_running", ""))
	require.Equal(t, `"Worker system not running"`, answer(t, n, "stop_worker", ""))
	require.JSONEq(t, `{"running": false, "error": "Worker system not initialized"}`, answer(t, n, "get_worker_status", ""))
	for _, name := range []string{
		"poll_step_events", "complete_step_event", "checkpoint_yield_step_event", "get_ffi_dispatch_metrics", "check_starvation_warnings",
		"cleanup_timeouts", "poll_in_process_events", "get_health_check", "get_metrics", "get_worker_config", "client_endpoint",
		"transition_to_graceful_shutdown",
	} {
		_, err := n.native(name, nil)
		require.EqualError(t, err, "Worker not initialized. Call bootstrap_worker() first.", name)
	}
}

func TestAPayloadIsCheckedAgainstItsEventsSchema(t *testing.T) {
	n := &natives{}
	const schema = `{"type": "object", "required": ["amount"], "properties": {"amount": {"type": "number"}, "note": {"type": "string"}}}`
	answer(t, n, "check_domain_event", `{"schema": `+schema+`, "payload": {"amount": 5}}`)
	answer(t, n, "check_domain_event", `{"schema": null, "payload": 7}`)
	_, err := n.native("check_domain_event", []byte(`{"schema": `+schema+`, "payload": {"amount": "5", "note": 1}}`))
	var refusal embed.ValueError
	require.ErrorAs(t, err, &refusal)
	require.Contains(t, refusal.Text, "/amount")
	require.Contains(t, refusal.Text, "/note")
	require.NotContains(t, refusal.Text, "\n")
}

func TestLinesArriveWithoutAWorker(t *testing.T) {
	var lines []OutputLine
	n := &natives{output: output{func(l OutputLine) { lines = append(lines, l) }, slog.LevelInfo}}
	answer(t, n, "log_warn", `{"message": "low", "fields": {"tank": "3"}}`)
	answer(t, n, "log_debug", `{"message": "hidden"}`)
	require.Equal(t, []OutputLine{{Text: "low", Level: slog.LevelWarn, Logger: "tasker_core", Fields: map[string]string{"tank": "3"}}}, lines)
	_, err := n.native("log_info", []byte(`no JSON`))
	require.ErrorContains(t, err, "log_info")
}

// embedded is a worker whose lanes run the handlers, as the natives see it.
func embedded(t *testing.T) *natives {
	t.Helper()
	w := &Worker{dispatcher: dispatch.New(dispatch.Options{})}
	w.status = newStatus(Config{Environment: "test", Endpoint: "http://127.0.0.1:8083"}, []*template.Template{{Namespace: "shop"}, {Namespace: "bank"}, {Namespace: "shop"}})
	w.status.core, w.status.pending, w.status.bus = func() string { return "Running" }, w.pending, &domainevent.Bus{}
	n := &natives{}
	n.serve(w)
	return n
}

func TestHandlersOfAnEmbeddedWorkerCannotStopIt(t *testing.T) {
	n := embedded(t)
	for _, name := range []string{"stop_worker", "transition_to_graceful_shutdown"} {
		_, err := n.native(name, nil)
		require.ErrorIs(t, err, errOwned)
	}
	require.Equal(t, "true", answer(t, n, "is_worker_running", ""))
	var again struct{ Status string }
	require.NoError(t, json.Unmarshal([]byte(answer(t, n, "bootstrap_worker", "")), &again))
	require.Equal(t, "already_running", again.Status)
}

func TestAnEmbeddedWorkerHasNoStepsToPoll(t *testing.T) {
	n := embedded(t)
	require.Empty(t, answer(t, n, "poll_step_events", ""))
	require.Empty(t, answer(t, n, "poll_in_process_events", ""))
	require.Equal(t, "false", answer(t, n, "complete_step_event", `{}`))
	require.Equal(t, "false", answer(t, n, "checkpoint_yield_step_event", `{}`))
	require.Equal(t, "0", answer(t, n, "cleanup_timeouts", ""))
	require.Equal(t, "true", answer(t, n, "check_starvation_warnings", ""))
}

func TestAWorkerTellsHowItIs(t *testing.T) {
	n := embedded(t)
	require.JSONEq(t, `{"running": true, "environment": "test", "worker_core_status": "Running", "web_api_enabled": true,
	  "supported_namespaces": ["bank", "shop"], "database_pool_size": 1, "database_pool_idle": 0}`, answer(t, n, "get_worker_status", ""))
	require.JSONEq(t, `{"status": "healthy", "is_running": true,
	  "components": {"database": {"name": "database", "status": "healthy", "pool_size": 1, "pool_idle": 0}},
	  "rust": {"environment": "test", "worker_core_status": "Running", "web_api_enabled": true},
	  "python": {"handler_count": "unknown (tracked by Python)"}}`, answer(t, n, "get_health_check", ""))
	require.JSONEq(t, `{"dispatch_channel_pending": 0, "oldest_pending_age_ms": null, "newest_pending_age_ms": null,
	  "starvation_detected": false, "starving_event_count": 0, "database_pool_size": 1, "database_pool_idle": 0, "environment": "test",
	  "steps_processed": 0, "steps_succeeded": 0, "steps_failed": 0, "steps_in_progress": 0}`, answer(t, n, "get_metrics", ""))
	require.JSONEq(t, `{"pending_count": 0, "oldest_pending_age_ms": null, "newest_pending_age_ms": null, "oldest_event_id": null,
	  "starvation_detected": false, "starving_event_count": 0}`, answer(t, n, "get_ffi_dispatch_metrics", ""))
	require.JSONEq(t, `{"environment": "test", "supported_namespaces": ["bank", "shop"], "web_api_enabled": true, "database_pool_size": 1,
	  "polling_interval_ms": 10, "starvation_threshold_ms": 1000, "max_concurrent_handlers": 16, "handler_timeout_ms": 30000}`,
		answer(t, n, "get_worker_config", ""))
	require.JSONEq(t, `{"base_url": "http://127.0.0.1:8083"}`, answer(t, n, "client_endpoint", ""))
}

func TestClientsInHandlersAreToldWhatTheirRequestsCarryAndHowLongTheyMayTake(t *testing.T) {
	w := &Worker{status: newStatus(Config{
		Endpoint: "http://tasker-server:8080", EndpointHeaders: map[string]string{"X-Api-Key": "sesame"}, EndpointTimeout: 1500 * time.Millisecond,
	}, nil)}
	w.status.core = func() string { return "Running" }
	n := &natives{}
	n.serve(w)
	require.JSONEq(t, `{"base_url": "http://tasker-server:8080", "headers": {"X-Api-Key": "sesame"}, "timeout_ms": 1500}`,
		answer(t, n, "client_endpoint", ""))
}

func TestFinishedStepsAreCountedByHowTheyEnded(t *testing.T) {
	seen := &countingMetrics{}
	o := &outcomes{next: seen}
	for _, outcome := range []dispatch.Outcome{
		dispatch.Success, dispatch.SuccessDirective, dispatch.RetryableFailure, dispatch.PermanentFailure, dispatch.CheckpointYield,
	} {
		o.StepDone(&dispatch.Step{}, outcome, 0, 0)
	}
	require.EqualValues(t, 2, o.succeeded.Load())
	require.EqualValues(t, 2, o.failed.Load())
	require.Equal(t, 5, seen.n, "others that count see all")
}

type countingMetrics struct{ n int }

func (c *countingMetrics) StepDone(*dispatch.Step, dispatch.Outcome, time.Duration, time.Duration) {
	c.n++
}
