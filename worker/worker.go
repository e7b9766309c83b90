// Package worker puts one running taskerpy together: interpreter, handlers,
// templates, engine and dispatcher, started in an order that leaves nothing
// half-started when the user's input is wrong, and drained in the reverse.
package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/embed"
	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/gil"
	"github.com/tasker-systems/taskerpy/handlers"
	"github.com/tasker-systems/taskerpy/template"
)

// Config says what to run.
type Config struct {
	// Paths are handler files, directories and dotted module names.
	Paths []string
	// Templates are template files and directories. Empty: those of
	// TASKER_TEMPLATE_PATH, else those beside the handlers, else templates
	// are inferred from the handlers' decorators.
	Templates []string
	// Python is a virtualenv's folder or a python; see embed.FindPython.
	Python string
	// Data is the path of the SQLite file, or ":memory:".
	Data string
	// Concurrency is how many steps may be inside handlers at once; 0 means
	// dispatch.DefaultConcurrency.
	Concurrency  int
	Strict       bool // refuse task input that does not match input_schema
	AlwaysUnique bool // the same input may be submitted again
	// Environment, when not empty, applies the templates' overrides for it.
	Environment    string
	WorkerID       string
	SwitchInterval time.Duration // of the GIL; 0 keeps Python's own

	Log      *slog.Logger // nil discards
	LogLevel slog.Level   // what Python's logging passes on
	// Output receives what handlers print and log; nil writes it to Log.
	Output func(OutputLine)

	Metrics        dispatch.Metrics
	CommitObserver func(took time.Duration, changes int)
}

func (c *Config) fill() {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Output == nil {
		c.Output = logLine(c.Log)
	}
	if c.WorkerID == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "taskerpy"
		}
		c.WorkerID = fmt.Sprintf("%s-%d", host, os.Getpid())
	}
}

// Report is everything found about handlers and templates.
type Report struct {
	Handlers  []handlers.Handler
	Templates []*template.Template
	Findings  []template.Finding
	Python    gil.Info
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

// python is a started interpreter with the user's modules imported.
type python struct {
	runtime *gil.Runtime
	host    *handlers.Host
	report  Report
}

// stop ends the interpreter; the dispatcher must be drained before.
func (p *python) stop(ctx context.Context) error {
	if p.host != nil {
		p.host.Close()
	}
	return p.runtime.Stop(ctx)
}

// Check imports handlers, reads templates and matches the two. Problems of the
// user's files are findings; the error is of the environment or the host.
func Check(ctx context.Context, c Config) (Report, error) {
	c.fill()
	p, err := prepare(ctx, c)
	if p != nil {
		defer func() { _ = p.stop(ctx) }()
	}
	if err != nil {
		return Report{}, err
	}
	return p.report, nil
}

// prepare starts Python and finds out what there is to run.
func prepare(ctx context.Context, c Config) (*python, error) {
	found, err := embed.FindPython(ctx, c.Python, folders(c.Paths))
	if err != nil {
		return nil, err
	}
	for _, w := range found.Warnings {
		c.Log.Warn(w)
	}
	r, err := gil.Start(ctx, gil.Config{
		Python: found, Native: output{c.Output}.native, LogLevel: c.LogLevel, SwitchInterval: c.SwitchInterval,
	})
	if err != nil {
		return nil, err
	}
	p := &python{runtime: r}
	p.report.Python = r.Info()
	if p.host, err = handlers.New(ctx, r, c.WorkerID); err != nil {
		return p, err
	}
	return p, p.find(c)
}

// find fills the report.
func (p *python) find(c Config) error {
	loaded, err := p.host.Load(c.Paths...)
	if err != nil {
		return err
	}
	p.report.Handlers = loaded.Handlers
	for _, problem := range loaded.Problems {
		p.report.Findings = append(p.report.Findings, importFinding(problem, p.report.Python.Executable))
	}
	if len(loaded.Problems) == 0 && len(loaded.Handlers) == 0 {
		p.report.Findings = append(p.report.Findings, template.Finding{
			Code: "NO_HANDLERS", Severity: template.SeverityError,
			Message: "no handlers in " + strings.Join(c.Paths, ", "),
			Remedy: fmt.Sprintf("looked into %s for classes derived from tasker_core.StepHandler and for functions decorated with @step_handler and its kin",
				orNone(loaded.Modules)),
		})
		return nil
	}

	places, explicit := templatePlaces(c, loaded)
	ts, findings := template.Load(places...)
	p.report.Findings = append(p.report.Findings, findings...)
	if len(ts) == 0 && !explicit && !template.HasErrors(findings) {
		ts = handlers.Infer(loaded)
		for _, t := range ts {
			p.report.Findings = append(p.report.Findings, t.Validate()...)
		}
	}
	if len(ts) == 0 && !template.HasErrors(p.report.Findings) {
		p.report.Findings = append(p.report.Findings, template.Finding{
			Code: "NO_TEMPLATES", Severity: template.SeverityError,
			Message: "no task templates for the handlers in " + strings.Join(c.Paths, ", "),
			Remedy:  fmt.Sprintf("looked into %s for *.yaml and *.yml; name others with --templates, or write handlers with @step_handler and @depends_on", orNone(places)),
		})
		return nil
	}
	if c.Environment != "" {
		for i, t := range ts {
			ts[i] = t.ForEnvironment(c.Environment)
		}
	}
	return p.match(loaded, ts, explicit)
}

// match finds the handler of every step. A template that merely lies beside
// the handlers and has none of its own among them belongs to others.
func (p *python) match(loaded handlers.Loaded, ts []*template.Template, explicit bool) error {
	for _, t := range ts {
		missing, err := p.host.Check(loaded, []*template.Template{t})
		if err != nil {
			return err
		}
		if !explicit && len(missing) == len(t.Steps) && len(ts) > 1 {
			p.report.Findings = append(p.report.Findings, template.Finding{
				Code: "NOT_OURS", Severity: template.SeverityInfo, Pos: template.Position{File: t.Path},
				Message: fmt.Sprintf("template %s is left out: none of its handlers is in %s", t.Key(), strings.Join(loaded.Modules, ", ")),
			})
			continue
		}
		p.report.Findings = append(p.report.Findings, missing...)
		p.report.Templates = append(p.report.Templates, t)
	}
	return nil
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

func importFinding(problem handlers.Problem, executable string) template.Finding {
	f := template.Finding{
		Code: "IMPORT", Severity: template.SeverityError, Message: problem.Message,
		Pos: template.Position{File: problem.File, Line: problem.Line},
	}
	if problem.Missing != "" {
		top, _, _ := strings.Cut(problem.Missing, ".")
		f.Remedy = fmt.Sprintf("if it is a package, install it: %s -m pip install %s", executable, top)
	}
	return f
}

// folders are where a virtualenv may lie: beside the handlers, then here.
func folders(paths []string) []string {
	var out []string
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			continue // a dotted name, or something that the import will complain about
		}
		dir := p
		if !info.IsDir() {
			dir = filepath.Dir(p)
		}
		out = append(out, dir, filepath.Dir(filepath.Clean(dir)))
	}
	return append(out, ".")
}

// templatePlaces says where to look for templates, and whether the user said so.
func templatePlaces(c Config, loaded handlers.Loaded) (places []string, explicit bool) {
	if len(c.Templates) > 0 {
		return c.Templates, true
	}
	if path := os.Getenv("TASKER_TEMPLATE_PATH"); path != "" {
		return filepath.SplitList(path), true
	}
	for _, p := range c.Paths {
		if info, err := os.Stat(p); err == nil && info.IsDir() {
			places = append(places, p)
		}
	}
	// Beside a file: not the whole tree below it, which may be anything.
	for _, h := range loaded.Handlers {
		if !slices.ContainsFunc(places, func(dir string) bool { return within(h.File, dir) }) {
			places = append(places, besideFile(filepath.Dir(h.File))...)
		}
	}
	slices.Sort(places)
	return slices.Compact(places), false
}

func within(file, dir string) bool {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return false
	}
	rel, err := filepath.Rel(abs, file)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

func besideFile(dir string) []string {
	var out []string
	for _, pattern := range []string{"*.yaml", "*.yml"} {
		if files, err := filepath.Glob(filepath.Join(dir, pattern)); err == nil {
			out = append(out, files...)
		}
	}
	out = slices.DeleteFunc(out, func(file string) bool { return !template.Looks(file) })
	for _, sub := range []string{"templates", filepath.Join("config", "tasks")} {
		if info, err := os.Stat(filepath.Join(dir, sub)); err == nil && info.IsDir() {
			out = append(out, filepath.Join(dir, sub))
		}
	}
	return out
}

// Worker is one running taskerpy.
type Worker struct {
	python     *python
	engine     *engine.Engine
	dispatcher *dispatch.Dispatcher
	log        *slog.Logger
}

// Start brings everything up and begins to run steps. The error is a
// *ProblemsError when handlers or templates are at fault, wraps
// embed.ErrUnavailable when Python is, and engine.ErrLocked when another
// process has the data file.
func Start(ctx context.Context, c Config) (*Worker, error) {
	c.fill()
	w := &Worker{log: c.Log}
	var err error
	if w.python, err = prepare(ctx, c); err != nil {
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
	if w.engine, err = openEngine(ctx, c, w.python.report.Templates); err != nil {
		return nil, w.abandon(ctx, err)
	}
	w.dispatcher = dispatch.New(dispatch.Options{
		Source: w.engine, Concurrency: c.Concurrency, WorkerID: c.WorkerID, Metrics: c.Metrics, Log: c.Log,
		NewExecutor: func(n int) (dispatch.Executor, error) { return w.python.host.NewExecutor(n) },
	})
	// Not ctx: a worker runs until it is drained, not until whoever started
	// it stops waiting.
	w.dispatcher.Start(context.WithoutCancel(ctx))
	return w, nil
}

func openEngine(ctx context.Context, c Config, ts []*template.Template) (*engine.Engine, error) {
	if c.Data != ":memory:" {
		if err := os.MkdirAll(filepath.Dir(c.Data), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("make the folder of %s: %w", c.Data, err)
		}
	}
	e, err := engine.Open(ctx, engine.Options{
		Path: c.Data, Log: c.Log, StrictInput: c.Strict, AlwaysUnique: c.AlwaysUnique, WorkerID: c.WorkerID,
		CommitObserver: c.CommitObserver,
	})
	if err != nil {
		return nil, err
	}
	if err := e.Register(ctx, ts...); err != nil {
		return nil, errors.Join(err, e.Close(ctx))
	}
	return e, nil
}

// abandon takes down what was started before err.
func (w *Worker) abandon(ctx context.Context, err error) error {
	if w.python != nil {
		if stopErr := w.python.stop(ctx); stopErr != nil {
			w.log.Warn("stop Python", "error", stopErr)
		}
	}
	return err
}

// Engine is the worker's engine.
func (w *Worker) Engine() *engine.Engine { return w.engine }

// Dispatcher is the worker's dispatcher.
func (w *Worker) Dispatcher() *dispatch.Dispatcher { return w.dispatcher }

// Report tells what was found at the start.
func (w *Worker) Report() Report { return w.python.report }

// Python tells about the running Python.
func (w *Worker) Python() gil.Info { return w.python.runtime.Info() }

// DebugState is what /debug/lanes shows: every thread that may hold the GIL,
// and the dispatcher. It never waits for the GIL.
func (w *Worker) DebugState() any {
	return struct {
		gil.DebugState
		Dispatch dispatch.Stats `json:"dispatch"`
	}{w.python.runtime.DebugState(), w.dispatcher.Stats()}
}

// Drain stops claiming, lets running steps finish, makes their results
// durable, runs Python's exit hooks and closes the file. When ctx ends first,
// it returns an error that names what still runs; the process may exit then at
// any time, and the next start runs those steps again.
func (w *Worker) Drain(ctx context.Context) error {
	drained := w.dispatcher.Drain(ctx)
	closed := w.engine.Close(context.WithoutCancel(ctx))
	if drained != nil {
		return cmp.Or(drained, closed)
	}
	return errors.Join(closed, w.python.stop(ctx))
}

// RunPython runs args as the python command would and returns its exit code.
// choice is as Config.Python. It may be called once in a process, and leaves no
// interpreter behind.
func RunPython(args []string, choice string, stderr io.Writer) (exitCode int, err error) {
	ctx := context.Background()
	found, err := embed.FindPython(ctx, choice, []string{"."})
	if err != nil {
		return 0, err
	}
	for _, w := range found.Warnings {
		_, _ = fmt.Fprintln(stderr, "taskerpy: warning:", w)
	}
	lines := output{func(l OutputLine) { _, _ = fmt.Fprintf(stderr, "%s %s: %s\n", l.Level, l.Logger, l.Text) }}
	return gil.RunCommand(embed.Config{
		Executable: found.Executable, Argv: append([]string{"python"}, args...), Native: lines.native,
	})
}
