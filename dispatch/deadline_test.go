package dispatch_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

// interruptible is an executor whose handlers end when they are interrupted,
// or ignore it.
type interruptible struct {
	interrupted chan struct{}
	ignores     bool
	takes       map[string]time.Duration // by event
}

func (e *interruptible) Occupy(loop func(dispatch.Call)) {
	loop(func(event []byte, _ *string) ([]byte, error) {
		done := time.After(e.takes[string(event)])
		if e.ignores {
			<-done
			return []byte(`S{"late":true}`), nil
		}
		select {
		case <-done:
		case <-e.interrupted:
		}
		return []byte(`S{"success":true}`), nil
	})
}

func (e *interruptible) Interrupt(context.Context) error {
	select {
	case e.interrupted <- struct{}{}:
	default: // it ignores the first one still
	}
	return nil
}

// timed runs a dispatcher on one lane whose handlers take as long as takes says.
func timed(t *testing.T, s *source, ignores bool, takes map[string]time.Duration, change ...func(*dispatch.Options)) *dispatch.Dispatcher {
	o := dispatch.Options{
		Source: s, Concurrency: 1, WorkerID: "w1",
		NewExecutor: func(int) (dispatch.Executor, error) {
			return &interruptible{interrupted: make(chan struct{}, 1), ignores: ignores, takes: takes}, nil
		},
	}
	for _, f := range change {
		f(&o)
	}
	d := dispatch.New(o)
	d.Start(t.Context())
	return d
}

// submitTimed adds one step with a timeout.
func submitTimed(s *source, event string, timeout time.Duration) *dispatch.Step {
	s.mu.Lock()
	defer s.mu.Unlock()
	step := s.make(event)
	step.Timeout = timeout
	s.waiting = append(s.waiting, step)
	select {
	case s.arrived <- struct{}{}:
	default:
	}
	return step
}

func TestAStepPastItsTimeoutFailsRetryably(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		d := timed(t, s, false, map[string]time.Duration{"long": time.Hour})
		step := submitTimed(s, "long", 3*time.Second)
		time.Sleep(4 * time.Second)
		synctest.Wait()
		r := s.result(t, step)
		require.Equal(t, dispatch.RetryableFailure, r.Outcome)
		require.Contains(t, string(r.JSON), "timed out after 3000ms")
		require.Contains(t, string(r.JSON), `"error_type":"timeout"`)
		require.Equal(t, 3*time.Second, r.Duration)
		require.Zero(t, d.Stats().Stuck)
		require.EqualValues(t, 1, d.Stats().Timeouts)
		require.NoError(t, d.Drain(t.Context()))
	})
}

func TestAStepWithinItsTimeoutIsNotInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		d := timed(t, s, false, map[string]time.Duration{"short": time.Second})
		step := submitTimed(s, "short", 3*time.Second)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Equal(t, dispatch.Success, s.result(t, step).Outcome)
		require.Zero(t, d.Stats().Timeouts)
		require.NoError(t, d.Drain(t.Context()))
	})
}

func TestAHandlerThatIgnoresItsTimeoutLosesItsStepAndItsLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		d := timed(t, s, true, map[string]time.Duration{"blocked": time.Hour})
		blocked := submitTimed(s, "blocked", time.Second)
		next := submitTimed(s, "next", time.Second)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Equal(t, dispatch.RetryableFailure, s.result(t, blocked).Outcome)
		require.Equal(t, dispatch.Success, s.result(t, next).Outcome) // on the lane's replacement
		require.Equal(t, 1, d.Stats().Stuck)
		require.NoError(t, d.Drain(t.Context())) // does not wait for it
		time.Sleep(2 * time.Hour)
	})
}

func TestTheResultOfAHandlerThatComesBackTooLateIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		d := timed(t, s, true, map[string]time.Duration{"slow": time.Minute})
		slow := submitTimed(s, "slow", time.Second)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.Equal(t, dispatch.RetryableFailure, s.result(t, slow).Outcome)
		require.Zero(t, d.Stats().Stuck)
		require.NoError(t, d.Drain(t.Context()))
	})
}

func TestTooManyStuckLanesAreReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		reported := 0
		d := timed(t, s, true, map[string]time.Duration{"blocked": time.Hour}, func(o *dispatch.Options) {
			o.MaxStuck, o.Exhausted = 1, func() { reported++ }
		})
		for range 4 {
			submitTimed(s, "blocked", time.Second)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, 4, d.Stats().Stuck)
		require.Equal(t, 1, reported)
		require.NoError(t, d.Drain(t.Context()))
		time.Sleep(2 * time.Hour)
	})
}

func TestTooManyStuckLanesAreReportedOnceEvenIfOneComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		reported := 0
		takes := map[string]time.Duration{"blocked": time.Hour, "slow": time.Minute}
		d := timed(t, s, true, takes, func(o *dispatch.Options) {
			o.MaxStuck, o.Exhausted = 1, func() { reported++ }
		})
		submitTimed(s, "blocked", time.Second)
		submitTimed(s, "slow", time.Second)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.Equal(t, 1, d.Stats().Stuck)
		submitTimed(s, "blocked", time.Second)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, 2, d.Stats().Stuck)
		require.Equal(t, 1, reported)
		require.NoError(t, d.Drain(t.Context()))
		time.Sleep(2 * time.Hour)
	})
}
