package engine

import (
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

// month keeps finished tasks for 30 days.
var month = Options{Path: memory, Keep: 30 * 24 * time.Hour}

const day = 24 * time.Hour

func present(t testing.TB, e *Engine) map[uuid.UUID]string {
	t.Helper()
	all := map[uuid.UUID]string{}
	for page := 1; ; page++ {
		list, err := e.Tasks(t.Context(), TaskFilter{Page: page, PerPage: 100})
		require.NoError(t, err)
		for _, task := range list.Tasks {
			all[task.TaskUUID] = task.Status
		}
		if !list.Pagination.HasNext {
			return all
		}
	}
}

// newest is a task that comes last, which is never deleted.
func newest(t testing.TB, e *Engine) uuid.UUID { return submit(t, e, asked("single", 1_000_000)) }

// count returns how many rows a table of the engine's file has.
func count(t testing.TB, e *Engine, table string) int {
	t.Helper()
	n, err := strconv.Atoi(rows(t, e, "SELECT count(*) FROM "+table)[0])
	require.NoError(t, err)
	return n
}

func TestFinishedTasksAreDeletedWhenTheirTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, month, dag("single", "only"), chain)
		done := submit(t, e, asked("single", 1))
		finish(t, e, take(t, e), dispatch.Success, 1)
		cancelled := submit(t, e, asked("single", 2))
		_, err := e.Cancel(t.Context(), cancelled)
		require.NoError(t, err)
		running := submit(t, e, asked("single", 3))
		take(t, e)
		failed := blocked(t, e)
		last := newest(t, e)
		everything := map[uuid.UUID]string{
			done: "complete", cancelled: "cancelled", running: "steps_in_process", failed: "blocked_by_failures", last: "steps_in_process",
		}
		later(30*day - time.Minute)
		require.Equal(t, everything, present(t, e))
		later(2 * time.Hour)
		delete(everything, done)
		delete(everything, cancelled)
		require.Equal(t, everything, present(t, e), "what can still go on is kept")
		_, err = e.Task(t.Context(), done)
		require.ErrorIs(t, err, ErrNotFound)
		steps, err := e.Steps(t.Context(), done)
		require.NoError(t, err)
		require.Empty(t, steps)
	})
}

func TestNothingIsDeletedUnlessAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, dag("single", "only"))
		done := submit(t, e, asked("single", 1))
		finish(t, e, take(t, e), dispatch.Success, 1)
		newest(t, e)
		later(10 * 365 * day)
		require.Contains(t, present(t, e), done)
	})
}

func TestTheTimeCountsFromTheEndOfATask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, month, dag("single", "only"))
		id := submit(t, e, asked("single", 1))
		step := take(t, e)
		newest(t, e)
		later(60 * day)
		finish(t, e, step, dispatch.Success, 1)
		later(29 * day)
		require.Contains(t, present(t, e), id)
		later(2 * day)
		require.NotContains(t, present(t, e), id)
	})
}

func TestATaskUnderInvestigationIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, month, dag("single", "only"))
		id := submit(t, e, asked("single", 1))
		deadLetter(t, e, id, DLQManual)
		finish(t, e, take(t, e), dispatch.Success, 1)
		newest(t, e)
		later(60 * day)
		require.Contains(t, present(t, e), id)
		require.NoError(t, e.UpdateDLQ(t.Context(), deadLetters(t, e)[0].DLQEntryUUID, DLQUpdate{ResolutionStatus: ptr(DLQManuallyResolved)}))
		later(day)
		require.NotContains(t, present(t, e), id)
		require.Empty(t, deadLetters(t, e))
	})
}

func TestTheInputOfADeletedTaskMayBeSubmittedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, month, dag("single", "only"))
		submit(t, e, asked("single", 1))
		finish(t, e, take(t, e), dispatch.Success, 1)
		newest(t, e)
		_, err := e.Create(t.Context(), asked("single", 1))
		require.ErrorIs(t, err, ErrConflict)
		later(31 * day)
		submit(t, e, asked("single", 1))
	})
}

func TestDeletionLeavesNothingOfATaskHoweverLargeItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		steps := []string{"first"}
		for i := range 500 {
			steps = append(steps, fmt.Sprintf("s%d: first", i))
		}
		e := open(t, Options{Keep: 30 * day, ImmediateRetries: true}, dag("wide", steps...), dag("single", "only"))
		id := submit(t, e, asked("wide", 1))
		failed := false
		work(t, e, func(s *dispatch.Step) (dispatch.Outcome, any) {
			if s.Name == "first" && !failed {
				failed = true
				return dispatch.RetryableFailure, "once"
			}
			return dispatch.Success, 1
		})
		require.Equal(t, "complete", await(t, e, id).Status)
		last := newest(t, e)
		await(t, e, last)
		before := map[string]int{}
		for _, table := range []string{"workflow_steps", "history", "failed_attempts"} {
			before[table] = count(t, e, table)
		}
		require.Equal(t, 502, before["workflow_steps"])
		require.Equal(t, 1, before["failed_attempts"])
		later(31 * day)
		require.Equal(t, map[uuid.UUID]string{last: "complete"}, present(t, e))
		require.Equal(t, 1, count(t, e, "workflow_steps"))
		require.Zero(t, count(t, e, "failed_attempts"))
		require.Equal(t, 1, count(t, e, "task_contexts"))
		require.Zero(t, count(t, e, "expired_tasks"))
		require.Less(t, count(t, e, "history"), before["history"])
	})
}

func TestADeletionThatWasInterruptedIsFinishedLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	e := open(t, Options{Path: path}, dag("single", "only"))
	submit(t, e, asked("single", 1))
	finish(t, e, take(t, e), dispatch.Success, 1)
	newest(t, e)
	// As after a crash between two batches: the task is gone, its steps are not.
	x := &halfDeletion{id: 1, done: make(chan error, 1)}
	require.NoError(t, e.ask(t.Context(), x, x.done))
	require.Equal(t, 1, count(t, e, "expired_tasks"))
	require.Equal(t, 2, count(t, e, "workflow_steps"))
	require.NoError(t, e.Close(t.Context()))

	e = open(t, Options{Path: path, Keep: 100 * 365 * day}, dag("single", "only"))
	require.NoError(t, e.expire(t.Context()))
	require.Equal(t, 1, count(t, e, "workflow_steps"))
	require.Zero(t, count(t, e, "expired_tasks"))
}

type halfDeletion struct {
	id   int64
	done chan error
}

func (x *halfDeletion) apply(w *writer) error {
	w.batch.inserts = append(w.batch.inserts, func() error {
		_, err := w.store.ExpireTask(x.id, w.batch.at+1)
		return err
	})
	return nil
}

func (x *halfDeletion) reply(_ *writer, err error) { x.done <- err }

func TestATaskThatComesBackWhileItExpiresIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, acting, chain)
		id, one := stale(t, e, "chain")
		require.NoError(t, e.UpdateDLQ(t.Context(), deadLetters(t, e)[0].DLQEntryUUID, DLQUpdate{ResolutionStatus: ptr(DLQCancelled)}))
		submit(t, e, asked("chain", 2))
		later(time.Minute)
		// In one batch: the deletion first, then the operator.
		x := &expiry{ids: []int64{1}, cutoff: e.writer.batch.at + 1, done: make(chan error, 1)}
		o := &operation{task: id, step: one.StepUUID, event: stepResolveManually, Operation: byHand, done: make(chan error, 1)}
		require.True(t, e.inbox.put(x, o))
		require.NoError(t, <-x.done)
		require.NoError(t, <-o.done)
		require.Equal(t, map[string]string{"one": "resolved_manually", "two": "enqueued"}, states(t, e, id))
	})
}

func TestManyTasksAreDeletedWhileNewOnesRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, month, dag("single", "only"))
		work(t, e, succeed)
		var last uuid.UUID
		for i := range 3 * examineAtOnce / 2 {
			last = submit(t, e, asked("single", i))
		}
		await(t, e, last)
		later(31 * day)
		id := newest(t, e)
		require.Equal(t, "complete", await(t, e, id).Status)
		later(2 * time.Hour)
		require.Equal(t, map[uuid.UUID]string{id: "complete"}, present(t, e))
	})
}

func TestADeletionThatCannotBeStoredIsTriedAgain(t *testing.T) {
	both(t, func(t *testing.T, fail func(*breaker, int32), _ bool) {
		e, b := breaking(t, month, dag("single", "only"))
		id := submit(t, e, asked("single", 1))
		finish(t, e, take(t, e), dispatch.Success, 1)
		newest(t, e)
		later(30*day - time.Hour)
		fail(b, 1)
		later(4 * time.Hour)
		healthy(t, e)
		require.NotContains(t, present(t, e), id)
		require.NotEmpty(t, present(t, e))
	})
}
