package engine

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The tables below are those of engine-semantics §3.1 and §3.2: "from | events
// | to". What they do not mention must be refused.

const taskTable = `
pending                  | Start                             | initializing
initializing             | ReadyStepsFound                   | enqueuing_steps
initializing             | NoStepsFound                      | complete
initializing             | NoDependenciesReady               | waiting_for_dependencies
enqueuing_steps          | StepsEnqueued                     | steps_in_process
enqueuing_steps          | EnqueueFailed                     | error
steps_in_process         | StepCompleted, AllStepsCompleted  | evaluating_results
steps_in_process         | StepFailed                        | waiting_for_retry
steps_in_process         | Complete                          | complete
steps_in_process         | Fail                              | error
evaluating_results       | AllStepsSuccessful                | complete
evaluating_results       | ReadyStepsFound                   | enqueuing_steps
evaluating_results       | NoDependenciesReady               | waiting_for_dependencies
evaluating_results       | PermanentFailure                  | blocked_by_failures
waiting_for_dependencies | DependenciesReady                 | evaluating_results
waiting_for_retry        | RetryReady                        | enqueuing_steps
blocked_by_failures      | GiveUp                            | error
blocked_by_failures      | ManualResolution                  | resolved_manually
pending, initializing, enqueuing_steps, steps_in_process, evaluating_results, waiting_for_dependencies, waiting_for_retry, blocked_by_failures | Cancel | cancelled
pending, initializing, enqueuing_steps, steps_in_process, evaluating_results, waiting_for_dependencies, waiting_for_retry, blocked_by_failures, complete, error, cancelled, resolved_manually | ResolveManually | resolved_manually
`

const stepTable = `
pending                             | Enqueue                       | enqueued
pending                             | Start                         | in_progress
pending                             | Fail                          | error
pending                             | WaitForRetry                  | waiting_for_retry
enqueued                            | Start                         | in_progress
enqueued                            | Fail                          | error
enqueued                            | WaitForRetry                  | waiting_for_retry
in_progress                         | EnqueueForOrchestration       | enqueued_for_orchestration
in_progress                         | EnqueueAsErrorForOrchestration| enqueued_as_error_for_orchestration
in_progress                         | Complete                      | complete
in_progress                         | Fail                          | error
in_progress                         | WaitForRetry                  | waiting_for_retry
enqueued_for_orchestration          | Complete                      | complete
enqueued_for_orchestration          | Fail                          | error
enqueued_as_error_for_orchestration | Fail                          | error
enqueued_as_error_for_orchestration | WaitForRetry                  | waiting_for_retry
enqueued_as_error_for_orchestration | Complete                      | complete
waiting_for_retry                   | Retry                         | pending
error                               | Retry, ResetForRetry          | pending
pending, enqueued, in_progress, enqueued_for_orchestration, enqueued_as_error_for_orchestration, error, waiting_for_retry | Cancel | cancelled
pending, enqueued, in_progress, enqueued_for_orchestration, enqueued_as_error_for_orchestration, waiting_for_retry, complete, error, cancelled, resolved_manually | CompleteManually | complete
pending, enqueued, in_progress, enqueued_for_orchestration, enqueued_as_error_for_orchestration, waiting_for_retry, complete, error, cancelled, resolved_manually | ResolveManually | resolved_manually
`

// allowed reads a table into from → event → to.
func allowed(table string) map[string]map[string]string {
	all := map[string]map[string]string{}
	for line := range strings.Lines(strings.TrimSpace(table)) {
		cells := strings.Split(line, "|")
		for from := range strings.SplitSeq(cells[0], ",") {
			from = strings.TrimSpace(from)
			if all[from] == nil {
				all[from] = map[string]string{}
			}
			for event := range strings.SplitSeq(cells[1], ",") {
				all[from][strings.TrimSpace(event)] = strings.TrimSpace(cells[2])
			}
		}
	}
	return all
}

// named are the values below n by their String.
func named[T interface {
	~uint8
	String() string
}](first, n T) map[string]T {
	all := map[string]T{}
	for v := first; v < n; v++ {
		all[v.String()] = v
	}
	return all
}

func TestATaskTakesTheEventsOfItsTableAndNoOthers(t *testing.T) {
	table := allowed(taskTable)
	states, events := named(TaskPending, taskStates), named(taskStart, taskEvents)
	require.ElementsMatch(t, slices.Collect(maps.Keys(table)), slices.Collect(maps.Keys(states)))
	for from, state := range states {
		for name, event := range events {
			to, err := state.next(event)
			want, ok := table[from][name]
			if !ok {
				require.ErrorIs(t, err, ErrInvalidState, "%s takes %s", from, name)
				require.ErrorContains(t, err, from)
				require.ErrorContains(t, err, name)
				require.Equal(t, state, to, "a refused event changes nothing")
				continue
			}
			require.NoError(t, err)
			require.Equal(t, want, to.String(), "%s on %s", from, name)
			delete(table[from], name)
		}
		require.Empty(t, table[from], "events of %s that the engine does not know", from)
	}
}

func TestAStepTakesTheEventsOfItsTableAndNoOthers(t *testing.T) {
	table := allowed(stepTable)
	states, events := named(StepPending, stepStates), named(stepEnqueue, stepEvents)
	require.ElementsMatch(t, slices.Collect(maps.Keys(table)), slices.Collect(maps.Keys(states)))
	for from, state := range states {
		for name, event := range events {
			to, err := state.next(event)
			want, ok := table[from][name]
			if !ok {
				require.ErrorIs(t, err, ErrInvalidState, "%s takes %s", from, name)
				require.ErrorContains(t, err, from)
				require.ErrorContains(t, err, name)
				require.Equal(t, state, to, "a refused event changes nothing")
				continue
			}
			require.NoError(t, err)
			require.Equal(t, want, to.String(), "%s on %s", from, name)
			delete(table[from], name)
		}
		require.Empty(t, table[from], "events of %s that the engine does not know", from)
	}
}

func TestWhatDoesNotExistTakesNoEvent(t *testing.T) {
	for event := range stepEvents {
		for _, state := range []StepState{stepNew, stepStates} {
			_, err := state.next(event)
			require.ErrorIs(t, err, ErrInvalidState)
		}
	}
	for event := range taskEvents {
		for _, state := range []TaskState{taskNew, taskStates} {
			_, err := state.next(event)
			require.ErrorIs(t, err, ErrInvalidState)
		}
	}
}

func TestTerminalTaskStates(t *testing.T) {
	for name, state := range named(TaskPending, taskStates) {
		want := slices.Contains([]string{"complete", "error", "cancelled", "resolved_manually"}, name)
		require.Equal(t, want, state.Terminal(), name)
	}
}

func TestTerminalAndSatisfyingStepStates(t *testing.T) {
	for name, state := range named(StepPending, stepStates) {
		require.Equal(t, slices.Contains([]string{"complete", "cancelled", "resolved_manually"}, name), state.Terminal(), name)
		require.Equal(t, slices.Contains([]string{"complete", "resolved_manually"}, name), state.Satisfies(), name)
	}
}

func TestStateNamesReadBack(t *testing.T) {
	for name, state := range named(TaskPending, taskStates) {
		read, ok := ParseTaskState(name)
		require.True(t, ok, name)
		require.Equal(t, state, read)
	}
	for name, state := range named(StepPending, stepStates) {
		read, ok := ParseStepState(name)
		require.True(t, ok, name)
		require.Equal(t, state, read)
	}
	old, ok := ParseTaskState("in_progress")
	require.True(t, ok)
	require.Equal(t, TaskStepsInProcess, old)
	for _, name := range []string{"", "Complete", "running"} {
		_, ok := ParseTaskState(name)
		require.False(t, ok, name)
		_, ok = ParseStepState(name)
		require.False(t, ok, name)
	}
}
