package dispatch_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

// polling runs a poller on s inside a synctest bubble.
func polling(t *testing.T, s *source) *dispatch.Poller {
	t.Helper()
	p := dispatch.NewPoller(dispatch.PollerOptions{Source: s, WorkerID: "w1"})
	p.Start(t.Context())
	t.Cleanup(func() { require.NoError(t, p.Drain(context.Background())) })
	return p
}

// submitEvents adds n steps with event ids of their own.
func submitEvents(s *source, n int) {
	for _, step := range s.submit(n, "{}") {
		step.EventID = uuid.Must(uuid.NewV7())
	}
	synctest.Wait()
}

func TestAPolledStepIsCompletedByItsEvent(t *testing.T) {
	for result, outcome := range map[string]dispatch.Outcome{
		`{"success":true,"result":{"n":1}}`:                                                dispatch.Success,
		`{"success":true,"result":{"decision_point_outcome":{"type":"no_branches"}}}`:      dispatch.SuccessDirective,
		`{"success":true,"result":{"batch_processing_outcome":{"type":"no_batches"}}}`:     dispatch.SuccessDirective,
		`{"success":false,"metadata":{"retryable":true},"error":{"message":"try again"}}`:  dispatch.RetryableFailure,
		`{"success":false,"metadata":{"retryable":false},"error":{"message":"no use"}}`:    dispatch.PermanentFailure,
		`{"success":false,"result":null,"error":{"message":"says nothing about retries"}}`: dispatch.PermanentFailure,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSource()
			p := polling(t, s)
			submitEvents(s, 1)
			step := p.Poll()
			require.NotNil(t, step)
			done, err := p.Complete(step.EventID, []byte(result))
			require.NoError(t, err)
			require.True(t, done)
			require.Equal(t, outcome, s.result(t, step).Outcome)
		})
	}
}

func TestAResultHasTheUUIDOfItsStepEvenIfItsProgramLeftItOut(t *testing.T) {
	for _, result := range []string{`{"success":true}`, `{"success":true,"step_uuid":"00000000-0000-0000-0000-000000000000"}`} {
		synctest.Test(t, func(t *testing.T) {
			s := newSource()
			p := polling(t, s)
			submitEvents(s, 1)
			step := p.Poll()
			_, err := p.Complete(step.EventID, []byte(result))
			require.NoError(t, err)
			require.JSONEq(t, `{"success":true,"step_uuid":"`+step.StepUUID.String()+`"}`, string(s.result(t, step).JSON))
		})
	}
}

func TestPollNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		require.Nil(t, polling(t, newSource()).Poll())
	})
}

func TestAnEventIsAnsweredOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		p := polling(t, s)
		submitEvents(s, 1)
		step := p.Poll()
		require.True(t, p.Checkpoint(step.EventID, []byte(`{}`)))
		done, err := p.Complete(step.EventID, []byte(`{"success":true}`))
		require.NoError(t, err)
		require.False(t, done)
		require.Equal(t, dispatch.CheckpointYield, s.result(t, step).Outcome)
	})
}

func TestStepsAreClaimedOnlyALittleAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		p := polling(t, s)
		submitEvents(s, 100)
		claimed, _ := s.counts()
		require.Equal(t, 16, claimed)
		for range 10 {
			require.NotNil(t, p.Poll())
		}
		synctest.Wait()
		claimed, _ = s.counts()
		require.Equal(t, 26, claimed)
	})
}

func TestStepsThatAreNotAnsweredStarveAndThenFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		p := polling(t, s)
		require.Equal(t, dispatch.PollerStats{}, p.Stats())
		submitEvents(s, 2)
		first := p.Poll()
		time.Sleep(11 * time.Second)
		second := p.Poll()
		stats := p.Stats()
		require.Equal(t, 2, stats.Pending)
		require.EqualValues(t, 11000, *stats.OldestMS)
		require.EqualValues(t, 0, *stats.NewestMS)
		require.Equal(t, first.EventID.String(), *stats.OldestID)
		require.True(t, stats.Starving)
		require.Equal(t, 1, stats.StarvingN)

		require.Zero(t, p.FailTimedOut())
		time.Sleep(20 * time.Second)
		require.Equal(t, 1, p.FailTimedOut())
		r := s.result(t, first)
		require.Equal(t, dispatch.RetryableFailure, r.Outcome)
		require.Contains(t, string(r.JSON), "FFI handler timed out after 30000ms")
		require.Contains(t, string(r.JSON), "ffi_timeout")
		require.Equal(t, second.EventID.String(), *p.Stats().OldestID)
	})
}

func TestDrainGivesBackWhatIsNotDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		p := dispatch.NewPoller(dispatch.PollerOptions{Source: s})
		require.NoError(t, p.Drain(t.Context())) // never started
		p.Start(t.Context())
		submitEvents(s, 3)
		p.Poll()
		require.NoError(t, p.Drain(t.Context()))
		claimed, completed := s.counts()
		require.Equal(t, claimed, completed)
		require.NoError(t, p.Drain(t.Context()))
	})
}

func TestDrainLeavesItToASourceThatHandsBackToDoSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		p := dispatch.NewPoller(dispatch.PollerOptions{Source: s, HandsBack: true})
		p.Start(t.Context())
		submitEvents(s, 1)
		step := p.Poll()
		require.NoError(t, p.Drain(t.Context()))
		_, completed := s.counts()
		require.Zero(t, completed)
		done, err := p.Complete(step.EventID, []byte(`{"success":true}`))
		require.NoError(t, err)
		require.False(t, done)
	})
}

func TestAnswersAreAwaitedUntilTheTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		p := polling(t, s)
		require.NoError(t, p.AwaitAnswers(t.Context()))
		submitEvents(s, 2)
		first, second := p.Poll(), p.Poll()
		time.AfterFunc(time.Second, func() { p.Checkpoint(first.EventID, []byte(`{}`)) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := p.AwaitAnswers(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "1 steps still running")
		time.AfterFunc(time.Second, func() { p.Checkpoint(second.EventID, []byte(`{}`)) })
		require.NoError(t, p.AwaitAnswers(t.Context()))
	})
}

func TestAStepsOwnTimeoutIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		p := polling(t, s)
		for _, step := range s.submit(2, "{}") {
			step.EventID = uuid.Must(uuid.NewV7())
			step.Timeout = time.Minute
		}
		synctest.Wait()
		slow := p.Poll()
		time.Sleep(50 * time.Second)
		require.Zero(t, p.FailTimedOut())
		p.Poll()
		time.Sleep(11 * time.Second)
		require.Equal(t, 1, p.FailTimedOut())
		r := s.result(t, slow)
		require.Equal(t, dispatch.RetryableFailure, r.Outcome)
		require.Contains(t, string(r.JSON), "FFI handler timed out after 60000ms")
		require.Contains(t, string(r.JSON), `"error_type":"timeout"`)
	})
}

func TestPolledStepsCanBeAnsweredAfterThereAreNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		p := polling(t, s)
		submitEvents(s, 3)
		step := p.Poll()
		require.NoError(t, p.StopClaiming(t.Context()))
		require.Nil(t, p.Poll())
		_, completed := s.counts()
		require.Equal(t, 2, completed)
		done, err := p.Complete(step.EventID, []byte(`{"success":true}`))
		require.NoError(t, err)
		require.True(t, done)
		require.Equal(t, dispatch.Success, s.result(t, step).Outcome)
	})
}
