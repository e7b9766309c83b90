package engine

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/tasker-systems/taskerpy/template"
)

const (
	// maxDecisionSteps is how many steps one decision may ask for
	// (engine-semantics §5.1).
	maxDecisionSteps = 100

	decisionInvalid = "decision_outcome_invalid"
	batchInvalid    = "batch_outcome_invalid"
)

// A plannedStep is a step that a finished decision or batchable step adds to
// its task, or an existing step that gets further dependencies.
type plannedStep struct {
	name     string
	template string // name of its template step
	inputs   []byte // nil: those of the template step
	parents  []string
}

// expansion plans what one finished step adds to its task.
type expansion struct {
	template *template.Template
	exists   func(step string) bool // whether the task has a step of this name
	from     *template.Step         // the finished step

	planned []*plannedStep
	byName  map[string]*plannedStep
	linked  map[[2]string]bool // names of planned steps and their parents
}

// expand returns what the result of a step adds to its task (engine-semantics
// §5.1–5.4): nothing for most. The error says why the result cannot be
// followed; warning is for the log.
func expand(t *template.Template, from *template.Step, result []byte, exists func(string) bool) (planned []*plannedStep, warning string, err error) {
	x := &expansion{template: t, exists: exists, from: from, byName: map[string]*plannedStep{}}
	value := object(object(result)["result"])
	switch from.Type {
	case template.Decision:
		warning, err = x.decide(value["decision_point_outcome"])
	case template.Batchable:
		warning, err = x.split(value["batch_processing_outcome"])
	}
	if err != nil {
		return nil, "", err
	}
	return x.planned, warning, nil
}

// add plans a step once; further parents are added to it.
func (x *expansion) add(name, templateStep string, inputs []byte, parents ...string) *plannedStep {
	p := x.byName[name]
	if p == nil {
		p = &plannedStep{name: name, template: templateStep, inputs: inputs}
		x.byName[name] = p
		x.planned = append(x.planned, p)
	}
	for _, parent := range parents {
		if link := [2]string{name, parent}; !x.linked[link] {
			if x.linked == nil {
				x.linked = map[[2]string]bool{}
			}
			x.linked[link] = true
			p.parents = append(p.parents, parent)
		}
	}
	return p
}

// present tells whether the task has, or will have, a step of this name.
func (x *expansion) present(name string) bool { return x.byName[name] != nil || x.exists(name) }

// dependents lists the template steps that depend on a step, in template order.
func (x *expansion) dependents(name string) []*template.Step {
	var all []*template.Step
	for i := range x.template.Steps {
		if s := &x.template.Steps[i]; slices.Contains(s.Dependencies, name) {
			all = append(all, s)
		}
	}
	return all
}

// decisionOutcome is what a decision step's handler returns.
type decisionOutcome struct {
	Type      string   `json:"type"`
	StepNames []string `json:"step_names"`
}

// decide plans the branches that a decision asks for.
func (x *expansion) decide(outcome json.RawMessage) (warning string, err error) {
	if outcome == nil {
		return "result has no decision_point_outcome: no branch is taken", nil
	}
	var o decisionOutcome
	if err := json.Unmarshal(outcome, &o); err != nil {
		return fmt.Sprintf("decision_point_outcome cannot be read, no branch is taken: %v", err), nil
	}
	switch o.Type {
	case "no_branches":
		return "", nil
	case "create_steps":
	default:
		return fmt.Sprintf("decision_point_outcome has unknown type %q: no branch is taken", o.Type), nil
	}
	if len(o.StepNames) > maxDecisionSteps {
		return "", fmt.Errorf("decision %q asks for %d steps, at most %d are allowed", x.from.Name, len(o.StepNames), maxDecisionSteps)
	}
	members, exits := x.graph()
	for _, name := range o.StepNames {
		if s := members[name]; s == nil || s.Type == template.BatchWorker {
			return "", fmt.Errorf("Step '%s' is not a valid descendant of decision point '%s'", name, x.from.Name)
		}
	}
	chosen := x.walk(o.StepNames, members, exits)
	for _, name := range x.templateOrder(chosen) {
		x.plan(name)
	}
	x.converge()
	x.connect()
	return "", nil
}

// graph returns the steps below the decision up to further decisions, and
// those decisions (engine-semantics §5.2).
func (x *expansion) graph() (members, exits map[string]*template.Step) {
	members, exits = map[string]*template.Step{}, map[string]*template.Step{}
	queue := []string{x.from.Name}
	for len(queue) > 0 {
		for _, s := range x.dependents(queue[0]) {
			switch {
			case s.Type == template.Decision:
				exits[s.Name] = s
			case members[s.Name] == nil:
				members[s.Name] = s
				queue = append(queue, s.Name)
			}
		}
		queue = queue[1:]
	}
	return members, exits
}

// walk returns the requested steps with all that follows from them within the
// graph. What also depends on a further decision is part of it when there is a
// way around that one. Convergence steps and batch workers are created by other rules.
func (x *expansion) walk(requested []string, members, exits map[string]*template.Step) map[string]bool {
	chosen := map[string]bool{}
	queue := slices.Clone(requested)
	if len(requested) > 0 {
		for _, s := range x.dependents(x.from.Name) {
			if exits[s.Name] != nil {
				queue = append(queue, s.Name)
			}
		}
	}
	for len(queue) > 0 {
		name := queue[0]
		queue = queue[1:]
		if chosen[name] {
			continue
		}
		chosen[name] = true
		for _, s := range x.dependents(name) {
			switch {
			case s.Type == template.DeferredConvergence, s.Type == template.BatchWorker:
			case exits[s.Name] != nil, members[s.Name] != nil:
				queue = append(queue, s.Name)
			}
		}
	}
	return chosen
}

// templateOrder lists names in the order of the template.
func (x *expansion) templateOrder(names map[string]bool) []string {
	var all []string
	for i := range x.template.Steps {
		if name := x.template.Steps[i].Name; names[name] {
			all = append(all, name)
		}
	}
	return all
}

// plan adds a template step under its own name, without dependencies yet.
func (x *expansion) plan(name string) { x.add(name, name, nil) }

// converge adds the convergence steps that wait for a planned step, and then
// what waits for steps that exist or are planned by now, until nothing is
// left to add.
func (x *expansion) converge() {
	for grown := true; grown; {
		grown = false
		for i := range x.template.Steps {
			s := &x.template.Steps[i]
			if x.present(s.Name) && !(s.Type == template.DeferredConvergence && x.byName[s.Name] == nil) {
				continue
			}
			var wanted bool
			switch s.Type {
			case template.BatchWorker:
			case template.DeferredConvergence:
				wanted = slices.ContainsFunc(s.Dependencies, func(d string) bool { return x.byName[d] != nil })
			default:
				wanted = x.followsConvergence(s)
			}
			if wanted {
				x.plan(s.Name)
				grown = true
			}
		}
	}
}

// followsConvergence tells whether a step waited for a convergence step that
// is planned now, and all its dependencies are there. What follows another
// decision is that one's to create.
func (x *expansion) followsConvergence(s *template.Step) bool {
	follows := false
	for _, d := range s.Dependencies {
		t := x.template.Step(d)
		if !x.present(d) || t.Type == template.Decision && d != x.from.Name {
			return false
		}
		if x.byName[d] != nil {
			follows = true
		}
	}
	return follows
}

// connect gives the planned steps their dependencies.
func (x *expansion) connect() {
	for _, p := range x.planned {
		s := x.template.Step(p.template)
		if p.name != p.template || s == nil {
			continue // an instance: its parents are known already
		}
		for _, d := range s.Dependencies {
			switch {
			case x.present(d):
				x.add(p.name, "", nil, d)
			case s.Type == template.DeferredConvergence:
				x.holdBack(p.name, d)
			default:
				x.add(p.name, "", nil, x.from.Name)
			}
		}
	}
}

// holdBack makes a convergence step wait for the batchable steps whose workers
// it waits for, until those workers exist.
func (x *expansion) holdBack(convergence, worker string) {
	w := x.template.Step(worker)
	if w == nil || w.Type != template.BatchWorker {
		return
	}
	for _, d := range w.Dependencies {
		if b := x.template.Step(d); b != nil && b.Type == template.Batchable && d != x.from.Name && x.present(d) {
			x.add(convergence, "", nil, d)
		}
	}
}

// batchOutcome is what a batchable step's handler returns.
type batchOutcome struct {
	Type           string         `json:"type"`
	WorkerTemplate string         `json:"worker_template_name"`
	Cursors        []cursorConfig `json:"cursor_configs"`
}

type cursorConfig struct {
	BatchID string          `json:"batch_id"`
	Start   json.RawMessage `json:"start_cursor"`
	End     json.RawMessage `json:"end_cursor"`
	Size    json.RawMessage `json:"batch_size"`
}

// split plans the workers of a batchable step and what gathers their results.
func (x *expansion) split(outcome json.RawMessage) (warning string, err error) {
	if outcome == nil {
		return "", fmt.Errorf("result of batchable step %q has no batch_processing_outcome", x.from.Name)
	}
	var o batchOutcome
	if err := json.Unmarshal(outcome, &o); err != nil {
		return "", fmt.Errorf("batch_processing_outcome of step %q cannot be read: %w", x.from.Name, err)
	}
	nothing := false
	switch o.Type {
	case "create_batches":
		if len(o.Cursors) == 0 {
			return "", fmt.Errorf("batch_processing_outcome of step %q has no cursor_configs; return no_batches when there is nothing to do", x.from.Name)
		}
	case "no_batches":
		nothing = true
		o.WorkerTemplate = text(object(x.from.Handler.Initialization)["worker_template_name"])
		if o.WorkerTemplate == "" {
			return "no batches, and handler.initialization has no worker_template_name: no worker and no convergence step is created", nil
		}
		zero := json.RawMessage("0")
		o.Cursors = []cursorConfig{{BatchID: "000", Start: zero, End: zero, Size: zero}}
	default:
		return "", fmt.Errorf("batch_processing_outcome of step %q has unknown type %q", x.from.Name, o.Type)
	}
	worker := x.template.Step(o.WorkerTemplate)
	switch {
	case worker == nil || worker.Type != template.BatchWorker:
		return "", fmt.Errorf("step %q asks for workers of %q, which is no batch_worker step of the template", x.from.Name, o.WorkerTemplate)
	case worker.BatchConfig == nil:
		return "", fmt.Errorf("batch_worker step %q has no batch_config", worker.Name)
	}
	var instances []string
	for _, c := range o.Cursors {
		name := worker.Name + "_" + c.BatchID
		if x.present(name) {
			return "", fmt.Errorf("batch %q of step %q exists already; batch ids must differ", c.BatchID, x.from.Name)
		}
		inputs, err := instanceInputs(worker, c, nothing)
		if err != nil {
			return "", err
		}
		x.add(name, worker.Name, inputs, x.from.Name)
		instances = append(instances, name)
	}
	for i := range x.template.Steps {
		s := &x.template.Steps[i]
		if s.Type == template.DeferredConvergence && slices.Contains(s.Dependencies, worker.Name) {
			x.add(s.Name, s.Name, nil, instances...)
		}
	}
	x.converge()
	x.connect()
	return "", nil
}

// instanceInputs overlays the worker's initialization with its batch
// (engine-semantics §5.4).
func instanceInputs(worker *template.Step, c cursorConfig, nothing bool) ([]byte, error) {
	type cursor struct {
		BatchID string          `json:"batch_id"`
		Start   json.RawMessage `json:"start_cursor"`
		End     json.RawMessage `json:"end_cursor"`
		Size    json.RawMessage `json:"batch_size"`
	}
	overlay, err := json.Marshal(struct {
		Cursor   cursor         `json:"cursor"`
		Metadata map[string]any `json:"batch_metadata"`
		NoOp     bool           `json:"is_no_op"`
		Template string         `json:"__template_step_name"`
	}{
		Cursor: cursor(c), NoOp: nothing, Template: worker.Name,
		Metadata: map[string]any{
			"cursor_field":     worker.BatchConfig.CursorField,
			"failure_strategy": string(worker.BatchConfig.FailureStrategy),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("write inputs of batch %q: %w", c.BatchID, err)
	}
	inputs := object(worker.Handler.Initialization)
	if len(inputs) == 0 {
		return overlay, nil
	}
	for key, value := range object(overlay) {
		inputs[key] = value
	}
	return json.Marshal(inputs)
}
