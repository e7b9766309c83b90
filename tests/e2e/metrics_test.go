package e2e_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/tests/cluster"
)

// seriesOf are the values in the /metrics of a worker whose lines begin so, by
// the rest of their names.
func seriesOf(t *testing.T, api cluster.Client, begin string) map[string]float64 {
	t.Helper()
	response, err := http.Get(api.URL + "/metrics")
	require.NoError(t, err)
	text, err := io.ReadAll(response.Body)
	require.NoError(t, errors.Join(err, response.Body.Close()))
	all := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		rest, ok := strings.CutPrefix(line, begin)
		if !ok {
			continue
		}
		at := strings.LastIndexByte(rest, ' ')
		var value float64
		_, err := fmt.Sscan(rest[at+1:], &value)
		require.NoError(t, err, line)
		all[rest[:at]] = value
	}
	return all
}

// awaitMetric waits until a metric of a worker has a value.
func (p *project) awaitMetric(w *cluster.Worker, value float64, name string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return p.metric(w, name) == value }, patience, 10*time.Millisecond, "%s is not %v", name, value)
}

// counted are the durable events of a namespace in the database, by name.
func (p *project) counted() map[string]float64 {
	p.t.Helper()
	rows, err := p.DB().Query(p.t.Context(),
		`SELECT message->>'event_name', count(*) FROM pgmq.q_`+p.namespace+`_domain_events GROUP BY 1`)
	require.NoError(p.t, err)
	defer rows.Close()
	all := map[string]float64{}
	for rows.Next() {
		var name string
		var n float64
		require.NoError(p.t, rows.Scan(&name, &n))
		all[name] = n
	}
	require.NoError(p.t, rows.Err())
	return all
}

// Three tasks of one namespace and two of another, whose steps fail once: what
// a worker says of them is what is in the database, and what its subscriber saw.
func TestAWorkerCountsWhatHasHappened(t *testing.T) {
	p := newProject(t, shared, "counting", publishing("steps.Wordy",
		event("counted.durable", "durable"), event("counted.fast", "fast"), event("counted.broadcast", "broadcast"),
		event("counted.never", "durable", "condition: failure"),
		"{name: counted.misfit, description: for a test, delivery_mode: durable, schema: {type: object, required: [no such key]}}"))
	other := *p
	other.namespace = "recounting"
	other.template("other_flow", publishing("steps.Failing",
		event("tried", "durable", "condition: retryable_failure"), event("done", "durable", "publisher: somebody.Else")))
	w := p.worker()
	var ids []string
	for range 3 {
		ids = append(ids, p.create("flow", map[string]any{"characters": 3}))
	}
	for range 2 {
		ids = append(ids, other.create("other_flow", map[string]any{"failures": 1, "permanent": false}))
	}
	p.await(ids)
	p.awaitMetric(w, 7, "tasker_messages_archived_total") // the last is put aside with its events

	require.Equal(t, map[string]float64{"counted.durable": 3, "counted.broadcast": 3}, p.counted())
	require.Equal(t, map[string]float64{"tried": 2, "done": 2}, other.counted())
	p.awaitNumber(7, `SELECT count(*) FROM (SELECT FROM pgmq.a_worker_counting_queue UNION ALL SELECT FROM pgmq.a_worker_recounting_queue) archived`)
	labels := func(namespace, name, mode, publisher string) string {
		return fmt.Sprintf(`{delivery_mode="%s",event_name="%s",namespace="%s",publisher="%s"}`, mode, name, namespace, publisher)
	}
	published := map[string]float64{
		labels("counting", "counted.durable", "durable", "default"):     3,
		labels("counting", "counted.fast", "fast", "default"):           3,
		labels("counting", "counted.broadcast", "broadcast", "default"): 3,
		labels("recounting", "tried", "durable", "default"):             2,
		labels("recounting", "done", "durable", "somebody.Else"):        2,
	}
	require.Equal(t, published, seriesOf(t, w.REST, "tasker_domain_events_published_total"))
	dispatched := maps.Clone(published)
	dispatched[labels("counting", "counted.misfit", "durable", "default")] = 3
	require.Equal(t, dispatched, seriesOf(t, w.REST, "tasker_domain_events_dispatched_total"))
	require.Equal(t, map[string]float64{
		`{delivery_mode="durable",error_type="publish_failed",event_name="counted.misfit",namespace="counting",publisher="default"}`: 3,
	}, seriesOf(t, w.REST, "tasker_domain_events_failed_total"))
	require.Empty(t, seriesOf(t, w.REST, "tasker_domain_events_dropped_total"))
	require.Equal(t, map[string]float64{
		`{delivery_mode="durable",namespace="counting",result="success"}`:   3,
		`{delivery_mode="durable",namespace="counting",result="error"}`:     3,
		`{delivery_mode="fast",namespace="counting",result="success"}`:      3,
		`{delivery_mode="broadcast",namespace="counting",result="success"}`: 3,
		`{delivery_mode="durable",namespace="recounting",result="success"}`: 4,
	}, seriesOf(t, w.REST, "tasker_domain_event_publish_duration_milliseconds_count"))
	for labels, total := range seriesOf(t, w.REST, "tasker_domain_event_publish_duration_milliseconds_sum") {
		require.Positive(t, total, labels)
	}
	require.Equal(t, map[string]int{
		"total_routed": 13, "durable_routed": 7, "fast_routed": 3, "broadcast_routed": 3, "fast_delivery_errors": 0, "routing_errors": 3,
	}, p.router(w))
	require.Eventually(t, func() bool {
		return maps.Equal(p.noted("counted"), map[string]int{"counted.fast": 3, "counted.broadcast": 3})
	}, patience, 10*time.Millisecond, "the subscriber got what was handed on")
	var answer struct {
		Bus map[string]int `json:"in_process_bus"`
	}
	require.NoError(t, w.REST.Get(t.Context(), "/metrics/events", &answer))
	require.Equal(t, 6, answer.Bus["total_events_dispatched"])
	require.Equal(t, 1, answer.Bus["ffi_subscriber_count"])

	for line, value := range map[string]float64{
		`tasker_steps_claimed_total{claim_method="event",namespace="counting"}`:                                                               3,
		`tasker_steps_claimed_total{claim_method="event",namespace="recounting"}`:                                                             4,
		`tasker_steps_results_submitted_total{result_type="completion"}`:                                                                      7,
		`tasker_step_attempts_total`:                                                                                                          7,
		`tasker_messages_sent_total{message_type="StepExecutionResult"}`:                                                                      7,
		`tasker_messages_sent_total{message_type="DomainEvent"}`:                                                                              10,
		`tasker_messages_received_total{message_type="StepMessage"}`:                                                                          7,
		`tasker_messages_receive_failures_total{message_type="StepMessage"}`:                                                                  0,
		`tasker_messages_send_failures_total{message_type="DomainEvent"}`:                                                                     0,
		`tasker_message_latency_milliseconds_count{message_type="StepMessage",namespace="counting"}`:                                          3,
		`tasker_message_latency_milliseconds_count{message_type="StepMessage",namespace="recounting"}`:                                        4,
		`tasker_message_send_duration_milliseconds_count{message_type="DomainEvent"}`:                                                         7,
		`tasker_db_transaction_duration_milliseconds_count{result="commit",transaction_type="domain_events"}`:                                 7,
		`tasker_step_state_transitions_total{from_state="in_progress",namespace="recounting",to_state="enqueued_as_error_for_orchestration"}`: 2,
		`tasker_ffi_completion_sends_total`:                                                                                                   7,
		`tasker_ffi_completion_send_duration_milliseconds_count`:                                                                              7,
		`tasker_domain_events_channel_depth`:                                                                                                  0,
		`tasker_steps_active_executions{namespace="counting"}`:                                                                                0,
		`tasker_channel_messages_sent_total{channel_name="dispatch",component="worker"}`:                                                      7,
		`tasker_channel_messages_received_total{channel_name="dispatch",component="worker"}`:                                                  7,
		`tasker_channel_messages_received_total{channel_name="results",component="worker"}`:                                                   7,
		`tasker_channel_messages_received_total{channel_name="domain_events",component="worker"}`:                                             7,
		`tasker_channel_messages_received_total{channel_name="fast_events",component="worker"}`:                                               6,
	} {
		require.Equal(t, map[string]float64{"": value}, seriesOf(t, w.REST, line), line)
	}
	// A message cannot be done with before its step's handler was.
	latency := slices.Sorted(maps.Values(seriesOf(t, w.REST, "tasker_message_latency_milliseconds_sum")))
	require.Greater(t, latency[0], 0.0)
	require.Less(t, latency[len(latency)-1], float64((time.Minute).Milliseconds()))
	checkouts := p.metric(w, "tasker_db_pool_checkout_duration_milliseconds_count")
	require.InDelta(t, p.metric(w, "tasker_db_pool_checkouts_total"), checkouts, 20, "both count the same, at two scrapes")
	p.requireNothingLeft()
}

func TestWhatRunsIsCountedByNamespace(t *testing.T) {
	p := newProject(t, shared, "running", chain(1, "steps.Gate")...)
	w := p.worker()
	ids := p.createMany(2, nil)
	p.awaitNotes("entered", 2)
	require.Equal(t, map[string]float64{`{namespace="running"}`: 2}, seriesOf(t, w.REST, "tasker_steps_active_executions"))
	p.open()
	p.requireDone(ids)
	p.awaitMetric(w, 0, "tasker_steps_active_executions")
	p.awaitMetric(w, 2, "tasker_messages_archived_total")
}
