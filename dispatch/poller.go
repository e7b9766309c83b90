package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gofrs/uuid/v5"
)

// The limits of programs that poll by themselves (python-api-core §2.9).
const (
	// StarvingAfter is when a polled step that nobody answered is worth a
	// warning.
	StarvingAfter = 10 * time.Second
	// AnswerTimeout is when it is failed, if it has no timeout of its own.
	AnswerTimeout = 30 * time.Second

	// pollAhead is how many steps are claimed before they are polled.
	pollAhead = 16
)

// Poller hands the steps of a source to a program that polls for them and
// completes them by their event id, instead of to lanes. All methods may be
// called by any goroutine and none waits for the source, except Drain.
type Poller struct {
	o PollerOptions

	mu      sync.Mutex
	queue   queue
	pending map[uuid.UUID]*polled
	room    chan struct{} // has room for one: the queue has become shorter
	fewer   chan struct{} // has room for one: fewer steps wait for an answer

	stopClaim context.CancelFunc
	wg        sync.WaitGroup
}

// PollerOptions configure a Poller.
type PollerOptions struct {
	Source   Source
	WorkerID string
	// HandsBack tells that the source, when it is closed, hands back what it
	// was given no result for: Drain then fails nothing.
	HandsBack bool
	Metrics   Metrics      // nil observes nothing
	Log       *slog.Logger // nil discards
}

// polled is a step that the program has and did not answer yet.
type polled struct {
	item
	at time.Time // when it was polled
}

// NewPoller makes a Poller; Start sets it going.
func NewPoller(o PollerOptions) *Poller {
	if o.Metrics == nil {
		o.Metrics = noMetrics{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Poller{o: o, pending: map[uuid.UUID]*polled{}, room: make(chan struct{}, 1), fewer: make(chan struct{}, 1)}
}

// Start begins to claim steps until Drain or the end of ctx.
func (p *Poller) Start(ctx context.Context) {
	ctx, p.stopClaim = context.WithCancel(ctx)
	p.wg.Go(func() { p.claim(ctx) })
}

func (p *Poller) claim(ctx context.Context) {
	for ctx.Err() == nil {
		p.mu.Lock()
		room := pollAhead - p.queue.len()
		p.mu.Unlock()
		if room <= 0 {
			select {
			case <-p.room:
			case <-ctx.Done():
			}
			continue
		}
		steps, err := p.o.Source.Claim(ctx, room)
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, context.Canceled) {
				p.o.Log.Error("claim steps", "error", err)
				select {
				case <-time.After(claimRetry):
				case <-ctx.Done():
				}
			}
			continue
		}
		now := time.Now()
		p.mu.Lock()
		for _, s := range steps {
			p.queue.push(item{s, now})
		}
		p.mu.Unlock()
	}
}

// Drain is StopClaiming, and forgets the steps that the program has not
// answered. Unless the source hands them back, it fails them retryably: their
// source runs them again. A Poller that was never started, or is drained
// already, is fine.
func (p *Poller) Drain(ctx context.Context) error {
	if err := p.StopClaiming(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	left := slices.Collect(maps.Values(p.pending))
	clear(p.pending)
	p.mu.Unlock()
	if p.o.HandsBack {
		return nil
	}
	for _, step := range left {
		p.fail(step, "worker_lost", "the worker stopped before the step was done")
	}
	return nil
}

// StopClaiming gives the program no more steps. Those that it has not polled
// go back as if they had not been claimed; those that it has can still be
// answered.
func (p *Poller) StopClaiming(ctx context.Context) error {
	if p.stopClaim == nil {
		return nil
	}
	p.stopClaim()
	done := make(chan struct{})
	go func() {
		p.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("drain: %w", ctx.Err())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		it, ok := p.queue.pop()
		if !ok {
			return nil
		}
		p.o.Source.Complete(it.step, Result{Outcome: Unstarted})
	}
}

// AwaitAnswers waits until the program has answered every step that it has.
// When ctx ends first it returns its error.
func (p *Poller) AwaitAnswers(ctx context.Context) error {
	for {
		left := p.Stats().Pending
		if left == 0 {
			return nil
		}
		select {
		case <-p.fewer:
		case <-ctx.Done():
			return fmt.Errorf("%d steps still running: %w", left, ctx.Err())
		}
	}
}

// forget takes a step off those that wait for an answer. p.mu is held.
func (p *Poller) forget(event uuid.UUID) {
	delete(p.pending, event)
	select {
	case p.fewer <- struct{}{}:
	default:
	}
}

// Poll returns the event of the next step, nil when none waits.
func (p *Poller) Poll() *Step {
	for {
		p.mu.Lock()
		it, ok := p.queue.pop()
		if ok {
			p.pending[it.step.EventID] = &polled{item: it, at: time.Now()}
		}
		p.mu.Unlock()
		if !ok {
			return nil
		}
		select {
		case p.room <- struct{}{}:
		default:
		}
		if it.step.enter(func() { p.revoke(it.step) }) {
			return it.step
		}
		p.revoke(it.step)
	}
}

// revoke forgets a step that its source does not want any more. The program
// cannot be asked to end its handler, but its answer will be refused.
func (p *Poller) revoke(step *Step) {
	p.mu.Lock()
	_, waits := p.pending[step.EventID]
	p.forget(step.EventID)
	p.mu.Unlock()
	if waits {
		p.o.Source.Complete(step, Result{Outcome: Unstarted})
	}
}

// directives are the keys of a result by which it asks for more steps.
type directives struct {
	Decision json.RawMessage `json:"decision_point_outcome"`
	Batches  json.RawMessage `json:"batch_processing_outcome"`
}

// Complete hands in the stored form of a step's result (engine-semantics
// §6.1). It returns false when nobody waits for the event. The error is of a
// result that cannot be read; the step then waits on.
func (p *Poller) Complete(event uuid.UUID, result []byte) (bool, error) {
	var r struct {
		StepUUID string          `json:"step_uuid"`
		Success  bool            `json:"success"`
		Result   json.RawMessage `json:"result"`
		Metadata struct {
			Retryable bool `json:"retryable"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(result, &r); err != nil {
		return false, fmt.Errorf("read result: %w", err)
	}
	outcome := PermanentFailure
	switch {
	case r.Success:
		outcome = Success
		var d directives
		if json.Unmarshal(r.Result, &d) == nil && (d.Decision != nil || d.Batches != nil) {
			outcome = SuccessDirective
		}
	case r.Metadata.Retryable:
		outcome = RetryableFailure
	}
	step, ok := p.answered(event)
	if !ok {
		return false, nil
	}
	if r.StepUUID != step.step.StepUUID.String() {
		var err error
		if result, err = named(result, step.step.StepUUID); err != nil {
			return false, err
		}
	}
	p.complete(step, outcome, result)
	return true, nil
}

// named gives a result the uuid of its step: a program may leave it out, but
// tasker-server goes by it.
func named(result []byte, step uuid.UUID) ([]byte, error) {
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal(result, &members); err != nil {
		return nil, fmt.Errorf("read result: %w", err)
	}
	if members == nil { // null
		members = map[string]json.RawMessage{}
	}
	members["step_uuid"] = json.RawMessage(`"` + step.String() + `"`)
	out, err := json.Marshal(members)
	if err != nil {
		return nil, fmt.Errorf("write result: %w", err)
	}
	return out, nil
}

// Checkpoint hands in a step's progress; the step is delivered again under a
// new event id. It returns false when nobody waits for the event.
func (p *Poller) Checkpoint(event uuid.UUID, checkpoint []byte) bool {
	step, ok := p.answered(event)
	if ok {
		p.complete(step, CheckpointYield, checkpoint)
	}
	return ok
}

// answered takes the step that waits for the answer to an event.
func (p *Poller) answered(event uuid.UUID) (*polled, bool) {
	p.mu.Lock()
	step, ok := p.pending[event]
	p.forget(event)
	p.mu.Unlock()
	if !ok {
		p.o.Log.Warn("answer for an event that nobody waits for", "event_id", event)
	}
	return step, ok
}

func (p *Poller) complete(s *polled, outcome Outcome, result []byte) {
	took := time.Since(s.at)
	p.o.Metrics.StepDone(s.step, outcome, s.at.Sub(s.queued), took)
	p.o.Source.Complete(s.step, Result{Outcome: outcome, JSON: result, Started: s.at, Duration: took})
}

func (p *Poller) fail(s *polled, errorType, message string) {
	p.complete(s, RetryableFailure, FailureResult(Failure{
		Step: s.step, Message: message, ErrorType: errorType, Retryable: true, Took: time.Since(s.at), WorkerID: p.o.WorkerID,
	}))
}

// FailTimedOut fails the steps that the program has had for longer than their
// timeout, or AnswerTimeout without one, and returns how many there were.
func (p *Poller) FailTimedOut() int {
	late := p.take(func(s *polled) bool { return time.Since(s.at) > s.limit() })
	for _, s := range late {
		errorType := "ffi_timeout"
		if s.step.Timeout > 0 {
			errorType = "timeout"
		}
		p.fail(s, errorType, fmt.Sprintf("FFI handler timed out after %dms", s.limit().Milliseconds()))
	}
	return len(late)
}

// limit is how long the program may have the step.
func (s *polled) limit() time.Duration {
	if s.step.Timeout > 0 {
		return s.step.Timeout
	}
	return AnswerTimeout
}

// WarnStarving logs each step that the program has had for longer than
// StarvingAfter.
func (p *Poller) WarnStarving() {
	for _, s := range p.olderThan(StarvingAfter) {
		p.o.Log.Warn("step waits for its program", "step", s.step.Name, "task_uuid", s.step.TaskUUID,
			"event_id", s.step.EventID, "age_ms", time.Since(s.at).Milliseconds())
	}
}

// take removes and returns the pending steps for which which is true.
func (p *Poller) take(which func(*polled) bool) []*polled {
	p.mu.Lock()
	defer p.mu.Unlock()
	var taken []*polled
	for event, s := range p.pending {
		if which(s) {
			taken = append(taken, s)
			p.forget(event)
		}
	}
	return taken
}

// olderThan returns the pending steps of more than this age, oldest first.
func (p *Poller) olderThan(age time.Duration) []*polled {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []*polled
	for _, s := range p.pending {
		if time.Since(s.at) > age {
			found = append(found, s)
		}
	}
	slices.SortFunc(found, func(a, b *polled) int { return a.at.Compare(b.at) })
	return found
}

// PollerStats is what get_ffi_dispatch_metrics tells (python-api-core §2.9).
type PollerStats struct {
	Pending   int     `json:"pending_count"`
	OldestMS  *int64  `json:"oldest_pending_age_ms"`
	NewestMS  *int64  `json:"newest_pending_age_ms"`
	OldestID  *string `json:"oldest_event_id"`
	Starving  bool    `json:"starvation_detected"`
	StarvingN int     `json:"starving_event_count"`
}

// Stats reports the steps that the program has.
func (p *Poller) Stats() PollerStats {
	all := p.olderThan(-1)
	s := PollerStats{Pending: len(all)}
	if len(all) == 0 {
		return s
	}
	age := func(s *polled) *int64 {
		ms := time.Since(s.at).Milliseconds()
		return &ms
	}
	id := all[0].step.EventID.String()
	s.OldestMS, s.NewestMS, s.OldestID = age(all[0]), age(all[len(all)-1]), &id
	for _, step := range all {
		if time.Since(step.at) > StarvingAfter {
			s.StarvingN++
		}
	}
	s.Starving = s.StarvingN > 0
	return s
}
