// Package commands is the part of the command line that asks a running
// taskerpy: the verbs of task, template, dlq, system and worker (engine-semantics §10).
package commands

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/taskerpy/client"
	"github.com/tasker-systems/taskerpy/template"
)

// Options are what the commands need of the program that they belong to.
type Options struct {
	// Input reads what --input means: JSON, @FILE or - for standard input. Its
	// error is for the user.
	Input func(argument string) (json.RawMessage, error)
	// Getenv looks up the environment; nil means os.Getenv.
	Getenv func(string) string
}

// New makes the commands task, template, dlq and system. What they print goes to the
// command's output, and all errors know the exit code: they have
// ExitCode() int, as client.Error does.
func New(o Options) []*cobra.Command {
	o.fill()
	return []*cobra.Command{o.task(), o.template(), o.dlq(), o.system()}
}

func (o *Options) fill() {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
}

// UsageError is an error in the command line.
type UsageError struct{ message string }

// Error is one line.
func (e *UsageError) Error() string { return e.message }

// ExitCode is 2.
func (e *UsageError) ExitCode() int { return 2 }

func usagef(format string, args ...any) error {
	return &UsageError{fmt.Sprintf(format, args...)}
}

// group makes a command that only has subcommands.
func group(use, short string, subcommands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			var names []string
			for _, c := range cmd.Commands() {
				names = append(names, c.Name())
			}
			if near, ok := template.Nearest(args[0], names); ok {
				return usagef("unknown command %q; did you mean %q?", use+" "+args[0], near)
			}
			return usagef("unknown command %q; `%s --help` lists them", use+" "+args[0], cmd.CommandPath())
		},
	}
	cmd.AddCommand(subcommands...)
	return cmd
}

// arguments asks for exactly these.
func arguments(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		what := strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
		switch {
		case len(args) < len(names):
			return usagef("%s: %s is missing; `%s --help` says how", what, names[len(args)], cmd.CommandPath())
		case len(args) > len(names):
			return usagef("%s: unexpected argument %q", what, args[len(names)])
		}
		return nil
	}
}

// connection is --url.
type connection struct {
	o   Options
	url string
}

func (o Options) connect(cmd *cobra.Command) *connection {
	c := &connection{o: o}
	cmd.Flags().StringVar(&c.url, "url", "",
		"address of the running taskerpy `URL` (default: TASKER_ORCHESTRATION_URL, TASKER_WORKER_URL, "+client.DefaultURL+")")
	return c
}

// with makes a client for f.
func (c *connection) with(f func(*client.Client) error) error {
	config, err := client.Config{URL: c.url}.FromEnv(c.o.Getenv)
	if err != nil {
		return err
	}
	asker, err := client.New(config)
	if err != nil {
		return err
	}
	defer asker.Close()
	return f(asker)
}

// output is --output.
type output string

const (
	asTable output = "table"
	asJSON  output = "json"
)

func outputFlag(cmd *cobra.Command) *output {
	o := asTable
	cmd.Flags().VarP(&o, "output", "o", "print a `FORMAT`: table or json")
	return &o
}

func (o *output) String() string { return string(*o) }

// Set takes text for table, which other commands call it.
func (o *output) Set(word string) error {
	switch word {
	case "json":
		*o = asJSON
	case "table", "text":
		*o = asTable
	default:
		return fmt.Errorf("want one of table, json")
	}
	return nil
}

func (o *output) Type() string { return "table|json" }

// print writes an answer as the user wants it.
func print[T any](cmd *cobra.Command, o *output, a client.Answer[T], table func(T) error) error {
	if *o == asJSON {
		return client.WriteJSON(cmd.OutOrStdout(), a.Raw)
	}
	return table(a.Value)
}
