package dispatch_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

// source hands out the steps that a test gives it and keeps what comes back.
type source struct {
	mu      sync.Mutex
	waiting []*dispatch.Step
	claimed int
	results map[uuid.UUID][]dispatch.Result
	arrived chan struct{} // has room for one
	fail    error         // of the next Claim
}

func newSource() *source {
	return &source{results: map[uuid.UUID][]dispatch.Result{}, arrived: make(chan struct{}, 1)}
}

// submit adds n steps whose event is body.
func (s *source) submit(n int, body string) []*dispatch.Step {
	steps := make([]*dispatch.Step, n)
	for i := range steps {
		steps[i] = s.make(body)
	}
	s.mu.Lock()
	s.waiting = append(s.waiting, steps...)
	s.mu.Unlock()
	select {
	case s.arrived <- struct{}{}:
	default:
	}
	return steps
}

func (s *source) make(event string) *dispatch.Step {
	return &dispatch.Step{StepUUID: uuid.Must(uuid.NewV7()), Name: "step", Event: []byte(event)}
}

func (s *source) Claim(ctx context.Context, limit int) ([]*dispatch.Step, error) {
	for {
		s.mu.Lock()
		if err := s.fail; err != nil {
			s.fail = nil
			s.mu.Unlock()
			return nil, err
		}
		if n := min(limit, len(s.waiting)); n > 0 {
			steps := s.waiting[:n]
			s.waiting = s.waiting[n:]
			s.claimed += n
			s.mu.Unlock()
			return steps, nil
		}
		s.mu.Unlock()
		select {
		case <-s.arrived:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *source) Complete(step *dispatch.Step, r dispatch.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results[step.StepUUID] = append(s.results[step.StepUUID], r)
}

// result returns the only result of a step.
func (s *source) result(t *testing.T, step *dispatch.Step) dispatch.Result {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	require.Len(t, s.results[step.StepUUID], 1)
	return s.results[step.StepUUID][0]
}

func (s *source) counts() (claimed, completed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.claimed, len(s.results)
}

// executor runs handlers on the goroutine it is given.
type executor struct{ call dispatch.Call }

func (e executor) Occupy(loop func(dispatch.Call)) { loop(e.call) }

func (e executor) Interrupt(context.Context) error { return nil }

// start runs a dispatcher whose lanes answer with call. Inside a synctest
// bubble, time passes only while everything waits.
func start(t *testing.T, s *source, concurrency int, call dispatch.Call) *dispatch.Dispatcher {
	t.Helper()
	d := dispatch.New(dispatch.Options{
		Source: s, Concurrency: concurrency, WorkerID: "w1",
		NewExecutor: func(int) (dispatch.Executor, error) { return executor{call}, nil },
	})
	d.Start(t.Context())
	return d
}

func succeed([]byte, *string) ([]byte, error) { return []byte(`S{"success":true}`), nil }

// takes answers like succeed after a time.
func takes(how time.Duration) dispatch.Call {
	return func([]byte, *string) ([]byte, error) {
		time.Sleep(how)
		return []byte(`S{"success":true}`), nil
	}
}

func TestEveryClaimedStepIsCompletedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		d := start(t, s, 4, succeed)
		steps := s.submit(1000, "{}")
		synctest.Wait()
		require.NoError(t, d.Drain(t.Context()))
		for _, step := range steps {
			r := s.result(t, step)
			require.Equal(t, dispatch.Success, r.Outcome)
			require.JSONEq(t, `{"success":true}`, string(r.JSON))
		}
	})
}

func TestAStepsEventReachesTheHandlerUntouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		seen := make(chan string, 1)
		d := start(t, s, 1, func(event []byte, label *string) ([]byte, error) {
			seen <- *label + string(event)
			return []byte("S{}"), nil
		})
		s.submit(1, `{"n": 12345678901234567890}`)
		require.Equal(t, `step{"n": 12345678901234567890}`, <-seen)
		require.NoError(t, d.Drain(t.Context()))
	})
}

func TestTheFirstByteOfAnAnswerIsItsOutcome(t *testing.T) {
	for _, o := range []dispatch.Outcome{
		dispatch.Success, dispatch.SuccessDirective, dispatch.RetryableFailure, dispatch.PermanentFailure, dispatch.CheckpointYield,
	} {
		t.Run(string(o), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSource()
				d := start(t, s, 1, func([]byte, *string) ([]byte, error) { return []byte(string(o) + "{}"), nil })
				step := s.submit(1, "")[0]
				synctest.Wait()
				require.NoError(t, d.Drain(t.Context()))
				require.Equal(t, o, s.result(t, step).Outcome)
			})
		})
	}
}

func TestAFaultOfTheHostIsARetryableFailureOfTheStep(t *testing.T) {
	for name, call := range map[string]dispatch.Call{
		"error":          func([]byte, *string) ([]byte, error) { return nil, errors.New("lane lost its thread state") },
		"empty answer":   func([]byte, *string) ([]byte, error) { return nil, nil },
		"unknown answer": func([]byte, *string) ([]byte, error) { return []byte("?{}"), nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSource()
				d := start(t, s, 1, call)
				step := s.submit(1, "")[0]
				synctest.Wait()
				require.NoError(t, d.Drain(t.Context()))
				r := s.result(t, step)
				require.Equal(t, dispatch.RetryableFailure, r.Outcome)
				var stored struct {
					StepUUID string `json:"step_uuid"`
					Success  bool
					Error    struct {
						ErrorType string `json:"error_type"`
						Retryable bool
					}
				}
				require.NoError(t, json.Unmarshal(r.JSON, &stored))
				require.Equal(t, step.StepUUID.String(), stored.StepUUID)
				require.False(t, stored.Success)
				require.Equal(t, "host_error", stored.Error.ErrorType)
				require.True(t, stored.Error.Retryable)
			})
		})
	}
}

func TestShortStepsStayOnOneLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		d := start(t, s, 16, takes(100*time.Microsecond))
		steps := s.submit(500, "")
		time.Sleep(time.Second)
		require.Equal(t, 1, d.Stats().Lanes)
		require.NoError(t, d.Drain(t.Context()))
		for _, step := range steps {
			s.result(t, step)
		}
	})
}

func TestWaitingStepsGetALaneEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		d := start(t, s, 16, takes(time.Second))
		s.submit(16, "")
		time.Sleep(100 * time.Millisecond)
		require.Equal(t, 16, d.Stats().Running)
		require.NoError(t, d.Drain(t.Context()))
	})
}

func TestRunningStepsAreCountedByNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		for _, namespace := range []string{"shop", "billing", "shop", "billing", "shop"} {
			step := s.make("")
			step.Namespace = namespace
			s.waiting = append(s.waiting, step)
		}
		d := start(t, s, 16, takes(time.Second))
		time.Sleep(100 * time.Millisecond)
		require.Equal(t, map[string]int{"shop": 3, "billing": 2}, d.Stats().Namespaces)
		time.Sleep(time.Second)
		require.Nil(t, d.Stats().Namespaces)
		require.EqualValues(t, 5, d.Stats().Claimed)
		require.NoError(t, d.Drain(t.Context()))
	})
}

func TestConcurrencyBoundsTheStepsInsideHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		d := start(t, s, 3, takes(time.Second))
		s.submit(9, "")
		time.Sleep(500 * time.Millisecond)
		require.Equal(t, 3, d.Stats().Running)
		time.Sleep(4 * time.Second)
		_, completed := s.counts()
		require.Equal(t, 9, completed)
		require.NoError(t, d.Drain(t.Context()))
	})
}

func TestLongStepsAreNotClaimedAheadOfTheLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		d := start(t, s, 2, takes(time.Second))
		s.submit(100, "")
		time.Sleep(1500 * time.Millisecond) // the first two are done, the typical time is known
		claimed, _ := s.counts()
		require.Equal(t, 4, claimed)
		require.NoError(t, d.Drain(t.Context()))
	})
}

func TestShortStepsAreClaimedAheadOfTheLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		d := start(t, s, 1, takes(time.Millisecond))
		s.submit(100, "")
		time.Sleep(10 * time.Millisecond)
		require.Equal(t, 1+20, d.Stats().Window) // 20 ms of work ahead
		require.NoError(t, d.Drain(t.Context()))
	})
}

func TestStepsAreClaimedAheadInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		s.submit(200, "")
		batches := &batches{source: s}
		d := dispatch.New(dispatch.Options{
			Source: batches, Concurrency: 1, WorkerID: "w1",
			NewExecutor: func(int) (dispatch.Executor, error) {
				return executor{func([]byte, *string) ([]byte, error) { time.Sleep(time.Millisecond); return []byte("S{}"), nil }}, nil
			},
		})
		d.Start(t.Context())
		time.Sleep(time.Second)
		_, completed := s.counts()
		require.Equal(t, 200, completed)
		require.NoError(t, d.Drain(context.Background()))
		// 20 ms of work ahead are 20 steps; the first claims came before that was known.
		require.Less(t, len(batches.sizes), 30, "%v", batches.sizes)
		require.Greater(t, slices.Max(batches.sizes), 9, "%v", batches.sizes)
	})
}

// batches is a source that notes how many steps each claim was given.
type batches struct {
	*source
	sizes []int
}

func (b *batches) Claim(ctx context.Context, limit int) ([]*dispatch.Step, error) {
	steps, err := b.source.Claim(ctx, limit)
	if err == nil {
		b.sizes = append(b.sizes, len(steps))
	}
	return steps, err
}

func TestDrainFinishesClaimedStepsAndClaimsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		d := start(t, s, 2, takes(time.Second))
		s.submit(10, "")
		synctest.Wait()
		require.NoError(t, d.Drain(t.Context()))
		claimed, completed := s.counts()
		require.Equal(t, 2, claimed)
		require.Equal(t, claimed, completed)
	})
}

func TestDrainGivesUpWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		d := start(t, s, 1, takes(time.Hour))
		s.submit(1, "")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := d.Drain(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "1 steps still running")
		require.NoError(t, d.Drain(t.Context()))
	})
}

func TestDrainingTwiceOrUnstartedIsFine(t *testing.T) {
	d := dispatch.New(dispatch.Options{Source: newSource()})
	require.NoError(t, d.Drain(t.Context()))
	synctest.Test(t, func(t *testing.T) {
		d := start(t, newSource(), 1, succeed)
		require.NoError(t, d.Drain(t.Context()))
		require.NoError(t, d.Drain(t.Context()))
	})
}

func TestASourceThatFailsIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		s.fail = errors.New("connection lost")
		d := start(t, s, 1, succeed)
		step := s.submit(1, "")[0]
		time.Sleep(time.Second)
		require.NoError(t, d.Drain(t.Context()))
		require.Equal(t, dispatch.Success, s.result(t, step).Outcome)
	})
}

func TestALaneThatCannotStartIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		var attempts int
		d := dispatch.New(dispatch.Options{
			Source: s, Concurrency: 1,
			NewExecutor: func(int) (dispatch.Executor, error) {
				if attempts++; attempts == 1 {
					return nil, errors.New("no thread state")
				}
				return executor{succeed}, nil
			},
		})
		d.Start(t.Context())
		step := s.submit(1, "")[0]
		time.Sleep(time.Second)
		require.NoError(t, d.Drain(t.Context()))
		require.Equal(t, dispatch.Success, s.result(t, step).Outcome)
	})
}

// observed keeps what a Dispatcher tells its Metrics.
type observed struct {
	outcome           dispatch.Outcome
	queued, inHandler time.Duration
}

func (o *observed) StepDone(_ *dispatch.Step, outcome dispatch.Outcome, queued, inHandler time.Duration) {
	*o = observed{outcome, queued, inHandler}
}

func TestMetricsTellHowLongAStepWaitedAndRan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		var seen observed
		d := dispatch.New(dispatch.Options{
			Source: s, Concurrency: 1, Metrics: &seen,
			NewExecutor: func(int) (dispatch.Executor, error) { return executor{takes(time.Second)}, nil },
		})
		d.Start(t.Context())
		s.submit(1, "")
		synctest.Wait()
		require.NoError(t, d.Drain(t.Context()))
		require.Equal(t, observed{dispatch.Success, 0, time.Second}, seen)
	})
}

func BenchmarkDispatch(b *testing.B) {
	s := &endless{left: b.N, done: make(chan struct{})}
	d := dispatch.New(dispatch.Options{
		Source: s, NewExecutor: func(int) (dispatch.Executor, error) { return executor{succeed}, nil },
	})
	b.ReportAllocs()
	d.Start(b.Context())
	<-s.done
	b.StopTimer()
	if err := d.Drain(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// endless gives the same step again and again.
type endless struct {
	mu   sync.Mutex
	left int // to be completed
	step dispatch.Step
	done chan struct{}
}

func (e *endless) Claim(_ context.Context, limit int) ([]*dispatch.Step, error) {
	steps := make([]*dispatch.Step, limit)
	for i := range steps {
		steps[i] = &e.step
	}
	return steps, nil
}

func (e *endless) Complete(*dispatch.Step, dispatch.Result) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.left--; e.left == 0 {
		close(e.done)
	}
}
