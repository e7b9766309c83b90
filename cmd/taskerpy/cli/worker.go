package cli

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/taskerpy/config"
)

// serverModule is the program that workers of the published package run;
// serverScript is its other name.
const (
	serverModule = "tasker_core.server"
	serverScript = "tasker_core.bin.server"
)

func (a *app) workerCommand() *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use:   "worker [DIR]",
		Short: "Run the worker process of the published package: poll for steps until stopped",
		Long: `Does what python -m ` + serverModule + ` does, for deployments that are made for the server
script of the published package: imports every handler below DIR, starts a worker, and has
one Python thread poll for steps, which it runs one after the other. taskerpy run, which
hands steps to many lanes without polling, is faster; this command is there for programs
and images that expect the process, its log lines, signals and exit codes.

  PYTHON_HANDLER_PATH    the handlers, unless DIR is given
  TASKER_TEMPLATE_PATH   the task templates, unless --templates is given
  TASKER_ENV             test, development or production: overrides of templates
  TASKER_NAMESPACE       the namespace of the worker
  RUST_LOG               the level of the log, unless --log-level is given
  HOSTNAME               the worker's name in results

SIGTERM and SIGINT stop it: the running step finishes within --drain-timeout. If it does
not, another worker of the deployment runs it, or the next start. SIGUSR1 logs how the
worker is.

Exit codes: 0 stopped by a signal; 1 the shutdown met an error; 2 the command line or the
configuration is wrong; 3 a worker runs already, or Python cannot be used; 4 the start, or
the worker later, failed.`,
		Example: "  taskerpy worker handlers\n  PYTHON_HANDLER_PATH=handlers TASKER_TEMPLATE_PATH=templates taskerpy worker",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return one("a folder of handlers")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.load(args)
			if err != nil {
				return err
			}
			if err := tellServer(cmd, c, args); err != nil {
				return err
			}
			if c.LogFormat == config.LogAuto {
				c.LogFormat = config.LogText // as the server's own lines are
			}
			l := a.newLogging(c, true)
			return a.program(&s, c, l, []string{"-m", serverModule}, func(url string) {
				if deploys(c) {
					l.log.Info("taskerpy worker works for a deployment", "url", url, "orchestration", c.Orchestration.URL)
					return
				}
				l.log.Info("taskerpy worker is running", "url", url, "data", c.Data)
			})
		},
	}
	s.register(cmd, "templates", "python", "listen", "data", "strict", "environment", "log_format", "log_level",
		"drain_timeout", "allowed_hosts", "keep", "staleness",
		"auth_keys", "auth_key_header", "auth_public_key", "auth_jwks_url", "auth_issuer", "auth_audience", "auth_strict")
	return cmd
}

// tellServer gives the command line to the server in the way that it reads
// its settings: by the environment.
func tellServer(cmd *cobra.Command, c *config.Config, args []string) error {
	told := map[string]string{}
	if len(args) == 1 {
		info, err := os.Stat(args[0])
		if err != nil {
			return usagef("worker: %w", err)
		}
		if !info.IsDir() {
			return usagef("worker: %s is not a folder; `taskerpy run` takes files too", args[0])
		}
		dir, err := filepath.Abs(args[0])
		if err != nil {
			return environment(fmt.Errorf("worker: %w", err))
		}
		told["PYTHON_HANDLER_PATH"] = dir
	}
	if cmd.Flags().Changed("templates") {
		told["TASKER_TEMPLATE_PATH"] = c.Templates[0] // tasker_core looks into one folder only
	}
	if cmd.Flags().Changed("log-level") {
		told["RUST_LOG"] = strings.ToLower(c.LogLevel.String())
		if c.LogLevel < slog.LevelDebug {
			told["RUST_LOG"] = "trace"
		}
	}
	for variable, value := range told {
		if err := os.Setenv(variable, value); err != nil {
			return usagef("worker: %s=%q: %w", variable, value, err)
		}
	}
	return nil
}
