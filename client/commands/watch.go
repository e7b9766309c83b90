package commands

import (
	"cmp"
	"fmt"
	"os/signal"
	"strings"
	"syscall"

	"github.com/gofrs/uuid/v5"
	"github.com/spf13/cobra"

	"github.com/tasker-systems/taskerpy/client"
	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/progress"
)

// FailedError tells that the task that was watched has not ended well.
type FailedError struct{ message string }

// Error is one line.
func (e *FailedError) Error() string { return e.message }

// ExitCode is 1.
func (e *FailedError) ExitCode() int { return 1 }

func (o Options) taskWatch() *cobra.Command {
	mode := progress.Auto
	cmd := o.taskVerb("watch TASK", "Follow a task until it has ended or failed", []string{"TASK"},
		func(cmd *cobra.Command, c *client.Client, out *output, task uuid.UUID, _ []string) error {
			return watch(cmd, c, out, task, mode)
		})
	cmd.Long = `Shows what happens to a task on standard error until it has ended or failed, and
then the task on standard output. The exit code is 0 if it completed and 1 if not.
An interrupt stops watching; the task goes on.`
	cmd.Flags().Var(&mode, "progress", "show progress in `MODE`: auto, plain, live or none")
	return cmd
}

func watch(cmd *cobra.Command, c *client.Client, out *output, task uuid.UUID, mode progress.Mode) error {
	// The display must be taken down when somebody has seen enough.
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	s, err := c.Summary(ctx, task)
	if err != nil {
		return err
	}
	t := client.NewGraph(s.Value).Template()
	display := progress.New(cmd.ErrOrStderr(), progress.Options{
		Mode: mode, Title: t.Key(), Created: s.Value.Task.CreatedAt, Steps: progress.Steps(t),
	})
	defer display.Close()
	display.Start()
	failed, why := "", ""
	end, err := c.Follow(ctx, task, func(change engine.Change) {
		if change.Step != "" && change.To == engine.StepError.String() {
			failed, why = change.Step, change.Message
		}
		display.Change(change)
	})
	if err != nil {
		return err
	}
	display.Finish(end.Value)
	if err := print(cmd, out, end, func(t engine.Task) error { return client.ShowTask(cmd.OutOrStdout(), t) }); err != nil {
		return err
	}
	switch end.Value.Status {
	case engine.TaskComplete.String(), engine.TaskResolvedManually.String():
		return nil
	}
	text := fmt.Sprintf("task %s: %s", t.Key(), end.Value.Status)
	if end.Value.Status != engine.TaskBlockedByFailures.String() && end.Value.Status != engine.TaskError.String() || failed == "" {
		return &FailedError{text}
	}
	// The stored result says more than the change did.
	if s, err := c.Step(ctx, task, failed); err == nil {
		why = cmp.Or(client.Failure(s.Value), why)
	}
	return &FailedError{strings.TrimSuffix(fmt.Sprintf("%s: step %s failed: %s", text, failed, why), ": ")}
}
