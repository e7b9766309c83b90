package engine

import "fmt"

// TaskState is a state of a task (engine-semantics §3.1).
type TaskState uint8

// The task states. The zero value is the state of a task that does not exist
// yet.
const (
	taskNew TaskState = iota
	TaskPending
	TaskInitializing
	TaskEnqueuingSteps
	TaskStepsInProcess
	TaskEvaluatingResults
	TaskWaitingForDependencies
	TaskWaitingForRetry
	TaskBlockedByFailures
	TaskComplete
	TaskError
	TaskCancelled
	TaskResolvedManually
	taskStates
)

var taskStateNames = [taskStates]string{
	"", "pending", "initializing", "enqueuing_steps", "steps_in_process", "evaluating_results", "waiting_for_dependencies",
	"waiting_for_retry", "blocked_by_failures", "complete", "error", "cancelled", "resolved_manually",
}

// String is the state's name on the wire and in the file.
func (s TaskState) String() string {
	if s >= taskStates {
		return fmt.Sprintf("TaskState(%d)", uint8(s))
	}
	return taskStateNames[s]
}

// ParseTaskState reads a state's name; ok is false for anything else. The
// old name in_progress means steps_in_process.
func ParseTaskState(name string) (s TaskState, ok bool) {
	if name == "in_progress" {
		return TaskStepsInProcess, true
	}
	for s := TaskPending; s < taskStates; s++ {
		if taskStateNames[s] == name {
			return s, true
		}
	}
	return taskNew, false
}

// Terminal tells whether a task in this state is finished for good.
func (s TaskState) Terminal() bool { return s >= TaskComplete && s < taskStates }

// taskEvent is what moves a task from one state to another.
type taskEvent uint8

const (
	taskStart taskEvent = iota
	taskReadyStepsFound
	taskNoStepsFound
	taskNoDependenciesReady
	taskStepsEnqueued
	taskEnqueueFailed
	taskStepCompleted
	taskAllStepsCompleted
	taskStepFailed
	taskCompleted // legacy
	taskFailed    // legacy
	taskAllStepsSuccessful
	taskPermanentFailure
	taskDependenciesReady
	taskRetryReady
	taskGiveUp
	taskManualResolution
	taskCancel
	taskResolveManually
	taskReset
	taskEvents
)

var taskEventNames = [taskEvents]string{
	"Start", "ReadyStepsFound", "NoStepsFound", "NoDependenciesReady", "StepsEnqueued", "EnqueueFailed", "StepCompleted",
	"AllStepsCompleted", "StepFailed", "Complete", "Fail", "AllStepsSuccessful", "PermanentFailure", "DependenciesReady",
	"RetryReady", "GiveUp", "ManualResolution", "Cancel", "ResolveManually", "Reset",
}

func (e taskEvent) String() string {
	if e >= taskEvents {
		return fmt.Sprintf("taskEvent(%d)", uint8(e))
	}
	return taskEventNames[e]
}

// taskTransitions is the table of engine-semantics §3.1, without the events
// that many states share. taskNew stands for "not allowed".
var taskTransitions = [taskStates][taskEvents]TaskState{
	TaskPending: {taskStart: TaskInitializing},
	TaskInitializing: {
		taskReadyStepsFound:     TaskEnqueuingSteps,
		taskNoStepsFound:        TaskComplete,
		taskNoDependenciesReady: TaskWaitingForDependencies,
	},
	TaskEnqueuingSteps: {
		taskStepsEnqueued: TaskStepsInProcess,
		taskEnqueueFailed: TaskError,
	},
	TaskStepsInProcess: {
		taskStepCompleted:     TaskEvaluatingResults,
		taskAllStepsCompleted: TaskEvaluatingResults,
		taskStepFailed:        TaskWaitingForRetry,
		taskCompleted:         TaskComplete,
		taskFailed:            TaskError,
	},
	TaskEvaluatingResults: {
		taskAllStepsSuccessful:  TaskComplete,
		taskReadyStepsFound:     TaskEnqueuingSteps,
		taskNoDependenciesReady: TaskWaitingForDependencies,
		taskPermanentFailure:    TaskBlockedByFailures,
	},
	TaskWaitingForDependencies: {taskDependenciesReady: TaskEvaluatingResults},
	TaskWaitingForRetry:        {taskRetryReady: TaskEnqueuingSteps},
	TaskBlockedByFailures: {
		taskGiveUp:           TaskError,
		taskManualResolution: TaskResolvedManually,
	},
}

// next returns the state that event e leads to. The error is ErrInvalidState
// and names the state and the event.
func (s TaskState) next(e taskEvent) (TaskState, error) {
	var to TaskState
	switch {
	case s == taskNew || s >= taskStates || e >= taskEvents:
	case e == taskResolveManually:
		to = TaskResolvedManually
	case e == taskCancel && !s.Terminal():
		to = TaskCancelled
	default:
		to = taskTransitions[s][e]
	}
	if to == taskNew {
		return s, fmt.Errorf("%w: a task in state %s does not take %s", ErrInvalidState, s, e)
	}
	return to, nil
}
