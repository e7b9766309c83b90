package commands

import (
	"fmt"

	"github.com/gofrs/uuid/v5"
	"github.com/spf13/cobra"

	"github.com/tasker-systems/taskerpy/client"
	"github.com/tasker-systems/taskerpy/engine"
)

func (o Options) dlq() *cobra.Command {
	return group("dlq", "Look into tasks that went wrong: the dead letters of a running taskerpy",
		o.dlqList(), o.dlqGet(), o.dlqUpdate(), o.dlqStats(), o.dlqQueue(), o.dlqStaleness())
}

func (o Options) dlqList() *cobra.Command {
	f := engine.DLQFilter{Limit: 50}
	var status string
	cmd := &cobra.Command{Use: "list", Short: "List dead-letter entries, newest first", Args: arguments()}
	cmd.Flags().StringVarP(&status, "status", "s", "", "only those of `STATUS`: pending, manually_resolved, permanently_failed or cancelled")
	cmd.Flags().IntVarP(&f.Limit, "limit", "l", f.Limit, "at most this many")
	cmd.Flags().IntVarP(&f.Offset, "offset", "o", 0, "leave out the first `N`")
	out := asTable
	cmd.Flags().Var(&out, "output", "print a `FORMAT`: table or json")
	at := o.connect(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var err error
		if status != "" {
			if f.Status, err = engine.ParseDLQStatus(status); err != nil {
				return usagef("dlq list: --status %q is none of pending, manually_resolved, permanently_failed, cancelled", status)
			}
		}
		if f.Limit < 1 || f.Offset < 0 {
			return usagef("dlq list: --limit must be at least 1 and --offset at least 0")
		}
		return at.with(func(c *client.Client) error {
			a, err := c.DLQ(cmd.Context(), f)
			if err != nil {
				return err
			}
			return print(cmd, &out, a, func(all []engine.DLQEntry) error { return client.ShowDLQ(cmd.OutOrStdout(), all) })
		})
	}
	return cmd
}

func (o Options) dlqGet() *cobra.Command {
	return o.taskVerb("get TASK", "Show the newest dead-letter entry of a task", []string{"TASK"},
		func(cmd *cobra.Command, c *client.Client, out *output, task uuid.UUID, _ []string) error {
			a, err := c.DLQOfTask(cmd.Context(), task)
			if err != nil {
				return err
			}
			return print(cmd, out, a, func(d engine.DLQEntry) error { return client.ShowDLQEntry(cmd.OutOrStdout(), d) })
		})
}

func (o Options) dlqUpdate() *cobra.Command {
	var status, notes, by string
	cmd := &cobra.Command{Use: "update ENTRY", Short: "Note how the investigation of a task goes", Args: arguments("ENTRY")}
	f := cmd.Flags()
	f.StringVarP(&status, "status", "s", "", "`STATUS` of the entry: pending, manually_resolved, permanently_failed or cancelled")
	f.StringVarP(&notes, "notes", "n", "", "what was found: `TEXT`")
	f.StringVarP(&by, "resolved-by", "b", "", "`WHO` looked into it")
	out, at := outputFlag(cmd), o.connect(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		entry, err := client.ParseEntryID(args[0])
		if err != nil {
			return err
		}
		var u engine.DLQUpdate
		if status != "" {
			s, err := engine.ParseDLQStatus(status)
			if err != nil {
				return usagef("dlq update: --status %q is none of pending, manually_resolved, permanently_failed, cancelled", status)
			}
			u.ResolutionStatus = &s
		}
		if f.Changed("notes") {
			u.ResolutionNotes = &notes
		}
		if f.Changed("resolved-by") {
			u.ResolvedBy = &by
		}
		if u.ResolutionStatus == nil && u.ResolutionNotes == nil && u.ResolvedBy == nil {
			return usagef("dlq update: nothing to change; give --status, --notes or --resolved-by")
		}
		return at.with(func(c *client.Client) error {
			a, err := c.UpdateDLQ(cmd.Context(), entry, u)
			if err != nil {
				return fmt.Errorf("update dead-letter entry: %w", err)
			}
			return print(cmd, out, a, func(d client.DLQUpdated) error {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "dead-letter entry %s: %s\n", d.Entry, d.Message)
				return err
			})
		})
	}
	return cmd
}

func (o Options) dlqStats() *cobra.Command {
	cmd := &cobra.Command{Use: "stats", Short: "Count the dead-letter entries of each reason", Args: arguments()}
	out, at := outputFlag(cmd), o.connect(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return at.with(func(c *client.Client) error {
			a, err := c.DLQStats(cmd.Context())
			if err != nil {
				return err
			}
			return print(cmd, out, a, func(all []engine.DLQStats) error { return client.ShowDLQStats(cmd.OutOrStdout(), all) })
		})
	}
	return cmd
}

func (o Options) dlqQueue() *cobra.Command {
	return o.limited("queue", "List pending dead-letter entries, the most urgent first",
		func(cmd *cobra.Command, c *client.Client, out *output, limit int) error {
			a, err := c.Investigations(cmd.Context(), limit)
			if err != nil {
				return err
			}
			return print(cmd, out, a, func(all []engine.Investigation) error { return client.ShowInvestigations(cmd.OutOrStdout(), all) })
		})
}

func (o Options) dlqStaleness() *cobra.Command {
	return o.limited("staleness", "List tasks by how near they are to being stale",
		func(cmd *cobra.Command, c *client.Client, out *output, limit int) error {
			a, err := c.StaleTasks(cmd.Context(), limit)
			if err != nil {
				return err
			}
			return print(cmd, out, a, func(all []engine.StaleTask) error { return client.ShowStaleTasks(cmd.OutOrStdout(), all) })
		})
}

// limited makes a command that lists up to --limit of something.
func (o Options) limited(use, short string, run func(cmd *cobra.Command, c *client.Client, out *output, limit int) error) *cobra.Command {
	limit := 100
	cmd := &cobra.Command{Use: use, Short: short, Args: arguments()}
	cmd.Flags().IntVarP(&limit, "limit", "l", limit, "at most this many")
	out, at := outputFlag(cmd), o.connect(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if limit < 1 {
			return usagef("dlq %s: --limit must be at least 1, not %d", use, limit)
		}
		return at.with(func(c *client.Client) error { return run(cmd, c, out, limit) })
	}
	return cmd
}
