package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/template"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

// open opens an engine on a file of its own, or on the given one.
func open(t testing.TB, o Options, yaml ...string) *Engine {
	t.Helper()
	if o.Path == "" {
		o.Path = filepath.Join(t.TempDir(), "test.db")
	}
	e, err := Open(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close(context.Background())) })
	for _, y := range yaml {
		require.NoError(t, e.Register(t.Context(), parse(t, y)))
	}
	return e
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

func TestALinearTaskRunsItsStepsInOrder(t *testing.T) {
	e := open(t, Options{}, linear)
	var order []string
	work(t, e, func(s *dispatch.Step) (dispatch.Outcome, any) {
		order = append(order, s.Name)
		return dispatch.Success, len(order)
	})
	task := await(t, e, submit(t, e, asked("linear", 1)))
	require.Equal(t, "complete", task.Status)
	require.Equal(t, "all_complete", task.ExecutionStatus)
	require.InDelta(t, 100.0, task.CompletionPercentage, 0)
	require.NotNil(t, task.CompletedAt)
	require.Equal(t, []string{"one", "two", "three", "four"}, order)
}
