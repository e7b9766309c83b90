package cli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/taskerpy/config"
	"github.com/tasker-systems/taskerpy/embed"
	"github.com/tasker-systems/taskerpy/worker"
)

func (a *app) configCommand() *cobra.Command {
	var s settings
	var output string
	cmd := &cobra.Command{
		Use:   "config [PATH...]",
		Short: "Print the effective configuration and where each value comes from",
		Long: `Prints what run would use with the same arguments, flags, environment and file, and
where each value comes from. Secrets are masked. Flags win over environment variables,
those over the file, that over the file of a Tasker deployment, that over defaults. The
settings are keys of the TOML file, which is ` + config.FileName + ` in the working directory,
--config or TASKER_CONFIG; the file of a deployment, with keys of its own, is what
` + config.TaskerFileVariable + ` names. The variables of the settings are:

` + variables(),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := s.load(args)
			if err != nil {
				return err
			}
			return a.printConfig(c, output)
		},
	}
	s.register(cmd, "templates", "python", "listen", "data", "concurrency", "strict", "environment", "worker_id",
		"switch_interval", "drain_timeout", "log_format", "log_level", "progress", "allowed_hosts", "keep", "staleness",
		"auth_keys", "auth_key_header", "auth_public_key", "auth_jwks_url", "auth_issuer", "auth_audience", "auth_strict")
	s.flags.Register(cmd.Flags(), append(deploymentKeys(), "database_url", "max_result_size")...)
	outputFlag(cmd, &output)
	show := *cmd
	show.Use, show.Short = "show [PATH...]", "The same as config alone"
	cmd.AddCommand(append(a.configVerbs(), &show)...)
	return cmd
}

func (a *app) printConfig(c *config.Config, output string) error {
	entries := c.Entries()
	for i := range entries {
		e := &entries[i]
		switch {
		case e.Key == "python" && c.Python == "":
			// Which Python it will be depends on what lies around.
			found, err := embed.FindPython(context.Background(), "", worker.VirtualenvFolders(c.Handlers))
			if err == nil {
				e.Value, e.Origin = found.Executable, config.Origin(found.Origin)
			}
		case e.Key == "worker_id" && c.WorkerID == "":
			e.Value = worker.DefaultID()
		}
	}
	if output == config.LogJSON {
		type value struct {
			Value  any           `json:"value"`
			Origin config.Origin `json:"origin"`
		}
		object := map[string]value{}
		for _, e := range entries {
			object[e.Key] = value{e.Value, e.Origin}
		}
		return a.printJSON(object)
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for _, e := range entries {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", e.Key, shown(e.Value), e.Origin)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	return nil
}

// shown is a value in a table, "-" for none.
func shown(value any) string {
	text := ""
	switch v := value.(type) {
	case []string:
		text = strings.Join(v, ", ")
	default:
		text = fmt.Sprint(v)
	}
	if text == "" {
		return "-"
	}
	return text
}

// deploymentKeys are the settings with flags that mean something only for a
// worker of a Tasker deployment.
func deploymentKeys() []string {
	return []string{
		"queue_database_url", "namespace", "visibility_timeout", "poll_interval", "batch_size", "max_connections",
		"queue_max_connections", "message_retention", "handler_timeout", "orchestration_url",
	}
}

// deploymentFlag is a flag of deploymentKeys that was given, "" for none.
func deploymentFlag(c *config.Config) string {
	for _, key := range deploymentKeys() {
		if from := string(c.Origin(key)); strings.HasPrefix(from, "--") {
			return from
		}
	}
	return ""
}

// variables lists the environment variables of all settings.
func variables() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, s := range config.Settings() {
		_, _ = fmt.Fprintf(w, "  %s\t%s\n", s.Key, strings.Join(s.Env(), ", "))
	}
	_ = w.Flush() // a Builder takes everything
	return strings.TrimRight(b.String(), "\n")
}
