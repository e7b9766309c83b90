package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/tasker-systems/taskerpy/postgres"
)

// Depths of all queues together from which on they are not healthy, and shares
// of failed steps.
const (
	manyMessages, tooManyMessages = 10_000, 50_000
	manyFailures, tooManyFailures = 0.05, 0.15
)

// workerPulse is the answer of /health and /health/live.
type workerPulse struct {
	Status    string    `json:"status"`
	Timestamp time.Time `json:"timestamp"`
	WorkerID  string    `json:"worker_id"`
}

// readiness is the answer of /health/ready and /health/detailed.
type readiness struct {
	workerPulse
	Checks map[string]workerCheck `json:"checks"`
	System systemInfo             `json:"system_info"`
}

// workerCheck is how one part of the worker is.
type workerCheck struct {
	Status      string    `json:"status"`
	Message     *string   `json:"message"`
	DurationMS  int64     `json:"duration_ms"`
	LastChecked time.Time `json:"last_checked"`
}

// systemInfo tells about the process.
type systemInfo struct {
	Version         string    `json:"version"`
	Environment     string    `json:"environment"`
	UptimeSeconds   int64     `json:"uptime_seconds"`
	WorkerType      string    `json:"worker_type"`
	PoolSize        int       `json:"database_pool_size"`
	ProcessorActive bool      `json:"command_processor_active"`
	Namespaces      []string  `json:"supported_namespaces"`
	Pools           poolPairs `json:"pool_utilization"`
}

// poolPairs is one pool twice where tasks and queues are in one database.
type poolPairs struct {
	Tasker poolUse `json:"tasker_pool"`
	PGMQ   poolUse `json:"pgmq_pool"`
}

// poolUse is the state of a pool.
type poolUse struct {
	Active         int     `json:"active_connections"`
	Idle           int     `json:"idle_connections"`
	Max            int     `json:"max_connections"`
	Utilization    float64 `json:"utilization_percent"`
	TotalAcquires  int64   `json:"total_acquires"`
	SlowAcquires   int64   `json:"slow_acquires"`
	AcquireErrors  int64   `json:"acquire_errors"`
	AverageAcquire float64 `json:"average_acquire_time_ms"`
	MaxAcquire     float64 `json:"max_acquire_time_ms"`
}

func (w *Worker) pulse(status string) workerPulse {
	return workerPulse{Status: status, Timestamp: time.Now().UTC(), WorkerID: w.id}
}

// health is GET /health: it says healthy as long as anything answers.
func (w *Worker) health(*http.Request) (any, error) { return w.pulse(healthy), nil }

// live is GET /health/live.
func (w *Worker) live(*http.Request) (any, error) { return w.pulse("alive"), nil }

// ready is GET /health/ready: 503 while this worker cannot work, which never
// depends on how busy its handlers are or how full the queues.
func (w *Worker) ready(r *http.Request) (any, error) {
	if w.Draining() {
		return nil, unavailable(retryElsewhere, "not ready: draining")
	}
	database, queues := w.ask(r.Context())
	if database.err != nil {
		return nil, unavailable(retrySoon, "not ready: %v", database.err)
	}
	return readiness{w.pulse("ready"), w.checks(database, queues), w.system()}, nil
}

// detailed is GET /health/detailed.
func (w *Worker) detailed(r *http.Request) (any, error) {
	database, queues := w.ask(r.Context())
	all := w.checks(database, queues)
	all["event_system"] = w.eventSystem()
	all["step_processing"] = w.stepProcessing()
	all["circuit_breakers"] = w.breakers()
	v := readiness{w.pulse(healthy), all, w.system()}
	for _, c := range all {
		if c.Status != healthy {
			v.Status = degraded
		}
	}
	return v, nil
}

// reply is what the database said, and how long that took.
type reply struct {
	err    error
	depths []postgres.QueueDepth
	took   time.Duration
}

// ask asks the database whether it is there and how full the queues are, both
// at once and for askTimeout at most.
func (w *Worker) ask(ctx context.Context) (database, queues reply) {
	asked := make(chan reply, 1)
	go func() { asked <- w.queues(ctx) }()
	database = w.database(ctx)
	return database, <-asked
}

// database tells whether the database can be worked with.
func (w *Worker) database(ctx context.Context) reply {
	return w.askOnce(ctx, "database", func(ctx context.Context) reply {
		before := w.statements()
		err := w.o.Deployment.Ping(ctx)
		if health := w.o.Deployment.Health(); err == nil && health != nil {
			err = health
		} else if errors.Is(err, context.DeadlineExceeded) && health == nil && w.statements() != before {
			err = nil // every connection was busy, with statements that go well
		}
		return reply{err: err}
	})
}

// statements counts those that went well: they change whenever the database
// answers a busy worker.
func (w *Worker) statements() uint64 {
	s := w.o.Deployment.Stats()
	return s.ClaimBatches + s.CompleteBatches
}

// queues asks how full the queues are.
func (w *Worker) queues(ctx context.Context) reply {
	return w.askOnce(ctx, "queues", func(ctx context.Context) reply {
		depths, err := w.o.Deployment.QueueDepths(ctx)
		return reply{err: err, depths: depths}
	})
}

// askOnce asks, or waits for the answer that another request waits for.
func (w *Worker) askOnce(ctx context.Context, what string, ask func(ctx context.Context) reply) reply {
	answer, _, _ := w.asking.Do(what, func() (any, error) {
		// Not until the first of those who wait has gone.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
		defer cancel()
		began := time.Now()
		a := ask(ctx)
		a.took = time.Since(began)
		return a, nil
	})
	return answer.(reply)
}

// checks are the three of /health/ready.
func (w *Worker) checks(database, queues reply) map[string]workerCheck {
	return map[string]workerCheck{
		"database":          w.databaseCheck(database),
		"command_processor": w.processor(),
		"queue_processing":  queueCheck(queues),
	}
}

// checked makes a check; message "" is none.
func checked(status string, took time.Duration, message string, args ...any) workerCheck {
	c := workerCheck{Status: status, DurationMS: took.Milliseconds(), LastChecked: time.Now().UTC()}
	if message != "" {
		text := fmt.Sprintf(message, args...)
		c.Message = &text
	}
	return c
}

func (w *Worker) databaseCheck(a reply) workerCheck {
	if a.err != nil {
		return checked(unhealthy, a.took, "%v", a.err)
	}
	p := w.o.Deployment.Pool()
	return checked(healthy, a.took, "connected, %d of at most %d connections open", p.Size, p.Max)
}

func (w *Worker) processor() workerCheck {
	switch {
	case w.Draining():
		return checked(degraded, 0, "draining: running steps finish, no new ones are claimed")
	case w.o.Dispatch == nil:
		return checked(healthy, 0, "")
	}
	d := w.o.Dispatch()
	if d.Stuck > 0 {
		return checked(degraded, 0, "stuck lanes: %d, in handlers that do not come back; /debug/lanes names them", d.Stuck)
	}
	return checked(healthy, 0, "%d steps in handlers, %d of %d lanes asleep", d.Running, d.Idle, d.Lanes)
}

func queueCheck(a reply) workerCheck {
	if a.err != nil {
		return checked(unhealthy, a.took, "%v", a.err)
	}
	var total int64
	for _, d := range a.depths {
		total += d.Messages
	}
	status := healthy
	switch {
	case total >= tooManyMessages:
		status = unhealthy
	case total >= manyMessages:
		status = degraded
	}
	return checked(status, a.took, "messages: %d, queues: %d", total, len(a.depths))
}

func (w *Worker) eventSystem() workerCheck {
	if !w.o.Deployment.Listening() {
		return checked(degraded, 0, "notifications are interrupted; queues are polled meanwhile")
	}
	return checked(healthy, 0, "listening for notifications")
}

func (w *Worker) stepProcessing() workerCheck {
	if w.o.Steps == nil {
		return checked(healthy, 0, "")
	}
	succeeded, failed := w.o.Steps()
	all := succeeded + failed
	if all == 0 {
		return checked(healthy, 0, "no step has run yet")
	}
	share := float64(failed) / float64(all)
	status := healthy
	switch {
	case share >= tooManyFailures:
		status = unhealthy
	case share >= manyFailures:
		status = degraded
	}
	return checked(status, 0, "%d of %d executions of steps failed (%.1f %%)", failed, all, 100*share)
}

// breakers is for the reference's circuit breakers. Here a result that cannot
// be stored waits until it can.
func (w *Worker) breakers() workerCheck {
	if err := w.o.Deployment.Health(); err != nil {
		return checked(unhealthy, 0, "%d results wait for the database: %v", w.o.Deployment.Stats().Unstored, err)
	}
	return checked(healthy, 0, "closed")
}

func (w *Worker) system() systemInfo {
	p := w.o.Deployment.Pool()
	return systemInfo{
		Version: w.o.Version, Environment: w.o.Environment, UptimeSeconds: int64(time.Since(w.started).Seconds()),
		WorkerType: "command_processor", PoolSize: p.Size, ProcessorActive: !w.Draining(),
		Namespaces: w.o.Deployment.Namespaces(), Pools: poolPairs{useOf(p), useOf(w.o.Deployment.QueuePool())},
	}
}

func useOf(p postgres.Pool) poolUse {
	use := poolUse{
		Active: p.Size - p.Idle, Idle: p.Idle, Max: p.Max,
		TotalAcquires: p.Acquires, SlowAcquires: p.Waits, AcquireErrors: p.Errors,
		MaxAcquire: float64(p.LongestWait) / float64(time.Millisecond),
	}
	if p.Max > 0 {
		use.Utilization = 100 * float64(use.Active) / float64(p.Max)
	}
	if p.Acquires > 0 {
		use.AverageAcquire = float64(p.AcquireWait) / float64(time.Millisecond) / float64(p.Acquires)
	}
	return use
}
