package cli

import (
	"context"
	_ "embed"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/taskerpy/config"
	"github.com/tasker-systems/taskerpy/domainevent"
	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/server"
	"github.com/tasker-systems/taskerpy/worker"
)

// runPytest is pytest with tasker_core's fixtures, or the advice to install it.
//
//go:embed run_pytest.py
var runPytest string

func (a *app) pythonCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "python [--python DIR|EXE] ARGS...",
		Short: "Run the embedded Python: scripts, -m, -c, REPL; tasker_core can be imported",
		Long: `Behaves as the python command does, with the virtualenv that taskerpy run would use
and with tasker_core importable. Arguments are Python's own, but for a --python in front
of them.`,
		Example:            "  taskerpy python script.py\n  taskerpy python -m asyncio\n  taskerpy python -c 'import tasker_core; print(tasker_core.__version__)'",
		DisableFlagParsing: true,
		RunE:               func(_ *cobra.Command, args []string) error { return a.python(args) },
	}
}

func (a *app) testCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "test [--python DIR|EXE] ARGS...",
		Short: "Run pytest in the embedded Python, with tasker_core's fixtures",
		Long: `Runs python -m pytest ARGS in the embedded Python, with the fixtures of tasker_core.
The exit code is pytest's; it is 3 if pytest is not installed.`,
		Example:            "  taskerpy test\n  taskerpy test -k checkout tests/test_handlers.py",
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			choice, rest, err := ownFlags(args)
			if err != nil {
				return err
			}
			return a.python(append(choice, append([]string{"-c", runPytest}, rest...)...))
		},
	}
}

// python runs a python command to its end.
func (a *app) python(args []string) error {
	own, rest, err := ownFlags(args)
	if err != nil {
		return err
	}
	var s settings
	if len(own) > 0 {
		s.flags.Set("python", own[1])
	}
	c, err := s.load(nil)
	if err != nil {
		return err
	}
	if c.WorkerID == "" {
		c.WorkerID = worker.DefaultID()
	}
	l := a.newLogging(c, false)
	program := worker.NewProgram(worker.ProgramConfig{
		Config: workerConfig(c, l), Stderr: a.err,
		Serve: func(e *engine.Engine, events func() domainevent.Stats) (string, func(context.Context) error, error) {
			return serveProgram(c, l, e, events)
		},
	})
	code, err := program.Run(context.Background(), rest)
	if err != nil {
		return environment(err)
	}
	if code != exitOK {
		return silent(code)
	}
	return nil
}

// serveProgram serves the REST API of a worker that a program started.
func serveProgram(c *config.Config, l *logging, e *engine.Engine, events func() domainevent.Stats) (url string, stop func(context.Context) error, err error) {
	s := server.New(server.Options{
		Engine: e, Events: eventStats(events), Config: func() any { return c.Entries() }, Version: version,
		Environment: c.Environment, WorkerID: c.WorkerID, AllowedHosts: c.AllowedHosts, Log: l.log,
	})
	if err := s.Start(context.Background(), c.Listen); err != nil {
		return "", nil, err
	}
	return "http://" + s.Addr(), s.Stop, nil
}

// ownFlags takes a leading --python off; Python has no such flag.
func ownFlags(args []string) (own, rest []string, err error) {
	if len(args) == 0 {
		return nil, args, nil
	}
	if value, ok := strings.CutPrefix(args[0], "--python="); ok && value != "" {
		return []string{"--python", value}, args[1:], nil
	}
	if args[0] != "--python" {
		return nil, args, nil
	}
	if len(args) == 1 {
		return nil, nil, usagef("--python needs a virtualenv's folder or a python executable")
	}
	return args[:2:2], args[2:], nil
}
