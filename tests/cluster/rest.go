package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"
)

// Client calls a tasker-server; worker-protocol.md §5.1.
type Client struct {
	URL string // without a slash at the end
}

// TaskRequest is what a task is created from.
type TaskRequest struct {
	Name          string `json:"name"`
	Namespace     string `json:"namespace"`
	Version       string `json:"version"`
	Context       any    `json:"context"` // the input
	Initiator     string `json:"initiator"`
	SourceSystem  string `json:"source_system"`
	Reason        string `json:"reason"`
	Priority      int    `json:"priority,omitempty"`
	CorrelationID string `json:"correlation_id,omitempty"`
}

// Task is what the server says about a task. Raw has all of it.
type Task struct {
	ID              string `json:"task_uuid"`
	Name            string `json:"name"`
	Namespace       string `json:"namespace"`
	Version         string `json:"version"`
	Status          string `json:"status"`
	ExecutionStatus string `json:"execution_status"`
	CorrelationID   string `json:"correlation_id"`
	TotalSteps      int    `json:"total_steps"`
	CompletedSteps  int    `json:"completed_steps"`
	FailedSteps     int    `json:"failed_steps"`

	Raw json.RawMessage `json:"-"`
}

// Step is what the server says about a step. Raw has all of it.
type Step struct {
	ID          string          `json:"step_uuid"`
	TaskID      string          `json:"task_uuid"`
	Name        string          `json:"name"`
	State       string          `json:"current_state"`
	Attempts    int             `json:"attempts"`
	MaxAttempts int             `json:"max_attempts"`
	Results     json.RawMessage `json:"results"` // as the worker stored it
	Raw         json.RawMessage `json:"-"`
}

// Result decodes what the handler returned.
func (s Step) Result() (any, error) {
	var stored struct {
		Result any `json:"result"`
	}
	if err := json.Unmarshal(s.Results, &stored); err != nil {
		return nil, fmt.Errorf("result of step %s: %w", s.Name, err)
	}
	return stored.Result, nil
}

// Template is one of those that workers have registered.
type Template struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Version   string `json:"version"`
}

// StatusError is an answer that is no success.
type StatusError struct {
	Status int
	Body   string
}

func (e *StatusError) Error() string { return fmt.Sprintf("status %d: %s", e.Status, e.Body) }

// Health asks whether the server is well.
func (c Client) Health(ctx context.Context) error {
	return c.call(ctx, http.MethodGet, "/health", nil, nil)
}

// CreateTask creates a task and returns its id.
func (c Client) CreateTask(ctx context.Context, request TaskRequest) (string, error) {
	var task Task
	if err := c.call(ctx, http.MethodPost, "/v1/tasks", request, &task); err != nil {
		return "", err
	}
	return task.ID, nil
}

// Task returns a task as it is now.
func (c Client) Task(ctx context.Context, id string) (Task, error) {
	var task Task
	err := c.call(ctx, http.MethodGet, "/v1/tasks/"+id, nil, &task.Raw)
	if err == nil {
		err = json.Unmarshal(task.Raw, &task)
	}
	return task, err
}

// CancelTask cancels a task.
func (c Client) CancelTask(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/v1/tasks/"+id, nil, nil)
}

// CompleteStep completes a step by hand, with what its handler might have returned.
func (c Client) CompleteStep(ctx context.Context, task, step string, result any) error {
	return c.call(ctx, http.MethodPatch, "/v1/tasks/"+task+"/workflow_steps/"+step, map[string]any{
		"action_type": "complete_manually", "completion_data": map[string]any{"result": result}, "reason": "tests", "completed_by": "tests",
	}, nil)
}

// Steps returns the steps of a task as they are now.
func (c Client) Steps(ctx context.Context, id string) ([]Step, error) {
	var raws []json.RawMessage
	if err := c.call(ctx, http.MethodGet, "/v1/tasks/"+id+"/workflow_steps", nil, &raws); err != nil {
		return nil, err
	}
	steps := make([]Step, len(raws))
	for i, raw := range raws {
		steps[i].Raw = raw
		if err := json.Unmarshal(raw, &steps[i]); err != nil {
			return nil, err
		}
	}
	return steps, nil
}

// Templates returns what the server can make tasks of.
func (c Client) Templates(ctx context.Context) ([]Template, error) {
	var list struct {
		Templates []Template `json:"templates"`
	}
	err := c.call(ctx, http.MethodGet, "/v1/templates", nil, &list)
	return list.Templates, err
}

// Get decodes the answer to a GET of any path into answer.
func (c Client) Get(ctx context.Context, path string, answer any) error {
	return c.call(ctx, http.MethodGet, path, nil, answer)
}

// Do sends body as JSON and decodes the answer. Either may be nil.
func (c Client) Do(ctx context.Context, method, path string, body, answer any) error {
	return c.call(ctx, method, path, body, answer)
}

func (c Client) call(ctx context.Context, method, path string, body, answer any) error {
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
		sent = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.URL+path, sent)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %w", method, path, &StatusError{response.StatusCode, string(text)})
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}

// CreateTask creates a task and returns its id. The server knows a task by its
// input: the same input twice is a conflict.
//
// Creating a task enqueues its first steps, and so does the server's poll for
// ready tasks. When both do it at once, the server answers with an error although
// it has created the task, which then runs like any other; here that is no error.
func (c *Cluster) CreateTask(ctx context.Context, name, namespace, version string, input any) string {
	c.t.Helper()
	correlation, err := uuid.NewV4()
	require.NoError(c.t, err)
	id, err := c.REST.CreateTask(ctx, TaskRequest{
		Name: name, Namespace: namespace, Version: version, Context: input,
		Initiator: "tests", SourceSystem: "tests", Reason: "tests", CorrelationID: correlation.String(),
	})
	var status *StatusError
	if errors.As(err, &status) && status.Status == http.StatusInternalServerError {
		created := c.pool.QueryRow(ctx, "SELECT task_uuid::text FROM tasker.tasks WHERE correlation_id = $1", correlation.String())
		if created.Scan(&id) == nil {
			return id
		}
	}
	require.NoError(c.t, err)
	return id
}

// Task returns a task as it is now.
func (c *Cluster) Task(ctx context.Context, id string) Task {
	c.t.Helper()
	task, err := c.REST.Task(ctx, id)
	require.NoError(c.t, err)
	return task
}

// Steps returns the steps of a task as they are now, by their names.
func (c *Cluster) Steps(ctx context.Context, id string) map[string]Step {
	c.t.Helper()
	steps, err := c.REST.Steps(ctx, id)
	require.NoError(c.t, err)
	byName := make(map[string]Step, len(steps))
	for _, step := range steps {
		byName[step.Name] = step
	}
	return byName
}

// The states that a task does not leave by itself.
var finished = []string{"complete", "error", "cancelled", "resolved_manually", "blocked_by_failures"}

// WaitTask returns a task once it is complete, or has failed or been cancelled;
// of one that has failed, other steps may still be running.
// What it looks at is the database, so neither it nor the server is slowed
// down, and a database that is away for a while does not matter.
func (c *Cluster) WaitTask(ctx context.Context, id string) Task {
	c.t.Helper()
	c.WaitTasks(ctx, id)
	return c.Task(ctx, id)
}

// WaitTasks returns once none of the tasks will go on by itself.
func (c *Cluster) WaitTasks(ctx context.Context, ids ...string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	for {
		waiting, err := c.unfinished(ctx, ids)
		if err == nil && len(waiting) == 0 {
			return
		}
		select {
		case <-ctx.Done():
			require.Failf(c.t, "tasks are not finished", "%v (%v)", waiting, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// unfinished returns those of the tasks that go on, with their states.
func (c *Cluster) unfinished(ctx context.Context, ids []string) (map[string]string, error) {
	rows, err := c.pool.Query(ctx, `
		SELECT t.task_uuid::text, coalesce(s.to_state, 'pending') FROM tasker.tasks t
		LEFT JOIN tasker.task_transitions s ON s.task_uuid = t.task_uuid AND s.most_recent
		WHERE t.task_uuid = ANY ($1::uuid[])`, ids)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	waiting := map[string]string{}
	for rows.Next() {
		var id, state string
		if err := rows.Scan(&id, &state); err != nil {
			return nil, err
		}
		if !slices.Contains(finished, state) {
			waiting[id] = state
		}
	}
	return waiting, rows.Err()
}
