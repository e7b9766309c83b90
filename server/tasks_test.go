package server_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/engine"
)

func at(offset time.Duration) time.Time {
	return time.Date(2026, 2, 3, 10, 0, 0, 0, time.UTC).Add(offset)
}

func ptr[T any](v T) *T { return &v }

func id(n byte) uuid.UUID {
	other := taskID
	other[15] = n
	return other
}

func completeTask() engine.Task {
	return engine.Task{
		TaskUUID: taskID, Name: "order_intake", Namespace: "shop", Version: "1.2.0", Status: "complete",
		CreatedAt: at(0), UpdatedAt: at(1250 * time.Millisecond), CompletedAt: ptr(at(1250 * time.Millisecond)),
		Context:   json.RawMessage(`{"z": "<&>", "a": 123456789012345678901234567890}`),
		Initiator: "cli", SourceSystem: "desk", Reason: "demo", Priority: 5, Tags: []string{"x"}, CorrelationID: id(3),
		TotalSteps: 1, CompletedSteps: 1, ExecutionStatus: "all_complete", RecommendedAction: "finalize_task",
		CompletionPercentage: 100, HealthStatus: "healthy",
		Steps: []engine.StepReadiness{{
			WorkflowStepUUID: stepID, TaskUUID: taskID, NamedStepUUID: id(4), Name: "check_order", CurrentState: "complete",
			DependenciesSatisfied: true, RetryEligible: true, Attempts: 1, MaxAttempts: 4,
			LastAttemptedAt: &engine.NaiveTime{Time: at(123456 * time.Microsecond)},
		}},
	}
}

func TestATaskIsShownAsTheSpecSays(t *testing.T) {
	golden(t, "task.json", ask(t, &fake{task: completeTask()}, http.MethodGet, "/v1/tasks/"+taskID.String(), ""))
}

func TestACreatedTaskIsAnsweredWith200AndTheWholeTask(t *testing.T) {
	e := &fake{task: completeTask()}
	golden(t, "task.json", ask(t, e, http.MethodPost, "/v1/tasks", minimalRequest))
}

func TestACancelledTaskIsAnsweredWithTheWholeTask(t *testing.T) {
	e := &fake{task: completeTask()}
	golden(t, "task.json", ask(t, e, http.MethodDelete, "/v1/tasks/"+taskID.String(), ""))
}

func blockedTask() engine.Task {
	return engine.Task{
		TaskUUID: taskID, Name: "order_intake", Namespace: "shop", Version: "1.2.0", Status: "blocked_by_failures",
		CreatedAt: at(0), UpdatedAt: at(0), Context: json.RawMessage(`{}`), Initiator: "cli", SourceSystem: "desk", Reason: "demo",
		CorrelationID: id(3), ParentCorrelationID: ptr(id(5)), TotalSteps: 2, PendingSteps: 1, FailedSteps: 1,
		ExecutionStatus: "blocked_by_failures", RecommendedAction: "handle_failures", HealthStatus: "blocked",
	}
}

func TestTheListIsShownAsTheSpecSays(t *testing.T) {
	e := &fake{tasks: engine.TaskList{
		Tasks:      []engine.Task{blockedTask()},
		Pagination: engine.Pagination{Page: 2, PerPage: 1, TotalCount: 3, TotalPages: 3, HasNext: true, HasPrevious: true},
	}}
	golden(t, "tasks.json", ask(t, e, http.MethodGet, "/v1/tasks?page=2&per_page=1", ""))
}

func TestTheListSaysCompletedForCompleteTasksAndPendingForAllOthers(t *testing.T) {
	for state, want := range map[string]string{
		"complete": "completed", "pending": "pending", "steps_in_process": "pending", "blocked_by_failures": "pending",
		"error": "pending", "cancelled": "pending", "resolved_manually": "pending",
	} {
		rec := ask(t, &fake{tasks: engine.TaskList{Tasks: []engine.Task{{Status: state}}}}, http.MethodGet, "/v1/tasks", "")
		require.Equal(t, want, listedStatus(t, rec.Body.Bytes()), state)
	}
}

func TestTheListGivesTheTrueStateWhenAskedTo(t *testing.T) {
	e := &fake{tasks: engine.TaskList{Tasks: []engine.Task{{Status: "blocked_by_failures"}}}}
	require.Equal(t, "blocked_by_failures", listedStatus(t, ask(t, e, http.MethodGet, "/v1/tasks?true_status=true", "").Body.Bytes()))
	require.Equal(t, "pending", listedStatus(t, ask(t, e, http.MethodGet, "/v1/tasks?true_status=false", "").Body.Bytes()))
}

func listedStatus(t *testing.T, body []byte) string {
	t.Helper()
	var list struct{ Tasks []struct{ Status string } }
	require.NoError(t, json.Unmarshal(body, &list), string(body))
	require.Len(t, list.Tasks, 1)
	return list.Tasks[0].Status
}

func TestAnEmptyListHasNoNulls(t *testing.T) {
	rec := ask(t, &fake{}, http.MethodGet, "/v1/tasks", "")
	require.Contains(t, rec.Body.String(), `"tasks":[]`)
}

func TestListFiltersReachTheEngine(t *testing.T) {
	e := &fake{}
	ask(t, e, http.MethodGet, "/v1/tasks?page=3&per_page=100&namespace=shop&status=blocked_by_failures&initiator=a%20b&source_system=desk", "")
	require.Equal(t, engine.TaskFilter{
		Namespace: "shop", Status: "blocked_by_failures", Initiator: "a b", SourceSystem: "desk", Page: 3, PerPage: 100,
	}, e.filter)
}

func TestTheListBeginsWithThe25Newest(t *testing.T) {
	e := &fake{}
	ask(t, e, http.MethodGet, "/v1/tasks", "")
	require.Equal(t, engine.TaskFilter{Page: 1, PerPage: 25}, e.filter)
}

func TestABadListQueryIsRefused(t *testing.T) {
	for query, mentions := range map[string]string{
		"page=0":              "page must be a number from 1",
		"page=-1":             "page",
		"page=99999999999":    "page",
		"page=":               "page",
		"per_page=0":          "per_page must be a number from 1 to 100",
		"per_page=101":        "per_page must be a number from 1 to 100",
		"per_page=ten":        `"ten"`,
		"true_status=perhaps": "true_status must be true or false",
		"status=%zz":          "read the query",
	} {
		rec := ask(t, &fake{}, http.MethodGet, "/v1/tasks?"+query, "")
		requireProblem(t, rec, http.StatusBadRequest, "BAD_REQUEST", mentions)
	}
}

func someStep() engine.Step {
	return engine.Step{
		StepUUID: stepID, TaskUUID: taskID, Name: "check_order", CreatedAt: at(123456 * time.Microsecond), UpdatedAt: at(time.Second),
		CompletedAt: ptr(at(time.Second)), Results: json.RawMessage(`{"success": true, "result": {"b": 1, "a": 2}}`), CurrentState: "complete",
		DependenciesSatisfied: true, RetryEligible: true, TotalParents: 1, CompletedParents: 1, Attempts: 1, MaxAttempts: 3,
		LastAttemptedAt: ptr(at(500 * time.Millisecond)), Duration: time.Second,
	}
}

func TestAStepIsShownAsTheSpecSays(t *testing.T) {
	e := &fake{steps: []engine.Step{someStep()}}
	golden(t, "step.json", ask(t, e, http.MethodGet, "/v1/tasks/"+taskID.String()+"/workflow_steps/"+stepID.String(), ""))
}

func TestTheStepsOfATaskAreABareList(t *testing.T) {
	e := &fake{steps: []engine.Step{someStep(), someStep()}}
	rec := ask(t, e, http.MethodGet, "/v1/tasks/"+taskID.String()+"/workflow_steps", "")
	require.Equal(t, http.StatusOK, rec.Code)
	var list []map[string]any
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &list))
	require.Len(t, list, 2)
}

func TestAnUnknownTaskHasNoSteps(t *testing.T) {
	rec := ask(t, &fake{}, http.MethodGet, "/v1/tasks/"+taskID.String()+"/workflow_steps", "")
	require.Equal(t, http.StatusOK, rec.Code)
	require.JSONEq(t, `[]`, rec.Body.String())
}

func TestAStepWithoutResultShowsNull(t *testing.T) {
	rec := ask(t, &fake{steps: []engine.Step{{Name: "check_order"}}}, http.MethodGet, "/v1/tasks/"+taskID.String()+"/workflow_steps/"+stepID.String(), "")
	require.Contains(t, rec.Body.String(), `"results":null`)
}
