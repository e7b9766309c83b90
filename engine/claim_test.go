package engine

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

func TestAClaimReturnsAtMostItsLimit(t *testing.T) {
	e := open(t, Options{}, dag("wide", "a", "b", "c", "d", "e"))
	submit(t, e, asked("wide", 1))
	seen := map[string]bool{}
	for _, limit := range []int{2, 2, 2} {
		steps, err := e.Claim(t.Context(), limit)
		require.NoError(t, err)
		require.LessOrEqual(t, len(steps), limit)
		for _, s := range steps {
			require.False(t, seen[s.Name], "%s was handed out twice", s.Name)
			seen[s.Name] = true
		}
	}
	require.Len(t, seen, 5)
}

func TestAClaimReturnsAllThatIsReadyUpToItsLimit(t *testing.T) {
	e := open(t, Options{}, dag("wide", "a", "b", "c", "d", "e"))
	submit(t, e, asked("wide", 1))
	steps, err := e.Claim(t.Context(), 100)
	require.NoError(t, err)
	require.Len(t, steps, 5)
}

func TestALimitBelowOneIsRefused(t *testing.T) {
	e := open(t, Options{})
	_, err := e.Claim(t.Context(), 0)
	require.ErrorContains(t, err, "limit is 0")
}

func TestAClaimWaitsForAStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, linear)
		claimed := make(chan *dispatch.Step, 1)
		go func() { claimed <- take(t, e) }()
		time.Sleep(time.Hour)
		require.Empty(t, claimed)
		submit(t, e, asked("linear", 1))
		require.Equal(t, "one", (<-claimed).Name)
	})
}

// claimInLine starts n claims of one step each, one after the other, and
// returns in which order they are served: the channel gives their numbers.
func claimInLine(ctx context.Context, t *testing.T, e *Engine, n int) <-chan int {
	served := make(chan int, n)
	for i := range n {
		go func() {
			if steps, err := e.Claim(ctx, 1); err == nil && len(steps) == 1 {
				served <- i
			}
		}()
		synctest.Wait()
	}
	return served
}

func TestClaimsAreServedInTheOrderInWhichTheyCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, dag("single", "only"))
		served := claimInLine(soon(t), t, e, 5)
		for i := range 5 {
			submit(t, e, asked("single", i))
			require.Equal(t, i, <-served)
		}
	})
}

func TestStepsThatBecomeReadyTogetherAreSharedAmongWaitingClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, dag("wide", "a", "b", "c", "d", "e"))
		var mu sync.Mutex
		var got []int
		for range 3 {
			go func() {
				steps, _ := e.Claim(soon(t), 2)
				mu.Lock()
				defer mu.Unlock()
				got = append(got, len(steps))
			}()
			synctest.Wait()
		}
		submit(t, e, asked("wide", 1))
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		require.ElementsMatch(t, []int{2, 2, 1}, got)
	})
}

func TestAClaimWhoseContextEndsLeavesNothingClaimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, linear)
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() { _, err := e.Claim(ctx, 10); failed <- err }()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-failed, context.Canceled)
		id := submit(t, e, asked("linear", 1))
		synctest.Wait()
		require.Equal(t, "enqueued", states(t, e, id)["one"])
		require.Equal(t, Stats{OpenTasks: 1, ReadySteps: 1}, e.Stats())
		require.Equal(t, "one", take(t, e).Name)
	})
}

func TestAClaimWhoseContextHasEndedTakesNothing(t *testing.T) {
	e := open(t, Options{}, linear)
	id := submit(t, e, asked("linear", 1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := e.Claim(ctx, 1)
	require.ErrorIs(t, err, context.Canceled)
	settle(t, e)
	require.Equal(t, "enqueued", states(t, e, id)["one"])
}

// However the end of the context falls, a step is either returned or left
// for others: none is lost.
func TestNoStepIsLostToAClaimThatIsGivenUp(t *testing.T) {
	e := open(t, Options{Path: memory}, dag("single", "only"))
	const tasks = 300
	returned := 0
	for i := range tasks {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if steps, err := e.Claim(ctx, 1); err == nil {
				returned += len(steps)
			}
		})
		wg.Go(func() { submit(t, e, asked("single", i)) })
		wg.Go(cancel)
		wg.Wait()
	}
	settle(t, e)
	require.Equal(t, Stats{OpenTasks: tasks, ReadySteps: tasks - returned, RunningSteps: returned}, e.Stats())
}

func TestClaimsThatWereGivenUpAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, linear)
		for range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := e.Claim(ctx, 1)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			cancel()
		}
		synctest.Wait()
		require.LessOrEqual(t, len(e.writer.claimants), 1)
	})
}

func TestAStepIsHandedOutWithItsTimeLimit(t *testing.T) {
	yaml := `
name: timed
namespace_name: tests
version: 1.0.0
steps:
  - {name: own, handler: {callable: h}, timeout_seconds: 7}
  - {name: none, handler: {callable: h}}
`
	for _, c := range []struct{ given, want time.Duration }{{0, 0}, {30 * time.Second, 30 * time.Second}} {
		e := open(t, Options{DefaultTimeout: c.given}, yaml)
		submit(t, e, asked("timed", 1))
		steps := takeAll(t, e, 2)
		require.Equal(t, 7*time.Second, steps["own"].Timeout)
		require.Equal(t, c.want, steps["none"].Timeout)
	}
}

func TestASecondResultOfOneClaimIsDropped(t *testing.T) {
	e := open(t, Options{}, linear)
	id := submit(t, e, asked("linear", 1))
	s := take(t, e)
	finish(t, e, s, dispatch.Success, "first")
	finish(t, e, s, dispatch.Success, "second")
	settle(t, e)
	require.Contains(t, string(stepOf(t, e, id, "one").Results), "first")
	require.Equal(t, 1, e.Stats().ReadySteps)
}

func TestTheResultOfAnEarlierAttemptIsDropped(t *testing.T) {
	e := open(t, Options{ImmediateRetries: true}, retrying("max_attempts: 3"))
	id := submit(t, e, asked("retrying", 1))
	first := take(t, e)
	finish(t, e, first, dispatch.RetryableFailure, "timed out")
	second := take(t, e)
	finish(t, e, first, dispatch.Success, "too late")
	settle(t, e)
	require.Equal(t, "in_progress", states(t, e, id)["flaky"])
	finish(t, e, second, dispatch.Success, "in time")
	settle(t, e)
	require.Contains(t, string(stepOf(t, e, id, "flaky").Results), "in time")
}

// Resetting a step starts its attempts over, so the number of an attempt does
// not tell a late result from the awaited one.
func TestTheResultOfAnAttemptBeforeAResetIsDropped(t *testing.T) {
	e := open(t, Options{}, retrying("max_attempts: 1"))
	id := submit(t, e, asked("retrying", 1))
	first := take(t, e)
	finish(t, e, first, dispatch.PermanentFailure, "broken")
	await(t, e, id)
	_, err := e.ResetStep(t.Context(), id, first.StepUUID, Operation{})
	require.NoError(t, err)
	second := take(t, e)
	require.Equal(t, first.Attempt, second.Attempt)
	finish(t, e, first, dispatch.Success, "too late")
	settle(t, e)
	require.Equal(t, "in_progress", states(t, e, id)["flaky"])
	finish(t, e, second, dispatch.Success, "in time")
	settle(t, e)
	require.Contains(t, string(stepOf(t, e, id, "flaky").Results), "in time")
}

func TestAResultForAStepOfSomebodyElseIsIgnored(t *testing.T) {
	e := open(t, Options{}, linear)
	id := submit(t, e, asked("linear", 1))
	s := take(t, e)
	finish(t, e, &dispatch.Step{StepUUID: s.StepUUID, TaskUUID: s.TaskUUID, Name: s.Name}, dispatch.Success, 1)
	settle(t, e)
	require.Equal(t, "in_progress", states(t, e, id)["one"])
}

func TestStatsCountTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, dag("wide", "a", "b", "c"))
		require.Equal(t, Stats{}, e.Stats())
		submit(t, e, asked("wide", 1))
		require.Equal(t, Stats{OpenTasks: 1, ReadySteps: 3}, e.Stats())
		steps, err := e.Claim(t.Context(), 2)
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, Stats{OpenTasks: 1, ReadySteps: 1, RunningSteps: 2}, e.Stats())
		finish(t, e, steps[0], dispatch.RetryableFailure, "later")
		finish(t, e, steps[1], dispatch.Success, 1)
		synctest.Wait()
		require.Equal(t, Stats{OpenTasks: 1, ReadySteps: 1, DelayedSteps: 1}, e.Stats())
		work(t, e, succeed)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, Stats{}, e.Stats())
	})
}

func TestStatsForgetStepsThatWereCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, dag("wide", "a", "b", "c"))
		id := submit(t, e, asked("wide", 1))
		finish(t, e, take(t, e), dispatch.RetryableFailure, "later")
		synctest.Wait()
		require.Equal(t, Stats{OpenTasks: 1, ReadySteps: 2, DelayedSteps: 1}, e.Stats())
		_, err := e.Cancel(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, Stats{}, e.Stats())
	})
}

func TestFinishedTasksLeaveNothingInMemory(t *testing.T) {
	e := open(t, Options{Path: memory}, dag("single", "only"))
	work(t, e, succeed)
	for i := range 200 {
		await(t, e, submit(t, e, asked("single", i)))
	}
	settle(t, e)
	require.Equal(t, Stats{}, e.Stats())
	require.NoError(t, e.Close(t.Context()))
	w := e.writer
	require.Empty(t, w.runs)
	require.Empty(t, w.byUUID)
	require.Empty(t, w.handed)
	require.Empty(t, w.again)
	require.Zero(t, w.ready.len()+w.timers.len())
	require.Empty(t, e.waits.byTask)
}
