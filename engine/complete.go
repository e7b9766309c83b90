package engine

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/engine/store"
)

// A completion brings the result of one execution of a step.
type completion struct {
	claim  *claim
	result dispatch.Result
	// taken is set once the writer took the step back from whoever ran it.
	taken bool
}

// apply carries a result out (engine-semantics §4.2). A result that nobody
// waits for any more is dropped: the task was cancelled, or the result came
// before.
func (c *completion) apply(w *writer) error {
	r, i := w.runs[store.TaskOf(c.claim.stepID)], c.claim.position
	if c.taken = w.handed[c.claim.stepID] == c.claim; c.taken {
		delete(w.handed, c.claim.stepID)
		if r == nil {
			r = w.late(c)
		}
	}
	if !c.taken || r == nil || !c.claim.of(&r.steps[i]) {
		w.e.log.Debug("result dropped: nobody waits for it any more", "step", c.claim.name, "task_uuid", c.claim.taskUUID)
		return nil
	}
	if len(c.result.JSON) > w.e.o.MaxResult && c.result.Outcome != dispatch.CheckpointYield {
		w.refuseResult(r, i, c)
		return nil
	}
	switch c.result.Outcome {
	case dispatch.Success, dispatch.SuccessDirective:
		w.succeed(r, i, c.result)
		s := &r.steps[i] // it may have moved, and its outcome may have failed it
		w.publish(r, i, c.claim, s.row.Results, s.state != StepError)
	case dispatch.CheckpointYield:
		w.checkpoint(r, i, c.result)
	case dispatch.Unstarted:
		w.takeBack(r, i, c.claim)
	default:
		w.failAttempt(r, i, c.result.JSON, c.result.Duration)
		w.publish(r, i, c.claim, c.result.JSON, false)
	}
	return nil
}

func (c *completion) reply(*writer, error) {} // nobody waits

// refuseResult fails a step for good whose result cannot be stored: the next
// attempt would have one as large.
func (w *writer) refuseResult(r *run, i int32, c *completion) {
	s := &r.steps[i]
	result := failureResult(s.row.UUID, resultTooLarge, fmt.Sprintf(
		"the result has %d bytes, at most %d can be stored; keep large data elsewhere and return where it is", len(c.result.JSON), w.e.o.MaxResult),
		false, w.e.o.WorkerID, w.batch.at.Time())
	w.failAttempt(r, i, result, c.result.Duration)
	w.publish(r, i, c.claim, result, false)
}

const resultTooLarge = "result_too_large"

// takeBack undoes a claim whose handler was never entered.
func (w *writer) takeBack(r *run, i int32, c *claim) {
	if c.again && r.state.Terminal() {
		w.endYielded(r, i)
		return
	}
	if !c.again {
		s := &r.steps[i]
		s.row.Attempts, s.row.LastAttemptedAt = c.before.attempts, c.before.lastAttemptedAt
		w.setStep(r, i, StepEnqueued, "not started")
	}
	if !r.state.Terminal() {
		w.offer(r, i)
	}
}

func (w *writer) succeed(r *run, i int32, result dispatch.Result) {
	s := &r.steps[i]
	s.row.Results, s.newResults, s.row.Duration = result.JSON, true, result.Duration
	s.row.BackoffSeconds, s.row.NextRetryAt = -1, 0
	w.moveStep(r, i, stepEnqueueForOrchestration, "")
	w.settleSuccess(r, i)
	w.mark(r)
}

// settleSuccess finishes a step whose result is stored, and adds the steps
// that it asks for. A decision or batchable step whose outcome cannot be
// followed fails for good.
func (w *writer) settleSuccess(r *run, i int32) {
	s := &r.steps[i]
	planned, err := w.expandStep(r, i, s.row.Results)
	if err != nil {
		s.row.Results, s.newResults = w.expansionFailure(r, i, s.row.Results, err), true
		w.keepAttempt(s)
		w.moveStep(r, i, stepFail, err.Error())
		w.tellFailure(r, s, false)
		return
	}
	w.moveStep(r, i, stepCompleted, "")
	w.grow(r, planned)
}

// failAttempt stores the result of a failed attempt and decides whether there
// will be another.
func (w *writer) failAttempt(r *run, i int32, result []byte, took time.Duration) {
	s := &r.steps[i]
	s.row.Results, s.newResults, s.row.Duration = result, true, took
	w.keepAttempt(s)
	w.moveStep(r, i, stepEnqueueAsErrorForOrchestration, "")
	w.settleFailure(r, i)
	w.mark(r)
}

// keepAttempt keeps the result of a failed attempt, which the next one will
// overwrite.
func (w *writer) keepAttempt(s *step) {
	w.batch.attempts = append(w.batch.attempts, store.FailedAttempt{
		StepID: s.row.ID, Attempt: s.row.Attempts, RecordedAt: w.batch.at, Duration: s.row.Duration,
		WorkerID: w.e.o.WorkerID, Results: s.row.Results,
	})
}

// settleFailure decides what follows from the stored result of a failed
// attempt.
func (w *writer) settleFailure(r *run, i int32) {
	s := &r.steps[i]
	f, readable := readFailure(s.row.Results, w.batch.at.Time())
	event, message := judge(f, readable, s.row.Retryable, s.row.Attempts, s.row.MaxAttempts)
	if !w.moveStep(r, i, event, message) {
		return
	}
	w.tellFailure(r, s, event == stepWaitForRetry)
	if event == stepWaitForRetry {
		w.delay(r, i, f)
	}
}

// tellFailure has a failed attempt logged once it is durable: until then it may
// have to be stored again.
func (w *writer) tellFailure(r *run, s *step, retried bool) {
	if id := w.e.o.Shown; !id.IsNil() && r.row.CorrelationID == id {
		return
	}
	w.batch.failures = append(w.batch.failures, dispatch.FailedAttempt{
		Step: s.name, TaskUUID: r.row.UUID, CorrelationID: r.row.CorrelationID, Attempt: int(s.row.Attempts),
		Retried: retried, Result: s.row.Results,
	})
}

// loseAttempt fails an attempt of which nobody will ever bring a result.
func (w *writer) loseAttempt(r *run, i int32, errorType, message string, retryable bool) {
	s := &r.steps[i]
	w.failAttempt(r, i, failureResult(s.row.UUID, errorType, message, retryable, w.e.o.WorkerID, w.batch.at.Time()), 0)
}

// maxCheckpoints is how many earlier checkpoints a step remembers.
const maxCheckpoints = 100

// storedCheckpoint is a step's checkpoint as its row keeps it
// (engine-semantics §5.5).
type storedCheckpoint struct {
	StepUUID       string          `json:"step_uuid"`
	Cursor         json.RawMessage `json:"cursor"`
	ItemsProcessed json.RawMessage `json:"items_processed"`
	Timestamp      time.Time       `json:"timestamp"`
	Accumulated    json.RawMessage `json:"accumulated_results,omitempty"`
	History        []cursorAt      `json:"history"`
}

type cursorAt struct {
	Cursor    json.RawMessage `json:"cursor"`
	Timestamp time.Time       `json:"timestamp"`
}

// checkpoint stores how far a step has come and hands the step out again: it
// stays in progress and its attempt goes on, unless its task has ended.
func (w *writer) checkpoint(r *run, i int32, result dispatch.Result) {
	s := &r.steps[i]
	data, err := nextCheckpoint(s.row.Checkpoint, result.JSON, s.row.UUID.String(), w.batch.at.Time())
	if err == nil && len(data) > w.e.o.MaxResult {
		err = fmt.Errorf("the checkpoint has %d bytes with its history, at most %d can be stored; keep large data elsewhere", len(data), w.e.o.MaxResult)
	}
	if err != nil {
		w.loseAttempt(r, i, "checkpoint_error", err.Error(), true)
		return
	}
	w.touchStep(r, i)
	s.row.Checkpoint, s.newCheckpoint, s.row.Duration = data, true, result.Duration
	if r.state.Terminal() {
		w.endYielded(r, i)
		return
	}
	w.offer(r, i)
}

// taskEnded is the error type of an attempt that yielded a checkpoint and
// could not go on. Its retry, should an operator bring the task back, is not
// delayed: the failure says nothing about the step.
const taskEnded = "task_ended"

// endYielded fails the attempt of a step that yielded a checkpoint and that
// nobody has, because its task was put to error: it must not look as if it ran.
func (w *writer) endYielded(r *run, i int32) {
	s := &r.steps[i]
	result := failureResult(s.row.UUID, taskEnded, "the task was put to error before this step could go on",
		true, w.e.o.WorkerID, w.batch.at.Time())
	w.failAttempt(r, i, result, s.row.Duration)
}

func nextCheckpoint(before, yielded []byte, step string, now time.Time) ([]byte, error) {
	var next, last storedCheckpoint
	if err := json.Unmarshal(yielded, &next); err != nil {
		return nil, fmt.Errorf("read checkpoint: %w", err)
	}
	if len(before) > 0 {
		if err := json.Unmarshal(before, &last); err != nil {
			return nil, fmt.Errorf("read the step's last checkpoint: %w", err)
		}
	}
	if next.Cursor == nil {
		next.Cursor = json.RawMessage("null")
	}
	if next.ItemsProcessed == nil {
		next.ItemsProcessed = json.RawMessage("0")
	}
	next.StepUUID, next.Timestamp = step, now
	next.History = append(last.History, cursorAt{next.Cursor, now})
	if n := len(next.History) - maxCheckpoints; n > 0 {
		next.History = next.History[n:]
	}
	return json.Marshal(next)
}

// apply puts a claimant in line, in place of those who gave up.
func (c *claimant) apply(w *writer) error {
	w.claimants = slices.DeleteFunc(w.claimants, func(c *claimant) bool { return c.state.Load() == claimantGone })
	w.claimants = append(w.claimants, c)
	return nil
}

func (c *claimant) reply(*writer, error) {} // serve answers

// serve gives enqueued steps to those who wait for some.
func (w *writer) serve() {
	var next []readyEntry
	for len(w.claimants) > 0 {
		c := w.claimants[0]
		if next = w.choose(next, c.limit); len(next) == 0 {
			return
		}
		w.claimants[0] = nil
		w.claimants = w.claimants[1:]
		if !c.state.CompareAndSwap(claimantWaiting, claimantTaken) {
			continue // it gave up; the next one gets what was chosen
		}
		n := min(len(next), c.limit)
		g := pendingGrant{to: c, claims: make([]*claim, 0, n)}
		for _, e := range next[:n] {
			if !w.inLine(e) {
				continue // it stood there twice
			}
			if claimed := w.startStep(e.run, e.position); claimed != nil {
				g.claims = append(g.claims, claimed)
			}
		}
		next = next[n:]
		w.batch.grants = append(w.batch.grants, g)
	}
	for _, e := range next {
		w.ready.push(e.run, e.position, w.batch.at)
	}
}

// choose takes enqueued steps out of line until there are limit of them.
func (w *writer) choose(chosen []readyEntry, limit int) []readyEntry {
	for len(chosen) < limit {
		e, ok := w.ready.pop(w.batch.at)
		if !ok {
			break
		}
		if w.inLine(e) {
			chosen = append(chosen, e)
		}
	}
	return chosen
}

// inLine tells whether the step of an entry is still to be handed out.
func (w *writer) inLine(e readyEntry) bool {
	if w.runs[e.run.row.ID] != e.run || e.run.state.Terminal() {
		return false
	}
	s := &e.run.steps[e.position]
	return s.state == StepEnqueued || w.yielded(s)
}

// yielded tells whether a step is in progress and nobody has it: it is to be
// handed out again.
func (w *writer) yielded(s *step) bool {
	return s.state == StepInProgress && w.handed[s.row.ID] == nil
}

// startStep claims a step; nil if its template has no such step any more.
func (w *writer) startStep(r *run, i int32) *claim {
	s := &r.steps[i]
	def := r.definition(s)
	if def == nil {
		if s.state == StepEnqueued {
			w.moveStep(r, i, stepStart, "")
		}
		w.loseAttempt(r, i, "step_definition_missing",
			fmt.Sprintf("template %s has no step %q any more; restore it and reset the step", r.key, s.name), false)
		return nil
	}
	before := snapshot{
		retryable: s.row.Retryable, maxAttempts: s.row.MaxAttempts, attempts: s.row.Attempts, backoffSeconds: s.row.BackoffSeconds,
		lastAttemptedAt: s.row.LastAttemptedAt, createdAt: s.row.CreatedAt, updatedAt: s.row.UpdatedAt,
		inputs: s.row.Inputs, results: s.row.Results, checkpoint: s.row.Checkpoint,
	}
	again := s.state == StepInProgress
	if again {
		before.attempts-- // what it was before this attempt began
	} else {
		w.moveStep(r, i, stepStart, "")
	}
	template := s.quoted
	if s.row.TemplateStep != "" {
		template = quote(s.row.TemplateStep)
	}
	c := &claim{
		stepID: s.row.ID, position: i, attempt: s.row.Attempts, again: again, began: s.row.LastAttemptedAt,
		taskUUID: r.row.UUID, stepUUID: s.row.UUID, correlationID: r.row.CorrelationID,
		key: r.key, name: s.name, timeout: def.timeout,
		head: r.head, quoted: s.quoted, template: template, namedUUID: s.namedUUID, before: before, stepTemplate: def.json,
	}
	r.ancestors(i, func(a *step) {
		if a.state == StepComplete && len(a.row.Results) > 0 {
			c.ancestors = append(c.ancestors, ancestor{a.quoted, a.row.Results})
		}
	})
	w.handed[s.row.ID] = c
	return c
}
