package server

import (
	"encoding/json"
	"net/http"

	"github.com/tasker-systems/taskerpy/template"
)

// templateList is TemplateListResponse (engine-semantics §9.5).
type templateList struct {
	Namespaces []namespaceSummary `json:"namespaces"`
	Templates  []templateSummary  `json:"templates"`
	TotalCount int                `json:"total_count"` // over all namespaces, also when filtered
}

type namespaceSummary struct {
	Name          string  `json:"name"`
	Description   *string `json:"description"` // templates do not say
	TemplateCount int     `json:"template_count"`
}

type templateSummary struct {
	Name        string  `json:"name"`
	Namespace   string  `json:"namespace"`
	Version     string  `json:"version"`
	Description *string `json:"description"`
	StepCount   int     `json:"step_count"`
}

// templateDetail is TemplateDetail (engine-semantics §9.5).
type templateDetail struct {
	Name          string             `json:"name"`
	Namespace     string             `json:"namespace"`
	Version       string             `json:"version"`
	Description   *string            `json:"description"`
	Configuration *template.Template `json:"configuration"` // null, as in the reference, unless asked for
	Steps         []templateStep     `json:"steps"`
}

type templateStep struct {
	Name               string          `json:"name"`
	Description        *string         `json:"description"`
	DefaultRetryable   bool            `json:"default_retryable"`
	DefaultMaxAttempts uint32          `json:"default_max_attempts"`
	ResultSchema       json.RawMessage `json:"result_schema"`
}

// listTemplates is GET /v1/templates.
func (s *Server) listTemplates(r *http.Request) (any, error) {
	query, err := parseQuery(r)
	if err != nil {
		return nil, err
	}
	list := templateList{Namespaces: []namespaceSummary{}, Templates: []templateSummary{}}
	for _, registered := range s.o.Engine.Templates() { // sorted by namespace
		t := registered.Template
		list.TotalCount++
		if n := len(list.Namespaces); n == 0 || list.Namespaces[n-1].Name != t.Namespace {
			list.Namespaces = append(list.Namespaces, namespaceSummary{Name: t.Namespace})
		}
		list.Namespaces[len(list.Namespaces)-1].TemplateCount++
		if query.Has("namespace") && query.Get("namespace") != t.Namespace {
			continue
		}
		list.Templates = append(list.Templates, templateSummary{
			Name: t.Name, Namespace: t.Namespace, Version: t.Version, Description: nullable(t.Description), StepCount: len(t.Steps),
		})
	}
	return list, nil
}

// getTemplate is GET /v1/templates/{namespace}/{name}/{version}. With
// configuration=true the answer holds the whole template.
func (s *Server) getTemplate(r *http.Request) (any, error) {
	query, err := parseQuery(r)
	if err != nil {
		return nil, err
	}
	whole, err := boolQuery(query, "configuration")
	if err != nil {
		return nil, err
	}
	namespace, name, version := pathValue(r, "namespace"), pathValue(r, "name"), pathValue(r, "version")
	for _, registered := range s.o.Engine.Templates() {
		if t := registered.Template; t.Namespace == namespace && t.Name == name && t.Version == version {
			d := detailOf(t)
			if whole {
				d.Configuration = t
			}
			return d, nil
		}
	}
	return nil, s.templateNotFound(namespace, name, version, nil)
}

func detailOf(t *template.Template) templateDetail {
	d := templateDetail{
		Name: t.Name, Namespace: t.Namespace, Version: t.Version, Description: nullable(t.Description), Steps: []templateStep{},
	}
	for i := range t.Steps {
		step := &t.Steps[i]
		d.Steps = append(d.Steps, templateStep{
			Name: step.Name, Description: nullable(step.Description), DefaultRetryable: step.Retry.Retryable,
			DefaultMaxAttempts: step.Retry.MaxAttempts, ResultSchema: step.ResultSchema,
		})
	}
	return d
}

func nullable(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
