package metrics

import (
	"context"
	"math"
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
	// QueuePool is Pool, by the same name, where the queues are not apart.
	QueuePool() postgres.Pool
	QueueDepths(ctx context.Context) ([]postgres.QueueDepth, error)
	Health() error
	Listening() bool
	Namespaces() []string
}

const (
	// depthTimeout is how long a scrape waits for the depths of the queues.
	depthTimeout = time.Second

	// What waits in a channel without a bound makes it degraded, then critical.
	manyWaiting, tooManyWaiting = 1000, 10_000

	// nearlyFull and full are shares of a bounded channel with the same
	// meaning, as in the reference.
	nearlyFull, full = 0.8, 0.95

	// slowSend is the reference's slow_send_threshold_ms.
	slowSend = 100 * time.Millisecond
)

// Labels whose values are always the same, as in the reference.
const (
	claimMethod = "event"
	resultType  = "completion"
)

// What messages are about, as the reference names it.
const (
	typeStep   = "StepMessage"
	typeResult = "StepExecutionResult"
	typeEvent  = "DomainEvent"
)

// latencyBuckets go from 1 ms to an hour, in milliseconds: messages may wait for
// long, and handlers run for long.
var latencyBuckets = []float64{
	1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 900_000, 3_600_000,
}

// handInBuckets go from 1 µs to 1 s, in milliseconds.
var handInBuckets = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 10, 100, 1000}

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
	received             *prometheus.HistogramVec
	sent                 *prometheus.HistogramVec
	latency              *prometheus.HistogramVec
	checkouts            *prometheus.HistogramVec
	handedIn             prometheus.Histogram
	slowSends            prometheus.Counter
	events               *events

	mu         sync.RWMutex
	namespaces map[string]*namespaceSeries

	asking  singleflight.Group
	numbers []number
	depth   depthDescs
}

// namespaceSeries are the label children for steps of a namespace.
type namespaceSeries struct {
	succeeded, failed, released prometheus.Counter
	latency                     prometheus.Observer
}

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
	pools    []postgres.Pool // the second one is of a queue database
	events   domainevent.Stats
	dispatch dispatch.Stats
	returned uint64 // from handlers
	healthy  bool
	listens  bool

	dispatches bool // or else a program polls for steps
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
		received:      histogram("tasker_message_receive_duration_milliseconds", "Time of a statement that reads messages, also if there are none.", durationBuckets, "namespace"),
		sent:          histogram("tasker_message_send_duration_milliseconds", "Time of a transaction that sends messages.", durationBuckets, "message_type"),
		latency:       histogram("tasker_message_latency_milliseconds", "Time from the sending of a step's message until it is done with.", latencyBuckets, "namespace", "message_type"),
		checkouts:     histogram("tasker_db_pool_checkout_duration_milliseconds", "Time that was waited for a connection.", durationBuckets, "pool"),
		handedIn: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tasker_ffi_completion_send_duration_milliseconds", Help: "Time that a lane took to hand a result in.", Buckets: handInBuckets,
		}),
		slowSends: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tasker_ffi_completion_slow_sends_total", Help: "Results whose handing in took longer than 100 ms.",
		}),
		events:        newEvents(),
		storeDuration: histogram("tasker_step_result_submission_duration_milliseconds", "Time of a statement that stores a batch of results.", durationBuckets, "result_type"),
		transactions:  histogram("tasker_db_transaction_duration_milliseconds", "Time of a transaction.", durationBuckets, "transaction_type", "result"),
		storeBatch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tasker_worker_result_batch_results", Help: "Results stored by one statement.", Buckets: batchBuckets,
		}),
		namespaces: map[string]*namespaceSeries{},
		numbers:    deploymentNumbers(),
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
	return append(d.events.collectors(), d.claimed, d.transitions, d.claimDuration, d.claimBatch, d.storeDuration, d.storeBatch,
		d.transactions, d.received, d.sent, d.latency, d.checkouts, d.handedIn, d.slowSends)
}

// ClaimDone observes a statement that claimed steps of a namespace, takenOver
// of them from workers that are gone. It is for a postgres.Source, and does
// nothing without a deployment.
func (m *Metrics) ClaimDone(namespace string, claimed, takenOver int, took time.Duration) {
	d := m.deployment
	if d == nil {
		return
	}
	d.received.WithLabelValues(namespace).Observe(milliseconds(took))
	d.claimBatch.WithLabelValues(namespace).Observe(float64(claimed))
	if claimed == 0 {
		return
	}
	d.claimDuration.WithLabelValues(namespace, claimMethod).Observe(milliseconds(took))
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
		d.sent.WithLabelValues(typeResult).Observe(milliseconds(took))
		d.storeBatch.Observe(float64(results))
	}
}

// ResultStored observes one stored result.
func (m *Metrics) ResultStored(namespace string, success bool) {
	if d := m.deployment; d != nil {
		s := d.of(namespace)
		if success {
			s.succeeded.Inc()
		} else {
			s.failed.Inc()
		}
	}
}

// StepReleased observes a step that was handed back.
func (m *Metrics) StepReleased(namespace string) {
	if d := m.deployment; d != nil {
		d.of(namespace).released.Inc()
	}
}

// MessageDone observes a message of a step that was put aside.
func (m *Metrics) MessageDone(namespace string, age time.Duration) {
	if d := m.deployment; d != nil {
		d.of(namespace).latency.Observe(milliseconds(age))
	}
}

// ResultGiven observes how long it took to hand a result in.
func (m *Metrics) ResultGiven(took time.Duration) {
	if d := m.deployment; d != nil {
		d.handedIn.Observe(milliseconds(took))
		if took > slowSend {
			d.slowSends.Inc()
		}
	}
}

// EventsSent observes a transaction that sent durable domain events.
func (m *Metrics) EventsSent(_ int, took time.Duration) {
	if d := m.deployment; d != nil {
		d.sent.WithLabelValues(typeEvent).Observe(milliseconds(took))
	}
}

// TransactionDone observes a transaction.
func (m *Metrics) TransactionDone(what postgres.Transaction, took time.Duration, committed bool) {
	if d := m.deployment; d != nil {
		result := "rollback"
		if committed {
			result = "commit"
		}
		d.transactions.WithLabelValues(string(what), result).Observe(milliseconds(took))
	}
}

// ConnectionTaken observes how long somebody waited for a connection.
func (m *Metrics) ConnectionTaken(pool postgres.PoolName, wait time.Duration) {
	if d := m.deployment; d != nil {
		d.checkouts.WithLabelValues(string(pool)).Observe(milliseconds(wait))
	}
}

func (d *deployment) of(namespace string) *namespaceSeries {
	d.mu.RLock()
	s := d.namespaces[namespace]
	d.mu.RUnlock()
	if s != nil {
		return s
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s = d.namespaces[namespace]
	if s == nil {
		s = &namespaceSeries{
			succeeded: d.transitions.WithLabelValues(namespace, "in_progress", "enqueued_for_orchestration"),
			failed:    d.transitions.WithLabelValues(namespace, "in_progress", "enqueued_as_error_for_orchestration"),
			released:  d.transitions.WithLabelValues(namespace, "in_progress", "enqueued"),
			latency:   d.latency.WithLabelValues(namespace, typeStep),
		}
		d.namespaces[namespace] = s
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
	for _, one := range []*prometheus.Desc{d.depth.workerDepth, d.depth.workerAge, d.depth.depth, d.depth.age} {
		out <- one
	}
}

// Collect implements prometheus.Collector.
func (d *deployment) Collect(out chan<- prometheus.Metric) {
	from := d.m.sources.Load()
	if from == nil || from.Deployment == nil {
		return
	}
	now := &numbers{
		stats: from.Deployment.Stats(), pools: []postgres.Pool{from.Deployment.Pool()},
		healthy: from.Deployment.Health() == nil, listens: from.Deployment.Listening(),
	}
	if queues := from.Deployment.QueuePool(); queues.Name != now.pools[0].Name {
		now.pools = append(now.pools, queues)
	}
	if from.Events != nil {
		now.events = from.Events()
	}
	if from.Dispatch != nil {
		now.dispatch, now.dispatches = from.Dispatch(), true
	}
	for i := range d.m.done {
		now.returned += d.m.done[i].Load()
	}
	for _, n := range d.numbers {
		if value := n.value(now); !math.IsNaN(value) {
			out <- prometheus.MustNewConstMetric(n.desc, n.kind, value, n.labels...)
		}
	}
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
