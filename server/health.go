package server

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/tasker-systems/taskerpy/engine"
)

// The words for how something is (engine-semantics §9.6).
const (
	healthy   = "healthy"
	degraded  = "degraded"
	unhealthy = "unhealthy"
	unknown   = "unknown"
)

// pulse is the answer of /health and /health/live.
type pulse struct {
	Status    string    `json:"status"`
	Timestamp time.Time `json:"timestamp"`
	WorkerID  string    `json:"worker_id,omitempty"` // as workers show it (worker-protocol §5.2)
}

// vitals is the answer of /health/ready and /health/detailed.
type vitals struct {
	pulse
	Checks map[string]check `json:"checks"`
	Info   info             `json:"info"`
}

// check is how one part of the process is.
type check struct {
	Status     string `json:"status"`
	Message    string `json:"message"`
	DurationMS int64  `json:"duration_ms"`
}

// info tells about the process. The embedded engine has one file instead of
// pools of connections, and nothing that a circuit breaker would protect.
type info struct {
	Version             string `json:"version"`
	Environment         string `json:"environment"`
	OperationalState    string `json:"operational_state"`
	WebPoolSize         int    `json:"web_database_pool_size"`
	OrchestrationPool   int    `json:"orchestration_database_pool_size"`
	CircuitBreakerState string `json:"circuit_breaker_state"`
}

func (s *Server) pulse(status string) pulse {
	return pulse{Status: status, Timestamp: time.Now().UTC(), WorkerID: s.o.WorkerID}
}

// health is GET /health: it says healthy as long as anything answers.
func (s *Server) health(*http.Request) (any, error) { return s.pulse(healthy), nil }

// live is GET /health/live.
func (s *Server) live(*http.Request) (any, error) { return s.pulse("alive"), nil }

// ready is GET /health/ready: 503 while work should go elsewhere, which never
// depends on how busy the handlers are.
func (s *Server) ready(*http.Request) (any, error) {
	if s.Draining() {
		return nil, unavailable(retryElsewhere, "not ready: draining")
	}
	if err := s.o.Engine.Health(); err != nil {
		return nil, notReady(err)
	}
	return vitals{s.pulse("ready"), s.checks(), s.info()}, nil
}

func notReady(err error) error {
	if errors.Is(err, engine.ErrClosed) {
		return unavailable(retryElsewhere, "not ready: %v", err)
	}
	return unavailable(retrySoon, "not ready: %v", err)
}

// detailed is GET /health/detailed.
func (s *Server) detailed(*http.Request) (any, error) {
	v := vitals{s.pulse(healthy), s.checks(), s.info()}
	v.Checks["pool_utilization"] = check{Status: healthy, Message: "one file, no pool that could be exhausted"}
	stats := s.o.Engine.Stats()
	v.Checks["queue_depth"] = check{Status: healthy, Message: fmt.Sprintf("%d tasks open; steps: %d ready, %d running, %d delayed, %d parked",
		stats.OpenTasks, stats.ReadySteps, stats.RunningSteps, stats.DelayedSteps, stats.ParkedSteps)}
	v.Checks["channel_saturation"] = s.saturation()
	for _, c := range v.Checks {
		if c.Status == degraded || c.Status == unhealthy {
			v.Status = degraded
		}
	}
	return v, nil
}

// checks are the five of /health/ready.
func (s *Server) checks() map[string]check {
	started := time.Now()
	store := check{Status: healthy, Message: "work can be made durable"}
	orchestration := check{Status: healthy, Message: "running"}
	if err := s.o.Engine.Health(); err != nil {
		store = check{Status: unhealthy, Message: err.Error()}
		if errors.Is(err, engine.ErrClosed) {
			orchestration = store
		}
	}
	if s.Draining() && orchestration.Status == healthy {
		orchestration = check{Status: degraded, Message: "draining: no new tasks are taken"}
	}
	all := map[string]check{
		"web_database":           store,
		"orchestration_database": store,
		"circuit_breaker":        {Status: healthy, Message: "closed: the embedded engine needs none"},
		"orchestration_system":   orchestration,
		"command_processor":      s.processor(),
	}
	took := time.Since(started).Milliseconds()
	for name, c := range all {
		c.DurationMS = took
		all[name] = c
	}
	return all
}

// processor is how the dispatcher is.
func (s *Server) processor() check {
	switch {
	case s.Draining():
		return check{Status: degraded, Message: "draining: running steps finish, no new ones are claimed"}
	case s.o.Dispatch == nil:
		return check{Status: unknown, Message: "no dispatcher in this process"}
	}
	d := s.o.Dispatch()
	if d.Stuck > 0 {
		return check{Status: degraded, Message: fmt.Sprintf("stuck lanes: %d, in handlers that do not come back; /debug/lanes names them", d.Stuck)}
	}
	return check{Status: healthy, Message: fmt.Sprintf("%d steps in handlers, %d of %d lanes asleep", d.Running, d.Idle, d.Lanes)}
}

// saturation is how full the queue between engine and lanes is. It is never
// more than healthy: the dispatcher claims no more than it has room for.
func (s *Server) saturation() check {
	if s.o.Dispatch == nil {
		return check{Status: unknown, Message: "no dispatcher in this process"}
	}
	d := s.o.Dispatch()
	return check{Status: healthy, Message: fmt.Sprintf("%d steps queued for lanes, room for %d", d.Queued, d.Window)}
}

func (s *Server) info() info {
	i := info{
		Version: s.o.Version, Environment: s.o.Environment, OperationalState: "running",
		WebPoolSize: 1, OrchestrationPool: 1, CircuitBreakerState: "closed",
	}
	if s.Draining() {
		i.OperationalState = "draining"
	}
	return i
}
