package dispatch_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

func TestARevokedStepsHandlerIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		d := timed(t, s, false, map[string]time.Duration{"long": time.Hour})
		step := s.submit(1, "long")[0]
		synctest.Wait()
		started := time.Now()
		step.Revoke()
		step.Revoke()
		require.NoError(t, d.Drain(t.Context()))
		require.Zero(t, time.Since(started))
		s.result(t, step)
	})
}

func TestARevokedStepThatWaitsIsNotEntered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		d := timed(t, s, false, map[string]time.Duration{"first": time.Second})
		steps := s.submit(1, "first")
		synctest.Wait()
		// The claim of the second is ahead of the lane's need.
		steps = append(steps, s.submit(1, "second")...)
		steps[1].Revoke()
		time.Sleep(2 * time.Second)
		require.NoError(t, d.Drain(t.Context()))
		require.Equal(t, dispatch.Success, s.result(t, steps[0]).Outcome)
		require.Equal(t, dispatch.Unstarted, s.result(t, steps[1]).Outcome)
	})
}

func TestTheNextStepIsSafeFromTheRevocationOfTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		d := timed(t, s, false, map[string]time.Duration{"short": time.Millisecond, "long": time.Minute})
		short := s.submit(1, "short")[0]
		time.Sleep(time.Second)
		long := s.submit(1, "long")[0]
		synctest.Wait()
		started := time.Now()
		short.Revoke()
		require.NoError(t, d.Drain(t.Context()))
		require.Equal(t, time.Minute, time.Since(started))
		s.result(t, long)
	})
}

func TestAnAnswerForARevokedStepIsRefused(t *testing.T) {
	s := newSource()
	p := dispatch.NewPoller(dispatch.PollerOptions{Source: s})
	step := s.make("{}")
	s.waiting = append(s.waiting, step)
	p.Start(t.Context())
	require.Eventually(t, func() bool { return p.Poll() != nil }, time.Minute, time.Millisecond)
	step.Revoke()
	done, err := p.Complete(step.EventID, []byte(`{"success":true}`))
	require.NoError(t, err)
	require.False(t, done)
	require.NoError(t, p.Drain(t.Context()))
	require.Equal(t, dispatch.Unstarted, s.result(t, step).Outcome)
}

func TestADrainHandsBackWhatWasNotEntered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		d := timed(t, s, false, map[string]time.Duration{"short": time.Millisecond, "long": time.Minute})
		s.submit(20, "short")
		time.Sleep(time.Second) // now the dispatcher claims ahead
		long := s.submit(1, "long")[0]
		synctest.Wait()
		waiting := s.submit(3, "long")
		synctest.Wait()
		started := time.Now()
		require.NoError(t, d.Drain(t.Context()))
		require.Equal(t, time.Minute, time.Since(started))
		require.Equal(t, dispatch.Success, s.result(t, long).Outcome)
		for _, step := range waiting {
			require.Equal(t, dispatch.Unstarted, s.result(t, step).Outcome)
		}
	})
}
