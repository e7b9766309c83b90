package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/gofrs/uuid/v5"
)

// Operation says who changes a step by hand, and why. Both are kept in the
// task's history.
type Operation struct {
	By     string
	Reason string
}

// Completion is the result that an operator gives a step.
type Completion struct {
	Result   json.RawMessage // any JSON; null when absent
	Metadata json.RawMessage // any JSON, kept in metadata.custom
}

// ResetStep lets a step in error run again, with all its attempts
// (engine-semantics §7.1). The error is ErrNotFound or ErrInvalidState.
func (e *Engine) ResetStep(ctx context.Context, task, step uuid.UUID, o Operation) (Step, error) {
	return e.operate(ctx, "reset", &operation{task: task, step: step, event: stepResetForRetry, Operation: o})
}

// ResolveStep takes a step for done, without a result: what depends on it may
// run. The error is ErrNotFound.
func (e *Engine) ResolveStep(ctx context.Context, task, step uuid.UUID, o Operation) (Step, error) {
	return e.operate(ctx, "resolve", &operation{task: task, step: step, event: stepResolveManually, Operation: o})
}

// CompleteStep completes a step with a result given by hand; a decision or
// batchable step adds to its task what the result asks for. The error is
// ErrNotFound, or ErrInvalid for an outcome that cannot be followed.
func (e *Engine) CompleteStep(ctx context.Context, task, step uuid.UUID, o Operation, c Completion) (Step, error) {
	return e.operate(ctx, "complete", &operation{task: task, step: step, event: stepCompleteManually, Operation: o, completion: c})
}

func (e *Engine) operate(ctx context.Context, what string, o *operation) (Step, error) {
	o.done = make(chan error, 1)
	if err := e.ask(ctx, o, o.done); err != nil {
		return Step{}, fmt.Errorf("%s step %s of task %s: %w", what, o.step, o.task, err)
	}
	return e.Step(ctx, o.task, o.step)
}

// An operation changes one step by hand.
type operation struct {
	Operation
	task, step uuid.UUID
	event      stepEvent
	completion Completion
	done       chan error
}

func (o *operation) apply(w *writer) error {
	r, err := w.find(o.task)
	if err != nil {
		return err
	}
	i := r.positionOf(o.step)
	if i < 0 {
		return fmt.Errorf("step: %w", ErrNotFound)
	}
	s := &r.steps[i]
	if _, err := s.state.next(o.event); err != nil {
		return err
	}
	var planned []*plannedStep
	if o.event == stepCompleteManually {
		result, err := o.result(s.row.UUID, w.batch.at.Time())
		if err != nil {
			return err
		}
		if len(result) > w.e.o.MaxResult {
			return fmt.Errorf("%w: the result has %d bytes, at most %d can be stored", ErrInvalid, len(result), w.e.o.MaxResult)
		}
		if !r.finished() {
			if planned, err = w.expandStep(r, i, result); err != nil {
				return fmt.Errorf("%w: %w", ErrInvalid, err)
			}
		}
		s.row.Results, s.newResults = result, true
	}
	if o.event == stepResetForRetry {
		s.row.Attempts, s.row.LastAttemptedAt = 0, 0
	}
	s.row.BackoffSeconds, s.row.NextRetryAt = -1, 0
	w.moveStep(r, i, o.event, o.Reason)
	r.explain(o.By, o.Reason)
	if o.event == stepResetForRetry && r.steps[i].missing == 0 {
		r.addDue(i)
	}
	w.grow(r, planned)
	w.revive(r)
	return nil
}

func (o *operation) reply(_ *writer, err error) { o.done <- err }

// result makes the stored form of a result given by hand (engine-semantics
// §7.1).
func (o *operation) result(step uuid.UUID, now time.Time) ([]byte, error) {
	given := o.completion
	if given.Result == nil {
		given.Result = json.RawMessage("null")
	}
	custom := map[string]any{}
	if given.Metadata != nil {
		for key, value := range object(given.Metadata) {
			custom[key] = value
		}
		if object(given.Metadata) == nil && string(given.Metadata) != "null" {
			custom["operator_metadata"] = given.Metadata
		}
	}
	custom["manually_completed"], custom["completed_by"], custom["completion_reason"] = true, o.By, o.Reason
	type fields = map[string]any
	data, err := json.Marshal(struct {
		StepUUID      uuid.UUID       `json:"step_uuid"`
		Success       bool            `json:"success"`
		Status        string          `json:"status"`
		Result        json.RawMessage `json:"result"`
		Metadata      fields          `json:"metadata"`
		Error         *struct{}       `json:"error"`
		Orchestration *struct{}       `json:"orchestration_metadata"`
	}{
		StepUUID: step, Success: true, Status: "completed", Result: given.Result,
		Metadata: fields{
			"execution_time_ms": 0, "handler_version": nil, "retryable": false, "completed_at": now.UTC(),
			"worker_id": nil, "worker_hostname": nil, "started_at": nil, "custom": custom,
			"error_code": nil, "error_type": nil, "context": fields{},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("%w: completion_data is not JSON: %w", ErrInvalid, err)
	}
	return data, nil
}

// positionOf finds a step by its uuid, -1 when the task has none such.
func (r *run) positionOf(step uuid.UUID) int32 {
	for i := range r.steps {
		if r.steps[i].row.UUID == step {
			return int32(i)
		}
	}
	return -1
}

// finished tells whether not even an operator can take the task up again.
func (r *run) finished() bool { return r.state.Terminal() && r.state != TaskError }

// revive lets a task go on after an operator changed one of its steps: a task
// that failed is taken up again once none of its steps is in error any more.
// Tasks that were finished otherwise stay as they are.
func (w *writer) revive(r *run) {
	switch r.state {
	case TaskBlockedByFailures, TaskError:
		if r.counts[StepError] > 0 {
			return
		}
		w.adopt(r)
		if r.state == TaskError && slices.Contains(w.batch.found, r) {
			w.resume(r) // find has not done it: the task was finished
		}
		w.setTask(r, TaskEvaluatingResults, "ManualRecovery")
		r.row.CompletedAt = 0
		for i := range r.steps {
			if s := &r.steps[i]; s.state == StepPending && s.missing == 0 {
				r.addDue(int32(i))
			}
		}
		w.mark(r)
	case TaskComplete, TaskCancelled, TaskResolvedManually:
	default:
		w.mark(r)
	}
}
