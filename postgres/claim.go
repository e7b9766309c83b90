package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/dispatch"
)

// statementTimeout bounds statements that nobody else bounds.
const statementTimeout = 30 * time.Second

// claim is a step that this worker holds.
type claim struct {
	queue       *queue
	msgID       int64
	stepUUID    uuid.UUID
	taskUUID    uuid.UUID
	key         atomic.Int32 // sort key of the claim's transition: the fence
	attempt     int
	retryable   bool // what the step's row says
	maxAttempts int
	template    templateKey
	name        string
	correlation uuid.UUID
	definition  *stepDefinition
	event       event
	since       time.Time
	sent        time.Time // its message was
	dispatched  *dispatch.Step
	ended       atomic.Bool // its result is on its way, or it is not ours any more
}

// finish takes the claim for whoever hands in its result; false when somebody
// has.
func (c *claim) finish() bool { return c.ended.CompareAndSwap(false, true) }

// failure is why a claimed step cannot be run.
type failure struct {
	kind, message string
	retryable     bool
}

// Claim implements dispatch.Source. Errors of the database are waited out, for
// each queue by itself: the error is ctx's.
func (s *Source) Claim(ctx context.Context, limit int) ([]*dispatch.Step, error) {
	if limit < 1 {
		return nil, fmt.Errorf("claim steps: limit is %d, must be at least 1", limit)
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		steps, next := s.claimDue(ctx, limit)
		if len(steps) > 0 {
			return steps, nil
		}
		if steps = s.await(ctx, next); len(steps) > 0 {
			return steps, nil
		}
	}
}

// jittered is d, give or take a fifth: workers that were started together shall
// not come together.
func jittered(d time.Duration) time.Duration {
	return d*4/5 + rand.N(max(d*2/5, 1))
}

// allDue sees that every queue is looked into.
func (s *Source) allDue() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.makeAllDue()
}

// makeAllDue is allDue under s.mu.
func (s *Source) makeAllDue() {
	s.poll = time.Now().Add(jittered(s.o.Poll))
	for _, q := range s.queues {
		q.due = true
	}
}

// claimDue takes what can be had at the moment. When that is nothing, next is
// when there may be something of which nobody tells.
func (s *Source) claimDue(ctx context.Context, limit int) (steps []*dispatch.Step, next time.Time) {
	if steps = s.continued(limit); len(steps) > 0 {
		return steps, next
	}
	for range s.queues {
		q := s.takeDue()
		if q == nil {
			break
		}
		n := min(limit-len(steps), s.o.MaxBatch)
		claims, full, err := s.claimFrom(ctx, q, n)
		if err != nil {
			s.claimFailed(q, err)
			continue
		}
		s.claimSucceeded(q)
		steps = append(steps, dispatched(claims)...)
		if full {
			s.makeDue(q)
		}
		if len(steps) == limit {
			break
		}
	}
	return steps, s.nextLook()
}

// claimFailed has a queue looked into again, later from time to time.
func (s *Source) claimFailed(q *queue, err error) {
	if away(err) {
		s.failed("claim steps", err)
	} else if !q.failing {
		q.failing = true
		s.log.Error("claim steps; trying again", "queue", q.name, "error", err)
	}
	q.retry.later()
	s.makeDue(q)
}

func (s *Source) claimSucceeded(q *queue) {
	if q.failing {
		s.log.Info("steps can be claimed again", "queue", q.name)
	}
	q.failing, q.retry = false, backoff{}
}

func (s *Source) makeDue(q *queue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q.due = true
}

// nextLook is when the next queue is to be looked into unless somebody tells of
// it before: at once if a queue is due, or at its retry.
func (s *Source) nextLook() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.poll
	for _, q := range s.queues {
		if q.due && q.retry.at.Before(next) {
			next = q.retry.at
		}
	}
	return next
}

// takeDue returns the next queue that may hold something, each in turn. All may
// when it is time to poll, however much is heard of some.
func (s *Source) takeDue() *queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if !now.Before(s.poll) {
		s.makeAllDue()
	}
	for i := range s.queues {
		q := s.queues[(s.next+i)%len(s.queues)]
		if q.due && !now.Before(q.retry.at) {
			q.due = false // before it is read: what comes meanwhile makes it due again
			s.next = (s.next + i + 1) % len(s.queues)
			return q
		}
	}
	return nil
}

// continued returns steps that go on after a checkpoint.
func (s *Source) continued(limit int) []*dispatch.Step {
	s.mu.Lock()
	n := min(limit, len(s.again))
	claims := s.again[:n:n]
	s.again = s.again[n:]
	s.mu.Unlock()
	return dispatched(claims)
}

// hydrated is what the database tells of a step.
type hydrated struct {
	task, step, checkpoint, dependencies []byte
	taskUUID, correlation, parent        *uuid.UUID
	name, templateStep                   *string
	namespace, taskName, version         *string
	templateUpdated                      *time.Time
}

func (h *hydrated) targets() []any {
	return []any{
		&h.task, &h.correlation, &h.parent, &h.taskUUID, &h.step, &h.checkpoint, &h.name, &h.templateStep,
		&h.namespace, &h.taskName, &h.version, &h.templateUpdated, &h.dependencies,
	}
}

// message is a row of the claim's answer.
type message struct {
	hydrated
	id                    int64
	reads                 int32
	age                   float64 // since it was sent, in seconds, when it was read
	stepUUID              *uuid.UUID
	state                 *string // before the claim; nil: there is no such step
	key                   *int32  // nil: not claimed
	attempts, maxAttempts *int32
	retryable             *bool
	kept                  bool // whatever it says, it is to come again
}

// sent is when the message was sent, by our clock.
func (m *message) sent() time.Time {
	return time.Now().Add(-time.Duration(m.age * float64(time.Second)))
}

// claimFrom claims up to n steps of a queue. full says that there may be more.
func (s *Source) claimFrom(ctx context.Context, q *queue, n int) (claims []*claim, full bool, err error) {
	if q.suspect && !s.findLost(ctx, q) {
		return nil, false, fmt.Errorf("look for steps of %s whose claim was cut off: %w", q.name, errUnanswered)
	}
	q.suspect = false
	if err := s.beStillOurs(ctx, q); err != nil {
		return nil, false, err
	}
	n = q.atMost(n)
	messages, took, err := s.readMessages(ctx, q, func(ctx context.Context) ([]message, error) {
		return s.coupling.claim(ctx, q, n, q.bare != nil)
	})
	if err != nil {
		if s.narrow(ctx, q, n, err) {
			return nil, true, nil
		}
		return nil, false, fmt.Errorf("claim steps of %s: %w", q.name, err)
	}
	return s.take(ctx, q, messages, q.widen(s.o.MaxBatch), took), len(messages) == n, nil
}

// take makes the steps ours that a claim has given, and sees to the messages
// that gave none. unreadable is why steps came without dependencies.
func (s *Source) take(ctx context.Context, q *queue, messages []message, unreadable error, took time.Duration) (claims []*claim) {
	s.fine()
	s.counts.ClaimBatches.Add(1)
	s.counts.Received.Add(uint64(len(messages)))
	takeovers := s.counts.Takeovers.Load()
	var done []int64
	claimed := map[uuid.UUID]bool{}
	for i := range messages {
		m := &messages[i]
		if m.key == nil {
			if s.isDone(ctx, q, m, claimed) {
				done = append(done, m.id)
			}
			continue
		}
		claimed[*m.stepUUID] = true
		if c := s.hold(ctx, q, m, unreadable); c != nil {
			claims = append(claims, c)
		}
	}
	s.acknowledge(ctx, q, done)
	s.counts.Claimed.Add(uint64(len(claimed)))
	s.o.Observer.ClaimDone(q.namespace, len(claimed), int(s.counts.Takeovers.Load()-takeovers), took)
	return claims
}

// atMost is how many are claimed at once.
func (q *queue) atMost(n int) int {
	if q.few > 0 {
		return min(n, q.few)
	}
	return n
}

// narrow has the next claim take less than the n that failed, for what is wrong
// may be one step. That one alone is claimed without its dependencies, if they
// cannot be put together, and else put off: false if that cannot be done either,
// or the database is away. One that does not answer in time may have too much
// to read.
func (s *Source) narrow(ctx context.Context, q *queue, n int, err error) bool {
	if away(err) && !errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	if n > 1 {
		q.few = max(n/16, 1) // each try may wait for a lock
		return true
	}
	if isOfData(err) && q.bare == nil {
		q.few, q.bare = 1, err
		return true
	}
	q.few, q.bare = 1, nil
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statementTimeout)
	defer cancel()
	if s.coupling.putOff(ctx, q) != nil {
		return false
	}
	s.log.Error("a step cannot be claimed; it is put off", "queue", q.name, "for", s.o.Visibility.String(), "error", err)
	return true
}

// widen lets the next claim take more, and returns why what was claimed has no
// dependencies.
func (q *queue) widen(most int) (unreadable error) {
	if q.few *= 2; q.few >= most {
		q.few = 0
	}
	unreadable, q.bare = q.bare, nil
	return unreadable
}

// readMessages runs a claim from a queue, and tells how long that took. It is not
// ended with ctx: what it has claimed would be lost.
func (s *Source) readMessages(ctx context.Context, q *queue, claim func(context.Context) ([]message, error)) (messages []message, took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statementTimeout)
	defer cancel()
	started := time.Now()
	messages, err = claim(ctx)
	took = time.Since(started)
	s.o.Observer.TransactionDone(StepClaim, took, err == nil)
	if err != nil {
		s.counts.ReceiveFailures.Add(1)
		q.suspect = away(err)
	}
	return messages, took, err
}

// isDone tells whether a message that gave no step can be acknowledged
// (worker-protocol §3.2).
func (s *Source) isDone(ctx context.Context, q *queue, m *message, claimed map[uuid.UUID]bool) bool {
	log := s.log.With("queue", q.name, "msg_id", m.id)
	switch {
	case m.kept:
		return false
	case m.stepUUID == nil:
		s.counts.Undecodable.Add(1)
		log.Warn("message without a step_uuid is put aside")
		return true
	case m.state == nil:
		s.counts.Duplicates.Add(1)
		log.Warn("message of a step that does not exist is put aside", "step_uuid", m.stepUUID)
		return true
	case *m.state == "enqueued":
		// The message is kept for the events of an earlier attempt, or the step
		// was claimed by another message of this batch, or by somebody else at
		// this very moment: then it comes again.
		if m.reads > 1 && s.publishAgain(ctx, q, m) {
			return false
		}
		s.counts.Lost.Add(1)
		return claimed[*m.stepUUID]
	case *m.state == "in_progress":
		return false // somebody runs it, and if that one dies the message is needed
	default:
		s.counts.Duplicates.Add(1)
		if m.reads > 1 && s.publishAgain(ctx, q, m) {
			return false
		}
		log.Debug("message of a finished step is put aside", "step_uuid", m.stepUUID, "state", *m.state)
		return true
	}
}

// acknowledge puts messages aside. If that fails they come again.
func (s *Source) acknowledge(ctx context.Context, q *queue, ids []int64) {
	if len(ids) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statementTimeout)
	defer cancel()
	if _, err := s.queuePool.Exec(ctx, s.statements.acknowledge, q.name, ids); err != nil {
		s.log.Warn("put messages aside", "queue", q.name, "error", err)
		return
	}
	s.counts.Archived.Add(uint64(len(ids)))
}

// hold makes a claimed step ours; unreadable is why it came without
// dependencies. It returns nil for a step that is not to be run: its result is
// then on its way.
func (s *Source) hold(ctx context.Context, q *queue, m *message, unreadable error) *claim {
	c := &claim{
		queue: q, msgID: m.id, stepUUID: *m.stepUUID, attempt: int(*m.attempts), maxAttempts: int(*m.maxAttempts),
		retryable: *m.retryable, since: time.Now(), sent: m.sent(),
	}
	c.key.Store(*m.key)
	takenOver := *m.state == "in_progress"
	s.mu.Lock()
	old := s.held[c.stepUUID]
	if old != nil && takenOver && old.key.Load()+1 == *m.key {
		// We were cut off for so long that we took it from ourselves. Its result
		// may be on the way.
		old.key.Store(*m.key)
		s.mu.Unlock()
		return nil
	}
	s.held[c.stepUUID] = c
	s.mu.Unlock()
	if old != nil && old.dispatched != nil {
		old.dispatched.Revoke()
	}
	unfit, err := s.hydrate(ctx, c, &m.hydrated)
	if err != nil {
		s.log.Warn("step is handed back", "step", c.name, "task_uuid", c.taskUUID, "step_uuid", c.stepUUID, "error", err)
		c.finish()
		s.finished.put(&finished{claim: c, outcome: dispatch.Unstarted})
		return nil
	}
	if unreadable != nil && unfit == nil {
		unfit = &failure{"hydration_error", "the results of the steps before cannot be put together: " + unreadable.Error(), false}
	}
	if takenOver {
		s.counts.Takeovers.Add(1)
		s.log.Warn("step taken over from a worker that is gone", "step", c.name, "task_uuid", c.taskUUID, "step_uuid", c.stepUUID, "attempt", c.attempt)
		if c.attempt > c.maxAttempts {
			unfit = &failure{"worker_lost", fmt.Sprintf("every worker that ran this step was lost; it may be run %d times", c.maxAttempts), false}
		}
	}
	if unfit != nil {
		s.fail(c, *unfit)
		return nil
	}
	return c
}

// hydrate makes the claim's event, or returns why there cannot be one. The error
// is of the database: there may be one later. It is not ended with ctx, as the
// claim was not.
func (s *Source) hydrate(ctx context.Context, c *claim, h *hydrated) (*failure, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statementTimeout)
	defer cancel()
	c.name, c.template = *h.name, templateKey{*h.namespace, *h.taskName, *h.version}
	c.correlation = *h.correlation
	c.taskUUID = *h.taskUUID
	d, err := s.definition(ctx, c.template, *h.templateUpdated, *h.templateStep)
	if err == nil {
		c.definition = d
		c.event = makeEvent(c, h)
		return nil, nil
	}
	c.definition = &stepDefinition{}
	switch {
	case errors.Is(err, errNoStep):
		return &failure{"template_not_found", err.Error(), false}, nil
	case errors.Is(err, errUnreadable):
		return &failure{"hydration_error", err.Error(), false}, nil
	default:
		return nil, err
	}
}

// dispatch makes the step that the claimant gets.
func (c *claim) dispatch() *dispatch.Step {
	id := uuid.Must(uuid.NewV4()) // fails only without a source of randomness
	c.dispatched = &dispatch.Step{
		EventID: id, TaskUUID: c.taskUUID, StepUUID: c.stepUUID, CorrelationID: c.correlation,
		Namespace: c.template.namespace, Task: c.template.name, Name: c.name, Attempt: c.attempt,
		Timeout: c.definition.timeout, Event: c.event.bytes(id), Handle: c,
	}
	return c.dispatched
}

func dispatched(claims []*claim) []*dispatch.Step {
	steps := make([]*dispatch.Step, 0, len(claims))
	for _, c := range claims {
		steps = append(steps, c.dispatch())
	}
	return steps
}

// errUnanswered tells that the database did not answer.
var errUnanswered = errors.New("the database does not answer")

// findLost hands back what a claim has got whose answer we have not.
func (s *Source) findLost(ctx context.Context, q *queue) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statementTimeout)
	defer cancel()
	found, err := s.coupling.lost(ctx, q)
	if err != nil {
		return false
	}
	for _, l := range found {
		s.mu.Lock()
		_, known := s.held[l.step]
		if !known {
			c := &claim{queue: q, msgID: l.msgID, stepUUID: l.step, since: time.Now()}
			c.key.Store(l.key)
			c.finish()
			s.held[l.step] = c
			s.finished.put(&finished{claim: c, outcome: dispatch.Unstarted})
		}
		s.mu.Unlock()
	}
	return true
}
