package commands

import (
	"fmt"

	"github.com/gofrs/uuid/v5"
	"github.com/spf13/cobra"

	"github.com/tasker-systems/taskerpy/client"
	"github.com/tasker-systems/taskerpy/engine"
)

func (o Options) task() *cobra.Command {
	return group("task", "Create and watch tasks of a running taskerpy",
		o.taskCreate(), o.taskGet(), o.taskList(), o.taskWatch(), o.taskCancel(), o.taskGraph(), o.taskVisualize(),
		o.taskSteps(), o.taskStep(), o.taskResetStep(), o.taskResolveStep(), o.taskCompleteStep(), o.taskStepAudit())
}

func (o Options) taskCreate() *cobra.Command {
	// What Tasker's own command line sends (engine-semantics §10).
	r := engine.TaskRequest{Initiator: "tasker-ctl", SourceSystem: "cli", Reason: "CLI task creation"}
	var input, correlation, idempotency, ignored string
	cmd := &cobra.Command{
		Use:   "create --name NAME --input JSON|@FILE|-",
		Short: "Create a task",
		Args:  arguments(),
		Example: `  taskerpy task create --name mathematical_sequence_py -n linear_workflow_py --input '{"even_number": 6}'
  taskerpy task create --name order_intake --input @order.json --output json`,
	}
	f := cmd.Flags()
	f.StringVarP(&r.Namespace, "namespace", "n", "default", "`NAMESPACE` of the template")
	f.StringVar(&r.Name, "name", "", "`NAME` of the template")
	f.StringVarP(&r.Version, "version", "v", "1.0.0", "`VERSION` of the template")
	f.StringVarP(&input, "input", "i", "", "the task's input: `JSON`, @FILE or - for standard input")
	f.StringVarP(&ignored, "description", "d", "", "has no effect; Tasker's own command line takes it too")
	f.Int32VarP(&r.Priority, "priority", "p", 5, "-100 to 100, higher is sooner")
	f.StringVarP(&correlation, "correlation-id", "c", "", "`UUID` that logs and events carry (default: a new one)")
	f.StringVar(&idempotency, "idempotency-key", "", "a second task with the same `KEY` is refused, whatever its input")
	f.StringSliceVar(&r.Tags, "tag", nil, "`TAG` of the task; may be given more than once")
	f.StringVar(&r.Initiator, "initiator", r.Initiator, "`WHO` asks")
	f.StringVar(&r.SourceSystem, "source-system", r.SourceSystem, "`SYSTEM` that asks")
	f.StringVar(&r.Reason, "reason", r.Reason, "`WHY` the task is created")
	out, at := outputFlag(cmd), o.connect(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if r.Name == "" {
			return usagef("task create: --name is missing; `taskerpy template list` shows the templates")
		}
		if !cmd.Flags().Changed("input") {
			return usagef(`task create: --input is missing; write --input '{}' for none`)
		}
		var err error
		if r.Context, err = o.Input(input); err != nil {
			return err
		}
		if r.CorrelationID, err = correlationID(correlation); err != nil {
			return err
		}
		if idempotency != "" {
			r.IdempotencyKey = &idempotency
		}
		return at.with(func(c *client.Client) error {
			a, err := c.CreateTask(cmd.Context(), r)
			if err != nil {
				return fmt.Errorf("create task: %w", err)
			}
			return print(cmd, out, a, func(t engine.Task) error { return client.ShowTask(cmd.OutOrStdout(), t) })
		})
	}
	return cmd
}

func correlationID(text string) (*uuid.UUID, error) {
	if text == "" {
		id, err := uuid.NewV7()
		if err != nil {
			return nil, fmt.Errorf("make a correlation id: %w", err)
		}
		return &id, nil
	}
	id, err := uuid.FromString(text)
	if err != nil {
		return nil, usagef("task create: --correlation-id %q is not a UUID", text)
	}
	return &id, nil
}

// taskVerb makes a command whose first argument is a task.
func (o Options) taskVerb(use, short string, names []string, run func(cmd *cobra.Command, c *client.Client, out *output, task uuid.UUID, rest []string) error) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: arguments(names...)}
	out, at := outputFlag(cmd), o.connect(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		task, err := client.ParseTaskID(args[0])
		if err != nil {
			return err
		}
		return at.with(func(c *client.Client) error { return run(cmd, c, out, task, args[1:]) })
	}
	return cmd
}

func (o Options) taskGet() *cobra.Command {
	return o.taskVerb("get TASK", "Show a task", []string{"TASK"},
		func(cmd *cobra.Command, c *client.Client, out *output, task uuid.UUID, _ []string) error {
			a, err := c.Task(cmd.Context(), task)
			if err != nil {
				return err
			}
			return print(cmd, out, a, func(t engine.Task) error { return client.ShowTask(cmd.OutOrStdout(), t) })
		})
}

func (o Options) taskCancel() *cobra.Command {
	return o.taskVerb("cancel TASK", "Cancel a task that has not ended", []string{"TASK"},
		func(cmd *cobra.Command, c *client.Client, out *output, task uuid.UUID, _ []string) error {
			a, err := c.CancelTask(cmd.Context(), task)
			if err != nil {
				return fmt.Errorf("cancel task: %w", err)
			}
			if a.Value.Status != engine.TaskCancelled.String() {
				if a, err = c.Task(cmd.Context(), task); err != nil {
					return fmt.Errorf("task %s was cancelled, but cannot be read: %w", task, err)
				}
			}
			return print(cmd, out, a, func(t engine.Task) error {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "task %s is %s\n", t.TaskUUID, t.Status)
				return err
			})
		})
}

func (o Options) taskSteps() *cobra.Command {
	return o.taskVerb("steps TASK", "List the steps of a task", []string{"TASK"},
		func(cmd *cobra.Command, c *client.Client, out *output, task uuid.UUID, _ []string) error {
			a, err := c.Steps(cmd.Context(), task)
			if err != nil {
				return err
			}
			if len(a.Value) == 0 {
				// An unknown task has no steps either.
				if _, err := c.Task(cmd.Context(), task); err != nil {
					return err
				}
			}
			return print(cmd, out, a, func(s []engine.Step) error { return client.ShowSteps(cmd.OutOrStdout(), s) })
		})
}

func (o Options) taskStep() *cobra.Command {
	return o.taskVerb("step TASK STEP", "Show one step, by name or UUID", []string{"TASK", "STEP"},
		func(cmd *cobra.Command, c *client.Client, out *output, task uuid.UUID, rest []string) error {
			a, err := c.Step(cmd.Context(), task, rest[0])
			if err != nil {
				return err
			}
			return print(cmd, out, a, func(s engine.Step) error { return client.ShowStep(cmd.OutOrStdout(), s) })
		})
}

func (o Options) taskList() *cobra.Command {
	var filter engine.TaskFilter
	limit := 20
	cmd := &cobra.Command{Use: "list", Short: "List tasks, newest first", Args: arguments()}
	f := cmd.Flags()
	f.StringVarP(&filter.Namespace, "namespace", "n", "", "only those of `NAMESPACE`")
	f.StringVarP(&filter.Status, "status", "s", "", "only those in `STATE`: a task state, completed or pending")
	f.IntVarP(&limit, "limit", "l", limit, "at most this many")
	out, at := outputFlag(cmd), o.connect(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if limit < 1 {
			return usagef("task list: --limit must be at least 1, not %d", limit)
		}
		return at.with(func(c *client.Client) error {
			a, err := c.Tasks(cmd.Context(), filter, limit)
			if err != nil {
				return err
			}
			return print(cmd, out, a, func(l engine.TaskList) error { return client.ShowTasks(cmd.OutOrStdout(), l) })
		})
	}
	return cmd
}
