package cli

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/taskerpy/embed"
	"github.com/tasker-systems/taskerpy/project"
)

func (a *app) initCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init DIR",
		Short: "Write a small project that runs: handlers, template, test",
		Args:  one("a folder"),
		RunE:  func(_ *cobra.Command, args []string) error { return a.initProject(args[0]) },
	}
}

func (a *app) initProject(dir string) error {
	written, err := project.Write(dir)
	if err != nil {
		return usage(err)
	}
	for _, name := range written {
		if _, err := fmt.Fprintln(a.out, "wrote", filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(a.out, `
Next:
  cd %[1]s
  taskerpy run handlers.py --task %[2]s --input @%[3]s
  taskerpy test

If Python packages are missing:
  %[4]s -m venv .venv && .venv/bin/pip install -r requirements.txt
`, dir, project.Task, project.Input, embed.BuiltFor())
	return err
}
