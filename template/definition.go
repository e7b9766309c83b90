package template

import (
	"bytes"
	"encoding/json"
)

// stepJSON is a step as handlers and storage see it.
type stepJSON struct {
	Name             string             `json:"name"`
	Description      *string            `json:"description"`
	Handler          Handler            `json:"handler"`
	Type             StepType           `json:"type"`
	SystemDependency *string            `json:"system_dependency"`
	Dependencies     []string           `json:"dependencies"`
	Retry            Retry              `json:"retry"`
	TimeoutSeconds   *uint32            `json:"timeout_seconds"`
	PublishesEvents  []EventDeclaration `json:"publishes_events"`
	BatchConfig      *BatchConfig       `json:"batch_config"`
	ResultSchema     json.RawMessage    `json:"result_schema,omitempty"`
	Composition      json.RawMessage    `json:"composition,omitempty"`
}

type templateJSON struct {
	Name               string                     `json:"name"`
	Namespace          string                     `json:"namespace_name"`
	Version            string                     `json:"version"`
	Description        *string                    `json:"description"`
	Metadata           *Metadata                  `json:"metadata"`
	SystemDependencies SystemDependencies         `json:"system_dependencies"`
	DomainEvents       []DomainEvent              `json:"domain_events"`
	InputSchema        json.RawMessage            `json:"input_schema"`
	Steps              []stepJSON                 `json:"steps"`
	Environments       map[string]environmentJSON `json:"environments"`
	Lifecycle          *Lifecycle                 `json:"lifecycle"`
}

type environmentJSON struct {
	Steps []overrideJSON `json:"steps"`
}

type overrideJSON struct {
	Name           string               `json:"name"`
	Handler        *overrideHandlerJSON `json:"handler,omitempty"`
	TimeoutSeconds *uint32              `json:"timeout_seconds,omitempty"`
	Retry          *Retry               `json:"retry,omitempty"`
}

type overrideHandlerJSON struct {
	Initialization json.RawMessage `json:"initialization"`
}

// DefinitionJSON is the step_definition handed to the step's handler, with all
// defaults filled in (python-api-core §2.6). It is encoded anew by each call.
func (s *Step) DefinitionJSON() []byte {
	return marshal(s.wire())
}

// MarshalJSON makes a Step encode as its DefinitionJSON.
func (s *Step) MarshalJSON() ([]byte, error) {
	return s.DefinitionJSON(), nil
}

// Inputs is what a step row stores as its inputs when a task is created: the
// handler's initialization, nil when that is empty (engine-semantics §2.2).
func (s *Step) Inputs() json.RawMessage {
	init := bytes.TrimSpace(s.Handler.Initialization)
	if len(init) == 0 || string(init) == "{}" || string(init) == "null" {
		return nil
	}
	return s.Handler.Initialization
}

func (s *Step) wire() stepJSON {
	w := stepJSON{
		Name:             s.Name,
		Description:      nullable(s.Description),
		Handler:          s.Handler,
		Type:             s.Type.orStandard(),
		SystemDependency: s.SystemDependency,
		Dependencies:     notNil(s.Dependencies),
		Retry:            s.Retry,
		TimeoutSeconds:   s.TimeoutSeconds,
		PublishesEvents:  notNil(s.PublishesEvents),
		BatchConfig:      s.BatchConfig,
		ResultSchema:     s.ResultSchema,
		Composition:      s.Composition,
	}
	if len(w.Handler.Initialization) == 0 {
		w.Handler.Initialization = json.RawMessage("{}")
	}
	return w
}

// JSON is the whole template as it is stored, with all defaults filled in.
// Parse reads it back into an equal template.
func (t *Template) JSON() []byte {
	w := templateJSON{
		Name:               t.Name,
		Namespace:          t.Namespace,
		Version:            t.Version,
		Description:        nullable(t.Description),
		Metadata:           t.Metadata,
		SystemDependencies: t.SystemDependencies,
		DomainEvents:       notNil(t.DomainEvents),
		InputSchema:        t.InputSchema,
		Steps:              make([]stepJSON, len(t.Steps)),
		Environments:       map[string]environmentJSON{},
		Lifecycle:          t.Lifecycle,
	}
	if w.SystemDependencies.Primary == "" && w.SystemDependencies.Secondary == nil {
		w.SystemDependencies.Primary = "default"
	}
	w.SystemDependencies.Secondary = notNil(w.SystemDependencies.Secondary)
	for i := range t.Steps {
		w.Steps[i] = t.Steps[i].wire()
	}
	for name, env := range t.Environments {
		e := environmentJSON{Steps: []overrideJSON{}}
		for _, o := range env.Steps {
			item := overrideJSON{Name: o.Name, TimeoutSeconds: o.TimeoutSeconds, Retry: o.Retry}
			if o.Initialization != nil {
				item.Handler = &overrideHandlerJSON{o.Initialization}
			}
			e.Steps = append(e.Steps, item)
		}
		w.Environments[name] = e
	}
	return marshal(w)
}

// MarshalJSON makes a Template encode as its JSON.
func (t *Template) MarshalJSON() ([]byte, error) {
	return t.JSON(), nil
}

// Equal tells whether two templates mean the same, wherever they are written.
func (t *Template) Equal(other *Template) bool {
	return bytes.Equal(t.JSON(), other.JSON())
}

func nullable(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
