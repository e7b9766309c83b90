package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/tasker-systems/taskerpy/embed"
	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/place"
	"github.com/tasker-systems/taskerpy/postgres"
	"github.com/tasker-systems/taskerpy/progress"
	"github.com/tasker-systems/taskerpy/template"
	"github.com/tasker-systems/taskerpy/worker"
)

// The exit codes of taskerpy. A second interrupt, or one while a single task
// is waited for, gives 128 and the signal's number, as shells count.
const (
	exitOK          = 0
	exitFailed      = 1 // the workflow failed
	exitUsage       = 2 // the command line, or files of the user's, are wrong
	exitEnvironment = 3 // Python, the data file or the network cannot be used
)

// exitError is an error that knows its exit code. One without err was told
// about already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usage marks an error as the user's.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return &exitError{exitUsage, err}
}

func usagef(format string, args ...any) error { return usage(fmt.Errorf(format, args...)) }

// environment marks an error as one of the machine.
func environment(err error) error {
	if err == nil {
		return nil
	}
	return &exitError{exitEnvironment, err}
}

// silent ends with a code when everything was said already.
func silent(code int) error { return &exitError{code: code} }

// signalled is the end by a signal.
func signalled(s os.Signal) int {
	if number, ok := s.(syscall.Signal); ok {
		return 128 + int(number)
	}
	return exitFailed
}

// codeOf is the exit code for an error.
func codeOf(err error) int {
	var e *exitError
	var problems *worker.ProblemsError
	var coded interface{ ExitCode() int } // of package client
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &e):
		return e.code
	case errors.As(err, &problems), errors.Is(err, engine.ErrInvalid), errors.Is(err, engine.ErrNotFound),
		errors.Is(err, postgres.ErrTemplate):
		return exitUsage
	case errors.Is(err, embed.ErrUnavailable), errors.Is(err, engine.ErrLocked), errors.Is(err, engine.ErrUnavailable),
		errors.Is(err, postgres.ErrUnavailable):
		return exitEnvironment
	case errors.As(err, &coded):
		return coded.ExitCode()
	default:
		return exitFailed
	}
}

// tell writes what an error has to say: one line, or one for each problem of
// the user's files.
func tell(w io.Writer, err error) {
	var e *exitError
	if errors.As(err, &e) && e.err == nil {
		return
	}
	var problems *worker.ProblemsError
	if errors.As(err, &problems) {
		for _, f := range problems.Findings {
			if f.Severity == template.SeverityError {
				tellFinding(w, f)
			}
		}
		return
	}
	_, _ = fmt.Fprintln(w, "taskerpy: "+oneLine(err.Error()))
}

// oneLine joins the lines of a text, which may be of a handler's exception, and
// leaves out what would move a terminal's cursor.
func oneLine(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = progress.OneLine(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

// tellFinding writes one problem of the user's files, as compilers do: the
// place first, so that editors find it.
func tellFinding(w io.Writer, f template.Finding) {
	f.Pos.File = place.Near(f.Pos.File)
	line := progress.OneLine(f.String())
	if f.Pos.File == "" {
		line = "taskerpy: " + line
	}
	_, _ = fmt.Fprintln(w, line)
}
