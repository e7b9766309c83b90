package server

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/tasker-systems/taskerpy/template"
)

// catalog holds the worker's templates with the overrides of its environment,
// and counts how often they were asked for.
type catalog struct {
	environment string
	loaded      time.Time
	templates   []*entry
	hits        atomic.Uint64
	misses      atomic.Uint64
}

type entry struct {
	template *template.Template
	asked    atomic.Uint64
}

func newCatalog(all []*template.Template, environment string, loaded time.Time) *catalog {
	c := &catalog{environment: environment, loaded: loaded}
	for _, t := range all {
		c.templates = append(c.templates, &entry{template: t.ForEnvironment(environment)})
	}
	return c
}

// catalogList is the answer of GET /v1/templates.
type catalogList struct {
	Namespaces   []string    `json:"supported_namespaces"`
	Count        int         `json:"template_count"`
	Cache        *cacheStats `json:"cache_stats"`
	Capabilities []string    `json:"worker_capabilities"`
}

// cacheStats tell about the templates in memory, all of which stay there.
type cacheStats struct {
	Cached        int      `json:"total_cached"`
	Hits          uint64   `json:"cache_hits"`
	Misses        uint64   `json:"cache_misses"`
	Evictions     uint64   `json:"cache_evictions"`
	OldestSeconds int64    `json:"oldest_entry_age_seconds"`
	AverageAsked  float64  `json:"average_access_count"`
	Namespaces    []string `json:"supported_namespaces"`
}

// resolved is the answer of GET /v1/templates/{namespace}/{name}/{version}.
type resolved struct {
	Template   resolvedTemplate `json:"template"`
	Handler    handlerMetadata  `json:"handler_metadata"`
	Cached     bool             `json:"cached"`
	AgeSeconds *int64           `json:"cache_age_seconds"`
	Asked      *uint64          `json:"access_count"`
}

type resolvedTemplate struct {
	Template    *template.Template `json:"template"`
	Environment string             `json:"environment"`
	ResolvedAt  time.Time          `json:"resolved_at"`
}

// handlerMetadata describes the template as a handler of tasks. Its class is
// "" because tasks have none, and its schema is the whole configuration, both
// as in the reference.
type handlerMetadata struct {
	Namespace    string             `json:"namespace"`
	Name         string             `json:"name"`
	Version      string             `json:"version"`
	Class        string             `json:"handler_class"`
	Schema       *template.Template `json:"config_schema"`
	System       *string            `json:"default_dependent_system"`
	RegisteredAt time.Time          `json:"registered_at"`
}

// validation is the answer of POST …/validate.
type validation struct {
	Valid        bool     `json:"valid"`
	Errors       []string `json:"errors"`
	Capabilities []string `json:"required_capabilities"`
	Handlers     []string `json:"step_handlers"` // of each step
}

// listTemplates is GET /v1/templates.
func (w *Worker) listTemplates(r *http.Request) (any, error) {
	query, err := parseQuery(r)
	if err != nil {
		return nil, err
	}
	list := catalogList{
		Namespaces:   w.o.Deployment.Namespaces(),
		Capabilities: []string{"command_processing", "database_access", "message_queues", "ffi_integration"},
	}
	for _, e := range w.catalog.templates {
		if !query.Has("namespace") || query.Get("namespace") == e.template.Namespace {
			list.Count++
		}
	}
	withCache, err := boolQuery(query, "include_cache_stats")
	if err != nil {
		return nil, err
	}
	if withCache {
		list.Cache = w.catalog.stats(list.Namespaces)
	}
	return list, nil
}

func (c *catalog) stats(namespaces []string) *cacheStats {
	s := &cacheStats{
		Cached: len(c.templates), Hits: c.hits.Load(), Misses: c.misses.Load(),
		OldestSeconds: int64(time.Since(c.loaded).Seconds()), Namespaces: namespaces,
	}
	for _, e := range c.templates {
		s.AverageAsked += float64(e.asked.Load()) / float64(len(c.templates))
	}
	return s
}

// find is the template that the path names.
func (w *Worker) find(r *http.Request) (*entry, error) {
	namespace, name, version := pathValue(r, "namespace"), pathValue(r, "name"), pathValue(r, "version")
	for _, e := range w.catalog.templates {
		if t := e.template; t.Namespace == namespace && t.Name == name && t.Version == version {
			w.catalog.hits.Add(1)
			e.asked.Add(1)
			return e, nil
		}
	}
	w.catalog.misses.Add(1)
	return nil, problemf(http.StatusNotFound, "TEMPLATE_NOT_FOUND", "Template not found: %s/%s/%s", namespace, name, version)
}

// getTemplate is GET /v1/templates/{namespace}/{name}/{version}.
func (w *Worker) getTemplate(r *http.Request) (any, error) {
	e, err := w.find(r)
	if err != nil {
		return nil, err
	}
	t := e.template
	age, asked := int64(time.Since(w.catalog.loaded).Seconds()), e.asked.Load()
	return resolved{
		Template: resolvedTemplate{Template: t, Environment: w.catalog.environment, ResolvedAt: w.catalog.loaded.UTC()},
		Handler: handlerMetadata{
			Namespace: t.Namespace, Name: t.Name, Version: t.Version, Schema: t, System: nullable(t.SystemDependencies.Primary),
			RegisteredAt: w.catalog.loaded.UTC(),
		},
		Cached: true, AgeSeconds: &age, Asked: &asked,
	}, nil
}

// validateTemplate is POST /v1/templates/{namespace}/{name}/{version}/validate.
func (w *Worker) validateTemplate(r *http.Request) (any, error) {
	e, err := w.find(r)
	if err != nil {
		return nil, err
	}
	v := validation{Errors: []string{}, Capabilities: []string{}, Handlers: []string{}}
	_, findings := template.Parse(e.template.Key(), e.template.JSON())
	for _, f := range findings {
		if f.Severity == template.SeverityError {
			v.Errors = append(v.Errors, f.Message)
		}
	}
	v.Valid = len(v.Errors) == 0
	for i := range e.template.Steps {
		v.Handlers = append(v.Handlers, e.template.Steps[i].Handler.Callable)
	}
	return v, nil
}
