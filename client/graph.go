package client

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/template"
)

// Graph is a task as a graph of its steps, coloured by their states
// (engine-semantics §10.1, task view).
type Graph struct {
	summary  engine.TaskSummary
	template *template.Template
	states   map[string]string
}

// NewGraph makes the graph of a task.
func NewGraph(s engine.TaskSummary) *Graph {
	g := &Graph{summary: s, template: templateOf(s), states: map[string]string{}}
	for _, step := range s.Steps {
		g.states[step.Name] = step.CurrentState
	}
	return g
}

// templateOf is the template that a summary tells of, as far as a graph needs
// it. Without one, the task's steps stand for themselves.
func templateOf(s engine.TaskSummary) *template.Template {
	t := &template.Template{Name: s.Task.Name, Namespace: s.Task.Namespace, Version: s.Task.Version}
	for _, step := range s.Template.Steps {
		t.Steps = append(t.Steps, template.Step{
			Name: step.Name, Type: template.StepType(step.StepType), Dependencies: step.Dependencies,
			Handler: template.Handler{Callable: step.Handler},
			Retry:   template.Retry{Retryable: step.Retryable, MaxAttempts: step.MaxAttempts},
		})
	}
	if len(t.Steps) == 0 {
		for _, step := range s.Steps {
			t.Steps = append(t.Steps, template.Step{Name: step.Name, Type: template.Standard})
		}
	}
	return t
}

// Template is the task's template: names, types, dependencies and attempts of
// its steps.
func (g *Graph) Template() *template.Template { return g.template }

// Text draws the task as a tree, in the terminal's colours if colour is true.
func (g *Graph) Text(w io.Writer, colour bool) error {
	paint := func(_, text string) string { return text }
	if colour {
		paint = coloured
	}
	return g.template.TextPainted(w, g.states, paint)
}

// Mermaid draws the task as a Mermaid flow chart.
func (g *Graph) Mermaid(w io.Writer) error { return g.template.Mermaid(w, g.states) }

// DOT draws the task for Graphviz.
func (g *Graph) DOT(w io.Writer) error { return g.template.DOT(w, g.states) }

// SVG draws the task as an image.
func (g *Graph) SVG(w io.Writer) error { return g.template.SVG(w, g.states) }

// coloured paints a step by its state, in colours that terminals have.
func coloured(state, text string) string {
	code := "2" // faint: pending, or not there
	switch s, _ := engine.ParseStepState(state); s {
	case engine.StepComplete, engine.StepResolvedManually:
		code = "32" // green
	case engine.StepInProgress:
		code = "34" // blue
	case engine.StepError, engine.StepCancelled:
		code = "31" // red
	case engine.StepWaitingForRetry, engine.StepEnqueued, engine.StepEnqueuedForOrchestration, engine.StepEnqueuedAsErrorForOrchestration:
		code = "33" // yellow
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Markdown describes the task: what it is, its graph, and a table of its
// steps with links below base, the address of the API, if that is given.
func (g *Graph) Markdown(w io.Writer, base string) error {
	b := bufio.NewWriter(w)
	t := g.summary.Task
	fmt.Fprintf(b, "# %s\n\n", oneLine(t.Name))
	for _, fact := range [][2]string{
		{"Task", t.TaskUUID.String()}, {"Namespace", t.Namespace}, {"Version", t.Version}, {"Status", t.Status},
		{"Completion", fmt.Sprintf("%d of %d steps (%.4g%%)", t.CompletedSteps, t.TotalSteps, t.CompletionPercentage)},
		{"Health", t.HealthStatus}, {"Elapsed", elapsed(t)}, {"DLQ", g.dlq()},
	} {
		fmt.Fprintf(b, "- **%s**: %s\n", fact[0], oneLine(fact[1]))
	}
	if g.summary.DLQ.InDLQ {
		fmt.Fprintf(b, "\n> ⚠ This task is in the dead-letter queue (%s): somebody should look into it.\n", g.dlq())
	}
	b.WriteString("\n```mermaid\n")
	if err := g.Mermaid(b); err != nil {
		return err
	}
	b.WriteString("```\n\n## Step Details\n\n" +
		"| Step | Type | Handler | State | Duration | Attempts | Error | Link |\n" +
		"|---|---|---|---|---|---|---|---|\n")
	for _, s := range g.summary.Steps {
		g.row(b, s, base)
	}
	for i := range g.template.Steps {
		s := &g.template.Steps[i]
		if g.states[s.Name] == "" && s.Type != template.BatchWorker {
			fmt.Fprintf(b, "| %s | %s | %s | not created | — | — | — | — |\n", cell(s.Name), s.Type.Title(), cell(s.Handler.Callable))
		}
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

func (g *Graph) row(b *bufio.Writer, s engine.SummaryStep, base string) {
	def := g.definition(s.Name)
	failure, link := "", ""
	if s.Error != nil {
		failure = s.Error.ErrorType
	}
	if base != "" {
		link = fmt.Sprintf("[step](%s%s/%s)", strings.TrimSuffix(base, "/"), g.summary.Links.Steps, s.StepUUID)
	}
	took := ""
	if s.CompletedAt != nil && s.LastAttemptedAt != nil {
		took = short(s.CompletedAt.Sub(*s.LastAttemptedAt))
	}
	fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %d/%d | %s | %s |\n", cell(s.Name), def.Type.Title(), cell(def.Handler.Callable),
		cell(s.CurrentState), cell(took), s.Attempts, s.MaxAttempts, cell(failure), cell(link))
}

// definition is the step of the template that a step of the task is made from:
// an instance of a batch worker is named after it (engine-semantics §5.4).
func (g *Graph) definition(name string) template.Step {
	if s := g.template.Step(name); s != nil {
		return *s
	}
	var worker template.Step
	for _, s := range g.template.Steps {
		if s.Type == template.BatchWorker && strings.HasPrefix(name, s.Name+"_") && len(s.Name) > len(worker.Name) {
			worker = s
		}
	}
	worker.Type = cmp.Or(worker.Type, template.Standard)
	return worker
}

func (g *Graph) dlq() string {
	d := g.summary.DLQ
	if !d.InDLQ {
		return "no"
	}
	return strings.Join(strings.Fields(text(d.DLQReason)+" "+text(d.ResolutionStatus)), ", ")
}

// elapsed is how long the task took, or has been there.
func elapsed(t engine.SummaryTask) string {
	end := time.Now()
	if t.CompletedAt != nil {
		end = *t.CompletedAt
	}
	return short(end.Sub(t.CreatedAt))
}

// short is a duration as people read it.
func short(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// cell is a table cell's text, an em dash when there is none.
func cell(s string) string {
	if s == "" {
		return "—"
	}
	return strings.ReplaceAll(oneLine(s), "|", `\|`)
}
