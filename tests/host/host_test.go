// Package host_test shows, from inside handlers, that the embedded Python is a
// whole Python: processes, threads, event loops, compiled packages, output.
package host_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/embed/embedtest"
	"github.com/tasker-systems/taskerpy/tests/built"
)

func TestMain(m *testing.M) { embedtest.Main(m) }

// inHandler runs body, the statements of a handler's call(), and returns what
// it returns. Module-level code goes before a line "---".
func inHandler(t *testing.T, code string, in ...embedtest.Input) map[string]any {
	t.Helper()
	r := runHandler(t, code, in...)
	require.True(t, r.Success, "%s", r.Raw)
	return r.Value
}

func runHandler(t *testing.T, code string, in ...embedtest.Input) embedtest.Result {
	t.Helper()
	top, body, split := strings.Cut(code, "---\n")
	if !split {
		top, body = "", code
	}
	source := "from tasker_core import StepHandler\n" + top +
		"\n\nclass Subject(StepHandler):\n    handler_name = 'subject'\n\n    def call(self, context):\n        " +
		strings.ReplaceAll(strings.TrimSpace(body), "\n", "\n        ") + "\n"
	handlers := embedtest.Load(t, source)
	var input embedtest.Input
	if len(in) > 0 {
		input = in[0]
	}
	return handlers.Run(t, "subject", input)
}

// virtualenv is the one the interpreter runs in.
func virtualenv(t *testing.T) string {
	t.Helper()
	abs, err := filepath.Abs(built.Virtualenv())
	require.NoError(t, err)
	return abs
}

func TestSysExecutableIsTheVirtualenvsPython(t *testing.T) {
	got := inHandler(t, `
import sys
---
return {"executable": sys.executable, "prefix": sys.prefix}
`)
	require.Equal(t, virtualenv(t), got["prefix"])
	require.Equal(t, filepath.Join(virtualenv(t), "bin"), filepath.Dir(got["executable"].(string)))
}

func TestSubprocessRunsTheSamePython(t *testing.T) {
	got := inHandler(t, `
import subprocess, sys
---
done = subprocess.run([sys.executable, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True)
return {"prefix": done.stdout.strip()}
`)
	require.Equal(t, virtualenv(t), got["prefix"])
}

func TestMultiprocessing(t *testing.T) {
	for _, method := range []string{"fork", "spawn", "forkserver"} {
		t.Run(method, func(t *testing.T) {
			got := inHandler(t, `
import multiprocessing

def square(n):
    return n * n
---
with multiprocessing.get_context("`+method+`").Pool(2) as pool:
    return {"squares": pool.map(square, [1, 2, 3])}
`)
			require.EqualValues(t, "[1 4 9]", fmt.Sprint(got["squares"]))
		})
	}
}

func TestProcessPoolExecutor(t *testing.T) {
	got := inHandler(t, `
from concurrent.futures import ProcessPoolExecutor

def square(n):
    return n * n
---
with ProcessPoolExecutor(2) as pool:
    return {"squares": list(pool.map(square, [1, 2, 3]))}
`)
	require.EqualValues(t, "[1 4 9]", fmt.Sprint(got["squares"]))
}

func TestAForkedChildThatCallsIntoTheHostGetsAnException(t *testing.T) {
	got := inHandler(t, `
import os
import _taskerpy
---
child = os.fork()
if child == 0:
    try:
        _taskerpy.call("emit", b"{}")
    except RuntimeError:
        os._exit(7)
    os._exit(1)
return {"exit": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}
`)
	require.EqualValues(t, "7", got["exit"])
}

func TestAForkedChildCanPrintAndLog(t *testing.T) {
	got := inHandler(t, `
import logging, os, sys
---
child = os.fork()
if child == 0:
    try:
        sys.stdout = sys.stderr = open(os.devnull, "w")
        print("from the child")
        logging.getLogger("child").warning("from the child")
        os._exit(0)
    finally:
        os._exit(1)
return {"exit": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}
`)
	require.EqualValues(t, "0", got["exit"])
}

func TestAForkedChildCanWriteToAStreamThatAThreadWasWritingTo(t *testing.T) {
	got := inHandler(t, `
import os, sys, threading
kept = sys.stdout
---
leave = threading.Event()

def talk():
    while not leave.is_set():
        kept.write("talking")
        kept.write("\n")

talking = threading.Thread(target=talk)
talking.start()
exits = []
for _ in range(20):
    child = os.fork()
    if child == 0:
        try:
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, 2)
            print("from the child", file=kept, flush=True)
            os._exit(0)
        finally:
            os._exit(1)
    exits.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
leave.set()
talking.join()
return {"failed": sum(exits)}
`)
	require.EqualValues(t, "0", got["failed"])
	for _, l := range embedtest.Output() {
		require.Equal(t, "talking", l.Text)
	}
}

func TestCoroutinesOfALaneShareALoop(t *testing.T) {
	handlers := embedtest.Load(t, `
import asyncio
from tasker_core.step_handler import step_handler

@step_handler("which_loop")
async def which_loop():
    return {"loop": id(asyncio.get_running_loop())}
`)
	first := handlers.Run(t, "which_loop", embedtest.Input{})
	require.Equal(t, first.Value, handlers.Run(t, "which_loop", embedtest.Input{}).Value)
}

func TestContextVariablesEndWithTheirStep(t *testing.T) {
	handlers := embedtest.Load(t, `
from contextvars import ContextVar
from tasker_core.step_handler import step_handler

seen = ContextVar("seen", default=0)

@step_handler("count_seen")
def count_seen():
    seen.set(seen.get() + 1)
    return {"n": seen.get()}
`)
	handlers.Run(t, "count_seen", embedtest.Input{})
	require.EqualValues(t, "1", handlers.Run(t, "count_seen", embedtest.Input{}).Value["n"])
}

func TestNumpy(t *testing.T) {
	got := inHandler(t, `
import numpy
---
return {"sum": int((numpy.arange(10) ** 2).sum()), "inverse": numpy.linalg.inv(numpy.eye(2) * 2).tolist()}
`)
	require.EqualValues(t, "285", got["sum"])
	require.Equal(t, "[[0.5 0.0] [0.0 0.5]]", fmt.Sprint(got["inverse"]))
}

func TestPydantic(t *testing.T) {
	got := inHandler(t, `
from pydantic import BaseModel, ValidationError

class Order(BaseModel):
    total: int
---
try:
    Order.model_validate({"total": "many"})
except ValidationError as error:
    return {"errors": error.error_count(), "total": Order.model_validate({"total": "3"}).total}
`)
	require.EqualValues(t, "1", got["errors"])
	require.EqualValues(t, "3", got["total"])
}

func TestHttpx(t *testing.T) {
	got := inHandler(t, `
import http.server, threading
import httpx

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *args):
        pass
---
server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
thread = threading.Thread(target=server.serve_forever)
thread.start()
try:
    return {"text": httpx.get(f"http://127.0.0.1:{server.server_port}/", trust_env=False).text}
finally:
    server.shutdown()
    thread.join()
    server.server_close()
`)
	require.Equal(t, "hello", got["text"])
}

func TestAsyncioRun(t *testing.T) {
	got := inHandler(t, `
import asyncio

async def three():
    return sum(await asyncio.gather(*(asyncio.sleep(0, n) for n in range(3))))
---
return {"three": asyncio.run(three())}
`)
	require.EqualValues(t, "3", got["three"])
}

func TestAHandlerMayBeACoroutine(t *testing.T) {
	handlers := embedtest.Load(t, `
import asyncio
from tasker_core.step_handler import step_handler

@step_handler("later")
async def later(context):
    await asyncio.sleep(0)
    return {"done": True}
`)
	r := handlers.Run(t, "later", embedtest.Input{})
	require.True(t, r.Success, "%s", r.Raw)
	require.Equal(t, true, r.Value["done"])
}

func TestThreadsOfAHandler(t *testing.T) {
	got := inHandler(t, `
from concurrent.futures import ThreadPoolExecutor
---
with ThreadPoolExecutor(4) as pool:
    return {"sum": sum(pool.map(lambda n: n + 1, range(100)))}
`)
	require.EqualValues(t, "5050", got["sum"])
}

func TestAThreadThatWritesToAClosedConnectionGetsAnException(t *testing.T) {
	got := inHandler(t, `
import socket
from concurrent.futures import ThreadPoolExecutor

def write():
    ours, theirs = socket.socketpair()
    theirs.close()
    try:
        ours.send(b"x")
    except BrokenPipeError:
        return True
---
with ThreadPoolExecutor(1) as pool:
    return {"raised": pool.submit(write).result()}
`)
	require.Equal(t, true, got["raised"])
}

func TestALaneKeepsThreadLocals(t *testing.T) {
	handlers := embedtest.Load(t, `
import threading
from tasker_core import StepHandler

kept = threading.local()

class Count(StepHandler):
    handler_name = "count"

    def call(self, context):
        kept.n = getattr(kept, "n", 0) + 1
        return self.success({"n": kept.n})
`)
	handlers.Run(t, "count", embedtest.Input{})
	require.EqualValues(t, "2", handlers.Run(t, "count", embedtest.Input{}).Value["n"])
}

func TestIntegersAreExactAtAnySize(t *testing.T) {
	got := inHandler(t, `return {"power": context.input_data["n"] ** 8}`,
		embedtest.Input{Context: map[string]any{"n": 1234567}})
	require.EqualValues(t, "5396563761318393964062660689603780554533710504641", got["power"])
}

func TestResultsKeepTheOrderOfTheirKeys(t *testing.T) {
	r := runHandler(t, `return self.success({"z": 1, "a": {"y": 2, "b": 3}})`)
	require.Contains(t, string(r.Raw), `{"z":1,"a":{"y":2,"b":3}}`)
}

func TestATracebackShowsTheHandlersOwnLines(t *testing.T) {
	r := runHandler(t, `
def divide(a, b):
    return a / b
---
return {"ratio": divide(1, 0)}
`)
	require.False(t, r.Success)
	require.Equal(t, "ZeroDivisionError", r.Error.Type)
	trace := strings.Join(r.Error.Backtrace, "\n")
	require.Contains(t, trace, "return a / b")
	require.Contains(t, trace, `line 4, in divide`)
}

func TestATracebackShowsLinesOfTaskerCore(t *testing.T) {
	r := runHandler(t, `
from tasker_core.registry import HandlerDefinition
---
HandlerDefinition.from_dict(5)
`)
	require.Contains(t, strings.Join(r.Error.Backtrace, "\n"), "tasker_core/registry/handler_definition.py")
}

func TestSysExitFailsTheStepAndNotTheProcess(t *testing.T) {
	r := runHandler(t, `
import sys
---
sys.exit("enough")
`)
	require.False(t, r.Success)
	require.Equal(t, "SystemExit", r.Error.Type)
}

func TestTheEmbeddedTaskerCoreWinsOverAnInstalledOne(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "tasker_core"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tasker_core", "__init__.py"), nil, 0o600))
	got := inHandler(t, `
import importlib.util, sys
---
sys.path.insert(0, context.input_data["dir"])
try:
    return {"origin": importlib.util.find_spec("tasker_core").origin}
finally:
    sys.path.remove(context.input_data["dir"])
`, embedtest.Input{Context: map[string]any{"dir": dir}})
	require.NotContains(t, got["origin"], dir)
}

func TestTheNativeModuleIsAnOrdinaryModule(t *testing.T) {
	got := inHandler(t, `
import types
from unittest import mock
from tasker_core import _tasker_core
---
with mock.patch.object(_tasker_core, "get_version", lambda: "patched"):
    return {"module": type(_tasker_core) is types.ModuleType, "version": _tasker_core.get_version()}
`)
	require.Equal(t, map[string]any{"module": true, "version": "patched"}, got)
}

func TestPrintedLinesAreWholeWhenThreadsPrintTogether(t *testing.T) {
	embedtest.Output()
	inHandler(t, `
import threading
---
def talk(n):
    for _ in range(200):
        print("thread", n, "says", "hello" * 10)

threads = [threading.Thread(target=talk, args=(n,)) for n in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
return {}
`)
	lines := embedtest.Output()
	require.Len(t, lines, 800)
	for _, l := range lines {
		require.Regexp(t, `^thread \d says (hello){10}$`, l.Text)
	}
}

func TestAnUnfinishedLineIsPassedOnWhenTheStepEnds(t *testing.T) {
	embedtest.Output()
	inHandler(t, `
print("half a line", end="")
return {}
`)
	lines := embedtest.Output()
	require.Len(t, lines, 1)
	require.Equal(t, "half a line", lines[0].Text)
	require.Equal(t, "subject", lines[0].Step)
	require.NotEmpty(t, lines[0].Task)
}

func TestBytesWrittenToTheBufferAreLines(t *testing.T) {
	embedtest.Output()
	inHandler(t, `
import sys
---
data = "grün\n".encode()
sys.stdout.buffer.write(data[:3])
sys.stdout.buffer.write(data[3:])
return {}
`)
	lines := embedtest.Output()
	require.Len(t, lines, 1)
	require.Equal(t, "grün", lines[0].Text)
}

func TestLinesOfThePackagesLogCarryTheirStep(t *testing.T) {
	embedtest.Output()
	inHandler(t, `
from tasker_core import log_warn
---
log_warn("low stock", {"sku": 7})
return {}
`)
	lines := embedtest.Output()
	require.Len(t, lines, 1)
	require.Equal(t, "low stock sku=7", lines[0].Message)
	require.Equal(t, "subject", lines[0].Step)
}

func TestLogRecordsCarryTheirStep(t *testing.T) {
	embedtest.Output()
	inHandler(t, `
import logging
---
logging.getLogger("shop").warning("low stock: %d", 3)
return {}
`)
	lines := embedtest.Output()
	require.Len(t, lines, 1)
	require.Equal(t, "shop", lines[0].Logger)
	require.Equal(t, "low stock: 3", lines[0].Message)
	require.Equal(t, 30, lines[0].Level)
	require.Equal(t, "subject", lines[0].Step)
}
