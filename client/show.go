package client

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/engine"
)

// ShowTask writes a task for people.
func ShowTask(w io.Writer, t engine.Task) error {
	var f facts
	f.row(t.Name, "")
	f.add("task", "%s", t.TaskUUID)
	f.add("namespace", "%s", t.Namespace)
	f.add("version", "%s", t.Version)
	f.add("status", "%s", t.Status)
	f.add("execution", "%s", t.ExecutionStatus)
	f.add("steps", "%d of %d complete (%.4g%%)%s", t.CompletedSteps, t.TotalSteps, t.CompletionPercentage, others(t))
	f.add("health", "%s", t.HealthStatus)
	f.add("recommended", "%s", t.RecommendedAction)
	f.add("priority", "%d", t.Priority)
	f.add("created", "%s", moment(&t.CreatedAt))
	f.add("updated", "%s", moment(&t.UpdatedAt))
	f.add("completed", "%s", moment(t.CompletedAt))
	f.add("initiator", "%s (%s): %s", t.Initiator, t.SourceSystem, t.Reason)
	if len(t.Tags) > 0 {
		f.add("tags", "%s", strings.Join(t.Tags, ", "))
	}
	f.add("correlation id", "%s", t.CorrelationID)
	if t.ParentCorrelationID != nil {
		f.add("parent", "%s", *t.ParentCorrelationID)
	}
	return f.write(w)
}

// others counts the steps that are not complete, by what they are.
func others(t engine.Task) string {
	var b strings.Builder
	for _, item := range []struct {
		n    int
		what string
	}{
		{t.FailedSteps, "failed"}, {t.InProgressSteps, "in progress"}, {t.PendingSteps, "pending"}, {t.ReadySteps, "ready"},
	} {
		if item.n > 0 {
			fmt.Fprintf(&b, ", %d %s", item.n, item.what)
		}
	}
	return b.String()
}

// ShowTasks writes a line for each task, and how many more there are.
func ShowTasks(w io.Writer, list engine.TaskList) error {
	if len(list.Tasks) == 0 {
		return write(w, "no tasks\n")
	}
	var t table
	t.row("TASK", "NAME", "VERSION", "NAMESPACE", "STATUS", "STEPS", "CREATED")
	for _, task := range list.Tasks {
		t.row(task.TaskUUID.String(), task.Name, task.Version, task.Namespace, task.Status,
			fmt.Sprintf("%d/%d", task.CompletedSteps, task.TotalSteps), moment(&task.CreatedAt))
	}
	if err := t.write(w); err != nil {
		return err
	}
	if more := list.Pagination.TotalCount - len(list.Tasks); more > 0 {
		return write(w, fmt.Sprintf("and %d more; --limit shows more of them\n", more))
	}
	return nil
}

// ShowSteps writes a line for each step.
func ShowSteps(w io.Writer, steps []engine.Step) error {
	if len(steps) == 0 {
		return write(w, "no steps\n")
	}
	var t table
	t.row("STEP", "STATE", "ATTEMPTS", "DEPENDENCIES", "READY", "RETRY", "UUID", "ERROR")
	for _, s := range steps {
		t.row(s.Name, s.CurrentState, attempts(s), dependencies(s), yes(s.ReadyForExecution), yes(s.RetryEligible),
			s.StepUUID.String(), failure(s.Results, 80))
	}
	return t.write(w)
}

// ShowStep writes a step for people.
func ShowStep(w io.Writer, s engine.Step) error {
	var f facts
	f.row(s.Name, "")
	f.add("step", "%s", s.StepUUID)
	f.add("task", "%s", s.TaskUUID)
	f.add("state", "%s", s.CurrentState)
	f.add("attempts", "%s", attempts(s))
	f.add("dependencies", "%s", dependencies(s))
	f.add("ready", "%s", yes(s.ReadyForExecution))
	f.add("retry eligible", "%s", yes(s.RetryEligible))
	f.add("last attempt", "%s", moment(s.LastAttemptedAt))
	f.add("last failure", "%s", moment(s.LastFailureAt))
	f.add("next retry", "%s", moment(s.NextRetryAt))
	f.add("created", "%s", moment(&s.CreatedAt))
	f.add("completed", "%s", moment(s.CompletedAt))
	if why := Failure(s); why != "" {
		f.add("error", "%s", why)
	}
	if err := f.write(w); err != nil {
		return err
	}
	if value := outcome(s.Results); len(value) > 0 && string(value) != "null" {
		if err := write(w, "  result\n"); err != nil {
			return err
		}
		return WriteJSON(w, value)
	}
	return nil
}

// ShowTemplates writes a line for each template.
func ShowTemplates(w io.Writer, list TemplateList) error {
	if len(list.Templates) == 0 {
		return write(w, "no templates\n")
	}
	var t table
	t.row("NAME", "VERSION", "NAMESPACE", "STEPS", "DESCRIPTION")
	for _, x := range list.Templates {
		t.row(x.Name, x.Version, x.Namespace, fmt.Sprint(x.StepCount), abbreviated(text(x.Description), 80))
	}
	return t.write(w)
}

// ShowTemplate writes a template and its steps for people.
func ShowTemplate(w io.Writer, d TemplateDetail) error {
	var f facts
	f.row(d.Name, "")
	f.add("namespace", "%s", d.Namespace)
	f.add("version", "%s", d.Version)
	if d.Description != nil {
		f.add("description", "%s", *d.Description)
	}
	if err := f.write(w); err != nil || len(d.Steps) == 0 {
		return err
	}
	// The whole template, when the server gives it, tells more of each step.
	full, err := d.Definition()
	if err != nil {
		full = nil
	}
	var t table
	header := []string{"STEP", "ATTEMPTS", "DESCRIPTION"}
	if full != nil {
		header = []string{"STEP", "TYPE", "HANDLER", "DEPENDENCIES", "ATTEMPTS", "DESCRIPTION"}
	}
	t.row(header...)
	for _, s := range d.Steps {
		most := fmt.Sprintf("up to %d", s.DefaultMaxAttempts)
		if !s.DefaultRetryable || s.DefaultMaxAttempts <= 1 {
			most = "1"
		}
		cells := []string{s.Name, most, abbreviated(text(s.Description), 80)}
		if full != nil {
			if step := full.Step(s.Name); step != nil {
				cells = []string{
					s.Name, string(step.Type), step.Handler.Callable, cmp.Or(strings.Join(step.Dependencies, ", "), "-"), cells[1], cells[2],
				}
			}
		}
		t.row(cells...)
	}
	if err := write(w, "\n"); err != nil {
		return err
	}
	return t.write(w)
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// moment is a time in UTC to the second, "-" for none.
func moment(t *time.Time) string {
	if t == nil || t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

func attempts(s engine.Step) string { return fmt.Sprintf("%d of %d", s.Attempts, s.MaxAttempts) }

func dependencies(s engine.Step) string {
	if s.TotalParents == 0 {
		return "none"
	}
	return fmt.Sprintf("%d of %d complete", s.CompletedParents, s.TotalParents)
}

// Failure is why the last attempt of a step failed, with the place in its
// handler, "" if it did not.
func Failure(s engine.Step) string { return failure(s.Results, 0) }

// failure is why the last attempt failed, "" if it did not; its message has at
// most limit characters, 0 for all.
func failure(results json.RawMessage, limit int) string {
	why := dispatch.ReadReason(results)
	if limit > 0 {
		why.Message = abbreviated(why.Message, limit)
	}
	return why.String()
}

// outcome is the result of a step that succeeded (engine-semantics §6.1).
func outcome(results json.RawMessage) json.RawMessage {
	var o struct {
		Result json.RawMessage `json:"result"`
	}
	if json.Unmarshal(results, &o) != nil {
		return nil
	}
	return o.Result
}
