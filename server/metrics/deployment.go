package metrics

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/domainevent"
	"github.com/tasker-systems/taskerpy/postgres"
)

// Deployment is what metrics need of a postgres.Source.
type Deployment interface {
	Stats() postgres.Stats
	Pool() postgres.Pool
	QueueDepths(ctx context.Context) ([]postgres.QueueDepth, error)
	Health() error
	Listening() bool
}

const (
	// depthTimeout is how long a scrape waits for the depths of the queues.
	depthTimeout = time.Second

	// Results that wait to be stored make the channel of results degraded,
	// then critical.
	manyResults, tooManyResults = 1000, 10_000
)

// Labels whose values are always the same, as in the reference.
const (
	claimMethod = "event"
	resultType  = "completion"
	pool        = "worker"
)

// batchBuckets are for the size of a batch.
var batchBuckets = []float64{0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000}

// NewForDeployment makes Metrics for a worker of a Tasker deployment, which
// know nothing yet.
func NewForDeployment(info Info) *Metrics {
	if info.WorkerType == "" {
		info.WorkerType = "command_processor"
	}
	m := newMetrics(info)
	m.deployment = newDeployment(m)
	m.registry.MustRegister(m.deployment.observed()...)
	m.registry.MustRegister(m.deployment)
	return m
}

// deployment collects what only a worker of a deployment has.
type deployment struct {
	m *Metrics

	claimed, transitions *prometheus.CounterVec
	claimDuration        *prometheus.HistogramVec
	claimBatch           *prometheus.HistogramVec
	storeDuration        *prometheus.HistogramVec
	transactions         *prometheus.HistogramVec
	storeBatch           prometheus.Histogram

	mu     sync.Mutex
	stored map[string]*storedSeries // by namespace

	asking  singleflight.Group
	numbers []number
	depth   depthDescs
}

// storedSeries are the label children for results of a namespace.
type storedSeries struct{ succeeded, failed prometheus.Counter }

// number is one that is asked for at each scrape.
type number struct {
	desc   *prometheus.Desc
	kind   prometheus.ValueType
	labels []string
	value  func(now *numbers) float64
}

// numbers are what a scrape sees of the deployment.
type numbers struct {
	stats    postgres.Stats
	pool     postgres.Pool
	events   domainevent.Stats
	dispatch dispatch.Stats
	returned uint64 // from handlers
	healthy  bool
	listens  bool
}

type depthDescs struct{ workerDepth, workerAge, depth, age *prometheus.Desc }

func newDeployment(m *Metrics) *deployment {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &deployment{
		m:             m,
		claimed:       counter("tasker_steps_claimed_total", "Steps claimed.", "namespace", "claim_method"),
		transitions:   counter("tasker_step_state_transitions_total", "State transitions of steps made here.", "namespace", "from_state", "to_state"),
		claimDuration: histogram("tasker_step_claim_duration_milliseconds", "Time of a statement that claims and hydrates a batch.", durationBuckets, "namespace", "claim_method"),
		claimBatch:    histogram("tasker_worker_claim_batch_steps", "Steps claimed by one statement.", batchBuckets, "namespace"),
		storeDuration: histogram("tasker_step_result_submission_duration_milliseconds", "Time of a statement that stores a batch of results.", durationBuckets, "result_type"),
		transactions:  histogram("tasker_db_transaction_duration_milliseconds", "Time of a transaction, which is one statement.", durationBuckets, "transaction_type", "result"),
		storeBatch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tasker_worker_result_batch_results", Help: "Results stored by one statement.", Buckets: batchBuckets,
		}),
		stored:  map[string]*storedSeries{},
		numbers: deploymentNumbers(),
		depth: depthDescs{
			workerDepth: desc("tasker_worker_queue_depth", "Messages in the queue of a namespace.", "namespace"),
			workerAge:   desc("tasker_worker_queue_oldest_message_age_seconds", "Age of the oldest message of a namespace.", "namespace"),
			depth:       desc("tasker_queue_depth", "Messages in the queue of a namespace.", "namespace"),
			age:         desc("tasker_queue_oldest_message_age", "Age of the oldest message of a namespace in milliseconds.", "namespace"),
		},
	}
}

// observed are the collectors that count by themselves.
func (d *deployment) observed() []prometheus.Collector {
	return []prometheus.Collector{d.claimed, d.transitions, d.claimDuration, d.claimBatch, d.storeDuration, d.storeBatch, d.transactions}
}

// ClaimDone observes a statement that claimed steps of a namespace, takenOver
// of them from workers that are gone. It is for a postgres.Source, and does
// nothing without a deployment.
func (m *Metrics) ClaimDone(namespace string, claimed, takenOver int, took time.Duration) {
	d := m.deployment
	if d == nil {
		return
	}
	d.claimDuration.WithLabelValues(namespace, claimMethod).Observe(milliseconds(took))
	d.transactions.WithLabelValues("step_claim", "commit").Observe(milliseconds(took))
	d.claimBatch.WithLabelValues(namespace).Observe(float64(claimed))
	d.claimed.WithLabelValues(namespace, claimMethod).Add(float64(claimed))
	d.transitions.WithLabelValues(namespace, "enqueued", "in_progress").Add(float64(claimed - takenOver))
	if takenOver > 0 {
		d.transitions.WithLabelValues(namespace, "in_progress", "in_progress").Add(float64(takenOver))
	}
}

// StoreDone observes a statement that stored results.
func (m *Metrics) StoreDone(results int, took time.Duration) {
	if d := m.deployment; d != nil {
		d.storeDuration.WithLabelValues(resultType).Observe(milliseconds(took))
		d.transactions.WithLabelValues("step_result", "commit").Observe(milliseconds(took))
		d.storeBatch.Observe(float64(results))
	}
}

// ResultStored observes one stored result.
func (m *Metrics) ResultStored(namespace string, success bool) {
	if d := m.deployment; d != nil {
		s := d.storedOf(namespace)
		if success {
			s.succeeded.Inc()
		} else {
			s.failed.Inc()
		}
	}
}

func (d *deployment) storedOf(namespace string) *storedSeries {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.stored[namespace]
	if s == nil {
		s = &storedSeries{
			succeeded: d.transitions.WithLabelValues(namespace, "in_progress", "enqueued_for_orchestration"),
			failed:    d.transitions.WithLabelValues(namespace, "in_progress", "enqueued_as_error_for_orchestration"),
		}
		d.stored[namespace] = s
	}
	return s
}

// Describe implements prometheus.Collector.
func (d *deployment) Describe(out chan<- *prometheus.Desc) {
	told := map[*prometheus.Desc]bool{}
	for _, n := range d.numbers {
		if !told[n.desc] {
			told[n.desc] = true
			out <- n.desc
		}
	}
	for _, one := range []*prometheus.Desc{d.depth.workerDepth, d.depth.workerAge, d.depth.depth, d.depth.age, checkoutDesc()} {
		out <- one
	}
}

// checkoutDesc is of the one summary that the pool keeps by itself.
func checkoutDesc() *prometheus.Desc {
	return prometheus.NewDesc("tasker_db_pool_checkout_duration_milliseconds", "Time that was waited for connections.", []string{"pool"}, nil)
}

// Collect implements prometheus.Collector.
func (d *deployment) Collect(out chan<- prometheus.Metric) {
	from := d.m.sources.Load()
	if from == nil || from.Deployment == nil {
		return
	}
	now := &numbers{
		stats: from.Deployment.Stats(), pool: from.Deployment.Pool(),
		healthy: from.Deployment.Health() == nil, listens: from.Deployment.Listening(),
	}
	if from.Events != nil {
		now.events = from.Events()
	}
	if from.Dispatch != nil {
		now.dispatch = from.Dispatch()
	}
	for i := range d.m.done {
		now.returned += d.m.done[i].Load()
	}
	for _, n := range d.numbers {
		out <- prometheus.MustNewConstMetric(n.desc, n.kind, n.value(now), n.labels...)
	}
	out <- prometheus.MustNewConstSummary(checkoutDesc(), uint64(max(now.pool.Acquires, 0)), milliseconds(now.pool.AcquireWait), nil, pool)
	for _, q := range d.depths(from.Deployment) {
		for desc, value := range map[*prometheus.Desc]float64{
			d.depth.workerDepth: float64(q.Messages), d.depth.workerAge: q.Oldest.Seconds(),
			d.depth.depth: float64(q.Messages), d.depth.age: milliseconds(q.Oldest),
		} {
			out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, q.Namespace)
		}
	}
}

// depths asks how full the queues are; nothing when the database does not say
// in time. However many scrape, it is asked once.
func (d *deployment) depths(source Deployment) []postgres.QueueDepth {
	all, err, _ := d.asking.Do("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.Background(), depthTimeout)
		defer cancel()
		return source.QueueDepths(ctx)
	})
	if err != nil {
		return nil
	}
	return all.([]postgres.QueueDepth)
}
