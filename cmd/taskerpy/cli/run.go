package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/taskerpy/config"
	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/worker"
)

// runOptions are the flags of run that are not settings.
type runOptions struct {
	settings settings
	task     string
	input    string
	quiet    bool
}

func (a *app) runCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run PATH... [--task [NAMESPACE/]NAME[@VERSION]] [--input JSON|@FILE|-]",
		Short: "Run workflows: one task with --task, else until stopped, here or for a deployment",
		Long: `Imports handlers from files, directories and dotted module names, finds the task
templates beside them, and runs workflows.

With --task, that one task is run: progress goes to standard error, the result as
JSON to standard output. The exit code is 0 if the task completed, 1 if not. An
interrupt stops waiting: running steps finish, the result is printed if they were the
last ones, else the task stays in the data file, and the exit code is 130 (143 for
SIGTERM). The same input may be run again and again.

Without --task, the engine and its REST API stay up until SIGINT or SIGTERM. Then
running steps finish within --drain-timeout; a second signal exits at once. Tasks that
were accepted and are not finished are taken up at the next start, also those of an
interrupted --task.

With --database-url (or DATABASE_URL), this is a worker of the Tasker deployment with
that database, of which there may be any number; tasker-server orchestrates. Then --data
and what else concerns the embedded engine is not used.`,
		Example: `  taskerpy run handlers.py --task greet --input '{"name": "Ada"}'
  taskerpy run handlers --task shop/checkout@1.2.0 --input @order.json
  taskerpy run handlers --listen 0.0.0.0:8083 --data /var/lib/taskerpy/tasks.db
  taskerpy run handlers --database-url postgres://tasker:secret@db/tasker`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.settings.load(args)
			if err != nil {
				return err
			}
			if len(c.Handlers) == 0 {
				return usagef("run: name handler files, directories or modules, or set PYTHON_HANDLER_PATH")
			}
			if !cmd.Flags().Changed("task") {
				if cmd.Flags().Changed("input") {
					return usagef("--input is the input of one task: name the task with --task")
				}
				if flag := deploymentFlag(c); flag != "" && c.DatabaseURL == "" {
					return usagef("%s is for workers of a deployment: name its database with --database-url or DATABASE_URL", flag)
				}
				if err := a.keepOutput(); err != nil {
					return err
				}
				return a.serve(c)
			}
			if cmd.Flags().Changed("database-url") {
				return usagef("--task runs one task on the embedded engine: without it, --database-url works for a deployment; taskerpy task create makes tasks there")
			}
			if flag := deploymentFlag(c); flag != "" {
				return usagef("%s is for workers of a deployment: --task runs one task on the embedded engine", flag)
			}
			c.DatabaseURL = ""
			if o.quiet {
				c.Progress = "none"
			}
			input, err := a.readInput(o.input)
			if err != nil {
				return err
			}
			if err := a.keepOutput(); err != nil {
				return err
			}
			return a.runTask(c, o.task, input)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.task, "task", "t", "", "run one task of this template: `[NS/]NAME[@VERSION]`")
	f.StringVarP(&o.input, "input", "i", "{}", "the task's input: `JSON`, @FILE or - for standard input")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "show no progress")
	o.settings.register(cmd, append(deploymentKeys(), "database_url", "max_result_size", "templates", "python", "listen", "data", "concurrency", "strict", "environment", "worker_id",
		"switch_interval", "drain_timeout", "log_format", "log_level", "progress", "allowed_hosts", "keep", "staleness",
		"auth_keys", "auth_key_header", "auth_public_key", "auth_jwks_url", "auth_issuer", "auth_audience", "auth_strict")...)
	return cmd
}

// workerConfig is what the configuration means for a worker.
func workerConfig(c *config.Config, l *logging) worker.Config {
	return worker.Config{
		Paths: c.Handlers, Templates: c.Templates, Python: c.Python, Data: c.Data, Concurrency: c.Concurrency,
		Strict: c.Strict, Environment: c.Environment, Overrides: c.Overrides(), WorkerID: c.WorkerID, SwitchInterval: c.SwitchInterval,
		Keep: c.Keep, MaxResult: c.MaxResultSize, Staleness: engine.Staleness{Mode: engine.StalenessMode(c.Staleness)},
		Log: l.log, LogLevel: c.LogLevel, Output: l.output, Records: l.records,
	}
}

// interrupts are the signals that end a run.
func interrupts() (signals chan os.Signal, stop func()) {
	signals = make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	return signals, func() { signal.Stop(signals) }
}

// start starts a worker. A signal meanwhile ends the process at once, for
// nothing has been accepted yet and an import may take for ever.
func start(c worker.Config, signals <-chan os.Signal) (*worker.Worker, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	type started struct {
		w   *worker.Worker
		err error
	}
	done := make(chan started, 1)
	go func() {
		w, err := worker.Start(ctx, c)
		done <- started{w, err}
	}()
	select {
	case s := <-done:
		return s.w, startError(s.err, c)
	case s := <-signals:
		return nil, &exitError{signalled(s), fmt.Errorf("%v before the handlers were loaded", s)}
	}
}

// startError gives errors of the start their exit code: what is not the
// user's fault is the machine's.
func startError(err error, c worker.Config) error {
	if err == nil || codeOf(err) != exitFailed {
		return err
	}
	if c.Deployment != nil || c.Data == "" {
		return environment(err)
	}
	return environment(fmt.Errorf("start with data file %s: %w", c.Data, err))
}

// drain ends a worker within the time for it, or at once at another signal. last
// is what Worker.Drain calls.
func drain(w *worker.Worker, timeout time.Duration, signals <-chan os.Signal, last func(context.Context)) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- w.Drain(ctx, last) }()
	select {
	case err := <-done:
		if err != nil && ctx.Err() != nil {
			return &exitError{exitFailed, fmt.Errorf("not drained within %s: %w; the next start runs those steps again", timeout, err)}
		}
		return environment(err)
	case s := <-signals:
		return &exitError{signalled(s), fmt.Errorf("%v: exiting before the running steps finished; the next start runs them again", s)}
	}
}
