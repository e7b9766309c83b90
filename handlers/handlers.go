// Package handlers finds what can be called: it imports a user's handler
// modules on a lane, tells which handlers they define, matches them with what
// templates name, and makes the executors that run them.
package handlers

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/tasker-systems/taskerpy/embed"
	"github.com/tasker-systems/taskerpy/gil"
	"github.com/tasker-systems/taskerpy/template"
)

// Handler is one handler that a user's modules define.
type Handler struct {
	Name      string `json:"name"` // what a template's callable says
	Kind      string `json:"kind"` // "class", or the functional decorator
	Module    string `json:"module"`
	Attribute string `json:"attribute"`
	File      string `json:"file"`
	Line      int    `json:"line"`
	Abstract  bool   `json:"abstract"` // a class without call()
	// Of decorated functions only:
	Version        string   `json:"version"`
	Doc            string   `json:"doc"`
	DependsOn      []string `json:"depends_on"`
	WorkerTemplate string   `json:"worker_template"`
}

// Problem is a path that could not be imported or, as a mere warning, one that
// the search for handlers passed over.
type Problem struct {
	Warning   bool   `json:"warning"`
	Path      string `json:"path"` // as given
	File      string `json:"file"`
	Line      int    `json:"line"`
	Message   string `json:"message"` // the last line of the traceback
	Missing   string `json:"missing"` // the module that is not installed, if that is the cause
	Traceback string `json:"traceback"`
}

// String is one line: place, what Python says, remedy.
func (p Problem) String() string {
	where := p.File
	if p.Line > 0 {
		where = fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return where + ": " + p.Message
}

// Loaded is what Load found.
type Loaded struct {
	Handlers []Handler `json:"handlers"`
	Problems []Problem `json:"problems"`
	Modules  []string  `json:"modules"`
	// Subscribers says that the modules have registered some for domain
	// events.
	Subscribers bool `json:"subscribers"`
}

// Host runs a user's handlers in a started interpreter.
type Host struct {
	runtime *gil.Runtime
	first   *gil.Lane // imports the modules and is the first to run handlers

	load, resolve, runStep, timeout embed.Func

	mu    sync.Mutex
	lanes []*gil.Lane
}

// New prepares the interpreter for handlers; workerID names this process in
// step results. It imports tasker_core, but nothing of the user's.
func New(ctx context.Context, r *gil.Runtime, workerID string) (*Host, error) {
	first, err := r.NewLane("lane-1")
	if err != nil {
		return nil, err
	}
	h := &Host{runtime: r, first: first, lanes: []*gil.Lane{first}}
	if err := run(first, func() error { return h.prepare(first, workerID) }); err != nil {
		h.Close()
		return nil, fmt.Errorf("prepare handlers: %w", err)
	}
	return h, ctx.Err()
}

func (h *Host) prepare(l *gil.Lane, workerID string) error {
	var start embed.Func
	err := l.Attached(func(a *gil.Attached) error {
		for _, f := range []struct {
			fn           *embed.Func
			module, name string
		}{
			{&start, "taskerpy_host.lane", "start"},
			{&h.runStep, "taskerpy_host.lane", "run_step"},
			{&h.load, "taskerpy_host.loader", "load"},
			{&h.resolve, "taskerpy_host.loader", "resolve"},
			{&h.timeout, "taskerpy_host.context", "StepTimeout"},
		} {
			fn, err := a.Lookup(f.module, f.name)
			if err != nil {
				return err
			}
			*f.fn = fn
		}
		return nil
	})
	if err != nil {
		return err
	}
	_, err = l.Call(start, []byte(workerID), nil)
	return err
}

// Load imports files, directories and dotted module names. What cannot be
// imported is reported in Loaded.Problems; the error is of the host itself. It
// must not be called once lane 1 runs steps.
func (h *Host) Load(paths ...string) (Loaded, error) {
	var out Loaded
	err := h.ask(h.load, map[string]any{"paths": paths}, &out)
	if err != nil {
		return out, fmt.Errorf("import handlers: %w", err)
	}
	return out, nil
}

// run runs f on a lane and returns its error, or that the lane has ended.
func run(l *gil.Lane, f func() error) (err error) {
	if ended := l.Run(func() { err = f() }); ended != nil {
		return ended
	}
	return err
}

// ask calls a function of the host's Python half with JSON, on lane 1.
func (h *Host) ask(fn embed.Func, request, answer any) error {
	in, err := json.Marshal(request)
	if err != nil {
		return err
	}
	var out []byte
	label := "load handlers"
	err = run(h.first, func() (err error) {
		out, err = h.first.Call(fn, in, &label)
		return err
	})
	if err != nil {
		return err
	}
	return json.Unmarshal(out, answer)
}

// Check tells which steps of the templates have no handler: one finding each,
// with the nearest registered name as remedy. It must not be called once lane
// 1 runs steps.
func (h *Host) Check(loaded Loaded, templates []*template.Template) ([]template.Finding, error) {
	type spec struct {
		Callable       string          `json:"callable"`
		Method         *string         `json:"method"`
		Resolver       *string         `json:"resolver"`
		Initialization json.RawMessage `json:"initialization,omitempty"`
	}
	specs := []spec{} // not null in JSON when no template has steps
	var steps []*template.Step
	for _, t := range templates {
		for i := range t.Steps {
			s := &t.Steps[i]
			specs = append(specs, spec{s.Handler.Callable, s.Handler.Method, s.Handler.Resolver, s.Handler.Initialization})
			steps = append(steps, s)
		}
	}
	var missing []*string
	if err := h.ask(h.resolve, specs, &missing); err != nil {
		return nil, fmt.Errorf("match handlers with templates: %w", err)
	}
	var findings []template.Finding
	for i, why := range missing {
		if why == nil {
			continue
		}
		findings = append(findings, template.Finding{
			Code: "HANDLER_NOT_FOUND", Severity: template.SeverityError, Step: steps[i].Name, Pos: steps[i].Pos,
			Message: fmt.Sprintf("step %q: handler %q not found: %s%s", steps[i].Name, specs[i].Callable, *why, loaded.suggestion(specs[i].Callable)),
		})
	}
	return findings, nil
}

// Nearest finds the handler that was most likely meant by a callable that
// nothing is registered under.
func (l Loaded) Nearest(callable string) (string, bool) {
	names := make([]string, len(l.Handlers))
	for i, handler := range l.Handlers {
		names[i] = handler.Name
	}
	return template.Nearest(callable, names)
}

func (l Loaded) suggestion(callable string) string {
	if near, ok := l.Nearest(callable); ok {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}

// NewExecutor makes the n-th lane, counted from 1, for a dispatcher. Lane 1 is
// the one that imported the modules.
func (h *Host) NewExecutor(n int) (*Executor, error) {
	if n == 1 {
		return &Executor{h, h.first}, nil
	}
	l, err := h.runtime.NewLane(fmt.Sprintf("lane-%d", n))
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	h.lanes = append(h.lanes, l)
	h.mu.Unlock()
	return &Executor{h, l}, nil
}

// Close ends the lanes, which must be unoccupied.
func (h *Host) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.lanes {
		l.Close()
	}
	h.lanes = nil
}

// end ends one lane, unless Close did.
func (h *Host) end(l *gil.Lane) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if i := slices.Index(h.lanes, l); i >= 0 {
		h.lanes = slices.Delete(h.lanes, i, i+1)
		l.Close()
	}
}

// Executor is a lane that runs steps; see dispatch.Executor.
type Executor struct {
	host *Host
	lane *gil.Lane
}

// Interrupt raises StepTimeout in the handler that the lane is in.
func (e *Executor) Interrupt(ctx context.Context) error {
	return e.lane.Interrupt(ctx, e.host.timeout)
}

// Occupy runs loop on the lane, which ends with it; call runs one event
// through its handler.
func (e *Executor) Occupy(loop func(call func(event []byte, label *string) ([]byte, error))) {
	// A lane that was given up would keep its thread for nothing.
	defer e.host.end(e.lane)
	_ = e.lane.Run(func() {
		loop(func(event []byte, label *string) ([]byte, error) { return e.lane.Call(e.host.runStep, event, label) })
	})
}

// Infer makes a template for each module whose decorated functions declare
// what they depend on, so that a single file runs alone: the template's name
// is the file's, its namespace "default", its steps the handlers.
func Infer(loaded Loaded) []*template.Template {
	byModule := map[string][]Handler{}
	var order []string
	for _, h := range loaded.Handlers {
		if h.Kind == "class" {
			continue
		}
		if byModule[h.Module] == nil {
			order = append(order, h.Module)
		}
		byModule[h.Module] = append(byModule[h.Module], h)
	}
	var out []*template.Template
	for _, module := range order {
		out = append(out, infer(byModule[module]))
	}
	return out
}

// stepTypes translates the functional decorators.
var stepTypes = map[string]template.StepType{
	"decision_handler": template.Decision,
	"batch_analyzer":   template.Batchable,
	"batch_worker":     template.BatchWorker,
}

func infer(hs []Handler) *template.Template {
	t := &template.Template{
		Name:        strings.TrimSuffix(filepath.Base(hs[0].File), ".py"),
		Namespace:   "default",
		Version:     "1.0.0",
		Description: "Inferred from the decorators in " + filepath.Base(hs[0].File),
	}
	for _, h := range hs {
		kind, ok := stepTypes[h.Kind]
		if !ok {
			kind = template.Standard
		}
		summary, _, _ := strings.Cut(h.Doc, "\n")
		t.Steps = append(t.Steps, template.Step{
			Name: h.Name, Description: summary, Type: kind,
			Handler: template.Handler{Callable: h.Name}, Dependencies: h.DependsOn,
			Retry: template.DefaultRetry(),
			Pos:   template.Position{File: h.File, Line: h.Line},
		})
	}
	return t
}
