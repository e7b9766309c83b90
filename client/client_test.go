package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tasker-systems/taskerpy/client"
	"github.com/tasker-systems/taskerpy/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve answers every request with f and gives a client for it.
func serve(t *testing.T, c client.Config, f http.HandlerFunc) *client.Client {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	c.URL = server.URL
	asker, err := client.New(c)
	require.NoError(t, err)
	t.Cleanup(asker.Close)
	return asker
}

// says answers with a status and a body.
func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// failure asks for a task and gives the error.
func failure(t *testing.T, c *client.Client) *client.Error {
	t.Helper()
	_, err := c.Task(t.Context(), uuid.Must(uuid.NewV7()))
	require.Error(t, err)
	e, ok := errors.AsType[*client.Error](err)
	require.True(t, ok, "%T", err)
	require.NotContains(t, e.Error(), "\n")
	return e
}

// task is one as the reference answers it, with what taskerpy does not know.
const task = `{"task_uuid": "0190d0a0-0000-7000-8000-000000000001", "name": "order_intake", "namespace": "shop", "version": "1.2.0",
 "status": "complete", "created_at": "2026-02-03T10:00:00.5Z", "updated_at": "2026-02-03T10:00:01Z", "completed_at": null,
 "context": {"z": 123456789012345678901234567890, "a": "<&>"}, "initiator": "cli", "source_system": "desk", "reason": "demo",
 "priority": null, "tags": null, "correlation_id": "0190d0a0-0000-7000-8000-000000000002", "parent_correlation_id": null,
 "total_steps": 4, "pending_steps": 0, "in_progress_steps": 0, "completed_steps": 4, "failed_steps": 0, "ready_steps": 0,
 "execution_status": "all_complete", "recommended_action": "finalize_task", "completion_percentage": 100.0, "health_status": "healthy",
 "new_field": {"later": true},
 "steps": [{"workflow_step_uuid": "0190d0a0-0000-7000-8000-000000000003", "task_uuid": "0190d0a0-0000-7000-8000-000000000001",
   "named_step_uuid": "0190d0a0-0000-7000-8000-000000000004", "name": "a", "current_state": "complete", "dependencies_satisfied": true,
   "retry_eligible": true, "ready_for_execution": false, "last_failure_at": null, "next_retry_at": "2026-02-03T10:00:00.123456",
   "total_parents": 0, "completed_parents": 0, "attempts": 1, "max_attempts": 3, "backoff_request_seconds": null, "last_attempted_at": null}]}`

func TestAnAnswerIsDecodedAndKeptAsItCame(t *testing.T) {
	t.Parallel()
	a, err := serve(t, client.Config{}, says(200, task)).Task(t.Context(), uuid.Must(uuid.NewV7()))
	require.NoError(t, err)
	require.Equal(t, task, string(a.Raw))
	require.Equal(t, "order_intake", a.Value.Name)
	require.Equal(t, `{"z": 123456789012345678901234567890, "a": "<&>"}`, string(a.Value.Context))
	require.Equal(t, time.Date(2026, 2, 3, 10, 0, 0, 123456000, time.UTC), a.Value.Steps[0].NextRetryAt.Time)
	require.Nil(t, a.Value.Steps[0].LastFailureAt)
}

func TestEveryMethodAsksItsRoute(t *testing.T) {
	t.Parallel()
	id := uuid.Must(uuid.FromString("0190d0a0-0000-7000-8000-000000000001"))
	step := uuid.Must(uuid.FromString("0190d0a0-0000-7000-8000-000000000009"))
	const base = "/v1/tasks/0190d0a0-0000-7000-8000-000000000001"
	for want, ask := range map[string]func(context.Context, *client.Client) error{
		"POST /v1/tasks": func(ctx context.Context, c *client.Client) error {
			_, err := c.CreateTask(ctx, engine.TaskRequest{Name: "n"})
			return err
		},
		"GET " + base:    func(ctx context.Context, c *client.Client) error { _, err := c.Task(ctx, id); return err },
		"DELETE " + base: func(ctx context.Context, c *client.Client) error { _, err := c.CancelTask(ctx, id); return err },
		"GET " + base + "/workflow_steps/0190d0a0-0000-7000-8000-000000000009": func(ctx context.Context, c *client.Client) error {
			_, err := c.Step(ctx, id, step.String())
			return err
		},
		"GET /v1/templates?namespace=a%26b": func(ctx context.Context, c *client.Client) error { _, err := c.Templates(ctx, "a&b"); return err },
		"GET /v1/tasks?namespace=n&page=1&per_page=7&status=error&true_status=true": func(ctx context.Context, c *client.Client) error {
			_, err := c.Tasks(ctx, engine.TaskFilter{Namespace: "n", Status: "error"}, 7)
			return err
		},
	} {
		var asked string
		c := serve(t, client.Config{}, func(w http.ResponseWriter, r *http.Request) {
			asked = r.Method + " " + r.RequestURI
			_, _ = io.WriteString(w, "{}")
		})
		require.NoError(t, ask(t.Context(), c))
		require.Equal(t, want, asked)
	}
}

func TestATaskRequestIsSentAsItIs(t *testing.T) {
	t.Parallel()
	var body, kind string
	c := serve(t, client.Config{}, func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		body, kind = string(data), r.Header.Get("Content-Type")
		_, _ = io.WriteString(w, task)
	})
	_, err := c.CreateTask(t.Context(), engine.TaskRequest{
		Name: "n", Namespace: "s", Version: "1.0.0", Context: json.RawMessage(`{"big": 123456789012345678901234567890, "tag": "<b>"}`),
		Initiator: "i", SourceSystem: "c", Reason: "r",
	})
	require.NoError(t, err)
	require.Equal(t, "application/json", kind)
	require.Equal(t, `{"name":"n","namespace":"s","version":"1.0.0","context":{"big":123456789012345678901234567890,"tag":"<b>"},`+
		`"initiator":"i","source_system":"c","reason":"r"}`, strings.TrimSpace(body))
}

func TestThePathOfTheAddressIsKept(t *testing.T) {
	t.Parallel()
	var asked string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Path
		_, _ = io.WriteString(w, "{}")
	}))
	defer server.Close()
	c, err := client.New(client.Config{URL: server.URL + "/behind/proxy/"})
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Templates(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "/behind/proxy/v1/templates", asked)
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close()) // the port is free now
	c, err := client.New(client.Config{URL: "http://" + l.Addr().String()})
	require.NoError(t, err)
	defer c.Close()
	e := failure(t, c)
	require.Equal(t, "no taskerpy listens on http://"+l.Addr().String()+"; start one with `taskerpy run PATH`, or say with --url where it is", e.Error())
	require.Equal(t, 3, e.ExitCode())
}

func TestAServerThatDoesNotAnswerInTime(t *testing.T) {
	t.Parallel()
	leave := make(chan struct{})
	c := serve(t, client.Config{Timeout: time.Millisecond}, func(http.ResponseWriter, *http.Request) { <-leave })
	e := failure(t, c)
	close(leave)
	require.Contains(t, e.Error(), " did not answer within 1ms; TASKER_ORCHESTRATION_TIMEOUT_MS sets how long to wait")
	require.Equal(t, 3, e.ExitCode())
}

func TestAnInterruptedRequest(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	leave := make(chan struct{})
	c := serve(t, client.Config{}, func(http.ResponseWriter, *http.Request) { cancel(); <-leave })
	_, err := c.Templates(ctx, "")
	close(leave)
	e, ok := errors.AsType[*client.Error](err)
	require.True(t, ok)
	require.Equal(t, "interrupted", e.Error())
	require.Equal(t, 130, e.ExitCode())
	require.ErrorIs(t, err, context.Canceled)
}

func TestErrorAnswersBecomeOneLineAndAnExitCode(t *testing.T) {
	t.Parallel()
	body := func(code, message string) string {
		text, err := json.Marshal(message)
		require.NoError(t, err)
		return fmt.Sprintf(`{"error": {"code": %q, "message": %s}}`, code, text)
	}
	for name, test := range map[string]struct {
		status int
		body   string
		want   string // URL stands for the server's
		code   string
		exit   int
	}{
		"bad request":        {400, body("BAD_REQUEST", "name is blank"), "name is blank", "BAD_REQUEST", 2},
		"unauthorized":       {401, body("UNAUTHORIZED", "no credentials"), "no credentials; set TASKER_AUTH_TOKEN or TASKER_API_KEY", "UNAUTHORIZED", 2},
		"forbidden":          {403, body("FORBIDDEN", "Missing required permission: tasks:create"), "Missing required permission: tasks:create", "FORBIDDEN", 2},
		"not found":          {404, body("NOT_FOUND", "Task not found: x"), "Task not found: x", "NOT_FOUND", 2},
		"timeout":            {408, body("TIMEOUT", "too slow"), "too slow", "TIMEOUT", 3},
		"conflict":           {409, body("CONFLICT", "A task with this identity already exists"), "A task with this identity already exists", "CONFLICT", 2},
		"internal":           {500, body("DATABASE_ERROR", "Database operation failed"), "Database operation failed", "DATABASE_ERROR", 3},
		"unavailable":        {503, body("SERVICE_UNAVAILABLE", "draining"), "draining", "SERVICE_UNAVAILABLE", 3},
		"control characters": {400, body("BAD_REQUEST", "two\nlines \x1b[2J"), "two lines [2J", "BAD_REQUEST", 2},
		"plain text":         {422, "missing field `name`\nmore", "URL answers 422 Unprocessable Entity: missing field `name`", "", 2},
		"a proxy's page":     {502, "<html>\nBad gateway", "URL answers 502 Bad Gateway", "", 3},
		"nothing":            {500, "", "URL answers 500 Internal Server Error", "", 3},
		"another server":     {404, "404 page not found", "URL is not the API of a taskerpy: it answers 404 Not Found", "", 3},
		"redirect":           {302, "", "URL is not the API of a taskerpy: it answers 302 Found", "", 3},
		"not JSON":           {200, "<html>", "URL is not the API of a taskerpy: its answer cannot be read: it is not JSON: invalid character '<' looking for beginning of value", "", 3},
		"not a task":         {200, `{"task_uuid": 5}`, "URL is not the API of a taskerpy: its answer cannot be read: ", "", 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var url string
			c := serve(t, client.Config{}, func(w http.ResponseWriter, r *http.Request) {
				url = "http://" + r.Host
				says(test.status, test.body)(w, r)
			})
			e := failure(t, c)
			require.True(t, strings.HasPrefix(e.Error(), strings.Replace(test.want, "URL", url, 1)), e.Error())
			require.Equal(t, test.code, e.Code)
			require.Equal(t, test.exit, e.ExitCode())
		})
	}
}

func TestWhenToTryAgainIsSaid(t *testing.T) {
	t.Parallel()
	c := serve(t, client.Config{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "5")
		says(503, `{"error": {"code": "BACKPRESSURE", "message": "too much"}}`)(w, r)
	})
	require.Equal(t, "too much; try again in 5 s", failure(t, c).Error())
}

func TestCredentialsAreSentAndDoNotFollowARedirect(t *testing.T) {
	t.Parallel()
	elsewhere := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer other.Close()
	var header http.Header
	c := serve(t, client.Config{Token: "t0ken", APIKey: "k3y", APIKeyHeader: "X-Shop-Key"}, func(w http.ResponseWriter, r *http.Request) {
		header = r.Header.Clone()
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	})
	failure(t, c)
	require.Equal(t, "Bearer t0ken", header.Get("Authorization"))
	require.Equal(t, "k3y", header.Get("X-Shop-Key"))
	require.Zero(t, elsewhere)
}

func TestWithoutCredentialsNoneAreSent(t *testing.T) {
	t.Parallel()
	var header http.Header
	c := serve(t, client.Config{}, func(w http.ResponseWriter, r *http.Request) {
		header = r.Header.Clone()
		_, _ = io.WriteString(w, "{}")
	})
	_, err := c.Templates(t.Context(), "")
	require.NoError(t, err)
	require.NotContains(t, header, "Authorization")
	require.NotContains(t, header, "X-Api-Key")
}

// pages is a server with n tasks, named by their number.
func pages(n int, asked *[]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.URL.Query().Get("page")+"/"+r.URL.Query().Get("per_page"))
		var page, size int
		_, _ = fmt.Sscan(r.URL.Query().Get("page")+" "+r.URL.Query().Get("per_page"), &page, &size)
		from, to := min((page-1)*size, n), min(page*size, n)
		tasks := []string{}
		for i := from; i < to; i++ {
			tasks = append(tasks, fmt.Sprintf(`{"name": "%d", "extra": 1}`, i))
		}
		_, _ = fmt.Fprintf(w, `{"tasks": [%s], "pagination": {"page": %d, "per_page": %d, "total_count": %d, "total_pages": %d, "has_next": %v, "has_previous": %v}}`,
			strings.Join(tasks, ","), page, size, n, (n+size-1)/size, to < n, page > 1)
	}
}

func TestAListLongerThanAPageIsAskedForInParts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		have, limit, got int
		asked            string
		more             bool
	}{
		{0, 20, 0, "1/20", false}, {20, 20, 20, "1/20", false}, {21, 20, 20, "1/20", true}, {500, 100, 100, "1/100", true},
		{500, 101, 101, "1/100 2/100", true}, {150, 1000, 150, "1/100 2/100", false}, {250, 250, 250, "1/100 2/100 3/100", false},
	} {
		var asked []string
		c := serve(t, client.Config{}, pages(test.have, &asked))
		a, err := c.Tasks(t.Context(), engine.TaskFilter{}, test.limit)
		require.NoError(t, err)
		require.Len(t, a.Value.Tasks, test.got)
		for i, task := range a.Value.Tasks {
			require.Equal(t, fmt.Sprint(i), task.Name)
		}
		require.Equal(t, test.asked, strings.Join(asked, " "))
		require.Equal(t, test.have, a.Value.Pagination.TotalCount)
		require.Equal(t, test.more, a.Value.Pagination.HasNext)
		var raw struct {
			Tasks []struct{ Extra int }
		}
		require.NoError(t, json.Unmarshal(a.Raw, &raw))
		require.Len(t, raw.Tasks, test.got)
		if test.got > 0 {
			require.Equal(t, 1, raw.Tasks[test.got-1].Extra, "what is not known is kept")
		}
	}
}
