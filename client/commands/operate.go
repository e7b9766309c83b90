package commands

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/gofrs/uuid/v5"
	"github.com/spf13/cobra"

	"github.com/tasker-systems/taskerpy/client"
	"github.com/tasker-systems/taskerpy/engine"
)

// defaultOperator is who changes steps unless somebody is named
// (engine-semantics §10).
const defaultOperator = "cli-operator"

// stepOperation makes a command that changes a step by hand. operator is the
// flag that names who does it.
func (o Options) stepOperation(use, short, operator string, run func(cmd *cobra.Command, c *client.Client, task uuid.UUID, step string, by engine.Operation) (client.Answer[engine.Step], error)) *cobra.Command {
	by := engine.Operation{By: defaultOperator}
	cmd := o.taskVerb(use, short, []string{"TASK", "STEP"},
		func(cmd *cobra.Command, c *client.Client, out *output, task uuid.UUID, rest []string) error {
			verb, _, _ := strings.Cut(use, " ")
			if strings.TrimSpace(by.Reason) == "" {
				return usagef("task %s: --reason is missing; say why, it is kept in the task's history", verb)
			}
			a, err := run(cmd, c, task, rest[0], by)
			if err != nil {
				return fmt.Errorf("%s: %w", strings.ReplaceAll(verb, "-", " "), err)
			}
			return print(cmd, out, a, func(s engine.Step) error {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "step %s is %s\n", s.Name, s.CurrentState)
				return err
			})
		})
	cmd.Flags().StringVarP(&by.Reason, "reason", "r", "", "`WHY` it is done")
	cmd.Flags().StringVarP(&by.By, operator, "b", by.By, "`WHO` does it")
	return cmd
}

func (o Options) taskResetStep() *cobra.Command {
	return o.stepOperation("reset-step TASK STEP", "Let a step in error run again, with all its attempts", "reset-by",
		func(cmd *cobra.Command, c *client.Client, task uuid.UUID, step string, by engine.Operation) (client.Answer[engine.Step], error) {
			return c.ResetStep(cmd.Context(), task, step, by)
		})
}

func (o Options) taskResolveStep() *cobra.Command {
	return o.stepOperation("resolve-step TASK STEP", "Take a step for done, without a result", "resolved-by",
		func(cmd *cobra.Command, c *client.Client, task uuid.UUID, step string, by engine.Operation) (client.Answer[engine.Step], error) {
			return c.ResolveStep(cmd.Context(), task, step, by)
		})
}

func (o Options) taskCompleteStep() *cobra.Command {
	var result, metadata string
	cmd := o.stepOperation("complete-step TASK STEP", "Complete a step with a result of your own", "completed-by",
		func(cmd *cobra.Command, c *client.Client, task uuid.UUID, step string, by engine.Operation) (client.Answer[engine.Step], error) {
			var given engine.Completion
			var err error
			if given.Result, err = anyJSON(cmd, "--result", result); err == nil && metadata != "" {
				given.Metadata, err = anyJSON(cmd, "--metadata", metadata)
			}
			if err != nil {
				return client.Answer[engine.Step]{}, err
			}
			return c.CompleteStep(cmd.Context(), task, step, by, given)
		})
	cmd.Flags().StringVar(&result, "result", "", "the step's result: `JSON`, @FILE or - for standard input")
	cmd.Flags().StringVar(&metadata, "metadata", "", "what to keep beside the result: `JSON`, @FILE or -")
	cmd.Example = `  taskerpy task complete-step TASK charge_card --result '{"charge": "ch_7"}' --reason 'booked by phone'`
	return cmd
}

// maxResult bounds a result given on the command line, in bytes.
const maxResult = 16 << 20

// anyJSON reads any JSON: itself, @FILE or - for standard input.
func anyJSON(cmd *cobra.Command, flag, argument string) (json.RawMessage, error) {
	if argument == "" {
		return nil, usagef("%s is missing; give JSON, @FILE or -", flag)
	}
	data, name := []byte(argument), flag
	if argument == "-" || strings.HasPrefix(argument, "@") {
		var err error
		if name = strings.TrimPrefix(argument, "@"); argument == "-" {
			name = "standard input"
			data, err = io.ReadAll(io.LimitReader(cmd.InOrStdin(), maxResult+1))
		} else {
			data, err = readFile(name)
		}
		if err != nil {
			return nil, usagef("%s: %v", flag, err)
		}
		if len(data) > maxResult {
			return nil, usagef("%s: %s has more than %d bytes", flag, name, maxResult)
		}
	}
	var value json.RawMessage
	if err := json.Unmarshal(data, &value); err != nil {
		return nil, usagef("%s: %s is not JSON: %v", flag, name, err)
	}
	return value, nil
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, maxResult+1))
}

func (o Options) taskStepAudit() *cobra.Command {
	return o.taskVerb("step-audit TASK STEP", "List the finished attempts of a step, newest first", []string{"TASK", "STEP"},
		func(cmd *cobra.Command, c *client.Client, out *output, task uuid.UUID, rest []string) error {
			a, err := c.Audit(cmd.Context(), task, rest[0])
			if err != nil {
				return err
			}
			return print(cmd, out, a, func(all []engine.StepAudit) error { return client.ShowAudit(cmd.OutOrStdout(), all) })
		})
}
