// Package worker puts one running taskerpy together: interpreter, handlers,
// templates, source of steps and dispatcher, started in an order that leaves nothing
// half-started when the user's input is wrong, and drained in the reverse.
package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/domainevent"
	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/gil"
	"github.com/tasker-systems/taskerpy/gil/state"
	"github.com/tasker-systems/taskerpy/handlers"
	"github.com/tasker-systems/taskerpy/postgres"
	"github.com/tasker-systems/taskerpy/template"
)

const (
	// closeTimeout is how long the engine may take for its last commits.
	closeTimeout = 5 * time.Second
	// abandonTimeout is how long Python's exit hooks may take when nothing was
	// run: modules may have started threads that never end.
	abandonTimeout = 5 * time.Second
)

// Config says what to run.
type Config struct {
	// Paths are handler files, directories and dotted module names.
	Paths []string
	// Templates are template files and directories. Empty: those beside the
	// handlers, else templates are inferred from the handlers' decorators.
	Templates []string
	// Python is a virtualenv's folder or a python; see embed.FindPython.
	Python string
	// Deployment, when not nil, makes this a worker of a Tasker deployment;
	// templates, worker id and log are filled in. What follows from here to
	// Staleness is for the embedded engine.
	Deployment *postgres.Options
	// Data is the path of the SQLite file, or ":memory:".
	Data         string
	Strict       bool // refuse task input that does not match input_schema
	AlwaysUnique bool // the same input may be submitted again
	// Keep is how long finished tasks are kept; 0 means for ever.
	Keep time.Duration
	// MaxResult is how many bytes the result of a step may have, 0 for the
	// engine's own limit.
	MaxResult int
	// Staleness says what happens to tasks that stay too long in one state.
	Staleness engine.Staleness
	// Concurrency is how many steps may be inside handlers at once; 0 means
	// dispatch.DefaultConcurrency.
	Concurrency int
	// Environment is what this worker says about where it runs. Overrides,
	// when not empty, applies the templates' overrides for that environment.
	Environment    string
	Overrides      string
	WorkerID       string        // "" means DefaultID()
	SwitchInterval time.Duration // of the GIL; 0 keeps Python's own

	// Endpoint is the URL of the REST API, for clients in handlers; "" without
	// one. Handlers may run, and ask for it, before Start returns.
	Endpoint string
	// EndpointHeaders go with each request to it. They are secrets.
	EndpointHeaders map[string]string
	// EndpointTimeout is how long clients wait for an answer of it; 0 is theirs
	// to choose.
	EndpointTimeout time.Duration

	Log      *slog.Logger // nil discards
	LogLevel slog.Level   // what Python's logging passes on
	// Records, when not nil, copies Log for programs; the handler of Log is
	// then one of its handlers.
	Records *Records
	// Output receives what handlers print and log, LogLines(Log) when nil.
	Output func(OutputLine)
	// Shown, unless nil, is the correlation id of a task whose progress is
	// shown: the embedded engine does not log its failed attempts too.
	Shown uuid.UUID
	// Accept, when not nil, sees what was found, all of it usable, before the
	// data file is opened or made. An error of its ends the start.
	Accept func(Report) error

	Metrics        dispatch.Metrics
	EventObserver  domainevent.Observer // nil observes nothing
	CommitObserver func(took time.Duration, changes int)
}

func (c *Config) fill() {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Output == nil {
		c.Output = LogLines(c.Log)
	}
	// After Output: what Python has logged must not come back to it.
	if c.Records == nil {
		c.Records = NewRecords()
		c.Log = slog.New(c.Records.Handler(c.Log.Handler()))
	}
	if c.WorkerID == "" {
		c.WorkerID = DefaultID()
	}
}

// DefaultID names this process among others: host name and process id.
func DefaultID() string {
	host, err := os.Hostname()
	if err != nil {
		host = "taskerpy"
	}
	return fmt.Sprintf("%s-%d", host, os.Getpid())
}

// Report is everything found about handlers and templates.
type Report struct {
	Handlers  []handlers.Handler
	Templates []*template.Template
	LeftOut   []*template.Template // none of their handlers is here
	Findings  []template.Finding
	Python    gil.Info
	TakenUp   int // tasks of earlier runs that the embedded engine goes on with
}

// ProblemsError tells that the user's handlers or templates cannot be run.
type ProblemsError struct{ Findings []template.Finding }

// Error lists the errors, a line each.
func (e *ProblemsError) Error() string {
	var lines []string
	for _, f := range e.Findings {
		if f.Severity == template.SeverityError {
			lines = append(lines, f.String())
		}
	}
	return strings.Join(lines, "\n")
}

// Check imports handlers, reads templates and matches the two. Problems of the
// user's files are findings; the error is of the environment or the host.
func Check(ctx context.Context, c Config) (Report, error) {
	c.fill()
	p, err := prepare(ctx, c, newNatives(c))
	if p != nil {
		defer p.abandon(ctx, c.Log)
	}
	if err != nil {
		return Report{}, err
	}
	return p.report, nil
}

// Worker is one running taskerpy.
type Worker struct {
	python *python
	sources
	dispatcher *dispatch.Dispatcher
	publisher  *domainevent.Publisher
	natives    *natives
	status     *status
	exhausted  chan struct{} // closed when too many lanes are stuck
	log        *slog.Logger
}

// Start brings everything up and begins to run steps. The error is a
// *ProblemsError when handlers or templates are at fault, wraps
// embed.ErrUnavailable when Python is, engine.ErrLocked when another process
// has the data file, and postgres.ErrUnavailable or ErrTemplate when the
// deployment is at fault.
func Start(ctx context.Context, c Config) (*Worker, error) {
	c.fill()
	w := &Worker{log: c.Log, natives: newNatives(c), exhausted: make(chan struct{})}
	var err error
	if w.python, err = prepare(ctx, c, w.natives); err != nil {
		return nil, w.abandon(ctx, err)
	}
	for _, f := range w.python.report.Findings {
		if f.Severity == template.SeverityWarning {
			c.Log.Warn(f.String())
		}
	}
	if template.HasErrors(w.python.report.Findings) {
		return nil, w.abandon(ctx, &ProblemsError{w.python.report.Findings})
	}
	if c.Accept != nil {
		if err := c.Accept(w.python.report); err != nil {
			return nil, w.abandon(ctx, err)
		}
	}
	if w.sources, err = openSource(ctx, c, w.python.report.Templates); err != nil {
		return nil, w.abandon(ctx, err)
	}
	if w.engine != nil {
		w.python.report.TakenUp = w.engine.Stats().OpenTasks // none has gone on yet
	}
	if err := w.startEvents(ctx, c); err != nil {
		return nil, w.abandon(ctx, errors.Join(err, w.source().Close(ctx)))
	}
	w.status = newStatus(c, w.python.report.Templates)
	w.status.pool = w.pool
	w.status.core, w.status.pending, w.status.bus = func() string { return "Running" }, w.pending, w.publisher.Bus()
	w.dispatcher = dispatch.New(dispatch.Options{
		Source: w.source(), Concurrency: c.Concurrency, WorkerID: c.WorkerID, Metrics: w.status.counts, Log: c.Log,
		NewExecutor: func(n int) (dispatch.Executor, error) { return w.python.host.NewExecutor(n) },
		Exhausted:   func() { close(w.exhausted) },
	})
	w.natives.serve(w)
	// Not ctx: a worker runs until it is drained, not until whoever started
	// it stops waiting.
	w.dispatcher.Start(context.WithoutCancel(ctx))
	return w, nil
}

// abandon takes down what was started before err.
func (w *Worker) abandon(ctx context.Context, err error) error {
	if w.python != nil {
		w.python.abandon(ctx, w.log)
	}
	return err
}

// Engine is the embedded engine, nil for a worker of a deployment.
func (w *Worker) Engine() *engine.Engine { return w.engine }

// Deployment is where a deployment's steps come from, nil with an embedded
// engine.
func (w *Worker) Deployment() *postgres.Source { return w.deployment }

// Dispatcher is the worker's dispatcher.
func (w *Worker) Dispatcher() *dispatch.Dispatcher { return w.dispatcher }

// Report tells what was found at the start.
func (w *Worker) Report() Report { return w.python.report }

// Python tells about the running Python.
func (w *Worker) Python() gil.Info { return w.python.runtime.Info() }

// Lanes counts the lanes by their state. It never waits for the GIL.
func (w *Worker) Lanes() map[state.State]int {
	out := map[state.State]int{}
	for _, l := range w.python.runtime.DebugState().Lanes {
		out[l.State]++
	}
	return out
}

// DebugState is what /debug/lanes shows: every thread that may hold the GIL,
// and the dispatcher. It never waits for the GIL.
func (w *Worker) DebugState() any {
	return struct {
		gil.DebugState
		Dispatch dispatch.Stats `json:"dispatch"`
	}{w.python.runtime.DebugState(), w.dispatcher.Stats()}
}

// Drain stops claiming, hands back what no handler was entered for, lets
// running steps finish, makes their results durable, runs Python's exit hooks
// and closes the source. When ctx ends first, it returns an error that names
// what still runs; the process may exit then at any time. Those steps are run
// again: by the next start, or at once by another worker of the deployment.
// last, when not nil, is called when nothing begins any more and the source is
// still open.
func (w *Worker) Drain(ctx context.Context, last func(context.Context)) error {
	drained := w.dispatcher.Drain(ctx)
	if drained == nil {
		if err := w.publisher.Drain(ctx); err != nil {
			w.log.Warn("domain events are delivered at the next start", "error", err)
		}
	}
	// What has finished is made durable even when the time is over, but a disk
	// that hangs must not keep the process.
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if last != nil {
		last(closing)
	}
	closed := w.source().Close(closing)
	if drained != nil {
		return cmp.Or(drained, closed)
	}
	if w.dispatcher.Stats().Stuck > 0 {
		// Nobody can end those handlers; their steps are failed already.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, abandonTimeout)
		defer cancel()
		if err := w.python.stop(ctx); err != nil {
			w.log.Warn("handlers that ignore their timeout are cut off", "error", err)
		}
		return closed
	}
	return errors.Join(closed, w.python.stop(ctx))
}
