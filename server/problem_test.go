package server_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/server"
)

func TestEngineErrorsBecomeStatusAndCode(t *testing.T) {
	for _, c := range []struct {
		err      error
		status   int
		code     string
		mentions string
	}{
		{fmt.Errorf("create task: %w: context must be a JSON object", engine.ErrInvalid), 400, "BAD_REQUEST", "context must be a JSON object"},
		{fmt.Errorf("create task: %w: A task with this identity already exists: 7", engine.ErrConflict), 409, "CONFLICT", "A task with this identity already exists"},
		{fmt.Errorf("create task: %w: disk full", engine.ErrUnavailable), 503, "SERVICE_UNAVAILABLE", "disk full"},
		{engine.ErrClosed, 503, "SERVICE_UNAVAILABLE", "ending"},
		{fmt.Errorf("create task: %w", context.DeadlineExceeded), 408, "TIMEOUT", "did not answer"},
		{errors.New("secret table is broken"), 500, "DATABASE_ERROR", "Database operation failed"},
	} {
		rec := ask(t, &fake{err: c.err}, http.MethodPost, "/v1/tasks", minimalRequest)
		requireProblem(t, rec, c.status, c.code, c.mentions)
		require.NotContains(t, rec.Body.String(), "secret")
	}
}

func TestUnavailableSaysWhenToComeAgain(t *testing.T) {
	rec := ask(t, &fake{err: engine.ErrUnavailable}, http.MethodGet, "/v1/tasks", "")
	require.Equal(t, "1", rec.Header().Get("Retry-After"))
	rec = ask(t, &fake{err: engine.ErrClosed}, http.MethodGet, "/v1/tasks", "")
	require.Equal(t, "5", rec.Header().Get("Retry-After"))
}

func TestAnUnknownTaskIsNotFound(t *testing.T) {
	e := &fake{err: engine.ErrNotFound}
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		requireProblem(t, ask(t, e, method, "/v1/tasks/"+taskID.String(), ""), 404, "NOT_FOUND", "Task not found", taskID.String())
	}
}

func TestAnUnknownStepIsNotFound(t *testing.T) {
	rec := ask(t, &fake{err: engine.ErrNotFound}, http.MethodGet, "/v1/tasks/"+taskID.String()+"/workflow_steps/"+stepID.String(), "")
	requireProblem(t, rec, 404, "NOT_FOUND", "Step not found", stepID.String())
}

func TestAFinishedTaskCannotBeCancelled(t *testing.T) {
	e := &fake{cancel: func(uuid.UUID) (engine.Task, error) {
		return engine.Task{}, fmt.Errorf("cancel task: %w: a task in state error does not take Cancel", engine.ErrInvalidState)
	}}
	requireProblem(t, ask(t, e, http.MethodDelete, "/v1/tasks/"+taskID.String(), ""), 400, "BAD_REQUEST", "Cannot cancel a completed task", "error")
}

func TestAMalformedUUIDIsRefusedWithTheCodeOfTheRoute(t *testing.T) {
	e := &fake{}
	requireProblem(t, ask(t, e, http.MethodGet, "/v1/tasks/seven", ""), 400, "INVALID_UUID", `"seven"`)
	requireProblem(t, ask(t, e, http.MethodDelete, "/v1/tasks/seven", ""), 400, "INVALID_UUID", `"seven"`)
	requireProblem(t, ask(t, e, http.MethodGet, "/v1/tasks/seven/workflow_steps", ""), 400, "BAD_REQUEST", `"seven"`)
	requireProblem(t, ask(t, e, http.MethodGet, "/v1/tasks/"+taskID.String()+"/workflow_steps/eight", ""), 400, "BAD_REQUEST", `"eight"`)
}

func TestAnUnknownTemplateIsNotFoundAndTheNearestNamed(t *testing.T) {
	e := &fake{
		err:       fmt.Errorf("create task: %w", engine.ErrNotFound),
		templates: shopTemplates(t),
	}
	body := `{"name":"order_intaek","namespace":"shop","version":"1.2.0","context":{},"initiator":"a","source_system":"b","reason":"c"}`
	requireProblem(t, ask(t, e, http.MethodPost, "/v1/tasks", body), 404, "NOT_FOUND",
		"Task template not found: shop/order_intaek@1.2.0", "did you mean shop/order_intake@1.2.0?")
	requireProblem(t, ask(t, e, http.MethodGet, "/v1/templates/shop/order_intake/1.3.0", ""), 404, "NOT_FOUND", "did you mean shop/order_intake@1.2.0?")
	requireProblem(t, ask(t, e, http.MethodGet, "/v1/templates/a/b/c", ""), 404, "NOT_FOUND", "Task template not found: a/b@c; GET /v1/templates")
}

func TestATemplateThatCannotBeRunSaysWhy(t *testing.T) {
	e := &fake{
		err:       fmt.Errorf("task template shop/order_intake@1.2.0 has no steps to begin with: %w", engine.ErrNotFound),
		templates: shopTemplates(t),
	}
	body := `{"name":"order_intake","namespace":"shop","version":"1.2.0","context":{},"initiator":"a","source_system":"b","reason":"c"}`
	requireProblem(t, ask(t, e, http.MethodPost, "/v1/tasks", body), 404, "NOT_FOUND", "no steps to begin with")
}

func TestUnknownRoutesAreNotFoundInJSON(t *testing.T) {
	for _, path := range []string{"/", "/v1", "/v1/handlers", "/v1/tasks/", "/metrics", "/debug/lanes"} {
		requireProblem(t, ask(t, &fake{}, http.MethodGet, path, ""), 404, "NOT_FOUND", path)
	}
}

func TestAWrongMethodIsToldTheRightOnes(t *testing.T) {
	rec := ask(t, &fake{}, http.MethodPut, "/v1/tasks", "")
	requireProblem(t, rec, 405, "METHOD_NOT_ALLOWED", "GET", "POST", "PUT")
	require.Equal(t, "GET, HEAD, POST", rec.Header().Get("Allow"))
	rec = ask(t, &fake{}, "BREW", "/v1/tasks/"+taskID.String(), "")
	requireProblem(t, rec, 405, "METHOD_NOT_ALLOWED")
	require.Equal(t, "GET, HEAD, DELETE", rec.Header().Get("Allow"))
}

func TestHEADIsAnsweredLikeGETWithoutABody(t *testing.T) {
	s := server.New(server.Options{Engine: &fake{}})
	require.NoError(t, s.Start(t.Context(), "127.0.0.1:0"))
	t.Cleanup(func() { require.NoError(t, s.Stop(context.Background())) })
	answer, err := client(t).Head("http://" + s.Addr() + "/health")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.Positive(t, answer.ContentLength)
	require.Empty(t, readAll(t, answer.Body))
}

func TestAPanicBecomesAnErrorAnswerAndALogLine(t *testing.T) {
	log, lines := recordingLog()
	e := &fake{submit: func(context.Context, engine.TaskRequest) (engine.Task, error) { panic("nil template") }}
	s := server.New(server.Options{Engine: e, Log: log})
	rec := askServer(t, s, http.MethodPost, "/v1/tasks", minimalRequest)
	requireProblem(t, rec, 500, "INTERNAL_ERROR", "Internal server error")
	require.NotContains(t, rec.Body.String(), "nil template")
	require.Contains(t, lines.String(), "nil template")
	require.Contains(t, lines.String(), "problem_test.go", "the stack")
}

func TestAnUnexpectedErrorIsLogged(t *testing.T) {
	log, lines := recordingLog()
	s := server.New(server.Options{Engine: &fake{err: errors.New("no such table")}, Log: log})
	askServer(t, s, http.MethodGet, "/v1/tasks", "")
	require.Contains(t, lines.String(), "no such table")
}

func TestAResultThatIsNotJSONBecomesAnErrorAnswer(t *testing.T) {
	step := someStep()
	step.Results = []byte(`{"half`)
	rec := ask(t, &fake{steps: []engine.Step{step}}, http.MethodGet, "/v1/tasks/"+taskID.String()+"/workflow_steps/"+stepID.String(), "")
	requireProblem(t, rec, 500, "INTERNAL_ERROR")
}
