// Package dispatch takes claimed steps from a source to a handler and their
// results back. It knows sources and the threads that run handlers only
// through the small interfaces in this file, so it is tested without CPython
// and without a database.
package dispatch

import (
	"context"
	"sync"
	"time"

	"github.com/gofrs/uuid/v5"
)

// Step is one claimed step on its way to a handler.
type Step struct {
	EventID       uuid.UUID // fresh for each dispatch
	TaskUUID      uuid.UUID
	StepUUID      uuid.UUID
	CorrelationID uuid.UUID

	Namespace string // of the task's template
	Task      string // template name
	Name      string // step name, unique in its task
	Attempt   int    // 1 for the first execution

	// Timeout is how long the handler may take; 0 means no limit.
	Timeout time.Duration

	// Event is the JSON of the FfiStepEvent that the handler side decodes
	// (python-api-core §2.6). It is handed through untouched.
	Event []byte

	// Handle belongs to the source that claimed the step; dispatch never
	// looks at it.
	Handle any

	control control
}

// control is how a source reaches whoever runs its step.
type control struct {
	mu      sync.Mutex
	revoked bool
	end     func() // asks the handler to end; nil while none runs
}

// Revoke tells that nobody wants the step's result any more: the step was
// cancelled, or somebody else has it. Its handler is asked to end, or never
// entered. Complete is called for it as ever. Any goroutine may call Revoke,
// however often; it does not wait.
func (s *Step) Revoke() {
	s.control.mu.Lock()
	first, end := !s.control.revoked, s.control.end
	s.control.revoked = true
	s.control.mu.Unlock()
	if first && end != nil {
		end()
	}
}

// enter notes how to end the handler that is about to be entered; false when
// it must not be, because the step was revoked.
func (s *Step) enter(end func()) bool {
	s.control.mu.Lock()
	defer s.control.mu.Unlock()
	s.control.end = end
	return !s.control.revoked
}

// leave forgets what enter noted.
func (s *Step) leave() {
	s.control.mu.Lock()
	defer s.control.mu.Unlock()
	s.control.end = nil
}

// Outcome is what became of one execution of a step. The handler side tells
// it beside the result's JSON, so that a source does not have to parse
// results that it only stores.
type Outcome byte

// The outcomes, spelled as the handler side spells them on the wire.
const (
	Success          Outcome = 'S' // stored result, success true
	SuccessDirective Outcome = 'D' // as Success; the result also carries a decision or batch outcome
	RetryableFailure Outcome = 'R' // stored result, success false, metadata.retryable true
	PermanentFailure Outcome = 'F' // stored result, success false, metadata.retryable false
	CheckpointYield  Outcome = 'Y' // {"step_uuid","cursor","items_processed","accumulated_results"}
	Unstarted        Outcome = 'U' // no handler was entered: as if the step had not been claimed
)

// Result is what one execution of a step gave.
type Result struct {
	Outcome Outcome
	// JSON is the step execution result as it is stored (engine-semantics
	// §6.1), or the checkpoint for CheckpointYield.
	JSON     []byte
	Started  time.Time     // when the handler was entered
	Duration time.Duration // time inside the handler
}

// A Source is where steps come from and results go: the embedded engine, or
// PostgreSQL.
type Source interface {
	// Claim waits until at least one step can be claimed and returns at most
	// limit of them, each claimed durably. It returns ctx.Err() when ctx ends
	// first; then nothing stays claimed on behalf of this call.
	Claim(ctx context.Context, limit int) ([]*Step, error)

	// Complete hands back the result of a step that Claim returned. It only
	// queues the result and does not wait until it is durable: it is called
	// on the thread that runs handlers.
	Complete(step *Step, result Result)
}
