package engine

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
)

// makeShape makes up a template. A third of them have ordinary steps only.
func makeShape(r *rand.Rand, name string) *modelTemplate {
	t := &modelTemplate{name: name}
	plain := r.IntN(3) == 0
	for i := range 1 + r.IntN(10) {
		d := &modelDef{name: fmt.Sprint("s", i), kind: "standard", policy: modelPolicy{
			retryable: r.IntN(10) > 0, max: r.IntN(5), base: []int{100, 250, 1000}[r.IntN(3)], limit: []int{1000, 30000}[r.IntN(2)],
			backoff: []string{"none", "linear", "exponential", "fibonacci"}[r.IntN(4)],
		}}
		if r.IntN(4) == 0 {
			d.event = []string{"always", "success", "failure", "retryable_failure", "permanent_failure"}[r.IntN(5)]
		}
		t.connect(r, d, plain)
		t.steps = append(t.steps, d)
	}
	for _, d := range t.steps {
		if workers := t.workersOf(d.name); d.kind == "batchable" && len(workers) > 0 && r.IntN(4) > 0 {
			d.worker = workers[r.IntN(len(workers))]
		}
	}
	return t
}

// connect chooses the kind and the dependencies of the next step.
func (t *modelTemplate) connect(r *rand.Rand, d *modelDef, plain bool) {
	for _, p := range t.steps {
		if r.IntN(3) == 0 {
			d.deps = append(d.deps, p.name)
		}
	}
	if plain {
		return
	}
	after := func(kind string) bool { // one of the last steps of this kind
		for i := len(t.steps) - 1; i >= 0; i-- {
			if p := t.steps[i]; p.kind == kind && r.IntN(3) > 0 {
				if !contains(d.deps, p.name) {
					d.deps = append(d.deps, p.name)
				}
				return true
			}
		}
		return false
	}
	switch n := r.IntN(100); {
	case n < 35 && t.has("batchable") && after("batchable"):
		d.kind = "batch_worker"
	case n < 55 && (after("batch_worker") || len(d.deps) > 0):
		d.kind = "deferred_convergence"
		for _, p := range t.steps {
			if r.IntN(3) == 0 && !contains(d.deps, p.name) {
				d.deps = append(d.deps, p.name)
			}
		}
	case n < 70 && len(t.steps) > 0:
		d.kind = "decision"
		if len(d.deps) == 0 {
			d.deps = []string{t.steps[r.IntN(len(t.steps))].name}
		}
	case n < 82:
		d.kind = "batchable"
	default:
		after("decision")
	}
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// workersOf are the batch workers that depend on a step.
func (t *modelTemplate) workersOf(step string) (all []string) {
	for _, d := range t.steps {
		if d.kind == "batch_worker" && contains(d.deps, step) {
			all = append(all, d.name)
		}
	}
	return all
}

// yaml writes the template.
func (t *modelTemplate) yaml() string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\nnamespace_name: tests\nversion: 1.0.0\nsteps:\n", t.name)
	for _, d := range t.steps {
		p := &d.policy
		fmt.Fprintf(&b, "  - name: %s\n    type: %s\n    dependencies: [%s]\n", d.name, d.kind, strings.Join(d.deps, ", "))
		if d.worker == "" {
			b.WriteString("    handler: {callable: h}\n")
		} else {
			fmt.Fprintf(&b, "    handler: {callable: h, initialization: {worker_template_name: %s}}\n", d.worker)
		}
		fmt.Fprintf(&b, "    retry: {retryable: %t, max_attempts: %d, backoff: %s, backoff_base_ms: %d, max_backoff_ms: %d}\n",
			p.retryable, p.max, p.backoff, p.base, p.limit)
		if d.kind == "batch_worker" {
			b.WriteString("    batch_config: {batch_size: 10, parallelism: 2, cursor_field: id, worker_template: w, failure_strategy: fail_fast}\n")
		}
		if d.event != "" {
			fmt.Fprintf(&b, "    publishes_events: [{name: tests.done, description: Done, condition: %s, schema: {}}]\n", d.event)
		}
	}
	return b.String()
}

// makeOutcome makes up the result of a successful attempt, as JSON, and what
// it asks for.
func makeOutcome(r *rand.Rand, t *modelTemplate, d *modelDef, note string) (string, modelOutcome) {
	o := modelOutcome{}
	switch d.kind {
	case "decision":
		switch n := r.IntN(100); {
		case n < 4:
		case n < 10:
			o.kind = "no_branches"
		default:
			o.kind = "create_steps"
			for _, s := range t.steps {
				if likely := contains(s.deps, d.name) && s.kind != "decision" && s.kind != "batch_worker"; likely && r.IntN(3) > 0 || r.IntN(60) == 0 {
					o.names = append(o.names, s.name)
				}
			}
		}
	case "batchable":
		workers := t.workersOf(d.name)
		switch n := r.IntN(100); {
		case n < 4:
		case n < 20 || len(workers) == 0 && n < 95:
			o.kind = "no_batches"
		default:
			o.kind, o.worker = "create_batches", "nowhere"
			if n >= 25 && len(workers) > 0 {
				o.worker = workers[r.IntN(len(workers))]
			} else if n >= 23 {
				o.worker = t.steps[r.IntN(len(t.steps))].name
			}
			for i := range r.IntN(12) % 4 {
				id := fmt.Sprintf("%s_%03d", d.name, i)
				if r.IntN(40) == 0 {
					id = "000"
				}
				o.names = append(o.names, id)
			}
		}
	}
	return o.json(note), o
}

// lastOutcome is the result that brings a task to its end.
func lastOutcome(d *modelDef) (string, modelOutcome) {
	o := modelOutcome{kind: map[string]string{"decision": "no_branches", "batchable": "no_batches"}[d.kind]}
	return o.json("at last"), o
}

// json is the result that has this outcome.
func (o *modelOutcome) json(note string) string {
	value := map[string]any{"note": note}
	switch o.kind {
	case "":
	case "create_steps", "no_branches":
		value["decision_point_outcome"] = map[string]any{"type": o.kind, "step_names": append([]string{}, o.names...)}
	default:
		batch := batches(o.worker, o.names...)["batch_processing_outcome"].(map[string]any)
		batch["type"] = o.kind
		value["batch_processing_outcome"] = batch
	}
	data, _ := json.Marshal(value)
	return string(data)
}
