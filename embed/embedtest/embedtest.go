// Package embedtest gives go tests a Python interpreter and handlers to call.
//
// One interpreter serves a whole test binary, since there can be only one in a
// process:
//
//	func TestMain(m *testing.M) { embedtest.Main(m) }
//
//	func TestGreeting(t *testing.T) {
//		handlers := embedtest.Load(t, `
//	from tasker_core.step_handler import step_handler, inputs
//
//	@step_handler("greet")
//	@inputs("name")
//	def greet(name):
//	    return {"text": f"Hello {name}"}
//	`)
//		result := handlers.Run(t, "greet", embedtest.Input{Context: map[string]any{"name": "Ada"}})
//		require.Equal(t, "Hello Ada", result.Value["text"])
//	}
//
// Build and run such tests with the variables that `make env` prints.
package embedtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/embed"
	"github.com/tasker-systems/taskerpy/gil"
)

// interpreter is what Main started; like the interpreter there is one in a process.
var interpreter struct {
	runtime           *gil.Runtime
	lane              *gil.Lane
	load, unload, run embed.Func
	alive             embed.Func
	sync.Mutex        // guards loaded and output
	loaded            int
	output            []Line
}

// Line is one line that Python printed or logged.
type Line struct {
	Stream  string `json:"stream"` // stdout or stderr; "" for logging
	Text    string `json:"line"`
	Level   int    `json:"level"` // of Python's logging; 0 for printed lines
	Logger  string `json:"logger"`
	Message string `json:"message"`
	Step    string `json:"step"`
	Task    string `json:"task_uuid"`
}

// Main starts the interpreter, runs the tests and exits the process. The
// virtualenv is found as the command line finds it: $VIRTUAL_ENV, else a .venv
// in the working directory or a folder above it. It exits with 3 if Python
// cannot be started.
func Main(m *testing.M) { os.Exit(mainCode(m)) }

func mainCode(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := start(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "embedtest:", err)
		return 3
	}
	code := m.Run()
	interpreter.lane.Close()
	ctx, cancel = context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := interpreter.runtime.Stop(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "embedtest:", err)
		return max(code, 1)
	}
	return code
}

func start(ctx context.Context) error {
	python, err := embed.FindPython(ctx, "", foldersAbove())
	if err != nil {
		return err
	}
	r, err := gil.Start(ctx, gil.Config{Python: python, Native: native})
	if err != nil {
		return err
	}
	interpreter.runtime = r
	if interpreter.lane, err = r.NewLane("embedtest"); err != nil {
		return err
	}
	for _, f := range []struct {
		fn           *embed.Func
		module, name string
	}{
		{&interpreter.load, "taskerpy_host.loader", "load"},
		{&interpreter.unload, "taskerpy_host.loader", "unload"},
		{&interpreter.alive, "taskerpy_host.loader", "alive"},
		{&interpreter.run, "taskerpy_host.lane", "run_step"},
	} {
		if *f.fn, err = r.Lookup(ctx, f.module, f.name); err != nil {
			return err
		}
	}
	return nil
}

func foldersAbove() []string {
	var out []string
	dir, err := os.Getwd()
	for err == nil {
		out = append(out, dir)
		parent := filepath.Dir(dir)
		if parent == dir {
			break
		}
		dir = parent
	}
	return out
}

// native keeps what Python prints and logs.
func native(name string, payload []byte) ([]byte, error) {
	switch name {
	case "emit", "log":
		var l Line
		if err := json.Unmarshal(payload, &l); err != nil {
			return nil, err
		}
		interpreter.Lock()
		defer interpreter.Unlock()
		interpreter.output = append(interpreter.output, l)
		return nil, nil
	default:
		//lint:ignore ST1005 the reference's text
		return nil, fmt.Errorf("Worker not initialized. Call bootstrap_worker() first.")
	}
}

// Runtime is the interpreter that Main started.
func Runtime() *gil.Runtime { return interpreter.runtime }

// Handlers are the handlers of one Load.
type Handlers struct {
	Names   []string
	modules []string
}

// Load imports handlers from Python source, or from a file if source is the
// path of one. It fails the test with the traceback when that does not import.
// At the end of the test the handlers are taken out again, and the test fails
// if memory of the boundary or contexts of its steps are still alive then.
func Load(t testing.TB, source string) *Handlers {
	t.Helper()
	if interpreter.runtime == nil {
		t.Fatal("embedtest.Load: call embedtest.Main from TestMain")
	}
	path := source
	if strings.ContainsRune(source, '\n') || !strings.HasSuffix(source, ".py") {
		interpreter.Lock()
		interpreter.loaded++
		path = filepath.Join(t.TempDir(), fmt.Sprintf("handlers_%d.py", interpreter.loaded))
		interpreter.Unlock()
		if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	blocks := embed.LiveBlocks()
	var answer struct {
		Handlers []struct{ Name string }
		Problems []struct{ Traceback string }
		Modules  []string
	}
	ask(t, interpreter.load, map[string]any{"paths": []string{path}}, &answer)
	for _, p := range answer.Problems {
		t.Fatalf("embedtest.Load:\n%s", p.Traceback)
	}
	h := &Handlers{modules: answer.Modules}
	for _, handler := range answer.Handlers {
		h.Names = append(h.Names, handler.Name)
	}
	t.Cleanup(func() { h.unload(t, blocks) })
	return h
}

func (h *Handlers) unload(t testing.TB, blocks int64) {
	ask(t, interpreter.unload, map[string]any{"modules": h.modules, "handlers": h.Names}, nil)
	var alive int
	ask(t, interpreter.alive, nil, &alive)
	if alive != 0 {
		t.Errorf("leak: %d step contexts are still alive", alive)
	}
	// The lane's own answer buffer may have been made by this test.
	if now := embed.LiveBlocks(); now > blocks+1 {
		t.Errorf("leak: %d blocks of the boundary were made and not freed", now-blocks)
	}
}

// Input is what a step is run with. All fields may be empty.
type Input struct {
	Context      any            // the task's context
	Dependencies map[string]any // results of earlier steps, as their handlers gave them
	Config       map[string]any // handler.initialization
	Inputs       any            // the step's own inputs, such as a batch cursor
	Method       string         // handler.method
	Resolver     string         // handler.resolver
	Attempts     int            // earlier attempts
	MaxAttempts  int            // 0 means 3
	Checkpoint   any
}

// Result is what a handler gave.
type Result struct {
	Outcome byte            // as dispatch.Outcome
	Raw     json.RawMessage // the stored result, or the checkpoint
	Success bool
	Value   map[string]any // the handler's result; numbers are json.Number
	Error   *Error
	// Metadata as stored (engine-semantics §6.1); a handler's own entries are
	// under "custom".
	Metadata map[string]any
}

// Error is the error of a failed step.
type Error struct {
	Message   string         `json:"message"`
	Type      string         `json:"error_type"`
	Retryable bool           `json:"retryable"`
	Backtrace []string       `json:"backtrace"`
	Context   map[string]any `json:"context"`
}

// Run runs the handler that callable names, as a step of that name.
func (h *Handlers) Run(t testing.TB, callable string, in Input) Result {
	t.Helper()
	event := Event(callable, in)
	label := callable
	var out []byte
	var err error
	interpreter.lane.Run(func() { out, err = interpreter.lane.Call(interpreter.run, event, &label) })
	if err != nil {
		t.Fatalf("run %s: %v", callable, err)
	}
	r := Result{Outcome: out[0], Raw: out[1:]}
	var stored struct {
		Success  bool
		Result   map[string]any
		Error    *Error
		Metadata map[string]any
	}
	decode(t, r.Raw, &stored)
	r.Success, r.Value, r.Error, r.Metadata = stored.Success, stored.Result, stored.Error, stored.Metadata
	return r
}

// Event makes the event of a step (python-api-core §2.6), for callers that
// drive a lane themselves.
func Event(callable string, in Input) []byte {
	type object = map[string]any
	id := func() string { return uuid.Must(uuid.NewV7()).String() }
	task, step, correlation := id(), id(), id()
	dependencies := object{}
	for name, value := range in.Dependencies {
		dependencies[name] = object{"step_uuid": id(), "success": true, "status": "completed", "result": value, "metadata": object{}, "error": nil}
	}
	nullable := func(s string) any {
		if s == "" {
			return nil
		}
		return s
	}
	initialization := in.Config
	if initialization == nil {
		initialization = object{}
	}
	if in.MaxAttempts == 0 {
		in.MaxAttempts = 3
	}
	event, err := json.Marshal(object{
		"event_id": id(), "task_uuid": task, "step_uuid": step, "correlation_id": correlation, "task_correlation_id": correlation,
		"task_sequence_step": object{
			"task": object{
				"task":           object{"task_uuid": task, "context": in.Context, "correlation_id": correlation},
				"namespace_name": "test", "task_name": "test", "task_version": "1.0.0",
			},
			"workflow_step": object{
				"workflow_step_uuid": step, "task_uuid": task, "name": callable, "template_step_name": callable,
				"attempts": in.Attempts, "max_attempts": in.MaxAttempts, "inputs": in.Inputs, "checkpoint": in.Checkpoint,
			},
			"dependency_results": dependencies,
			"step_definition": object{
				"name":    callable,
				"handler": object{"callable": callable, "method": nullable(in.Method), "resolver": nullable(in.Resolver), "initialization": initialization},
			},
		},
	})
	if err != nil {
		panic(fmt.Sprintf("embedtest: input cannot be written as JSON: %v", err))
	}
	return event
}

// Output takes the lines that Python has printed and logged since the last call.
func Output() []Line {
	interpreter.Lock()
	defer interpreter.Unlock()
	out := interpreter.output
	interpreter.output = nil
	return out
}

// ask calls a function of the host's Python half with JSON.
func ask(t testing.TB, fn embed.Func, request, answer any) {
	t.Helper()
	in, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	interpreter.lane.Run(func() { out, err = interpreter.lane.Call(fn, in, nil) })
	if err != nil {
		t.Fatal(err)
	}
	if answer != nil {
		decode(t, out, answer)
	}
}

func decode(t testing.TB, data []byte, v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		t.Fatalf("decode %s: %v", data, err)
	}
}
