package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

func taskOf(t testing.TB, e *Engine, id uuid.UUID) Task {
	t.Helper()
	task, err := e.Task(t.Context(), id)
	require.NoError(t, err)
	return task
}

func TestASubmittedTaskIsShownAsItWasAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, linear)
		now := time.Now().UTC()
		task, err := e.Submit(t.Context(), TaskRequest{
			Name: "linear", Namespace: "tests", Version: "1.0.0", Context: json.RawMessage(`{"a":1}`),
			Initiator: "me", SourceSystem: "here", Reason: "why not", Tags: []string{"x", "y"}, Priority: -3,
		})
		require.NoError(t, err)
		require.Equal(t, Task{
			TaskUUID: task.TaskUUID, Name: "linear", Namespace: "tests", Version: "1.0.0", Status: "steps_in_process",
			CreatedAt: now, UpdatedAt: now, Context: json.RawMessage(`{"a":1}`),
			Initiator: "me", SourceSystem: "here", Reason: "why not", Priority: -3, Tags: []string{"x", "y"}, CorrelationID: task.CorrelationID,
			TotalSteps: 4, PendingSteps: 3, ExecutionStatus: "processing", RecommendedAction: "wait_for_completion", HealthStatus: "healthy",
			Steps: task.Steps,
		}, task)
		require.Len(t, task.Steps, 4)
	})
}

func TestATaskWithoutTagsHasAnEmptyList(t *testing.T) {
	e := open(t, Options{}, linear)
	data, err := json.Marshal(taskOf(t, e, submit(t, e, asked("linear", 1))))
	require.NoError(t, err)
	require.Contains(t, string(data), `"tags":[]`)
}

func TestWhatDoesNotExistIsNotFound(t *testing.T) {
	e := open(t, Options{}, linear)
	nobody := newUUID()
	_, err := e.Task(t.Context(), nobody)
	require.ErrorIs(t, err, ErrNotFound)
	require.ErrorContains(t, err, nobody.String())
	_, err = e.Step(t.Context(), nobody, nobody)
	require.ErrorIs(t, err, ErrNotFound)
	_, err = e.Step(t.Context(), submit(t, e, asked("linear", 1)), nobody)
	require.ErrorIs(t, err, ErrNotFound)
	steps, err := e.Steps(t.Context(), nobody)
	require.NoError(t, err)
	require.Empty(t, steps)
	require.NotNil(t, steps, "an empty list, not null")
}

func TestAStepOfAnotherTaskIsNotFound(t *testing.T) {
	e := open(t, Options{}, linear)
	one, two := submit(t, e, asked("linear", 1)), submit(t, e, asked("linear", 2))
	_, err := e.Step(t.Context(), one, stepOf(t, e, two, "one").StepUUID)
	require.ErrorIs(t, err, ErrNotFound)
}

func TestStepsAreListedInTheOrderOfTheTemplate(t *testing.T) {
	e := open(t, Options{}, mixed)
	steps, err := e.Steps(t.Context(), submit(t, e, asked("mixed", 1)))
	require.NoError(t, err)
	var order []string
	for _, s := range steps {
		order = append(order, s.Name)
	}
	require.Equal(t, []string{"start", "left", "right", "check", "alone", "both", "end"}, order)
}

// contextOf is the part of a task that engine-semantics §4.7 computes.
func contextOf(task Task) []any {
	return []any{
		task.Status, task.ExecutionStatus, task.RecommendedAction, task.HealthStatus, task.CompletionPercentage,
		task.TotalSteps, task.PendingSteps, task.InProgressSteps, task.CompletedSteps, task.FailedSteps, task.ReadySteps,
	}
}

func TestTheExecutionContextFollowsTheSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory, NoJitter: true}, dag("three", "a", "b: a", "c: a"))
		id := submit(t, e, asked("three", 1))
		check := func(want ...any) {
			t.Helper()
			synctest.Wait()
			require.Equal(t, want, contextOf(taskOf(t, e, id)))
		}
		check("steps_in_process", "processing", "wait_for_completion", "healthy", 0.0, 3, 2, 0, 0, 0, 0)
		a := take(t, e)
		check("steps_in_process", "processing", "wait_for_completion", "healthy", 0.0, 3, 2, 1, 0, 0, 0)
		finish(t, e, a, dispatch.RetryableFailure, "later")
		check("waiting_for_dependencies", "waiting_for_dependencies", "wait_for_dependencies", "healthy", 0.0, 3, 2, 0, 0, 0, 0)
		finish(t, e, take(t, e), dispatch.Success, 1)
		check("steps_in_process", "processing", "wait_for_completion", "healthy", 33.33, 3, 0, 0, 1, 0, 0)
		both := takeAll(t, e, 2)
		finish(t, e, both["b"], dispatch.Success, 1)
		check("evaluating_results", "processing", "wait_for_completion", "healthy", 66.67, 3, 0, 1, 2, 0, 0)
		finish(t, e, both["c"], dispatch.PermanentFailure, "no")
		check("blocked_by_failures", "blocked_by_failures", "handle_failures", "blocked", 66.67, 3, 0, 0, 2, 1, 0)
	})
}

func TestACompleteTaskIsOneHundredPercent(t *testing.T) {
	e := open(t, Options{}, linear)
	work(t, e, succeed)
	task := await(t, e, submit(t, e, asked("linear", 1)))
	require.Equal(t, []any{"complete", "all_complete", "finalize_task", "healthy", 100.0, 4, 0, 0, 4, 0, 0}, contextOf(task))
}

func TestCompletedAtIsWhenTheTaskBecameTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, dag("single", "only"))
		id := submit(t, e, asked("single", 1))
		time.Sleep(time.Minute)
		s := take(t, e)
		time.Sleep(time.Minute)
		require.Nil(t, taskOf(t, e, id).CompletedAt)
		finish(t, e, s, dispatch.Success, 1)
		task := await(t, e, id)
		require.Equal(t, time.Now().UTC(), *task.CompletedAt)
		require.Equal(t, 2*time.Minute, task.CompletedAt.Sub(task.CreatedAt))
		require.Equal(t, *task.CompletedAt, task.UpdatedAt)
	})
}

func TestABlockedTaskIsNotCompletedAtAnyTime(t *testing.T) {
	e := open(t, Options{}, dag("single", "only"))
	id := submit(t, e, asked("single", 1))
	finish(t, e, take(t, e), dispatch.PermanentFailure, "no")
	require.Nil(t, await(t, e, id).CompletedAt)
}

func TestReadinessRecordsShowDependencies(t *testing.T) {
	e := open(t, Options{}, diamond)
	id := submit(t, e, asked("diamond", 1))
	finish(t, e, take(t, e), dispatch.Success, 1)
	branches := takeAll(t, e, 2)
	finish(t, e, branches["left"], dispatch.Success, 1)
	settle(t, e)
	got := map[string][]any{}
	for _, r := range taskOf(t, e, id).Steps {
		require.Equal(t, id, r.TaskUUID)
		require.Equal(t, stepOf(t, e, id, r.Name).StepUUID, r.WorkflowStepUUID)
		got[r.Name] = []any{r.CurrentState, r.DependenciesSatisfied, r.TotalParents, r.CompletedParents, r.Attempts}
	}
	require.Equal(t, map[string][]any{
		"start": {"complete", true, 0, 0, 1}, "left": {"complete", true, 1, 1, 1},
		"right": {"in_progress", true, 1, 1, 1}, "end": {"pending", false, 2, 1, 0},
	}, got)
}

func TestASingleStepShowsTheSameReadinessAsItsTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, diamond)
		id := submit(t, e, asked("diamond", 1))
		finish(t, e, take(t, e), dispatch.Success, 1)
		branches := takeAll(t, e, 2)
		finish(t, e, branches["left"], dispatch.Success, 1)
		finish(t, e, branches["right"], dispatch.RetryableFailure, "later")
		synctest.Wait()
		for _, r := range taskOf(t, e, id).Steps {
			s, err := e.Step(t.Context(), id, r.WorkflowStepUUID)
			require.NoError(t, err)
			same := func(n *NaiveTime) *time.Time {
				if n == nil {
					return nil
				}
				return &n.Time
			}
			require.Equal(t, r, StepReadiness{
				WorkflowStepUUID: s.StepUUID, TaskUUID: s.TaskUUID, NamedStepUUID: r.NamedStepUUID, Name: s.Name, CurrentState: s.CurrentState,
				DependenciesSatisfied: s.DependenciesSatisfied, RetryEligible: s.RetryEligible, ReadyForExecution: s.ReadyForExecution,
				LastFailureAt: r.LastFailureAt, NextRetryAt: r.NextRetryAt, TotalParents: s.TotalParents, CompletedParents: s.CompletedParents,
				Attempts: s.Attempts, MaxAttempts: s.MaxAttempts, BackoffRequestSeconds: r.BackoffRequestSeconds, LastAttemptedAt: r.LastAttemptedAt,
			})
			require.Equal(t, []*time.Time{same(r.LastFailureAt), same(r.NextRetryAt), same(r.LastAttemptedAt)},
				[]*time.Time{s.LastFailureAt, s.NextRetryAt, s.LastAttemptedAt})
		}
	})
}

func TestAStepShowsWhenThingsHappened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, dag("pair", "good", "bad"))
		id := submit(t, e, asked("pair", 1))
		began := time.Now().UTC()
		time.Sleep(time.Second)
		both := takeAll(t, e, 2)
		time.Sleep(time.Second)
		finish(t, e, both["good"], dispatch.Success, 1)
		finish(t, e, both["bad"], dispatch.PermanentFailure, "no")
		synctest.Wait()
		attempted, ended := began.Add(time.Second), began.Add(2*time.Second)
		good, bad := stepOf(t, e, id, "good"), stepOf(t, e, id, "bad")
		require.Equal(t, []time.Time{began, attempted, ended, ended}, []time.Time{good.CreatedAt, *good.LastAttemptedAt, *good.CompletedAt, good.UpdatedAt})
		require.Nil(t, good.LastFailureAt)
		require.Equal(t, ended, *bad.LastFailureAt)
		require.Nil(t, bad.CompletedAt, "a step in error is not processed")
	})
}

func TestAStepWhoseTurnHasNotComeHasNoResults(t *testing.T) {
	e := open(t, Options{}, linear)
	id := submit(t, e, asked("linear", 1))
	data, err := json.Marshal(stepOf(t, e, id, "two"))
	require.NoError(t, err)
	var keys map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(data, &keys))
	// engine-semantics §9.4.
	require.ElementsMatch(t, []string{
		"step_uuid", "task_uuid", "name", "created_at", "updated_at", "completed_at", "results", "current_state", "dependencies_satisfied",
		"retry_eligible", "ready_for_execution", "total_parents", "completed_parents", "attempts", "max_attempts", "last_failure_at",
		"next_retry_at", "last_attempted_at",
	}, slices.Collect(maps.Keys(keys)))
	for _, name := range []string{"completed_at", "results", "last_failure_at", "next_retry_at", "last_attempted_at"} {
		require.Equal(t, "null", string(keys[name]), name)
	}
}

func TestReadinessTimesHaveNoZone(t *testing.T) {
	at := time.Date(2026, 2, 3, 10, 0, 1, 120_000_000, time.FixedZone("", 3600))
	data, err := json.Marshal(NaiveTime{at})
	require.NoError(t, err)
	require.Equal(t, `"2026-02-03T09:00:01.12"`, string(data))
}

// filled has five tasks of two templates, of which the first has completed.
func filled(t *testing.T) (*Engine, []uuid.UUID) {
	e := open(t, Options{}, dag("single", "only"), `
name: other
namespace_name: elsewhere
version: 1.0.0
steps:
  - {name: only, handler: {callable: h}}
`)
	var ids []uuid.UUID
	for i := range 5 {
		r := asked("single", i)
		r.Initiator, r.SourceSystem = fmt.Sprint("person ", i%2), fmt.Sprint("system ", i%3)
		if i == 4 {
			r.Name, r.Namespace = "other", "elsewhere"
		}
		ids = append(ids, submit(t, e, r))
	}
	finish(t, e, take(t, e), dispatch.Success, 1)
	await(t, e, ids[0])
	return e, ids
}

func listed(t *testing.T, e *Engine, f TaskFilter) ([]uuid.UUID, Pagination) {
	t.Helper()
	list, err := e.Tasks(t.Context(), f)
	require.NoError(t, err)
	ids := []uuid.UUID{}
	for _, task := range list.Tasks {
		require.Empty(t, task.Steps)
		ids = append(ids, task.TaskUUID)
	}
	return ids, list.Pagination
}

func TestTasksAreListedNewestFirst(t *testing.T) {
	e, ids := filled(t)
	slices.Reverse(ids)
	got, pages := listed(t, e, TaskFilter{})
	require.Equal(t, ids, got)
	require.Equal(t, Pagination{Page: 1, PerPage: 25, TotalCount: 5, TotalPages: 1}, pages)
}

func TestAnEmptyListHasNoPages(t *testing.T) {
	got, pages := listed(t, open(t, Options{}), TaskFilter{})
	require.Empty(t, got)
	require.Equal(t, Pagination{Page: 1, PerPage: 25}, pages)
}

func TestTheListIsPaged(t *testing.T) {
	e, ids := filled(t)
	slices.Reverse(ids)
	for _, c := range []struct {
		page int
		want []uuid.UUID
		next bool
	}{{1, ids[:2], true}, {2, ids[2:4], true}, {3, ids[4:], false}, {4, ids[5:], false}, {math.MaxInt, ids[5:], false}} {
		got, pages := listed(t, e, TaskFilter{Page: c.page, PerPage: 2})
		require.Equal(t, c.want, got, "page %d", c.page)
		require.Equal(t, Pagination{Page: c.page, PerPage: 2, TotalCount: 5, TotalPages: 3, HasNext: c.next, HasPrevious: c.page > 1}, pages)
	}
}

func TestTheListIsFiltered(t *testing.T) {
	e, ids := filled(t)
	pick := func(positions ...int) []uuid.UUID {
		all := []uuid.UUID{}
		for _, i := range positions {
			all = append(all, ids[i])
		}
		return all
	}
	for _, c := range []struct {
		filter TaskFilter
		want   []uuid.UUID
	}{
		{TaskFilter{Namespace: "elsewhere"}, pick(4)},
		{TaskFilter{Namespace: "nowhere"}, pick()},
		{TaskFilter{Initiator: "person 1"}, pick(3, 1)},
		{TaskFilter{SourceSystem: "system 0"}, pick(3, 0)},
		{TaskFilter{Status: "complete"}, pick(0)},
		{TaskFilter{Status: "completed"}, pick(0)},
		{TaskFilter{Status: "pending"}, pick(4, 3, 2, 1)},
		{TaskFilter{Status: "steps_in_process"}, pick(4, 3, 2, 1)},
		{TaskFilter{Status: "in_progress"}, pick(4, 3, 2, 1)},
		{TaskFilter{Status: "cancelled"}, pick()},
		{TaskFilter{Namespace: "tests", Status: "pending", Initiator: "person 1", SourceSystem: "system 0"}, pick(3)},
	} {
		got, pages := listed(t, e, c.filter)
		require.Equal(t, c.want, got, "%+v", c.filter)
		require.Equal(t, len(c.want), pages.TotalCount)
	}
}

func TestTheListRefusesWhatItDoesNotKnow(t *testing.T) {
	e := open(t, Options{})
	for _, f := range []TaskFilter{{Page: -1}, {PerPage: -1}, {PerPage: 101}, {Status: "running"}} {
		_, err := e.Tasks(t.Context(), f)
		require.ErrorIs(t, err, ErrInvalid, "%+v", f)
	}
}

func TestListedTasksShowTheirTrueStateAndProgress(t *testing.T) {
	e, ids := filled(t)
	list, err := e.Tasks(t.Context(), TaskFilter{Status: "completed"})
	require.NoError(t, err)
	task := taskOf(t, e, ids[0])
	task.Steps = list.Tasks[0].Steps
	require.Equal(t, task, list.Tasks[0])
	require.Equal(t, "complete", task.Status)
}

func TestTemplatesAreListedByKey(t *testing.T) {
	e := open(t, Options{}, dag("b", "s"), dag("a", "s"), `
name: z
namespace_name: another
version: 1.0.0
steps: [{name: s, handler: {callable: h}}]
`)
	var keys []string
	for _, r := range e.Templates() {
		require.NotEqual(t, uuid.Nil, r.UUID)
		keys = append(keys, r.Template.Key())
	}
	require.Equal(t, []string{"another/z@1.0.0", "tests/a@1.0.0", "tests/b@1.0.0"}, keys)
}
