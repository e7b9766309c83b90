package e2e_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/tests/built"
	"github.com/tasker-systems/taskerpy/tests/cluster"
)

// answers are what the methods of TaskerClient gave.
type answers struct {
	Health                          map[string]any
	Created, Ended, AfterCancelling task
	Cancelled                       map[string]any
	Steps                           []step
	Step                            step
	Audit                           []map[string]any
	All, Page                       list
	OfNamespace                     list
	Errors                          map[string]string
}

type task struct {
	UUID            string `json:"task_uuid"`
	Status          string `json:"status"`
	Initiator       string `json:"initiator"`
	SourceSystem    string `json:"source_system"`
	Reason          string `json:"reason"`
	Priority        int    `json:"priority"`
	Tags            []string
	Context         map[string]any
	TotalSteps      int     `json:"total_steps"`
	CompletedSteps  int     `json:"completed_steps"`
	ExecutionStatus string  `json:"execution_status"`
	Completion      float64 `json:"completion_percentage"`
	HealthStatus    string  `json:"health_status"`
	RecommendedStep string  `json:"recommended_action"`
	CompletedAt     string  `json:"completed_at"`
	CorrelationID   string  `json:"correlation_id"`
}

type step struct {
	UUID    string `json:"step_uuid"`
	Name    string `json:"name"`
	State   string `json:"current_state"`
	Results struct {
		Success bool
		Result  any
	}
}

type list struct {
	Tasks      []task
	Pagination map[string]any
}

// The client decodes answers strictly: a field that is missing or of another
// type is an error of it. It lives in a worker of the deployment, since it
// does not work without one.
func TestThePublishedClientUsesOurAPI(t *testing.T) {
	ctx := t.Context()
	here := filepath.Join(built.Root(), "tests", "e2e", "client")
	url := built.Serve(t, program,
		filepath.Join(built.Root(), "examples", "linear"), filepath.Join(here, "engine"), "--data", ":memory:")
	c := cluster.Start(t, cluster.Options{Config: map[string]any{"worker.orchestration_client.base_url": url}})
	c.StartReferenceWorker(ctx, here, here)
	id := c.CreateTask(ctx, "asking", "client_test", "1.0.0", map[string]any{})
	require.Equal(t, "complete", c.WaitTask(ctx, id).Status)
	asked := c.Steps(ctx, id)["ask"]
	result, err := asked.Result()
	require.NoError(t, err)
	data, err := json.Marshal(result)
	require.NoError(t, err)
	var a answers
	require.NoError(t, json.Unmarshal([]byte(strings.NewReplacer(
		`"after_cancelling"`, `"AfterCancelling"`, `"of_namespace"`, `"OfNamespace"`).Replace(string(data))), &a))

	require.Equal(t, true, a.Health["healthy"])
	require.Equal(t, task{
		UUID: a.Created.UUID, Status: a.Created.Status, Initiator: "published", SourceSystem: "e2e", Reason: "to see", Priority: 3,
		Tags: []string{"one", "two"}, Context: map[string]any{"even_number": 6.0}, TotalSteps: 4,
		ExecutionStatus: a.Created.ExecutionStatus, HealthStatus: "healthy", RecommendedStep: a.Created.RecommendedStep,
		CorrelationID: a.Created.CorrelationID,
		// The first steps may have ended before the answer was written.
		CompletedSteps: a.Created.CompletedSteps, Completion: a.Created.Completion,
	}, a.Created)
	require.Equal(t, "complete", a.Ended.Status)
	require.Equal(t, "all_complete", a.Ended.ExecutionStatus)
	require.Equal(t, 4, a.Ended.CompletedSteps)
	require.Equal(t, 100.0, a.Ended.Completion)
	require.NotEmpty(t, a.Ended.CompletedAt)

	names, results := []string{}, []any{}
	for _, s := range a.Steps {
		require.Equal(t, "complete", s.State)
		require.True(t, s.Results.Success)
		names, results = append(names, s.Name), append(results, s.Results.Result)
	}
	require.Equal(t, []string{"linear_step_1_py", "linear_step_2_py", "linear_step_3_py", "linear_step_4_py"}, names)
	require.Len(t, results, 4)
	require.Equal(t, a.Steps[3], a.Step)
	require.Len(t, a.Audit, 1)
	require.Equal(t, true, a.Audit[0]["success"])
	require.Equal(t, "linear_step_4_py", a.Audit[0]["step_name"])

	require.Equal(t, map[string]any{"cancelled": true}, a.Cancelled)
	require.Equal(t, "cancelled", a.AfterCancelling.Status)
	require.Len(t, a.All.Tasks, 4)
	require.Len(t, a.Page.Tasks, 2)
	require.Equal(t, a.All.Tasks[2:], a.Page.Tasks)
	require.EqualValues(t, 4, a.Page.Pagination["total_count"])
	require.Equal(t, false, a.Page.Pagination["has_next"])
	require.Len(t, a.OfNamespace.Tasks, 1)

	for what, want := range map[string]string{
		"the same again": "create_task failed", "no template": "create_task failed", "no task": "get_task failed",
		"no step": "get_step failed", "cancel what has ended": "cancel_task failed",
	} {
		require.Contains(t, a.Errors[what], "RuntimeError", what)
		require.Contains(t, a.Errors[what], want, what)
	}
	require.Contains(t, a.Errors["no task"], "404")
	require.Contains(t, a.Errors["the same again"], "409")
}
