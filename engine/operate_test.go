package engine

import (
	"encoding/json"
	"testing"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

const chain = `
name: chain
namespace_name: tests
version: 1.0.0
steps:
  - {name: one, handler: {callable: h}}
  - {name: two, handler: {callable: h}, dependencies: [one]}
`

var byHand = Operation{By: "ops-7", Reason: "booked by phone"}

// stepNamed returns a step of a task.
func stepNamed(t testing.TB, e *Engine, task uuid.UUID, name string) Step {
	t.Helper()
	steps, err := e.Steps(t.Context(), task)
	require.NoError(t, err)
	for _, s := range steps {
		if s.Name == name {
			return s
		}
	}
	require.Fail(t, "no step "+name)
	return Step{}
}

// blocked is a task whose first step has failed for good.
func blocked(t testing.TB, e *Engine) uuid.UUID {
	t.Helper()
	id := submit(t, e, asked("chain", 1))
	finish(t, e, take(t, e), dispatch.PermanentFailure, "no stock")
	require.Equal(t, "blocked_by_failures", await(t, e, id).Status)
	return id
}

func TestAStepThatIsResetRunsAgainAndItsTaskGoesOn(t *testing.T) {
	e := open(t, Options{}, chain)
	id := blocked(t, e)
	s, err := e.ResetStep(t.Context(), id, stepNamed(t, e, id, "one").StepUUID, byHand)
	require.NoError(t, err)
	require.Zero(t, s.Attempts)
	work(t, e, succeed)
	require.Equal(t, "complete", await(t, e, id).Status)
}

func TestOnlyAStepInErrorIsReset(t *testing.T) {
	e := open(t, Options{}, chain)
	id := submit(t, e, asked("chain", 1))
	_, err := e.ResetStep(t.Context(), id, stepNamed(t, e, id, "two").StepUUID, byHand)
	require.ErrorIs(t, err, ErrInvalidState)
	require.ErrorContains(t, err, "pending")
}

func TestAResolvedStepSatisfiesItsDependentsWithoutAResult(t *testing.T) {
	e := open(t, Options{}, chain)
	id := blocked(t, e)
	s, err := e.ResolveStep(t.Context(), id, stepNamed(t, e, id, "one").StepUUID, byHand)
	require.NoError(t, err)
	require.Equal(t, "resolved_manually", s.CurrentState)
	two := take(t, e)
	require.Equal(t, "two", two.Name)
	require.NotContains(t, string(two.Event), "no stock") // the old failure is not exposed
	finish(t, e, two, dispatch.Success, 1)
	require.Equal(t, "complete", await(t, e, id).Status)
}

func TestAStepCompletedByHandHandsItsResultOn(t *testing.T) {
	e := open(t, Options{}, chain)
	id := blocked(t, e)
	s, err := e.CompleteStep(t.Context(), id, stepNamed(t, e, id, "one").StepUUID, byHand, Completion{
		Result: json.RawMessage(`{"booking": "B-99"}`), Metadata: json.RawMessage(`{"ticket": "T-4"}`),
	})
	require.NoError(t, err)
	require.Equal(t, "complete", s.CurrentState)
	var stored struct {
		Success  bool            `json:"success"`
		Result   json.RawMessage `json:"result"`
		Metadata struct {
			Custom map[string]any `json:"custom"`
		} `json:"metadata"`
	}
	require.NoError(t, json.Unmarshal(s.Results, &stored))
	require.True(t, stored.Success)
	require.JSONEq(t, `{"booking": "B-99"}`, string(stored.Result))
	require.Equal(t, map[string]any{
		"ticket": "T-4", "manually_completed": true, "completed_by": "ops-7", "completion_reason": "booked by phone",
	}, stored.Metadata.Custom)
	require.Contains(t, string(take(t, e).Event), "B-99")
}

func TestADecisionCompletedByHandCreatesItsBranch(t *testing.T) {
	e := open(t, Options{}, routing)
	id := submit(t, e, asked("routing", 1))
	finish(t, e, take(t, e), dispatch.Success, 1)
	take(t, e) // route is running
	outcome, err := json.Marshal(choose("small"))
	require.NoError(t, err)
	_, err = e.CompleteStep(t.Context(), id, stepNamed(t, e, id, "route").StepUUID, byHand, Completion{Result: outcome})
	require.NoError(t, err)
	require.Equal(t, "small", take(t, e).Name)
}

func TestADecisionCompletedByHandWithAnImpossibleOutcomeIsRefused(t *testing.T) {
	e := open(t, Options{}, routing)
	id := submit(t, e, asked("routing", 1))
	finish(t, e, take(t, e), dispatch.Success, 1)
	take(t, e)
	outcome, err := json.Marshal(choose("nowhere"))
	require.NoError(t, err)
	_, err = e.CompleteStep(t.Context(), id, stepNamed(t, e, id, "route").StepUUID, byHand, Completion{Result: outcome})
	require.ErrorIs(t, err, ErrInvalid)
	require.Equal(t, "in_progress", stepNamed(t, e, id, "route").CurrentState)
}

func TestTheResultOfAStepThatWasResolvedMeanwhileIsDropped(t *testing.T) {
	e := open(t, Options{}, chain)
	id := submit(t, e, asked("chain", 1))
	running := take(t, e)
	_, err := e.ResolveStep(t.Context(), id, running.StepUUID, byHand)
	require.NoError(t, err)
	finish(t, e, running, dispatch.Success, 1)
	finish(t, e, take(t, e), dispatch.Success, 1)
	require.Equal(t, "complete", await(t, e, id).Status)
	require.Equal(t, "resolved_manually", stepNamed(t, e, id, "one").CurrentState)
}

func TestOperationsNameWhatDoesNotExist(t *testing.T) {
	e := open(t, Options{}, chain)
	id := submit(t, e, asked("chain", 1))
	_, err := e.ResolveStep(t.Context(), newUUID(), newUUID(), byHand)
	require.ErrorIs(t, err, ErrNotFound)
	_, err = e.ResolveStep(t.Context(), id, newUUID(), byHand)
	require.ErrorIs(t, err, ErrNotFound)
}

func TestWhoOperatedAndWhyIsKeptInTheHistory(t *testing.T) {
	e := open(t, Options{}, chain)
	id := blocked(t, e)
	_, err := e.ResolveStep(t.Context(), id, stepNamed(t, e, id, "one").StepUUID, byHand)
	require.NoError(t, err)
	require.Contains(t, history(t, e, id), `"error","resolved_manually",{"by":"ops-7","reason":"booked by phone"}`)
}

func TestABlockedTaskIsTakenUpAgainAfterARestart(t *testing.T) {
	e := open(t, Options{}, chain)
	id := blocked(t, e)
	require.NoError(t, e.Close(t.Context()))
	again := open(t, Options{Path: e.o.Path}, chain)
	_, err := again.ResetStep(t.Context(), id, stepNamed(t, again, id, "one").StepUUID, byHand)
	require.NoError(t, err)
	work(t, again, succeed)
	require.Equal(t, "complete", await(t, again, id).Status)
}

// engine-semantics §5.4, rule 1.
func TestABatchableStepCompletedOnceMoreKeepsTheWorkersItHas(t *testing.T) {
	e := open(t, Options{}, crunching)
	id := submit(t, e, asked("crunching", 1))
	s := take(t, e)
	finish(t, e, s, dispatch.Success, batches("crunch", "1", "2"))
	settle(t, e)
	before := names(states(t, e, id))
	result, err := json.Marshal(batches("crunch", "2", "3"))
	require.NoError(t, err)
	_, err = e.CompleteStep(t.Context(), id, s.StepUUID, Operation{By: "me"}, Completion{Result: result})
	require.NoError(t, err)
	require.Equal(t, before, names(states(t, e, id)))
}

// engine-semantics §7.1, point 3.
func TestAStepCompletedByHandAddsNothingToAFinishedTask(t *testing.T) {
	e := open(t, Options{}, routing)
	id := submit(t, e, asked("routing", 1))
	finish(t, e, take(t, e), dispatch.Success, 1)
	s := take(t, e)
	_, err := e.Cancel(t.Context(), id)
	require.NoError(t, err)
	result, err := json.Marshal(choose("small"))
	require.NoError(t, err)
	_, err = e.CompleteStep(t.Context(), id, s.StepUUID, Operation{By: "me"}, Completion{Result: result})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"check": "complete", "route": "complete"}, states(t, e, id))
	require.Equal(t, "cancelled", taskOf(t, e, id).Status)
}
