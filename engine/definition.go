package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/engine/store"
	"github.com/tasker-systems/taskerpy/template"
)

// templateKey is what identifies a template.
type templateKey struct{ namespace, name, version string }

func (k templateKey) String() string { return k.namespace + "/" + k.name + "@" + k.version }

func keyOf(t *template.Template) templateKey { return templateKey{t.Namespace, t.Name, t.Version} }

// A definition is a template prepared for creating and running tasks. It is
// immutable once the writer has published it.
type definition struct {
	template *template.Template
	steps    map[string]*stepDefinition
	// initial are the steps that each task starts with, by position.
	initial []initialStep
}

// stepDefinition is what dispatching and retrying a step needs of its
// template.
type stepDefinition struct {
	json    []byte        // step_definition of the event
	timeout time.Duration // 0 is none
	backoff template.Policy
	events  []template.EventCondition // of its domain events
}

// initialStep is what the row of a step created with the task begins with.
type initialStep struct {
	named             store.NamedStep // ID and UUID are filled in by the writer
	quoted            []byte          // the name as JSON
	retryable         bool
	maxAttempts       int32
	inputs            []byte
	parents, children []int32
	parentsJSON       []byte
}

// define prepares a template (engine-semantics §2.5).
func define(t *template.Template, defaultTimeout time.Duration) *definition {
	d := &definition{template: t, steps: make(map[string]*stepDefinition, len(t.Steps))}
	for i := range t.Steps {
		s := &t.Steps[i]
		timeout := defaultTimeout
		if s.TimeoutSeconds != nil {
			timeout = time.Duration(*s.TimeoutSeconds) * time.Second
		}
		def := &stepDefinition{json: s.DefinitionJSON(), timeout: timeout, backoff: s.Retry.Policy()}
		for _, e := range s.PublishesEvents {
			def.events = append(def.events, e.Condition)
		}
		d.steps[s.Name] = def
	}
	created := t.InitialSteps()
	position := make(map[string]int32, len(created))
	for i, index := range created {
		position[t.Steps[index].Name] = int32(i)
	}
	d.initial = make([]initialStep, len(created))
	for i, index := range created {
		s := &t.Steps[index]
		p := &d.initial[i]
		p.named.Name = s.Name
		p.quoted = quote(s.Name)
		p.retryable = s.Retry.Retryable
		p.maxAttempts = attemptsOf(s.Retry.MaxAttempts)
		p.inputs = inputsOf(s.Handler.Initialization)
		for _, name := range s.Dependencies {
			parent, ok := position[name]
			if !ok || slices.Contains(p.parents, parent) {
				continue
			}
			p.parents = append(p.parents, parent)
			d.initial[parent].children = append(d.initial[parent].children, int32(i))
		}
		p.parentsJSON = positionsJSON(p.parents)
	}
	return d
}

// inputsOf returns the handler's initialization as a step row keeps it: NULL
// when it is empty.
func inputsOf(initialization json.RawMessage) []byte {
	if len(object(initialization)) == 0 {
		return nil
	}
	return initialization
}

// positionsJSON writes positions as a JSON array, nil when there are none.
func positionsJSON(positions []int32) []byte {
	if len(positions) == 0 {
		return nil
	}
	b := []byte{'['}
	for i, p := range positions {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(p), 10)
	}
	return append(b, ']')
}

// quote returns s as a JSON string.
func quote(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // every string encodes
	}
	return b
}

// registered is a template that this process may create tasks from.
type registered struct {
	id   int64 // of the named task
	uuid uuid.UUID
	def  *definition
}

// catalog holds the registered templates. It is replaced as a whole, so that
// it can be read without a lock.
type catalog map[templateKey]registered

func (c catalog) with(more catalog) catalog {
	all := maps.Clone(c)
	if all == nil {
		all = catalog{}
	}
	maps.Copy(all, more)
	return all
}

func (c catalog) find(k templateKey) (registered, error) {
	r, ok := c[k]
	if !ok {
		return registered{}, fmt.Errorf("task template %s: %w", k, ErrNotFound)
	}
	return r, nil
}

// attemptsOf clamps a template's max_attempts to what a row holds.
func attemptsOf(n uint32) int32 { return int32(min(n, math.MaxInt32)) }
