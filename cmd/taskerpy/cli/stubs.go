package cli

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/taskerpy/stdlib"
)

func (a *app) stubsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "stubs DIR",
		Short: "Write tasker_core to a folder, for editors and type checkers",
		Long: `Writes the Python sources of tasker_core with all their types to DIR, for programs that
look for them outside of taskerpy: editors, type checkers, and pip, which can install DIR.
What an earlier call has written to DIR is replaced.`,
		Example: "  taskerpy stubs .stubs && MYPYPATH=.stubs mypy handlers.py\n  taskerpy stubs .stubs && pip install ./.stubs",
		Args:    one("a folder"),
		RunE:    func(_ *cobra.Command, args []string) error { return a.stubs(args[0]) },
	}
}

func (a *app) stubs(dir string) error {
	written, err := stdlib.WriteDistribution(dir)
	switch {
	case errors.Is(err, stdlib.ErrForeign):
		return usagef("stubs: %w; choose another folder", err)
	case err != nil:
		return environment(fmt.Errorf("stubs: %w", err))
	}
	installable := dir
	if !filepath.IsAbs(dir) && !strings.HasPrefix(dir, ".") {
		installable = "./" + dir // pip takes a bare word for a package of the registry
	}
	_, err = fmt.Fprintf(a.out, `wrote %[2]d files to %[1]s

For mypy:     MYPYPATH=%[1]s mypy handlers.py
For pyright:  extraPaths = ["%[1]s"]
For pip:      pip install %[3]s
`, dir, written, installable)
	return err
}
