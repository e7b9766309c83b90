package engine

import (
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

// yield hands back a checkpoint and takes the step again.
func yield(t testing.TB, e *Engine, s *dispatch.Step, checkpoint string) *dispatch.Step {
	t.Helper()
	e.Complete(s, dispatch.Result{Outcome: dispatch.CheckpointYield, JSON: []byte(checkpoint)})
	return take(t, e)
}

// seenCheckpoint is a checkpoint as the handler sees it.
type seenCheckpoint struct {
	StepUUID    string          `json:"step_uuid"`
	Cursor      json.RawMessage `json:"cursor"`
	Items       json.RawMessage `json:"items_processed"`
	Accumulated json.RawMessage `json:"accumulated_results"`
	Timestamp   time.Time       `json:"timestamp"`
	History     []struct {
		Cursor    json.RawMessage `json:"cursor"`
		Timestamp time.Time       `json:"timestamp"`
	} `json:"history"`
}

func checkpointOf(t testing.TB, s *dispatch.Step) seenCheckpoint {
	t.Helper()
	var c seenCheckpoint
	require.NoError(t, json.Unmarshal(eventOf(t, s).Sequence.Step.Checkpoint, &c))
	return c
}

func TestAStepGoesOnFromItsCheckpointInTheSameAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, linear)
		id := submit(t, e, asked("linear", 1))
		first := take(t, e)
		require.Equal(t, "null", string(eventOf(t, first).Sequence.Step.Checkpoint))
		time.Sleep(time.Second)
		second := yield(t, e, first, `{"step_uuid":"x","cursor":{"row":25},"items_processed":25,"accumulated_results":{"sum":300}}`)
		require.Equal(t, first.StepUUID, second.StepUUID)
		require.NotEqual(t, first.EventID, second.EventID)
		require.Equal(t, 1, second.Attempt)
		require.Zero(t, eventOf(t, second).Sequence.Step.Attempts)
		c := checkpointOf(t, second)
		require.Equal(t, second.StepUUID.String(), c.StepUUID)
		require.Equal(t, []string{`{"row":25}`, `25`, `{"sum":300}`}, []string{string(c.Cursor), string(c.Items), string(c.Accumulated)})
		require.Equal(t, time.Now().UTC(), c.Timestamp)
		require.Len(t, c.History, 1)

		s := stepOf(t, e, id, "one")
		require.Equal(t, "in_progress", s.CurrentState)
		require.Equal(t, 1, s.Attempts)
	})
}

func TestACheckpointLeavesNoTraceInTheHistory(t *testing.T) {
	e := open(t, Options{}, linear)
	id := submit(t, e, asked("linear", 1))
	s := take(t, e)
	before := history(t, e, id)
	yield(t, e, s, `{"cursor":1,"items_processed":1}`)
	require.Equal(t, before, history(t, e, id))
}

func TestEachCheckpointIsAddedToItsHistory(t *testing.T) {
	e := open(t, Options{}, linear)
	submit(t, e, asked("linear", 1))
	s := take(t, e)
	for i := range 3 {
		s = yield(t, e, s, fmt.Sprintf(`{"cursor":%d,"items_processed":%d}`, i, i))
	}
	c := checkpointOf(t, s)
	require.Equal(t, "2", string(c.Cursor))
	require.Empty(t, c.Accumulated)
	for i, h := range c.History {
		require.Equal(t, fmt.Sprint(i), string(h.Cursor))
	}
	require.Len(t, c.History, 3)
}

func TestOfACheckpointsHistoryTheLastHundredAreKept(t *testing.T) {
	e := open(t, Options{Path: memory}, linear)
	submit(t, e, asked("linear", 1))
	s := take(t, e)
	for i := range 130 {
		s = yield(t, e, s, fmt.Sprintf(`{"cursor":%d,"items_processed":%d}`, i, i))
	}
	c := checkpointOf(t, s)
	require.Len(t, c.History, 100)
	require.Equal(t, "30", string(c.History[0].Cursor))
	require.Equal(t, "129", string(c.History[99].Cursor))
}

func TestACheckpointSurvivesAFailedAttempt(t *testing.T) {
	e := open(t, Options{ImmediateRetries: true}, linear)
	id := submit(t, e, asked("linear", 1))
	s := yield(t, e, take(t, e), `{"cursor":50,"items_processed":50}`)
	finish(t, e, s, dispatch.RetryableFailure, "broke down")
	s = take(t, e)
	require.Equal(t, 2, s.Attempt)
	require.Equal(t, 1, eventOf(t, s).Sequence.Step.Attempts)
	require.Equal(t, "50", string(checkpointOf(t, s).Cursor))
	finish(t, e, s, dispatch.Success, 1)
	take(t, e) // the next step: the first is complete
	require.Equal(t, 2, stepOf(t, e, id, "one").Attempts)
}

func TestACheckpointSurvivesARestart(t *testing.T) {
	e := open(t, Options{}, linear)
	submit(t, e, asked("linear", 1))
	yield(t, e, take(t, e), `{"cursor":50,"items_processed":50}`)
	again := reopened(t, e, Options{}, linear)
	s := take(t, again)
	require.Equal(t, 2, s.Attempt, "the attempt that the end of the process interrupted counts")
	require.Equal(t, "50", string(checkpointOf(t, s).Cursor))
}

func TestBigNumbersInACursorAreExact(t *testing.T) {
	e := open(t, Options{}, linear)
	submit(t, e, asked("linear", 1))
	s := yield(t, e, take(t, e), `{"cursor":{"z":123456789012345678901234567890,"a":1.10},"items_processed":1,"accumulated_results":[9007199254740993]}`)
	c := checkpointOf(t, s)
	require.Equal(t, `{"z":123456789012345678901234567890,"a":1.10}`, string(c.Cursor))
	require.Equal(t, `[9007199254740993]`, string(c.Accumulated))
}

func TestTheCursorOfACheckpointMayBeNull(t *testing.T) {
	e := open(t, Options{}, linear)
	submit(t, e, asked("linear", 1))
	c := checkpointOf(t, yield(t, e, take(t, e), `{"cursor":null,"items_processed":0}`))
	require.Equal(t, "null", string(c.Cursor))
	require.Equal(t, "0", string(c.Items))
}

func TestACheckpointThatCannotBeReadFailsTheAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, linear)
		id := submit(t, e, asked("linear", 1))
		e.Complete(take(t, e), dispatch.Result{Outcome: dispatch.CheckpointYield, JSON: []byte(`[]`)})
		synctest.Wait()
		s := stepOf(t, e, id, "one")
		require.Equal(t, "waiting_for_retry", s.CurrentState)
		require.Contains(t, string(s.Results), "checkpoint_error")
		require.Equal(t, 2, take(t, e).Attempt)
	})
}

func TestOnlyTheYieldingStepIsHandedOutAgain(t *testing.T) {
	e := open(t, Options{}, dag("wide", "a", "b"))
	submit(t, e, asked("wide", 1))
	both := takeAll(t, e, 2)
	s := yield(t, e, both["b"], `{"cursor":1,"items_processed":1}`)
	require.Equal(t, "b", s.Name)
	finish(t, e, both["a"], dispatch.Success, 1)
	finish(t, e, s, dispatch.Success, 1)
	require.Equal(t, "complete", await(t, e, s.TaskUUID).Status)
}

func TestAStepOfABlockedTaskMayStillYieldAndFinish(t *testing.T) {
	e := open(t, Options{}, dag("wide", "a", "b"))
	id := submit(t, e, asked("wide", 1))
	both := takeAll(t, e, 2)
	finish(t, e, both["a"], dispatch.PermanentFailure, "no")
	s := yield(t, e, both["b"], `{"cursor":1,"items_processed":1}`)
	finish(t, e, s, dispatch.Success, 1)
	require.Equal(t, "blocked_by_failures", await(t, e, id).Status)
	require.Equal(t, "complete", states(t, e, id)["b"])
}
