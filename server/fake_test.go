package server_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/server"
	"github.com/tasker-systems/taskerpy/template"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	taskID = uuid.Must(uuid.FromString("01900000-0000-7000-8000-000000000001"))
	stepID = uuid.Must(uuid.FromString("01900000-0000-7000-8000-000000000002"))
)

// fake is an engine that answers what a test tells it to. What it does not
// know the real engine is there for.
type fake struct {
	server.Engine

	submit func(ctx context.Context, r engine.TaskRequest) (engine.Task, error)
	cancel func(id uuid.UUID) (engine.Task, error)

	task      engine.Task
	tasks     engine.TaskList
	steps     []engine.Step
	err       error // of all reads
	health    error
	stats     engine.Stats
	templates []*template.Template

	request engine.TaskRequest // what Submit was given
	filter  engine.TaskFilter  // what Tasks was given
}

func (f *fake) Submit(ctx context.Context, r engine.TaskRequest) (engine.Task, error) {
	f.request = r
	if f.submit != nil {
		return f.submit(ctx, r)
	}
	return f.task, f.err
}

func (f *fake) Task(context.Context, uuid.UUID) (engine.Task, error) { return f.task, f.err }

func (f *fake) Tasks(_ context.Context, filter engine.TaskFilter) (engine.TaskList, error) {
	f.filter = filter
	return f.tasks, f.err
}

func (f *fake) Steps(context.Context, uuid.UUID) ([]engine.Step, error) { return f.steps, f.err }

func (f *fake) Step(context.Context, uuid.UUID, uuid.UUID) (engine.Step, error) {
	if f.err != nil {
		return engine.Step{}, f.err
	}
	return f.steps[0], nil
}

func (f *fake) Cancel(_ context.Context, id uuid.UUID) (engine.Task, error) {
	if f.cancel != nil {
		return f.cancel(id)
	}
	return f.task, f.err
}

func (f *fake) Templates() []engine.RegisteredTemplate {
	var all []engine.RegisteredTemplate
	for _, t := range f.templates {
		all = append(all, engine.RegisteredTemplate{UUID: taskID, Template: t})
	}
	return all
}

func (f *fake) Stats() engine.Stats { return f.stats }
func (f *fake) Health() error       { return f.health }

// ask sends one request to a Server that answers for e.
func ask(t *testing.T, e server.Engine, method, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	return askServer(t, server.New(server.Options{Engine: e}), method, path, body)
}

func askServer(t *testing.T, s *server.Server, method, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	rec := httptest.NewRecorder()
	s.Handler().ServeHTTP(rec, r)
	return rec
}

// requireProblem checks status, code and that message says something about
// each of mentions; it returns the message.
func requireProblem(t *testing.T, rec *httptest.ResponseRecorder, status int, code string, mentions ...string) {
	t.Helper()
	require.Equal(t, status, rec.Code, rec.Body.String())
	require.Equal(t, "application/json", rec.Header().Get("Content-Type"))
	var body map[string]map[string]string
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &body), rec.Body.String())
	require.Len(t, body, 1)
	require.Len(t, body["error"], 2)
	require.Equal(t, code, body["error"]["code"])
	for _, m := range mentions {
		require.Contains(t, body["error"]["message"], m)
	}
	require.NotContains(t, body["error"]["message"], "\n")
}

// golden compares an answer with a file of testdata: same keys in the same
// order, same values.
func golden(t *testing.T, file string, rec *httptest.ResponseRecorder) {
	t.Helper()
	require.Equal(t, http.StatusOK, rec.Code, rec.Body.String())
	require.Equal(t, "application/json", rec.Header().Get("Content-Type"))
	want, err := os.ReadFile("testdata/" + file)
	require.NoError(t, err)
	require.Equal(t, compact(t, want), compact(t, rec.Body.Bytes()))
}

func compact(t *testing.T, data []byte) string {
	t.Helper()
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	require.NoError(t, encoder.Encode(json.RawMessage(data)), string(data))
	return out.String()
}

func parseTemplate(t *testing.T, text string) *template.Template {
	t.Helper()
	parsed, findings := template.Parse("test.yaml", []byte(text))
	require.False(t, template.HasErrors(findings), findings)
	return parsed
}

func readAll(t *testing.T, r io.ReadCloser) string {
	t.Helper()
	body, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	return string(body)
}
