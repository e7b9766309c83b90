package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"

	"github.com/tasker-systems/taskerpy/config"
	"github.com/tasker-systems/taskerpy/template"
)

// configVerbs are those of engine-semantics §10 that make sense with one
// configuration file. Those about the many files of the reference, of which
// its configuration is merged, have nothing to work on here.
func (a *app) configVerbs() []*cobra.Command {
	return []*cobra.Command{a.configDump(), a.configExplain(), a.configValidate(), a.configGenerate()}
}

// configSource is which configuration a verb is about.
type configSource struct{ file, environment string }

func (s *configSource) register(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&s.file, "config", "c", "", "configuration `FILE` (default: "+config.FileName+" here, if there is one)")
	cmd.Flags().StringVarP(&s.environment, "environment", "e", "", "as if --environment `NAME` were given to run")
}

func (s *configSource) load() (*config.Config, error) {
	var given settings
	given.file = s.file
	if s.environment != "" {
		given.flags.Set("environment", s.environment)
	}
	return given.load(nil)
}

func (a *app) configDump() *cobra.Command {
	var from configSource
	var key string
	format := "toml"
	cmd := &cobra.Command{
		Use: "dump", Short: "Print the effective configuration as JSON, YAML or TOML, secrets masked", Args: none,
		RunE: func(*cobra.Command, []string) error {
			c, err := from.load()
			if err != nil {
				return err
			}
			values := map[string]any{}
			for _, e := range c.Entries() {
				values[e.Key] = e.Value
			}
			if key != "" {
				value, ok := values[key]
				if !ok {
					return unknownSetting("config dump: --path", key)
				}
				values = map[string]any{key: value}
			}
			return a.dump(values, format)
		},
	}
	from.register(cmd)
	cmd.Flags().VarP(&choice{&format, []string{"json", "yaml", "toml"}}, "format", "f", "`FORMAT`: json, yaml or toml")
	cmd.Flags().StringVarP(&key, "path", "p", "", "only the setting `KEY`")
	return cmd
}

func (a *app) dump(values map[string]any, format string) error {
	var data []byte
	var err error
	switch format {
	case "json":
		return a.printJSON(values)
	case "yaml":
		data, err = yaml.Marshal(values)
	default:
		data, err = toml.Marshal(values)
	}
	if err == nil {
		_, err = a.out.Write(data)
	}
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	return nil
}

func unknownSetting(place, key string) error {
	var keys []string
	for _, s := range config.Settings() {
		keys = append(keys, s.Key)
	}
	if near, ok := template.Nearest(key, keys); ok {
		return usagef("%s: there is no setting %q; did you mean %q?", place, key, near)
	}
	return usagef("%s: there is no setting %q; `taskerpy config explain` lists them", place, key)
}

// explanation tells all about one setting.
type explanation struct {
	Key         string   `json:"key"`
	Description string   `json:"description"`
	Flag        string   `json:"flag,omitempty"`
	Variables   []string `json:"variables"`
	Default     string   `json:"default"`
	Value       any      `json:"value"`
	Origin      string   `json:"origin"`
}

func (a *app) configExplain() *cobra.Command {
	var from configSource
	var key, output string
	cmd := &cobra.Command{
		Use: "explain", Short: "Say what each setting does, where it can be set, and what it is now", Args: none,
		RunE: func(*cobra.Command, []string) error {
			c, err := from.load()
			if err != nil {
				return err
			}
			all := explanations(c)
			if key != "" {
				all = slices.DeleteFunc(all, func(e explanation) bool { return e.Key != key })
				if len(all) == 0 {
					return unknownSetting("config explain: --parameter", key)
				}
			}
			if output == config.LogJSON {
				return a.printJSON(all)
			}
			return a.printExplanations(all)
		},
	}
	from.register(cmd)
	cmd.Flags().StringVarP(&key, "parameter", "p", "", "only the setting `KEY`")
	outputFlag(cmd, &output)
	return cmd
}

func explanations(c *config.Config) (all []explanation) {
	entries := c.Entries()
	for i, s := range config.Settings() {
		e := explanation{
			Key: s.Key, Description: strings.ReplaceAll(s.Usage, "`", ""), Variables: s.Env(), Default: s.Default(),
			Value: entries[i].Value, Origin: string(entries[i].Origin),
		}
		if s.Usage != "" {
			e.Flag = "--" + s.Flag()
		}
		all = append(all, e)
	}
	return all
}

func (a *app) printExplanations(all []explanation) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for i, e := range all {
		if i > 0 {
			_, _ = fmt.Fprintln(w)
		}
		_, _ = fmt.Fprintln(w, e.Key)
		for _, line := range [][2]string{
			{"does", e.Description}, {"flag", e.Flag}, {"variables", strings.Join(e.Variables, ", ")},
			{"default", e.Default}, {"now", shown(e.Value) + " (" + e.Origin + ")"},
		} {
			if line[1] != "" {
				_, _ = fmt.Fprintf(w, "  %s\t%s\n", line[0], line[1])
			}
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write the settings: %w", err)
	}
	return nil
}

func (a *app) configValidate() *cobra.Command {
	var from configSource
	var strict bool
	cmd := &cobra.Command{
		Use: "validate", Short: "Say what is wrong with the configuration: file, environment, files that it names", Args: none,
		RunE: func(*cobra.Command, []string) error {
			c, err := from.load()
			if err != nil {
				return err
			}
			missing := 0
			for _, p := range c.NamedFiles() {
				if _, err := os.Stat(p.Path); err != nil {
					missing++
					_, _ = fmt.Fprintf(a.err, "taskerpy: warning: %s: %s (from %s)\n", p.Key, reasonOf(err), p.Origin)
				}
			}
			if strict && missing > 0 {
				return usagef("config validate: %s missing", count(missing, "file"))
			}
			about := "environment and defaults"
			if c.File != "" {
				about = c.File + ", " + about
			}
			_, err = fmt.Fprintf(a.out, "valid: %s\n", about)
			return err
		},
	}
	from.register(cmd)
	cmd.Flags().BoolVar(&strict, "strict", false, "take warnings for errors")
	return cmd
}

// reasonOf is a file system error in one line, the path first.
func reasonOf(err error) string {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Path + ": " + path.Err.Error()
	}
	return err.Error()
}

func (a *app) configGenerate() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "generate", Short: "Write a configuration file with every setting, its default and what it does", Args: none,
		Example: "  taskerpy config generate -o " + config.FileName,
		RunE: func(*cobra.Command, []string) error {
			data := config.Generate()
			if file == "" {
				_, err := a.out.Write(data)
				return err
			}
			if err := writeNew(file, data, 0o644); err != nil {
				return usagef("config generate: %w", err)
			}
			_, err := fmt.Fprintln(a.out, "wrote", file)
			return err
		},
	}
	cmd.Flags().StringVarP(&file, "output", "o", "", "write to the new `FILE` instead of standard output")
	return cmd
}
