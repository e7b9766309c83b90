package domainevent

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/tasker-systems/taskerpy/handlers"
	"github.com/tasker-systems/taskerpy/template"
)

// BuiltIn publishes events as they are declared, without Python: for programs
// that poll by themselves, whose publishers nobody here can call
// (python-api-more §3.6). It has no subscribers.
type BuiltIn struct {
	log     *slog.Logger
	schemas template.EventSchemas
	missing map[string]bool // publishers that were asked for in vain
}

// NewBuiltIn makes a BuiltIn that says in log what it leaves out.
func NewBuiltIn(log *slog.Logger) *BuiltIn { return &BuiltIn{log: log, missing: map[string]bool{}} }

// builtInName is who such events are fired by.
const builtInName = "DefaultDomainEventPublisher"

// finishedStep is what a publication says about its step (engine-semantics
// §6.2).
type finishedStep struct {
	Task struct {
		Task struct {
			UUID        string `json:"task_uuid"`
			Correlation string `json:"correlation_id"`
		} `json:"task"`
		Namespace string `json:"namespace_name"`
	} `json:"task"`
	Step struct {
		UUID string `json:"workflow_step_uuid"`
		Name string `json:"name"`
	} `json:"workflow_step"`
	Definition struct {
		Events []template.EventDeclaration `json:"publishes_events"`
	} `json:"step_definition"`
}

// finishedResult is what it says about how the step ended (§6.1).
type finishedResult struct {
	Success  bool            `json:"success"`
	Result   json.RawMessage `json:"result"`
	Metadata struct {
		Retryable bool    `json:"retryable"`
		ErrorCode *string `json:"error_code"`
		ErrorType *string `json:"error_type"`
	} `json:"metadata"`
	Error struct {
		Message *string `json:"message"`
		Type    *string `json:"error_type"`
	} `json:"error"`
}

// Publish implements Python.
func (b *BuiltIn) Publish(taskSequenceStep, result json.RawMessage) (handlers.Shaped, error) {
	var shaped handlers.Shaped
	var step finishedStep
	var end finishedResult
	if err := json.Unmarshal(taskSequenceStep, &step); err != nil {
		return shaped, fmt.Errorf("read step: %w", err)
	}
	if err := json.Unmarshal(result, &end); err != nil {
		return shaped, fmt.Errorf("read result: %w", err)
	}
	payload, err := end.payload()
	if err != nil {
		return shaped, err
	}
	meta, err := json.Marshal(map[string]string{
		"publisher": "default", "published_at": time.Now().UTC().Format(time.RFC3339Nano),
		"task_uuid": step.Task.Task.UUID, "step_uuid": step.Step.UUID, "step_name": step.Step.Name,
		"namespace": step.Task.Namespace, "correlation_id": step.Task.Task.Correlation,
	})
	if err != nil {
		return shaped, fmt.Errorf("write metadata: %w", err)
	}
	for i, d := range step.Definition.Events {
		if i == 0 && d.Publisher != nil {
			b.warnOfMissing(*d.Publisher)
		}
		if !d.Condition.Holds(end.Success, end.Metadata.Retryable) {
			continue
		}
		if differences := b.schemas.Check(d.Schema, payload); len(differences) > 0 {
			shaped.Failed = append(shaped.Failed, d.Name)
			b.log.Error("domain event left out: its payload does not fit its schema",
				"event", d.Name, "step_uuid", step.Step.UUID, "difference", differences[0].String())
			continue
		}
		shaped.Events = append(shaped.Events, handlers.ShapedEvent{
			Declaration: i, Name: d.Name, Delivery: string(d.Delivery), Payload: payload, Metadata: meta, FiredBy: builtInName,
		})
	}
	return shaped, nil
}

// payload is what events tell of the step's end: its result, and for a failed
// one, which usually has none, its error.
func (r *finishedResult) payload() (json.RawMessage, error) {
	empty := len(r.Result) == 0 || string(r.Result) == "null" || string(r.Result) == "{}"
	switch {
	case !empty:
		return r.Result, nil
	case r.Success:
		return json.RawMessage("{}"), nil
	}
	kind := r.Error.Type
	if kind == nil {
		kind = r.Metadata.ErrorType
	}
	code := r.Metadata.ErrorCode
	if code == nil {
		code = kind
	}
	payload, err := json.Marshal(struct {
		Code      *string `json:"error_code"`
		Message   *string `json:"error_message"`
		Type      *string `json:"error_type"`
		Retryable bool    `json:"retryable"`
	}{code, r.Error.Message, kind, r.Metadata.Retryable})
	if err != nil {
		return nil, fmt.Errorf("write the error: %w", err)
	}
	return payload, nil
}

// warnOfMissing says once that a publisher is not available.
func (b *BuiltIn) warnOfMissing(name string) {
	if !b.missing[name] {
		b.missing[name] = true
		b.log.Warn("publisher is not known here; its events are published as the steps' results", "publisher", name)
	}
}

// Subscribe implements Python.
func (b *BuiltIn) Subscribe() ([]string, error) { return nil, nil }

// Handle implements Python.
func (b *BuiltIn) Handle(subscriber string, _ json.RawMessage) error {
	return fmt.Errorf("no subscriber %s", subscriber)
}
