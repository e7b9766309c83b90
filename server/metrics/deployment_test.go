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
	depths func(ctx context.Context) ([]postgres.QueueDepth, error)
}

func (s *source) Stats() postgres.Stats { return s.stats }

func (s *source) Pool() postgres.Pool {
	return postgres.Pool{Size: 3, Idle: 2, Max: 5, Acquires: 10, AcquireWait: 20 * time.Millisecond, Errors: 1}
}
func (s *source) Health() error   { return s.health }
func (s *source) Listening() bool { return s.health == nil }

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
		Dispatch:   func() dispatch.Stats { return dispatch.Stats{Running: 2, Queued: 3, Window: 20, Timeouts: 1} },
		Events: func() domainevent.Stats {
			return domainevent.Stats{Durable: 2, Fast: 3, Broadcast: 1, FastErrors: 4, Lost: 1}
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
	return m
}

func TestAWorkersNumbersHaveTheNamesOfTheReference(t *testing.T) {
	lines := scrape(t, full(&source{stats: postgres.Stats{Claimed: 20, Lost: 2, Duplicates: 3, Undecodable: 1, Completed: 15, Published: 2}, depths: ofShop}))
	for line, value := range map[string]string{
		`tasker_worker_info{version="1.2.3",worker_id="worker-1",worker_type="command_processor"}`: "1",
		`tasker_worker_db_pool_size`:                                                                                                    "3",
		`tasker_worker_queue_depth{namespace="shop"}`:                                                                                   "7",
		`tasker_worker_queue_oldest_message_age_seconds{namespace="shop"}`:                                                              "1.5",
		`tasker_worker_channel_health{channel_name="dispatch",component="worker"}`:                                                      "0",
		`tasker_queue_depth{namespace="shop"}`:                                                                                          "7",
		`tasker_queue_oldest_message_age{namespace="shop"}`:                                                                             "1500",
		`tasker_steps_successes_total{namespace="shop"}`:                                                                                "1",
		`tasker_steps_claimed_total{claim_method="event",namespace="shop"}`:                                                             "20",
		`tasker_step_claim_duration_milliseconds_sum{claim_method="event",namespace="shop"}`:                                            "3",
		`tasker_steps_results_submitted_total{result_type="completion"}`:                                                                "15",
		`tasker_step_result_submission_duration_milliseconds_sum{result_type="completion"}`:                                             "2",
		`tasker_step_state_transitions_total{from_state="enqueued",namespace="shop",to_state="in_progress"}`:                            "19",
		`tasker_step_state_transitions_total{from_state="in_progress",namespace="shop",to_state="in_progress"}`:                         "1",
		`tasker_step_state_transitions_total{from_state="in_progress",namespace="shop",to_state="enqueued_for_orchestration"}`:          "1",
		`tasker_step_state_transitions_total{from_state="in_progress",namespace="shop",to_state="enqueued_as_error_for_orchestration"}`: "1",
		`tasker_messages_received_total{message_type="StepMessage"}`:                                                                    "26",
		`tasker_ffi_completion_sends_total`:                                                                                             "4",
		`tasker_ffi_completion_circuit_state`:                                                                                           "0",
		`tasker_domain_events_dispatched_total{delivery_mode="fast"}`:                                                                   "3",
		`tasker_domain_events_dropped_total`:                                                                                            "5",
		`tasker_db_pool_connections{pool="worker",state="active"}`:                                                                      "1",
		`tasker_db_pool_checkouts_total{pool="worker"}`:                                                                                 "10",
		`tasker_db_pool_checkout_duration_milliseconds_sum{pool="worker"}`:                                                              "20",
		`tasker_channel_saturation{channel_name="dispatch",component="worker"}`:                                                         "0.25",
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
		require.Equal(t, "2", lines["tasker_ffi_completion_circuit_state"])
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
	require.NotContains(t, strings.Join(slices.Collect(maps.Keys(scrape(t, m))), "\n"), "tasker_step_claim")
}

func TestSucceededAndFailedStepsAreCounted(t *testing.T) {
	succeeded, failed := full(&source{}).Steps()
	require.EqualValues(t, 1, succeeded)
	require.EqualValues(t, 2, failed)
}

// families are the names and kinds of the metrics that a scrape shows.
func families(t *testing.T, m *metrics.Metrics) map[string]string {
	rec := httptest.NewRecorder()
	m.Handler(nil).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	all := map[string]string{}
	for _, found := range regexp.MustCompile(`(?m)^# TYPE (tasker_\S+) (\S+)$`).FindAllStringSubmatch(rec.Body.String(), -1) {
		all[found[1]] = found[2]
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
	for _, row := range regexp.MustCompile("(?m)^\\| `(tasker_[a-z0-9_]+)`[^|]*\\| (\\w+) \\|").FindAllStringSubmatch(string(document), -1) {
		explained[row[1]] = true
		require.Equal(t, shown[row[1]], row[2], "what docs/deployment.md says of %s", row[1])
	}
	for name, kind := range shown {
		require.True(t, explained[name], fmt.Sprintf("docs/deployment.md does not explain the %s %s", kind, name))
	}
}
