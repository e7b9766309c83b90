package engine

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/engine/store"
)

// A claim is one step handed to whoever runs it, or about to be. It holds a
// snapshot of the step before it was claimed, and no memory of the writer
// that still changes, so the event is built by the claiming goroutine.
type claim struct {
	stepID   int64
	position int32
	attempt  int32
	again    bool          // the attempt had begun before, with another claim
	began    store.Instant // the attempt: its number alone may come again after a reset

	taskUUID, stepUUID, correlationID uuid.UUID

	key     templateKey
	name    string
	timeout time.Duration

	head         []byte
	quoted       []byte // step name
	template     []byte // template step name, as JSON
	namedUUID    uuid.UUID
	before       snapshot
	ancestors    []ancestor
	stepTemplate []byte // step_definition

	step    atomic.Pointer[dispatch.Step] // as the claimant has it; nil before
	revoked atomic.Bool
}

// revoke tells whoever runs the step that nobody waits for it any more.
func (c *claim) revoke() {
	c.revoked.Store(true)
	if s := c.step.Load(); s != nil {
		s.Revoke()
	}
}

// of tells whether c is a claim of the attempt that s is in.
func (c *claim) of(s *step) bool {
	return s.state == StepInProgress && s.row.Attempts == c.attempt && s.row.LastAttemptedAt == c.began
}

// snapshot is what an event shows of the step's row.
type snapshot struct {
	retryable                             bool
	maxAttempts, attempts, backoffSeconds int32
	lastAttemptedAt, createdAt, updatedAt store.Instant
	inputs, results, checkpoint           []byte
}

// ancestor is an entry of dependency_results.
type ancestor struct{ quoted, results []byte }

// claimant is a Claim call that waits for steps.
type claimant struct {
	limit   int
	state   atomic.Int32
	granted chan grant
}

// The states of a claimant. Whoever moves it out of waiting owns what comes
// next: the caller gives up, or the writer will answer.
const (
	claimantWaiting int32 = iota
	claimantTaken
	claimantGone
)

// grant is the writer's answer to a claimant. Without claims and error it
// means that the commit failed.
type grant struct {
	claims []*claim
	err    error
}

// Claim implements dispatch.Source. When ctx ends at the very moment at which
// steps become durably claimed, they are returned, with a nil error.
func (e *Engine) Claim(ctx context.Context, limit int) ([]*dispatch.Step, error) {
	if limit < 1 {
		return nil, fmt.Errorf("claim steps: limit is %d, must be at least 1", limit)
	}
	for {
		claims, err := e.claims(ctx, limit)
		if err != nil {
			return nil, err
		}
		if len(claims) == 0 {
			continue // the commit of the claim failed; get in line again
		}
		steps := make([]*dispatch.Step, len(claims))
		for i, c := range claims {
			steps[i] = c.dispatched()
		}
		return steps, nil
	}
}

func (e *Engine) claims(ctx context.Context, limit int) ([]*claim, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c := &claimant{limit: limit, granted: make(chan grant, 1)}
	if !e.inbox.put(c) {
		return nil, fmt.Errorf("claim steps: %w", ErrClosed)
	}
	var g grant
	select {
	case g = <-c.granted:
	case <-ctx.Done():
		if c.state.CompareAndSwap(claimantWaiting, claimantGone) {
			return nil, ctx.Err()
		}
		g = <-c.granted
	}
	if g.err != nil {
		return nil, fmt.Errorf("claim steps: %w", g.err)
	}
	return g.claims, nil
}

// Complete implements dispatch.Source. The result of a step that is no
// longer running, because its task was cancelled or its result came before,
// is dropped.
func (e *Engine) Complete(s *dispatch.Step, result dispatch.Result) {
	c, ok := s.Handle.(*claim)
	if !ok {
		e.log.Error("result for a step that this engine did not hand out", "step", s.Name, "task_uuid", s.TaskUUID)
		return
	}
	if !e.inbox.put(&completion{claim: c, result: result}) {
		e.log.Warn("result came after the engine was closed; the step will run again", "step", s.Name, "task_uuid", s.TaskUUID)
	}
}

// dispatched makes the step that the claimant gets.
func (c *claim) dispatched() *dispatch.Step {
	id := newUUID()
	step := &dispatch.Step{
		EventID: id, TaskUUID: c.taskUUID, StepUUID: c.stepUUID, CorrelationID: c.correlationID,
		Namespace: c.key.namespace, Task: c.key.name, Name: c.name, Attempt: int(c.attempt),
		Timeout: c.timeout,
		Event:   c.event(id),
		Handle:  c,
	}
	c.step.Store(step)
	if c.revoked.Load() {
		step.Revoke()
	}
	return step
}

// newUUID returns a new version 7 uuid.
func newUUID() uuid.UUID {
	return uuid.Must(uuid.NewV7()) // fails only without a source of randomness
}
