package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/engine"
)

// stepPath is the route of a step of a task.
func (s *shop) stepPath(task engine.Task, step string) string {
	s.t.Helper()
	path := "/v1/tasks/" + task.TaskUUID.String() + "/workflow_steps"
	for _, one := range read[[]engine.Step](s, http.MethodGet, path, "") {
		if one.Name == step {
			return path + "/" + one.StepUUID.String()
		}
	}
	require.Fail(s.t, "no step "+step)
	return ""
}

// failed is a task whose first step has failed for good.
func (s *shop) failed(order string) engine.Task {
	s.t.Helper()
	task := read[engine.Task](s, http.MethodPost, "/v1/tasks", orderRequest(order))
	s.work(task, dispatch.PermanentFailure)
	return task
}

const (
	resetAction    = `{"action_type": "reset_for_retry", "reason": "stock is back", "reset_by": "ops-7"}`
	resolveAction  = `{"action_type": "resolve_manually", "reason": "not needed", "resolved_by": "ops-7"}`
	completeAction = `{"action_type": "complete_manually", "reason": "booked by phone", "completed_by": "ops-7",
		"completion_data": {"result": {"booking": "B-99"}, "metadata": {"ticket": "T-4"}}}`
)

func TestAStepIsChangedByHand(t *testing.T) {
	for body, c := range map[string]struct{ state, results string }{
		resetAction:    {"enqueued", "no stock"}, // old results are kept for display
		resolveAction:  {"resolved_manually", "no stock"},
		completeAction: {"complete", "B-99"},
	} {
		s := openShop(t)
		task := s.failed("A-1")
		changed := s.ask(http.MethodPatch, s.stepPath(task, "check_order"), body)
		require.Equal(t, http.StatusOK, changed.Code, changed.Body.String())
		var step engine.Step
		require.NoError(t, json.Unmarshal(changed.Body.Bytes(), &step))
		require.Equal(t, "check_order", step.Name)
		require.Equal(t, c.state, step.CurrentState, body)
		require.Contains(t, string(step.Results), c.results)
		s.work(task, dispatch.Success)
		require.Equal(t, "complete", read[engine.Task](s, http.MethodGet, "/v1/tasks/"+task.TaskUUID.String(), "").Status, body)
	}
}

func TestAStepThatIsResetHasAllItsAttemptsAgain(t *testing.T) {
	s := openShop(t)
	task := s.failed("A-1")
	step := read[engine.Step](s, http.MethodPatch, s.stepPath(task, "check_order"), resetAction)
	require.Zero(t, step.Attempts)
	require.Nil(t, step.LastAttemptedAt)
	require.Nil(t, step.NextRetryAt)
	require.NotNil(t, step.LastFailureAt)
}

func TestAStepCompletedByHandShowsWhoDidItAndWhy(t *testing.T) {
	s := openShop(t)
	task := s.failed("A-1")
	step := read[engine.Step](s, http.MethodPatch, s.stepPath(task, "check_order"), completeAction)
	var results map[string]any
	require.NoError(t, json.Unmarshal(step.Results, &results))
	require.Equal(t, true, results["success"])
	require.Equal(t, "completed", results["status"])
	require.Nil(t, results["error"])
	require.Equal(t, map[string]any{"booking": "B-99"}, results["result"])
	metadata := results["metadata"].(map[string]any)
	require.EqualValues(t, 0, metadata["execution_time_ms"])
	require.Equal(t, map[string]any{
		"ticket": "T-4", "manually_completed": true, "completed_by": "ops-7", "completion_reason": "booked by phone",
	}, metadata["custom"])
}

func TestAnyResultMayBeGivenByHand(t *testing.T) {
	for _, c := range []struct{ data, result, metadata string }{
		{`{"result": null}`, `null`, `{}`},
		{`{"result": [1, 123456789012345678901234567890]}`, `[1, 123456789012345678901234567890]`, `{}`},
		{`{"result": "x", "metadata": null}`, `"x"`, `{}`},
		{`{"result": "x", "metadata": "by phone"}`, `"x"`, `{"operator_metadata": "by phone"}`},
	} {
		s := openShop(t)
		task := s.failed("A-1")
		body := fmt.Sprintf(`{"action_type": "complete_manually", "reason": "r", "completed_by": "o", "completion_data": %s}`, c.data)
		step := read[engine.Step](s, http.MethodPatch, s.stepPath(task, "check_order"), body)
		var stored struct {
			Result   json.RawMessage `json:"result"`
			Metadata struct {
				Custom map[string]json.RawMessage `json:"custom"`
			} `json:"metadata"`
		}
		require.NoError(t, json.Unmarshal(step.Results, &stored))
		require.JSONEq(t, c.result, string(stored.Result))
		for _, key := range []string{"manually_completed", "completed_by", "completion_reason"} {
			delete(stored.Metadata.Custom, key)
		}
		custom, err := json.Marshal(stored.Metadata.Custom)
		require.NoError(t, err)
		require.JSONEq(t, c.metadata, string(custom), c.data)
	}
}

func TestActionsThatAreNoneAreUnprocessable(t *testing.T) {
	s := openShop(t)
	path := s.stepPath(s.failed("A-1"), "check_order")
	for body, mentions := range map[string][]string{
		`{}`:                                 {"action_type is missing"},
		`{"action_type": 3}`:                 {"action_type must be a string"},
		`{"action_type": null}`:              {"action_type"},
		`{"action_type": "explode"}`:         {`"explode"`, "reset_for_retry, resolve_manually or complete_manually"},
		`{"action_type": "reset_for_retry"}`: {"reason is missing", "reset_by is missing"},
		`{"action_type": "resolve_manually", "reason": "r", "reset_by": "o"}`:                                      {"resolved_by is missing"},
		`{"action_type": "reset_for_retry", "reason": 3, "reset_by": "o"}`:                                         {"reason must be a string"},
		`{"action_type": "complete_manually", "reason": "r", "completed_by": "o"}`:                                 {"completion_data is missing"},
		`{"action_type": "complete_manually", "reason": "r", "completed_by": "o", "completion_data": []}`:          {"completion_data must be an object"},
		`{"action_type": "complete_manually", "reason": "r", "completed_by": "o", "completion_data": {"x": 1}}`:    {"completion_data.result is missing"},
		`{"action_type": "complete_manually", "reason": "r", "completion_data": {"result": 1}}`:                    {"completed_by is missing"},
		`{"action_type": "reset_for_retry", "action_type": "resolve_manually", "reason": "r", "resolved_by": "o"}`: {"twice"},
		`[]`: {"must be a JSON object"},
	} {
		requireProblem(t, s.ask(http.MethodPatch, path, body), http.StatusUnprocessableEntity, "UNPROCESSABLE_ENTITY", mentions...)
	}
	requireProblem(t, s.ask(http.MethodPatch, path, `{"action_type"`), http.StatusBadRequest, "JSON_ERROR")
	requireProblem(t, s.ask(http.MethodPatch, path, ""), http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE")
}

func TestStepsThatCannotBeChangedAreToldWhy(t *testing.T) {
	s := openShop(t)
	task := s.failed("A-1")
	other := s.failed("A-2")
	check := s.stepPath(task, "check_order")
	uuidOf := func(path string) string { return path[len(path)-36:] }
	for path, c := range map[string]struct {
		status   int
		code     string
		mentions string
	}{
		s.stepPath(task, "close_order"):                                              {400, "BAD_REQUEST", "pending"},
		"/v1/tasks/seven/workflow_steps/" + stepID.String():                          {400, "BAD_REQUEST", `"seven"`},
		"/v1/tasks/" + task.TaskUUID.String() + "/workflow_steps/seven":              {400, "BAD_REQUEST", `"seven"`},
		"/v1/tasks/" + task.TaskUUID.String() + "/workflow_steps/" + stepID.String(): {404, "NOT_FOUND", "Step not found"},
		"/v1/tasks/" + taskID.String() + "/workflow_steps/" + uuidOf(check):          {404, "NOT_FOUND", "Step not found"},
		"/v1/tasks/" + other.TaskUUID.String() + "/workflow_steps/" + uuidOf(check):  {404, "NOT_FOUND", "Step not found"},
	} {
		requireProblem(t, s.ask(http.MethodPatch, path, resetAction), c.status, c.code, c.mentions)
	}
}

func TestAResultByHandThatADecisionCannotFollowIsRefused(t *testing.T) {
	s := openShop(t)
	require.NoError(t, s.engine.Register(t.Context(), parseTemplate(t, `
name: routing
namespace_name: shop
version: 1.2.0
steps:
  - {name: check_order, handler: {callable: Check}}
  - {name: route, type: decision, handler: {callable: Route}, dependencies: [check_order]}
  - {name: small, handler: {callable: Small}, dependencies: [route]}
`)))
	task := read[engine.Task](s, http.MethodPost, "/v1/tasks",
		`{"name":"routing","namespace":"shop","version":"1.2.0","context":{},"initiator":"a","source_system":"b","reason":"c"}`)
	body := `{"action_type": "complete_manually", "reason": "r", "completed_by": "o",
		"completion_data": {"result": {"decision_point_outcome": {"type": "create_steps", "step_names": ["large"]}}}}`
	requireProblem(t, s.ask(http.MethodPatch, s.stepPath(task, "route"), body), http.StatusBadRequest, "BAD_REQUEST", "large")
}

func TestAnAuditIsShownAsTheSpecSays(t *testing.T) {
	s := openShop(t)
	task := s.failed("A-1")
	rec := s.ask(http.MethodGet, s.stepPath(task, "check_order")+"/audit", "")
	require.Equal(t, http.StatusOK, rec.Code)
	var list []map[string]any
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &list))
	require.Len(t, list, 1)
	for _, key := range []string{"audit_uuid", "workflow_step_uuid", "transition_uuid", "task_uuid", "recorded_at", "worker_uuid", "correlation_id",
		"success", "execution_time_ms", "result", "step_name", "from_state", "to_state"} {
		require.Contains(t, list[0], key)
	}
	require.Len(t, list[0], 13)
	require.Equal(t, false, list[0]["success"])
	require.Equal(t, "EnqueueAsErrorForOrchestration", list[0]["result"].(map[string]any)["type"])
	require.JSONEq(t, `[]`, s.ask(http.MethodGet, s.stepPath(task, "close_order")+"/audit", "").Body.String())
}

func TestTheAuditOfWhatDoesNotExistOverREST(t *testing.T) {
	s := openShop(t)
	task := s.failed("A-1")
	path := "/v1/tasks/" + task.TaskUUID.String() + "/workflow_steps/"
	requireProblem(t, s.ask(http.MethodGet, path+stepID.String()+"/audit", ""), 404, "NOT_FOUND", "Step not found")
	requireProblem(t, s.ask(http.MethodGet, path+"seven/audit", ""), 400, "BAD_REQUEST", "seven")
}

func TestASummaryIsShownAsTheSpecSays(t *testing.T) {
	s := openShop(t)
	task := s.failed("A-1")
	path := "/v1/tasks/" + task.TaskUUID.String()
	summary := read[map[string]any](s, http.MethodGet, path+"/summary", "")
	require.Len(t, summary, 5)
	require.Equal(t, "blocked_by_failures", summary["task"].(map[string]any)["execution_status"])
	require.NotContains(t, summary["task"], "context")
	require.Equal(t, []any{
		map[string]any{"name": "check_order", "step_type": "standard", "handler": "Check", "dependencies": []any{}, "retryable": true, "max_attempts": 3.0},
		map[string]any{"name": "close_order", "step_type": "standard", "handler": "Close", "dependencies": []any{"check_order"}, "retryable": true, "max_attempts": 3.0},
	}, summary["template"].(map[string]any)["steps"])
	steps := summary["steps"].([]any)
	require.Len(t, steps, 2)
	require.Equal(t, map[string]any{"error_type": "PermanentError", "retryable": false, "status_code": nil}, steps[0].(map[string]any)["error"])
	require.Nil(t, steps[1].(map[string]any)["error"])
	require.Equal(t, map[string]any{"in_dlq": false, "dlq_reason": nil, "resolution_status": nil}, summary["dlq"])
	require.Equal(t, map[string]any{"task": path, "steps": path + "/workflow_steps", "dlq": "/v1/dlq"}, summary["links"])

	requireProblem(t, s.ask(http.MethodGet, "/v1/tasks/"+taskID.String()+"/summary", ""), 404, "NOT_FOUND", "Task not found")
	requireProblem(t, s.ask(http.MethodGet, "/v1/tasks/seven/summary", ""), 400, "INVALID_UUID", "seven")
}
