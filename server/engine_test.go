package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/server"
	"github.com/tasker-systems/taskerpy/server/metrics"
)

// These tests run against the real engine; the handlers are theirs.

const chain = `
name: order_intake
namespace_name: shop
version: 1.2.0
input_schema: {type: object, required: [order_id]}
steps:
  - {name: check_order, handler: {callable: Check}}
  - {name: close_order, handler: {callable: Close}, dependencies: [check_order]}
`

// shop is an engine with the template above, a server and metrics for it.
type shop struct {
	t      *testing.T
	engine *engine.Engine
	server *server.Server
}

func openShop(t *testing.T) *shop {
	t.Helper()
	m := metrics.New(metrics.Info{Version: "1.2.3"})
	e, err := engine.Open(t.Context(), engine.Options{Path: ":memory:", StrictInput: true, CommitObserver: m.Committed})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close(context.Background())) })
	require.NoError(t, e.Register(t.Context(), parseTemplate(t, chain)))
	s := server.New(server.Options{Engine: e, Metrics: m.Handler(nil)})
	m.Follow(metrics.Sources{Engine: e, Draining: s.Draining})
	return &shop{t: t, engine: e, server: s}
}

func (s *shop) ask(method, path, body string) *httptest.ResponseRecorder {
	s.t.Helper()
	return askServer(s.t, s.server, method, path, body)
}

// read asks for path and decodes the answer.
func read[T any](s *shop, method, path, body string) T {
	s.t.Helper()
	rec := s.ask(method, path, body)
	require.Equal(s.t, http.StatusOK, rec.Code, rec.Body.String())
	var v T
	require.NoError(s.t, json.Unmarshal(rec.Body.Bytes(), &v), rec.Body.String())
	return v
}

func orderRequest(order string) string {
	return fmt.Sprintf(`{"name": "order_intake", "namespace": "shop", "version": "1.2.0", "context": {"order_id": %q},
		"initiator": "cli", "source_system": "desk", "reason": "demo"}`, order)
}

// work runs steps until task is settled, each with the given outcome.
func (s *shop) work(task engine.Task, outcome dispatch.Outcome) {
	s.t.Helper()
	ctx, stop := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	go func() {
		for {
			steps, err := s.engine.Claim(ctx, 8)
			if err != nil {
				done <- err
				return
			}
			for _, step := range steps {
				result := dispatch.Result{Outcome: outcome, Started: time.Now(), JSON: []byte(`{"success":true,"status":"completed","result":{"sum":123456789012345678901234567890,"a":1}}`)}
				if outcome != dispatch.Success {
					result.JSON = dispatch.FailureResult(dispatch.Failure{Step: step, Message: "no stock", ErrorType: "PermanentError"})
				}
				s.engine.Complete(step, result)
			}
		}
	}()
	_, err := s.engine.Wait(s.t.Context(), task.TaskUUID)
	stop()
	require.NoError(s.t, err)
	require.True(s.t, errors.Is(<-done, context.Canceled))
}

func TestATaskGoesFromCreationToItsResultsOverREST(t *testing.T) {
	s := openShop(t)
	created := read[engine.Task](s, http.MethodPost, "/v1/tasks", orderRequest("A-1"))
	require.Equal(t, "order_intake", created.Name)
	require.Equal(t, 2, created.TotalSteps)
	require.Len(t, created.Steps, 2)
	s.work(created, dispatch.Success)

	path := "/v1/tasks/" + created.TaskUUID.String()
	task := read[map[string]any](s, http.MethodGet, path, "")
	require.Equal(t, "complete", task["status"])
	require.Equal(t, "all_complete", task["execution_status"])
	require.EqualValues(t, 100, task["completion_percentage"])
	require.NotNil(t, task["completed_at"])

	steps := read[[]engine.Step](s, http.MethodGet, path+"/workflow_steps", "")
	require.Len(t, steps, 2)
	require.Equal(t, []string{"check_order", "close_order"}, []string{steps[0].Name, steps[1].Name})
	one := s.ask(http.MethodGet, path+"/workflow_steps/"+steps[1].StepUUID.String(), "")
	require.Contains(t, one.Body.String(), `"current_state":"complete"`)
	require.Contains(t, one.Body.String(), `"completed_parents":1`)
	require.Contains(t, one.Body.String(), `{"sum":123456789012345678901234567890,"a":1}`)
}

func TestTheListAndItsFiltersOverREST(t *testing.T) {
	s := openShop(t)
	done := read[engine.Task](s, http.MethodPost, "/v1/tasks", orderRequest("A-1"))
	s.work(done, dispatch.Success)
	failed := read[engine.Task](s, http.MethodPost, "/v1/tasks", orderRequest("A-2"))
	s.work(failed, dispatch.PermanentFailure)

	all := read[engine.TaskList](s, http.MethodGet, "/v1/tasks", "")
	require.Equal(t, engine.Pagination{Page: 1, PerPage: 25, TotalCount: 2, TotalPages: 1}, all.Pagination)
	require.Equal(t, []string{"pending", "completed"}, []string{all.Tasks[0].Status, all.Tasks[1].Status}, "newest first")

	for query, want := range map[string]engine.Task{
		"status=completed": done, "status=complete": done, "status=pending": failed, "status=blocked_by_failures": failed,
	} {
		list := read[engine.TaskList](s, http.MethodGet, "/v1/tasks?true_status=true&"+query, "")
		require.Len(t, list.Tasks, 1, query)
		require.Equal(t, want.TaskUUID, list.Tasks[0].TaskUUID, query)
		require.Contains(t, []string{"complete", "blocked_by_failures"}, list.Tasks[0].Status, query)
	}
	requireProblem(t, s.ask(http.MethodGet, "/v1/tasks?status=finished", ""), 400, "BAD_REQUEST", "finished")
	require.Empty(t, read[engine.TaskList](s, http.MethodGet, "/v1/tasks?namespace=other", "").Tasks)
	require.Empty(t, read[engine.TaskList](s, http.MethodGet, "/v1/tasks?page=2147483647&per_page=100", "").Tasks)
}

func TestRequestsThatTheEngineRefuses(t *testing.T) {
	s := openShop(t)
	require.Equal(t, http.StatusOK, s.ask(http.MethodPost, "/v1/tasks", orderRequest("A-1")).Code)
	for _, c := range []struct {
		body     string
		status   int
		code     string
		mentions string
	}{
		{orderRequest("A-1"), 409, "CONFLICT", "A task with this identity already exists"},
		{`{"name":" ","namespace":"shop","version":"1","context":{},"initiator":"a","source_system":"b","reason":"c"}`, 400, "BAD_REQUEST", "name must not be blank"},
		{`{"name":"order_intake","namespace":"shop","version":"1.2.0","context":[],"initiator":"a","source_system":"b","reason":"c"}`, 400, "BAD_REQUEST", "context must be a JSON object"},
		{`{"name":"order_intake","namespace":"shop","version":"1.2.0","context":{},"initiator":"a","source_system":"b","reason":"c"}`, 400, "BAD_REQUEST", "order_id"},
		{`{"name":"order_intake","namespace":"shop","version":"1.2.1","context":{},"initiator":"a","source_system":"b","reason":"c"}`, 404, "NOT_FOUND", "did you mean shop/order_intake@1.2.0?"},
	} {
		requireProblem(t, s.ask(http.MethodPost, "/v1/tasks", c.body), c.status, c.code, c.mentions)
	}
}

func TestATaskIsCancelledOnceOverREST(t *testing.T) {
	s := openShop(t)
	created := read[engine.Task](s, http.MethodPost, "/v1/tasks", orderRequest("A-1"))
	path := "/v1/tasks/" + created.TaskUUID.String()
	require.Equal(t, "cancelled", read[engine.Task](s, http.MethodDelete, path, "").Status)
	requireProblem(t, s.ask(http.MethodDelete, path, ""), 400, "BAD_REQUEST", "Cannot cancel a completed task", "cancelled")
	requireProblem(t, s.ask(http.MethodDelete, "/v1/tasks/"+taskID.String(), ""), 404, "NOT_FOUND", "Task not found")
	require.Equal(t, "pending", read[engine.TaskList](s, http.MethodGet, "/v1/tasks", "").Tasks[0].Status)
}

func TestWhatDoesNotExistOverREST(t *testing.T) {
	s := openShop(t)
	created := read[engine.Task](s, http.MethodPost, "/v1/tasks", orderRequest("A-1"))
	requireProblem(t, s.ask(http.MethodGet, "/v1/tasks/"+taskID.String(), ""), 404, "NOT_FOUND", "Task not found")
	requireProblem(t, s.ask(http.MethodGet, "/v1/tasks/"+created.TaskUUID.String()+"/workflow_steps/"+stepID.String(), ""), 404, "NOT_FOUND", "Step not found")
	require.JSONEq(t, `[]`, s.ask(http.MethodGet, "/v1/tasks/"+taskID.String()+"/workflow_steps", "").Body.String())
}

func TestAfterTheEngineIsClosedRequestsAreSentElsewhere(t *testing.T) {
	s := openShop(t)
	require.NoError(t, s.engine.Close(t.Context()))
	for _, path := range []string{"/v1/tasks", "/v1/tasks/" + taskID.String(), "/health/ready"} {
		rec := s.ask(http.MethodGet, path, "")
		requireProblem(t, rec, 503, "SERVICE_UNAVAILABLE")
		require.Equal(t, "5", rec.Header().Get("Retry-After"))
	}
	requireProblem(t, s.ask(http.MethodPost, "/v1/tasks", orderRequest("A-1")), 503, "SERVICE_UNAVAILABLE")
	require.Equal(t, http.StatusOK, s.ask(http.MethodGet, "/health/live", "").Code)
	require.Equal(t, http.StatusOK, s.ask(http.MethodGet, "/health/detailed", "").Code)
	require.Contains(t, s.ask(http.MethodGet, "/metrics", "").Body.String(), "tasker_orchestration_running 0")
}

func TestMetricsTellOfTheEnginesWork(t *testing.T) {
	s := openShop(t)
	read[engine.Task](s, http.MethodPost, "/v1/tasks", orderRequest("A-1"))
	text := s.ask(http.MethodGet, "/metrics", "").Body.String()
	require.Contains(t, text, "tasker_engine_open_tasks 1\n")
	require.Contains(t, text, `tasker_engine_steps{state="ready"} 1`+"\n")
	require.Contains(t, text, "tasker_orchestration_running 1\n")
	require.NotContains(t, text, "tasker_engine_commit_changes_sum 0\n")
}
