// Package cli is the command line: flags, wiring, what is said on which
// stream, and exit codes.
package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tasker-systems/taskerpy/client/commands"
	"github.com/tasker-systems/taskerpy/config"
	"github.com/tasker-systems/taskerpy/template"
)

// app is one run of the command line.
type app struct {
	in       io.Reader
	out, err io.Writer
}

// The kernel gives signals to the first thread when it can: `taskerpy python`
// is to run there, as the python command does, whatever program this is in.
func init() { runtime.LockOSThread() }

// Run does what the arguments say and returns the exit code. Results go to
// out, everything else to err. It is to be called by the main goroutine.
func Run(args []string, in io.Reader, out, err io.Writer) int {
	a := &app{in: in, out: out, err: err}
	root := a.root()
	root.SetArgs(args)
	failed := root.Execute()
	if failed != nil {
		tell(err, failed)
	}
	return codeOf(failed)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "taskerpy",
		Short: "Run Tasker workflows of Python step handlers",
		Long: `taskerpy runs Tasker workflows whose step handlers are Python, in one process:
an embedded Python, a durable engine, and the REST API of Tasker.

  taskerpy init demo                              write a small project to begin with
  taskerpy run handlers.py --task NAME            run one task and print its result
  taskerpy run handlers.py                        keep running: REST API on 127.0.0.1:8083
  taskerpy check handlers.py                      say what is wrong without running it

Exit codes: 0 all went well; 1 the workflow failed; 2 the command line, handlers, templates
or input are wrong; 3 Python, the data file or the network cannot be used; 130 and 143
stopped by a signal.`,
		Version:       versionText(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noSuchCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetVersionTemplate("taskerpy {{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(helpCommand())
	root.AddCommand(
		a.runCommand(), a.workerCommand(), a.checkCommand(), a.initCommand(),
		a.pythonCommand(), a.testCommand(),
		a.backupCommand(), a.authCommand(),
		a.stubsCommand(), a.configCommand(), a.doctorCommand(), a.versionCommand(),
	)
	asking := commands.Options{Input: a.readInput}
	root.AddCommand(commands.New(asking)...)
	for _, c := range root.Commands() {
		if c.Name() == "worker" {
			c.AddCommand(commands.Worker(asking)...)
		}
	}
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Args = noSuchCommand
			c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
	return root
}

// noSuchCommand is the Args of a command that only has subcommands.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	word := args[0]
	if cmd.HasParent() {
		word = nameOf(cmd) + " " + word
	}
	return usagef("unknown command %q%s", word, didYouMean(args[0], names, cmd))
}

func didYouMean(word string, words []string, cmd *cobra.Command) string {
	if near, ok := template.Nearest(word, words); ok {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return fmt.Sprintf("; `%s --help` lists them", cmd.CommandPath())
}

// flagError puts pflag's errors into one line with a suggestion.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return usage(err)
	}
	name := unknown.GetSpecifiedName()
	dashes := "--"
	if unknown.GetSpecifiedShortnames() != "" {
		dashes = "-"
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	hint := fmt.Sprintf("; `%s --help` lists them", cmd.CommandPath())
	if near, ok := template.Nearest(name, names); ok {
		hint = fmt.Sprintf("; did you mean \"--%s\"?", near)
	}
	return usagef("unknown flag %q%s", dashes+name, hint)
}

// one and none are cobra's checks of arguments with a line that says what is
// wanted.
func one(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch len(args) {
		case 0:
			return usagef("%s: name %s", nameOf(cmd), what)
		case 1:
			return nil
		}
		return usagef("%s: unexpected argument %q after %s", nameOf(cmd), args[1], what)
	}
}

func none(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s: unexpected argument %q", nameOf(cmd), args[0])
	}
	return nil
}

// nameOf is the command without the program's name.
func nameOf(cmd *cobra.Command) string {
	return strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
}

// helpCommand is cobra's, but for topics that do not exist.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err == nil && len(rest) > 0 {
				err = noSuchCommand(about, rest)
			}
			if err != nil {
				return err
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// settings are a command's flags for the configuration.
type settings struct {
	flags config.Flags
	file  string
}

// register adds the flags of the settings with these keys, and --config.
func (s *settings) register(cmd *cobra.Command, keys ...string) {
	s.flags.Register(cmd.Flags(), keys...)
	cmd.Flags().StringVar(&s.file, "config", "", "configuration `FILE` (default: "+config.FileName+" here, if there is one)")
}

// load puts the configuration together; handlers are the command's arguments.
func (s *settings) load(handlers []string) (*config.Config, error) {
	if len(handlers) > 0 {
		s.flags.Set("handlers", handlers...)
	}
	dotenv, err := environmentFile()
	if err != nil {
		return nil, usage(err)
	}
	c, err := config.Load(config.Sources{Flags: &s.flags, File: s.file, Dotenv: dotenv})
	if err != nil {
		return nil, usage(err)
	}
	if c.Environment != "" {
		// Handlers look for it there.
		if err := os.Setenv("TASKER_ENV", c.Environment); err != nil {
			return nil, usagef("--environment %q: %w", c.Environment, err)
		}
	}
	return c, nil
}

// environmentFile gives the process, and with it the handlers, the variables of
// the .env file that is here or above.
func environmentFile() (*config.Dotenv, error) {
	dotenv, err := config.FindDotenv(".")
	if err != nil || dotenv == nil {
		return nil, err
	}
	for _, p := range dotenv.Problems {
		_, _ = fmt.Fprintln(os.Stderr, "taskerpy: warning:", p)
	}
	return dotenv, dotenv.Apply()
}

// outputFlag adds --output for commands that print text or JSON.
func outputFlag(cmd *cobra.Command, format *string) {
	*format = config.LogText
	cmd.Flags().VarP(&choice{format, []string{config.LogText, config.LogJSON}}, "output", "o", "print `FORMAT`: text or json")
}

// choice is a flag whose value is one of some words.
type choice struct {
	value *string
	words []string
}

func (c *choice) String() string {
	if c.value == nil {
		return ""
	}
	return *c.value
}

func (c *choice) Set(text string) error {
	for _, w := range c.words {
		if text == w {
			*c.value = text
			return nil
		}
	}
	return fmt.Errorf("want one of %s", strings.Join(c.words, ", "))
}

func (c *choice) Type() string { return strings.Join(c.words, "|") }
