package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tasker-systems/taskerpy/embed"
	"github.com/tasker-systems/taskerpy/gil"
	"github.com/tasker-systems/taskerpy/handlers"
	"github.com/tasker-systems/taskerpy/template"
)

// python is a started interpreter with the user's modules imported.
type python struct {
	runtime *gil.Runtime
	host    *handlers.Host
	report  Report
	// subscribers says that there are some, even if no template declares events.
	subscribers bool
}

// stop ends the interpreter; the dispatcher must be drained before.
func (p *python) stop(ctx context.Context) error {
	if p.host != nil {
		p.host.Close()
	}
	return p.runtime.Stop(ctx)
}

// abandon is stop for a Python that has run nothing but imports.
func (p *python) abandon(ctx context.Context, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, abandonTimeout)
	defer cancel()
	if err := p.stop(ctx); err != nil {
		log.Warn("modules of the handlers keep Python from ending", "error", err)
	}
}

// prepare starts Python and finds out what there is to run.
func prepare(ctx context.Context, c Config, n *natives) (*python, error) {
	found, err := embed.FindPython(ctx, c.Python, VirtualenvFolders(c.Paths))
	if err != nil {
		return nil, err
	}
	for _, w := range found.Warnings {
		c.Log.Warn(w)
	}
	r, err := gil.Start(ctx, gil.Config{
		Python: found, Native: n.native, LogLevel: c.LogLevel, SwitchInterval: c.SwitchInterval,
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
	if missing := missingPaths(c.Paths); len(missing) > 0 {
		p.report.Findings = append(p.report.Findings, missing...)
		return nil
	}
	loaded, err := p.host.Load(c.Paths...)
	if err != nil {
		return err
	}
	p.report.Handlers = loaded.Handlers
	p.subscribers = loaded.Subscribers
	for _, problem := range loaded.Problems {
		p.report.Findings = append(p.report.Findings, importFinding(problem, p.report.Python.Executable))
	}
	if len(loaded.Handlers) == 0 && !template.HasErrors(p.report.Findings) {
		p.report.Findings = append(p.report.Findings, noHandlers(c.Paths, loaded))
		return nil
	}

	places, explicit := templatePlaces(c, loaded)
	ts, findings := template.Load(places...)
	p.report.Findings = append(p.report.Findings, findings...)
	if len(ts) == 0 && !explicit && !template.HasErrors(findings) {
		ts, findings = inferred(loaded)
		p.report.Findings = append(p.report.Findings, findings...)
	}
	if len(ts) == 0 && !template.HasErrors(p.report.Findings) {
		p.report.Findings = append(p.report.Findings, template.Finding{
			Code: "NO_TEMPLATES", Severity: template.SeverityError,
			Message: "no task templates for the handlers in " + strings.Join(c.Paths, ", "),
			Remedy:  fmt.Sprintf("looked into %s for *.yaml and *.yml; name others with --templates, or write handlers with @step_handler and @depends_on", orNone(places)),
		})
		return nil
	}
	if c.Overrides != "" {
		for i, t := range ts {
			ts[i] = t.ForEnvironment(c.Overrides)
		}
	}
	return p.match(loaded, ts, explicit)
}

// inferred makes templates from the handlers' decorators and tells what is
// wrong with them. Files of one name in two folders give templates of one key,
// of which one would replace the other.
func inferred(loaded handlers.Loaded) ([]*template.Template, []template.Finding) {
	ts := handlers.Infer(loaded)
	var findings []template.Finding
	first := map[string]*template.Template{}
	for _, t := range ts {
		findings = append(findings, t.Validate()...)
		earlier := first[t.Key()]
		if earlier == nil {
			first[t.Key()] = t
			continue
		}
		findings = append(findings, template.Finding{
			Code: template.CodeDuplicateTemplate, Severity: template.SeverityError, Pos: t.Steps[0].Pos,
			Message: fmt.Sprintf("template %s is already inferred from %s", t.Key(), earlier.Steps[0].Pos.File),
			Remedy:  "rename one of the files, or write a template for each of them",
		})
	}
	return ts, findings
}

// match finds the handler of every step. A template that merely lies beside
// the handlers and has none of its own among them belongs to others; but if
// that left nothing to run, all would be meant.
func (p *python) match(loaded handlers.Loaded, ts []*template.Template, explicit bool) error {
	missing := make([][]template.Finding, len(ts))
	foreign := make([]bool, len(ts))
	nothing := true
	for i, t := range ts {
		var err error
		if missing[i], err = p.host.Check(loaded, []*template.Template{t}); err != nil {
			return err
		}
		foreign[i] = !explicit && len(t.Steps) > 0 && len(missing[i]) == len(t.Steps) && !meant(loaded, t)
		nothing = nothing && (foreign[i] || len(t.Steps) == 0)
	}
	for i, t := range ts {
		if foreign[i] && !nothing {
			p.report.LeftOut = append(p.report.LeftOut, t)
			p.report.Findings = append(p.report.Findings, template.Finding{
				Code: "NOT_OURS", Severity: template.SeverityInfo, Pos: template.Position{File: t.Path},
				Message: fmt.Sprintf("template %s is left out: none of its handlers is in %s", t.Key(), strings.Join(loaded.Modules, ", ")),
			})
			continue
		}
		p.report.Findings = append(p.report.Findings, missing[i]...)
		p.report.Templates = append(p.report.Templates, t)
	}
	return nil
}

// meant tells whether a template seems to mean a handler that is here: it is
// misspelt, or cannot be used.
func meant(loaded handlers.Loaded, t *template.Template) bool {
	return slices.ContainsFunc(t.Steps, func(s template.Step) bool {
		_, near := loaded.Nearest(s.Handler.Callable)
		return near || slices.ContainsFunc(loaded.Handlers, func(h handlers.Handler) bool { return h.Name == s.Handler.Callable })
	})
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

// missingPaths finds what is written as a path and is not there.
func missingPaths(paths []string) []template.Finding {
	var out []template.Finding
	for _, path := range paths {
		if !strings.HasSuffix(path, ".py") && !strings.ContainsRune(path, filepath.Separator) {
			continue // may be a dotted name
		}
		if _, err := os.Stat(path); err != nil {
			out = append(out, template.Finding{
				Code: "UNREADABLE", Severity: template.SeverityError, Pos: template.Position{File: path},
				Message: fmt.Sprintf("handlers cannot be read: %v", errors.Unwrap(err)),
			})
		}
	}
	return out
}

// noHandlers says what was looked for, and where.
func noHandlers(paths []string, loaded handlers.Loaded) template.Finding {
	where := "in the modules " + strings.Join(loaded.Modules, ", ")
	if !slices.ContainsFunc(paths, holdsPython) {
		where = "but there is no Python file (hidden files, test_*, *_test, _*, conftest and setup are passed over)"
	}
	return template.Finding{
		Code: "NO_HANDLERS", Severity: template.SeverityError,
		Message: "no handlers in " + strings.Join(paths, ", "),
		Remedy:  "looked for classes derived from tasker_core.StepHandler and for functions decorated with @step_handler and its kin, " + where,
	}
}

// holdsPython tells whether a path given for handlers has a module at all.
func holdsPython(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return true
	}
	found := false
	err = filepath.WalkDir(path, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return fs.SkipDir
		}
		name := d.Name()
		if !d.IsDir() && filepath.Ext(name) == ".py" && !strings.HasPrefix(name, ".") && name != "conftest.py" && name != "setup.py" &&
			!strings.HasPrefix(name, "_") && !strings.HasPrefix(name, "test_") && !strings.HasSuffix(name, "_test.py") {
			found = true
			return fs.SkipAll
		}
		return nil
	})
	return found || err != nil
}

func importFinding(problem handlers.Problem, executable string) template.Finding {
	f := template.Finding{
		Code: "IMPORT", Severity: template.SeverityError, Message: problem.Message,
		Pos: template.Position{File: problem.File, Line: problem.Line},
	}
	switch {
	case problem.Warning:
		f.Code, f.Severity = template.CodeUnreadable, template.SeverityWarning
	case problem.Missing == "":
	case problem.Missing == problem.Path || strings.HasPrefix(problem.Path, problem.Missing+"."):
		f.Message = "neither a file nor a folder here, nor a module that can be imported"
	default:
		f.Remedy = missingModule(problem, executable)
	}
	return f
}

// missingModule says what to do about a module that an import did not find:
// nothing about one whose package was found, for that is the user's own or
// installed already.
func missingModule(problem handlers.Problem, executable string) string {
	if strings.Contains(problem.Missing, ".") {
		return ""
	}
	for dir := filepath.Dir(problem.File); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if filepath.Base(dir) == problem.Missing {
			return fmt.Sprintf("if the folder %s is meant, name it and not a file in it", dir)
		}
	}
	return fmt.Sprintf("if it is a package, install it: %s -m pip install %s", executable, problem.Missing)
}

// VirtualenvFolders are where the virtualenv of the handlers at paths may lie:
// beside them, then here.
func VirtualenvFolders(paths []string) []string {
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
