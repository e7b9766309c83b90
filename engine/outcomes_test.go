package engine

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

// What decisions and batches may ask for, by the rows of engine-semantics §5
// that expand_test.go does not tell of.

func TestADecisionMayAskForAHundredStepsAndNoMore(t *testing.T) {
	yaml := dag("many", "check") + "  - {name: route, type: decision, handler: {callable: h}, dependencies: [check]}\n"
	var all []string
	for i := range 101 {
		all = append(all, fmt.Sprint("branch_", i))
		yaml += fmt.Sprintf("  - {name: branch_%d, handler: {callable: h}, dependencies: [route]}\n", i)
	}
	task, steps := runWith(t, yaml, "many", map[string]any{"route": choose(all[:100]...)})
	require.Equal(t, "complete", task.Status)
	require.Len(t, steps, 102)

	task, steps = runWith(t, yaml, "many", map[string]any{"route": choose(all...)})
	require.Equal(t, "blocked_by_failures", task.Status)
	require.Len(t, steps, 2)
}

func TestADecisionOutcomeThatCannotBeReadTakesNoBranch(t *testing.T) {
	for what, outcome := range map[string]any{
		"unknown type":   map[string]any{"type": "create_everything"},
		"no type":        map[string]any{"step_names": []string{"small"}},
		"text":           "small",
		"wrong names":    map[string]any{"type": "create_steps", "step_names": "small"},
		"an empty list":  map[string]any{"type": "create_steps", "step_names": []string{}},
		"no list at all": map[string]any{"type": "create_steps"},
	} {
		t.Run(what, func(t *testing.T) {
			task, steps := runWith(t, routing, "routing", map[string]any{"route": map[string]any{"decision_point_outcome": outcome}})
			require.Equal(t, "complete", task.Status)
			require.Equal(t, "check route", names(steps))
		})
	}
}

func TestWhatADecisionMayNotAskFor(t *testing.T) {
	yaml := `
name: picky
namespace_name: tests
version: 1.0.0
steps:
  - {name: root, handler: {callable: h}}
  - {name: first, type: decision, handler: {callable: h}, dependencies: [root]}
  - {name: split, type: batchable, handler: {callable: h}, dependencies: [first]}
  - name: crunch
    type: batch_worker
    dependencies: [split]
    handler: {callable: h}
    batch_config: {batch_size: 1, parallelism: 1, cursor_field: id, worker_template: crunch, failure_strategy: isolate}
  - {name: second, type: decision, handler: {callable: h}, dependencies: [first]}
  - {name: below, handler: {callable: h}, dependencies: [second]}
  - {name: lonely, type: decision, handler: {callable: h}, dependencies: [root]}
`
	for what, values := range map[string]map[string]any{
		"the mould of batch workers":       {"first": choose("crunch")},
		"a further decision":               {"first": choose("second")},
		"what is below another decision":   {"first": choose("below")},
		"itself":                           {"first": choose("first")},
		"a step when nothing is below it":  {"lonely": choose("split")},
		"one that is allowed, and another": {"first": choose("split", "nowhere")},
	} {
		t.Run(what, func(t *testing.T) {
			task, steps := runWith(t, yaml, "picky", values)
			require.Equal(t, "blocked_by_failures", task.Status)
			for asked := range values {
				require.Equal(t, "error", steps[asked])
			}
			require.NotContains(t, steps, "split", "nothing is created")
		})
	}
}

func TestAConvergenceStepMayBeAskedForByName(t *testing.T) {
	task, steps := runWith(t, routing, "routing", map[string]any{"route": choose("close")})
	require.Equal(t, "complete", task.Status)
	require.Equal(t, "check close notify route", names(steps))
}

func TestAStepThatTwoDecisionsAskForExistsOnce(t *testing.T) {
	yaml := `
name: shared
namespace_name: tests
version: 1.0.0
steps:
  - {name: root, handler: {callable: h}}
  - {name: first, type: decision, handler: {callable: h}, dependencies: [root]}
  - {name: second, type: decision, handler: {callable: h}, dependencies: [root]}
  - {name: common, handler: {callable: h}, dependencies: [first, second]}
`
	task, steps := runWith(t, yaml, "shared", map[string]any{"first": choose("common"), "second": choose("common")})
	require.Equal(t, "complete", task.Status)
	require.Equal(t, "common first root second", names(steps))
}

func TestWithoutDecisionsAndBatchesAConvergenceStepIsNeverCreated(t *testing.T) {
	yaml := dag("plain", "a", "b: a") + "  - {name: end, type: deferred_convergence, handler: {callable: h}, dependencies: [b]}\n" +
		"  - {name: after, handler: {callable: h}, dependencies: [end]}\n"
	task, steps := runWith(t, yaml, "plain", nil)
	require.Equal(t, "complete", task.Status)
	require.Equal(t, "a b", names(steps))
}

func TestAConvergenceStepOutsideOfTheBranchesOfADecisionIsThereFromTheStart(t *testing.T) {
	yaml := routing + "  - {name: aside, type: deferred_convergence, handler: {callable: h}, dependencies: [check]}\n"
	task, steps := runWith(t, yaml, "routing", map[string]any{"route": choose()})
	require.Equal(t, "complete", task.Status)
	require.Equal(t, "aside check route", names(steps))
}

func TestTheNumberOfWorkersIsThatOfTheCursors(t *testing.T) {
	value := batches("crunch", "001", "002")
	value["batch_processing_outcome"].(map[string]any)["worker_count"] = 7
	_, steps := runWith(t, crunching, "crunching", map[string]any{"analyze": value})
	require.Equal(t, "analyze crunch_001 crunch_002 gather report", names(steps))
}

// failure_strategy has no effect here, as in the reference.
func TestAWorkerThatFailsBlocksTheTaskWhateverTheStrategySays(t *testing.T) {
	e := open(t, Options{}, crunching) // continue_on_failure
	id := submit(t, e, asked("crunching", 1))
	finish(t, e, take(t, e), dispatch.SuccessDirective, batches("crunch", "001", "002"))
	workers := takeAll(t, e, 2)
	finish(t, e, workers["crunch_001"], dispatch.PermanentFailure, "no")
	finish(t, e, workers["crunch_002"], dispatch.Success, 1)
	require.Equal(t, "blocked_by_failures", await(t, e, id).Status)
	require.Equal(t, map[string]string{
		"analyze": "complete", "crunch_001": "error", "crunch_002": "complete", "gather": "pending", "report": "pending",
	}, states(t, e, id))
}

func TestInstancesAreRetriedAsTheirTemplateStepSays(t *testing.T) {
	e := open(t, Options{ImmediateRetries: true}, `
name: crunching
namespace_name: tests
version: 1.0.0
steps:
  - {name: analyze, type: batchable, handler: {callable: h}, retry: {max_attempts: 1}}
  - name: crunch
    type: batch_worker
    dependencies: [analyze]
    handler: {callable: h}
    retry: {max_attempts: 2}
    batch_config: {batch_size: 1, parallelism: 1, cursor_field: id, worker_template: crunch, failure_strategy: fail_fast}
`)
	id := submit(t, e, asked("crunching", 1))
	finish(t, e, take(t, e), dispatch.SuccessDirective, batches("crunch", "001"))
	for range 2 {
		s := take(t, e)
		require.Equal(t, "crunch_001", s.Name)
		finish(t, e, s, dispatch.RetryableFailure, "again")
	}
	require.Equal(t, "blocked_by_failures", await(t, e, id).Status)
	require.Equal(t, 2, stepOf(t, e, id, "crunch_001").Attempts)
}

func TestTheResultOfADecisionInABlockedTaskCreatesItsBranchWhichWaits(t *testing.T) {
	e := open(t, Options{}, `
name: blocked
namespace_name: tests
version: 1.0.0
steps:
  - {name: root, handler: {callable: h}}
  - {name: route, type: decision, handler: {callable: h}, dependencies: [root]}
  - {name: other, handler: {callable: h}, dependencies: [root]}
  - {name: branch, handler: {callable: h}, dependencies: [route]}
`)
	id := submit(t, e, asked("blocked", 1))
	finish(t, e, take(t, e), dispatch.Success, 1)
	both := takeAll(t, e, 2)
	finish(t, e, both["other"], dispatch.PermanentFailure, "no")
	finish(t, e, both["route"], dispatch.Success, choose("branch"))
	require.Equal(t, "blocked_by_failures", await(t, e, id).Status)
	require.Equal(t, "pending", states(t, e, id)["branch"])
	_, err := e.ResolveStep(t.Context(), id, both["other"].StepUUID, Operation{})
	require.NoError(t, err)
	require.Equal(t, "branch", take(t, e).Name)
}

// An operator may resolve or complete a step in any state (§3.2, §7.1).
func TestAStepInAnyStateIsResolvedOrCompletedByHand(t *testing.T) {
	for state, reach := range map[string]func(t *testing.T, e *Engine) (task Task, step string){
		"pending": func(t *testing.T, e *Engine) (Task, string) {
			return taskOf(t, e, submit(t, e, asked("linear", 1))), "two"
		},
		"enqueued": func(t *testing.T, e *Engine) (Task, string) {
			return taskOf(t, e, submit(t, e, asked("linear", 1))), "one"
		},
		"in_progress": func(t *testing.T, e *Engine) (Task, string) {
			id := submit(t, e, asked("linear", 1))
			take(t, e)
			return taskOf(t, e, id), "one"
		},
		"waiting_for_retry": func(t *testing.T, e *Engine) (Task, string) {
			id := submit(t, e, asked("linear", 1))
			finish(t, e, take(t, e), dispatch.RetryableFailure, "later")
			settle(t, e)
			return taskOf(t, e, id), "one"
		},
		"error": func(t *testing.T, e *Engine) (Task, string) {
			id := submit(t, e, asked("linear", 1))
			finish(t, e, take(t, e), dispatch.PermanentFailure, "no")
			return await(t, e, id), "one"
		},
		"complete": func(t *testing.T, e *Engine) (Task, string) {
			id := submit(t, e, asked("linear", 1))
			finish(t, e, take(t, e), dispatch.Success, 1)
			settle(t, e)
			return taskOf(t, e, id), "one"
		},
		"cancelled": func(t *testing.T, e *Engine) (Task, string) {
			id := submit(t, e, asked("linear", 1))
			_, err := e.Cancel(t.Context(), id)
			require.NoError(t, err)
			return taskOf(t, e, id), "one"
		},
		"resolved_manually": func(t *testing.T, e *Engine) (Task, string) {
			id := submit(t, e, asked("linear", 1))
			_, err := e.ResolveStep(t.Context(), id, stepOf(t, e, id, "one").StepUUID, Operation{})
			require.NoError(t, err)
			return taskOf(t, e, id), "one"
		},
	} {
		t.Run(state, func(t *testing.T) {
			for _, want := range []string{"resolved_manually", "complete"} {
				e := open(t, Options{}, linear)
				task, name := reach(t, e)
				before := stepOf(t, e, task.TaskUUID, name)
				require.Equal(t, state, before.CurrentState)
				var s Step
				var err error
				if want == "complete" {
					s, err = e.CompleteStep(t.Context(), task.TaskUUID, before.StepUUID, Operation{}, Completion{Result: []byte(`"by hand"`)})
					require.Contains(t, string(s.Results), `"result":"by hand"`)
				} else {
					s, err = e.ResolveStep(t.Context(), task.TaskUUID, before.StepUUID, Operation{})
					require.Equal(t, string(before.Results), string(s.Results), "results stay as they are")
				}
				require.NoError(t, err)
				require.Equal(t, want, s.CurrentState)
				require.NotNil(t, s.CompletedAt)
			}
		})
	}
}

// The workflow of engine-semantics §11.3: the side that the decision does not
// take never shows.
func TestADiamondLeadsToADecisionThatLeadsToBatches(t *testing.T) {
	side := func(name string) string {
		return fmt.Sprintf(`
  - {name: %[1]s, type: batchable, handler: {callable: h}, dependencies: [route]}
  - name: %[1]s_worker
    type: batch_worker
    dependencies: [%[1]s]
    handler: {callable: h}
    batch_config: {batch_size: 1, parallelism: 1, cursor_field: id, worker_template: w, failure_strategy: fail_fast}
  - {name: %[1]s_results, type: deferred_convergence, handler: {callable: h}, dependencies: [%[1]s_worker]}`, name)
	}
	yaml := dag("wide", "start", "left: start", "right: start") +
		"  - {name: route, type: decision, handler: {callable: h}, dependencies: [left, right]}" + side("even") + side("odd") + "\n"
	task, steps := runWith(t, yaml, "wide", map[string]any{"route": choose("even"), "even": batches("even_worker", "001", "002")})
	require.Equal(t, "complete", task.Status)
	require.Equal(t, "even even_results even_worker_001 even_worker_002 left right route start", names(steps))
}
