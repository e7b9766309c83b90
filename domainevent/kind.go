package domainevent

import (
	"encoding/json"
	"time"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/template"
)

// Kind is what events have in common that come from the same declaration: the
// labels of their metrics (worker-protocol §8.2). All of it is from templates,
// except the name of an event that a handler publishes by itself.
type Kind struct {
	Namespace string
	Name      string
	Delivery  string
	Publisher string // DefaultPublisher where none is declared
}

// Publishers of events whose declaration names none.
const (
	DefaultPublisher = "default"
	// DirectPublisher is for events that no step declares.
	DirectPublisher = "direct"
)

// unknown is in place of what cannot be read.
const unknown = "unknown"

// Observer is told what becomes of events. Its methods are called by any
// goroutine and must be quick.
type Observer interface {
	// EventDispatched tells of one that is to be published.
	EventDispatched(k Kind)
	// EventPublished tells of one that is stored for its readers (durable,
	// broadcast) or handed on (fast), and how long that took.
	EventPublished(k Kind, took time.Duration)
	// EventFailed tells of one that will not be published.
	EventFailed(k Kind, took time.Duration)
	// EventDropped tells of a fast or broadcast one that somebody in this
	// process did not get, because too many waited already.
	EventDropped(k Kind)
}

type blind struct{}

func (blind) EventDispatched(Kind)               {}
func (blind) EventPublished(Kind, time.Duration) {}
func (blind) EventFailed(Kind, time.Duration)    {}
func (blind) EventDropped(Kind)                  {}

// declared are the declarations of a step as far as kinds need them. Unlike a
// publisher they are read leniently: they are only counted.
type declared struct {
	Task struct {
		Namespace string `json:"namespace_name"`
	} `json:"task"`
	Definition struct {
		Events []struct {
			Name      string                  `json:"name"`
			Condition template.EventCondition `json:"condition"`
			Delivery  string                  `json:"delivery_mode"`
			Publisher string                  `json:"publisher"`
		} `json:"publishes_events"`
	} `json:"step_definition"`
}

func declaredBy(step json.RawMessage) *declared {
	var d declared
	if json.Unmarshal(step, &d) != nil {
		return &declared{}
	}
	return &d
}

// kind is that of the n-th declaration.
func (d *declared) kind(n int) Kind {
	k := Kind{Namespace: d.Task.Namespace, Name: unknown, Delivery: string(template.DeliverDurable), Publisher: DefaultPublisher}
	if k.Namespace == "" {
		k.Namespace = unknown
	}
	if n < 0 || n >= len(d.Definition.Events) {
		return k
	}
	e := d.Definition.Events[n]
	if e.Name != "" {
		k.Name = e.Name
	}
	switch template.DeliveryMode(e.Delivery) {
	case template.DeliverFast, template.DeliverBroadcast:
		k.Delivery = e.Delivery
	}
	if e.Publisher != "" {
		k.Publisher = e.Publisher
	}
	return k
}

// due are the declarations that an attempt's end gives rise to.
func (d *declared) due(publication *dispatch.Publication) []int {
	var end finishedResult
	if json.Unmarshal(publication.Result, &end) != nil {
		return nil
	}
	var due []int
	for i, e := range d.Definition.Events {
		if e.Condition.Holds(end.Success, end.Metadata.Retryable) {
			due = append(due, i)
		}
	}
	return due
}

// failed are the kinds of events that a publisher says have failed, by name.
func (d *declared) failed(publication *dispatch.Publication, names []string) []Kind {
	due := d.due(publication)
	kinds := make([]Kind, 0, len(names))
	for _, name := range names {
		kind := d.kind(-1)
		for i, n := range due {
			if d.Definition.Events[n].Name == name {
				kind = d.kind(n)
				due = append(due[:i:i], due[i+1:]...) // each at most once
				break
			}
		}
		kinds = append(kinds, kind)
	}
	return kinds
}

// lost are the kinds of all events that an attempt should have given rise to:
// at least one.
func (d *declared) lost(publication *dispatch.Publication) []Kind {
	var kinds []Kind
	for _, n := range d.due(publication) {
		kinds = append(kinds, d.kind(n))
	}
	if len(kinds) == 0 {
		kinds = append(kinds, d.kind(-1))
	}
	return kinds
}
