package engine

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/engine/store"
	"github.com/tasker-systems/taskerpy/template"
)

// retrying is a template of one step with the given retry policy, and one
// that depends on it.
func retrying(policy string) string {
	return fmt.Sprintf(`
name: retrying
namespace_name: tests
version: 1.0.0
steps:
  - {name: flaky, handler: {callable: h}, retry: {%s}}
  - {name: after, handler: {callable: h}, dependencies: [flaky]}
`, policy)
}

// delays fails the step of a template n times and returns how long the
// engine waited before each further attempt.
func delays(t *testing.T, o Options, yaml string, n int) (waited []time.Duration) {
	t.Helper()
	o.Path = memory
	synctest.Test(t, func(t *testing.T) {
		e := open(t, o, yaml)
		submit(t, e, TaskRequest{Name: parse(t, yaml).Name, Namespace: "tests", Version: "1.0.0", Context: []byte(`{}`)})
		s := take(t, e)
		for range n {
			failed := time.Now()
			finish(t, e, s, dispatch.RetryableFailure, "not yet")
			s = take(t, e)
			waited = append(waited, time.Since(failed))
		}
	})
	return waited
}

func milli(ms ...int) []time.Duration {
	all := make([]time.Duration, len(ms))
	for i, n := range ms {
		all[i] = time.Duration(n) * time.Millisecond
	}
	return all
}

func TestEachStrategyDelaysAsItIsDefined(t *testing.T) {
	for _, c := range []struct {
		policy string
		want   []time.Duration
	}{
		{"backoff: none", milli(0, 0, 0)},
		{"backoff: linear", milli(100, 200, 300, 400, 500, 600, 700, 800, 900, 1000, 1000)},
		{"backoff: exponential", milli(100, 200, 400, 800, 1000, 1000)},
		{"backoff: fibonacci", milli(100, 100, 200, 300, 500, 800, 1000, 1000)},
	} {
		t.Run(c.policy, func(t *testing.T) {
			yaml := retrying("max_attempts: 20, backoff_base_ms: 100, max_backoff_ms: 1000, " + c.policy)
			require.Equal(t, c.want, delays(t, Options{NoJitter: true}, yaml, len(c.want)))
		})
	}
}

func TestDelaysThatThePolicyLeavesOutAreOneSecondExponentialUpToThirty(t *testing.T) {
	want := milli(1000, 2000, 4000, 8000, 16000, 30000, 30000)
	require.Equal(t, want, delays(t, Options{NoJitter: true}, retrying("max_attempts: 20"), len(want)))
	require.Equal(t, want[:2], delays(t, Options{NoJitter: true}, dag("plain", "flaky"), 2), "without retry key")
}

func TestADelayIsNeverNegativeNorBeyondItsLimit(t *testing.T) {
	for _, strategy := range []template.Backoff{template.BackoffNone, template.BackoffLinear, template.BackoffExponential, template.BackoffFibonacci} {
		for _, base := range []time.Duration{0, 1, time.Second, math.MaxInt64} {
			for _, limit := range []time.Duration{0, time.Millisecond, math.MaxInt64} {
				for _, n := range []int{1, 2, 3, 63, 64, 100, 1100, 2000} {
					d := template.Policy{Strategy: strategy, Base: base, Limit: limit}.Delay(n)
					require.GreaterOrEqual(t, d, time.Duration(0), "%s %s %s %d", strategy, base, limit, n)
					require.LessOrEqual(t, d, limit, "%s %s %s %d", strategy, base, limit, n)
				}
			}
		}
	}
}

func TestJitterLengthensExponentialAndFibonacciDelaysByUpToATenth(t *testing.T) {
	for _, strategy := range []string{"exponential", "fibonacci"} {
		t.Run(strategy, func(t *testing.T) {
			yaml := retrying("max_attempts: 100, backoff_base_ms: 1000, max_backoff_ms: 1000, backoff: " + strategy)
			waited := delays(t, Options{JitterSeed: 7}, yaml, 50)
			// All delays are at their cap; jitter comes on top of that.
			require.GreaterOrEqual(t, slices.Min(waited), time.Second)
			require.LessOrEqual(t, slices.Max(waited), 1100*time.Millisecond)
			require.Greater(t, slices.Max(waited)-slices.Min(waited), 50*time.Millisecond, "delays are spread")
		})
	}
}

func TestNoneAndLinearDelaysHaveNoJitter(t *testing.T) {
	require.Equal(t, milli(0, 0, 0), delays(t, Options{}, retrying("max_attempts: 9, backoff: none"), 3))
	require.Equal(t, milli(100, 200, 300), delays(t, Options{}, retrying("max_attempts: 9, backoff: linear, backoff_base_ms: 100"), 3))
}

func TestJitterIsReproducibleBySeed(t *testing.T) {
	yaml := retrying("max_attempts: 100")
	first := delays(t, Options{JitterSeed: 42}, yaml, 5)
	require.Equal(t, first, delays(t, Options{JitterSeed: 42}, yaml, 5))
	require.NotEqual(t, first, delays(t, Options{JitterSeed: 43}, yaml, 5))
	require.NotEqual(t, delays(t, Options{}, yaml, 5), delays(t, Options{}, yaml, 5), "without a seed it is random")
}

// delayAfter returns how long the engine waits after a failure with the given
// result, of a step whose own policy is a delay of 5 s.
func delayAfter(t *testing.T, o Options, result string) (waited time.Duration) {
	t.Helper()
	o.Path = memory
	synctest.Test(t, func(t *testing.T) {
		e := open(t, o, retrying("backoff: linear, backoff_base_ms: 5000"))
		submit(t, e, asked("retrying", 1))
		failed := time.Now()
		e.Complete(take(t, e), dispatch.Result{Outcome: dispatch.RetryableFailure, JSON: []byte(result)})
		take(t, e)
		waited = time.Since(failed)
	})
	return waited
}

// Fake time begins on Saturday, 1 January 2000, 00:00:00 UTC.
func TestADelayThatAServerOrHandlerAsksForComesFirst(t *testing.T) {
	const policy = 5 * time.Second
	for _, c := range []struct {
		what, result string
		want         time.Duration
	}{
		{"retry-after in seconds", `{"metadata":{"retryable":true},"orchestration_metadata":{"headers":{"retry-after":"7"}}}`, 7 * time.Second},
		{"header names in any case", `{"metadata":{"retryable":true},"orchestration_metadata":{"headers":{"Retry-AFTER":" 7 "}}}`, 7 * time.Second},
		{"retry-after zero", `{"metadata":{"retryable":true},"orchestration_metadata":{"headers":{"retry-after":"0"}}}`, 0},
		{"retry-after as date", `{"metadata":{"retryable":true},"orchestration_metadata":{"headers":{"retry-after":"Sat, 01 Jan 2000 00:01:30 GMT"}}}`, 90 * time.Second},
		{"date with numeric zone", `{"metadata":{"retryable":true},"orchestration_metadata":{"headers":{"retry-after":"Sat, 1 Jan 2000 01:01:30 +0100"}}}`, 90 * time.Second},
		{"date in the past", `{"metadata":{"retryable":true},"orchestration_metadata":{"headers":{"retry-after":"Fri, 31 Dec 1999 23:59:59 GMT"}}}`, policy},
		{"unreadable header", `{"metadata":{"retryable":true},"orchestration_metadata":{"headers":{"retry-after":"soon"}}}`, policy},
		{"negative header", `{"metadata":{"retryable":true},"orchestration_metadata":{"headers":{"retry-after":"-3"}}}`, policy},
		{"unreadable header falls through to the hint", `{"metadata":{"retryable":true},"orchestration_metadata":{"headers":{"retry-after":"soon"},"backoff_hint":{"delay_seconds":8}}}`, 8 * time.Second},
		{"header before hint", `{"metadata":{"retryable":true},"orchestration_metadata":{"headers":{"retry-after":"7"},"backoff_hint":{"delay_seconds":8}}}`, 7 * time.Second},
		{"other headers say nothing", `{"metadata":{"retryable":true},"orchestration_metadata":{"headers":{"x-ratelimit-reset":"7"}}}`, policy},
		{"backoff hint", `{"metadata":{"retryable":true},"orchestration_metadata":{"backoff_hint":{"backoff_type":"RateLimit","delay_seconds":8}}}`, 8 * time.Second},
		{"hint before metadata", `{"metadata":{"retryable":true,"retry_after":9},"orchestration_metadata":{"backoff_hint":{"delay_seconds":8}}}`, 8 * time.Second},
		{"metadata.retry_after_seconds", `{"metadata":{"retryable":true,"retry_after_seconds":9}}`, 9 * time.Second},
		{"metadata.retry_after", `{"metadata":{"retryable":true,"retry_after":9}}`, 9 * time.Second},
		{"metadata.context.retry_after_seconds", `{"metadata":{"retryable":true,"context":{"retry_after_seconds":10}}}`, 10 * time.Second},
		{"metadata.context.retry_after", `{"metadata":{"retryable":true,"context":{"retry_after":10}}}`, 10 * time.Second},
		{"error.context.retry_after_seconds", `{"metadata":{"retryable":true},"error":{"context":{"retry_after_seconds":11}}}`, 11 * time.Second},
		{"error.context.retry_after", `{"metadata":{"retryable":true},"error":{"context":{"retry_after":11}}}`, 11 * time.Second},
		{"fractions", `{"metadata":{"retryable":true,"retry_after":0.25}}`, 250 * time.Millisecond},
		{"zero", `{"metadata":{"retryable":true,"retry_after":0}}`, 0},
		{"no number", `{"metadata":{"retryable":true,"retry_after":"9"}}`, policy},
		{"null", `{"metadata":{"retryable":true,"retry_after":null}}`, policy},
		{"negative", `{"metadata":{"retryable":true,"retry_after":-9}}`, policy},
		{"capped at an hour", `{"metadata":{"retryable":true,"retry_after":1e300}}`, time.Hour},
		{"header capped at an hour", `{"metadata":{"retryable":true},"orchestration_metadata":{"headers":{"retry-after":"86400"}}}`, time.Hour},
		{"date capped at an hour", `{"metadata":{"retryable":true},"orchestration_metadata":{"headers":{"retry-after":"Sun, 02 Jan 2000 00:00:00 GMT"}}}`, time.Hour},
		{"nobody asks", `{"metadata":{"retryable":true},"orchestration_metadata":null}`, policy},
		{"parts of other shapes", `{"metadata":{"retryable":true,"context":[]},"error":"x","orchestration_metadata":{"headers":[],"backoff_hint":3}}`, policy},
	} {
		t.Run(c.what, func(t *testing.T) { require.Equal(t, c.want, delayAfter(t, Options{}, c.result)) })
	}
}

func TestARequestedDelayIsNotBoundByMaxBackoffAndHasNoJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, retrying("max_backoff_ms: 1000"))
		submit(t, e, asked("retrying", 1))
		failed := time.Now()
		e.Complete(take(t, e), dispatch.Result{Outcome: dispatch.RetryableFailure, JSON: []byte(`{"metadata":{"retryable":true,"retry_after":60}}`)})
		take(t, e)
		require.Equal(t, time.Minute, time.Since(failed))
	})
}

func TestImmediateRetriesHeedOnlyRetryAfterHeaders(t *testing.T) {
	o := Options{ImmediateRetries: true}
	require.Zero(t, delayAfter(t, o, `{"metadata":{"retryable":true}}`))
	require.Zero(t, delayAfter(t, o, `{"metadata":{"retryable":true,"retry_after":9}}`))
	require.Zero(t, delayAfter(t, o, `{"metadata":{"retryable":true},"orchestration_metadata":{"backoff_hint":{"delay_seconds":8}}}`))
	require.Equal(t, 7*time.Second, delayAfter(t, o, `{"metadata":{"retryable":true},"orchestration_metadata":{"headers":{"retry-after":"7"}}}`))
}

func TestAStepRunsAtMostAsOftenAsItsPolicySays(t *testing.T) {
	for _, c := range []struct {
		policy string
		runs   int
	}{
		{"max_attempts: 0", 1}, // the first run is always allowed
		{"max_attempts: 1", 1},
		{"max_attempts: 3", 3},
		{"max_attempts: 3, retryable: false", 1},
		{"max_attempts: 0, retryable: false", 1},
	} {
		t.Run(c.policy, func(t *testing.T) {
			e := open(t, Options{ImmediateRetries: true}, retrying(c.policy))
			runs := 0
			work(t, e, func(*dispatch.Step) (dispatch.Outcome, any) {
				runs++
				return dispatch.RetryableFailure, "never works"
			})
			task := await(t, e, submit(t, e, asked("retrying", 1)))
			require.Equal(t, "blocked_by_failures", task.Status)
			require.Equal(t, c.runs, runs)
			require.Equal(t, map[string]string{"flaky": "error", "after": "pending"}, states(t, e, task.TaskUUID))
			require.Equal(t, c.runs, stepOf(t, e, task.TaskUUID, "flaky").Attempts)
		})
	}
}

func TestAStepIsRetryEligibleUntilItsAttemptsAreUsedUp(t *testing.T) {
	for policy, want := range map[string][]bool{
		"max_attempts: 0":                   {true, false},
		"max_attempts: 1":                   {true, false},
		"max_attempts: 3":                   {true, true, true, false},
		"max_attempts: 3, retryable: false": {true, false},
	} {
		t.Run(policy, func(t *testing.T) {
			e := open(t, Options{ImmediateRetries: true}, retrying(policy))
			id := submit(t, e, asked("retrying", 1))
			for attempts, eligible := range want {
				s := stepOf(t, e, id, "flaky")
				require.Equal(t, attempts, s.Attempts)
				require.Equal(t, eligible, s.RetryEligible, "after %d attempts", attempts)
				if !eligible {
					break
				}
				running := take(t, e)
				finish(t, e, running, dispatch.RetryableFailure, "again")
				settle(t, e)
			}
			require.Equal(t, "error", stepOf(t, e, id, "flaky").CurrentState)
		})
	}
}

func TestAStepThatFailsTwiceAndThenSucceedsCompletesItsTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, retrying("max_attempts: 3"))
		work(t, e, func(s *dispatch.Step) (dispatch.Outcome, any) {
			if s.Name == "flaky" && s.Attempt < 3 {
				return dispatch.RetryableFailure, "not yet"
			}
			return dispatch.Success, s.Attempt
		})
		task := await(t, e, submit(t, e, asked("retrying", 1)))
		require.Equal(t, "complete", task.Status)
		require.Equal(t, 3, stepOf(t, e, task.TaskUUID, "flaky").Attempts)
	})
}

func TestAPermanentFailureEndsTheStepAtOnce(t *testing.T) {
	e := open(t, Options{}, retrying("max_attempts: 5"))
	id := submit(t, e, asked("retrying", 1))
	finish(t, e, take(t, e), dispatch.PermanentFailure, "card refused")
	task := await(t, e, id)
	require.Equal(t, "blocked_by_failures", task.Status)
	require.Equal(t, "blocked_by_failures", task.ExecutionStatus)
	require.Equal(t, map[string]string{"flaky": "error", "after": "pending"}, states(t, e, id))
	s := stepOf(t, e, id, "flaky")
	require.Equal(t, 1, s.Attempts)
	require.Contains(t, string(s.Results), "card refused")
}

// What counts is the stored result, as on a deployment (engine-semantics
// §4.2).
func TestTheResultDecidesWhetherAFailureIsRetried(t *testing.T) {
	for _, c := range []struct{ what, result, want string }{
		{"retryable true", `{"success":false,"metadata":{"retryable":true}}`, "waiting_for_retry"},
		{"retryable false", `{"success":false,"metadata":{"retryable":false}}`, "error"},
		{"retryable missing", `{"success":false,"metadata":{}}`, "error"},
		{"no metadata", `{"success":false}`, "error"},
		{"retryable of another type", `{"success":false,"metadata":{"retryable":"true"}}`, "error"},
		{"unreadable result", `"boom"`, "waiting_for_retry"},
	} {
		t.Run(c.what, func(t *testing.T) {
			e := open(t, Options{}, retrying("max_attempts: 2, backoff_base_ms: 600000, max_backoff_ms: 600000"))
			id := submit(t, e, asked("retrying", 1))
			e.Complete(take(t, e), dispatch.Result{Outcome: dispatch.RetryableFailure, JSON: []byte(c.result)})
			settle(t, e)
			s := stepOf(t, e, id, "flaky")
			require.Equal(t, c.want, s.CurrentState)
			require.JSONEq(t, c.result, string(s.Results))
		})
	}
}

func TestAFailureBlocksTheTaskAtOnceAndParallelStepsFinish(t *testing.T) {
	e := open(t, Options{}, dag("branches", "a", "b", "after_b: b"))
	id := submit(t, e, asked("branches", 1))
	running := takeAll(t, e, 2)
	finish(t, e, running["a"], dispatch.PermanentFailure, "broken")
	settle(t, e)
	task, err := e.Task(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, "blocked_by_failures", task.Status, "while b still runs")
	require.Equal(t, map[string]string{"a": "error", "b": "in_progress", "after_b": "pending"}, states(t, e, id))

	finish(t, e, running["b"], dispatch.Success, "late")
	task = await(t, e, id)
	require.Equal(t, "blocked_by_failures", task.Status)
	require.Equal(t, map[string]string{"a": "error", "b": "complete", "after_b": "pending"}, states(t, e, id))
	require.Contains(t, string(stepOf(t, e, id, "b").Results), "late")
	require.Zero(t, e.Stats().ReadySteps, "dependents of the late step are never run")
}

func TestAnEnqueuedStepOfABlockedTaskStillRuns(t *testing.T) {
	e := open(t, Options{}, dag("branches", "a", "b"))
	id := submit(t, e, asked("branches", 1))
	first := take(t, e)
	finish(t, e, first, dispatch.PermanentFailure, "broken")
	second := take(t, e)
	finish(t, e, second, dispatch.Success, 1)
	require.Equal(t, "blocked_by_failures", await(t, e, id).Status)
	require.Equal(t, "complete", states(t, e, id)[second.Name])
}

func TestADelayedStepOfABlockedTaskIsNotRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, dag("branches", "a", "b"))
		id := submit(t, e, asked("branches", 1))
		running := takeAll(t, e, 2)
		finish(t, e, running["a"], dispatch.RetryableFailure, "later")
		finish(t, e, running["b"], dispatch.PermanentFailure, "broken")
		require.Equal(t, "blocked_by_failures", await(t, e, id).Status)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, map[string]string{"a": "waiting_for_retry", "b": "error"}, states(t, e, id))
	})
}

func TestALateRetryableFailureOfABlockedTaskRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, dag("branches", "a", "b"))
		id := submit(t, e, asked("branches", 1))
		running := takeAll(t, e, 2)
		finish(t, e, running["a"], dispatch.PermanentFailure, "broken")
		finish(t, e, running["b"], dispatch.RetryableFailure, "later")
		require.Equal(t, "blocked_by_failures", await(t, e, id).Status)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, map[string]string{"a": "error", "b": "waiting_for_retry"}, states(t, e, id))
	})
}

func TestARetryDoesNotWaitForUnrelatedRunningSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory, NoJitter: true}, dag("branches", "a", "b"))
		id := submit(t, e, asked("branches", 1))
		running := takeAll(t, e, 2)
		failed := time.Now()
		finish(t, e, running["a"], dispatch.RetryableFailure, "later")
		require.Equal(t, "a", take(t, e).Name)
		require.Equal(t, time.Second, time.Since(failed))
		require.Equal(t, "in_progress", states(t, e, id)["b"])
	})
}

func TestATaskThatOnlyWaitsForARetryShowsWaitingForDependencies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory, NoJitter: true}, retrying("backoff_base_ms: 1500"))
		id := submit(t, e, asked("retrying", 1))
		finish(t, e, take(t, e), dispatch.RetryableFailure, "later")
		synctest.Wait()
		task, err := e.Task(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, "waiting_for_dependencies", task.Status)
		require.Equal(t, "waiting_for_dependencies", task.ExecutionStatus)
		require.Equal(t, Stats{OpenTasks: 1, DelayedSteps: 1}, e.Stats())
		s := stepOf(t, e, id, "flaky")
		require.Equal(t, "waiting_for_retry", s.CurrentState)
		require.Equal(t, time.Now().Add(1500*time.Millisecond).UTC(), *s.NextRetryAt)
		require.False(t, s.ReadyForExecution)
		require.Equal(t, 2, *task.Steps[0].BackoffRequestSeconds, "whole seconds, rounded up")
		require.Nil(t, s.LastFailureAt, "only an entry into error counts as the last failure")
	})
}

func TestSuccessClearsTheStoredDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, retrying("max_attempts: 2"))
		id := submit(t, e, asked("retrying", 1))
		finish(t, e, take(t, e), dispatch.RetryableFailure, "later")
		finish(t, e, take(t, e), dispatch.Success, 1)
		synctest.Wait()
		task, err := e.Task(t.Context(), id)
		require.NoError(t, err)
		require.Nil(t, task.Steps[0].BackoffRequestSeconds)
		require.Nil(t, task.Steps[0].NextRetryAt)
	})
}

func TestTheResultsOfAllFailedAttemptsAreKept(t *testing.T) {
	e := open(t, Options{ImmediateRetries: true, WorkerID: "w-1"}, retrying("max_attempts: 3"))
	id := submit(t, e, asked("retrying", 1))
	for n := range 3 {
		finish(t, e, take(t, e), dispatch.RetryableFailure, fmt.Sprintf("failure %d", n+1))
	}
	await(t, e, id)
	require.NoError(t, e.read(t.Context(), func(r *store.Reader) error {
		row, _, err := r.Task(t.Context(), id)
		require.NoError(t, err)
		attempts, err := r.FailedAttempts(t.Context(), store.ID(row.ID, 0))
		require.NoError(t, err)
		require.Len(t, attempts, 3)
		for i, a := range attempts {
			require.Equal(t, int32(i+1), a.Attempt)
			require.Equal(t, "w-1", a.WorkerID)
			require.Contains(t, string(a.Results), fmt.Sprintf("failure %d", i+1))
		}
		return nil
	}))
}

func TestWhatBlocksATaskIsTold(t *testing.T) {
	e := open(t, Options{}, retrying("max_attempts: 1"))
	changes, stop := e.Watch(submit(t, e, asked("retrying", 1)))
	defer stop()
	finish(t, e, take(t, e), dispatch.PermanentFailure, "card refused")
	for c := range changes {
		if c.Step == "" && c.To == "blocked_by_failures" {
			require.Equal(t, "step flaky failed: card refused", c.Message)
			return
		}
	}
}
