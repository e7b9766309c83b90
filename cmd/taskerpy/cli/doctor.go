package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/taskerpy/config"
	"github.com/tasker-systems/taskerpy/embed"
	"github.com/tasker-systems/taskerpy/gil"
	"github.com/tasker-systems/taskerpy/postgres"
	"github.com/tasker-systems/taskerpy/progress"
	"github.com/tasker-systems/taskerpy/server"
	"github.com/tasker-systems/taskerpy/stdlib"
	"github.com/tasker-systems/taskerpy/worker"
)

// How a check of the doctor ended.
const (
	fine    = "ok"
	warning = "warning"
	problem = "problem"
)

// finding is one thing that the doctor looked at.
type finding struct {
	Name   string `json:"name"`
	Status string `json:"status"` // ok, warning or problem
	Detail string `json:"detail"`
}

func (a *app) doctorCommand() *cobra.Command {
	var s settings
	var output string
	cmd := &cobra.Command{
		Use:   "doctor [PATH...]",
		Short: "Say what works on this machine: Python, virtualenv, packages, data folder, port, database",
		Long: `Looks at everything that taskerpy run needs and says what works, what does not, and what
to do about it. The exit code is 0 if taskerpy can run, 3 if not.

With --database-url it looks at the database of a Tasker deployment instead of the data
file: connection, versions, session settings, schema, migrations, PGMQ, queues and
privileges. The queues are those of the templates, which are named with --templates or
lie beside the handlers. Nothing is changed.`,
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := s.load(args)
			if err != nil {
				return err
			}
			var deployment *postgres.Options
			if deploys(c) {
				if deployment, err = deploymentOptions(c); err != nil {
					return err
				}
			}
			return a.doctor(c, deployment, output)
		},
	}
	s.register(cmd, "templates", "python", "listen", "data", "database_url", "queue_database_url", "namespace", "poll_interval", "max_connections", "orchestration_url")
	outputFlag(cmd, &output)
	return cmd
}

// doctor looks at the machine, and at a deployment unless that is nil.
func (a *app) doctor(c *config.Config, deployment *postgres.Options, output string) error {
	findings := []finding{aboutBuild(c), aboutLibpython()}
	findings = append(findings, a.aboutPython(c)...)
	findings = append(findings, aboutSources())
	if deployment == nil {
		findings = append(findings, aboutData(c.Data))
	}
	findings = append(findings, aboutAddress(c.Listen))
	if deployment != nil {
		findings = append(findings, aboutDeployment(c, *deployment)...)
	}
	if output == config.LogJSON {
		usable := !slices.ContainsFunc(findings, func(f finding) bool { return f.Status == problem })
		if err := a.printJSON(map[string]any{"usable": usable, "findings": findings}); err != nil {
			return err
		}
	} else if err := a.printFindings(findings); err != nil {
		return err
	}
	for _, f := range findings {
		if f.Status == problem {
			return silent(exitEnvironment)
		}
	}
	return nil
}

func (a *app) printFindings(findings []finding) error {
	colour := progress.Terminal(a.out) && os.Getenv("NO_COLOR") == ""
	colours := map[string]string{fine: green, warning: yellow, problem: red}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for _, f := range findings {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", paint(colour, colours[f.Status], f.Status), f.Name, f.Detail)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write the findings: %w", err)
	}
	return nil
}

func aboutBuild(c *config.Config) finding {
	detail := fmt.Sprintf("%s, %s, %s/%s, %d CPUs", version, runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	if c.File != "" {
		detail += ", configured by " + c.File
	}
	return finding{"taskerpy", fine, detail}
}

// aboutLibpython compares what the binary was built for with what it found.
func aboutLibpython() finding {
	built, runs := embed.HeaderVersion(), embed.RuntimeVersion()
	detail := fmt.Sprintf("Python %s, built with the headers of %s", runs, built)
	switch {
	case minorOf(built) != minorOf(runs):
		return finding{"libpython", problem, detail + "; build taskerpy again"}
	case built != runs:
		return finding{"libpython", warning, detail}
	}
	return finding{"libpython", fine, detail}
}

func minorOf(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// pythonTimeout is how long the interpreter and its imports may take.
const pythonTimeout = 30 * time.Second

// aboutPython finds the virtualenv, starts the interpreter and imports
// tasker_core.
func (a *app) aboutPython(c *config.Config) []finding {
	ctx, cancel := context.WithTimeout(context.Background(), pythonTimeout)
	defer cancel()
	found, err := embed.FindPython(ctx, c.Python, worker.VirtualenvFolders(c.Handlers))
	if err != nil {
		return []finding{{"virtualenv", problem, err.Error()}}
	}
	environment := finding{"virtualenv", fine, fmt.Sprintf("%s (%s)", found.Executable, found.Origin)}
	if len(found.Warnings) > 0 {
		environment.Status = warning
		environment.Detail += "; " + strings.Join(found.Warnings, "; ")
	}
	r, err := gil.Start(ctx, gil.Config{Python: found, LogLevel: c.LogLevel})
	if err != nil {
		return []finding{environment, {"packages", problem, err.Error()}}
	}
	packages, core := askPython(ctx, r)
	return []finding{environment, packages, core}
}

// askPython has the running interpreter tell about itself.
func askPython(ctx context.Context, r *gil.Runtime) (packages, core finding) {
	packages, core = finding{"packages", problem, ""}, finding{"tasker_core", problem, ""}
	lane, err := r.NewLane("doctor")
	if err != nil {
		packages.Detail = err.Error()
		return packages, core
	}
	ask := func(function string, answer any) error {
		fn, err := r.Lookup(ctx, "taskerpy_host.doctor", function)
		if err != nil {
			return err
		}
		label := "doctor"
		var out []byte
		lane.Run(func() { out, err = lane.Call(fn, nil, &label) })
		if err != nil {
			return err
		}
		return json.Unmarshal(out, answer)
	}
	var about struct {
		Packages     map[string]string `json:"packages"`
		Build        string            `json:"build"`
		FreeThreaded bool              `json:"free_threaded"`
	}
	if err := ask("describe", &about); err != nil {
		packages.Detail = err.Error()
	} else {
		packages = describePackages(about.Packages, r.Info().Executable)
		if about.FreeThreaded {
			packages.Status = warning
			packages.Detail += "; this Python runs without a GIL, which is not tested"
		}
	}
	var imported string
	if err := ask("import_tasker_core", &imported); err != nil {
		core.Detail = err.Error()
	} else {
		core = finding{"tasker_core", fine, imported + ", embedded"}
	}
	lane.Close()
	if err := r.Stop(ctx); err != nil {
		core = finding{"tasker_core", problem, "Python does not end: " + err.Error()}
	}
	return packages, core
}

func describePackages(versions map[string]string, executable string) finding {
	var texts []string
	for name, v := range versions {
		texts = append(texts, name+" "+v)
	}
	slices.Sort(texts)
	f := finding{"packages", fine, strings.Join(texts, ", ")}
	if versions["pytest"] == "" {
		f.Status = warning
		f.Detail += "; `taskerpy test` needs pytest: " + executable + " -m pip install pytest"
	}
	return f
}

// aboutSources looks at the folder for tasker_core.
func aboutSources() finding {
	dir, err := stdlib.Extract()
	if err != nil {
		return finding{"cache folder", problem, err.Error()}
	}
	return finding{"cache folder", fine, dir}
}

// aboutData tells whether the data file can be written. It leaves nothing
// behind.
func aboutData(path string) finding {
	if path == ":memory:" {
		return finding{"data", fine, "in memory: tasks are gone when the process ends"}
	}
	folder := filepath.Dir(path)
	for {
		info, err := os.Stat(folder)
		if err == nil && !info.IsDir() {
			return finding{"data", problem, fmt.Sprintf("%s is not a folder; choose another --data", folder)}
		}
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			break
		}
		folder = filepath.Dir(folder) // it will be made
	}
	f, err := os.CreateTemp(folder, ".taskerpy-doctor-*")
	if err != nil {
		return finding{"data", problem, fmt.Sprintf("%s cannot be written: %v; choose another --data", folder, err)}
	}
	_, err = f.WriteString("probe")
	err = errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
	if err != nil {
		return finding{"data", problem, fmt.Sprintf("%s cannot be written: %v; choose another --data", folder, err)}
	}
	state := "will be made"
	if info, err := os.Stat(path); err == nil {
		state = fmt.Sprintf("%d KB", (info.Size()+1023)/1024)
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return finding{"data", problem, err.Error()}
		}
		_ = file.Close() // nothing was written
	}
	return finding{"data", fine, fmt.Sprintf("%s, %s", path, state)}
}

// aboutAddress tells whether the HTTP server could listen.
func aboutAddress(address string) finding {
	l, err := server.Listen(context.Background(), address)
	switch {
	case errors.Is(err, server.ErrAddressInUse):
		// Perhaps by a taskerpy that runs; and a single task needs no address.
		return finding{"address", warning, err.Error()}
	case err != nil:
		return finding{"address", problem, err.Error()}
	}
	if err := l.Close(); err != nil {
		return finding{"address", problem, err.Error()}
	}
	return finding{"address", fine, address + " is free"}
}
