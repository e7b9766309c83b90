package engine

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/tasker-systems/taskerpy/engine/store"
	"github.com/tasker-systems/taskerpy/template"
)

// expandStep plans what the successful result of step i adds to its task.
func (w *writer) expandStep(r *run, i int32, result []byte) ([]*plannedStep, error) {
	s := &r.steps[i]
	if r.named.def == nil {
		return nil, nil
	}
	from := r.named.def.template.Step(s.templateName())
	if from == nil || from.Type != template.Decision && from.Type != template.Batchable {
		return nil, nil
	}
	if from.Type == template.Batchable && r.hasInstances(i) {
		return nil, nil
	}
	planned, warning, err := expand(r.named.def.template, from, result, func(name string) bool { return r.position(name) >= 0 })
	if warning != "" {
		w.e.log.Warn(warning, "task_uuid", r.row.UUID, "step", s.name)
	}
	if err == nil && len(r.steps)+len(planned) > store.MaxPositions {
		err = fmt.Errorf("the task would have %d steps, at most %d are possible", len(r.steps)+len(planned), store.MaxPositions)
	}
	return planned, err
}

// hasInstances tells whether a batchable step has its workers already: an
// operator may complete it once more (engine-semantics §5.4, rule 1).
func (r *run) hasInstances(i int32) bool {
	return slices.ContainsFunc(r.steps[i].children, func(c int32) bool { return r.steps[c].row.TemplateStep != "" })
}

// position returns where in the task a step is, -1 when there is none.
func (r *run) position(name string) int32 {
	if r.positions == nil {
		r.positions = make(map[string]int32, len(r.steps))
		for i := range r.steps {
			r.positions[r.steps[i].name] = int32(i)
		}
	}
	if i, ok := r.positions[name]; ok {
		return i
	}
	return -1
}

// templateName is the name of the template step that defines s.
func (s *step) templateName() string {
	if s.row.TemplateStep != "" {
		return s.row.TemplateStep
	}
	return s.name
}

// grow adds the planned steps to the task. Pointers to its steps are stale
// afterwards.
func (w *writer) grow(r *run, planned []*plannedStep) {
	first := int32(len(r.steps))
	for _, p := range planned {
		if r.position(p.name) >= 0 {
			continue
		}
		i := int32(len(r.steps))
		r.positions[p.name] = i
		r.steps = append(r.steps, w.newStep(r, p, i))
		w.setStep(r, i, StepPending, "")
	}
	for _, p := range planned {
		i := r.position(p.name)
		s := &r.steps[i]
		// A convergence has tens of thousands of parents, none of which it had.
		had := s.parents
		s.parents = slices.Clip(had)
		for _, name := range p.parents {
			parent := r.position(name)
			if slices.Contains(had, parent) {
				continue
			}
			s.parents = append(s.parents, parent)
			s.newParents = true
			if !r.steps[parent].state.Satisfies() {
				s.missing++
			}
			r.steps[parent].children = append(r.steps[parent].children, i)
		}
		if s.newParents {
			s.row.Parents = positionsJSON(s.parents)
			w.touchStep(r, i)
		}
		switch {
		case s.missing > 0 || s.state != StepPending:
		case i >= first:
			r.due = append(r.due, i)
		default:
			r.addDue(i)
		}
	}
}

// newStep makes the row of a planned step.
func (w *writer) newStep(r *run, p *plannedStep, i int32) step {
	t := r.named.def.template.Step(p.template)
	named := w.namedStep(p.name)
	s := step{
		row: store.Step{
			ID: store.ID(r.row.ID, int(i)), UUID: newUUID(), NamedStep: named.ID,
			Retryable: t.Retry.Retryable, MaxAttempts: attemptsOf(t.Retry.MaxAttempts), BackoffSeconds: -1,
			CreatedAt: w.batch.at, UpdatedAt: w.batch.at, Inputs: p.inputs,
		},
		name: p.name, quoted: quote(p.name), namedUUID: named.UUID,
	}
	if p.template != p.name {
		s.row.TemplateStep = p.template
	}
	if p.inputs == nil {
		s.row.Inputs = inputsOf(t.Handler.Initialization)
	}
	return s
}

// expansionFailure is the result of a step whose handler succeeded with an
// outcome that cannot be followed: what it returned is kept beside the error.
func (w *writer) expansionFailure(r *run, i int32, given []byte, err error) []byte {
	s := &r.steps[i]
	errorType := decisionInvalid
	if from := r.named.def.template.Step(s.templateName()); from != nil && from.Type == template.Batchable {
		errorType = batchInvalid
	}
	failed := object(failureResult(s.row.UUID, errorType, err.Error(), false, w.e.o.WorkerID, w.batch.at.Time()))
	if value, ok := object(given)["result"]; ok {
		failed["result"] = value
	}
	data, err := json.Marshal(failed)
	if err != nil {
		return given // the parts are JSON already, so this cannot happen
	}
	return data
}
