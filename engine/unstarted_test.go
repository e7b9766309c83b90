package engine

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

func TestAStepThatWasNeverStartedCostsNoAttempt(t *testing.T) {
	e := open(t, Options{}, chain)
	id := submit(t, e, asked("chain", 1))
	e.Complete(take(t, e), dispatch.Result{Outcome: dispatch.Unstarted})
	again := take(t, e)
	require.Equal(t, 1, again.Attempt)
	require.Equal(t, 1, stepNamed(t, e, id, "one").Attempts)
	finish(t, e, again, dispatch.Success, 1)
	require.Equal(t, "two", take(t, e).Name)
}

func TestAStepThatWasNeverStartedRunsAtTheNextStart(t *testing.T) {
	e := open(t, Options{}, chain)
	id := submit(t, e, asked("chain", 1))
	e.Complete(take(t, e), dispatch.Result{Outcome: dispatch.Unstarted})
	require.NoError(t, e.Close(t.Context()))
	next := open(t, Options{Path: e.o.Path}, chain)
	require.Equal(t, "enqueued", stepNamed(t, next, id, "one").CurrentState)
	require.Equal(t, 1, take(t, next).Attempt)
}

func TestACheckpointedStepThatWasNotStartedAgainKeepsItsAttempt(t *testing.T) {
	e := open(t, Options{}, chain)
	id := submit(t, e, asked("chain", 1))
	finish(t, e, take(t, e), dispatch.CheckpointYield, map[string]any{"cursor": 5, "items_processed": 5})
	e.Complete(take(t, e), dispatch.Result{Outcome: dispatch.Unstarted})
	require.Equal(t, 1, take(t, e).Attempt)
	require.Equal(t, "in_progress", stepNamed(t, e, id, "one").CurrentState)
}
