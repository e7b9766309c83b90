// Package embed is CPython in the process: the build glue for cpy3, finding
// the virtualenv, starting the interpreter, threads with kept thread states,
// calls of bytes in and bytes out, and the door from Python into Go.
//
// It is the only package that sees Python.h. Which thread calls what, and
// when, is gil's business: nothing here locks a goroutine to its thread.
// docs/internals.md has the table of who owns which reference.
package embed

/*
#include <stdlib.h>
#include "host.h"
*/
import "C"

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	python3 "github.com/go-python/cpy3"

	"github.com/tasker-systems/taskerpy/stdlib"
)

// ErrUnavailable marks errors of the environment: no usable Python, a missing
// package, a start that failed. The command line exits with 3 for them.
var ErrUnavailable = errors.New("python not available")

// Config says how to start the interpreter.
type Config struct {
	// Executable is the python that sys.executable names; its virtualenv, if
	// it is in one, gives the packages. See FindPython.
	Executable string
	// Argv, when not empty, makes this an ordinary python command for RunMain:
	// Argv[0] is the program's name. Python then owns signals and streams.
	Argv []string
	// Native answers calls from Python, see Native.
	Native Native
}

// Initialize starts CPython on the calling thread, which becomes Python's main
// thread and holds the GIL when Initialize returns nil. The thread must be
// locked to its goroutine. It may succeed once in a process.
func Initialize(c Config) error {
	if built, runs := HeaderVersion(), RuntimeVersion(); minor(built) != minor(runs) {
		return fmt.Errorf("start Python: this taskerpy was built for Python %s but found libpython %s: %w", built, runs, ErrUnavailable)
	}
	dir, err := stdlib.Extract()
	if err != nil {
		return fmt.Errorf("start Python: %w: %w", err, ErrUnavailable)
	}
	// PYTHONHOME would take the standard library of some other Python.
	if err := os.Unsetenv("PYTHONHOME"); err != nil {
		return fmt.Errorf("start Python: unset PYTHONHOME: %w", err)
	}
	setNative(c.Native)

	executable := C.CString(c.Executable)
	defer C.free(unsafe.Pointer(executable))
	conf := C.tp_config{executable: executable}
	if len(c.Argv) > 0 {
		argv := newCStrings(c.Argv)
		defer freeCStrings(argv)
		conf.argc, conf.argv, conf.own_signals = C.int(len(argv)), unsafe.SliceData(argv), 1
	}
	var text [512]C.char
	switch C.tp_initialize(&conf, &text[0], C.size_t(len(text))) {
	case 0:
	case C.TP_EXIT:
		return ExitError{Code: int(conf.exit_code)}
	default:
		return fmt.Errorf("start Python %s with %s: %s: %w", RuntimeVersion(), c.Executable, C.GoString(&text[0]), ErrUnavailable)
	}
	return prepare(dir, len(c.Argv) > 0)
}

// ExitError is returned by Initialize when the arguments of a python command
// were all it had to see, as with --version: nothing is wrong.
type ExitError struct{ Code int }

func (e ExitError) Error() string { return fmt.Sprintf("Python exited with %d", e.Code) }

// prepare puts the embedded packages first on the import path and runs the
// host's own start. The GIL is held; this is off every hot path, so it goes
// through cpy3.
func prepare(dir string, asCommand bool) error {
	// threading must be imported first on this thread, or whichever thread
	// imports it first becomes Python's "MainThread" and exit blocks.
	if err := importModule("threading"); err != nil {
		return err
	}
	path := python3.PySys_GetObject("path") // borrowed
	entry := python3.PyUnicode_FromString(dir)
	defer entry.DecRef()
	if path == nil || python3.PyList_Insert(path, 0, entry) != 0 {
		python3.PyErr_Clear()
		return fmt.Errorf("start Python: sys.path is not a list: %w", ErrUnavailable)
	}
	boot := python3.PyImport_ImportModule("taskerpy_host.boot")
	if boot == nil {
		return pendingError("start Python: import taskerpy_host.boot")
	}
	defer boot.DecRef()
	name := "install"
	if asCommand {
		name = "install_as_command"
	}
	if done := boot.CallMethodArgs(name, entry); done != nil {
		done.DecRef()
		return nil
	}
	return pendingError("start Python: taskerpy_host.boot." + name)
}

func importModule(name string) error {
	m := python3.PyImport_ImportModule(name)
	if m == nil {
		return pendingError("start Python: import " + name)
	}
	m.DecRef()
	return nil
}

// pendingError takes the pending Python exception as a Go error. GIL held.
func pendingError(doing string) error {
	_, value, trace := python3.PyErr_Fetch()
	defer func() {
		value.DecRef()
		trace.DecRef()
	}()
	text := "unknown error"
	if value != nil {
		if s := value.Str(); s != nil {
			text = python3.PyUnicode_AsUTF8(s)
			s.DecRef()
		}
	}
	python3.PyErr_Clear()
	return fmt.Errorf("%s: %s: %w", doing, text, ErrUnavailable)
}

// RunMain runs the command of Config.Argv to its end and returns its exit
// code. The calling thread must be the one that called Initialize. The
// interpreter is gone afterwards.
func RunMain() int { return int(C.tp_run_main()) }

// RuntimeVersion is the version of the loaded libpython, like "3.12.1".
func RuntimeVersion() string {
	v, _, _ := strings.Cut(C.GoString(C.tp_runtime_version()), " ")
	return strings.TrimSuffix(v, "+")
}

// HeaderVersion is the version of the headers that this binary was built with,
// like "3.12.1". It differs from RuntimeVersion when Python was updated since.
func HeaderVersion() string { return strings.TrimSuffix(C.GoString(C.tp_header_version()), "+") }

// minor reduces "3.12.1" to "3.12".
func minor(version string) string {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return version
	}
	return parts[0] + "." + parts[1]
}

// BuiltFor is the python that this binary was built for: the last resort of
// FindPython.
func BuiltFor() string { return filepath.Clean(C.GoString(C.tp_built_for())) }

// LiveBlocks counts the memory blocks that this layer holds in C. Tests hold
// it to its baseline.
func LiveBlocks() int64 { return int64(C.tp_live_blocks()) }

// Thread is one OS thread's kept Python thread state. All its methods must be
// called on that OS thread.
type Thread struct{ c *C.tp_thread }

// DetachCurrent gives up the GIL on the thread that Initialize ran on and
// keeps its thread state.
func DetachCurrent() *Thread { return &Thread{C.tp_thread_detach_current()} }

// NewThread makes a thread state for the calling OS thread, detached.
func NewThread() (*Thread, error) {
	c := C.tp_thread_new()
	if c == nil {
		return nil, errors.New("no memory for a Python thread")
	}
	return &Thread{c}, nil
}

// Free ends the thread state. The Thread is unusable afterwards.
func (t *Thread) Free() {
	C.tp_thread_free(t.c)
	t.c = nil
}

// Attach takes the GIL; Detach gives it up.
func (t *Thread) Attach() { C.tp_attach(t.c) }

// Detach gives up the GIL that Attach took.
func (t *Thread) Detach() { C.tp_detach(t.c) }

// Func is a Python function of one bytes argument that returns bytes or None,
// looked up once by Thread.Lookup and callable from every thread.
type Func int

// Lookup imports module and keeps its attribute name for Call. The thread must
// be attached. It may be done a few dozen times in a process, not per call.
func (t *Thread) Lookup(module, name string) (Func, error) {
	m, n := C.CString(module), C.CString(name)
	defer C.free(unsafe.Pointer(m))
	defer C.free(unsafe.Pointer(n))
	fn := C.tp_function(t.c, m, n)
	if fn < 0 {
		return 0, fmt.Errorf("look up %s.%s: %w", module, name, t.exception())
	}
	return Func(fn), nil
}

// Interrupt raises the exception class that Lookup found in the call that
// other is in, or is about to get the GIL for; it does nothing between calls. It takes effect when that thread
// next runs Python code, so not while it is blocked in C. t must be attached.
func (t *Thread) Interrupt(other *Thread, exception Func) {
	C.tp_interrupt(other.c, C.int(exception))
}

// Call runs fn with the bytes of in: attach, call, copy the answer out,
// detach, in one crossing. The answer is the caller's; it is nil when the
// function returned None. The error is a *Exception if Python raised.
func (t *Thread) Call(fn Func, in []byte) ([]byte, error) {
	switch C.tp_call(t.c, C.int(fn), (*C.char)(unsafe.Pointer(unsafe.SliceData(in))), C.size_t(len(in))) {
	case C.TP_OK:
		return t.answer(), nil
	case C.TP_NONE:
		return nil, nil
	case C.TP_EXCEPTION:
		return nil, t.exception()
	default:
		return nil, errors.New("no memory for Python's answer")
	}
}

func (t *Thread) answer() []byte {
	out := make([]byte, t.c.out_len)
	copy(out, unsafe.Slice((*byte)(unsafe.Pointer(t.c.out)), t.c.out_len))
	return out
}

func (t *Thread) exception() error {
	e := new(Exception)
	if text := t.answer(); json.Unmarshal(text, e) != nil {
		e.Type = string(text)
	}
	return e
}

// Exception is a Python exception as data.
type Exception struct {
	Type      string `json:"type"`      // class name
	Message   string `json:"message"`   // str(exception)
	Traceback string `json:"traceback"` // formatted
}

// Error gives the one line that Python would end its traceback with.
func (e *Exception) Error() string {
	if e.Message == "" {
		return e.Type
	}
	return e.Type + ": " + e.Message
}

// newCStrings makes an argv in C memory, to be freed with freeCStrings.
func newCStrings(ss []string) []*C.char {
	block := C.malloc(C.size_t(len(ss)) * C.size_t(unsafe.Sizeof(uintptr(0))))
	out := unsafe.Slice((**C.char)(block), len(ss))
	for i, s := range ss {
		out[i] = C.CString(s)
	}
	return out
}

func freeCStrings(argv []*C.char) {
	for _, s := range argv {
		C.free(unsafe.Pointer(s))
	}
	C.free(unsafe.Pointer(unsafe.SliceData(argv)))
}
