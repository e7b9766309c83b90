package worker

import (
	"encoding/json"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/domainevent"
	"github.com/tasker-systems/taskerpy/template"
)

// status is what the native functions tell of a running worker
// (python-api-core §2.4, §2.11), the same for both kinds of workers.
type status struct {
	environment string
	namespaces  []string
	endpoint    string // of the REST API, "" without one
	headers     map[string]string
	timeout     time.Duration // of requests to it, 0 for the client's own
	concurrency int
	core        func() string // Running, Stopping, Stopped
	pool        func() (size, idle int)
	pending     func() dispatch.PollerStats
	counts      *outcomes
	bus         *domainevent.Bus
}

// newStatus tells what follows from the configuration; core, pending and
// bus are left to the caller, pool is that of the engine.
func newStatus(c Config, ts []*template.Template) *status {
	s := &status{environment: c.Environment, endpoint: c.Endpoint, headers: c.EndpointHeaders, timeout: c.EndpointTimeout, concurrency: c.Concurrency, counts: &outcomes{next: c.Metrics}, namespaces: []string{}}
	s.pool = (&sources{}).pool
	if s.environment == "" {
		s.environment = "development"
	}
	if s.concurrency == 0 {
		s.concurrency = dispatch.DefaultConcurrency
	}
	for _, t := range ts {
		if !slices.Contains(s.namespaces, t.Namespace) {
			s.namespaces = append(s.namespaces, t.Namespace)
		}
	}
	slices.Sort(s.namespaces)
	return s
}

type object = map[string]any

// call answers what does not depend on the kind of worker; ok is false for
// other functions.
func (s *status) call(name string) (answer []byte, ok bool, err error) {
	var v any
	running := s.core() == "Running"
	poolSize, idle := s.pool()
	switch name {
	case "is_worker_running", "check_starvation_warnings":
		v = true
	case "bootstrap_worker":
		v = object{"handle_id": uuid.Must(uuid.NewV7()), "status": "already_running", "message": "Worker system already running"}
	case "get_worker_status":
		v = object{
			"running": running, "environment": s.environment, "worker_core_status": s.core(), "web_api_enabled": s.endpoint != "",
			"supported_namespaces": s.namespaces, "database_pool_size": poolSize, "database_pool_idle": idle,
		}
	case "get_health_check":
		state := "healthy"
		if !running {
			state = "unhealthy"
		}
		v = object{
			"status": state, "is_running": running,
			"components": object{"database": object{"name": "database", "status": "healthy", "pool_size": poolSize, "pool_idle": idle}},
			"rust":       object{"environment": s.environment, "worker_core_status": s.core(), "web_api_enabled": s.endpoint != ""},
			"python":     object{"handler_count": "unknown (tracked by Python)"},
		}
	case "get_metrics":
		p := s.pending()
		succeeded, failed := s.counts.succeeded.Load(), s.counts.failed.Load()
		v = object{
			"dispatch_channel_pending": p.Pending, "oldest_pending_age_ms": p.OldestMS, "newest_pending_age_ms": p.NewestMS,
			"starvation_detected": p.Starving, "starving_event_count": p.StarvingN, "database_pool_size": poolSize, "database_pool_idle": idle,
			"environment": s.environment, "steps_processed": succeeded + failed, "steps_succeeded": succeeded, "steps_failed": failed,
			"steps_in_progress": p.Pending,
		}
	case "get_ffi_dispatch_metrics":
		v = s.pending()
	case "get_worker_config":
		v = object{
			"environment": s.environment, "supported_namespaces": s.namespaces, "web_api_enabled": s.endpoint != "",
			"database_pool_size": poolSize, "polling_interval_ms": 10, "starvation_threshold_ms": 1000,
			"max_concurrent_handlers": s.concurrency, "handler_timeout_ms": dispatch.AnswerTimeout.Milliseconds(),
		}
	case "client_endpoint":
		if s.endpoint == "" {
			return nil, true, nil
		}
		told := object{"base_url": s.endpoint}
		if len(s.headers) > 0 {
			told["headers"] = s.headers
		}
		if s.timeout > 0 {
			told["timeout_ms"] = max(s.timeout.Milliseconds(), 1)
		}
		v = told
	case "poll_in_process_events":
		if s.bus == nil {
			return nil, true, nil
		}
		return s.bus.Poll(), true, nil
	default:
		return nil, false, nil
	}
	answer, err = json.Marshal(v)
	return answer, true, err
}

// outcomes counts finished steps and passes them on: a dispatch.Metrics.
type outcomes struct {
	next              dispatch.Metrics // may be nil
	succeeded, failed atomic.Int64
}

// StepDone implements dispatch.Metrics.
func (o *outcomes) StepDone(step *dispatch.Step, outcome dispatch.Outcome, queued, inHandler time.Duration) {
	switch outcome {
	case dispatch.Success, dispatch.SuccessDirective:
		o.succeeded.Add(1)
	case dispatch.RetryableFailure, dispatch.PermanentFailure:
		o.failed.Add(1)
	}
	if o.next != nil {
		o.next.StepDone(step, outcome, queued, inHandler)
	}
}
