package cli

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/taskerpy/config"
	"github.com/tasker-systems/taskerpy/server"
	"github.com/tasker-systems/taskerpy/server/auth"
	"github.com/tasker-systems/taskerpy/server/metrics"
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
	return a.program(&s, c, a.newLogging(c, false), rest, func(string) {})
}

// program runs a python command to its end, with a worker if it asks for one.
// c is the configuration that s has led to. The URL of the worker's REST API
// is given to serving.
func (a *app) program(s *settings, c *config.Config, l *logging, args []string, serving func(url string)) error {
	pc, err := a.programConfig(c, l, args, serving)
	if err != nil {
		return err
	}
	began, err := os.Getwd()
	if err != nil {
		return environment(fmt.Errorf("find the working directory: %w", err))
	}
	pc.Reload = func(env func(string) string) (worker.ProgramConfig, error) {
		c, err := config.Load(config.Sources{Flags: &s.flags, File: s.file, Dir: began, Env: env})
		if err != nil {
			return worker.ProgramConfig{}, err
		}
		again, err := a.programConfig(c, l, args, serving)
		again.Reload = pc.Reload
		return again, err
	}
	code, err := worker.NewProgram(pc).Run(context.Background(), args)
	if err != nil {
		return environment(err)
	}
	if code != exitOK {
		return silent(code)
	}
	return nil
}

// programConfig is what the configuration means for a program.
func (a *app) programConfig(c *config.Config, l *logging, args []string, serving func(url string)) (worker.ProgramConfig, error) {
	if c.WorkerID == "" {
		c.WorkerID = worker.DefaultID()
	}
	known, err := authenticator(c.Auth)
	if err != nil {
		return worker.ProgramConfig{}, err
	}
	wc := workerConfig(c, l)
	wc.EndpointHeaders = ownHeaders(known)
	var m *metrics.Metrics // of a deployment's worker
	if deploys(c) {
		m = metrics.NewForDeployment(metrics.Info{Version: version, WorkerID: c.WorkerID})
		if wc.Deployment, err = deploymentOptions(c); err != nil {
			return worker.ProgramConfig{}, err
		}
		wc.Metrics, wc.Deployment.Observer, wc.EventObserver = m, m, m
	}
	tellOrchestration(&wc, c)
	return worker.ProgramConfig{
		Config: wc, Stderr: a.err, DrainTimeout: programDrain(c, args),
		Serve: func(s worker.Served) (string, func(context.Context) error, error) {
			url, stop, err := serveProgram(c, l, known, m, s)
			if err == nil {
				serving(url)
			}
			return url, stop, err
		},
	}, nil
}

// programDrain is how long a program may take for its steps once it stops its
// worker. The server's handlers run on a thread of their own; other programs
// may stop the worker on the very thread that would have to answer.
func programDrain(c *config.Config, args []string) time.Duration {
	if len(args) > 1 && args[0] == "-m" && (args[1] == serverModule || args[1] == serverScript) {
		return c.DrainTimeout
	}
	return 0
}

// serveProgram serves the REST API of a worker that a program started.
func serveProgram(
	c *config.Config, l *logging, known *auth.Authenticator, m *metrics.Metrics, of worker.Served,
) (url string, stop func(context.Context) error, err error) {
	var s interface {
		httpServer
		Start(ctx context.Context, address string) error
	}
	if of.Deployment != nil {
		o := workerServerOptions(c, l, known)
		o.Deployment, o.Templates, o.Events = of.Deployment, of.Templates, eventStats(of.Events)
		o.Steps, o.Metrics = m.Steps, m.Handler(l.log)
		w := server.NewWorker(o)
		m.Follow(metrics.Sources{Deployment: of.Deployment, Events: of.Events, Draining: w.Draining})
		s = w
	} else {
		s = server.New(server.Options{
			Engine: of.Engine, Events: eventStats(of.Events), Config: func() any { return c.Entries() }, Version: version,
			Environment: c.Environment, WorkerID: c.WorkerID,
			Auth: known, AllowedHosts: c.AllowedHosts, Log: l.log,
		})
	}
	if err := s.Start(context.Background(), c.Listen); err != nil {
		return "", nil, err
	}
	context.AfterFunc(of.Draining, s.Drain)
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
