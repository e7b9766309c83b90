package engine

import (
	"math"
	"time"
)

// create brings a new task to life: all of engine-semantics §2.2 from the
// first transitions on, and the first enqueue pass.
func (w *writer) create(r *run) {
	w.setTask(r, TaskPending, "")
	for i := range r.steps {
		w.setStep(r, int32(i), StepPending, "")
		if r.steps[i].missing == 0 {
			r.due = append(r.due, int32(i))
		}
	}
	w.moveTask(r, taskStart, "")
	if len(r.due) == 0 {
		w.moveTask(r, taskNoStepsFound, "")
		return
	}
	w.enqueueDue(r)
}

// mark lists a run for evaluation at the end of the batch.
func (w *writer) mark(r *run) {
	if !r.toEvaluate {
		r.toEvaluate = true
		w.batch.evaluate = append(w.batch.evaluate, r)
	}
}

func (w *writer) evaluateAll() {
	for i := 0; i < len(w.batch.evaluate); i++ { // evaluating may mark again
		r := w.batch.evaluate[i]
		r.toEvaluate = false
		w.evaluate(r)
	}
	clear(w.batch.evaluate)
	w.batch.evaluate = w.batch.evaluate[:0]
}

// evaluate decides what comes next for a task after results, timers or an
// operator changed its steps (engine-semantics §4.5, §4.7).
func (w *writer) evaluate(r *run) {
	switch r.state {
	case TaskStepsInProcess:
		w.moveTask(r, taskStepCompleted, "")
	case TaskEvaluatingResults:
	case TaskWaitingForDependencies:
		if w.dropDue(r); len(r.due) == 0 && !r.allComplete() && r.counts[StepError] == 0 {
			return
		}
		w.moveTask(r, taskDependenciesReady, "")
	default:
		return // finished, or blocked: late results change nothing
	}
	w.dropDue(r)
	switch {
	case r.counts[StepError] > 0:
		w.moveTask(r, taskPermanentFailure, r.firstError())
	case len(r.due) > 0:
		w.enqueueDue(r)
	case r.busy() > 0:
	case r.allComplete():
		w.moveTask(r, taskAllStepsSuccessful, "")
	default:
		w.moveTask(r, taskNoDependenciesReady, "")
	}
}

// allComplete tells whether every step satisfies its dependents.
func (r *run) allComplete() bool {
	return int(r.counts[StepComplete]+r.counts[StepResolvedManually]) == len(r.steps)
}

// firstError says which step blocks the task.
func (r *run) firstError() string {
	for i := range r.steps {
		if s := &r.steps[i]; s.state == StepError {
			f, _ := readFailure(s.row.Results, time.Time{})
			if f.message == "" {
				return "step " + s.name + " failed"
			}
			return "step " + s.name + " failed: " + f.message
		}
	}
	return ""
}

// dropDue removes from the due steps those that cannot be enqueued any more,
// and those that are listed twice.
func (w *writer) dropDue(r *run) {
	r.visit++
	kept := r.due[:0]
	for _, i := range r.due {
		s := &r.steps[i]
		if s.visit != r.visit && s.missing == 0 && (s.state == StepPending || w.retriesNow(s)) {
			s.visit = r.visit
			kept = append(kept, i)
		}
	}
	r.due = kept
}

// retriesNow tells whether a step waits for its next attempt no longer.
func (w *writer) retriesNow(s *step) bool {
	return s.state == StepWaitingForRetry && s.row.NextRetryAt <= w.batch.at
}

// enqueueDue hands out every due step (engine-semantics §4.6).
func (w *writer) enqueueDue(r *run) {
	w.moveTask(r, taskReadyStepsFound, "")
	for _, i := range r.due {
		if r.steps[i].state == StepWaitingForRetry {
			w.moveStep(r, i, stepRetry, "")
		}
		w.moveStep(r, i, stepEnqueue, "")
	}
	due := r.due
	r.due = nil
	w.moveTask(r, taskStepsEnqueued, "")
	for _, i := range due {
		w.offer(r, i)
	}
	r.due = due[:0]
}

// offer puts an enqueued step in line for a worker, once its template is known.
func (w *writer) offer(r *run, i int32) {
	if !r.named.active {
		r.named.parked = append(r.named.parked, parkedStep{r, i})
		return
	}
	w.ready.push(r, i, w.batch.at)
}

// delay lets a step in waiting_for_retry wait for its next attempt
// (engine-semantics §4.4).
func (w *writer) delay(r *run, i int32, f failure) {
	s := &r.steps[i]
	var d time.Duration
	switch def := r.definition(s); {
	case f.errorType == workerLost, f.errorType == taskEnded, w.e.o.ImmediateRetries && !f.header:
	case f.isRequested:
		d = f.requested
	case def != nil:
		d = def.backoff.Delay(int(s.row.Attempts))
		if def.backoff.Jittered() && !w.e.o.NoJitter {
			d = jitter(d, w.rand)
		}
	}
	s.row.BackoffSeconds = int32(math.Ceil(d.Seconds()))
	s.row.NextRetryAt = w.batch.at.Add(d)
	w.waitForRetry(r, i)
}

// waitForRetry sets the timer of a step in waiting_for_retry.
func (w *writer) waitForRetry(r *run, i int32) {
	s := &r.steps[i]
	if s.row.NextRetryAt <= w.batch.at {
		r.due = append(r.due, i)
		w.mark(r)
		return
	}
	w.timers.push(s.row.NextRetryAt, r, i)
}

// fireTimers makes the steps due whose backoff is over.
func (w *writer) fireTimers() {
	for {
		t, ok := w.timers.pop(w.batch.at)
		if !ok {
			return
		}
		s := &t.run.steps[t.position]
		if w.runs[t.run.row.ID] != t.run || s.state != StepWaitingForRetry || s.row.NextRetryAt != t.at {
			continue
		}
		t.run.due = append(t.run.due, t.position)
		w.mark(t.run)
	}
}

// cancelSteps cancels every step that is not finished.
func (w *writer) cancelSteps(r *run) {
	for i := range r.steps {
		if !r.steps[i].state.Terminal() {
			w.moveStep(r, int32(i), stepCancel, "")
		}
	}
}
