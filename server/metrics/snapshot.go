package metrics

import (
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/domainevent"
	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/gil/state"
)

// Sources are asked at each scrape for where things stand. None of them may
// wait for the GIL or for I/O. What is nil is left out.
type Sources struct {
	Engine interface {
		Stats() engine.Stats
		Health() error
	}
	Dispatch func() dispatch.Stats
	// Lanes counts the lanes in each state.
	Lanes    func() map[state.State]int
	Draining func() bool
	// Deployment and Events are for a worker of a deployment. Deployment's
	// QueueDepths may wait for I/O, until its context ends.
	Deployment Deployment
	Events     func() domainevent.Stats
}

// Follow makes scrapes ask s from now on. It is not part of New because an
// engine and a dispatcher need their Metrics before they exist.
func (m *Metrics) Follow(s Sources) { m.sources.Store(&s) }

// laneStates are shown even when no lane is in them.
var laneStates = []state.State{state.Starting, state.Idle, state.Running, state.Stuck, state.Draining}

// snapshot collects from Sources.
type snapshot struct {
	m *Metrics

	orchestrationInfo, workerInfo, uptime *prometheus.Desc
	active, queued, window, longest       *prometheus.Desc
	lanes                                 *prometheus.Desc
	stuck, timeouts                       *prometheus.Desc
	openTasks, steps, running, draining   *prometheus.Desc

	poolSize, pool, breaker, channel *prometheus.Desc
}

func newSnapshot(m *Metrics, info Info) *snapshot {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &snapshot{
		m: m,
		orchestrationInfo: prometheus.NewDesc("tasker_orchestration_info", "The embedded engine; always 1.", nil,
			prometheus.Labels{"version": info.Version}),
		workerInfo: prometheus.NewDesc("tasker_worker_info", "This worker; always 1.", nil,
			prometheus.Labels{"version": info.Version, "worker_id": info.WorkerID, "worker_type": info.WorkerType}),
		uptime:    desc("tasker_worker_uptime_seconds", "Time since the start."),
		active:    desc("tasker_steps_active_executions", "Steps inside handlers.", "namespace"),
		queued:    desc("tasker_steps_queued", "Claimed steps that wait for a lane."),
		window:    desc("tasker_steps_window", "How many steps may be claimed and unfinished."),
		longest:   desc("tasker_steps_longest_execution_milliseconds", "How long the longest running step has been inside its handler."),
		lanes:     desc("tasker_lanes", "Lanes by state.", "state"),
		stuck:     desc("tasker_lanes_stuck", "Lanes given up, in a handler that does not come back."),
		timeouts:  desc("tasker_steps_timeouts_total", "Executions of steps that were ended by their timeout."),
		openTasks: desc("tasker_engine_open_tasks", "Tasks that something will still happen to."),
		steps:     desc("tasker_engine_steps", "Steps in memory by what they wait for.", "state"),
		running:   desc("tasker_orchestration_running", "1 while work can be made durable."),
		draining:  desc("tasker_worker_draining", "1 from the beginning of the drain."),
		// What dashboards of a Tasker deployment ask for (engine-semantics §9.7).
		poolSize: desc("tasker_orchestration_db_pool_size", "Connections that write: one, to the file."),
		pool:     desc("tasker_db_pool_connections", "Connections of the pool.", "pool", "state"),
		breaker:  desc("tasker_circuit_breaker_state", "0 closed, 2 open: what the file cannot take is refused.", "component"),
		channel:  desc("tasker_channel_health", "0 healthy, 1 degraded: the dispatcher has no room for further steps.", "channel"),
	}
}

// Describe implements prometheus.Collector.
func (s *snapshot) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		s.orchestrationInfo, s.workerInfo, s.uptime, s.active, s.queued, s.window, s.longest, s.lanes, s.stuck, s.timeouts, s.openTasks, s.steps, s.running, s.draining,
		s.poolSize, s.breaker, s.channel, // pool is described by the numbers of a deployment's worker, too
	} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (s *snapshot) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	gauge(s.workerInfo, 1)
	out <- prometheus.MustNewConstMetric(s.uptime, prometheus.CounterValue, time.Since(s.m.started).Seconds())
	from := s.m.sources.Load()
	if from == nil {
		return
	}
	if from.Dispatch != nil {
		now := from.Dispatch()
		for namespace, running := range s.m.running(now.Namespaces, from.Deployment) {
			gauge(s.active, float64(running), namespace)
		}
		gauge(s.queued, float64(now.Queued))
		gauge(s.longest, milliseconds(now.Longest))
		gauge(s.window, float64(now.Window))
		gauge(s.stuck, float64(now.Stuck))
		out <- prometheus.MustNewConstMetric(s.timeouts, prometheus.CounterValue, float64(now.Timeouts))
	}
	if from.Lanes != nil {
		now := from.Lanes()
		for _, l := range laneStates {
			gauge(s.lanes, float64(now[l]), l.String())
		}
		for l, n := range now {
			if !slices.Contains(laneStates, l) {
				gauge(s.lanes, float64(n), l.String())
			}
		}
	}
	if from.Engine != nil {
		now := from.Engine.Stats()
		gauge(s.orchestrationInfo, 1)
		gauge(s.openTasks, float64(now.OpenTasks))
		gauge(s.steps, float64(now.ReadySteps), "ready")
		gauge(s.steps, float64(now.RunningSteps), "running")
		gauge(s.steps, float64(now.DelayedSteps), "delayed")
		gauge(s.steps, float64(now.ParkedSteps), "parked")
		writable := truth(from.Engine.Health() == nil)
		gauge(s.running, writable)
		gauge(s.poolSize, 1)
		gauge(s.pool, 1, "orchestration", "active")
		gauge(s.breaker, 2*(1-writable), "database")
		if from.Dispatch != nil {
			d := from.Dispatch()
			gauge(s.channel, truth(d.Window > 0 && d.Queued >= d.Window), "dispatch")
		}
	}
	if from.Draining != nil {
		gauge(s.draining, truth(from.Draining()))
	}
}

// running are the steps inside handlers by namespace, those included of which
// none runs at the moment.
func (m *Metrics) running(now map[string]int, deployment Deployment) map[string]int {
	all := map[string]int{}
	for k := range *m.series.Load() {
		all[k.namespace] = 0
	}
	if deployment != nil {
		for _, namespace := range deployment.Namespaces() {
			all[namespace] = 0
		}
	}
	maps.Copy(all, now)
	return all
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
