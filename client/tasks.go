package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/template"
)

// CreateTask submits a task.
func (c *Client) CreateTask(ctx context.Context, r engine.TaskRequest) (Answer[engine.Task], error) {
	return ask[engine.Task](ctx, c, http.MethodPost, nil, r, "v1", "tasks")
}

// Task reads a task with the readiness of its steps.
func (c *Client) Task(ctx context.Context, id uuid.UUID) (Answer[engine.Task], error) {
	return ask[engine.Task](ctx, c, http.MethodGet, nil, nil, "v1", "tasks", id.String())
}

// CancelTask cancels a task that has not ended. The answer of tasker-server has
// an execution status where others have the state (engine-semantics §9.3).
func (c *Client) CancelTask(ctx context.Context, id uuid.UUID) (Answer[engine.Task], error) {
	return ask[engine.Task](ctx, c, http.MethodDelete, nil, nil, "v1", "tasks", id.String())
}

// perPage is the largest page that the API gives.
const perPage = 100

// Tasks lists up to limit tasks, newest first, in as many requests as that
// takes. Only Namespace and Status of the filter count.
func (c *Client) Tasks(ctx context.Context, f engine.TaskFilter, limit int) (Answer[engine.TaskList], error) {
	query := url.Values{"per_page": {strconv.Itoa(min(limit, perPage))}}
	for key, value := range map[string]string{"namespace": f.Namespace, "status": f.Status} {
		if value != "" {
			query.Set(key, value)
		}
	}
	// taskerpy then gives the tasks' states; other servers know no such key and
	// give completed or pending (engine-semantics §9.3).
	query.Set("true_status", "true")
	var whole Answer[engine.TaskList]
	raw := []json.RawMessage{}
	for page := 1; ; page++ {
		query.Set("page", strconv.Itoa(page))
		a, err := ask[engine.TaskList](ctx, c, http.MethodGet, query, nil, "v1", "tasks")
		if err != nil {
			return whole, unlisted(err, f.Status)
		}
		if page == 1 && len(a.Value.Tasks) <= limit && (limit <= perPage || !a.Value.Pagination.HasNext) {
			return a, nil
		}
		var list struct {
			Tasks []json.RawMessage `json:"tasks"`
		}
		if err := json.Unmarshal(a.Raw, &list); err != nil {
			return whole, c.unintelligible(err)
		}
		whole.Value.Tasks = append(whole.Value.Tasks, a.Value.Tasks...)
		whole.Value.Pagination = a.Value.Pagination
		raw = append(raw, list.Tasks...)
		if len(raw) >= limit || !a.Value.Pagination.HasNext || len(list.Tasks) == 0 {
			break
		}
	}
	n := min(limit, len(raw))
	total := whole.Value.Pagination.TotalCount
	whole.Value.Tasks = whole.Value.Tasks[:n]
	whole.Value.Pagination = engine.Pagination{
		Page: 1, PerPage: limit, TotalCount: total, TotalPages: (total + limit - 1) / limit, HasNext: total > n,
	}
	var err error
	whole.Raw, err = encode(map[string]any{"tasks": raw[:n], "pagination": whole.Value.Pagination})
	return whole, err
}

// unlisted explains why tasker-server cannot list tasks: a state other than
// the two that it knows is an error of its database (engine-semantics §9.3).
func unlisted(err error, status string) error {
	refused := (*Error)(nil)
	if !errors.As(err, &refused) || refused.Status != http.StatusInternalServerError || status == "" || status == "completed" || status == "pending" {
		return err
	}
	return usagef("%s; tasker-server lists tasks that are completed or pending, not %q", refused.Message, status)
}

// Steps lists the steps of a task as they were created. An unknown task has
// none.
func (c *Client) Steps(ctx context.Context, task uuid.UUID) (Answer[[]engine.Step], error) {
	return ask[[]engine.Step](ctx, c, http.MethodGet, nil, nil, "v1", "tasks", task.String(), "workflow_steps")
}

// Step reads one step of a task, by its uuid or its name.
func (c *Client) Step(ctx context.Context, task uuid.UUID, step string) (Answer[engine.Step], error) {
	id, err := c.stepID(ctx, task, step)
	if err != nil {
		return Answer[engine.Step]{}, err
	}
	return ask[engine.Step](ctx, c, http.MethodGet, nil, nil, "v1", "tasks", task.String(), "workflow_steps", id.String())
}

func (c *Client) findStep(ctx context.Context, task uuid.UUID, name string) (uuid.UUID, error) {
	steps, err := c.Steps(ctx, task)
	if err != nil {
		return uuid.Nil, err
	}
	names := make([]string, len(steps.Value))
	for i, s := range steps.Value {
		if s.Name == name {
			return s.StepUUID, nil
		}
		names[i] = s.Name
	}
	if len(names) == 0 {
		// Unknown, or without steps: asking for the task tells which.
		if _, err := c.Task(ctx, task); err != nil {
			return uuid.Nil, err
		}
	}
	remedy := fmt.Sprintf("`taskerpy task steps %s` lists them", task)
	if near, ok := template.Nearest(name, names); ok {
		remedy = fmt.Sprintf("did you mean %q?", near)
	}
	return uuid.Nil, usagef("task %s has no step %q; %s", task, name, remedy)
}

// ParseTaskID reads the uuid of a task as somebody typed it.
func ParseTaskID(text string) (uuid.UUID, error) {
	id, err := uuid.FromString(text)
	if err != nil {
		return uuid.Nil, usagef("%q is not the UUID of a task; `taskerpy task list` shows them", abbreviated(text, 60))
	}
	return id, nil
}
