package handlers

import (
	"encoding/json"
	"fmt"

	"github.com/tasker-systems/taskerpy/embed"
	"github.com/tasker-systems/taskerpy/gil"
)

// Events calls the publishers and subscribers of domain events that the
// user's modules define, on lanes of their own. Each method may be called by
// one goroutine at a time.
type Events struct {
	publishing, handling       *gil.Lane
	publish, subscribe, handle embed.Func
}

// Shaped is what a step's publisher made of the events that the step declares.
type Shaped struct {
	Events []ShapedEvent `json:"events"`
	// Failed names those that did not fit their schema, or were lost to an
	// error of the publisher.
	Failed []string `json:"failed"`
}

// ShapedEvent is an event as a publisher made it.
type ShapedEvent struct {
	Declaration int             `json:"declaration"` // position in publishes_events
	Name        string          `json:"event_name"`
	Delivery    string          `json:"delivery_mode"`
	Payload     json.RawMessage `json:"payload"`
	Metadata    json.RawMessage `json:"metadata"`
	FiredBy     string          `json:"fired_by"`
}

// NewEvents prepares the calls; Close of the Host ends their lanes.
func (h *Host) NewEvents() (*Events, error) {
	e := &Events{}
	for name, lane := range map[string]**gil.Lane{"publishers": &e.publishing, "subscribers": &e.handling} {
		l, err := h.runtime.NewLane(name)
		if err != nil {
			return nil, err
		}
		h.mu.Lock()
		h.lanes = append(h.lanes, l)
		h.mu.Unlock()
		*lane = l
	}
	err := run(e.publishing, func() error {
		return e.publishing.Attached(func(a *gil.Attached) error {
			for name, fn := range map[string]*embed.Func{"publish": &e.publish, "subscribe": &e.subscribe, "handle": &e.handle} {
				found, err := a.Lookup("taskerpy_host.domain_events", name)
				if err != nil {
					return err
				}
				*fn = found
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("prepare domain events: %w", err)
	}
	return e, nil
}

// Publish lets the publisher of a step shape the events that it declares.
func (e *Events) Publish(taskSequenceStep, result json.RawMessage) (Shaped, error) {
	request, err := json.Marshal(map[string]json.RawMessage{"task_sequence_step": taskSequenceStep, "execution_result": result})
	if err != nil {
		return Shaped{}, fmt.Errorf("publish events: %w", err)
	}
	answer, err := call(e.publishing, e.publish, request, "publish events")
	if err != nil {
		return Shaped{}, err
	}
	var shaped Shaped
	if err := json.Unmarshal(answer, &shaped); err != nil {
		return Shaped{}, fmt.Errorf("publish events: %w", err)
	}
	return shaped, nil
}

// Subscribe starts the registered subscribers and returns their names.
func (e *Events) Subscribe() ([]string, error) {
	answer, err := call(e.handling, e.subscribe, nil, "start subscribers")
	if err != nil {
		return nil, err
	}
	var names []string
	if err := json.Unmarshal(answer, &names); err != nil {
		return nil, fmt.Errorf("start subscribers: %w", err)
	}
	return names, nil
}

// Handle gives an event (engine-semantics §8.4) to a subscriber.
func (e *Events) Handle(subscriber string, event json.RawMessage) error {
	request, err := json.Marshal(struct {
		Subscriber string          `json:"subscriber"`
		Event      json.RawMessage `json:"event"`
	}{subscriber, event})
	if err != nil {
		return fmt.Errorf("hand event to %s: %w", subscriber, err)
	}
	_, err = call(e.handling, e.handle, request, "subscriber "+subscriber)
	return err
}

func call(l *gil.Lane, fn embed.Func, in []byte, label string) (out []byte, err error) {
	err = run(l, func() (err error) {
		out, err = l.Call(fn, in, &label)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", label, err)
	}
	return out, nil
}
