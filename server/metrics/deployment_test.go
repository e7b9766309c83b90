package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/domainevent"
	"github.com/tasker-systems/taskerpy/gil/state"
	"github.com/tasker-systems/taskerpy/postgres"
	"github.com/tasker-systems/taskerpy/server/metrics"
)

// source is a deployment that says what a test tells it to.
type source struct {
	stats  postgres.Stats
	health error
	apart  postgres.Pool // of a queue database, if it has a name
	depths func(ctx context.Context) ([]postgres.QueueDepth, error)
}

func (s *source) Stats() postgres.Stats { return s.stats }

func (s *source) Pool() postgres.Pool {
	return postgres.Pool{Name: postgres.MainPool, Size: 3, Idle: 2, Max: 5, Acquires: 10, Errors: 1, Unmade: 2}
}

func (s *source) QueuePool() postgres.Pool {
	if s.apart.Name == "" {
		return s.Pool()
	}
	return s.apart
}

func (s *source) Health() error        { return s.health }
func (s *source) Namespaces() []string { return []string{"shop", "idle"} }
func (s *source) Listening() bool      { return s.health == nil }

func (s *source) QueueDepths(ctx context.Context) ([]postgres.QueueDepth, error) {
	if s.depths == nil {
		return nil, nil
	}
	return s.depths(ctx)
}

func ofShop(context.Context) ([]postgres.QueueDepth, error) {
	return []postgres.QueueDepth{{Namespace: "shop", Messages: 7, Oldest: 1500 * time.Millisecond}}, nil
}

// full are metrics of a worker that has seen everything.
func full(s *source) *metrics.Metrics {
	m := metrics.NewForDeployment(metrics.Info{Version: "1.2.3", WorkerID: "worker-1"})
	m.Follow(metrics.Sources{
		Deployment: s,
		Dispatch: func() dispatch.Stats {
			return dispatch.Stats{
				Running: 2, Queued: 3, Window: 20, Timeouts: 1, Claimed: 9, Namespaces: map[string]int{"shop": 2},
			}
		},
		Events: func() domainevent.Stats {
			return domainevent.Stats{Durable: 2, Fast: 3, Broadcast: 1, FastErrors: 4, Lost: 1, Waiting: 1, Given: 8, FastWaiting: 5, FastRoom: 1000}
		},
		Lanes:    func() map[state.State]int { return map[state.State]int{state.Running: 2} },
		Draining: func() bool { return false },
	})
	for _, o := range []dispatch.Outcome{dispatch.Success, dispatch.RetryableFailure, dispatch.PermanentFailure, dispatch.CheckpointYield} {
		m.StepDone(step("check_order"), o, 0, 0)
	}
	m.ClaimDone("shop", 20, 1, 3*time.Millisecond)
	m.StoreDone(15, 2*time.Millisecond)
	m.ResultStored("shop", true)
	m.ResultStored("shop", false)
	m.StepReleased("shop")
	m.MessageDone("shop", 4*time.Second)
	m.ResultGiven(time.Microsecond)
	m.ResultGiven(101 * time.Millisecond)
	m.EventsSent(3, 6*time.Millisecond)
	m.TransactionDone(postgres.StepClaim, 3*time.Millisecond, true)
	m.TransactionDone(postgres.StepResult, 2*time.Millisecond, false)
	m.ConnectionTaken(postgres.MainPool, 20*time.Millisecond)
	paid := domainevent.Kind{Namespace: "shop", Name: "order.paid", Delivery: "durable", Publisher: "default"}
	for range 4 {
		m.EventDispatched(paid)
	}
	m.EventPublished(paid, 7*time.Millisecond)
	m.EventFailed(paid, 8*time.Millisecond)
	m.EventDropped(domainevent.Kind{Namespace: "shop", Name: "stock.low", Delivery: "fast", Publisher: "direct"})
	return m
}

func TestAWorkersNumbersHaveTheNamesOfTheReference(t *testing.T) {
	lines := scrape(t, full(&source{stats: postgres.Stats{
		Claimed: 20, Received: 26, ReceiveFailures: 3, Archived: 14, Completed: 15, Published: 2, SendFailures: 4, EventSendFailures: 5,
		Given: 17, Settled: 16, Unstored: 1, Publications: 6, Unpublished: 2,
	}, depths: ofShop}))
	for line, value := range map[string]string{
		`tasker_worker_info{version="1.2.3",worker_id="worker-1",worker_type="command_processor"}`: "1",
		`tasker_worker_db_pool_size`:                                                                                                                          "3",
		`tasker_worker_queue_depth{namespace="shop"}`:                                                                                                         "7",
		`tasker_worker_queue_oldest_message_age_seconds{namespace="shop"}`:                                                                                    "1.5",
		`tasker_worker_channel_health{channel_name="dispatch",component="worker"}`:                                                                            "0",
		`tasker_queue_depth{namespace="shop"}`:                                                                                                                "7",
		`tasker_queue_oldest_message_age{namespace="shop"}`:                                                                                                   "1500",
		`tasker_steps_successes_total{namespace="shop"}`:                                                                                                      "1",
		`tasker_steps_claimed_total{claim_method="event",namespace="shop"}`:                                                                                   "20",
		`tasker_step_claim_duration_milliseconds_sum{claim_method="event",namespace="shop"}`:                                                                  "3",
		`tasker_steps_results_submitted_total{result_type="completion"}`:                                                                                      "15",
		`tasker_step_result_submission_duration_milliseconds_sum{result_type="completion"}`:                                                                   "2",
		`tasker_step_state_transitions_total{from_state="enqueued",namespace="shop",to_state="in_progress"}`:                                                  "19",
		`tasker_step_state_transitions_total{from_state="in_progress",namespace="shop",to_state="in_progress"}`:                                               "1",
		`tasker_step_state_transitions_total{from_state="in_progress",namespace="shop",to_state="enqueued_for_orchestration"}`:                                "1",
		`tasker_step_state_transitions_total{from_state="in_progress",namespace="shop",to_state="enqueued_as_error_for_orchestration"}`:                       "1",
		`tasker_messages_received_total{message_type="StepMessage"}`:                                                                                          "26",
		`tasker_ffi_completion_sends_total`:                                                                                                                   "4",
		`tasker_ffi_completion_circuit_state`:                                                                                                                 "0",
		`tasker_steps_active_executions{namespace="shop"}`:                                                                                                    "2",
		`tasker_steps_active_executions{namespace="idle"}`:                                                                                                    "0",
		`tasker_step_state_transitions_total{from_state="in_progress",namespace="shop",to_state="enqueued"}`:                                                  "1",
		`tasker_messages_receive_failures_total{message_type="StepMessage"}`:                                                                                  "3",
		`tasker_messages_send_failures_total{message_type="StepExecutionResult"}`:                                                                             "4",
		`tasker_messages_send_failures_total{message_type="DomainEvent"}`:                                                                                     "5",
		`tasker_messages_sent_total{message_type="DomainEvent"}`:                                                                                              "2",
		`tasker_messages_archived_total{message_type="StepMessage"}`:                                                                                          "14",
		`tasker_message_latency_milliseconds_sum{message_type="StepMessage",namespace="shop"}`:                                                                "4000",
		`tasker_message_receive_duration_milliseconds_sum{namespace="shop"}`:                                                                                  "3",
		`tasker_message_send_duration_milliseconds_sum{message_type="StepExecutionResult"}`:                                                                   "2",
		`tasker_message_send_duration_milliseconds_sum{message_type="DomainEvent"}`:                                                                           "6",
		`tasker_ffi_completion_slow_sends_total`:                                                                                                              "1",
		`tasker_ffi_completion_send_duration_milliseconds_count`:                                                                                              "2",
		`tasker_domain_events_dispatched_total{delivery_mode="durable",event_name="order.paid",namespace="shop",publisher="default"}`:                         "4",
		`tasker_domain_events_published_total{delivery_mode="durable",event_name="order.paid",namespace="shop",publisher="default"}`:                          "1",
		`tasker_domain_events_failed_total{delivery_mode="durable",error_type="publish_failed",event_name="order.paid",namespace="shop",publisher="default"}`: "1",
		`tasker_domain_events_dropped_total{delivery_mode="fast",event_name="stock.low",namespace="shop",publisher="direct"}`:                                 "1",
		`tasker_domain_event_publish_duration_milliseconds_sum{delivery_mode="durable",namespace="shop",result="success"}`:                                    "7",
		`tasker_domain_event_publish_duration_milliseconds_sum{delivery_mode="durable",namespace="shop",result="error"}`:                                      "8",
		`tasker_domain_events_channel_depth`:                                                                                                                  "3",
		`tasker_channel_messages_sent_total{channel_name="dispatch",component="worker"}`:                                                                      "9",
		`tasker_channel_messages_received_total{channel_name="dispatch",component="worker"}`:                                                                  "6",
		`tasker_channel_messages_sent_total{channel_name="results",component="worker"}`:                                                                       "17",
		`tasker_channel_messages_received_total{channel_name="results",component="worker"}`:                                                                   "16",
		`tasker_channel_messages_sent_total{channel_name="domain_events",component="worker"}`:                                                                 "6",
		`tasker_channel_messages_received_total{channel_name="domain_events",component="worker"}`:                                                             "3",
		`tasker_channel_messages_received_total{channel_name="fast_events",component="worker"}`:                                                               "3",
		`tasker_channel_messages_dropped_total{channel_name="fast_events",component="worker"}`:                                                                "4",
		`tasker_channel_overflow_events_total{channel_name="fast_events",component="worker"}`:                                                                 "4",
		`tasker_channel_backlog{channel_name="fast_events",component="worker"}`:                                                                               "5",
		`tasker_channel_buffer_size{channel_name="fast_events",component="worker"}`:                                                                           "1000",
		`tasker_channel_saturation{channel_name="fast_events",component="worker"}`:                                                                            "0.005",
		`tasker_db_transaction_duration_milliseconds_sum{result="commit",transaction_type="step_claim"}`:                                                      "3",
		`tasker_db_transaction_duration_milliseconds_sum{result="rollback",transaction_type="step_result"}`:                                                   "2",
		`tasker_db_connection_errors_total{error_type="timeout"}`:                                                                                             "1",
		`tasker_db_connection_errors_total{error_type="connection_failed"}`:                                                                                   "2",
		`tasker_db_pool_connections{pool="worker",state="active"}`:                                                                                            "1",
		`tasker_db_pool_checkouts_total{pool="worker"}`:                                                                                                       "10",
		`tasker_db_pool_checkout_duration_milliseconds_sum{pool="worker"}`:                                                                                    "20",
		`tasker_channel_saturation{channel_name="dispatch",component="worker"}`:                                                                               "0.25",
	} {
		require.Equal(t, value, lines[line], line)
	}
}

func TestAWorkersOwnNumbers(t *testing.T) {
	lines := scrape(t, full(&source{stats: postgres.Stats{
		Lost: 1, Fenced: 2, Takeovers: 3, Swept: 4, Undecodable: 5, Reconnects: 6, Duplicates: 7, Checkpoints: 8, Released: 9,
		Retries: 10, ClaimBatches: 11, CompleteBatches: 12, Held: 13, Unstored: 1000, Overlooked: 14, Abandoned: 15,
	}}))
	for name, value := range map[string]string{
		"claims_lost_total": "1", "fenced_total": "2", "takeovers_total": "3", "swept_messages_total": "4", "undecodable_messages_total": "5",
		"listener_reconnects_total": "6", "duplicate_messages_total": "7", "checkpoints_total": "8", "steps_released_total": "9",
		"statement_retries_total": "10", "claim_batches_total": "11", "result_batches_total": "12", "steps_held": "13", "results_waiting": "1000",
		"overlooked_tasks_total": "14", "abandoned_tasks_total": "15", "database_up": "1", "listening": "1",
		`channel_health{channel_name="results",component="worker"}`: "1",
		`claim_batch_steps_sum{namespace="shop"}`:                   "20",
		"result_batch_results_sum":                                  "15",
	} {
		require.Equal(t, value, lines["tasker_worker_"+name], name)
	}
}

func TestAWorkerWithoutDatabaseStillTellsWhatItKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := full(&source{health: errors.New("gone"), depths: func(ctx context.Context) ([]postgres.QueueDepth, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		began := time.Now()
		lines := scrape(t, m)
		require.Equal(t, time.Second, time.Since(began), "it waits no longer")
		require.Equal(t, "0", lines["tasker_worker_database_up"])
		require.Equal(t, "1", lines["tasker_ffi_completion_circuit_state"])
		require.NotContains(t, lines, `tasker_worker_queue_depth{namespace="shop"}`)
	})
}

func TestAWorkerOfADeploymentHasNoNumbersOfTheEngine(t *testing.T) {
	for line := range scrape(t, full(&source{})) {
		require.NotRegexp(t, `^tasker_(engine|orchestration)_`, line)
	}
}

func TestNoMetricHasASeriesForEachTask(t *testing.T) {
	for line := range scrape(t, full(&source{depths: ofShop})) {
		require.NotRegexp(t, `correlation_id|task_uuid|step_uuid`, line)
	}
}

func TestTheEmbeddedEngineHasNoNumbersOfADeployment(t *testing.T) {
	m := metrics.New(metrics.Info{})
	m.ClaimDone("shop", 1, 0, time.Millisecond)
	m.StoreDone(1, time.Millisecond)
	m.ResultStored("shop", true)
	m.EventDispatched(domainevent.Kind{})
	m.EventPublished(domainevent.Kind{}, 0)
	m.EventFailed(domainevent.Kind{}, 0)
	m.EventDropped(domainevent.Kind{})
	require.NotContains(t, strings.Join(slices.Collect(maps.Keys(scrape(t, m))), "\n"), "tasker_step_claim")
}

func TestAClaimThatFindsNothingIsOnlyAReading(t *testing.T) {
	m := metrics.NewForDeployment(metrics.Info{})
	m.ClaimDone("shop", 0, 0, time.Millisecond)
	lines := scrape(t, m)
	require.Equal(t, "1", lines[`tasker_message_receive_duration_milliseconds_count{namespace="shop"}`])
	require.NotContains(t, lines, `tasker_step_claim_duration_milliseconds_count{claim_method="event",namespace="shop"}`)
}

func TestAWorkerWhoseStepsAProgramPollsHasNoDispatcher(t *testing.T) {
	m := metrics.NewForDeployment(metrics.Info{})
	m.Follow(metrics.Sources{Deployment: &source{}})
	lines := scrape(t, m)
	require.Contains(t, lines, `tasker_channel_backlog{channel_name="results",component="worker"}`)
	require.NotContains(t, lines, `tasker_channel_backlog{channel_name="dispatch",component="worker"}`)
}

func TestAChannelWithoutRoomIsCritical(t *testing.T) {
	for waiting, health := range map[int]string{0: "0", 799: "0", 800: "1", 949: "1", 950: "2", 1000: "2"} {
		m := metrics.NewForDeployment(metrics.Info{})
		m.Follow(metrics.Sources{
			Deployment: &source{}, Events: func() domainevent.Stats { return domainevent.Stats{FastWaiting: waiting, FastRoom: 1000} },
		})
		require.Equal(t, health, scrape(t, m)[`tasker_channel_health_status{channel_name="fast_events",component="worker"}`], waiting)
	}
}

// Templates bound the names of events, except of those that handlers publish by
// themselves; and there may be many templates.
func TestEventsAreToldApartUpToALimit(t *testing.T) {
	for publisher, limit := range map[string]int{"default": 1000, "direct": 100} {
		m := metrics.NewForDeployment(metrics.Info{})
		for i := range limit + 3 {
			m.EventDispatched(domainevent.Kind{Namespace: "shop", Name: fmt.Sprint("e", i), Delivery: "fast", Publisher: publisher})
		}
		other := map[string]string{"default": "other", "direct": "direct"}[publisher]
		series := 0
		lines := scrape(t, m)
		for line := range lines {
			if strings.HasPrefix(line, "tasker_domain_events_dispatched_total{") {
				series++
			}
		}
		require.Equal(t, limit+1, series, publisher)
		require.Equal(t, "3", lines[`tasker_domain_events_dispatched_total{delivery_mode="fast",event_name="other",namespace="other",publisher="`+other+`"}`])
		m.EventDispatched(domainevent.Kind{Namespace: "shop", Name: "e0", Delivery: "fast", Publisher: publisher})
		require.Equal(t, "2", scrape(t, m)[`tasker_domain_events_dispatched_total{delivery_mode="fast",event_name="e0",namespace="shop",publisher="`+publisher+`"}`])
	}
}

func TestWhatIsToldForEachStepDoesNotAllocate(t *testing.T) {
	m := full(&source{})
	require.Zero(t, testing.AllocsPerRun(100, func() {
		m.ResultGiven(time.Microsecond)
		m.ResultStored("shop", true)
		m.MessageDone("shop", time.Second)
	}))
}

func TestSucceededAndFailedStepsAreCounted(t *testing.T) {
	succeeded, failed := full(&source{}).Steps()
	require.EqualValues(t, 1, succeeded)
	require.EqualValues(t, 2, failed)
}

// family is a metric that a scrape shows.
type family struct {
	kind   string
	labels []string // sorted
}

// families are the metrics that a scrape shows.
func families(t *testing.T, m *metrics.Metrics) map[string]family {
	rec := httptest.NewRecorder()
	m.Handler(nil).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	all := map[string]family{}
	kinds := regexp.MustCompile(`(?m)^# TYPE (tasker_\S+) (\S+)\n\S+?(?:\{(\S*)\})? `).FindAllStringSubmatch(rec.Body.String(), -1)
	for _, found := range kinds {
		f := family{kind: found[2]}
		for _, label := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(found[3], -1) {
			if label[1] != "le" {
				f.labels = append(f.labels, label[1])
			}
		}
		slices.Sort(f.labels)
		all[found[1]] = f
	}
	require.NotEmpty(t, all)
	return all
}

func TestEveryMetricIsExplained(t *testing.T) {
	document, err := os.ReadFile(filepath.Join("..", "..", "docs", "deployment.md"))
	require.NoError(t, err)
	embedded := metrics.New(metrics.Info{})
	embedded.StepDone(step("check_order"), dispatch.Success, 0, 0)
	embedded.StepDone(step("check_order"), dispatch.PermanentFailure, 0, 0)
	embedded.Follow(metrics.Sources{
		Engine: &fakeEngine{}, Dispatch: func() dispatch.Stats { return dispatch.Stats{} },
		Lanes: func() map[state.State]int { return nil }, Draining: func() bool { return false },
	})
	shown := families(t, full(&source{depths: ofShop}))
	maps.Copy(shown, families(t, embedded))
	explained := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(tasker_[a-z0-9_]+)` ?([^|]*) \\| (\\w+) \\|").FindAllStringSubmatch(string(document), -1) {
		explained[row[1]] = true
		require.Equal(t, shown[row[1]].kind, row[3], "what docs/deployment.md says of %s", row[1])
		if strings.Contains(row[2], "`") {
			continue // a row of several metrics
		}
		labels := strings.FieldsFunc(row[2], func(r rune) bool { return r == ',' || r == ' ' })
		slices.Sort(labels)
		require.ElementsMatch(t, shown[row[1]].labels, labels, "labels that docs/deployment.md says %s has", row[1])
	}
	for name, f := range shown {
		require.True(t, explained[name], fmt.Sprintf("docs/deployment.md does not explain the %s %s", f.kind, name))
	}
}

func TestAQueueDatabaseHasAPoolOfItsOwn(t *testing.T) {
	m := full(&source{depths: ofShop, apart: postgres.Pool{Name: postgres.QueuePool, Size: 4, Idle: 1, Acquires: 6, Errors: 5, Unmade: 7}})
	m.ConnectionTaken(postgres.QueuePool, 40*time.Millisecond)
	lines := scrape(t, m)
	for line, value := range map[string]string{
		`tasker_worker_db_pool_size`:                                        "7",
		`tasker_db_pool_connections{pool="worker",state="active"}`:          "1",
		`tasker_db_pool_connections{pool="queues",state="active"}`:          "3",
		`tasker_db_pool_connections{pool="queues",state="idle"}`:            "1",
		`tasker_db_pool_checkouts_total{pool="queues"}`:                     "6",
		`tasker_db_pool_checkout_duration_milliseconds_sum{pool="queues"}`:  "40",
		`tasker_db_connection_errors_total{error_type="timeout"}`:           "6",
		`tasker_db_connection_errors_total{error_type="connection_failed"}`: "9",
	} {
		require.Equal(t, value, lines[line], line)
	}
}

func TestQueuesThatAreNotApartHaveNoPool(t *testing.T) {
	require.NotContains(t, scrape(t, full(&source{depths: ofShop})), `tasker_db_pool_checkouts_total{pool="queues"}`)
}
