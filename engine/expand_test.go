package engine

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

// routing has one decision with three branches, two of which meet.
const routing = `
name: routing
namespace_name: tests
version: 1.0.0
steps:
  - {name: check, handler: {callable: h}}
  - {name: route, type: decision, handler: {callable: h}, dependencies: [check]}
  - {name: small, handler: {callable: h}, dependencies: [route]}
  - {name: large, handler: {callable: h}, dependencies: [route]}
  - {name: audit, handler: {callable: h}, dependencies: [large]}
  - {name: close, type: deferred_convergence, handler: {callable: h}, dependencies: [small, large, audit]}
  - {name: notify, handler: {callable: h}, dependencies: [close]}
`

// crunching has a batchable step, its worker, and what gathers the results.
const crunching = `
name: crunching
namespace_name: tests
version: 1.0.0
steps:
  - name: analyze
    type: batchable
    handler: {callable: h, initialization: {worker_template_name: crunch}}
  - name: crunch
    type: batch_worker
    dependencies: [analyze]
    handler: {callable: h, initialization: {mode: fast}}
    batch_config: {batch_size: 10, parallelism: 2, cursor_field: id, worker_template: crunch, failure_strategy: continue_on_failure}
  - {name: gather, type: deferred_convergence, handler: {callable: h}, dependencies: [crunch]}
  - {name: report, handler: {callable: h}, dependencies: [gather]}
`

func choose(names ...string) map[string]any {
	return map[string]any{"decision_point_outcome": map[string]any{"type": "create_steps", "step_names": names}}
}

func batches(worker string, ids ...string) map[string]any {
	cursors := []map[string]any{}
	for i, id := range ids {
		cursors = append(cursors, map[string]any{"batch_id": id, "start_cursor": 10 * i, "end_cursor": 10*i + 10, "batch_size": 10})
	}
	return map[string]any{"batch_processing_outcome": map[string]any{
		"type": "create_batches", "worker_template_name": worker, "worker_count": len(ids), "cursor_configs": cursors, "total_items": 10 * len(ids),
	}}
}

// directing answers the named steps with their values, and all others plainly.
func directing(values map[string]any) handler {
	return func(s *dispatch.Step) (dispatch.Outcome, any) {
		if v, ok := values[s.Name]; ok {
			return dispatch.SuccessDirective, v
		}
		return dispatch.Success, map[string]any{"by": s.Name}
	}
}

// runWith runs a task of the template to its end and returns it with the
// states of its steps.
func runWith(t *testing.T, yaml, name string, values map[string]any) (Task, map[string]string) {
	t.Helper()
	e := open(t, Options{}, yaml)
	work(t, e, directing(values))
	task := await(t, e, submit(t, e, asked(name, 1)))
	return task, states(t, e, task.TaskUUID)
}

func names(states map[string]string) string {
	return strings.Join(slices.Sorted(maps.Keys(states)), " ")
}

func TestADecisionCreatesTheBranchItAsksForAndItsConvergence(t *testing.T) {
	task, steps := runWith(t, routing, "routing", map[string]any{"route": choose("small")})
	require.Equal(t, "complete", task.Status)
	require.Equal(t, "check close notify route small", names(steps))
}

func TestADecisionCreatesWhatFollowsInTheBranch(t *testing.T) {
	_, steps := runWith(t, routing, "routing", map[string]any{"route": choose("small", "large")})
	require.Equal(t, "audit check close large notify route small", names(steps))
}

func TestNoBranchesCreatesNothing(t *testing.T) {
	task, steps := runWith(t, routing, "routing", map[string]any{"route": map[string]any{
		"decision_point_outcome": map[string]any{"type": "no_branches"}}})
	require.Equal(t, "complete", task.Status)
	require.Equal(t, "check route", names(steps))
}

func TestADecisionWithoutOutcomeTakesNoBranch(t *testing.T) {
	task, steps := runWith(t, routing, "routing", map[string]any{"route": map[string]any{"note": "nothing"}})
	require.Equal(t, "complete", task.Status)
	require.Equal(t, "check route", names(steps))
}

func TestADecisionForAnUnknownStepFailsVisibly(t *testing.T) {
	for _, wanted := range []string{"check", "nowhere"} {
		task, steps := runWith(t, routing, "routing", map[string]any{"route": choose(wanted)})
		require.Equal(t, "blocked_by_failures", task.Status)
		require.Equal(t, map[string]string{"check": "complete", "route": "error"}, steps)
	}
}

func TestTheFailureOfADecisionNamesWhatItAskedFor(t *testing.T) {
	e := open(t, Options{}, routing)
	work(t, e, directing(map[string]any{"route": choose("nowhere")}))
	task := await(t, e, submit(t, e, asked("routing", 1)))
	steps, err := e.Steps(t.Context(), task.TaskUUID)
	require.NoError(t, err)
	require.Contains(t, string(steps[1].Results), "Step 'nowhere' is not a valid descendant of decision point 'route'")
	require.Contains(t, string(steps[1].Results), decisionInvalid)
}

func TestConvergenceSeesOnlyTheBranchesThatExist(t *testing.T) {
	e := open(t, Options{}, routing)
	seen := ""
	work(t, e, func(s *dispatch.Step) (dispatch.Outcome, any) {
		if s.Name == "close" {
			var event struct {
				Sequence struct {
					Results map[string]json.RawMessage `json:"dependency_results"`
				} `json:"task_sequence_step"`
			}
			if json.Unmarshal(s.Event, &event) == nil {
				seen = strings.Join(slices.Sorted(maps.Keys(event.Sequence.Results)), " ")
			}
		}
		return directing(map[string]any{"route": choose("small")})(s)
	})
	await(t, e, submit(t, e, asked("routing", 1)))
	require.Equal(t, "check route small", seen)
}

const nested = `
name: nested
namespace_name: tests
version: 1.0.0
steps:
  - {name: root, handler: {callable: h}}
  - {name: first, type: decision, handler: {callable: h}, dependencies: [root]}
  - {name: left, handler: {callable: h}, dependencies: [first]}
  - {name: right, handler: {callable: h}, dependencies: [first]}
  - {name: second, type: decision, handler: {callable: h}, dependencies: [right]}
  - {name: deep, handler: {callable: h}, dependencies: [second]}
  - {name: end, type: deferred_convergence, handler: {callable: h}, dependencies: [left, deep]}
`

func TestADecisionOnABranchNotTakenIsNotCreated(t *testing.T) {
	task, steps := runWith(t, nested, "nested", map[string]any{"first": choose("left")})
	require.Equal(t, "complete", task.Status)
	require.Equal(t, "end first left root", names(steps))
}

func TestANestedDecisionCreatesItsOwnBranches(t *testing.T) {
	task, steps := runWith(t, nested, "nested", map[string]any{"first": choose("right"), "second": choose("deep")})
	require.Equal(t, "complete", task.Status)
	require.Equal(t, "deep end first right root second", names(steps))
}

func TestABranchStepWithDependenciesOnBothSidesWaitsForBoth(t *testing.T) {
	yaml := `
name: joined
namespace_name: tests
version: 1.0.0
steps:
  - {name: before, handler: {callable: h}}
  - {name: pick, type: decision, handler: {callable: h}, dependencies: [before]}
  - {name: a, handler: {callable: h}, dependencies: [pick]}
  - {name: b, handler: {callable: h}, dependencies: [pick]}
  - {name: join, handler: {callable: h}, dependencies: [a, b, before]}
`
	task, steps := runWith(t, yaml, "joined", map[string]any{"pick": choose("a")})
	require.Equal(t, "complete", task.Status)
	require.Equal(t, "a before join pick", names(steps))
	for _, s := range task.Steps {
		if s.Name == "join" {
			require.Equal(t, 3, s.TotalParents) // a, before, and the decision in place of b
		}
	}
}

func TestABatchableStepCreatesOneWorkerForEachCursor(t *testing.T) {
	task, steps := runWith(t, crunching, "crunching", map[string]any{"analyze": batches("crunch", "001", "002", "003")})
	require.Equal(t, "complete", task.Status)
	require.Equal(t, "analyze crunch_001 crunch_002 crunch_003 gather report", names(steps))
}

func TestABatchWorkerGetsItsCursorAndItsTemplatesConfiguration(t *testing.T) {
	e := open(t, Options{}, crunching)
	submit(t, e, asked("crunching", 1))
	finish(t, e, take(t, e), dispatch.SuccessDirective, batches("crunch", "001"))
	worker := take(t, e)
	require.Equal(t, "crunch_001", worker.Name)
	var event struct {
		Sequence struct {
			Step struct {
				Name     string         `json:"name"`
				Template string         `json:"template_step_name"`
				Inputs   map[string]any `json:"inputs"`
			} `json:"workflow_step"`
			Definition struct {
				Handler struct {
					Initialization map[string]any `json:"initialization"`
				} `json:"handler"`
			} `json:"step_definition"`
		} `json:"task_sequence_step"`
	}
	require.NoError(t, json.Unmarshal(worker.Event, &event))
	step := event.Sequence.Step
	require.Equal(t, "crunch_001", step.Name)
	require.Equal(t, "crunch", step.Template)
	require.Equal(t, map[string]any{
		"mode":                 "fast",
		"cursor":               map[string]any{"batch_id": "001", "start_cursor": 0.0, "end_cursor": 10.0, "batch_size": 10.0},
		"batch_metadata":       map[string]any{"cursor_field": "id", "failure_strategy": "continue_on_failure"},
		"is_no_op":             false,
		"__template_step_name": "crunch",
	}, step.Inputs)
	require.Equal(t, map[string]any{"mode": "fast"}, event.Sequence.Definition.Handler.Initialization)
}

func TestNoBatchesCreatesOnePlaceholder(t *testing.T) {
	task, steps := runWith(t, crunching, "crunching", map[string]any{"analyze": map[string]any{
		"batch_processing_outcome": map[string]any{"type": "no_batches"}}})
	require.Equal(t, "complete", task.Status)
	require.Equal(t, "analyze crunch_000 gather report", names(steps))
}

func TestNoBatchesWithoutAWorkerTemplateCreatesNothing(t *testing.T) {
	yaml := strings.Replace(crunching, "initialization: {worker_template_name: crunch}", "initialization: {}", 1)
	task, steps := runWith(t, yaml, "crunching", map[string]any{"analyze": map[string]any{
		"batch_processing_outcome": map[string]any{"type": "no_batches"}}})
	require.Equal(t, "complete", task.Status)
	require.Equal(t, "analyze", names(steps))
}

func TestABatchOutcomeThatCannotBeFollowedFailsTheStep(t *testing.T) {
	for what, outcome := range map[string]any{
		"no outcome":       map[string]any{},
		"no cursors":       batches("crunch"),
		"unknown worker":   batches("nowhere", "001"),
		"not a worker":     batches("gather", "001"),
		"repeated batches": batches("crunch", "001", "001"),
	} {
		t.Run(what, func(t *testing.T) {
			task, steps := runWith(t, crunching, "crunching", map[string]any{"analyze": outcome})
			require.Equal(t, "blocked_by_failures", task.Status)
			require.Equal(t, map[string]string{"analyze": "error"}, steps)
		})
	}
}

func TestAConvergenceOfTwoBatchesWaitsForBoth(t *testing.T) {
	yaml := `
name: both
namespace_name: tests
version: 1.0.0
steps:
  - {name: fast, type: batchable, handler: {callable: h}}
  - {name: slow, type: batchable, handler: {callable: h}}
  - name: fast_worker
    type: batch_worker
    dependencies: [fast]
    handler: {callable: h}
    batch_config: {batch_size: 1, parallelism: 1, cursor_field: id, worker_template: fast_worker, failure_strategy: isolate}
  - name: slow_worker
    type: batch_worker
    dependencies: [slow]
    handler: {callable: h}
    batch_config: {batch_size: 1, parallelism: 1, cursor_field: id, worker_template: slow_worker, failure_strategy: isolate}
  - {name: gather, type: deferred_convergence, handler: {callable: h}, dependencies: [fast_worker, slow_worker]}
`
	e := open(t, Options{}, yaml)
	id := submit(t, e, asked("both", 1))
	held := map[string]*dispatch.Step{}
	for range 2 {
		s := take(t, e)
		held[s.Name] = s
	}
	finish(t, e, held["fast"], dispatch.SuccessDirective, batches("fast_worker", "001"))
	finish(t, e, take(t, e), dispatch.Success, 1) // fast_worker_001
	finish(t, e, held["slow"], dispatch.SuccessDirective, batches("slow_worker", "001"))
	s := take(t, e)
	require.Equal(t, "slow_worker_001", s.Name) // and not gather, which waits
	finish(t, e, s, dispatch.Success, 1)
	s = take(t, e)
	require.Equal(t, "gather", s.Name)
	finish(t, e, s, dispatch.Success, 1)
	require.Equal(t, "complete", await(t, e, id).Status)
}

func TestDynamicStepsSurviveARestart(t *testing.T) {
	e := open(t, Options{}, crunching)
	id := submit(t, e, asked("crunching", 1))
	finish(t, e, take(t, e), dispatch.SuccessDirective, batches("crunch", "001", "002"))
	finish(t, e, take(t, e), dispatch.Success, 1)
	require.NoError(t, e.Close(t.Context()))

	again := open(t, Options{Path: e.o.Path}, crunching)
	work(t, again, succeed)
	require.Equal(t, "complete", await(t, again, id).Status)
	require.Equal(t, "analyze crunch_001 crunch_002 gather report", names(states(t, again, id)))
}

// engine-semantics §5.2, rule 4: the walk passes further decisions, but stays
// among the steps that can be reached without one.
func TestAStepBesideAFurtherDecisionIsCreatedWithIt(t *testing.T) {
	yaml := `
name: beside
namespace_name: tests
version: 1.0.0
steps:
  - {name: root, handler: {callable: h}}
  - {name: first, type: decision, handler: {callable: h}, dependencies: [root]}
  - {name: left, handler: {callable: h}, dependencies: [first]}
  - {name: right, handler: {callable: h}, dependencies: [first]}
  - {name: second, type: decision, handler: {callable: h}, dependencies: [right]}
  - {name: deep, handler: {callable: h}, dependencies: [second]}
  - {name: both, handler: {callable: h}, dependencies: [left, second]}
`
	_, steps := runWith(t, yaml, "beside", map[string]any{"first": choose("right"), "second": map[string]any{}})
	require.Equal(t, "both first right root second", names(steps))
}

// engine-semantics §4.1: a step that waits for its next attempt waits for its
// dependencies too, also for one that it got meanwhile.
func TestAConvergenceStepThatFailedWaitsForTheBranchThatCameMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		yaml := `
name: late
namespace_name: tests
version: 1.0.0
steps:
  - {name: root, handler: {callable: h}}
  - {name: first, type: decision, handler: {callable: h}, dependencies: [root]}
  - {name: second, type: decision, handler: {callable: h}, dependencies: [root]}
  - {name: quick, handler: {callable: h}, dependencies: [first]}
  - {name: slow, handler: {callable: h}, dependencies: [second]}
  - name: end
    type: deferred_convergence
    handler: {callable: h}
    dependencies: [quick, slow]
    retry: {backoff: linear, backoff_base_ms: 1000}
`
		e := open(t, Options{Path: memory}, yaml)
		id := submit(t, e, asked("late", 1))
		finish(t, e, take(t, e), dispatch.Success, 1)
		decisions := takeAll(t, e, 2)
		finish(t, e, decisions["first"], dispatch.Success, choose("quick"))
		finish(t, e, take(t, e), dispatch.Success, 1)
		end := take(t, e)
		require.Equal(t, "end", end.Name)
		finish(t, e, end, dispatch.RetryableFailure, "not yet")
		finish(t, e, decisions["second"], dispatch.Success, choose("slow"))
		slow := take(t, e)
		require.Equal(t, "slow", slow.Name)
		time.Sleep(time.Minute)
		require.Equal(t, "waiting_for_retry", states(t, e, id)["end"])
		finish(t, e, slow, dispatch.Success, 1)
		end = take(t, e)
		require.Equal(t, "end", end.Name)
		require.Contains(t, eventOf(t, end).Sequence.Dependencies, "slow")
	})
}
