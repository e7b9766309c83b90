package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tasker-systems/taskerpy/template"
)

// TemplateList is TemplateListResponse (engine-semantics §9.5).
type TemplateList struct {
	Namespaces []NamespaceSummary `json:"namespaces"`
	Templates  []TemplateSummary  `json:"templates"`
	// TotalCount counts the templates of all namespaces, also in a list of one.
	TotalCount int `json:"total_count"`
}

// NamespaceSummary is one namespace of a TemplateList.
type NamespaceSummary struct {
	Name          string  `json:"name"`
	Description   *string `json:"description"`
	TemplateCount int     `json:"template_count"`
}

// TemplateSummary is one template of a TemplateList.
type TemplateSummary struct {
	Name        string  `json:"name"`
	Namespace   string  `json:"namespace"`
	Version     string  `json:"version"`
	Description *string `json:"description"`
	StepCount   int     `json:"step_count"`
}

// Key is "namespace/name@version".
func (t TemplateSummary) Key() string {
	return (&template.Template{Namespace: t.Namespace, Name: t.Name, Version: t.Version}).Key()
}

// TemplateDetail is TemplateDetail (engine-semantics §9.5).
type TemplateDetail struct {
	Name        string  `json:"name"`
	Namespace   string  `json:"namespace"`
	Version     string  `json:"version"`
	Description *string `json:"description"`
	// Configuration is the whole template, null from servers that keep it.
	Configuration json.RawMessage `json:"configuration"`
	Steps         []TemplateStep  `json:"steps"`
}

// TemplateStep is one step of a TemplateDetail.
type TemplateStep struct {
	Name               string          `json:"name"`
	Description        *string         `json:"description"`
	DefaultRetryable   bool            `json:"default_retryable"`
	DefaultMaxAttempts int             `json:"default_max_attempts"`
	ResultSchema       json.RawMessage `json:"result_schema"`
}

// Templates lists the registered templates, of all namespaces if namespace is
// "".
func (c *Client) Templates(ctx context.Context, namespace string) (Answer[TemplateList], error) {
	query := url.Values{}
	if namespace != "" {
		query.Set("namespace", namespace)
	}
	return ask[TemplateList](ctx, c, http.MethodGet, query, nil, "v1", "templates")
}

// Template reads one template, referred to as [NAMESPACE/]NAME[@VERSION]. What
// is left out must not make a difference.
func (c *Client) Template(ctx context.Context, reference string) (Answer[TemplateDetail], error) {
	list, err := c.Templates(ctx, "")
	if err != nil {
		return Answer[TemplateDetail]{}, err
	}
	t, err := choose(list.Value.Templates, reference)
	if err != nil {
		return Answer[TemplateDetail]{}, err
	}
	// configuration=true asks taskerpy for the whole template. Other servers
	// know no such key.
	return ask[TemplateDetail](ctx, c, http.MethodGet, url.Values{"configuration": {"true"}}, nil,
		"v1", "templates", t.Namespace, t.Name, t.Version)
}

// Definition is the whole template that the detail is about. The error tells
// that the server did not give it, or gave something else.
func (d TemplateDetail) Definition() (*template.Template, error) {
	if text := bytes.TrimSpace(d.Configuration); len(text) == 0 || string(text) == "null" {
		return nil, usagef("the server does not give the steps' dependencies of template %s; name the template's file instead", d.Name)
	}
	t, findings := template.Parse("", d.Configuration)
	if t == nil {
		errs := []error{fmt.Errorf("the server's template %s cannot be read", d.Name)}
		for _, f := range findings {
			if f.Severity == template.SeverityError {
				errs = append(errs, errors.New(f.String()))
			}
		}
		return nil, &Error{Message: oneLine(errors.Join(errs...).Error()), exit: exitEnvironment}
	}
	return t, nil
}

func choose(list []TemplateSummary, reference string) (TemplateSummary, error) {
	namespace, name, version := "", reference, ""
	if i := strings.LastIndexByte(name, '@'); i >= 0 {
		name, version = name[:i], name[i+1:]
	}
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		namespace, name = name[:i], name[i+1:]
	}
	var found []TemplateSummary
	var keys, names []string
	for _, t := range list {
		keys, names = append(keys, t.Key()), append(names, t.Name)
		if t.Name == name && (namespace == "" || t.Namespace == namespace) && (version == "" || t.Version == version) {
			found = append(found, t)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		keys = nil
		for _, t := range found {
			keys = append(keys, t.Key())
		}
		return TemplateSummary{}, usagef("template %q is ambiguous: it may be %s", reference, listed(keys))
	case len(list) == 0:
		return TemplateSummary{}, usagef("unknown template %q; none is registered", reference)
	}
	near := name
	if !slices.Contains(names, name) {
		var ok bool
		if near, ok = template.Nearest(name, names); !ok {
			return TemplateSummary{}, usagef("unknown template %q; there is %s", reference, listed(keys))
		}
	}
	// Of those with the name, the one that agrees with most of the rest.
	var best TemplateSummary
	score := -1
	for _, t := range list {
		agrees := 0
		if t.Namespace == namespace {
			agrees++
		}
		if t.Version == version {
			agrees++
		}
		if t.Name == near && agrees > score {
			best, score = t, agrees
		}
	}
	return TemplateSummary{}, usagef("unknown template %q; did you mean %s?", reference, best.Key())
}

// maxListed is how many templates a message names.
const maxListed = 5

func listed(keys []string) string {
	keys = slices.Clone(keys)
	slices.Sort(keys)
	if more := len(keys) - maxListed; more > 0 {
		keys = append(keys[:maxListed], fmt.Sprintf("%d more", more))
	}
	return strings.Join(keys, ", ")
}
