package worker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/engine"
)

// TaskOutcome is what became of a task, as `taskerpy run --task` prints it.
type TaskOutcome struct {
	TaskUUID      uuid.UUID    `json:"task_uuid"`
	CorrelationID uuid.UUID    `json:"correlation_id"`
	Namespace     string       `json:"namespace"`
	Name          string       `json:"name"`
	Version       string       `json:"version"`
	Status        string       `json:"status"`
	DurationMS    *float64     `json:"duration_ms"` // from creation to the end; null when the task has not ended
	Steps         StepOutcomes `json:"steps"`
}

// StepOutcomes is an object with a member for each step, in the engine's order.
type StepOutcomes []StepOutcome

// StepOutcome is what became of a step. Result and Error are as the handler
// gave them: key order is kept and integers are exact at any size.
type StepOutcome struct {
	Name       string          `json:"-"`
	State      string          `json:"state"`
	Attempts   int             `json:"attempts"`
	DurationMS *float64        `json:"duration_ms"` // of the last attempt inside the handler; null without one
	Result     json.RawMessage `json:"result,omitempty"`
	Error      json.RawMessage `json:"error,omitempty"`
}

// Outcome sums up a task and its steps.
func Outcome(t engine.Task, steps []engine.Step) (TaskOutcome, error) {
	out := TaskOutcome{
		TaskUUID: t.TaskUUID, CorrelationID: t.CorrelationID, Namespace: t.Namespace, Name: t.Name, Version: t.Version,
		Status: t.Status, Steps: make(StepOutcomes, 0, len(steps)),
	}
	if t.CompletedAt != nil {
		out.DurationMS = milliseconds(t.CompletedAt.Sub(t.CreatedAt))
	}
	for i := range steps {
		s, err := stepOutcome(&steps[i])
		if err != nil {
			return out, err
		}
		out.Steps = append(out.Steps, s)
	}
	return out, nil
}

func stepOutcome(s *engine.Step) (StepOutcome, error) {
	out := StepOutcome{Name: s.Name, State: s.CurrentState, Attempts: s.Attempts}
	if len(s.Results) == 0 {
		return out, nil
	}
	out.DurationMS = milliseconds(s.Duration)
	var stored struct { // engine-semantics §6.1
		Success bool            `json:"success"`
		Result  json.RawMessage `json:"result"`
		Error   json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(s.Results, &stored); err != nil {
		return out, fmt.Errorf("read the result of step %s: %w", s.Name, err)
	}
	if stored.Success {
		out.Result = stored.Result
	} else {
		out.Error = stored.Error
	}
	return out, nil
}

func milliseconds(d time.Duration) *float64 {
	ms := float64(d.Microseconds()) / 1000
	return &ms
}

// MarshalJSON keeps the steps in order.
func (s StepOutcomes) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, step := range s {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(step.Name)
		if err != nil {
			return nil, fmt.Errorf("write step %s: %w", step.Name, err)
		}
		b.Write(name)
		b.WriteByte(':')
		value := json.NewEncoder(&b)
		value.SetEscapeHTML(false)
		if err := value.Encode(step); err != nil {
			return nil, fmt.Errorf("write step %s: %w", step.Name, err)
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// Failure names the step that kept a task from completing and says why, in
// one line; "" if none failed.
func (o TaskOutcome) Failure() string {
	for _, s := range o.Steps {
		if len(s.Error) > 0 && s.State != "complete" && s.State != "resolved_manually" {
			return fmt.Sprintf("step %q: %s", s.Name, dispatch.ReadError(s.Error))
		}
	}
	return ""
}
