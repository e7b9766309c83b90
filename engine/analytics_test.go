package engine

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

// took finishes a step that was in its handler for d.
func took(t testing.TB, e *Engine, s *dispatch.Step, outcome dispatch.Outcome, d time.Duration) {
	t.Helper()
	result := resultOf(s, outcome, "x")
	result.Duration = d
	e.Complete(s, result)
}

func measured(t testing.TB, e *Engine, hours int) Performance {
	t.Helper()
	p, err := e.Performance(t.Context(), hours)
	require.NoError(t, err)
	return p
}

func TestPerformanceCountsByTheStatesOfTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, dag("pair", "one", "two: one"))
		submit(t, e, asked("pair", 1))
		one := take(t, e)
		time.Sleep(10 * time.Second)
		took(t, e, one, dispatch.Success, 4*time.Second)
		took(t, e, take(t, e), dispatch.Success, 6*time.Second)
		submit(t, e, asked("pair", 2))
		took(t, e, take(t, e), dispatch.PermanentFailure, time.Second)
		id := submit(t, e, asked("pair", 3))
		_, err := e.Cancel(t.Context(), id)
		require.NoError(t, err)
		submit(t, e, asked("pair", 4)) // with one step complete, it still runs
		took(t, e, take(t, e), dispatch.Success, 5*time.Second)
		settle(t, e)

		p := measured(t, e, 2)
		require.Equal(t, Performance{
			TotalTasks: 4, ActiveTasks: 1, CompletedTasks: 1, FailedTasks: 1, CompletionRate: 25, ErrorRate: 25,
			AverageTaskDurationSeconds: 10, AverageStepDurationSeconds: 5, TasksPerHour: 2, StepsPerHour: 1.5, SystemHealthScore: 0.5,
			AnalysisPeriodStart: p.CalculatedAt.Add(-2 * time.Hour), CalculatedAt: p.CalculatedAt,
		}, p)
	})
}

func TestPerformanceLooksAtTheTasksCreatedInTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, dag("single", "only"))
		for i := range 10 {
			submit(t, e, asked("single", i))
			finish(t, e, take(t, e), dispatch.Success, 1)
			later(time.Hour)
		}
		for hours, want := range map[int]int{1: 1, 0: 1, 3: 3, 24: 10} {
			require.Equal(t, want, measured(t, e, hours).TotalTasks, hours)
		}
	})
}

func TestPerformanceOfNothingIsHealthy(t *testing.T) {
	e := open(t, Options{Path: memory})
	p := measured(t, e, 24)
	require.Zero(t, p.TotalTasks+p.ActiveTasks+p.CompletedTasks+p.FailedTasks)
	require.Zero(t, p.CompletionRate+p.ErrorRate+p.TasksPerHour+p.StepsPerHour)
	require.Equal(t, 1.0, p.SystemHealthScore)
}

func TestTheHealthScoreIsOfTheLastHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, dag("single", "only"))
		submit(t, e, asked("single", 1))
		finish(t, e, take(t, e), dispatch.PermanentFailure, 1)
		later(2 * time.Hour)
		submit(t, e, asked("single", 2))
		finish(t, e, take(t, e), dispatch.Success, 1)
		settle(t, e)
		p := measured(t, e, 24)
		require.Equal(t, 50.0, p.ErrorRate)
		require.Equal(t, 1.0, p.SystemHealthScore)
	})
}

func TestAWindowThatMakesNoSenseIsRefused(t *testing.T) {
	e := open(t, Options{Path: memory})
	for _, hours := range []int{-1, maxHours + 1} {
		_, err := e.Performance(t.Context(), hours)
		require.ErrorIs(t, err, ErrInvalid)
		require.ErrorContains(t, err, "hours")
	}
}

func TestAnswersAreGivenAgainForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, dag("single", "only"))
		first := measured(t, e, 24)
		slow, err := e.Bottlenecks(t.Context(), 10, 1)
		require.NoError(t, err)
		submit(t, e, asked("single", 1))
		later(59 * time.Second)
		require.Equal(t, first, measured(t, e, 24))
		again, err := e.Bottlenecks(t.Context(), 10, 1)
		require.NoError(t, err)
		require.Equal(t, slow, again)
		require.Equal(t, 1, measured(t, e, 23).TotalTasks, "another question has another answer")
		later(time.Second)
		require.Equal(t, 1, measured(t, e, 24).TotalTasks)
		again, err = e.Bottlenecks(t.Context(), 10, 1)
		require.NoError(t, err)
		require.Equal(t, 1, again.ResourceUtilization.SystemHealth["total_tasks"])
	})
}

func TestBottlenecksAreTheSlowestStepsAndTemplates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, dag("pair", "one", "two: one"), crunching)
		for i := range 4 {
			submit(t, e, asked("pair", i))
			took(t, e, take(t, e), dispatch.Success, time.Duration(i+1)*20*time.Second)
			time.Sleep(3 * time.Second)
			outcome := dispatch.Success
			if i == 3 {
				outcome = dispatch.PermanentFailure
			}
			took(t, e, take(t, e), outcome, time.Second)
		}
		submit(t, e, asked("crunching", 1))
		finish(t, e, take(t, e), dispatch.SuccessDirective, batches("crunch", "a", "b"))
		for range 2 {
			took(t, e, take(t, e), dispatch.Success, 10*time.Second)
		}
		settle(t, e)

		b, err := e.Bottlenecks(t.Context(), 10, 2)
		require.NoError(t, err)
		last := b.SlowSteps[0].LastExecutedAt
		require.NotNil(t, last)
		require.Equal(t, SlowStep{
			NamespaceName: "tests", TaskName: "pair", Version: "1.0.0", StepName: "one", AverageDurationSeconds: 50, MaxDurationSeconds: 80,
			ExecutionCount: 4, LastExecutedAt: last,
		}, b.SlowSteps[0])
		require.Equal(t, []string{"one", "crunch", "two"}, []string{b.SlowSteps[0].StepName, b.SlowSteps[1].StepName, b.SlowSteps[2].StepName})
		require.Equal(t, 2, b.SlowSteps[1].ExecutionCount, "the instances of a batch worker count as one step")
		require.Equal(t, 1, b.SlowSteps[2].ErrorCount)
		require.Equal(t, 25.0, b.SlowSteps[2].ErrorRate)
		require.Len(t, b.SlowSteps, 3, "analyze was executed once")

		require.Len(t, b.SlowTasks, 1, "crunching ran once")
		slow := b.SlowTasks[0]
		require.Equal(t, SlowTask{
			NamespaceName: "tests", TaskName: "pair", Version: "1.0.0", AverageDurationSeconds: 3, MaxDurationSeconds: 3, ExecutionCount: 4,
			AverageStepCount: 2, ErrorCount: 1, ErrorRate: 25, LastExecutedAt: slow.LastExecutedAt,
		}, slow)
		require.Equal(t, []string{
			"Step two of tests/pair fails in 25.0 % of its executions: look at its errors.",
			"Step one of tests/pair takes 50.0 s on average: make it faster, or divide it into batches.",
		}, b.Recommendations)

		b, err = e.Bottlenecks(t.Context(), 1, 1)
		require.NoError(t, err)
		require.Len(t, b.SlowSteps, 1)
		require.Len(t, b.SlowTasks, 1)
	})
}

func TestResourcesAreCountedForEveryState(t *testing.T) {
	e := open(t, Options{Path: memory}, dag("pair", "one", "two: one"))
	submit(t, e, asked("pair", 1))
	finish(t, e, take(t, e), dispatch.Success, 1)
	settle(t, e)
	b, err := e.Bottlenecks(t.Context(), 10, 5)
	require.NoError(t, err)
	want := map[string]int{"total_tasks": 1, "total_steps": 2}
	for s := TaskPending; s < taskStates; s++ {
		want[s.String()+"_tasks"] = 0
	}
	for s := StepPending; s < stepStates; s++ {
		want[s.String()+"_steps"] = 0
	}
	want["steps_in_process_tasks"], want["complete_steps"], want["enqueued_steps"] = 1, 1, 1
	require.Equal(t, want, b.ResourceUtilization.SystemHealth)
	require.Zero(t, b.ResourceUtilization.DatabasePoolUtilization)
	require.Empty(t, b.SlowSteps, "nothing was executed often enough")
	require.Empty(t, b.Recommendations)
}

func TestABusyPoolIsRemarkedOn(t *testing.T) {
	b := Bottlenecks{ResourceUtilization: ResourceUtilization{DatabasePoolUtilization: 0.9}}
	require.Equal(t, []string{"90 % of the connections for reading are in use: ask for fewer lists at once."}, b.recommend())
}
