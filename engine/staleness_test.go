package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

// acting is a detector that acts, in a database in memory.
var acting = Options{Path: memory, NoJitter: true, Staleness: Staleness{Mode: StalenessAct}}

// withLifecycle is a template of two steps in a chain with these limits.
func withLifecycle(lifecycle string) string {
	return dag("limited", "one", "two: one") + "lifecycle: {" + lifecycle + "}\n"
}

// later lets time pass, and the detector look.
func later(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func statusOf(t testing.TB, e *Engine, id uuid.UUID) string {
	t.Helper()
	task, err := e.Task(t.Context(), id)
	require.NoError(t, err)
	return task.Status
}

func deadLetters(t testing.TB, e *Engine) []DLQEntry {
	t.Helper()
	all, err := e.DLQ(t.Context(), DLQFilter{Limit: 1000})
	require.NoError(t, err)
	return all
}

// patient is a template whose step is retried after ten hours.
const patient = `
name: patient
namespace_name: tests
version: 1.0.0
steps:
  - {name: one, handler: {callable: h}, retry: {backoff_base_ms: 36000000, max_backoff_ms: 36000000}}
`

// waitingLong leaves a task in waiting_for_dependencies, with a retry in an
// hour or as much later as its template says.
func waitingLong(t testing.TB, e *Engine, template string, n int) uuid.UUID {
	t.Helper()
	id := submit(t, e, asked(template, n))
	s := take(t, e)
	asks := ""
	if template != "patient" {
		asks = `,"retry_after_seconds":3600`
	}
	e.Complete(s, dispatch.Result{Outcome: dispatch.RetryableFailure, JSON: []byte(
		`{"success":false,"status":"retryable_error","metadata":{"retryable":true` + asks + `},"error":{"message":"busy"}}`)})
	settle(t, e)
	require.Equal(t, "waiting_for_dependencies", statusOf(t, e, id))
	return id
}

func TestADetectorThatIsOffLeavesStaleTasksAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, linear)
		id := submit(t, e, asked("linear", 1))
		take(t, e)
		later(48 * time.Hour)
		require.Equal(t, "steps_in_process", statusOf(t, e, id))
		require.Empty(t, deadLetters(t, e))
	})
}

func TestATaskThatStaysTooLongInAStateIsPutToErrorAndRecorded(t *testing.T) {
	for _, c := range []struct {
		state string
		limit time.Duration
		reach func(t testing.TB, e *Engine) uuid.UUID
	}{
		{"steps_in_process", 30 * time.Minute, func(t testing.TB, e *Engine) uuid.UUID {
			id := submit(t, e, asked("linear", 1))
			take(t, e)
			return id
		}},
		{"waiting_for_dependencies", time.Hour, func(t testing.TB, e *Engine) uuid.UUID { return waitingLong(t, e, "patient", 1) }},
	} {
		t.Run(c.state, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := open(t, acting, linear, patient)
				id := c.reach(t, e)
				later(c.limit - time.Second)
				require.Equal(t, c.state, statusOf(t, e, id))
				later(stalenessInterval)
				require.Equal(t, "error", statusOf(t, e, id))
				all := deadLetters(t, e)
				require.Len(t, all, 1)
				require.Equal(t, id, all[0].TaskUUID)
				require.Equal(t, c.state, all[0].OriginalState)
				require.Equal(t, DLQStalenessTimeout, all[0].DLQReason)
				require.Equal(t, DLQPending, all[0].ResolutionStatus)
			})
		})
	}
}

func TestTheRecordTellsOfTheTaskAsItWasFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, acting, linear)
		id := submit(t, e, asked("linear", 1))
		take(t, e)
		later(36 * time.Minute)
		task, err := e.Task(t.Context(), id)
		require.NoError(t, err)
		entry := deadLetters(t, e)[0]
		found := entry.DLQTimestamp
		require.JSONEq(t, fmt.Sprintf(`{"task_uuid": %q, "namespace": "tests", "task_name": "linear", "current_state": "steps_in_process",
			"time_in_state_minutes": %d, "threshold_minutes": 30, "snapshot_timestamp": %q,
			"task_details": {"correlation_id": %q, "priority": 0, "requested_at": %q, "created_at": %q}}`,
			id, int(found.Sub(task.CreatedAt).Minutes()), found.Format(naiveLayout), task.CorrelationID,
			task.CreatedAt.Format(naiveLayout), task.CreatedAt.Format(naiveLayout)), string(entry.TaskSnapshot))
		require.JSONEq(t, fmt.Sprintf(`{"detection_method": "automatic_staleness", "time_in_state_minutes": %d, "threshold_minutes": 30}`,
			int(found.Sub(task.CreatedAt).Minutes())), string(entry.Metadata))
		require.Contains(t, history(t, e, id), `"steps_in_process","error",{"by":"staleness detector","reason":"staleness_timeout"}`)
	})
}

func TestTheTemplatesOwnLimitsComeFirst(t *testing.T) {
	for lifecycle, c := range map[string]struct {
		fine, stale time.Duration
	}{
		"max_steps_in_process_minutes: 120": {110 * time.Minute, 15 * time.Minute},
		"max_steps_in_process_minutes: 2":   {time.Minute, 6 * time.Minute},
	} {
		t.Run(lifecycle, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := open(t, acting, withLifecycle(lifecycle))
				id := submit(t, e, asked("limited", 1))
				take(t, e)
				later(c.fine)
				require.Equal(t, "steps_in_process", statusOf(t, e, id))
				later(c.stale)
				require.Equal(t, "error", statusOf(t, e, id))
			})
		})
	}
}

func TestTheLimitForWaitingTasksIsTheTemplates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, acting, withLifecycle("max_waiting_for_dependencies_minutes: 10"))
		id := waitingLong(t, e, "limited", 1)
		later(16 * time.Minute)
		require.Equal(t, "error", statusOf(t, e, id))
	})
}

func TestATaskIsStaleADayAfterItsCreationWhateverItsState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, acting, withLifecycle("max_steps_in_process_minutes: 1440"))
		id := submit(t, e, asked("limited", 1))
		later(23 * time.Hour) // it waits for a worker
		finish(t, e, take(t, e), dispatch.Success, 1)
		settle(t, e)
		require.Equal(t, "steps_in_process", statusOf(t, e, id))
		later(2 * time.Hour)
		require.Equal(t, "error", statusOf(t, e, id))
	})
}

func TestMaxDurationEndsATaskInAnyUnfinishedState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, acting, dag("limited", "start", "b: start", "c: start")+"lifecycle: {max_duration_minutes: 60}\n")
		id := submit(t, e, asked("limited", 1))
		finish(t, e, take(t, e), dispatch.Success, 1)
		finish(t, e, take(t, e), dispatch.Success, 1)
		settle(t, e)
		require.Equal(t, "evaluating_results", statusOf(t, e, id), "c is to run")
		later(50 * time.Minute)
		require.Equal(t, "evaluating_results", statusOf(t, e, id))
		later(16 * time.Minute)
		require.Equal(t, "error", statusOf(t, e, id))
		require.Equal(t, "evaluating_results", deadLetters(t, e)[0].OriginalState)
	})
}

func TestMaxDurationReplacesTheDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, acting, withLifecycle("max_duration_minutes: 43200, max_steps_in_process_minutes: 1440"))
		id := submit(t, e, asked("limited", 1))
		later(23 * time.Hour)
		finish(t, e, take(t, e), dispatch.Success, 1)
		later(3 * time.Hour)
		require.Equal(t, "steps_in_process", statusOf(t, e, id))
	})
}

func TestTheLargestLimitsAreNeverReached(t *testing.T) {
	for _, key := range []string{"max_duration_minutes", "max_steps_in_process_minutes"} {
		t.Run(key, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := open(t, acting, withLifecycle(key+": 4294967295"))
				id := submit(t, e, asked("limited", 1))
				later(20 * time.Minute)
				require.Equal(t, "steps_in_process", statusOf(t, e, id))
			})
		})
	}
}

func TestTheTemplateSaysWhatIsDoneAboutAStaleTask(t *testing.T) {
	for action, want := range map[string]struct {
		status  string
		entries int
	}{
		"dlq": {"error", 1}, "error": {"error", 0}, "none": {"steps_in_process", 0},
	} {
		t.Run(action, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := open(t, acting, withLifecycle("staleness_action: "+action))
				id := submit(t, e, asked("limited", 1))
				take(t, e)
				later(48 * time.Hour)
				require.Equal(t, want.status, statusOf(t, e, id))
				require.Len(t, deadLetters(t, e), want.entries)
			})
		})
	}
}

func TestATaskBlockedByFailuresIsNotWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, acting, chain)
		id := blocked(t, e)
		later(48 * time.Hour)
		require.Equal(t, "blocked_by_failures", statusOf(t, e, id))
	})
}

func TestAStepThatCheckpointedLatelySparesItsTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, acting, linear)
		id := submit(t, e, asked("linear", 1))
		for range 10 {
			finish(t, e, take(t, e), dispatch.CheckpointYield, map[string]any{"cursor": 1, "items_processed": 1})
			later(10 * time.Minute)
		}
		take(t, e)
		require.Equal(t, "steps_in_process", statusOf(t, e, id))
		require.Empty(t, deadLetters(t, e))
		later(11 * time.Minute)
		require.Equal(t, "error", statusOf(t, e, id), "the last checkpoint is a quarter of an hour old")
	})
}

func TestACheckpointDoesNotSpareATaskFromItsMaxDuration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, acting, withLifecycle("max_duration_minutes: 60"))
		id := submit(t, e, asked("limited", 1))
		for range 6 {
			finish(t, e, take(t, e), dispatch.CheckpointYield, map[string]any{"cursor": 1, "items_processed": 1})
			later(10 * time.Minute)
		}
		later(6 * time.Minute)
		require.Equal(t, "error", statusOf(t, e, id))
	})
}

// stale is a task that was put to error while its first step ran, and the step.
func stale(t testing.TB, e *Engine, template string) (id uuid.UUID, running *dispatch.Step) {
	t.Helper()
	id = submit(t, e, asked(template, 1))
	running = take(t, e)
	later(40 * time.Minute)
	require.Equal(t, "error", statusOf(t, e, id))
	return id, running
}

func TestTheHandlerOfAStaleTaskFinishesAndNothingFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, acting, linear)
		id, running := stale(t, e, "linear")
		require.Equal(t, "in_progress", states(t, e, id)["one"])
		finish(t, e, running, dispatch.Success, 7)
		settle(t, e)
		require.Equal(t, map[string]string{"one": "complete", "two": "pending", "three": "pending", "four": "pending"}, states(t, e, id))
		require.Contains(t, string(stepOf(t, e, id, "one").Results), `"result":7`)
		require.Equal(t, "error", statusOf(t, e, id))
		require.Equal(t, Stats{}, e.Stats())
	})
}

func TestAnOperatorBringsAStaleTaskBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, acting, dag("wide", "a", "b", "end: a b"))
		id := submit(t, e, asked("wide", 1))
		a := take(t, e)
		require.Equal(t, "a", a.Name)
		later(40 * time.Minute) // b waits for a worker
		require.Equal(t, "error", statusOf(t, e, id))
		_, err := e.CompleteStep(t.Context(), id, a.StepUUID, byHand, Completion{})
		require.NoError(t, err)
		work(t, e, succeed)
		require.Equal(t, "complete", await(t, e, id).Status)
	})
}

func TestAHandlerThatStillRunsWhenItsTaskComesBackBringsItsResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, acting, dag("wide", "a", "b", "end: a b"))
		id := submit(t, e, asked("wide", 1))
		both := takeAll(t, e, 2)
		later(40 * time.Minute)
		_, err := e.ResolveStep(t.Context(), id, both["a"].StepUUID, byHand)
		require.NoError(t, err)
		finish(t, e, both["b"], dispatch.Success, 1)
		require.Equal(t, "end", take(t, e).Name)
		require.Equal(t, 1, stepOf(t, e, id, "b").Attempts)
	})
}

// progressed is a checkpoint that a handler yields.
var progressed = map[string]any{"cursor": 50, "items_processed": 50}

// yieldedLate is a stale task of two steps, of which the first yielded a
// checkpoint when the task was in error already.
func yieldedLate(t testing.TB, e *Engine, template string) uuid.UUID {
	t.Helper()
	id, one := stale(t, e, template)
	finish(t, e, one, dispatch.CheckpointYield, progressed)
	settle(t, e)
	return id
}

func TestAStepOfAStaleTaskThatYieldsIsToBeRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, acting, chain)
		id := yieldedLate(t, e, "chain")
		require.Equal(t, map[string]string{"one": "waiting_for_retry", "two": "pending"}, states(t, e, id))
		require.Contains(t, string(stepOf(t, e, id, "one").Results), `"error_type":"task_ended"`)
		require.Equal(t, "error", statusOf(t, e, id))
		require.Equal(t, Stats{}, e.Stats())
	})
}

func TestTheEndOfAStepThatYieldedInAStaleTaskIsStoredOnce(t *testing.T) {
	both(t, func(t *testing.T, fail func(*breaker, int32), _ bool) {
		e, b := breaking(t, acting, chain)
		id, one := stale(t, e, "chain")
		fail(b, 1)
		finish(t, e, one, dispatch.CheckpointYield, progressed)
		healthy(t, e)
		require.Equal(t, "waiting_for_retry", states(t, e, id)["one"])
		require.Equal(t, 1, strings.Count(history(t, e, id), "enqueued_as_error_for_orchestration"))
	})
}

func TestAStepOfAStaleTaskThatYieldsInItsLastAttemptFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, acting, retrying("max_attempts: 1"))
		id := yieldedLate(t, e, "retrying")
		require.Equal(t, "error", stepOf(t, e, id, "flaky").CurrentState)
	})
}

func TestAStepThatYieldedInAStaleTaskGoesOnFromThereWhenTheTaskComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, acting, chain)
		id := yieldedLate(t, e, "chain")
		_, err := e.ResolveStep(t.Context(), id, stepOf(t, e, id, "two").StepUUID, byHand)
		require.NoError(t, err)
		before := time.Now()
		one := take(t, e)
		require.Equal(t, before, time.Now(), "without delay")
		require.Equal(t, 2, one.Attempt)
		require.Equal(t, "50", string(checkpointOf(t, one).Cursor))
	})
}

func TestAStepOfAStaleTaskThatYieldsIsNotGivenToAWaitingWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, acting, chain, linear)
		_, one := stale(t, e, "chain")
		given := make(chan *dispatch.Step)
		go func() { given <- take(t, e) }()
		synctest.Wait()
		finish(t, e, one, dispatch.CheckpointYield, progressed)
		settle(t, e)
		other := submit(t, e, asked("linear", 1))
		require.Equal(t, other, (<-given).TaskUUID)
	})
}

func TestAStepThatIsToGoOnFromItsCheckpointEndsWithItsStaleTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, acting, withLifecycle("max_duration_minutes: 60"))
		id := submit(t, e, asked("limited", 1))
		finish(t, e, take(t, e), dispatch.CheckpointYield, progressed)
		later(66 * time.Minute) // no worker takes it
		require.Equal(t, "error", statusOf(t, e, id))
		require.Equal(t, "waiting_for_retry", states(t, e, id)["one"])
		require.Equal(t, Stats{}, e.Stats())
	})
}

func TestAStepIsNotHandedOutInTheBatchInWhichItsTaskIsPutToError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, linear)
		id := submit(t, e, asked("linear", 1))
		later(31 * time.Minute)
		c := &claimant{limit: 1, granted: make(chan grant, 1)}
		check := &stalenessCheck{act: true, done: make(chan error, 1)}
		require.True(t, e.inbox.put(c, check))
		require.NoError(t, <-check.done)
		require.Equal(t, "error", statusOf(t, e, id))
		require.Equal(t, "enqueued", states(t, e, id)["one"])
	})
}

func TestAStepOfAStaleTaskThatWasNeverStartedIsAsIfNotClaimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, acting, chain)
		id, one := stale(t, e, "chain")
		finish(t, e, one, dispatch.Unstarted, nil)
		settle(t, e)
		require.Equal(t, "enqueued", states(t, e, id)["one"])
		require.Equal(t, Stats{}, e.Stats())
		_, err := e.ResolveStep(t.Context(), id, stepOf(t, e, id, "two").StepUUID, byHand)
		require.NoError(t, err)
		require.Equal(t, 1, take(t, e).Attempt)
	})
}

func TestACheckpointedStepOfAStaleTaskThatWasNotStartedAgainIsToBeRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, acting, chain)
		id := submit(t, e, asked("chain", 1))
		one := yield(t, e, take(t, e), `{"cursor":50,"items_processed":50}`)
		later(40 * time.Minute)
		require.Equal(t, "error", statusOf(t, e, id))
		finish(t, e, one, dispatch.Unstarted, nil)
		settle(t, e)
		require.Equal(t, "waiting_for_retry", states(t, e, id)["one"])
	})
}

func TestTheStepsThatAStaleTasksResultAsksForWaitUntilTheTaskComesBack(t *testing.T) {
	for name, c := range map[string]struct {
		yaml, done string
		value      map[string]any
		added      []string
	}{
		"decision": {
			dag("directed", "other") + "  - {name: pick, type: decision, handler: {callable: h}}\n" +
				"  - {name: left, handler: {callable: h}, dependencies: [pick]}\n  - {name: right, handler: {callable: h}, dependencies: [pick]}\n",
			"pick", choose("left"), []string{"left"},
		},
		"batches": {
			strings.Replace(crunching, "name: crunching", "name: directed", 1) + "  - {name: other, handler: {callable: h}}\n",
			"analyze", batches("crunch", "001", "002"), []string{"crunch_001", "crunch_002"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := open(t, acting, c.yaml)
				id := submit(t, e, asked("directed", 1))
				both := takeAll(t, e, 2)
				later(40 * time.Minute)
				require.Equal(t, "error", statusOf(t, e, id))
				finish(t, e, both[c.done], dispatch.SuccessDirective, c.value)
				settle(t, e)
				require.Equal(t, "complete", states(t, e, id)[c.done])
				for _, added := range c.added {
					require.Equal(t, "pending", states(t, e, id)[added])
				}
				require.Equal(t, Stats{RunningSteps: 1}, e.Stats())

				_, err := e.ResolveStep(t.Context(), id, both["other"].StepUUID, byHand)
				require.NoError(t, err)
				steps := takeAll(t, e, len(c.added))
				for _, added := range c.added {
					require.Contains(t, steps, added)
				}
			})
		})
	}
}

func TestADirectiveOfAStaleTaskThatCannotBeFollowedFailsItsStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, acting, routing)
		id := submit(t, e, asked("routing", 1))
		finish(t, e, take(t, e), dispatch.Success, 1)
		route := take(t, e)
		later(40 * time.Minute)
		require.Equal(t, "error", statusOf(t, e, id))
		finish(t, e, route, dispatch.SuccessDirective, choose("nowhere"))
		settle(t, e)
		require.Equal(t, map[string]string{"check": "complete", "route": "error"}, states(t, e, id))
		require.Equal(t, "error", statusOf(t, e, id))
	})
}

func TestAStepThatYieldsWhileItsTaskComesBackIsHandedOutOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, acting, linear)
		id, one := stale(t, e, "linear")
		yield := &completion{claim: one.Handle.(*claim), result: resultOf(one, dispatch.CheckpointYield, map[string]any{"cursor": 1, "items_processed": 1})}
		back := &operation{task: id, step: stepOf(t, e, id, "four").StepUUID, event: stepResolveManually, Operation: byHand, done: make(chan error, 1)}
		require.True(t, e.inbox.put(yield, back))
		require.NoError(t, <-back.done)
		steps, err := e.Claim(t.Context(), 10)
		require.NoError(t, err)
		require.Len(t, steps, 1)
		require.Equal(t, "one", steps[0].Name)
	})
}

func TestATaskWithAPendingRecordIsNotRecordedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, acting, linear)
		id, one := stale(t, e, "linear")
		_, err := e.ResolveStep(t.Context(), id, one.StepUUID, byHand)
		require.NoError(t, err)
		take(t, e)
		later(2 * time.Hour)
		require.Equal(t, "steps_in_process", statusOf(t, e, id))
		require.Len(t, deadLetters(t, e), 1)

		resolved := DLQManuallyResolved
		require.NoError(t, e.UpdateDLQ(t.Context(), deadLetters(t, e)[0].DLQEntryUUID, DLQUpdate{ResolutionStatus: &resolved}))
		later(stalenessInterval)
		require.Equal(t, "error", statusOf(t, e, id))
		require.Len(t, deadLetters(t, e), 2)
	})
}

func TestManyStaleTasksAreDealtWithInOnePass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, acting, linear)
		const n = 2*staleBatch + 1
		for i := range n {
			submit(t, e, asked("linear", i))
		}
		later(29 * time.Minute)
		require.Empty(t, deadLetters(t, e))
		later(stalenessInterval)
		require.Equal(t, n, len(deadLetters(t, e)))
		require.Zero(t, e.Stats().OpenTasks)
	})
}

func TestADetectorThatOnlyWarnsSaysOnceWhatItWouldDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines lockedBuffer
		e := open(t, Options{
			Path: memory, Staleness: Staleness{Mode: StalenessWarn}, Log: slog.New(slog.NewTextHandler(&lines, nil)),
		}, linear)
		id := submit(t, e, asked("linear", 1))
		take(t, e)
		later(10 * time.Hour)
		require.Equal(t, "steps_in_process", statusOf(t, e, id))
		require.Empty(t, deadLetters(t, e))
		require.Equal(t, 1, lines.count("task is stale"), lines.String())
		require.Equal(t, 1, lines.count("would_transition_to_dlq_and_error"))
		require.Equal(t, 1, lines.count(id.String()))
	})
}

// lockedBuffer is a log's destination that tests may read meanwhile.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (b *lockedBuffer) count(text string) int { return bytes.Count([]byte(b.String()), []byte(text)) }

func TestStalenessIsHealthyThenWarningThenStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, withLifecycle("max_steps_in_process_minutes: 100"))
		id := submit(t, e, asked("limited", 1))
		take(t, e)
		last := time.Duration(0)
		for _, c := range []struct {
			at   time.Duration
			want string
		}{
			{79 * time.Minute, "healthy"}, {80 * time.Minute, "warning"}, {99 * time.Minute, "warning"}, {100 * time.Minute, "stale"},
		} {
			later(c.at - last)
			last = c.at
			all, err := e.StaleTasks(t.Context(), 10)
			require.NoError(t, err)
			require.Equal(t, []StaleTask{{
				TaskUUID: id, NamespaceName: "tests", TaskName: "limited", CurrentState: "steps_in_process", TimeInStateMinutes: int64(c.at.Minutes()),
				TaskAgeMinutes: int64(c.at.Minutes()), StalenessThresholdMinutes: 100, HealthStatus: c.want,
			}}, all)
		}
	})
}

func TestOnlyWatchedStatesAreListedByStalenessTheStalestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, linear, chain)
		blocked(t, e)
		first := submit(t, e, asked("linear", 1))
		later(10 * time.Minute)
		second := submit(t, e, asked("linear", 2))
		all, err := e.StaleTasks(t.Context(), 10)
		require.NoError(t, err)
		require.Len(t, all, 2)
		require.Equal(t, []uuid.UUID{first, second}, []uuid.UUID{all[0].TaskUUID, all[1].TaskUUID})
		all, err = e.StaleTasks(t.Context(), 1)
		require.NoError(t, err)
		require.Len(t, all, 1)
	})
}

func TestAStaleTaskIsStoredBeforeItIsActedUpon(t *testing.T) {
	both(t, func(t *testing.T, fail func(*breaker, int32), _ bool) {
		e, b := breaking(t, acting, linear)
		id := submit(t, e, asked("linear", 1))
		take(t, e)
		later(29 * time.Minute)
		fail(b, 1)
		later(2 * time.Hour)
		healthy(t, e)
		require.Equal(t, "error", statusOf(t, e, id))
		require.Len(t, deadLetters(t, e), 1)
	})
}

func TestBothSpellingsOfDeadLetterWordsAreReadAndOneIsWritten(t *testing.T) {
	for stored, wire := range map[DLQReason]string{
		DLQStalenessTimeout: "StalenessTimeout", DLQMaxRetriesExceeded: "MaxRetriesExceeded",
		DLQDependencyCycleDetected: "DependencyCycleDetected", DLQWorkerUnavailable: "WorkerUnavailable", DLQManual: "ManualDlq",
	} {
		data, err := json.Marshal(stored)
		require.NoError(t, err)
		require.Equal(t, `"`+wire+`"`, string(data))
		for _, spelling := range []string{wire, string(stored)} {
			var r DLQReason
			require.NoError(t, json.Unmarshal([]byte(`"`+spelling+`"`), &r))
			require.Equal(t, stored, r)
		}
	}
	for stored, wire := range map[DLQStatus]string{
		DLQPending: "Pending", DLQManuallyResolved: "ManuallyResolved", DLQPermanentlyFailed: "PermanentlyFailed", DLQCancelled: "Cancelled",
	} {
		data, err := json.Marshal(stored)
		require.NoError(t, err)
		require.Equal(t, `"`+wire+`"`, string(data))
		for _, spelling := range []string{wire, string(stored)} {
			s, err := ParseDLQStatus(spelling)
			require.NoError(t, err)
			require.Equal(t, stored, s)
		}
	}
	_, err := ParseDLQStatus("open")
	require.ErrorIs(t, err, ErrInvalid)
	require.ErrorContains(t, err, `"open"`)
	require.ErrorContains(t, err, "ManuallyResolved")
	var r DLQReason
	require.ErrorIs(t, json.Unmarshal([]byte(`"Bored"`), &r), ErrInvalid)
}

// engine-semantics §4.8 holds for a task in error too: nobody runs its steps
// any more, so they must not look as if.
func TestARunningStepOfAStaleTaskIsLostWhenTheProcessIsKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := acting
		o.Path = "" // a file
		e := open(t, o, dag("wide", "a", "b", "end: a b"))
		id := submit(t, e, asked("wide", 1))
		a := take(t, e)
		require.Equal(t, "a", a.Name)
		later(40 * time.Minute)
		require.Equal(t, "error", statusOf(t, e, id))

		again := open(t, Options{Path: copied(t, e)}, dag("wide", "a", "b", "end: a b"))
		require.Equal(t, "error", statusOf(t, again, id))
		require.Equal(t, map[string]string{"a": "waiting_for_retry", "b": "enqueued", "end": "pending"}, states(t, again, id))
		require.Contains(t, string(stepOf(t, again, id, "a").Results), workerLost)
		require.Equal(t, Stats{}, again.Stats(), "nothing of it runs")

		_, err := again.ResolveStep(t.Context(), id, stepOf(t, again, id, "b").StepUUID, byHand)
		require.NoError(t, err)
		a = take(t, again)
		require.Equal(t, 2, a.Attempt)
		finish(t, again, a, dispatch.Success, 1)
		require.Equal(t, "end", take(t, again).Name)
	})
}
