package handlers_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/embed/embedtest"
	"github.com/tasker-systems/taskerpy/handlers"
	"github.com/tasker-systems/taskerpy/template"
)

func TestMain(m *testing.M) { embedtest.Main(m) }

// host starts a Host; its handlers stay registered, so tests use names of their own.
func host(t *testing.T) *handlers.Host {
	t.Helper()
	h, err := handlers.New(t.Context(), embedtest.Runtime(), "worker-1")
	require.NoError(t, err)
	t.Cleanup(h.Close)
	return h
}

// project writes files into a folder whose name is a fresh identifier.
func project(t *testing.T, name string, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	for file, text := range files {
		path := filepath.Join(dir, file)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	return dir
}

func names(loaded handlers.Loaded) []string {
	var out []string
	for _, h := range loaded.Handlers {
		out = append(out, h.Name)
	}
	return out
}

func class(name string) string {
	return "from tasker_core import StepHandler\n\nclass " + name + "(StepHandler):\n    handler_name = '" + name +
		"'\n\n    def call(self, context):\n        return self.success({})\n"
}

func TestLoadAFile(t *testing.T) {
	dir := project(t, "p_file", map[string]string{"one.py": class("FileOne"), "two.py": class("FileTwo")})
	loaded, err := host(t).Load(filepath.Join(dir, "one.py"))
	require.NoError(t, err)
	require.Empty(t, loaded.Problems)
	require.Equal(t, []string{"FileOne"}, names(loaded))
	require.Equal(t, filepath.Join(dir, "one.py"), loaded.Handlers[0].File)
	require.Equal(t, 3, loaded.Handlers[0].Line)
	require.Equal(t, "class", loaded.Handlers[0].Kind)
}

func TestLoadADirectory(t *testing.T) {
	dir := project(t, "p_directory", map[string]string{
		"top.py":               class("DirTop"),
		"shop/__init__.py":     "",
		"shop/orders.py":       "from . import prices\n" + class("DirOrders"),
		"shop/prices.py":       class("DirPrices"),
		"test_top.py":          "raise RuntimeError('tests are not handlers')",
		"conftest.py":          "raise RuntimeError('neither is this')",
		"_private.py":          "raise RuntimeError('nor this')",
		"notes/not_package.py": "raise RuntimeError('nor what is in no package')",
	})
	loaded, err := host(t).Load(dir)
	require.NoError(t, err)
	require.Empty(t, loaded.Problems)
	require.ElementsMatch(t, []string{"DirTop", "DirOrders", "DirPrices"}, names(loaded))
}

func TestLoadADottedName(t *testing.T) {
	dir := project(t, "p_dotted", map[string]string{"dotted_shop/__init__.py": "", "dotted_shop/orders.py": class("Dotted")})
	t.Chdir(dir)
	loaded, err := host(t).Load("dotted_shop.orders")
	require.NoError(t, err)
	require.Empty(t, loaded.Problems)
	require.Equal(t, []string{"Dotted"}, names(loaded))
}

func TestTwoFilesOfTheSameNameAreTwoModules(t *testing.T) {
	one := project(t, "p_same_one", map[string]string{"same_handlers.py": class("SameOne")})
	two := project(t, "p_same_two", map[string]string{"same_handlers.py": class("SameTwo")})
	loaded, err := host(t).Load(filepath.Join(one, "same_handlers.py"), filepath.Join(two, "same_handlers.py"))
	require.NoError(t, err)
	require.Equal(t, []string{"SameOne", "SameTwo"}, names(loaded))
}

func TestAFileNamedAsAStandardModuleLoads(t *testing.T) {
	dir := project(t, "p_standard", map[string]string{"json.py": class("NamedAsJSON")})
	loaded, err := host(t).Load(filepath.Join(dir, "json.py"))
	require.NoError(t, err)
	require.Empty(t, loaded.Problems)
	require.Equal(t, []string{"NamedAsJSON"}, names(loaded))
}

func TestImportedHandlersAreNotCountedTwice(t *testing.T) {
	dir := project(t, "p_twice", map[string]string{
		"base.py": class("TwiceBase"),
		"more.py": "from p_twice.base import TwiceBase\n",
	})
	loaded, err := host(t).Load(dir)
	require.NoError(t, err)
	require.Equal(t, []string{"TwiceBase"}, names(loaded))
}

func TestWhatCannotBeImportedIsAProblemWithItsPlace(t *testing.T) {
	for name, c := range map[string]struct {
		source, message, missing string
		line                     int
	}{
		"syntax error":  {"x = 1\ndef broken(:\n", "SyntaxError: invalid syntax", "", 2},
		"import error":  {"\nfrom tasker_core import NoSuchThing\n", "ImportError: cannot import name 'NoSuchThing' from 'tasker_core'", "", 2},
		"no package":    {"import no_such_package.part\n", "ModuleNotFoundError: No module named 'no_such_package'", "no_such_package", 1},
		"error":         {"x = 1\n\nraise ValueError('bad start')\n", "ValueError: bad start", "", 3},
		"exit":          {"import sys\nsys.exit(3)\n", "SystemExit: 3", "", 2},
		"error in call": {"def f():\n    return {}['key']\n\nf()\n", "KeyError: 'key'", "", 2},
	} {
		t.Run(name, func(t *testing.T) {
			dir := project(t, "p_problem", map[string]string{"problem_handlers.py": c.source})
			file := filepath.Join(dir, "problem_handlers.py")
			loaded, err := host(t).Load(file)
			require.NoError(t, err)
			require.Empty(t, loaded.Handlers)
			require.Len(t, loaded.Problems, 1)
			p := loaded.Problems[0]
			require.Equal(t, file, p.File)
			require.Equal(t, c.line, p.Line)
			require.Contains(t, p.Message, c.message)
			require.Equal(t, c.missing, p.Missing)
		})
	}
}

func TestAMissingFileIsAProblem(t *testing.T) {
	loaded, err := host(t).Load("no/such/file.py")
	require.NoError(t, err)
	require.Len(t, loaded.Problems, 1)
	require.Contains(t, loaded.Problems[0].Message, "no/such/file.py")
}

// check loads source and tells the messages about one step's handler.
// check loads source as a module named after the test and matches one step.
func check(t *testing.T, source string, handler template.Handler) []template.Finding {
	t.Helper()
	h := host(t)
	dir := project(t, "p_check", map[string]string{t.Name() + ".py": source})
	loaded, err := h.Load(filepath.Join(dir, t.Name()+".py"))
	require.NoError(t, err)
	require.Empty(t, loaded.Problems)
	tpl := &template.Template{Name: "t", Namespace: "n", Version: "1.0.0", Steps: []template.Step{{
		Name: "first", Handler: handler, Pos: template.Position{File: "t.yaml", Line: 7, Column: 5},
	}}}
	findings, err := h.Check(loaded, []*template.Template{tpl})
	require.NoError(t, err)
	return findings
}

func TestACallableIsFoundByItsRegisteredName(t *testing.T) {
	require.Empty(t, check(t, class("ByName"), template.Handler{Callable: "ByName"}))
}

func TestACallableIsFoundByModuleAndClass(t *testing.T) {
	require.Empty(t, check(t, "from tasker_core import StepHandler\n\nclass ByClass(StepHandler):\n    def call(self, context):\n        return self.success({})\n",
		template.Handler{Callable: t.Name() + ".ByClass"}))
}

func TestACallableIsFoundWithItsMethod(t *testing.T) {
	require.Empty(t, check(t, class("ByMethod")+"\n    def refund(self, context):\n        return self.success({})\n",
		template.Handler{Callable: "ByMethod", Method: new("refund")}))
}

func TestAMissingHandlerIsNamedWithPlaceAndNearestName(t *testing.T) {
	findings := check(t, class("ChargeCard"), template.Handler{Callable: "ChargeCart"})
	require.Len(t, findings, 1)
	require.Equal(t, template.SeverityError, findings[0].Severity)
	require.Equal(t, "first", findings[0].Step)
	require.Contains(t, findings[0].Message, `handler "ChargeCart" not found`)
	require.Contains(t, findings[0].Message, `did you mean "ChargeCard"?`)
	require.Equal(t, 7, findings[0].Pos.Line)
}

func TestAClassThatCannotBeMadeIsToldWithItsReason(t *testing.T) {
	findings := check(t, "from tasker_core import StepHandler\n\nclass NeedsMore(StepHandler):\n    handler_name = 'needs_more'\n"+
		"    def __init__(self, more):\n        self.more = more\n    def call(self, context):\n        return self.success({})\n",
		template.Handler{Callable: "needs_more"})
	require.Len(t, findings, 1)
	require.Contains(t, findings[0].Message, "class NeedsMore cannot be made: TypeError")
}

func TestATemplateIsInferredFromDecorators(t *testing.T) {
	dir := project(t, "p_infer", map[string]string{"pipeline.py": `
from tasker_core.step_handler import depends_on, inputs, step_handler

@step_handler("infer_extract")
@inputs("source")
def extract(source, context):
    """Reads the source."""
    return {"rows": [source]}

@step_handler("infer_load")
@depends_on(rows="infer_extract")
def load(rows, context):
    return {"count": len(rows["rows"])}
`})
	loaded, err := host(t).Load(filepath.Join(dir, "pipeline.py"))
	require.NoError(t, err)
	require.Empty(t, loaded.Problems)
	ts := handlers.Infer(loaded)
	require.Len(t, ts, 1)
	require.Equal(t, "default/pipeline@1.0.0", ts[0].Key())
	require.Equal(t, "infer_extract", ts[0].Steps[0].Name)
	require.Equal(t, "Reads the source.", ts[0].Steps[0].Description)
	require.Equal(t, []string{"infer_extract"}, ts[0].Steps[1].Dependencies)
	require.False(t, template.HasErrors(ts[0].Validate()))
}

func TestNoTemplateIsInferredFromClasses(t *testing.T) {
	dir := project(t, "p_classes", map[string]string{"classes.py": class("NotInferred")})
	loaded, err := host(t).Load(dir)
	require.NoError(t, err)
	require.Empty(t, handlers.Infer(loaded))
}

func TestExecutorsRunSteps(t *testing.T) {
	h := host(t)
	dir := project(t, "p_run", map[string]string{"run_handlers.py": class("RunMe")})
	_, err := h.Load(dir)
	require.NoError(t, err)
	for n := 1; n <= 2; n++ {
		e, err := h.NewExecutor(n)
		require.NoError(t, err)
		var answer []byte
		e.Occupy(func(call func([]byte, *string) ([]byte, error)) {
			label := "RunMe"
			answer, err = call(embedtest.Event("RunMe", embedtest.Input{}), &label)
		})
		require.NoError(t, err)
		require.Equal(t, byte('S'), answer[0])
		require.Contains(t, string(answer), `"worker_id":"worker-1"`)
	}
}

func BenchmarkStep(b *testing.B) {
	h, err := handlers.New(b.Context(), embedtest.Runtime(), "bench")
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	dir := filepath.Join(b.TempDir(), "p_bench")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bench_handlers.py"), []byte(class("Bench")), 0o600); err != nil {
		b.Fatal(err)
	}
	if _, err := h.Load(dir); err != nil {
		b.Fatal(err)
	}
	e, err := h.NewExecutor(1)
	if err != nil {
		b.Fatal(err)
	}
	event := embedtest.Event("Bench", embedtest.Input{
		Context:      map[string]any{"even_number": 6},
		Dependencies: map[string]any{"linear_step_1": map[string]any{"result": 36}},
	})
	label := "Bench"
	b.ReportAllocs()
	e.Occupy(func(call func([]byte, *string) ([]byte, error)) {
		for b.Loop() {
			if answer, err := call(event, &label); err != nil || answer[0] != 'S' {
				b.Fatalf("%s %v", answer, err)
			}
		}
	})
}

func TestBaseClassesWithoutANameAreNoHandlers(t *testing.T) {
	dir := project(t, "p_bases", map[string]string{
		"bases.py": "from abc import abstractmethod\nfrom tasker_core import StepHandler\n\n" +
			"class Base(StepHandler):\n    def call(self, context):\n        return self.success(self.values())\n\n" +
			"class Unfinished(StepHandler):\n    @abstractmethod\n    def values(self): ...\n\n" +
			"class ByPath(StepHandler):\n    def call(self, context):\n        return self.success({})\n",
		"one.py": "from p_bases.bases import Base, ByPath\n\nclass One(Base):\n    handler_name = 'BasesOne'\n" +
			"    def values(self):\n        return {}\n",
	})
	loaded, err := host(t).Load(dir)
	require.NoError(t, err)
	require.Empty(t, loaded.Problems)
	require.Equal(t, []string{"p_bases.bases.ByPath", "BasesOne"}, names(loaded))
}
