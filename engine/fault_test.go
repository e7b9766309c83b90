package engine

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/engine/store"
)

var errBroken = errors.New("broken on purpose")

// breaker makes the next commits fail: before they are durable, or after.
type breaker struct{ before, after atomic.Int32 }

func (b *breaker) at(p store.Point) error {
	left := &b.before
	if p == store.AfterCommit {
		left = &b.after
	}
	if left.Load() > 0 {
		left.Add(-1)
		return fmt.Errorf("%w %s", errBroken, p)
	}
	return nil
}

// breaking opens an engine in memory whose commits can be made to fail.
func breaking(t testing.TB, o Options, yaml ...string) (*Engine, *breaker) {
	t.Helper()
	b := &breaker{}
	o.Path, o.fault = memory, b.at
	return open(t, o, yaml...), b
}

// both runs a test once with commits that fail, and once with commits that
// are durable and look failed.
func both(t *testing.T, test func(t *testing.T, fail func(b *breaker, n int32), durable bool)) {
	t.Run("before the commit", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			test(t, func(b *breaker, n int32) { b.before.Store(n) }, false)
		})
	})
	t.Run("after the commit", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			test(t, func(b *breaker, n int32) { b.after.Store(n) }, true)
		})
	})
}

// healthy waits until commits succeed again.
func healthy(t testing.TB, e *Engine) {
	t.Helper()
	for range 10_000 {
		synctest.Wait()
		if e.Health() == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	require.Fail(t, "the engine does not recover", "%v", e.Health())
}

// soon is a context for what must happen within an hour of fake time.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	t.Cleanup(cancel)
	return ctx
}

func TestASubmissionThatCannotBeStoredIsRefused(t *testing.T) {
	both(t, func(t *testing.T, fail func(*breaker, int32), durable bool) {
		e, b := breaking(t, Options{}, linear)
		fail(b, 1)
		_, err := e.Create(t.Context(), asked("linear", 1))
		require.ErrorIs(t, err, ErrUnavailable)
		require.ErrorIs(t, err, errBroken)
		healthy(t, e)
		list, err := e.Tasks(t.Context(), TaskFilter{})
		require.NoError(t, err)
		if durable {
			require.Equal(t, 1, list.Pagination.TotalCount, "the task is there all the same, once")
			_, err := e.Create(t.Context(), asked("linear", 1))
			require.ErrorIs(t, err, ErrConflict)
			require.Equal(t, "one", take(t, e).Name, "and runs")
		} else {
			require.Zero(t, list.Pagination.TotalCount)
			submit(t, e, asked("linear", 1))
		}
		require.Equal(t, 1, e.Stats().OpenTasks)
	})
}

func TestHealthTurnsBadWithAFailedCommitAndGoodByItself(t *testing.T) {
	both(t, func(t *testing.T, fail func(*breaker, int32), _ bool) {
		e, b := breaking(t, Options{}, linear)
		require.NoError(t, e.Health())
		fail(b, 3)
		_, err := e.Create(t.Context(), asked("linear", 1))
		require.Error(t, err)
		require.ErrorIs(t, e.Health(), ErrUnavailable)
		require.ErrorContains(t, e.Health(), "broken on purpose")
		time.Sleep(10 * time.Second) // nobody asks for anything meanwhile
		synctest.Wait()
		require.NoError(t, e.Health())
	})
}

func TestResultsOutliveFailedCommits(t *testing.T) {
	both(t, func(t *testing.T, fail func(*breaker, int32), _ bool) {
		e, b := breaking(t, Options{}, dag("pair", "first", "second: first"))
		id := submit(t, e, asked("pair", 1))
		first := take(t, e)
		fail(b, 5)
		finish(t, e, first, dispatch.Success, "kept")
		second := take(t, e)
		require.Equal(t, "second", second.Name)
		require.Contains(t, string(second.Event), `"result":"kept"`)
		s := stepOf(t, e, id, "first")
		require.Equal(t, "complete", s.CurrentState)
		require.Equal(t, 1, s.Attempts)
	})
}

func TestAFailureWhoseCommitFailsCountsOnce(t *testing.T) {
	both(t, func(t *testing.T, fail func(*breaker, int32), _ bool) {
		e, b := breaking(t, Options{}, retrying("max_attempts: 2"))
		id := submit(t, e, asked("retrying", 1))
		s := take(t, e)
		fail(b, 3)
		finish(t, e, s, dispatch.RetryableFailure, "again")
		s = take(t, e)
		require.Equal(t, 2, s.Attempt)
		finish(t, e, s, dispatch.Success, 1)
		synctest.Wait()
		require.Equal(t, "complete", stepOf(t, e, id, "flaky").CurrentState)
	})
}

func TestAClaimWhoseCommitFailsIsMadeAgain(t *testing.T) {
	both(t, func(t *testing.T, fail func(*breaker, int32), _ bool) {
		e, b := breaking(t, Options{}, linear)
		id := submit(t, e, asked("linear", 1))
		fail(b, 2)
		s := take(t, e)
		require.Equal(t, "one", s.Name)
		require.Equal(t, 1, s.Attempt, "it was handed out once")
		require.Equal(t, 0, eventOf(t, s).Sequence.Step.Attempts)
		require.Equal(t, 1, stepOf(t, e, id, "one").Attempts)
		require.Equal(t, Stats{OpenTasks: 1, RunningSteps: 1}, e.Stats())
	})
}

// The batch that stores the failure also hands the step out again, and is
// durable although it looks failed: the new attempt must find its way out.
func TestARetryClaimedInACommitThatLooksFailedIsHandedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, b := breaking(t, Options{ImmediateRetries: true}, retrying("max_attempts: 5"))
		submit(t, e, asked("retrying", 1))
		first := take(t, e)
		claimed := make(chan []*dispatch.Step, 1)
		go func() {
			steps, _ := e.Claim(soon(t), 1)
			claimed <- steps
		}()
		synctest.Wait()
		b.after.Store(1)
		finish(t, e, first, dispatch.RetryableFailure, "again")
		steps := <-claimed
		require.Len(t, steps, 1)
		require.Equal(t, 2, steps[0].Attempt)
	})
}

// The batch that stores the failure also resets the step and hands it out
// again, with the number of the attempt that failed, and only looks failed.
func TestAResultIsNotTakenForThatOfTheAttemptAfterAReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, b := breaking(t, Options{}, retrying("max_attempts: 1"))
		id := submit(t, e, asked("retrying", 1))
		first := take(t, e)
		claimed := make(chan []*dispatch.Step, 1)
		go func() {
			steps, _ := e.Claim(soon(t), 1)
			claimed <- steps
		}()
		synctest.Wait()
		b.before.Store(1)
		finish(t, e, first, dispatch.PermanentFailure, "broken")
		synctest.Wait()
		b.after.Store(1)
		_, err := e.ResetStep(t.Context(), id, first.StepUUID, Operation{})
		require.ErrorIs(t, err, ErrUnavailable)
		second := <-claimed
		require.Len(t, second, 1)
		require.Equal(t, "in_progress", states(t, e, id)["flaky"])
		finish(t, e, second[0], dispatch.Success, 1)
		healthy(t, e)
		require.Equal(t, "complete", states(t, e, id)["flaky"])
	})
}

func TestAWaitEndsWhenTheLastCommitLooksFailed(t *testing.T) {
	both(t, func(t *testing.T, fail func(*breaker, int32), _ bool) {
		e, b := breaking(t, Options{}, dag("single", "only"))
		id := submit(t, e, asked("single", 1))
		s := take(t, e)
		ended := make(chan Task, 1)
		go func() {
			task, _ := e.Wait(soon(t), id)
			ended <- task
		}()
		synctest.Wait()
		fail(b, 1)
		finish(t, e, s, dispatch.Success, 1)
		require.Equal(t, "complete", (<-ended).Status)
	})
}

func TestAWatcherMissesNothingWhenACommitLooksFailed(t *testing.T) {
	both(t, func(t *testing.T, fail func(*breaker, int32), _ bool) {
		e, b := breaking(t, Options{}, dag("single", "only"))
		id := submit(t, e, asked("single", 1))
		s := take(t, e)
		changes, stop := e.Watch(id)
		defer stop()
		fail(b, 1)
		finish(t, e, s, dispatch.Success, 1)
		await(t, e, id)
		require.NoError(t, e.Close(t.Context()))
		require.Equal(t, []string{
			"only: in_progress → enqueued_for_orchestration", "only: enqueued_for_orchestration → complete",
			": steps_in_process → evaluating_results", ": evaluating_results → complete",
		}, told(drained(changes)))
	})
}

func TestACancellationThatCannotBeStoredChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, b := breaking(t, Options{}, linear)
		id := submit(t, e, asked("linear", 1))
		running := take(t, e)
		b.before.Store(1)
		_, err := e.Cancel(t.Context(), id)
		require.ErrorIs(t, err, ErrUnavailable)
		healthy(t, e)
		require.Equal(t, Stats{OpenTasks: 1, RunningSteps: 1}, e.Stats(), "the running step is not handed out a second time")
		finish(t, e, running, dispatch.Success, 1)
		require.Equal(t, "two", take(t, e).Name)
	})
}

func TestAHandlerIsAskedToEndOnceItsCancellationIsFoundStored(t *testing.T) {
	both(t, func(t *testing.T, fail func(*breaker, int32), durable bool) {
		e, b := breaking(t, Options{}, linear)
		id := submit(t, e, asked("linear", 1))
		running := take(t, e)
		fail(b, 1)
		_, err := e.Cancel(t.Context(), id)
		require.ErrorIs(t, err, ErrUnavailable)
		healthy(t, e)
		require.Equal(t, durable, running.Handle.(*claim).revoked.Load())
	})
}

func TestAnOperationThatCannotBeStoredChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, b := breaking(t, Options{}, linear)
		id := submit(t, e, asked("linear", 1))
		running := take(t, e)
		b.before.Store(1)
		_, err := e.ResolveStep(t.Context(), id, running.StepUUID, Operation{By: "me"})
		require.ErrorIs(t, err, ErrUnavailable)
		healthy(t, e)
		require.Equal(t, Stats{OpenTasks: 1, RunningSteps: 1}, e.Stats(), "the running step is not handed out a second time")
		finish(t, e, running, dispatch.Success, 1)
		require.Equal(t, "two", take(t, e).Name)
	})
}

func TestACheckpointOutlivesFailedCommits(t *testing.T) {
	both(t, func(t *testing.T, fail func(*breaker, int32), _ bool) {
		e, b := breaking(t, Options{}, linear)
		submit(t, e, asked("linear", 1))
		s := take(t, e)
		fail(b, 2)
		finish(t, e, s, dispatch.CheckpointYield, map[string]any{"cursor": 7, "items_processed": 7})
		s = take(t, e)
		require.Equal(t, 1, s.Attempt)
		require.Contains(t, string(eventOf(t, s).Sequence.Step.Checkpoint), `"cursor":7`)
		require.Equal(t, Stats{OpenTasks: 1, RunningSteps: 1}, e.Stats())
	})
}

func TestPublicationsOutliveFailedCommits(t *testing.T) {
	both(t, func(t *testing.T, fail func(*breaker, int32), _ bool) {
		e, b := breaking(t, Options{}, `
name: publishing
namespace_name: tests
version: 1.0.0
steps:
  - name: only
    handler: {callable: h}
    publishes_events: [{name: done, description: It is done, condition: success, schema: {type: object}}]
`)
		submit(t, e, asked("publishing", 1))
		s := take(t, e)
		fail(b, 1)
		finish(t, e, s, dispatch.Success, 1)
		healthy(t, e)
		all, err := e.Publications(soon(t))
		require.NoError(t, err)
		require.Len(t, all, 1)
		require.Equal(t, s.StepUUID, all[0].StepUUID)
	})
}

func TestARegistrationThatCannotBeStoredIsRefused(t *testing.T) {
	both(t, func(t *testing.T, fail func(*breaker, int32), _ bool) {
		e, b := breaking(t, Options{})
		fail(b, 1)
		require.ErrorIs(t, e.Register(t.Context(), parse(t, linear)), ErrUnavailable)
		require.Empty(t, e.Templates())
		healthy(t, e)
		require.NoError(t, e.Register(t.Context(), parse(t, linear)))
		submit(t, e, asked("linear", 1))
	})
}

func TestAReplacedTemplateThatCannotBeStoredIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, b := breaking(t, Options{}, dag("single", "only"))
		submit(t, e, asked("single", 1))
		b.before.Store(1)
		require.ErrorIs(t, e.Register(t.Context(), parse(t, dag("single", "another"))), ErrUnavailable)
		healthy(t, e)
		require.Equal(t, "only", eventOf(t, take(t, e)).Sequence.Definition.Name)
	})
}

// Whoever is told that somebody else was first may rely on it: what the first
// one did is in the file.
func TestARefusalForTheSakeOfAnotherRequestWaitsUntilThatIsStored(t *testing.T) {
	both(t, func(t *testing.T, fail func(*breaker, int32), durable bool) {
		e, b := breaking(t, Options{}, linear)
		twins := []*submission{}
		for range 2 {
			s, err := e.submission(asked("linear", 1))
			require.NoError(t, err)
			twins = append(twins, s)
		}
		fail(b, 1)
		require.True(t, e.inbox.put(twins[0], twins[1]))
		require.ErrorIs(t, <-twins[0].done, ErrUnavailable)
		require.ErrorIs(t, <-twins[1].done, ErrUnavailable, "there may be no task of this identity")
		healthy(t, e)
		_, err := e.Create(t.Context(), asked("linear", 1))
		if durable {
			require.ErrorIs(t, err, ErrConflict)
		} else {
			require.NoError(t, err)
		}
	})
}

func TestASecondCancellationIsNotRefusedBeforeTheFirstOneIsStored(t *testing.T) {
	both(t, func(t *testing.T, fail func(*breaker, int32), _ bool) {
		e, b := breaking(t, Options{}, linear)
		id := submit(t, e, asked("linear", 1))
		first, second := &cancellation{task: id, done: make(chan error, 1)}, &cancellation{task: id, done: make(chan error, 1)}
		fail(b, 1)
		require.True(t, e.inbox.put(first, second))
		require.ErrorIs(t, <-first.done, ErrUnavailable)
		require.ErrorIs(t, <-second.done, ErrUnavailable)
	})
}

func TestDelaysOutliveFailedCommits(t *testing.T) {
	both(t, func(t *testing.T, fail func(*breaker, int32), _ bool) {
		e, b := breaking(t, Options{NoJitter: true}, retrying("backoff_base_ms: 60000, max_backoff_ms: 60000"))
		submit(t, e, asked("retrying", 1))
		finish(t, e, take(t, e), dispatch.RetryableFailure, "later")
		synctest.Wait()
		failed := time.Now()
		fail(b, 1)
		_, err := e.Create(t.Context(), asked("retrying", 2))
		require.ErrorIs(t, err, ErrUnavailable)
		healthy(t, e)
		for s := take(t, e); s.Attempt != 2; s = take(t, e) { // the second task, if it is there
			continue
		}
		require.Equal(t, time.Minute, time.Since(failed))
	})
}

func TestEverythingWaitingIsAnsweredWhileCommitsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, b := breaking(t, Options{}, linear)
		b.before.Store(1_000_000)
		for i := range 5 {
			_, err := e.Create(soon(t), asked("linear", i))
			require.ErrorIs(t, err, ErrUnavailable)
		}
		_, err := e.Cancel(soon(t), newUUID())
		require.ErrorIs(t, err, ErrNotFound, "what needs no commit is answered as ever")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = e.Claim(ctx, 1)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = e.Task(t.Context(), uuid.Nil)
		require.ErrorIs(t, err, ErrNotFound, "reading works")
		b.before.Store(0)
	})
}

func TestClosingWhileCommitsFailSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &breaker{}
		e, err := Open(t.Context(), Options{Path: memory, fault: b.at})
		require.NoError(t, err)
		require.NoError(t, e.Register(t.Context(), parse(t, linear)))
		submit(t, e, asked("linear", 1))
		s := take(t, e)
		b.before.Store(1_000_000)
		finish(t, e, s, dispatch.Success, 1)
		synctest.Wait()
		require.ErrorIs(t, e.Close(t.Context()), errBroken)
		require.ErrorIs(t, e.Health(), ErrClosed)
	})
}

func TestOpeningFailsWhenWhatItFindsCannotBeTakenUp(t *testing.T) {
	e := open(t, Options{}, linear)
	submit(t, e, asked("linear", 1))
	take(t, e)
	require.NoError(t, e.Close(t.Context()))
	_, err := Open(t.Context(), Options{Path: e.o.Path, fault: func(store.Point) error { return errBroken }})
	require.ErrorIs(t, err, errBroken)
	open(t, Options{Path: e.o.Path}) // the lock is free again
}
