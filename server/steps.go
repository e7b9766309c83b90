package server

import (
	"errors"
	"net/http"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/engine"
)

// The values of action_type (engine-semantics §7.1).
const (
	actionReset    = "reset_for_retry"
	actionResolve  = "resolve_manually"
	actionComplete = "complete_manually"
)

// stepAction is what an operator does to a step.
type stepAction struct {
	kind       string
	operation  engine.Operation
	completion engine.Completion
}

// stepAction reads the body of PATCH …/workflow_steps/{step}. Unknown fields
// are ignored.
func (f fields) stepAction() (stepAction, error) {
	var a stepAction
	if err := required(f, "action_type", "a string", &a.kind); err != nil {
		return a, unprocessable("%s", err)
	}
	operator, ok := map[string]string{actionReset: "reset_by", actionResolve: "resolved_by", actionComplete: "completed_by"}[a.kind]
	if !ok {
		return a, unprocessable("field action_type must be %s, %s or %s; %q is not", actionReset, actionResolve, actionComplete, a.kind)
	}
	problems := []error{
		required(f, "reason", "a string", &a.operation.Reason),
		required(f, operator, "a string", &a.operation.By),
	}
	if a.kind == actionComplete {
		var data fields
		err := required(f, "completion_data", "an object with a result", &data)
		if _, has := data["result"]; err == nil && !has {
			err = errors.New("field completion_data.result is missing; it may be any JSON")
		}
		problems = append(problems, err)
		a.completion.Result = data["result"]
		if metadata := data["metadata"]; string(metadata) != "null" {
			a.completion.Metadata = metadata
		}
	}
	if err := errors.Join(problems...); err != nil {
		return a, unprocessable("%s", joined(err))
	}
	return a, nil
}

// changeStep is PATCH /v1/tasks/{task}/workflow_steps/{step}.
func (s *Server) changeStep(r *http.Request) (any, error) {
	task, step, err := pathStep(r)
	if err != nil {
		return nil, err
	}
	f, err := readFields(r)
	if err != nil {
		return nil, err
	}
	a, err := f.stepAction()
	if err != nil {
		return nil, err
	}
	var changed engine.Step
	switch a.kind {
	case actionReset:
		changed, err = s.o.Engine.ResetStep(r.Context(), task, step, a.operation)
	case actionResolve:
		changed, err = s.o.Engine.ResolveStep(r.Context(), task, step, a.operation)
	default:
		changed, err = s.o.Engine.CompleteStep(r.Context(), task, step, a.operation, a.completion)
	}
	if errors.Is(err, engine.ErrNotFound) {
		return nil, notFound("Step not found: %s of task %s", step, task)
	}
	if err != nil {
		return nil, err
	}
	s.log.Info("step changed by hand", "action", a.kind, "task_uuid", task, "step_uuid", step, "by", a.operation.By, "reason", a.operation.Reason)
	return changed, nil
}

// auditStep is GET /v1/tasks/{task}/workflow_steps/{step}/audit.
func (s *Server) auditStep(r *http.Request) (any, error) {
	task, step, err := pathStep(r)
	if err != nil {
		return nil, err
	}
	all, err := s.o.Engine.Audit(r.Context(), task, step)
	if errors.Is(err, engine.ErrNotFound) {
		return nil, notFound("Step not found: %s of task %s", step, task)
	}
	if err != nil {
		return nil, err
	}
	return all, nil
}

// pathStep reads the uuids of a step's route.
func pathStep(r *http.Request) (task, step uuid.UUID, err error) {
	if task, err = pathUUID(r, "task", codeBadRequest); err != nil {
		return uuid.Nil, uuid.Nil, err
	}
	step, err = pathUUID(r, "step", codeBadRequest)
	return task, step, err
}

// listSteps is GET /v1/tasks/{task}/workflow_steps; an unknown task has none.
func (s *Server) listSteps(r *http.Request) (any, error) {
	task, err := pathUUID(r, "task", codeBadRequest)
	if err != nil {
		return nil, err
	}
	steps, err := s.o.Engine.Steps(r.Context(), task)
	if err != nil {
		return nil, err
	}
	if steps == nil {
		steps = []engine.Step{}
	}
	return steps, nil
}

// getStep is GET /v1/tasks/{task}/workflow_steps/{step}.
func (s *Server) getStep(r *http.Request) (any, error) {
	task, id, err := pathStep(r)
	if err != nil {
		return nil, err
	}
	step, err := s.o.Engine.Step(r.Context(), task, id)
	if errors.Is(err, engine.ErrNotFound) {
		return nil, notFound("Step not found: %s of task %s", id, task)
	}
	if err != nil {
		return nil, err
	}
	return step, nil
}

// getSummary is GET /v1/tasks/{task}/summary.
func (s *Server) getSummary(r *http.Request) (any, error) {
	id, err := pathUUID(r, "task", codeInvalidUUID)
	if err != nil {
		return nil, err
	}
	summary, err := s.o.Engine.Summary(r.Context(), id)
	if errors.Is(err, engine.ErrNotFound) {
		return nil, notFound("Task not found: %s", id)
	}
	if err != nil {
		return nil, err
	}
	return summary, nil
}
