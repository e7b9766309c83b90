package metrics_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/gil/state"
	"github.com/tasker-systems/taskerpy/server/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scrape returns the exposed lines that begin with tasker_.
func scrape(t *testing.T, m *metrics.Metrics) map[string]string {
	t.Helper()
	rec := httptest.NewRecorder()
	m.Handler(nil).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, rec.Code)
	lines := map[string]string{}
	for line := range strings.Lines(rec.Body.String()) {
		if at := strings.LastIndexByte(line, ' '); at > 0 && !strings.HasPrefix(line, "#") {
			lines[line[:at]] = strings.TrimSpace(line[at:])
		}
	}
	return lines
}

func step(name string) *dispatch.Step {
	return &dispatch.Step{Namespace: "shop", Task: "order_intake", Name: name}
}

func TestTheExpositionIsPrometheusTextOfVersion004(t *testing.T) {
	rec := httptest.NewRecorder()
	metrics.New(metrics.Info{}).Handler(nil).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Contains(t, rec.Header().Get("Content-Type"), "text/plain; version=0.0.4")
}

func TestStepsAreCountedByOutcome(t *testing.T) {
	m := metrics.New(metrics.Info{})
	for _, o := range []dispatch.Outcome{
		dispatch.Success, dispatch.SuccessDirective, dispatch.RetryableFailure, dispatch.PermanentFailure, dispatch.CheckpointYield,
	} {
		m.StepDone(step("check_order"), o, 0, 0)
	}
	lines := scrape(t, m)
	of := func(outcome string) string {
		return lines[fmt.Sprintf(`tasker_steps_executions_total{namespace="shop",outcome=%q,step="check_order",task="order_intake"}`, outcome)]
	}
	require.Equal(t, "2", of("success"))
	require.Equal(t, "1", of("retryable_failure"))
	require.Equal(t, "1", of("permanent_failure"))
	require.Equal(t, "1", of("checkpoint"))
	require.Equal(t, "2", lines[`tasker_steps_successes_total{namespace="shop"}`])
	require.Equal(t, "1", lines[`tasker_steps_failures_total{error_type="retryable_error",namespace="shop"}`])
	require.Equal(t, "1", lines[`tasker_steps_failures_total{error_type="permanent_error",namespace="shop"}`])
}

func TestAnOutcomeThatNothingHasHadYetShowsAsZero(t *testing.T) {
	m := metrics.New(metrics.Info{})
	m.StepDone(step("check_order"), dispatch.Success, 0, 0)
	require.Equal(t, "0", scrape(t, m)[`tasker_steps_executions_total{namespace="shop",outcome="permanent_failure",step="check_order",task="order_intake"}`])
}

func TestDurationsAreInMilliseconds(t *testing.T) {
	m := metrics.New(metrics.Info{})
	m.StepDone(step("check_order"), dispatch.Success, 3*time.Second, 200*time.Microsecond)
	lines := scrape(t, m)
	require.Equal(t, "0.2", lines[`tasker_step_execution_duration_milliseconds_sum{namespace="shop",result="success"}`])
	require.Equal(t, "0", lines[`tasker_step_execution_duration_milliseconds_bucket{namespace="shop",result="success",le="0.1"}`])
	require.Equal(t, "1", lines[`tasker_step_execution_duration_milliseconds_bucket{namespace="shop",result="success",le="0.25"}`])
	require.Equal(t, "3000", lines[`tasker_step_queue_wait_milliseconds_sum{namespace="shop"}`])
	require.Equal(t, "1", lines[`tasker_step_queue_wait_milliseconds_bucket{namespace="shop",le="60000"}`])
}

func TestCommitsAreObserved(t *testing.T) {
	m := metrics.New(metrics.Info{})
	m.Committed(5*time.Millisecond, 12)
	m.Committed(7*time.Millisecond, 1)
	lines := scrape(t, m)
	require.Equal(t, "2", lines["tasker_engine_commit_duration_milliseconds_count"])
	require.Equal(t, "12", lines["tasker_engine_commit_duration_milliseconds_sum"])
	require.Equal(t, "13", lines["tasker_engine_commit_changes_sum"])
	require.Equal(t, "1", lines[`tasker_engine_commit_changes_bucket{le="10"}`])
}

func TestStepsBeyondTheLimitShareOneSeries(t *testing.T) {
	m := metrics.New(metrics.Info{})
	for i := range 1200 {
		m.StepDone(step(fmt.Sprintf("batch_%04d", i)), dispatch.Success, 0, 0)
	}
	lines := scrape(t, m)
	require.Equal(t, "1", lines[`tasker_steps_executions_total{namespace="shop",outcome="success",step="batch_0999",task="order_intake"}`])
	require.NotContains(t, lines, `tasker_steps_executions_total{namespace="shop",outcome="success",step="batch_1000",task="order_intake"}`)
	require.Equal(t, "200", lines[`tasker_steps_executions_total{namespace="other",outcome="success",step="other",task="other"}`])
}

func TestNoExecutionIsLostWhenLanesMeetNewStepsTogether(t *testing.T) {
	m := metrics.New(metrics.Info{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 200 {
				m.StepDone(step(fmt.Sprint("step_", i)), dispatch.Success, 0, 0)
			}
		})
	}
	wg.Wait()
	lines := scrape(t, m)
	for i := range 200 {
		require.Equal(t, "8", lines[fmt.Sprintf(`tasker_steps_executions_total{namespace="shop",outcome="success",step="step_%d",task="order_intake"}`, i)])
	}
}

func TestTheGoAndProcessCollectorsAreThere(t *testing.T) {
	lines := scrape(t, metrics.New(metrics.Info{}))
	require.Contains(t, lines, "go_goroutines")
	require.Contains(t, lines, "process_open_fds")
}

func TestInfoNamesTheWorker(t *testing.T) {
	lines := scrape(t, metrics.New(metrics.Info{Version: "1.2.3", WorkerID: "w-1"}))
	require.Equal(t, "1", lines[`tasker_worker_info{version="1.2.3",worker_id="w-1",worker_type="taskerpy"}`])
	require.Contains(t, lines, "tasker_worker_uptime_seconds")
}

type fakeEngine struct {
	stats  engine.Stats
	health error
}

func (e *fakeEngine) Stats() engine.Stats { return e.stats }
func (e *fakeEngine) Health() error       { return e.health }

func TestGaugesShowWhereThingsStandAtTheScrape(t *testing.T) {
	m := metrics.New(metrics.Info{Version: "1.2.3"})
	e := &fakeEngine{stats: engine.Stats{OpenTasks: 4, ReadySteps: 3, RunningSteps: 2, DelayedSteps: 1, ParkedSteps: 7}}
	draining := false
	m.Follow(metrics.Sources{
		Engine: e,
		Dispatch: func() dispatch.Stats {
			return dispatch.Stats{
				Queued: 5, Running: 2, Stuck: 1, Timeouts: 9, Longest: 1500 * time.Millisecond, Namespaces: map[string]int{"shop": 2},
			}
		},
		Lanes: func() map[state.State]int {
			return map[state.State]int{state.Idle: 3, state.Running: 2, state.Failed: 1}
		},
		Draining: func() bool { return draining },
	})
	lines := scrape(t, m)
	for name, want := range map[string]string{
		`tasker_steps_active_executions{namespace="shop"}`: "2",
		"tasker_steps_queued":                              "5",
		"tasker_steps_longest_execution_milliseconds":      "1500",
		`tasker_lanes{state="idle"}`:                       "3",
		`tasker_lanes{state="running"}`:                    "2",
		`tasker_lanes{state="stuck"}`:                      "0",
		`tasker_lanes{state="failed"}`:                     "1",
		"tasker_lanes_stuck":                               "1",
		"tasker_steps_timeouts_total":                      "9",
		"tasker_engine_open_tasks":                         "4",
		`tasker_engine_steps{state="ready"}`:               "3",
		`tasker_engine_steps{state="running"}`:             "2",
		`tasker_engine_steps{state="delayed"}`:             "1",
		`tasker_engine_steps{state="parked"}`:              "7",
		"tasker_orchestration_running":                     "1",
		`tasker_orchestration_info{version="1.2.3"}`:       "1",
		"tasker_worker_draining":                           "0",

		"tasker_orchestration_db_pool_size":                               "1",
		`tasker_db_pool_connections{pool="orchestration",state="active"}`: "1",
		`tasker_circuit_breaker_state{component="database"}`:              "0",
		`tasker_channel_health{channel="dispatch"}`:                       "0",
	} {
		require.Equal(t, want, lines[name], name)
	}

	e.health, draining = errors.New("disk full"), true
	lines = scrape(t, m)
	require.Equal(t, "0", lines["tasker_orchestration_running"])
	require.Equal(t, "2", lines[`tasker_circuit_breaker_state{component="database"}`])
	require.Equal(t, "1", lines["tasker_worker_draining"])
}

func TestWhatIsNotFollowedIsLeftOut(t *testing.T) {
	lines := scrape(t, metrics.New(metrics.Info{}))
	require.NotContains(t, lines, "tasker_steps_queued")
	require.NotContains(t, lines, "tasker_orchestration_running")
}

func TestCountingAStepAllocatesNothing(t *testing.T) {
	m := metrics.New(metrics.Info{})
	s := step("check_order")
	require.Zero(t, testing.AllocsPerRun(100, func() { m.StepDone(s, dispatch.Success, time.Millisecond, time.Millisecond) }))
}

func BenchmarkStepDone(b *testing.B) {
	m := metrics.New(metrics.Info{})
	steps := make([]*dispatch.Step, 50)
	for i := range steps {
		steps[i] = step(fmt.Sprint("step_", i))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		m.StepDone(steps[i%len(steps)], dispatch.Success, 30*time.Microsecond, 200*time.Microsecond)
		i++
	}
}

func BenchmarkStepDoneOnManyLanes(b *testing.B) {
	m := metrics.New(metrics.Info{})
	s := step("check_order")
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.StepDone(s, dispatch.Success, 30*time.Microsecond, 200*time.Microsecond)
		}
	})
}

func BenchmarkCommitted(b *testing.B) {
	m := metrics.New(metrics.Info{})
	for b.Loop() {
		m.Committed(time.Millisecond, 40)
	}
}
