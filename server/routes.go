package server

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/gofrs/uuid/v5"
)

// handler puts everything together. checkHost is for a server that only this
// machine can reach.
func (s *Server) handler(checkHost bool) http.Handler {
	m := chi.NewMux()
	m.Use(s.observe, s.guard(checkHost), limit, middleware.GetHead)
	m.NotFound(s.noRoute)
	m.MethodNotAllowed(s.noMethod)

	m.Get("/health", s.answer(s.health))
	m.Get("/health/live", s.answer(s.live))
	m.Get("/health/ready", s.answer(s.ready))
	m.Get("/health/detailed", s.answer(s.detailed))
	m.Get("/config", s.answer(s.config))
	if s.o.Metrics != nil {
		m.Method(http.MethodGet, "/metrics", s.o.Metrics)
	}
	if s.o.Lanes != nil {
		m.Get("/debug/lanes", s.answer(func(*http.Request) (any, error) { return s.o.Lanes(), nil }))
	}

	m.Post("/v1/tasks", s.answer(s.createTask))
	m.Get("/v1/tasks", s.answer(s.listTasks))
	m.Get("/v1/tasks/{task}", s.answer(s.getTask))
	m.Delete("/v1/tasks/{task}", s.answer(s.cancelTask))
	m.Get("/v1/tasks/{task}/workflow_steps", s.answer(s.listSteps))
	m.Get("/v1/tasks/{task}/workflow_steps/{step}", s.answer(s.getStep))
	m.Get("/v1/templates", s.answer(s.listTemplates))
	m.Get("/v1/templates/{namespace}/{name}/{version}", s.answer(s.getTemplate))
	return m
}

func (s *Server) noRoute(w http.ResponseWriter, r *http.Request) {
	s.refuse(w, r, notFound("no such route: %s", r.URL.Path))
}

func (s *Server) noMethod(w http.ResponseWriter, r *http.Request) {
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
