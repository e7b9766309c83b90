// Package metrics observes a running taskerpy for Prometheus. It keeps a
// registry of its own, so that nothing outside can add to what is exposed.
//
// Names begin with tasker_. Where a worker of a Tasker deployment has an
// instrument of the same meaning, its name, labels and unit are used
// (worker-protocol §8, engine-semantics §9.7), so that existing dashboards
// work; therefore all durations except the uptime are in milliseconds.
//
//	tasker_steps_executions_total{namespace,task,step,outcome}        counter
//	tasker_steps_successes_total{namespace}                           counter
//	tasker_steps_failures_total{namespace,error_type}                 counter
//	tasker_step_execution_duration_milliseconds{namespace,result}     histogram, time inside the handler
//	tasker_step_queue_wait_milliseconds{namespace}                    histogram, from claim to handler
//	tasker_engine_commit_duration_milliseconds                        histogram, one per durable commit
//	tasker_engine_commit_changes                                      histogram, state changes per commit
//	tasker_steps_active_executions{namespace}                         gauge, steps inside handlers
//	tasker_steps_queued                                               gauge, claimed steps that wait for a lane
//	tasker_steps_window                                               gauge, steps that may be claimed and unfinished
//	tasker_steps_longest_execution_milliseconds                       gauge, of the steps inside handlers
//	tasker_lanes{state}                                               gauge
//	tasker_lanes_stuck                                                gauge, lanes given up in a handler that does not come back
//	tasker_steps_timeouts_total                                       counter, executions ended by their timeout
//	tasker_engine_open_tasks                                          gauge
//	tasker_engine_steps{state}                                        gauge, state is ready, running, delayed or parked
//	tasker_orchestration_running                                      gauge, 1 while work can be made durable
//	tasker_orchestration_info{version}                                gauge, always 1
//	tasker_orchestration_db_pool_size                                 gauge, always 1
//	tasker_db_pool_connections{pool,state}                            gauge, always 1
//	tasker_circuit_breaker_state{component}                           gauge, 2 while nothing can be made durable, else 0
//	tasker_channel_health{channel}                                    gauge, 0 while the dispatcher has room for steps, else 1
//	tasker_worker_info{version,worker_id,worker_type}                 gauge, always 1
//	tasker_worker_draining                                            gauge, 1 from the beginning of the drain
//	tasker_worker_uptime_seconds                                      counter
//
// and those of client_golang's Go and process collectors; for a worker of a
// deployment, what deployment.go and numbers.go have instead of the engine's. Every metric
// is explained in docs/deployment.md. The outcomes (and results) are success, retryable_failure, permanent_failure and checkpoint;
// error_type is retryable_error or permanent_error.
package metrics

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tasker-systems/taskerpy/dispatch"
)

const (
	// maxSeries bounds how many different steps are told apart. Templates
	// bound the names of ordinary steps, but each instance of a batch worker
	// has a name of its own.
	maxSeries = 1000
	// otherName stands for the steps beyond maxSeries.
	otherName = "other"

	// maxScrapes is how many scrapes may be answered at once.
	maxScrapes = 8
)

// durationBuckets go from 100 µs to 60 s, in milliseconds.
var durationBuckets = []float64{
	0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000,
}

// changeBuckets are for the size of a commit.
var changeBuckets = []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000}

// Info is what the info metrics say about this process.
type Info struct {
	Version    string
	WorkerID   string
	WorkerType string // "" means "taskerpy"
}

// Metrics is a dispatch.Metrics, and more. All methods may be called by any
// goroutine.
type Metrics struct {
	registry *prometheus.Registry
	started  time.Time

	executions *prometheus.CounterVec
	successes  *prometheus.CounterVec
	failures   *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	queueWait  *prometheus.HistogramVec

	commitDuration prometheus.Histogram // nil without the embedded engine
	commitChanges  prometheus.Histogram
	deployment     *deployment // nil with the embedded engine

	done [results]atomic.Uint64

	// series is replaced, never changed, so that StepDone reads it without a
	// lock; growing is held while a larger one is made.
	series  atomic.Pointer[map[stepKey]*stepSeries]
	growing sync.Mutex
	other   func() *stepSeries

	sources atomic.Pointer[Sources]
}

var _ dispatch.Metrics = (*Metrics)(nil)

// New makes Metrics for the embedded engine, which know nothing yet.
func New(info Info) *Metrics {
	info.WorkerType = cmp.Or(info.WorkerType, "taskerpy")
	m := newMetrics(info)
	m.commitDuration = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "tasker_engine_commit_duration_milliseconds", Help: "Time of a durable commit, sync included.", Buckets: durationBuckets,
	})
	m.commitChanges = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "tasker_engine_commit_changes", Help: "State changes in one durable commit.", Buckets: changeBuckets,
	})
	m.registry.MustRegister(m.commitDuration, m.commitChanges)
	return m
}

// newMetrics makes what all taskerpys have.
func newMetrics(info Info) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		started:  time.Now(),
		executions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tasker_steps_executions_total", Help: "Executions of steps by outcome.",
		}, []string{"namespace", "task", "step", "outcome"}),
		successes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tasker_steps_successes_total", Help: "Executions of steps that succeeded.",
		}, []string{"namespace"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tasker_steps_failures_total", Help: "Executions of steps that failed.",
		}, []string{"namespace", "error_type"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tasker_step_execution_duration_milliseconds", Help: "Time of a step inside its handler.", Buckets: durationBuckets,
		}, []string{"namespace", "result"}),
		queueWait: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tasker_step_queue_wait_milliseconds", Help: "Time of a claimed step until its handler was entered.", Buckets: durationBuckets,
		}, []string{"namespace"}),
	}
	m.series.Store(&map[stepKey]*stepSeries{})
	m.other = sync.OnceValue(func() *stepSeries { return m.newSeries(stepKey{otherName, otherName, otherName}) })
	m.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.executions, m.successes, m.failures, m.duration, m.queueWait,
		newSnapshot(m, info),
	)
	return m
}

// Handler serves everything in Prometheus' text format.
func (m *Metrics) Handler(log *slog.Logger) http.Handler {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog: scrapeLog{log}, ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: maxScrapes,
	})
}

type scrapeLog struct{ log *slog.Logger }

func (l scrapeLog) Println(v ...any) { l.log.Error("collect metrics", "error", fmt.Sprint(v...)) }

// Committed observes one durable commit; it is an engine's CommitObserver.
func (m *Metrics) Committed(took time.Duration, changes int) {
	m.commitDuration.Observe(milliseconds(took))
	m.commitChanges.Observe(float64(changes))
}

// StepDone observes one execution of a step (dispatch.Metrics). It is called
// on lanes: no lock, no allocation, except for a step's first execution.
func (m *Metrics) StepDone(step *dispatch.Step, outcome dispatch.Outcome, queued, inHandler time.Duration) {
	s := m.seriesOf(stepKey{step.Namespace, step.Task, step.Name})
	result := resultOf(outcome)
	m.done[result].Add(1)
	r := &s.results[result]
	r.executions.Inc()
	if r.total != nil {
		r.total.Inc()
	}
	r.duration.Observe(milliseconds(inHandler))
	s.queueWait.Observe(milliseconds(queued))
}

// Steps counts the executions of steps that succeeded and that failed.
func (m *Metrics) Steps() (succeeded, failed uint64) {
	return m.done[success].Load(), m.done[retryableFailure].Load() + m.done[permanentFailure].Load()
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// stepKey tells steps apart.
type stepKey struct{ namespace, task, step string }

// stepSeries are the label children of one step: finding them costs more than
// counting.
type stepSeries struct {
	results   [results]resultSeries
	queueWait prometheus.Observer
}

type resultSeries struct {
	executions prometheus.Counter
	total      prometheus.Counter // successes or failures; nil for a checkpoint
	duration   prometheus.Observer
}

// seriesOf finds or makes the children of a step.
func (m *Metrics) seriesOf(k stepKey) *stepSeries {
	known := *m.series.Load()
	if s, ok := known[k]; ok {
		return s
	}
	if len(known) >= maxSeries {
		return m.other()
	}
	m.growing.Lock()
	defer m.growing.Unlock()
	known = *m.series.Load()
	if s, ok := known[k]; ok {
		return s
	}
	if len(known) >= maxSeries {
		return m.other()
	}
	larger := make(map[stepKey]*stepSeries, len(known)+1)
	for key, s := range known {
		larger[key] = s
	}
	s := m.newSeries(k)
	larger[k] = s
	m.series.Store(&larger)
	return s
}

func (m *Metrics) newSeries(k stepKey) *stepSeries {
	s := &stepSeries{queueWait: m.queueWait.WithLabelValues(k.namespace)}
	for r := range results {
		s.results[r] = resultSeries{
			executions: m.executions.WithLabelValues(k.namespace, k.task, k.step, r.String()),
			duration:   m.duration.WithLabelValues(k.namespace, r.String()),
		}
		switch r {
		case success:
			s.results[r].total = m.successes.WithLabelValues(k.namespace)
		case retryableFailure:
			s.results[r].total = m.failures.WithLabelValues(k.namespace, "retryable_error")
		case permanentFailure:
			s.results[r].total = m.failures.WithLabelValues(k.namespace, "permanent_error")
		}
	}
	return s
}

// result is an outcome as metrics tell it.
type result int

const (
	success result = iota
	retryableFailure
	permanentFailure
	checkpoint
	results
)

func (r result) String() string {
	return [results]string{"success", "retryable_failure", "permanent_failure", "checkpoint"}[r]
}

func resultOf(o dispatch.Outcome) result {
	switch o {
	case dispatch.Success, dispatch.SuccessDirective:
		return success
	case dispatch.PermanentFailure:
		return permanentFailure
	case dispatch.CheckpointYield:
		return checkpoint
	default:
		return retryableFailure
	}
}
