package engine

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

func TestCancellingCancelsTheTaskAndWhatIsNotFinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, dag("all", "done", "failed", "waits", "runs", "ready", "idle: runs"))
		id := submit(t, e, asked("all", 1))
		steps := takeAll(t, e, 4)
		for name := range steps {
			require.Contains(t, []string{"done", "failed", "waits", "runs"}, name)
		}
		finish(t, e, steps["done"], dispatch.Success, 1)
		finish(t, e, steps["waits"], dispatch.RetryableFailure, "later")
		finish(t, e, steps["failed"], dispatch.PermanentFailure, "no")
		synctest.Wait()
		time.Sleep(time.Millisecond)
		task, err := e.Cancel(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, "cancelled", task.Status)
		require.Equal(t, time.Now().UTC(), *task.CompletedAt)
		require.Equal(t, "waiting_for_dependencies", task.ExecutionStatus)
		require.Equal(t, map[string]string{
			"done": "complete", "failed": "cancelled", "waits": "cancelled", "runs": "cancelled", "ready": "cancelled", "idle": "cancelled",
		}, states(t, e, id))
		require.Equal(t, time.Now().UTC(), *stepOf(t, e, id, "idle").CompletedAt, "a cancelled step is processed")
		require.Contains(t, string(stepOf(t, e, id, "failed").Results), "no", "results stay")
	})
}

func TestATaskInATerminalStateCannotBeCancelled(t *testing.T) {
	e := open(t, Options{}, dag("single", "only"))
	work(t, e, succeed)
	id := await(t, e, submit(t, e, asked("single", 1))).TaskUUID
	before := taskOf(t, e, id)
	_, err := e.Cancel(t.Context(), id)
	require.ErrorIs(t, err, ErrInvalidState)
	require.ErrorContains(t, err, "Cannot cancel a completed task")
	require.Equal(t, before, taskOf(t, e, id))
}

func TestATaskIsCancelledOnce(t *testing.T) {
	e := open(t, Options{}, linear)
	id := submit(t, e, asked("linear", 1))
	_, err := e.Cancel(t.Context(), id)
	require.NoError(t, err)
	_, err = e.Cancel(t.Context(), id)
	require.ErrorIs(t, err, ErrInvalidState)
}

func TestAnUnknownTaskCannotBeCancelled(t *testing.T) {
	_, err := open(t, Options{}).Cancel(t.Context(), newUUID())
	require.ErrorIs(t, err, ErrNotFound)
}

func TestABlockedTaskCanBeCancelled(t *testing.T) {
	e := open(t, Options{}, linear)
	id := submit(t, e, asked("linear", 1))
	finish(t, e, take(t, e), dispatch.PermanentFailure, "no")
	require.Equal(t, "blocked_by_failures", await(t, e, id).Status)
	task, err := e.Cancel(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, "cancelled", task.Status)
	require.Equal(t, "cancelled", states(t, e, id)["one"])
}

func TestTheResultOfACancelledStepIsDropped(t *testing.T) {
	for name, outcome := range map[string]dispatch.Outcome{
		"success": dispatch.Success, "failure": dispatch.RetryableFailure, "checkpoint": dispatch.CheckpointYield, "unstarted": dispatch.Unstarted,
	} {
		t.Run(name, func(t *testing.T) {
			e := open(t, Options{}, linear)
			id := submit(t, e, asked("linear", 1))
			running := take(t, e)
			_, err := e.Cancel(t.Context(), id)
			require.NoError(t, err)
			finish(t, e, running, outcome, map[string]any{"cursor": 1})
			settle(t, e)
			s := stepOf(t, e, id, "one")
			require.Equal(t, "cancelled", s.CurrentState)
			require.Empty(t, s.Results)
			require.Equal(t, "cancelled", taskOf(t, e, id).Status)
			require.Equal(t, Stats{}, e.Stats())
		})
	}
}

func TestAStepThatIsToGoOnFromItsCheckpointIsCancelledWithItsTask(t *testing.T) {
	e := open(t, Options{}, linear)
	id := submit(t, e, asked("linear", 1))
	finish(t, e, take(t, e), dispatch.CheckpointYield, map[string]any{"cursor": 1, "items_processed": 1})
	_, err := e.Cancel(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, "cancelled", states(t, e, id)["one"])
	other := submit(t, e, asked("linear", 2))
	require.Equal(t, other, take(t, e).TaskUUID)
}

func TestCancelledStepsAreNotHandedOut(t *testing.T) {
	e := open(t, Options{}, dag("wide", "a", "b", "c"), linear)
	cancelled := submit(t, e, asked("wide", 1))
	_, err := e.Cancel(t.Context(), cancelled)
	require.NoError(t, err)
	submit(t, e, asked("linear", 1))
	steps, err := e.Claim(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, steps, 1)
	require.Equal(t, "one", steps[0].Name)
}

func TestACancelledRetryDoesNotComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, linear)
		id := submit(t, e, asked("linear", 1))
		finish(t, e, take(t, e), dispatch.RetryableFailure, "later")
		synctest.Wait()
		_, err := e.Cancel(t.Context(), id)
		require.NoError(t, err)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, "cancelled", states(t, e, id)["one"])
		require.Equal(t, Stats{}, e.Stats())
	})
}

func TestACancelledTaskStaysCancelledAfterARestart(t *testing.T) {
	e := open(t, Options{}, linear)
	id := submit(t, e, asked("linear", 1))
	take(t, e)
	_, err := e.Cancel(t.Context(), id)
	require.NoError(t, err)
	require.NoError(t, e.Close(t.Context()))
	again := open(t, Options{Path: e.o.Path}, linear)
	require.Equal(t, "cancelled", taskOf(t, again, id).Status)
	require.Equal(t, Stats{}, again.Stats())
}

func TestTheHistoryOfACancellationTellsWhatWas(t *testing.T) {
	e := open(t, Options{}, linear)
	id := submit(t, e, asked("linear", 1))
	_, err := e.Cancel(t.Context(), id)
	require.NoError(t, err)
	require.Contains(t, history(t, e, id), `[null,"steps_in_process","cancelled"]`)
	require.Contains(t, history(t, e, id), `[0,"enqueued","cancelled"]`)
}
