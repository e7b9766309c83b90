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
	Log     *slog.Logger
	schemas template.EventSchemas
}

// builtInName is who such events are fired by.
const builtInName = "DefaultDomainEventPublisher"

// Publish implements Python.
func (b *BuiltIn) Publish(taskSequenceStep, result json.RawMessage) ([]handlers.ShapedEvent, error) {
	var step struct {
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
	var stored struct {
		Success  bool            `json:"success"`
		Result   json.RawMessage `json:"result"`
		Metadata struct {
			Retryable bool `json:"retryable"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(taskSequenceStep, &step); err != nil {
		return nil, fmt.Errorf("read step: %w", err)
	}
	if err := json.Unmarshal(result, &stored); err != nil {
		return nil, fmt.Errorf("read result: %w", err)
	}
	value := stored.Result
	if len(value) == 0 || string(value) == "null" {
		value = json.RawMessage("{}")
	}
	meta, err := json.Marshal(map[string]string{
		"publisher": "default", "published_at": time.Now().UTC().Format(time.RFC3339Nano),
		"task_uuid": step.Task.Task.UUID, "step_uuid": step.Step.UUID, "step_name": step.Step.Name,
		"namespace": step.Task.Namespace, "correlation_id": step.Task.Task.Correlation,
	})
	if err != nil {
		return nil, fmt.Errorf("write metadata: %w", err)
	}
	var events []handlers.ShapedEvent
	for i, d := range step.Definition.Events {
		if !d.Condition.Holds(stored.Success, stored.Metadata.Retryable) {
			continue
		}
		if differences := b.schemas.Check(d.Schema, value); len(differences) > 0 {
			b.Log.Error("domain event left out: its payload does not fit its schema", "event", d.Name, "difference", differences[0].String())
			continue
		}
		events = append(events, handlers.ShapedEvent{
			Declaration: i, Name: d.Name, Delivery: string(d.Delivery), Payload: value, Metadata: meta, FiredBy: builtInName,
		})
	}
	return events, nil
}

// Subscribe implements Python.
func (b *BuiltIn) Subscribe() ([]string, error) { return nil, nil }

// Handle implements Python.
func (b *BuiltIn) Handle(subscriber string, _ json.RawMessage) error {
	return fmt.Errorf("no subscriber %s", subscriber)
}
