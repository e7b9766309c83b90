package engine

import "slices"

// modelTemplate is a template as the model knows it.
type modelTemplate struct {
	name  string
	steps []*modelDef
}

// modelDef is a step of a template.
type modelDef struct {
	name, kind string // kind in the template's words
	deps       []string
	policy     modelPolicy
	event      string // the condition of the event it declares; none when empty
	worker     string // worker_template_name in the initialization of a batchable step
}

// modelBatch is what an instance of a batch worker gets.
type modelBatch struct {
	id   string
	noOp bool
}

// modelOutcome is what the result of a decision or batchable step asks for.
type modelOutcome struct {
	kind   string   // as in the result; empty when the result has no outcome
	names  []string // of steps, or ids of batches
	worker string   // of batches
}

func (t *modelTemplate) def(name string) *modelDef {
	for _, d := range t.steps {
		if d.name == name {
			return d
		}
	}
	return nil
}

func (t *modelTemplate) has(kind string) bool {
	return slices.ContainsFunc(t.steps, func(d *modelDef) bool { return d.kind == kind })
}

// initial are the steps that a task begins with (engine-semantics §2.5).
func (t *modelTemplate) initial() (steps []*modelStep) {
	var begins func(d *modelDef) bool
	begins = func(d *modelDef) bool {
		if d.kind == "batch_worker" || d.kind == "deferred_convergence" && !t.has("decision") {
			return false
		}
		return !slices.ContainsFunc(d.deps, func(name string) bool {
			dep := t.def(name)
			return dep.kind == "decision" || !begins(dep)
		})
	}
	for _, d := range t.steps {
		if begins(d) {
			steps = append(steps, &modelStep{name: d.name, def: d, state: "pending", parents: d.deps})
		}
	}
	return steps
}

// stepSet is a set of step names.
type stepSet map[string]bool

func (n stepSet) any(list []string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return n[s] })
}

// follow gives a task the steps that a result asks for. It tells whether that
// can be followed; if not, nothing has changed.
func (t *modelTask) follow(s *modelStep, o modelOutcome) bool {
	switch {
	case s.def.kind == "decision" && o.kind == "create_steps":
		return t.branch(s.name, o.names)
	case s.def.kind == "batchable" && t.hasBatches(s.name): // §5.4, rule 1
		return true
	case s.def.kind == "batchable" && o.kind == "create_batches" && len(o.names) > 0:
		return t.split(s.name, o.worker, o.names, false)
	case s.def.kind == "batchable" && o.kind == "no_batches":
		return s.def.worker == "" || t.split(s.name, s.def.worker, []string{"000"}, true)
	}
	return s.def.kind != "batchable"
}

// hasBatches tells whether there are instances of a step's workers.
func (t *modelTask) hasBatches(step string) bool {
	return slices.ContainsFunc(t.steps, func(s *modelStep) bool { return s.batch.id != "" && slices.Contains(s.parents, step) })
}

// branch creates what a decision asks for: the rules 1 to 8 of
// engine-semantics §5.2, with their fixes.
func (t *modelTask) branch(decision string, requested []string) bool {
	members, exits := stepSet{}, stepSet{}
	t.repeat(func(d *modelDef) bool {
		if members[d.name] || exits[d.name] || !slices.Contains(d.deps, decision) && !members.any(d.deps) {
			return false
		}
		if d.kind == "decision" {
			exits[d.name] = true
		} else {
			members[d.name] = true
		}
		return true
	})
	chosen := stepSet{}
	for _, name := range requested { // rules 1 and 2
		if !members[name] || t.template.def(name).kind == "batch_worker" {
			return false
		}
		chosen[name] = true
	}
	for name := range exits { // rule 3
		if len(requested) > 0 && slices.Contains(t.template.def(name).deps, decision) {
			chosen[name] = true
		}
	}
	t.repeat(func(d *modelDef) bool { // rule 4
		if d.kind == "deferred_convergence" || d.kind == "batch_worker" || !members[d.name] && !exits[d.name] {
			return false
		}
		return chosen.take(d.name, chosen.any(d.deps))
	})
	t.grow(decision, chosen)
	return true
}

// split creates the instances of a batch worker and what gathers their
// results (engine-semantics §5.4).
func (t *modelTask) split(from, worker string, ids []string, noOp bool) bool {
	def := t.template.def(worker)
	if def == nil || def.kind != "batch_worker" {
		return false
	}
	var instances []*modelStep
	for _, id := range ids {
		s := &modelStep{name: worker + "_" + id, def: def, state: "pending", parents: []string{from}, batch: modelBatch{id, noOp}}
		if t.step(s.name) != nil || slices.ContainsFunc(instances, func(i *modelStep) bool { return i.name == s.name }) {
			return false
		}
		instances = append(instances, s)
	}
	t.steps = append(t.steps, instances...)
	chosen := stepSet{}
	for _, d := range t.template.steps {
		chosen.take(d.name, d.kind == "deferred_convergence" && slices.Contains(d.deps, worker))
	}
	t.grow(from, chosen)
	for name := range chosen {
		for _, i := range instances {
			if s := t.step(name); slices.Contains(s.def.deps, worker) {
				s.wait(i.name)
			}
		}
	}
	return true
}

// grow creates the chosen steps and those that follow from them, with their
// dependencies (rules 5 to 8 of engine-semantics §5.2).
func (t *modelTask) grow(from string, chosen stepSet) {
	there := func(name string) bool { return chosen[name] || t.step(name) != nil }
	t.repeat(func(d *modelDef) bool {
		switch d.kind {
		case "batch_worker":
			return false
		case "deferred_convergence":
			return chosen.take(d.name, chosen.any(d.deps))
		}
		waits := slices.ContainsFunc(d.deps, func(name string) bool {
			return !there(name) || t.template.def(name).kind == "decision" && name != from
		})
		return !there(d.name) && chosen.take(d.name, !waits && chosen.any(d.deps))
	})
	for _, d := range t.template.steps {
		if chosen[d.name] && t.step(d.name) == nil {
			t.steps = append(t.steps, &modelStep{name: d.name, def: d, state: "pending"})
		}
	}
	for name := range chosen {
		s := t.step(name)
		for _, dep := range s.def.deps {
			switch {
			case t.step(dep) != nil:
				s.wait(dep)
			case s.def.kind != "deferred_convergence":
				s.wait(from)
			case t.template.def(dep).kind == "batch_worker":
				for _, b := range t.template.def(dep).deps { // whose workers are still to come
					if b != from && t.step(b) != nil && t.template.def(b).kind == "batchable" {
						s.wait(b)
					}
				}
			}
		}
	}
}

// repeat calls f with each step of the template until it changes nothing.
func (t *modelTask) repeat(f func(*modelDef) (changed bool)) {
	for again := true; again; {
		again = false
		for _, d := range t.template.steps {
			again = f(d) || again
		}
	}
}

// take adds a name if it is wanted and tells whether that is new.
func (n stepSet) take(name string, wanted bool) bool {
	if !wanted || n[name] {
		return false
	}
	n[name] = true
	return true
}

// wait adds a dependency, once.
func (s *modelStep) wait(name string) {
	if !slices.Contains(s.parents, name) {
		s.parents = append(slices.Clip(s.parents), name)
	}
}
