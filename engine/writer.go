package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/engine/store"
)

const (
	// After a failed commit the writer tries again after retryFirst, then
	// after twice as long each time, up to retryMost.
	retryFirst = 50 * time.Millisecond
	retryMost  = time.Second

	// longestRest is how long the writer rests at most while steps wait for
	// their next attempt. Its timer knows nothing of a clock that is set
	// forward, and stands still while the machine sleeps.
	longestRest = time.Minute
)

// The writer is the one goroutine that changes tasks and writes the file. It
// takes what has gathered in the inbox, changes the tasks in memory, commits
// all changes in one transaction, and only then answers and lets anybody act
// on them. What gathers meanwhile is the next batch.
type writer struct {
	e     *Engine
	ctx   context.Context // for its reads; never ends
	store *store.Store
	rand  *rand.Rand

	named                                map[int64]*namedTask
	byKey                                map[templateKey]*namedTask
	namedSteps                           map[string]store.NamedStep
	lastTask, lastNamedTask, lastNamedID int64
	lastPublication                      int64
	// offered is the last publication that was put into the outbox.
	offered int64

	runs   map[int64]*run // running tasks, by id
	byUUID map[uuid.UUID]*run
	ready  readyQueue
	timers timers
	// delayed is how many steps of the running tasks wait for a retry. Unlike
	// the timers it has none that were cancelled meanwhile.
	delayed int32

	claimants []*claimant
	handed    map[int64]*claim // claims that somebody runs, by step id

	batch batch
	// again are completions whose batch failed.
	again []request
	stale bool // memory is not what the file says: load again first
	doubt doubt
}

// batch is what the next commit makes durable, and what follows from it.
type batch struct {
	at       store.Instant
	requests []request // carried out; answered after the commit
	refused  []refusal // because of what the batch changed, perhaps; answered then too
	inserts  []func() error
	dirty    []*run
	evaluate []*run
	found    []*run // at rest until somebody asked for them
	attempts []store.FailedAttempt
	failures []dispatch.FailedAttempt // to be logged
	grants   []pendingGrant
	changes  []Change
	revoked  []*claim // of steps that were taken away from their handlers
	// publications become available once they are in the file.
	publications []Publication
	identities   map[string]uuid.UUID // of the tasks created in it
}

// empty tells whether the batch has nothing to make durable.
func (b *batch) empty() bool { return len(b.dirty) == 0 && len(b.inserts) == 0 && len(b.attempts) == 0 }

// refusal is a request with the reason why it is not carried out.
type refusal struct {
	request request
	reason  error
}

// pendingGrant is what a claimant gets after the commit.
type pendingGrant struct {
	to     *claimant
	claims []*claim
}

func newWriter(e *Engine, r *rand.Rand) *writer {
	return &writer{
		e: e, ctx: context.Background(), store: e.store, rand: r,
		handed: map[int64]*claim{}, batch: batch{identities: map[string]uuid.UUID{}},
	}
}

// start takes up what is in the file. The writer does not live yet.
func (w *writer) start(ctx context.Context) error {
	if err := w.load(ctx); err != nil {
		return err
	}
	w.begin()
	for _, r := range w.inOrder() {
		w.recover(r)
	}
	if err := w.recoverFailed(ctx); err != nil {
		return err
	}
	w.evaluateAll()
	return w.commit()
}

// live is the writer's life: until the engine is closed and everything that
// was handed in before is durable.
func (w *writer) live() {
	defer w.e.outbox.Close()
	defer close(w.e.ended)
	var buf []request
	timer := time.NewTimer(0)
	defer timer.Stop()
	pause := retryFirst
	for {
		items, open := w.e.inbox.take(buf)
		err := w.round(items, open)
		clear(items)
		buf = items
		switch {
		case err == nil:
			pause = retryFirst
			if open {
				w.rest(timer)
				continue
			}
			w.end(nil)
			return
		case !open:
			w.e.log.Error("the last results could not be stored; their steps will run again at the next start", "error", err)
			w.end(err)
			return
		}
		timer.Reset(pause)
		<-timer.C
		pause = min(2*pause, retryMost)
	}
}

// round carries requests out and commits. When the engine is being closed, no
// more steps are handed out: their results could not be taken.
func (w *writer) round(items []request, open bool) error {
	if w.stale {
		if err := w.load(w.ctx); err != nil {
			w.refuse(items, err)
			return err
		}
		w.begin()
		for _, r := range w.inOrder() {
			w.resume(r)
		}
		// A commit that seemed to fail may have ended tasks all the same.
		w.e.waits.settleExcept(func(task uuid.UUID) bool { return w.byUUID[task] != nil })
	} else {
		w.begin()
	}
	again := w.again
	w.again = nil
	for _, r := range again {
		w.carryOut(r)
	}
	for _, r := range items {
		w.carryOut(r)
	}
	w.fireTimers()
	w.evaluateAll()
	if open {
		w.serve()
		w.evaluateAll()
	}
	return w.commit()
}

// carryOut carries a request out. A refusal that may rest on what the batch has
// changed so far is not told before that is durable.
func (w *writer) carryOut(r request) {
	switch err := r.apply(w); {
	case err == nil:
		w.batch.requests = append(w.batch.requests, r)
	case w.batch.empty():
		r.reply(w, err)
	default:
		w.batch.refused = append(w.batch.refused, refusal{r, err})
	}
}

// rest waits until there is something to do.
func (w *writer) rest(timer *time.Timer) {
	wait := time.Hour
	if at, ok := w.timers.next(); ok {
		wait = min(max(at.Sub(w.e.clock.now()), 0), longestRest)
	}
	if w.e.health.Load() != nil {
		wait = min(wait, retryMost) // to see whether the file can be written again
	}
	timer.Reset(wait)
	select {
	case <-w.e.inbox.wake:
	case <-timer.C:
	}
}

// begin starts a batch. Time never goes back from one batch to the next.
func (w *writer) begin() { w.batch.at = w.e.clock.now() }

// commit makes the batch durable and lets the world know. After an error all
// that was in the batch is undone, and what must not be lost is kept for the
// next one.
func (w *writer) commit() error {
	b := &w.batch
	if b.empty() && w.e.health.Load() == nil {
		w.finish()
		return nil
	}
	began := time.Now()
	err := w.write()
	if err != nil {
		w.fail(fmt.Errorf("%w: %w", ErrUnavailable, err))
		return err
	}
	if w.e.o.CommitObserver != nil {
		w.e.o.CommitObserver(time.Since(began), len(b.changes))
	}
	if w.e.health.Swap(nil) != nil {
		w.e.log.Info("the file can be written again")
	}
	w.finish()
	return nil
}

// write is the transaction of a batch.
func (w *writer) write() error {
	if err := w.store.Begin(); err != nil {
		return err
	}
	if err := w.writeRows(); err != nil {
		w.store.Rollback()
		return err
	}
	return w.store.Commit()
}

func (w *writer) writeRows() error {
	b := &w.batch
	if w.e.health.Load() != nil {
		if err := w.store.Touch(); err != nil {
			return err
		}
	}
	for _, insert := range b.inserts {
		if err := insert(); err != nil {
			return err
		}
	}
	for _, r := range b.dirty {
		if err := w.writeRun(r); err != nil {
			return err
		}
	}
	for i := range b.attempts {
		if err := w.store.InsertFailedAttempt(&b.attempts[i]); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) writeRun(r *run) error {
	r.row.State = r.state.String()
	if r.saved == taskNew {
		if err := w.store.InsertTask(&r.row, r.context); err != nil {
			return err
		}
	} else if err := w.store.UpdateTask(&r.row, r.saved.String()); err != nil {
		return err
	}
	for _, i := range r.dirtySteps {
		s := &r.steps[i]
		s.row.State = s.state.String()
		var err error
		if s.saved == stepNew {
			err = w.store.InsertStep(&s.row)
		} else {
			err = w.store.UpdateStep(&s.row, s.saved.String(), s.newResults)
			if err == nil && s.newCheckpoint {
				err = w.store.UpdateCheckpoint(&s.row)
			}
			if err == nil && s.newParents {
				err = w.store.UpdateParents(&s.row)
			}
		}
		if err != nil {
			return err
		}
	}
	if len(r.history) == 0 {
		return nil
	}
	r.history = append(r.history, ']', ']')
	return w.store.InsertHistory(store.HistoryRow{ID: store.ID(r.row.ID, r.historyRows), At: w.batch.at, Changes: r.history})
}

// finish answers a batch that is durable, or had nothing to make durable, and
// empties it.
func (w *writer) finish() {
	b := &w.batch
	if len(b.changes) > 0 && w.e.watchers.any() {
		w.e.watchers.publish(b.changes)
	}
	if n := len(b.publications); n > 0 {
		w.e.outbox.Put(b.publications...)
		w.offered = rowOf(b.publications[n-1])
	}
	for _, r := range b.dirty {
		w.saved(r)
	}
	for _, r := range b.found {
		w.letGo(r)
	}
	w.count()
	// Last: who has an answer finds everything as it is after it.
	for _, g := range b.grants {
		g.to.granted <- grant{claims: g.claims}
	}
	for _, r := range b.requests {
		r.reply(w, nil)
	}
	for _, r := range b.refused {
		r.request.reply(w, r.reason)
	}
	for _, c := range b.revoked {
		c.revoke()
	}
	for _, f := range b.failures {
		f.Log(w.e.log)
	}
	w.clearBatch()
}

// saved notes that a run is in the file as it is, and lets go of it when
// nothing will happen to it any more.
func (w *writer) saved(r *run) {
	r.saved, r.context = r.state, nil
	for _, i := range r.dirtySteps {
		s := &r.steps[i]
		s.saved, s.dirty, s.newResults, s.newCheckpoint, s.newParents = s.state, false, false, false, false
	}
	r.dirtySteps = r.dirtySteps[:0]
	if len(r.history) > 0 {
		r.history = r.history[:0]
		r.historyRows++
	}
	r.dirty = false
	w.letGo(r)
}

// letGo forgets a run to which nothing will happen any more.
func (w *writer) letGo(r *run) {
	if r.settled() && w.runs[r.row.ID] == r {
		w.tally(r, -1)
		delete(w.runs, r.row.ID)
		delete(w.byUUID, r.row.UUID)
		w.e.waits.settle(r.row.UUID)
	}
}

// fail answers a batch that could not be made durable. Completions are kept:
// their results exist nowhere else.
func (w *writer) fail(err error) {
	b := &w.batch
	if w.e.health.Swap(&failedCommit{err}) == nil {
		w.e.log.Error("the file cannot be written; no tasks are accepted until it can", "error", err)
	}
	for _, g := range b.grants {
		for _, c := range g.claims {
			delete(w.handed, c.stepID)
		}
		g.to.granted <- grant{}
	}
	for _, r := range b.requests {
		if c, ok := r.(*completion); ok {
			if c.taken {
				w.handed[c.claim.stepID] = c.claim
				w.again = append(w.again, c)
			}
			continue
		}
		r.reply(w, err)
	}
	for _, r := range b.refused {
		r.request.reply(w, err)
	}
	w.stale = true
	w.doubt = b.doubt()
	w.clearBatch()
}

// refuse answers requests that cannot even be looked at.
func (w *writer) refuse(items []request, err error) {
	for _, r := range items {
		switch r := r.(type) {
		case *completion:
			w.again = append(w.again, r)
		case *claimant:
			w.claimants = append(w.claimants, r)
		default:
			r.reply(w, fmt.Errorf("%w: %w", ErrUnavailable, err))
		}
	}
}

func (w *writer) clearBatch() {
	b := &w.batch
	clear(b.requests)
	clear(b.dirty)
	clear(b.found)
	clear(b.changes)
	clear(b.identities)
	*b = batch{
		at: b.at, requests: b.requests[:0], dirty: b.dirty[:0], changes: b.changes[:0], evaluate: b.evaluate[:0], found: b.found[:0],
		identities: b.identities,
	}
}

// count publishes how much work there is.
func (w *writer) count() {
	var ready, parked int32
	for _, n := range w.named {
		if n.active {
			ready += n.enqueued
		} else {
			parked += n.enqueued
		}
	}
	s := &w.e.stats
	s.open.Store(int64(len(w.runs)))
	s.ready.Store(int64(ready))
	s.running.Store(int64(len(w.handed)))
	s.delayed.Store(int64(w.delayed))
	s.parked.Store(int64(parked))
}

// end answers whoever still waits and closes the file.
func (w *writer) end(err error) {
	for _, c := range w.claimants {
		if c.state.CompareAndSwap(claimantWaiting, claimantTaken) {
			c.granted <- grant{err: ErrClosed}
		}
	}
	w.e.watchers.close()
	w.e.waits.close()
	w.e.reads.Lock()
	defer w.e.reads.Unlock()
	w.e.fileClosed = true
	w.e.closed = errors.Join(err, w.store.Close())
}

// adopt takes a run into memory.
func (w *writer) adopt(r *run) {
	if w.runs[r.row.ID] == r {
		return
	}
	w.tally(r, 1)
	w.runs[r.row.ID] = r
	w.byUUID[r.row.UUID] = r
}

// tally counts the steps of a run that comes (1) or goes (-1).
func (w *writer) tally(r *run, sign int32) {
	r.named.enqueued += sign * r.counts[StepEnqueued]
	w.delayed += sign * r.counts[StepWaitingForRetry]
}

// inOrder returns the running tasks, oldest first.
func (w *writer) inOrder() []*run {
	all := make([]*run, 0, len(w.runs))
	for _, r := range w.runs {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b *run) int { return int(a.row.ID - b.row.ID) })
	return all
}

// touch lists a run for writing.
func (w *writer) touch(r *run) {
	if !r.dirty {
		r.dirty = true
		w.batch.dirty = append(w.batch.dirty, r)
	}
	r.row.UpdatedAt = w.batch.at
}

func (w *writer) touchStep(r *run, i int32) {
	w.touch(r)
	s := &r.steps[i]
	if !s.dirty {
		s.dirty = true
		r.dirtySteps = append(r.dirtySteps, i)
	}
	s.row.UpdatedAt = w.batch.at
}

// moveTask changes a task's state. An event that the state does not take is a
// mistake of the engine: nothing changes and it is logged.
func (w *writer) moveTask(r *run, event taskEvent, message string) {
	to, err := r.state.next(event)
	if err != nil {
		w.e.log.Error("task left as it is", "task_uuid", r.row.UUID, "error", err)
		return
	}
	w.setTask(r, to, message)
}

func (w *writer) setTask(r *run, to TaskState, message string) {
	w.touch(r)
	r.record(taskItself, r.state.String(), to.String())
	w.batch.changes = append(w.batch.changes, Change{
		TaskUUID: r.row.UUID, From: r.state.String(), To: to.String(), At: w.batch.at.Time(), Message: message,
	})
	r.state, r.row.StateSince = to, w.batch.at
	if to.Terminal() {
		r.row.CompletedAt = w.batch.at
	}
}

// moveStep changes a step's state with the effects on its row that
// engine-semantics §3.2 lists. It tells whether the state took the event.
func (w *writer) moveStep(r *run, i int32, event stepEvent, message string) bool {
	s := &r.steps[i]
	to, err := s.state.next(event)
	if err != nil {
		w.e.log.Error("step left as it is", "task_uuid", r.row.UUID, "step", s.name, "error", err)
		return false
	}
	if s.state == StepInProgress && event.takesAway() {
		if c := w.handed[s.row.ID]; c != nil {
			w.batch.revoked = append(w.batch.revoked, c)
		}
	}
	w.setStep(r, i, to, message)
	return true
}

func (w *writer) setStep(r *run, i int32, to StepState, message string) {
	w.touchStep(r, i)
	s := &r.steps[i]
	r.record(i, s.state.String(), to.String())
	w.tally(r, -1)
	if s.state != stepNew {
		r.counts[s.state]--
	}
	r.counts[to]++
	w.tally(r, 1)
	switch to {
	case StepInProgress:
		s.row.Attempts++
		s.row.LastAttemptedAt = w.batch.at
	case StepError:
		s.row.LastFailureAt = w.batch.at
	case StepComplete, StepCancelled, StepResolvedManually:
		s.row.ProcessedAt = w.batch.at
	}
	w.batch.changes = append(w.batch.changes, Change{
		TaskUUID: r.row.UUID, Step: s.name, From: s.state.String(), To: to.String(), At: w.batch.at.Time(),
		Attempts: int(s.row.Attempts), Message: message,
	})
	satisfied := s.state.Satisfies()
	s.state = to
	if to.Satisfies() && !satisfied {
		for _, c := range s.children {
			child := &r.steps[c]
			if child.missing--; child.missing == 0 && (child.state == StepPending || w.retriesNow(child)) {
				r.due = append(r.due, c)
			}
		}
	}
}
