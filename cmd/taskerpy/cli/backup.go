package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/taskerpy/engine"
)

// backupCommand copies the data file. It reads the file itself and needs
// nothing of a taskerpy that runs on it, which goes on meanwhile.
func (a *app) backupCommand() *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the data file, also while a taskerpy runs on it",
		Long: `Writes everything that is durable in the data file (--data) to a new FILE, as one
consistent state without free space. A taskerpy that has the data file open goes on
meanwhile. To restore, start taskerpy with --data FILE.`,
		Example: `  taskerpy backup /var/backups/tasks-$(date +%F).db --data /var/lib/taskerpy/tasks.db`,
		Args:    one("a file to write"),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := s.load(nil)
			if err != nil {
				return err
			}
			return a.backup(c.Data, args[0])
		},
	}
	s.register(cmd, "data")
	return cmd
}

func (a *app) backup(from, to string) error {
	if from == ":memory:" {
		return usagef("backup: data is :memory:, which only the process that has it can read; name a file with --data")
	}
	signals, stop := interrupts()
	defer stop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- engine.BackupFile(ctx, from, to) }()
	select {
	case err := <-done:
		if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
			return usage(err)
		}
		if err != nil {
			return environment(err)
		}
	case sig := <-signals:
		cancel()
		<-done
		return &exitError{signalled(sig), fmt.Errorf("%v: nothing was written to %s", sig, to)}
	}
	_, err := fmt.Fprintf(a.out, "wrote %s\n", to)
	return err
}
