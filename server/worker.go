package server

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gofrs/uuid/v5"
	"golang.org/x/sync/singleflight"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/postgres"
	"github.com/tasker-systems/taskerpy/server/auth"
	"github.com/tasker-systems/taskerpy/template"
)

// askTimeout is how long the database may take to answer for health and
// metrics.
const askTimeout = time.Second

// Deployment is what a Worker needs of a postgres.Source. Only QueueDepths and
// Ping may wait for I/O, until their context ends.
type Deployment interface {
	Stats() postgres.Stats
	Pool() postgres.Pool
	QueuePool() postgres.Pool
	QueueDepths(ctx context.Context) ([]postgres.QueueDepth, error)
	Ping(ctx context.Context) error
	Health() error
	Listening() bool
	Namespaces() []string
	UUID() uuid.UUID
}

// WorkerOptions say what a Worker shows. None of its functions may wait for
// the GIL or for I/O. Handlers are imported when a Worker is made of them.
type WorkerOptions struct {
	Deployment Deployment
	Templates  []*template.Template
	// Dispatch tells where the dispatcher stands; nil leaves that out.
	Dispatch func() dispatch.Stats
	// Steps counts the steps that succeeded and failed; nil leaves that out.
	Steps func() (succeeded, failed uint64)
	// Lanes gives the body of /debug/lanes; without it the route is missing.
	Lanes func() any
	// Events counts domain events for /metrics/events.
	Events func() EventStats
	// Config gives what /config shows as "configuration", secrets masked;
	// without it the route is missing.
	Config func() any
	// Metrics serves /metrics; without it the route is missing.
	Metrics http.Handler

	Version     string
	Environment string // the active TASKER_ENV; "" means "development"
	WorkerID    string // the configured name, which /config shows
	WorkerType  string // the configured one; "" means "general"
	// ResultsQueue is where results go; "" means postgres.DefaultResultsQueue.
	ResultsQueue string

	// Auth says who may ask for what; nil lets everybody ask for everything.
	Auth *auth.Authenticator
	// AllowedHosts are further names under which clients may address a worker
	// that listens on loopback.
	AllowedHosts []string

	Log *slog.Logger // nil discards
}

// Worker serves the API of a worker of a Tasker deployment (worker-protocol
// §5.2) from Start to Stop. All methods may be called by any goroutine.
type Worker struct {
	front
	o       WorkerOptions
	id      string // of REST: worker- and the process's UUID
	started time.Time
	catalog *catalog
	asking  singleflight.Group // however many ask, the database is asked once
}

// NewWorker makes a Worker that listens to nobody yet.
func NewWorker(o WorkerOptions) *Worker {
	o.Environment = cmp.Or(o.Environment, defaultEnvironment)
	o.WorkerType = cmp.Or(o.WorkerType, "general")
	o.ResultsQueue = cmp.Or(o.ResultsQueue, postgres.DefaultResultsQueue)
	if o.Events == nil {
		o.Events = func() EventStats { return EventStats{} }
	}
	w := &Worker{o: o, id: "worker-" + o.Deployment.UUID().String(), started: time.Now()}
	w.catalog = newCatalog(o.Templates, o.Environment, w.started)
	w.front = front{
		log: orDiscard(o.Log), auth: o.Auth, allowedHosts: o.AllowedHosts, stopping: make(chan struct{}),
		routes: w.routes, refusal: refusalOfWorker,
		// As the reference does, without a body.
		nowhere: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
		about:   about{title: "taskerpy worker", version: o.Version, description: "The API of a worker of a Tasker deployment."},
	}
	return w
}

// workerError is the body of every answer of a Worker that is an error.
type workerError struct {
	Error     string    `json:"error"`
	Message   string    `json:"message"`
	Timestamp time.Time `json:"timestamp"`
	RequestID uuid.UUID `json:"request_id"`
}

// refusalOfWorker is the body of a Worker's errors.
func refusalOfWorker(p *problem) any {
	id, _ := uuid.NewV4() // the zero UUID is as good when there is no randomness
	return workerError{Error: strings.ToLower(p.code), Message: p.message, Timestamp: time.Now().UTC(), RequestID: id}
}

// routes are all that a Worker serves.
func (w *Worker) routes() []route {
	all := []route{
		{method: http.MethodGet, path: "/health", answer: w.health, about: aboutWorkerHealth},
		{method: http.MethodGet, path: "/health/live", answer: w.live, about: aboutWorkerLive},
		{method: http.MethodGet, path: "/health/ready", answer: w.ready, about: aboutWorkerReady},
		{method: http.MethodGet, path: "/health/detailed", answer: w.detailed, about: aboutWorkerDetailed},
		{method: http.MethodGet, path: "/metrics/worker", answer: w.measures, about: aboutMeasures},
		{method: http.MethodGet, path: "/metrics/events", answer: w.eventCounts, about: aboutEventCounts},
		{method: http.MethodGet, path: "/v1/templates", permission: auth.WorkerTemplatesRead, answer: w.listTemplates, about: aboutCatalog},
		{method: http.MethodGet, path: "/v1/templates/{namespace}/{name}/{version}", permission: auth.WorkerTemplatesRead, answer: w.getTemplate, about: aboutResolved},
		{method: http.MethodPost, path: "/v1/templates/{namespace}/{name}/{version}/validate", permission: auth.TemplatesValidate, answer: w.validateTemplate, about: aboutValidation},
		{method: http.MethodGet, path: "/api-docs/openapi.json", answer: w.openAPI, about: aboutOpenAPI},
	}
	if w.o.Config != nil {
		all = append(all, route{method: http.MethodGet, path: "/config", permission: auth.WorkerConfigRead, answer: w.config, about: aboutWorkerConfig})
	}
	return append(all, instruments(w.o.Metrics, w.o.Lanes)...)
}

var (
	aboutWorkerHealth   = operation{id: "health", summary: "Tell that the worker answers", tag: tagHealth, answer: workerPulse{}}
	aboutWorkerLive     = operation{id: "live", summary: "Tell that the process lives", tag: tagHealth, answer: workerPulse{}}
	aboutWorkerReady    = operation{id: "ready", summary: "Tell whether the worker works", tag: tagHealth, answer: readiness{}}
	aboutWorkerDetailed = operation{id: "detailed", summary: "Tell how each part of the worker is", tag: tagHealth, answer: readiness{}}
	aboutMeasures       = operation{id: "getWorkerMetrics", summary: "Show the worker's numbers", tag: tagServer, answer: measures{}}
	aboutWorkerConfig   = operation{id: "getConfiguration", summary: "Show the effective configuration, secrets masked", tag: tagServer, answer: workerConfiguration{}}
	aboutCatalog        = operation{
		id: "listTemplates", summary: "Count the templates that the worker has handlers for", tag: tagTemplates, answer: catalogList{},
		query: []parameter{
			{"namespace", "only templates of this namespace", anyText()},
			{"include_cache_stats", "show how often templates were asked for", flag()},
		},
	}
	aboutResolved = operation{
		id: "getTemplate", summary: "Read a template, with the overrides of the environment", tag: tagTemplates, answer: resolved{},
		refusals: []int{http.StatusNotFound},
	}
	aboutValidation = operation{
		id: "validateTemplate", summary: "Validate a template", tag: tagTemplates, answer: validation{},
		refusals: []int{http.StatusNotFound},
	}
)
