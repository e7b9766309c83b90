package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/template"
)

// memory is the path of a database that needs no file.
const memory = ":memory:"

func TestMain(m *testing.M) {
	if name := os.Getenv(childVariable); name != "" {
		os.Exit(beChild(name))
	}
	goleak.VerifyTestMain(m)
}

// linear is four steps in a chain.
const linear = `
name: linear
namespace_name: tests
version: 1.0.0
steps:
  - {name: one, handler: {callable: h}}
  - {name: two, handler: {callable: h}, dependencies: [one]}
  - {name: three, handler: {callable: h}, dependencies: [two]}
  - {name: four, handler: {callable: h}, dependencies: [three]}
`

func parse(t testing.TB, yaml string) *template.Template {
	t.Helper()
	parsed, findings := template.Parse(t.Name(), []byte(yaml))
	for _, f := range findings {
		require.NotEqual(t, template.SeverityError, f.Severity, f.String())
	}
	return parsed
}

// alarm fails a test when the engine logs a mistake of its own: an event that
// the state of a task or step does not take.
type alarm struct{ t testing.TB }

func (a alarm) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }
func (a alarm) WithAttrs([]slog.Attr) slog.Handler               { return a }
func (a alarm) WithGroup(string) slog.Handler                    { return a }

func (a alarm) Handle(_ context.Context, r slog.Record) error {
	if strings.HasSuffix(r.Message, "left as it is") {
		r.Attrs(func(attr slog.Attr) bool { r.Message += " " + attr.String(); return true })
		a.t.Error(r.Message)
	}
	return nil
}

// open opens an engine on a file of its own, or on the given one.
func open(t testing.TB, o Options, yaml ...string) *Engine {
	t.Helper()
	if o.Path == "" {
		o.Path = filepath.Join(t.TempDir(), "test.db")
	}
	if o.Log == nil {
		o.Log = slog.New(alarm{t})
	}
	e, err := Open(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close(context.Background())) })
	for _, y := range yaml {
		require.NoError(t, e.Register(t.Context(), parse(t, y)))
	}
	return e
}

// dag writes a template of steps given as "name" or "name: parent parent".
func dag(name string, steps ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\nnamespace_name: tests\nversion: 1.0.0\nsteps:\n", name)
	for _, s := range steps {
		step, parents, _ := strings.Cut(s, ":")
		fmt.Fprintf(&b, "  - {name: %s, handler: {callable: h}, dependencies: [%s]}\n", step, strings.Join(strings.Fields(parents), ", "))
	}
	return b.String()
}

func asked(name string, n int) TaskRequest {
	return TaskRequest{Name: name, Namespace: "tests", Version: "1.0.0", Context: json.RawMessage(fmt.Sprintf(`{"n":%d}`, n))}
}

// handler plays the handler side: it returns the outcome of a step and the
// value of its result, or of its error.
type handler func(s *dispatch.Step) (dispatch.Outcome, any)

func succeed(*dispatch.Step) (dispatch.Outcome, any) {
	return dispatch.Success, map[string]any{"ok": true}
}

// resultOf makes the stored form of an outcome (engine-semantics §6.1).
func resultOf(s *dispatch.Step, outcome dispatch.Outcome, value any) dispatch.Result {
	switch outcome {
	case dispatch.RetryableFailure, dispatch.PermanentFailure:
		return dispatch.Result{Outcome: outcome, JSON: dispatch.FailureResult(dispatch.Failure{
			Step: s, Message: fmt.Sprint(value), ErrorType: "TestError", Retryable: outcome == dispatch.RetryableFailure,
		})}
	case dispatch.CheckpointYield:
		data, _ := json.Marshal(value)
		return dispatch.Result{Outcome: outcome, JSON: data}
	}
	data, _ := json.Marshal(map[string]any{
		"step_uuid": s.StepUUID, "success": true, "status": "completed", "result": value, "metadata": map[string]any{"retryable": false},
	})
	return dispatch.Result{Outcome: outcome, JSON: data, Duration: time.Millisecond}
}

// work runs steps with h until the test ends.
func work(t testing.TB, e *Engine, h handler) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			steps, err := e.Claim(ctx, 16)
			if err != nil {
				return
			}
			for _, s := range steps {
				outcome, value := h(s)
				e.Complete(s, resultOf(s, outcome, value))
			}
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
}

// take claims exactly one step.
func take(t testing.TB, e *Engine) *dispatch.Step {
	t.Helper()
	steps, err := e.Claim(t.Context(), 1)
	require.NoError(t, err)
	require.Len(t, steps, 1)
	return steps[0]
}

func finish(t testing.TB, e *Engine, s *dispatch.Step, outcome dispatch.Outcome, value any) {
	t.Helper()
	e.Complete(s, resultOf(s, outcome, value))
}

func submit(t testing.TB, e *Engine, r TaskRequest) uuid.UUID {
	t.Helper()
	id, err := e.Create(t.Context(), r)
	require.NoError(t, err)
	return id
}

func await(t testing.TB, e *Engine, id uuid.UUID) Task {
	t.Helper()
	task, err := e.Wait(t.Context(), id)
	require.NoError(t, err)
	return task
}

// event is what a test looks at in the event of a step.
type event struct {
	EventID  uuid.UUID `json:"event_id"`
	Sequence struct {
		Step struct {
			Name            string          `json:"name"`
			Attempts        int             `json:"attempts"`
			MaxAttempts     int             `json:"max_attempts"`
			LastAttemptedAt *string         `json:"last_attempted_at"`
			Inputs          json.RawMessage `json:"inputs"`
			Results         json.RawMessage `json:"results"`
			Checkpoint      json.RawMessage `json:"checkpoint"`
		} `json:"workflow_step"`
		Dependencies map[string]json.RawMessage `json:"dependency_results"`
		Definition   struct {
			Name    string `json:"name"`
			Handler struct {
				Callable       string          `json:"callable"`
				Initialization json.RawMessage `json:"initialization"`
			} `json:"handler"`
		} `json:"step_definition"`
	} `json:"task_sequence_step"`
}

func eventOf(t testing.TB, s *dispatch.Step) event {
	t.Helper()
	var e event
	require.NoError(t, json.Unmarshal(s.Event, &e))
	return e
}

// takeAll claims n steps, in as many calls as it takes.
func takeAll(t testing.TB, e *Engine, n int) map[string]*dispatch.Step {
	t.Helper()
	all := map[string]*dispatch.Step{}
	for len(all) < n {
		steps, err := e.Claim(t.Context(), n-len(all))
		require.NoError(t, err)
		for _, s := range steps {
			require.NotContains(t, all, s.Name, "handed out twice")
			all[s.Name] = s
		}
	}
	return all
}

// settle waits until everything handed to the engine so far is durable.
func settle(t testing.TB, e *Engine) {
	t.Helper()
	require.NoError(t, e.Register(t.Context()))
}

// stepOf is a step of a task by name.
func stepOf(t testing.TB, e *Engine, task uuid.UUID, name string) Step {
	t.Helper()
	steps, err := e.Steps(t.Context(), task)
	require.NoError(t, err)
	for _, s := range steps {
		if s.Name == name {
			return s
		}
	}
	require.Fail(t, "no such step", name)
	return Step{}
}

// states gives the state of each step by name.
func states(t testing.TB, e *Engine, id uuid.UUID) map[string]string {
	t.Helper()
	steps, err := e.Steps(t.Context(), id)
	require.NoError(t, err)
	all := map[string]string{}
	for _, s := range steps {
		all[s.Name] = s.CurrentState
	}
	return all
}
