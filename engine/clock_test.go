package engine

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

// leap makes the machine's clock leap ahead, as the engine sees it. When it leapt
// by mistake it is right again afterwards, since that goes by the test's time.
func leap(e *Engine, d time.Duration) {
	e.clock.mu.Lock()
	defer e.clock.mu.Unlock()
	e.clock.at = e.clock.at.Add(d)
}

func TestARetryIsNotDelayedByAClockThatIsSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, retrying("backoff: linear, backoff_base_ms: 60000, max_backoff_ms: 60000"))
		submit(t, e, asked("retrying", 1))
		step := take(t, e)
		leap(e, 24*time.Hour)
		finish(t, e, step, dispatch.RetryableFailure, "later")
		synctest.Wait()
		failed := time.Now()
		require.Equal(t, 2, take(t, e).Attempt)
		require.Equal(t, time.Minute, time.Since(failed))
	})
}

func TestAttemptsUnderAClockThatIsSetBackAreToldApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory, ImmediateRetries: true}, retrying("max_attempts: 2"))
		id := submit(t, e, asked("retrying", 1))
		leap(e, 24*time.Hour)
		for _, message := range []string{"first", "second"} {
			time.Sleep(time.Second)
			finish(t, e, take(t, e), dispatch.RetryableFailure, message)
		}
		settle(t, e)
		attempts, err := e.Audit(t.Context(), id, stepOf(t, e, id, "flaky").StepUUID)
		require.NoError(t, err)
		require.Len(t, attempts, 2)
		require.Contains(t, string(attempts[0].Result), "second")
		require.Contains(t, string(attempts[1].Result), "first")
		require.Equal(t, time.Second, attempts[0].RecordedAt.Sub(attempts[1].RecordedAt))
	})
}

// A file may be from a time at which the machine's clock was wrong.
func TestADelayFromBeforeTheClockWasSetBackIsNoLongerThanItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		yaml := retrying("backoff: linear, backoff_base_ms: 60000, max_backoff_ms: 60000")
		e := open(t, Options{}, yaml)
		submit(t, e, asked("retrying", 1))
		step := take(t, e)
		leap(e, 365*24*time.Hour)
		finish(t, e, step, dispatch.RetryableFailure, "later")
		settle(t, e)
		path := copied(t, e)
		began := time.Now()
		again := open(t, Options{Path: path}, yaml)
		require.Equal(t, 2, take(t, again).Attempt)
		require.Equal(t, time.Minute, time.Since(began))
	})
}

func TestATaskIsNotOlderThanItIsWhenTheClockWasSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory, Staleness: Staleness{Mode: StalenessAct}}, linear)
		leap(e, 48*time.Hour)
		id := submit(t, e, asked("linear", 1))
		time.Sleep(20 * time.Minute) // the detector looks several times
		synctest.Wait()
		task, err := e.Task(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, "steps_in_process", task.Status)
	})
}

// A machine that sleeps is one whose clock leaps: timers stand still meanwhile.
func TestARetryThatFellDueWhileTheMachineSleptIsMadeWithinAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, retrying("backoff: linear, backoff_base_ms: 3600000, max_backoff_ms: 3600000"))
		submit(t, e, asked("retrying", 1))
		finish(t, e, take(t, e), dispatch.RetryableFailure, "later")
		retried := make(chan int, 1)
		go func() { retried <- take(t, e).Attempt }()
		synctest.Wait() // from here on nobody wakes the engine
		leap(e, 8*time.Hour)
		awake := time.Now()
		require.Equal(t, 2, <-retried)
		require.LessOrEqual(t, time.Since(awake), time.Minute)
	})
}
