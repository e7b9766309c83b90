package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/domainevent"
	"github.com/tasker-systems/taskerpy/embed"
	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/gil"
	"github.com/tasker-systems/taskerpy/postgres"
	"github.com/tasker-systems/taskerpy/template"
)

// programStopTimeout is how long stopping the worker of a program may take.
const programStopTimeout = 30 * time.Second

// Program runs Python programs as the python command would. One that calls
// bootstrap_worker() gets a worker, on the embedded engine or of a deployment, whose steps it polls
// and completes itself (python-api-core §2), and may stop it and start another.
type Program struct {
	c ProgramConfig

	natives *natives

	mu          sync.Mutex
	current     *programWorker    // nil without a worker
	environment map[string]string // that c is of
}

// ProgramConfig says how to run programs, and with what their workers work.
type ProgramConfig struct {
	// Config gives the worker its data file, templates, environment, log and
	// the rest. Nothing is imported from Paths, which may have templates.
	Config
	// Reload, when not nil, is asked for the configuration again by a program
	// that starts a worker with another environment than the process began with.
	// It looks variables up with env.
	Reload func(env func(name string) string) (ProgramConfig, error)
	// Serve, when not nil, serves the REST API of a started worker and returns
	// its URL and how to stop it.
	Serve func(s Served) (url string, stop func(context.Context) error, err error)
	// DrainTimeout is how long stop_worker, which begins the drain if
	// transition_to_graceful_shutdown did not, lets the program finish the
	// steps that it has: counted from there, and 0 for not at all.
	DrainTimeout time.Duration
	// Stderr receives what is worth saying before a log exists.
	Stderr io.Writer
}

// Served is what a worker's REST API shows.
type Served struct {
	// One of Engine and Deployment is nil.
	Engine     *engine.Engine
	Deployment *postgres.Source
	Templates  []*template.Template
	Events     func() domainevent.Stats
	// Draining is done from the beginning of the worker's drain.
	Draining context.Context
}

// programWorker is one started worker: a service.
type programWorker struct {
	status *status
	sources
	poller    *dispatch.Poller
	publisher *domainevent.Publisher
	unserve   func(context.Context) error

	draining context.Context // done from the beginning of the drain
	drain    context.CancelFunc

	mu       sync.Mutex
	stopping bool      // by transition_to_graceful_shutdown
	drainsAt time.Time // when the drain began; zero before
}

// NewProgram makes a Program.
func NewProgram(c ProgramConfig) *Program {
	c.fill()
	p := &Program{c: c, environment: environment(os.Environ())}
	p.natives = newNatives(c.Config)
	p.natives.program = p
	return p
}

// Run runs args as the python command would and returns its exit code. A
// worker that the program left running is stopped. It may be called once in a
// process, and leaves no interpreter behind.
func (p *Program) Run(ctx context.Context, args []string) (exitCode int, err error) {
	found, err := embed.FindPython(ctx, p.c.Python, []string{"."})
	if err != nil {
		return 0, err
	}
	for _, w := range found.Warnings {
		_, _ = fmt.Fprintln(p.c.Stderr, "taskerpy: warning:", w)
	}
	exitCode, err = gil.RunCommand(embed.Config{
		Executable: found.Executable, Argv: append([]string{"python"}, args...), Native: p.natives.native,
	})
	if _, stopErr := p.stop(); stopErr != nil {
		err = errors.Join(err, stopErr)
	}
	return exitCode, err
}

// bootstrapRequest is the argument of bootstrap_worker.
type bootstrapRequest struct {
	// Environment is os.environ: what a program changes there is in the
	// environment of C, of which Go has made a copy when the process began.
	Environment map[string]string `json:"environment"`
}

// bootstrap starts a worker.
func (p *Program) bootstrap(payload []byte) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != nil {
		answer, _, err := p.current.status.call("bootstrap_worker")
		return answer, err
	}
	err := p.reload(payload)
	var w *programWorker
	if err == nil {
		w, err = p.start(context.Background())
	}
	if err != nil {
		return nil, fmt.Errorf("Bootstrap failed: %w", err) //lint:ignore ST1005 the reference's text
	}
	p.current = w
	p.natives.serve(w)
	id := uuid.Must(uuid.NewV7()).String()
	return json.Marshal(object{
		"handle_id": id, "status": "started", "message": "Python worker system started successfully", "worker_id": "python-worker-" + id,
	})
}

// reload takes up what the program has changed in its environment.
func (p *Program) reload(payload []byte) error {
	var r bootstrapRequest
	if len(payload) > 0 {
		if err := json.Unmarshal(payload, &r); err != nil {
			return fmt.Errorf("read the environment: %w", err)
		}
	}
	if p.c.Reload == nil || r.Environment == nil || maps.Equal(r.Environment, p.environment) {
		return nil
	}
	c, err := p.c.Reload(func(name string) string { return r.Environment[name] })
	if err != nil {
		return err
	}
	if c.WorkerID == "" {
		c.WorkerID = p.c.WorkerID
	}
	c.fill()
	p.c, p.environment = c, r.Environment
	return nil
}

// environment reads NAME=value lines.
func environment(lines []string) map[string]string {
	e := make(map[string]string, len(lines))
	for _, line := range lines {
		name, value, _ := strings.Cut(line, "=")
		e[name] = value
	}
	return e
}

func (p *Program) start(ctx context.Context) (*programWorker, error) {
	ts, err := p.templates()
	if err != nil {
		return nil, err
	}
	from, err := openSource(ctx, p.c.Config, ts)
	if err != nil {
		return nil, err
	}
	w := &programWorker{sources: from, status: newStatus(p.c.Config, ts), unserve: func(context.Context) error { return nil }}
	w.draining, w.drain = context.WithCancel(context.WithoutCancel(ctx))
	w.publisher = domainevent.New(domainevent.Options{Source: w.source(), Python: domainevent.NewBuiltIn(p.c.Log), Remote: w.deployment != nil, Observer: p.c.EventObserver, Log: p.c.Log})
	if p.c.Serve != nil {
		var url string
		url, w.unserve, err = p.c.Serve(Served{w.engine, w.deployment, ts, w.publisher.Stats, w.draining})
		if err != nil {
			return nil, errors.Join(err, w.source().Close(ctx))
		}
		if w.status.endpoint == "" { // not the address of another server
			w.status.endpoint = url
		}
	}
	if err := w.publisher.Start(ctx); err != nil {
		return nil, errors.Join(err, w.unserve(ctx), w.source().Close(ctx))
	}
	w.poller = dispatch.NewPoller(dispatch.PollerOptions{
		Source: w.source(), WorkerID: p.c.WorkerID, HandsBack: w.deployment != nil, Metrics: w.status.counts, Log: p.c.Log,
	})
	w.status.core, w.status.pool, w.status.pending, w.status.bus = w.core, w.pool, w.poller.Stats, w.publisher.Bus()
	w.poller.Start(ctx)
	return w, nil
}

// templates reads the templates that the configuration names, else those
// beside the handlers, else those in the working directory.
func (p *Program) templates() ([]*template.Template, error) {
	places := p.c.Templates
	for _, dir := range append(slices.Clone(p.c.Paths), ".") {
		if len(places) == 0 {
			places = besideFile(dir)
		}
	}
	ts, findings := template.Load(places...)
	if template.HasErrors(findings) {
		return nil, &ProblemsError{findings}
	}
	if len(ts) == 0 {
		return nil, errors.New("no task templates; name their folder in TASKER_TEMPLATE_PATH")
	}
	if p.c.Overrides != "" {
		for i, t := range ts {
			ts[i] = t.ForEnvironment(p.c.Overrides)
		}
	}
	return ts, nil
}

// stop stops the worker, if there is one.
func (p *Program) stop() ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == nil {
		return json.Marshal("Worker system not running")
	}
	ctx, cancel := context.WithTimeout(context.Background(), programStopTimeout)
	defer cancel()
	if err := p.current.stop(ctx); err != nil {
		return nil, fmt.Errorf("stop the worker: %w", err)
	}
	p.current = nil
	p.natives.serve(nil)
	return json.Marshal("Worker system stopped")
}

// finish is stop after the program has finished the steps that it has, or the
// time for that is over.
func (p *Program) finish() ([]byte, error) {
	p.mu.Lock()
	w, timeout := p.current, p.c.DrainTimeout
	p.mu.Unlock()
	if w != nil && timeout > 0 {
		if err := w.finishSteps(w.beginDrain().Add(timeout)); err != nil {
			p.c.Log.Warn("not drained in time; those steps are run again", "timeout", timeout.String(), "error", err)
		}
	}
	return p.stop()
}

// beginDrain makes readiness fail, and tells when the drain began.
func (w *programWorker) beginDrain() time.Time {
	w.drain()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.drainsAt.IsZero() {
		w.drainsAt = time.Now()
	}
	return w.drainsAt
}

// finishSteps gives the program no more steps and waits until it has answered
// those that it has, or the time for that is over.
func (w *programWorker) finishSteps(deadline time.Time) error {
	stopping, cancel := context.WithTimeout(context.Background(), programStopTimeout)
	defer cancel()
	if err := w.poller.StopClaiming(stopping); err != nil {
		return err
	}
	answering, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	return w.poller.AwaitAnswers(answering)
}

func (w *programWorker) stop(ctx context.Context) error {
	w.beginDrain()
	return errors.Join(w.poller.Drain(ctx), w.publisher.Drain(ctx), w.unserve(ctx), w.source().Close(ctx))
}

func (w *programWorker) core() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopping {
		return "Stopped"
	}
	return "Running"
}

// eventRequest is the argument of the functions that answer an event.
type eventRequest struct {
	Event      uuid.UUID       `json:"event_id_str"`
	Completion json.RawMessage `json:"completion_data"`
	Checkpoint json.RawMessage `json:"checkpoint_data"`
}

// call answers the native functions for the program.
func (w *programWorker) call(name string, payload []byte) ([]byte, error) {
	switch name {
	case "poll_step_events":
		if step := w.poller.Poll(); step != nil {
			return step.Event, nil
		}
		return nil, nil
	case "complete_step_event", "checkpoint_yield_step_event":
		var r eventRequest
		if err := json.Unmarshal(payload, &r); err != nil {
			return nil, embed.ValueError{Text: "Invalid event_id format: " + err.Error()}
		}
		if name == "checkpoint_yield_step_event" {
			return json.Marshal(w.poller.Checkpoint(r.Event, r.Checkpoint))
		}
		done, err := w.poller.Complete(r.Event, r.Completion)
		if err != nil {
			return nil, embed.ValueError{Text: "Conversion error: Failed to convert completion data: " + err.Error()}
		}
		return json.Marshal(done)
	case "publish_domain_event":
		return publishEvent(w.publisher, payload)
	case "check_starvation_warnings":
		w.poller.WarnStarving()
		return []byte("true"), nil
	case "cleanup_timeouts":
		return json.Marshal(w.poller.FailTimedOut())
	case "transition_to_graceful_shutdown":
		return w.beGraceful()
	}
	answer, ok, err := w.status.call(name)
	if !ok {
		return nil, fmt.Errorf("%s: no such native function", name)
	}
	return answer, err
}

// beGraceful stops handing out steps. Those that the program has can be
// completed until stop_worker.
func (w *programWorker) beGraceful() ([]byte, error) {
	w.beginDrain()
	ctx, cancel := context.WithTimeout(context.Background(), programStopTimeout)
	defer cancel()
	if err := w.poller.StopClaiming(ctx); err != nil {
		return nil, fmt.Errorf("Graceful shutdown failed: %w", err) //lint:ignore ST1005 the reference's text
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopping = true
	return json.Marshal("Worker system transitioned to graceful shutdown")
}
