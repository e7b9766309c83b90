package worker

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/engine"
)

func outcomeJSON(t *testing.T, task engine.Task, steps ...engine.Step) string {
	t.Helper()
	o, err := Outcome(task, steps)
	require.NoError(t, err)
	out, err := json.Marshal(o)
	require.NoError(t, err)
	return string(out)
}

func TestAnOutcomeKeepsOrderAndDigitsOfResults(t *testing.T) {
	out := outcomeJSON(t, engine.Task{Status: "complete"}, engine.Step{
		Name: "power", CurrentState: "complete", Attempts: 1, Duration: 1500 * time.Microsecond,
		Results: json.RawMessage(`{"success": true, "result": {"z": 340282366920938463463374607431768211456, "a": 1.50, "<b>": "&"}}`),
	})
	require.Contains(t, out, `"result":{"z":340282366920938463463374607431768211456,"a":1.50,`)
	require.Contains(t, out, `"duration_ms":1.5`)
}

func TestStepsOfAnOutcomeAreInTheEnginesOrder(t *testing.T) {
	out := outcomeJSON(t, engine.Task{}, engine.Step{Name: "second"}, engine.Step{Name: "first"})
	require.Regexp(t, `"steps":\{"second":.*"first":`, out)
}

func TestAStepThatNeverRanHasNeitherResultNorDuration(t *testing.T) {
	out := outcomeJSON(t, engine.Task{}, engine.Step{Name: "later", CurrentState: "pending"})
	require.Contains(t, out, `"later":{"state":"pending","attempts":0,"duration_ms":null}`)
}

func TestAnOutcomeTellsWhyAStepFailed(t *testing.T) {
	o, err := Outcome(engine.Task{Status: "blocked_by_failures"}, []engine.Step{
		{Name: "ok", CurrentState: "complete", Results: json.RawMessage(`{"success": true, "result": null}`)},
		{Name: "pay", CurrentState: "error", Attempts: 3, Results: json.RawMessage(`{"success": false, "result": {}, "error": {"message": "declined", "error_type": "CardError"}}`)},
	})
	require.NoError(t, err)
	require.Equal(t, `step "pay": CardError: declined`, o.Failure())
	require.JSONEq(t, `{"message": "declined", "error_type": "CardError"}`, string(o.Steps[1].Error))
	require.Nil(t, o.Steps[1].Result)
}

func TestAStepThatFailedAndThenSucceededIsNoFailure(t *testing.T) {
	o, err := Outcome(engine.Task{}, []engine.Step{
		{Name: "pay", CurrentState: "resolved_manually", Results: json.RawMessage(`{"success": false, "error": {"message": "declined"}}`)},
	})
	require.NoError(t, err)
	require.Empty(t, o.Failure())
}

func TestATaskThatEndedHasADuration(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ended := began.Add(1250 * time.Millisecond)
	require.Contains(t, outcomeJSON(t, engine.Task{CreatedAt: began, CompletedAt: &ended}), `"duration_ms":1250,`)
	require.Contains(t, outcomeJSON(t, engine.Task{CreatedAt: began}), `"duration_ms":null,`)
}
