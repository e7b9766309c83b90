package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

var (
	diamond = dag("diamond", "start", "left: start", "right: start", "end: left right")
	tree    = dag("tree", "root", "left: root", "right: root", "left_a: left", "left_b: left", "right_a: right", "right_b: right",
		"end: left_a left_b right_a right_b")
	mixed = dag("mixed", "start", "left: start", "right: start", "check: left right", "alone: left", "both: alone right", "end: check both")
)

// parentsOf reads the steps of a template written by dag.
func parentsOf(t testing.TB, yaml string) map[string][]string {
	parents := map[string][]string{}
	for _, s := range parse(t, yaml).Steps {
		parents[s.Name] = s.Dependencies
	}
	return parents
}

// ancestorsOf lists, sorted, everything that a step depends on.
func ancestorsOf(parents map[string][]string, step string) []string {
	all := map[string]bool{}
	var walk func(string)
	walk = func(s string) {
		for _, p := range parents[s] {
			all[p] = true
			walk(p)
		}
	}
	walk(step)
	return slices.Sorted(maps.Keys(all))
}

// trace records which steps ran, and fails the test when one runs before a
// step that it depends on.
type trace struct {
	t       testing.TB
	parents map[string][]string

	mu    sync.Mutex
	order []string
}

func (r *trace) run(s *dispatch.Step) (dispatch.Outcome, any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.parents[s.Name] {
		if !slices.Contains(r.order, p) {
			r.t.Errorf("%s ran before %s", s.Name, p)
		}
	}
	if slices.Contains(r.order, s.Name) {
		r.t.Errorf("%s ran twice", s.Name)
	}
	r.order = append(r.order, s.Name)
	return dispatch.Success, s.Name
}

func TestALinearTaskRunsItsStepsInOrder(t *testing.T) {
	e := open(t, Options{}, linear)
	r := &trace{t: t, parents: parentsOf(t, linear)}
	work(t, e, r.run)
	task := await(t, e, submit(t, e, asked("linear", 1)))
	require.Equal(t, "complete", task.Status)
	require.Equal(t, []string{"one", "two", "three", "four"}, r.order)
}

func TestEveryStepOfAGraphRunsOnceAndAfterItsParents(t *testing.T) {
	for name, yaml := range map[string]string{"diamond": diamond, "tree": tree, "mixed": mixed} {
		t.Run(name, func(t *testing.T) {
			e := open(t, Options{}, yaml)
			r := &trace{t: t, parents: parentsOf(t, yaml)}
			work(t, e, r.run)
			work(t, e, r.run)
			task := await(t, e, submit(t, e, asked(name, 1)))
			require.Equal(t, "complete", task.Status)
			require.Len(t, r.order, len(r.parents))
			for step, state := range states(t, e, task.TaskUUID) {
				require.Equal(t, "complete", state, step)
			}
		})
	}
}

func TestIndependentBranchesAreHandedOutTogether(t *testing.T) {
	e := open(t, Options{}, tree)
	submit(t, e, asked("tree", 1))
	finish(t, e, take(t, e), dispatch.Success, 1)
	branches := takeAll(t, e, 2)
	require.Contains(t, branches, "left")
	require.Contains(t, branches, "right")
}

func TestAStepWithSeveralParentsWaitsForAllOfThem(t *testing.T) {
	e := open(t, Options{}, diamond)
	id := submit(t, e, asked("diamond", 1))
	finish(t, e, take(t, e), dispatch.Success, 1)
	branches := takeAll(t, e, 2)
	finish(t, e, branches["left"], dispatch.Success, 1)
	settle(t, e)
	require.Equal(t, "pending", states(t, e, id)["end"])
	finish(t, e, branches["right"], dispatch.Success, 1)
	require.Equal(t, "end", take(t, e).Name)
}

func TestOneStepFansOutToAThousandAndInAgain(t *testing.T) {
	const width = 1000
	steps := []string{"start"}
	var all []string
	for i := range width {
		name := fmt.Sprintf("branch_%d", i)
		steps, all = append(steps, name+": start"), append(all, name)
	}
	yaml := dag("fan", append(steps, "end: "+strings.Join(all, " "))...)
	e := open(t, Options{}, yaml)
	var results map[string]json.RawMessage
	handler := func(s *dispatch.Step) (dispatch.Outcome, any) {
		if s.Name == "end" {
			results = eventOf(t, s).Sequence.Dependencies
		}
		return dispatch.Success, s.Name
	}
	work(t, e, handler)
	task := await(t, e, submit(t, e, asked("fan", 1)))
	require.Equal(t, "complete", task.Status)
	require.Equal(t, width+2, task.CompletedSteps)
	require.Len(t, results, width+1)
}

func TestAChainOfFiveHundredStepsRunsToItsEnd(t *testing.T) {
	const length = 500
	steps := []string{"step_0"}
	for i := 1; i < length; i++ {
		steps = append(steps, fmt.Sprintf("step_%d: step_%d", i, i-1))
	}
	yaml := dag("chain", steps...)
	e := open(t, Options{Path: memory}, yaml)
	last := map[string]json.RawMessage{}
	work(t, e, func(s *dispatch.Step) (dispatch.Outcome, any) {
		last = eventOf(t, s).Sequence.Dependencies
		return dispatch.Success, s.Name
	})
	task := await(t, e, submit(t, e, asked("chain", 1)))
	require.Equal(t, "complete", task.Status)
	require.Equal(t, length, task.CompletedSteps)
	// Ancestors are shown up to a distance of 50 (engine-semantics §6.2).
	require.Len(t, last, 50)
	require.Contains(t, last, "step_498")
	require.Contains(t, last, "step_449")
}

func TestAStepSeesTheResultsOfAllItsAncestors(t *testing.T) {
	e := open(t, Options{}, mixed)
	parents := parentsOf(t, mixed)
	seen := map[string][]string{}
	work(t, e, func(s *dispatch.Step) (dispatch.Outcome, any) {
		results := eventOf(t, s).Sequence.Dependencies
		seen[s.Name] = slices.Sorted(maps.Keys(results))
		for name, result := range results {
			var r struct{ Result string }
			require.NoError(t, json.Unmarshal(result, &r))
			require.Equal(t, "result of "+name, r.Result)
		}
		return dispatch.Success, "result of " + s.Name
	})
	require.Equal(t, "complete", await(t, e, submit(t, e, asked("mixed", 1))).Status)
	for step := range parents {
		require.ElementsMatch(t, ancestorsOf(parents, step), seen[step], step)
	}
}

func TestARepeatedDependencyCountsOnce(t *testing.T) {
	e := open(t, Options{}, dag("repeated", "one", "two: one one"))
	work(t, e, succeed)
	task := await(t, e, submit(t, e, asked("repeated", 1)))
	require.Equal(t, "complete", task.Status)
	require.Equal(t, 1, task.Steps[1].TotalParents)
}

func TestATaskStaysInEvaluatingResultsWhileOtherStepsRun(t *testing.T) {
	e := open(t, Options{}, dag("two", "a", "b"))
	id := submit(t, e, asked("two", 1))
	both := takeAll(t, e, 2)
	status := func() (string, string) {
		task, err := e.Task(t.Context(), id)
		require.NoError(t, err)
		return task.Status, task.ExecutionStatus
	}
	state, execution := status()
	require.Equal(t, "steps_in_process", state)
	require.Equal(t, "processing", execution)
	finish(t, e, both["a"], dispatch.Success, 1)
	settle(t, e)
	state, execution = status()
	require.Equal(t, "evaluating_results", state)
	require.Equal(t, "processing", execution)
	finish(t, e, both["b"], dispatch.Success, 1)
	require.Equal(t, "complete", await(t, e, id).Status)
}

func TestTasksOfOneTemplateDoNotMix(t *testing.T) {
	e := open(t, Options{}, linear)
	work(t, e, func(s *dispatch.Step) (dispatch.Outcome, any) {
		for _, result := range eventOf(t, s).Sequence.Dependencies {
			var r struct{ Result string }
			require.NoError(t, json.Unmarshal(result, &r))
			require.Equal(t, s.TaskUUID.String(), r.Result)
		}
		return dispatch.Success, s.TaskUUID.String()
	})
	for i := range 20 {
		id := submit(t, e, asked("linear", i))
		defer func() { require.Equal(t, "complete", await(t, e, id).Status) }()
	}
}

func TestTheTimeInsideTheHandlerIsKept(t *testing.T) {
	e := open(t, Options{}, dag("single", "only"))
	id := submit(t, e, asked("single", 1))
	s := take(t, e)
	result := resultOf(s, dispatch.Success, 1)
	result.Duration = 1234567 * time.Nanosecond
	e.Complete(s, result)
	await(t, e, id)
	require.Equal(t, 1234*time.Microsecond, stepOf(t, e, id, "only").Duration)
}
