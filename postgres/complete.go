package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/jackc/pgx/v5"

	"github.com/tasker-systems/taskerpy/dispatch"
)

const (
	// maxBatchBytes bounds the results in one statement.
	maxBatchBytes = 16 << 20
	// historyDepth is how much deeper a checkpoint's cursor is in its history.
	historyDepth = 2
	// maxHistory is how many earlier checkpoints of a step are remembered.
	maxHistory = 100
)

// finished is an execution that has ended.
type finished struct {
	claim   *claim
	outcome dispatch.Outcome
	json    []byte
	began   bool // for Unstarted: a handler had been entered

	storedAt time.Time // for a result that the server is to be told of
}

// inbox holds what was handed in and is not stored yet.
type inbox struct {
	mu      sync.Mutex
	waiting []*finished
	closed  bool
	arrived chan struct{} // has room for one

	given, settledTo uint64        // how many were put, and how many of those are done with
	progress         chan struct{} // closed and replaced when settledTo grows; nil while nobody waits
}

// done notes that the n that were taken first are settled.
func (i *inbox) done(n int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.settledTo += uint64(n)
	if i.progress != nil {
		close(i.progress)
		i.progress = nil
	}
}

// settled waits until everything put so far is done with.
func (i *inbox) settled(ctx context.Context) error {
	i.mu.Lock()
	goal := i.given
	for i.settledTo < goal {
		if i.progress == nil {
			i.progress = make(chan struct{})
		}
		progress := i.progress
		i.mu.Unlock()
		select {
		case <-progress:
		case <-ctx.Done():
			return fmt.Errorf("wait for the last results to be stored: %w", ctx.Err())
		}
		i.mu.Lock()
	}
	i.mu.Unlock()
	return nil
}

func (i *inbox) put(f *finished) {
	i.mu.Lock()
	i.waiting = append(i.waiting, f)
	i.given++
	i.mu.Unlock()
	i.signal()
}

func (i *inbox) close() {
	i.mu.Lock()
	i.closed = true
	i.mu.Unlock()
	i.signal()
}

func (i *inbox) signal() {
	select {
	case i.arrived <- struct{}{}:
	default:
	}
}

// take waits for something, or for a time, and returns at most n of it. more is
// false at the end; of one that is closed, when there is no time to wait for.
func (i *inbox) take(ctx context.Context, n int, until <-chan time.Time) (batch []*finished, more bool) {
	for {
		i.mu.Lock()
		batch, closed := i.first(n), i.closed
		i.mu.Unlock()
		if len(batch) > 0 || closed && until == nil {
			return batch, len(batch) > 0
		}
		select {
		case <-i.arrived:
		case <-until:
			return nil, !closed
		case <-ctx.Done():
			return nil, false
		}
	}
}

// first takes what fits into one statement. i.mu is held.
func (i *inbox) first(n int) []*finished {
	size := 0
	for k, f := range i.waiting {
		size += len(f.json)
		if k == n || k > 0 && size > maxBatchBytes {
			n = k
			break
		}
	}
	n = min(n, len(i.waiting))
	batch := slices.Clone(i.waiting[:n])
	i.waiting = slices.Delete(i.waiting, 0, n)
	return batch
}

// Complete implements dispatch.Source. The result of a step that is not ours
// any more is dropped.
func (s *Source) Complete(step *dispatch.Step, result dispatch.Result) {
	c, ok := step.Handle.(*claim)
	if !ok {
		s.log.Error("result for a step that this source did not hand out", "step", step.Name, "task_uuid", step.TaskUUID)
		return
	}
	f := &finished{claim: c, outcome: result.Outcome, json: result.JSON}
	if result.Outcome != dispatch.Unstarted {
		given := time.Now()
		defer func() { s.o.Observer.ResultGiven(time.Since(given)) }()
	}
	if result.Outcome == dispatch.CheckpointYield {
		// The step goes on. Only one answer is given for an event, so nobody
		// else hands in something meanwhile.
		if why := unreadable(f.json, historyDepth); why != "" {
			s.fail(c, failure{"checkpoint_error", "Checkpoint yield failed: tasker-server could not read it: " + why, false})
		} else if !c.ended.Load() {
			f.json = slices.Clone(f.json)
			s.finished.put(f)
		}
		return
	}
	if !c.finish() {
		return
	}
	switch result.Outcome {
	case dispatch.Unstarted:
	case dispatch.Success, dispatch.SuccessDirective:
		f.json = slices.Clone(f.json)
	default:
		f.json = c.failed(f.json, result.Outcome == dispatch.RetryableFailure)
	}
	s.bound(f)
	s.finished.put(f)
}

// bound makes a result storable, or a failure that says why it is not.
func (s *Source) bound(f *finished) {
	var cleaned bool
	if f.json, cleaned = storable(f.json); cleaned {
		s.log.Warn("characters that PostgreSQL cannot store were replaced in a result", "step", f.claim.name, "task_uuid", f.claim.taskUUID)
	}
	if len(f.json) > s.o.MaxResultBytes {
		s.refuse(f, failure{"result_too_large", fmt.Sprintf("the step's result has %d bytes, more than the limit of %d", len(f.json), s.o.MaxResultBytes), false})
	}
	if why := unreadable(f.json, 0); why != "" {
		s.refuse(f, failure{"result_not_storable", "tasker-server could not read the step's result: " + why, f.outcome == dispatch.RetryableFailure})
	}
}

// refuse makes f a failure of ours.
func (s *Source) refuse(f *finished, why failure) {
	f.outcome = dispatch.PermanentFailure
	if why.retryable {
		f.outcome = dispatch.RetryableFailure
	}
	f.json = f.claim.ownFailure(why, s.o.WorkerID, time.Since(f.claim.since))
}

// fail ends a claimed step that is not to be run.
func (s *Source) fail(c *claim, why failure) {
	if !c.finish() {
		return
	}
	f := &finished{claim: c}
	s.refuse(f, why)
	f.json, _ = storable(f.json)
	s.finished.put(f)
}

// flush stores what is handed in, until the inbox is closed and empty.
func (s *Source) flush(ctx context.Context) {
	results := &job{what: "store results", do: s.written(StepResult, s.store), sends: s.queuePool == s.pool, refused: s.unstorable}
	checkpoints := &job{what: "store checkpoints", do: s.written(StepCheckpoint, s.checkpoint), refused: s.uncheckpointable}
	releases := &job{what: "hand steps back", do: s.written(StepRelease, s.release)}
	p := &persister{
		Source: s, inbox: &s.finished, pool: s.pool, fine: s.fineHere, jobs: []*job{results, checkpoints, releases},
		jobOf: func(f *finished) *job {
			switch f.outcome {
			case dispatch.Unstarted:
				return releases
			case dispatch.CheckpointYield:
				return checkpoints
			default:
				return results
			}
		},
	}
	p.run(ctx)
}

// written is what do does, while nothing else is done about what we hold.
func (s *Source) written(what Transaction, do writer) writer {
	return func(ctx context.Context, batch []*finished, again bool) error {
		return s.alone(ctx, s.writing, func(ctx context.Context) error {
			started := time.Now()
			err := do(ctx, batch, again)
			s.o.Observer.TransactionDone(what, time.Since(started), err == nil)
			return err
		})
	}
}

// part is a part of the visibility timeout, within the bounds of a statement.
func (s *Source) part(n int) time.Duration {
	return min(max(s.o.Visibility/time.Duration(n), time.Second), statementTimeout)
}

// store stores results. again says that an earlier attempt may have done it.
func (s *Source) store(ctx context.Context, batch []*finished, again bool) error {
	if again {
		stored, err := s.alreadyStored(ctx, batch, "enqueued_for_orchestration", "enqueued_as_error_for_orchestration")
		if err != nil {
			return err
		}
		s.settle(batch, stored)
		suspected := make([]uuid.UUID, len(batch))
		for i, f := range batch {
			suspected[i] = f.claim.taskUUID
		}
		s.suspects.add(suspected)
		if batch = slices.DeleteFunc(slices.Clone(batch), func(f *finished) bool { return stored[f.claim.stepUUID] }); len(batch) == 0 {
			return nil
		}
	}
	n := len(batch)
	steps, keys, oks, results := make([]uuid.UUID, n), make([]int32, n), make([]bool, n), make([][]byte, n)
	tasks, correlations := make([]uuid.UUID, n), make([]uuid.UUID, n)
	ids, queues, done := make([]int64, n), make([]string, n), make([]bool, n)
	for i, f := range batch {
		c := f.claim
		steps[i], keys[i], results[i], ids[i], queues[i] = c.stepUUID, c.key.Load(), f.json, c.msgID, c.queue.name
		oks[i], tasks[i], correlations[i] = f.succeeded(), c.taskUUID, c.correlation
		done[i] = !f.publishes()
	}
	started := time.Now()
	rows, err := s.pool.Query(ctx, s.statements.complete,
		steps, keys, oks, results, tasks, correlations, ids, queues, done, s.uuid, s.o.ResultsQueue)
	if err != nil {
		return err
	}
	stored := make(map[uuid.UUID]bool, n)
	var suspected []uuid.UUID
	var step, task uuid.UUID
	var enqueuing *bool
	_, err = pgx.ForEachRow(rows, []any{&step, &task, &enqueuing, nil, nil, nil}, func() error {
		stored[step] = true
		if enqueuing != nil && *enqueuing {
			suspected = append(suspected, task)
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.suspects.add(suspected)
	s.counts.CompleteBatches.Add(1)
	s.o.Observer.StoreDone(len(stored), time.Since(started))
	s.settle(batch, stored)
	for i, f := range batch {
		switch {
		case stored[f.claim.stepUUID]:
		case f.claim.key.Load() != keys[i]:
			s.finished.put(f) // meanwhile we took it over from ourselves
		default:
			s.lose(f.claim, "its result is dropped")
		}
	}
	return nil
}

func (f *finished) succeeded() bool {
	return f.outcome == dispatch.Success || f.outcome == dispatch.SuccessDirective
}

// failedAttempt is what the log says of a failure. Whether another attempt
// follows is for the server to decide; these are its rules (worker-protocol §3.7).
func (f *finished) failedAttempt() dispatch.FailedAttempt {
	c := f.claim
	return dispatch.FailedAttempt{
		Step: c.name, TaskUUID: c.taskUUID, CorrelationID: c.correlation, Attempt: c.attempt,
		Retried: f.outcome == dispatch.RetryableFailure && c.retryable && c.attempt < c.maxAttempts, Result: f.json,
	}
}

// publishes tells whether domain events follow from f.
func (f *finished) publishes() bool {
	for _, e := range f.claim.definition.events {
		if e.Condition.Holds(f.succeeded(), f.outcome == dispatch.RetryableFailure) {
			return true
		}
	}
	return false
}

// settle counts results that are stored, and sees to what follows from them.
func (s *Source) settle(batch []*finished, stored map[uuid.UUID]bool) {
	settled := make([]*finished, 0, len(stored))
	for _, f := range batch {
		if !stored[f.claim.stepUUID] {
			continue
		}
		s.counts.Completed.Add(1)
		if !f.succeeded() {
			f.failedAttempt().Log(s.log)
		}
		s.o.Observer.ResultStored(f.claim.queue.namespace, f.succeeded())
		settled = append(settled, f)
	}
	s.coupling.stored(settled)
}

// told forgets a claim whose result the server has, or sees to its events.
func (s *Source) told(f *finished) {
	if f.publishes() {
		s.outbox.Put(s.publication(f.claim, f.json))
		return // held until then, so that its message is not taken for abandoned
	}
	s.messageDone(f.claim)
	s.drop(f.claim)
}

// alreadyStored finds what is stored although nobody said so: steps that went
// from their claim to one of the states.
func (s *Source) alreadyStored(ctx context.Context, batch []*finished, states ...string) (map[uuid.UUID]bool, error) {
	steps, keys := keysOf(batch)
	rows, err := s.pool.Query(ctx, storedSQL, steps, keys, s.uuid, states)
	if err != nil {
		return nil, err
	}
	return collectSet(rows)
}

func collectSet(rows pgx.Rows) (map[uuid.UUID]bool, error) {
	found := map[uuid.UUID]bool{}
	var step uuid.UUID
	_, err := pgx.ForEachRow(rows, []any{&step}, func() error {
		found[step] = true
		return nil
	})
	return found, err
}

func keysOf(batch []*finished) ([]uuid.UUID, []int32) {
	steps, keys := make([]uuid.UUID, len(batch)), make([]int32, len(batch))
	for i, f := range batch {
		steps[i], keys[i] = f.claim.stepUUID, f.claim.key.Load()
	}
	return steps, keys
}

// unstorable stores in place of a result why it cannot be stored. If that cannot
// be stored either, it is not the result's fault, and false.
func (s *Source) unstorable(ctx context.Context, f *finished, err error) bool {
	result, outcome := f.json, f.outcome
	s.refuse(f, failure{"result_not_storable", "the step's result cannot be stored: " + err.Error(), false})
	f.json, _ = storable(f.json)
	if s.written(StepResult, s.store)(ctx, []*finished{f}, false) == nil {
		return true
	}
	f.json, f.outcome = result, outcome
	return false
}

// lose gives a claim up that somebody else has, or nobody wants.
func (s *Source) lose(c *claim, what string) {
	s.counts.Fenced.Add(1)
	s.log.Warn("step is not ours any more, "+what, "step", c.name, "task_uuid", c.taskUUID, "step_uuid", c.stepUUID)
	s.drop(c)
}

// drop forgets a claim.
func (s *Source) drop(c *claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[c.stepUUID] == c {
		delete(s.held, c.stepUUID)
	}
}

// release hands steps back.
func (s *Source) release(ctx context.Context, batch []*finished, again bool) error {
	if err := s.coupling.release(ctx, batch, again); err != nil {
		return err
	}
	s.counts.Released.Add(uint64(len(batch)))
	for _, f := range batch {
		s.o.Observer.StepReleased(f.claim.queue.namespace)
		s.drop(f.claim)
	}
	return nil
}

// releaseArgs are those of releaseSQL.
func (s *Source) releaseArgs(batch []*finished) []any {
	n := len(batch)
	steps, keys := keysOf(batch)
	ids, queues, began := make([]int64, n), make([]string, n), make([]bool, n)
	for i, f := range batch {
		ids[i], queues[i], began[i] = f.claim.msgID, f.claim.queue.name, f.began
	}
	return []any{steps, keys, ids, queues, began, s.uuid}
}

// progress is a checkpoint as it is stored, without history
// (worker-protocol §3.9).
type progress struct {
	Cursor      json.RawMessage `json:"cursor"`
	Items       json.RawMessage `json:"items_processed"`
	Timestamp   string          `json:"timestamp"`
	Accumulated json.RawMessage `json:"accumulated_results"`
}

// checkpoint stores progress and lets the steps go on.
func (s *Source) checkpoint(ctx context.Context, batch []*finished, _ bool) error {
	steps, keys := keysOf(batch)
	stored := make([][]byte, len(batch))
	for i, f := range batch {
		f.json, _ = storable(f.json)
		var p progress
		if err := json.Unmarshal(f.json, &p); err != nil {
			p = progress{}
		}
		p.Timestamp = time.Now().UTC().Format(time.RFC3339Nano)
		var err error
		if stored[i], err = json.Marshal(p); err != nil {
			return fmt.Errorf("write a checkpoint: %w", err)
		}
	}
	rows, err := s.pool.Query(ctx, checkpointSQL, steps, keys, stored, maxHistory, s.uuid)
	if err != nil {
		return err
	}
	ours, err := collectSet(rows)
	if err != nil {
		return err
	}
	s.mu.Lock()
	for _, f := range batch {
		if ours[f.claim.stepUUID] {
			f.claim.event.checkpoint = f.json
			s.again = append(s.again, f.claim)
		}
	}
	s.mu.Unlock()
	for _, f := range batch {
		if !ours[f.claim.stepUUID] && f.claim.finish() {
			s.lose(f.claim, "its checkpoint is dropped")
		}
	}
	s.counts.Checkpoints.Add(uint64(len(ours)))
	s.signal()
	return nil
}

// uncheckpointable fails a step whose progress cannot be stored.
func (s *Source) uncheckpointable(_ context.Context, f *finished, err error) bool {
	s.fail(f.claim, failure{"checkpoint_error", "Checkpoint yield failed: " + err.Error(), true})
	return true
}
