package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/taskerpy/config"
	"github.com/tasker-systems/taskerpy/embed"
)

const (
	// version is taskerpy's own.
	version = "0.1.0"
	// taskerVersion is the release of Tasker whose tasker_core it carries.
	taskerVersion = "0.1.8"
)

// versions is what `taskerpy version` prints.
type versions struct {
	Taskerpy   string `json:"taskerpy"`
	Revision   string `json:"revision,omitempty"`
	TaskerCore string `json:"tasker_core"`
	Python     string `json:"python"` // of the loaded libpython
	Go         string `json:"go"`
	Platform   string `json:"platform"`
}

func currentVersions() versions {
	v := versions{
		Taskerpy: version, TaskerCore: taskerVersion, Python: embed.RuntimeVersion(),
		Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Revision = s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return v
}

func versionText() string {
	v := currentVersions()
	text := v.Taskerpy
	if v.Revision != "" {
		text += " (" + v.Revision + ")"
	}
	return fmt.Sprintf("%s, tasker_core %s, Python %s, %s, %s", text, v.TaskerCore, v.Python, v.Go, v.Platform)
}

func (a *app) versionCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print versions of taskerpy, tasker_core, Python and Go",
		Args:  none,
		RunE: func(*cobra.Command, []string) error {
			if output == config.LogJSON {
				return a.printJSON(currentVersions())
			}
			_, err := fmt.Fprintln(a.out, "taskerpy", versionText())
			return err
		},
	}
	outputFlag(cmd, &output)
	return cmd
}
