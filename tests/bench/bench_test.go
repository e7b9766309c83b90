// Package bench_test measures what crosses packages, with the real
// interpreter, real handlers and a real file. `make bench` runs it.
package bench_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/embed"
	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/gil"
	"github.com/tasker-systems/taskerpy/handlers"
	"github.com/tasker-systems/taskerpy/template"
)

// host is the interpreter of this test binary with the handlers loaded.
var host *handlers.Host

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		code = 3
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	ctx := context.Background()
	python, err := embed.FindPython(ctx, "", []string{filepath.Join("..", "..")})
	if err != nil {
		return 0, err
	}
	runtime, err := gil.Start(ctx, gil.Config{Python: python})
	if err != nil {
		return 0, err
	}
	if host, err = handlers.New(ctx, runtime, "bench"); err != nil {
		return 0, err
	}
	loaded, err := host.Load("handlers.py")
	if err != nil {
		return 0, err
	}
	for _, p := range loaded.Problems {
		return 0, fmt.Errorf("%s:%d: %s", p.File, p.Line, p.Message)
	}
	code := m.Run()
	host.Close()
	return code, runtime.Stop(ctx)
}

// newDispatcher runs the steps of source in the handlers.
func newDispatcher(source dispatch.Source, concurrency int) *dispatch.Dispatcher {
	return dispatch.New(dispatch.Options{
		Source: source, Concurrency: concurrency, WorkerID: "bench",
		NewExecutor: func(n int) (dispatch.Executor, error) { return host.NewExecutor(n) },
	})
}

func linear(b testing.TB) *template.Template {
	b.Helper()
	t, findings := template.ParseFile("linear.yaml")
	require.False(b, template.HasErrors(findings), "%v", findings)
	return t
}

// endless hands out the same step until left are complete.
type endless struct {
	step  *dispatch.Step
	mu    sync.Mutex
	out   int // still to hand out
	back  int // still to come back
	done  chan struct{}
	wrong string
}

func (e *endless) Claim(ctx context.Context, limit int) ([]*dispatch.Step, error) {
	e.mu.Lock()
	n := min(limit, e.out)
	e.out -= n
	e.mu.Unlock()
	if n == 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	steps := make([]*dispatch.Step, n)
	for i := range steps {
		steps[i] = e.step
	}
	return steps, nil
}

func (e *endless) Complete(_ *dispatch.Step, r dispatch.Result) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r.Outcome != dispatch.Success {
		e.wrong = string(r.JSON)
	}
	if e.back--; e.back == 0 {
		close(e.done)
	}
}

// BenchmarkStep is one step from the dispatcher through a handler on one lane
// and back, without a store: a real StepContext and StepHandlerResult.
func BenchmarkStep(b *testing.B) {
	step := event(b)
	b.ReportMetric(float64(len(step.Event)), "event-bytes")
	b.ResetTimer()
	runSteps(b, step, b.N)
}

// runSteps runs a step n times on one lane, and returns how long that took.
func runSteps(b *testing.B, step *dispatch.Step, n int) time.Duration {
	b.Helper()
	source := &endless{step: step, out: n, back: n, done: make(chan struct{})}
	d := newDispatcher(source, 1)
	started := time.Now()
	d.Start(b.Context())
	<-source.done
	took := time.Since(started)
	b.StopTimer()
	require.Empty(b, source.wrong)
	require.NoError(b, d.Drain(context.Background()))
	b.StartTimer()
	return took
}

// event is the second step of a linear task, as the engine hands it out.
func event(b testing.TB) *dispatch.Step {
	b.Helper()
	e, err := engine.Open(b.Context(), engine.Options{Path: ":memory:"})
	require.NoError(b, err)
	defer func() { require.NoError(b, e.Close(context.Background())) }()
	require.NoError(b, e.Register(b.Context(), linear(b)))
	create(b, e, 7)
	steps, err := e.Claim(b.Context(), 1)
	require.NoError(b, err)
	e.Complete(steps[0], dispatch.Result{Outcome: dispatch.Success, JSON: []byte(
		`{"step_uuid":"` + steps[0].StepUUID.String() + `","success":true,"status":"completed","result":{"n":49},` +
			`"metadata":{"execution_time_ms":0,"retryable":false,"worker_id":"bench","custom":{},"context":{}},"error":null}`)})
	steps, err = e.Claim(b.Context(), 1)
	require.NoError(b, err)
	return steps[0]
}

func create(b testing.TB, e *engine.Engine, n int) uuid.UUID {
	b.Helper()
	id, err := e.Create(b.Context(), engine.TaskRequest{
		Name: "linear", Namespace: "bench", Version: "1.0.0", Context: json.RawMessage(fmt.Sprintf(`{"n":%d}`, n)),
		Initiator: "bench", SourceSystem: "bench", Reason: "measure",
	})
	require.NoError(b, err)
	return id
}

// openEngine opens an engine on a file with a dispatcher on it.
func openEngine(b testing.TB) *engine.Engine {
	b.Helper()
	e, err := engine.Open(b.Context(), engine.Options{Path: filepath.Join(b.TempDir(), "bench.db"), WorkerID: "bench"})
	require.NoError(b, err)
	require.NoError(b, e.Register(b.Context(), linear(b)))
	d := newDispatcher(e, 0)
	d.Start(context.Background())
	b.Cleanup(func() {
		require.NoError(b, d.Drain(context.Background()))
		require.NoError(b, e.Close(context.Background()))
	})
	return e
}

// submitters is how many tasks are being created at once.
const submitters = 64

// runTasks creates n tasks and waits until all are complete.
func runTasks(b testing.TB, e *engine.Engine, first, n int) {
	b.Helper()
	next := make(chan int)
	var wg sync.WaitGroup
	for range submitters {
		wg.Go(func() {
			for i := range next {
				id, err := e.Create(b.Context(), engine.TaskRequest{
					Name: "linear", Namespace: "bench", Version: "1.0.0", Context: json.RawMessage(fmt.Sprintf(`{"n":%d}`, i)),
				})
				if err == nil {
					_, err = e.Wait(b.Context(), id)
				}
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	for i := range n {
		next <- first + i
	}
	close(next)
	wg.Wait()
}

// BenchmarkLinearTasks runs durable four-step tasks, submitted in-process.
func BenchmarkLinearTasks(b *testing.B) {
	e := openEngine(b)
	b.ResetTimer()
	started := time.Now()
	runTasks(b, e, 0, b.N)
	b.ReportMetric(float64(4*b.N)/time.Since(started).Seconds(), "steps/s")
}

// BenchmarkLoneTask is the time from submitting a four-step task to its end,
// with nothing else to do.
func BenchmarkLoneTask(b *testing.B) {
	e := openEngine(b)
	n := 0
	for b.Loop() {
		n++
		_, err := e.Wait(b.Context(), create(b, e, n))
		require.NoError(b, err)
	}
}
