package engine

import "fmt"

// StepState is a state of a step (engine-semantics §3.2).
type StepState uint8

// The step states. The zero value is the state of a step that does not exist
// yet.
const (
	stepNew StepState = iota
	StepPending
	StepEnqueued
	StepInProgress
	StepEnqueuedForOrchestration
	StepEnqueuedAsErrorForOrchestration
	StepWaitingForRetry
	StepComplete
	StepError
	StepCancelled
	StepResolvedManually
	stepStates
)

var stepStateNames = [stepStates]string{
	"", "pending", "enqueued", "in_progress", "enqueued_for_orchestration", "enqueued_as_error_for_orchestration",
	"waiting_for_retry", "complete", "error", "cancelled", "resolved_manually",
}

// String is the state's name on the wire and in the file.
func (s StepState) String() string {
	if s >= stepStates {
		return fmt.Sprintf("StepState(%d)", uint8(s))
	}
	return stepStateNames[s]
}

// ParseStepState reads a state's name; ok is false for anything else.
func ParseStepState(name string) (s StepState, ok bool) {
	for s := StepPending; s < stepStates; s++ {
		if stepStateNames[s] == name {
			return s, true
		}
	}
	return stepNew, false
}

// Terminal tells whether a step in this state is finished for good. A step in
// error is not: an operator can recover it.
func (s StepState) Terminal() bool {
	return s == StepComplete || s == StepCancelled || s == StepResolvedManually
}

// Satisfies tells whether steps that depend on a step in this state may run.
func (s StepState) Satisfies() bool { return s == StepComplete || s == StepResolvedManually }

// busy tells whether a step in this state is on its way to or from a handler.
func (s StepState) busy() bool {
	return s >= StepEnqueued && s <= StepEnqueuedAsErrorForOrchestration
}

// busyStates are the names of the states for which busy is true.
var busyStates = stepStateNames[StepEnqueued : StepEnqueuedAsErrorForOrchestration+1]

// claimed tells whether a worker has a step in this state, or its result is
// not followed yet.
func (s StepState) claimed() bool { return s > StepEnqueued && s.busy() }

// claimedStates are the names of the states for which claimed is true.
var claimedStates = stepStateNames[StepInProgress : StepEnqueuedAsErrorForOrchestration+1]

// stepEvent is what moves a step from one state to another.
type stepEvent uint8

const (
	stepEnqueue stepEvent = iota
	stepStart
	stepEnqueueForOrchestration
	stepEnqueueAsErrorForOrchestration
	stepCompleted
	stepFail
	stepWaitForRetry
	stepRetry
	stepResetForRetry
	stepCancel
	stepCompleteManually
	stepResolveManually
	stepEvents
)

var stepEventNames = [stepEvents]string{
	"Enqueue", "Start", "EnqueueForOrchestration", "EnqueueAsErrorForOrchestration", "Complete", "Fail", "WaitForRetry",
	"Retry", "ResetForRetry", "Cancel", "CompleteManually", "ResolveManually",
}

func (e stepEvent) String() string {
	if e >= stepEvents {
		return fmt.Sprintf("stepEvent(%d)", uint8(e))
	}
	return stepEventNames[e]
}

// takesAway tells whether the event makes what a handler is doing pointless.
func (e stepEvent) takesAway() bool {
	return e == stepCancel || e == stepCompleteManually || e == stepResolveManually
}

// stepTransitions is the table of engine-semantics §3.2, without the events
// that many states share. stepNew stands for "not allowed".
var stepTransitions = [stepStates][stepEvents]StepState{
	StepPending: {
		stepEnqueue:      StepEnqueued,
		stepStart:        StepInProgress,
		stepFail:         StepError,
		stepWaitForRetry: StepWaitingForRetry,
	},
	StepEnqueued: {
		stepStart:        StepInProgress,
		stepFail:         StepError,
		stepWaitForRetry: StepWaitingForRetry,
	},
	StepInProgress: {
		stepEnqueueForOrchestration:        StepEnqueuedForOrchestration,
		stepEnqueueAsErrorForOrchestration: StepEnqueuedAsErrorForOrchestration,
		stepCompleted:                      StepComplete,
		stepFail:                           StepError,
		stepWaitForRetry:                   StepWaitingForRetry,
	},
	StepEnqueuedForOrchestration: {
		stepCompleted: StepComplete,
		stepFail:      StepError,
	},
	StepEnqueuedAsErrorForOrchestration: {
		stepFail:         StepError,
		stepWaitForRetry: StepWaitingForRetry,
		stepCompleted:    StepComplete,
	},
	StepWaitingForRetry: {stepRetry: StepPending},
	StepError: {
		stepRetry:         StepPending,
		stepResetForRetry: StepPending,
	},
}

// next returns the state that event e leads to. The error is ErrInvalidState
// and names the state and the event.
func (s StepState) next(e stepEvent) (StepState, error) {
	var to StepState
	switch {
	case s == stepNew || s >= stepStates || e >= stepEvents:
	case e == stepCompleteManually:
		to = StepComplete
	case e == stepResolveManually:
		to = StepResolvedManually
	case e == stepCancel && !s.Terminal():
		to = StepCancelled
	default:
		to = stepTransitions[s][e]
	}
	if to == stepNew {
		return s, fmt.Errorf("%w: a step in state %s does not take %s", ErrInvalidState, s, e)
	}
	return to, nil
}
