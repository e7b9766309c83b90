package template

import (
	"encoding/json"
	"slices"
)

// ForEnvironment returns a copy of t with the overrides of env applied in the
// order they are written (engine-semantics §1.5). The copy has no environments
// of its own; an unknown env changes nothing.
func (t *Template) ForEnvironment(env string) *Template {
	c := &Template{
		Name:               t.Name,
		Namespace:          t.Namespace,
		Version:            t.Version,
		Description:        t.Description,
		Steps:              slices.Clone(t.Steps),
		InputSchema:        t.InputSchema,
		Metadata:           t.Metadata,
		SystemDependencies: t.SystemDependencies,
		DomainEvents:       t.DomainEvents,
		Lifecycle:          t.Lifecycle,
		Environments:       map[string]Environment{},
		Path:               t.Path,
		node:               t.node,
	}
	for _, override := range t.Environments[env].Steps {
		for i := range c.Steps {
			if override.Name == AllSteps || override.Name == c.Steps[i].Name {
				c.Steps[i].override(override)
			}
		}
	}
	return c
}

func (s *Step) override(o StepOverride) {
	if o.Initialization != nil {
		s.Handler.Initialization = mergeObjects(s.Handler.Initialization, o.Initialization)
	}
	if o.TimeoutSeconds != nil {
		s.TimeoutSeconds = o.TimeoutSeconds
	}
	if o.Retry != nil {
		s.Retry = *o.Retry
	}
}

// mergeObjects lays the keys of one JSON object over another, keeping the
// place of keys that both have. What is not an object is replaced.
func mergeObjects(base, over json.RawMessage) json.RawMessage {
	b, err := readJSON("", base)
	if err != nil || b.kind != kindMap {
		return over
	}
	o, err := readJSON("", over)
	if err != nil || o.kind != kindMap {
		return over
	}
	merged := &node{kind: kindMap, fields: slices.Clone(b.fields)}
	for _, f := range o.fields {
		if old := merged.field(f.key); old != nil {
			old.value = f.value
		} else {
			merged.fields = append(merged.fields, f)
		}
	}
	return merged.json()
}
