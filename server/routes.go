package server

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/server/auth"
)

// route is one thing that can be asked for.
type route struct {
	method, path string
	// permission is needed when the server asks for credentials; "" lets
	// everybody in.
	permission auth.Permission
	// answer gives the JSON to answer with. handler is instead of it.
	answer  func(r *http.Request) (any, error)
	handler http.Handler
	// endless is set for answers that go on until the client has enough.
	endless bool
	about   operation // for /api-docs/openapi.json
}

// routes are all that this server serves (engine-semantics §9.2).
func (s *Server) routes() []route {
	all := []route{
		{method: http.MethodGet, path: "/health", answer: s.health, about: aboutHealth},
		{method: http.MethodGet, path: "/health/live", answer: s.live, about: aboutLive},
		{method: http.MethodGet, path: "/health/ready", answer: s.ready, about: aboutReady},
		{method: http.MethodGet, path: "/health/detailed", answer: s.detailed, about: aboutDetailed},
		{method: http.MethodGet, path: "/config", permission: auth.SystemConfigRead, answer: s.config, about: aboutConfig},

		{method: http.MethodPost, path: "/v1/tasks", permission: auth.TasksCreate, answer: s.createTask, about: aboutCreateTask},
		{method: http.MethodGet, path: "/v1/tasks", permission: auth.TasksList, answer: s.listTasks, about: aboutListTasks},
		{method: http.MethodGet, path: "/v1/tasks/{task}", permission: auth.TasksRead, answer: s.getTask, about: aboutGetTask},
		{method: http.MethodDelete, path: "/v1/tasks/{task}", permission: auth.TasksCancel, answer: s.cancelTask, about: aboutCancelTask},
		{method: http.MethodGet, path: "/v1/tasks/{task}/summary", permission: auth.TasksRead, answer: s.getSummary, about: aboutSummary},
		{
			method: http.MethodGet, path: "/v1/tasks/{task}/events", permission: auth.TasksRead,
			handler: http.HandlerFunc(s.streamEvents), endless: true, about: aboutEvents,
		},

		{method: http.MethodGet, path: "/v1/tasks/{task}/workflow_steps", permission: auth.StepsRead, answer: s.listSteps, about: aboutListSteps},
		{method: http.MethodGet, path: "/v1/tasks/{task}/workflow_steps/{step}", permission: auth.StepsRead, answer: s.getStep, about: aboutGetStep},
		{method: http.MethodPatch, path: "/v1/tasks/{task}/workflow_steps/{step}", permission: auth.StepsResolve, answer: s.changeStep, about: aboutChangeStep},
		{method: http.MethodGet, path: "/v1/tasks/{task}/workflow_steps/{step}/audit", permission: auth.StepsRead, answer: s.auditStep, about: aboutAuditStep},

		{method: http.MethodGet, path: "/v1/templates", permission: auth.TemplatesRead, answer: s.listTemplates, about: aboutListTemplates},
		{method: http.MethodGet, path: "/v1/templates/{namespace}/{name}/{version}", permission: auth.TemplatesRead, answer: s.getTemplate, about: aboutGetTemplate},

		{method: http.MethodGet, path: "/v1/analytics/performance", permission: auth.SystemAnalyticsRead, answer: s.performance, about: aboutPerformance},
		{method: http.MethodGet, path: "/v1/analytics/bottlenecks", permission: auth.SystemAnalyticsRead, answer: s.bottlenecks, about: aboutBottlenecks},

		{method: http.MethodGet, path: "/v1/dlq", permission: auth.DLQRead, answer: s.listDLQ, about: aboutListDLQ},
		{method: http.MethodGet, path: "/v1/dlq/task/{task}", permission: auth.DLQRead, answer: s.getDLQ, about: aboutGetDLQ},
		{method: http.MethodPatch, path: "/v1/dlq/entry/{entry}", permission: auth.DLQUpdate, answer: s.updateDLQ, about: aboutUpdateDLQ},
		{method: http.MethodGet, path: "/v1/dlq/stats", permission: auth.DLQStats, answer: s.dlqStats, about: aboutDLQStats},
		{method: http.MethodGet, path: "/v1/dlq/investigation-queue", permission: auth.DLQRead, answer: s.investigations, about: aboutInvestigations},
		{method: http.MethodGet, path: "/v1/dlq/staleness", permission: auth.DLQRead, answer: s.staleTasks, about: aboutStaleTasks},

		{method: http.MethodGet, path: "/api-docs/openapi.json", answer: s.openAPI, about: aboutOpenAPI},
	}
	if s.o.Events != nil {
		all = append(all, route{method: http.MethodGet, path: "/metrics/events", answer: s.eventCounts, about: aboutEventCounts})
	}
	return append(all, instruments(s.o.Metrics, s.o.Lanes)...)
}

// instruments are the routes of servers of both kinds that are missing without
// what they show.
func instruments(metrics http.Handler, lanes func() any) (all []route) {
	if metrics != nil {
		all = append(all, route{method: http.MethodGet, path: "/metrics", handler: metrics, about: aboutMetrics})
	}
	if lanes != nil {
		all = append(all, route{
			method: http.MethodGet, path: "/debug/lanes", permission: auth.SystemHandlersRead,
			answer: func(*http.Request) (any, error) { return lanes(), nil }, about: aboutLanes,
		})
	}
	return all
}

// handler puts everything together. checkHost is for a server that only this
// machine can reach.
func (s *front) handler(checkHost bool) http.Handler {
	m := chi.NewMux()
	m.Use(s.observe, s.guard(checkHost), middleware.GetHead)
	m.NotFound(s.nowhere)
	m.MethodNotAllowed(s.noMethod)
	for _, r := range s.routes() {
		h := r.handler
		if h == nil {
			h = s.answer(r.answer)
		}
		h = s.permit(r.permission, h)
		if !r.endless {
			h = limit(h)
		}
		m.Method(r.method, r.path, h)
	}
	return m
}

// permit lets those pass who have the permission. It looks at the headers
// only.
func (s *front) permit(p auth.Permission, next http.Handler) http.Handler {
	if s.auth == nil || p == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := s.auth.Require(r, p)
		if err != nil {
			s.log.Warn("HTTP request refused", "method", r.Method, "path", r.URL.Path, "client", r.RemoteAddr, "who", who.Name, "error", err)
			s.refuse(w, r, unauthorized(w.Header(), err))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// unauthorized is the answer to bad credentials, with the headers that tell more
// (engine-semantics §9.8).
func unauthorized(h http.Header, err error) error {
	f, ok := errors.AsType[*auth.Failure](err)
	if !ok {
		p := unavailable(retryKeys, "tokens cannot be checked at the moment")
		p.cause = err
		return p
	}
	h.Set("X-Auth-Failure-Reason", string(f.Reason))
	h.Set("X-Auth-Failure-Severity", f.Reason.Severity())
	status, code := http.StatusUnauthorized, codeAuthentication
	switch f.Reason {
	case auth.Missing:
		code = codeUnauthorized
	case auth.Forbidden:
		status, code = http.StatusForbidden, codeAuthorization
	}
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	p := problemf(status, code, "%s", f.Message)
	p.retryAfter = f.Reason.RetryAfter()
	return p
}

func (s *Server) noRoute(w http.ResponseWriter, r *http.Request) {
	s.refuse(w, r, notFound("no such route: %s", r.URL.Path))
}

func (s *front) noMethod(w http.ResponseWriter, r *http.Request) {
	allowed := allowedMethods(r)
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	s.refuse(w, r, problemf(http.StatusMethodNotAllowed, codeMethodNotAllowed,
		"%s takes %s, not %s", r.URL.Path, strings.Join(allowed, " and "), r.Method))
}

// allowedMethods asks the router, which keeps them to itself.
func allowedMethods(r *http.Request) []string {
	var allowed []string
	routes := chi.RouteContext(r.Context()).Routes
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete} {
		if routes.Match(chi.NewRouteContext(), method, r.URL.EscapedPath()) {
			allowed = append(allowed, method)
			if method == http.MethodGet {
				allowed = append(allowed, http.MethodHead)
			}
		}
	}
	return allowed
}

// pathValue is a path parameter as the client meant it: the router gives it
// escaped when the path was not in its plain form.
func pathValue(r *http.Request, name string) string {
	value := chi.URLParam(r, name)
	if r.URL.RawPath == "" {
		return value
	}
	if plain, err := url.PathUnescape(value); err == nil {
		return plain
	}
	return value
}

// pathUUID reads a uuid out of the path. Routes of tasks and of steps differ
// in the code of the refusal (engine-semantics §9.8).
func pathUUID(r *http.Request, name, code string) (uuid.UUID, error) {
	value := pathValue(r, name)
	id, err := uuid.FromString(value)
	if err != nil {
		return uuid.Nil, problemf(http.StatusBadRequest, code, "%s uuid %q is not a UUID", name, value)
	}
	return id, nil
}
