package client

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/engine"
)

// stepID is the uuid of a step of a task, referred to by its uuid or its name.
func (c *Client) stepID(ctx context.Context, task uuid.UUID, step string) (uuid.UUID, error) {
	if id, err := uuid.FromString(step); err == nil {
		return id, nil
	}
	return c.findStep(ctx, task, step)
}

// Summary reads a task with its template and steps.
func (c *Client) Summary(ctx context.Context, task uuid.UUID) (Answer[engine.TaskSummary], error) {
	return ask[engine.TaskSummary](ctx, c, http.MethodGet, nil, nil, "v1", "tasks", task.String(), "summary")
}

// Audit lists the finished attempts of a step, newest first. The step is
// referred to by its uuid or its name.
func (c *Client) Audit(ctx context.Context, task uuid.UUID, step string) (Answer[[]engine.StepAudit], error) {
	id, err := c.stepID(ctx, task, step)
	if err != nil {
		return Answer[[]engine.StepAudit]{}, err
	}
	return ask[[]engine.StepAudit](ctx, c, http.MethodGet, nil, nil, "v1", "tasks", task.String(), "workflow_steps", id.String(), "audit")
}

// ResetStep lets a step in error run again.
func (c *Client) ResetStep(ctx context.Context, task uuid.UUID, step string, o engine.Operation) (Answer[engine.Step], error) {
	return c.changeStep(ctx, task, step, map[string]any{"action_type": "reset_for_retry", "reason": o.Reason, "reset_by": o.By})
}

// ResolveStep takes a step for done, without a result.
func (c *Client) ResolveStep(ctx context.Context, task uuid.UUID, step string, o engine.Operation) (Answer[engine.Step], error) {
	return c.changeStep(ctx, task, step, map[string]any{"action_type": "resolve_manually", "reason": o.Reason, "resolved_by": o.By})
}

// CompleteStep completes a step with a result.
func (c *Client) CompleteStep(ctx context.Context, task uuid.UUID, step string, o engine.Operation, given engine.Completion) (Answer[engine.Step], error) {
	data := map[string]json.RawMessage{"result": given.Result}
	if given.Metadata != nil {
		data["metadata"] = given.Metadata
	}
	return c.changeStep(ctx, task, step, map[string]any{
		"action_type": "complete_manually", "reason": o.Reason, "completed_by": o.By, "completion_data": data,
	})
}

func (c *Client) changeStep(ctx context.Context, task uuid.UUID, step string, body any) (Answer[engine.Step], error) {
	id, err := c.stepID(ctx, task, step)
	if err != nil {
		return Answer[engine.Step]{}, err
	}
	return ask[engine.Step](ctx, c, http.MethodPatch, nil, body, "v1", "tasks", task.String(), "workflow_steps", id.String())
}
