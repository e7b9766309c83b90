package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tasker-systems/taskerpy/domainevent"
)

// maxDirect bounds how many events are told apart that handlers publish by
// themselves: no template bounds their names.
const maxDirect = 100

// events observe domain events.
type events struct {
	dispatched, published, failed, dropped *prometheus.CounterVec
	duration                               *prometheus.HistogramVec

	mu     sync.Mutex
	known  map[domainevent.Kind]bool
	direct int // how many of them handlers publish by themselves
}

var _ domainevent.Observer = (*Metrics)(nil)

func newEvents() *events {
	counter := func(what, help string, more ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tasker_domain_events_" + what + "_total", Help: help},
			append([]string{"namespace", "event_name", "delivery_mode", "publisher"}, more...))
	}
	return &events{
		dispatched: counter("dispatched", "Domain events that were to be published."),
		published:  counter("published", "Domain events stored for their readers (durable, broadcast) or handed on (fast)."),
		failed:     counter("failed", "Domain events that were not published.", "error_type"),
		dropped:    counter("dropped", "Fast and broadcast domain events that somebody in this process did not get because too many waited."),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tasker_domain_event_publish_duration_milliseconds", Help: "Time to shape a domain event and publish it.", Buckets: durationBuckets,
		}, []string{"namespace", "delivery_mode", "result"}),
		known: map[domainevent.Kind]bool{},
	}
}

func (e *events) collectors() []prometheus.Collector {
	return []prometheus.Collector{e.dispatched, e.published, e.failed, e.dropped, e.duration}
}

// EventDispatched implements domainevent.Observer, as the other methods here.
// They do nothing without a deployment.
func (m *Metrics) EventDispatched(k domainevent.Kind) {
	if d := m.deployment; d != nil {
		d.events.dispatched.WithLabelValues(d.events.labels(k)...).Inc()
	}
}

// EventPublished implements domainevent.Observer.
func (m *Metrics) EventPublished(k domainevent.Kind, took time.Duration) {
	if d := m.deployment; d != nil {
		labels := d.events.labels(k)
		d.events.published.WithLabelValues(labels...).Inc()
		d.events.duration.WithLabelValues(labels[0], k.Delivery, "success").Observe(milliseconds(took))
	}
}

// EventFailed implements domainevent.Observer.
func (m *Metrics) EventFailed(k domainevent.Kind, took time.Duration) {
	if d := m.deployment; d != nil {
		labels := d.events.labels(k)
		d.events.failed.WithLabelValues(append(labels, "publish_failed")...).Inc()
		d.events.duration.WithLabelValues(labels[0], k.Delivery, "error").Observe(milliseconds(took))
	}
}

// EventDropped implements domainevent.Observer.
func (m *Metrics) EventDropped(k domainevent.Kind) {
	if d := m.deployment; d != nil {
		d.events.dropped.WithLabelValues(d.events.labels(k)...).Inc()
	}
}

// labels are those of a kind, or of all others once there are too many.
func (e *events) labels(k domainevent.Kind) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.known[k] {
		direct := k.Publisher == domainevent.DirectPublisher
		if len(e.known)-e.direct >= maxSeries && !direct || direct && e.direct >= maxDirect {
			k.Namespace, k.Name = otherName, otherName
			if !direct {
				k.Publisher = otherName
			}
			return []string{k.Namespace, k.Name, k.Delivery, k.Publisher}
		}
		e.known[k] = true
		if direct {
			e.direct++
		}
	}
	return []string{k.Namespace, k.Name, k.Delivery, k.Publisher}
}
