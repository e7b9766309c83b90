package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/engine/store"
)

// load reads everything the writer keeps in memory from the file: at the
// start, and when a batch could not be committed. Templates that this process
// registered stay registered.
func (w *writer) load(ctx context.Context) error {
	w.named, w.byKey = map[int64]*namedTask{}, map[templateKey]*namedTask{}
	w.namedSteps = map[string]store.NamedStep{}
	w.runs, w.byUUID = map[int64]*run{}, map[uuid.UUID]*run{}
	w.ready, w.timers, w.delayed = readyQueue{}, timers{}, 0
	w.stale = true
	err := w.store.ReadOwn(func(r *store.Reader) error {
		if err := w.loadTemplates(ctx, r); err != nil {
			return err
		}
		var err error
		if w.lastTask, err = r.LastTaskID(ctx); err != nil {
			return err
		}
		tasks, err := r.OpenTasks(ctx, TaskBlockedByFailures.String(), busyStates)
		if err != nil {
			return err
		}
		for i := range tasks {
			if _, err := w.loadRun(ctx, r, &tasks[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = w.loadPublications(ctx)
	}
	if err == nil {
		err = w.resolveDoubt(ctx)
	}
	w.stale = err != nil
	return err
}

func (w *writer) loadTemplates(ctx context.Context, r *store.Reader) error {
	rows, err := r.NamedTasks(ctx)
	if err != nil {
		return err
	}
	known := *w.e.catalog.Load()
	for _, row := range rows {
		n := &namedTask{row: row}
		w.lastNamedTask = max(w.lastNamedTask, row.ID)
		if reg, ok := known[n.key()]; ok {
			n.def, n.active = reg.def, true
		} else if t, err := parseConfiguration(&row); err != nil {
			w.e.log.Warn("stored template cannot be read; its tasks wait until it is registered again", "error", err)
		} else {
			n.def = define(t, w.e.o.DefaultTimeout)
		}
		w.named[row.ID], w.byKey[n.key()] = n, n
	}
	names, err := r.NamedSteps(ctx)
	if err != nil {
		return err
	}
	for _, n := range names {
		w.namedSteps[n.Name] = n
		w.lastNamedID = max(w.lastNamedID, n.ID)
	}
	return nil
}

// loadRun takes a task of the file into memory.
func (w *writer) loadRun(ctx context.Context, reader *store.Reader, t *store.FullTask) (*run, error) {
	state, ok := ParseTaskState(t.State)
	if !ok {
		return nil, fmt.Errorf("task %s is in unknown state %q", t.UUID, t.State)
	}
	steps, err := reader.FullSteps(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	r := &run{
		row: t.Task, state: state, saved: state, named: w.named[t.NamedTask],
		key: templateKey{t.Namespace, t.Name, t.Version}, head: eventHead(t), steps: make([]step, len(steps)),
	}
	if r.historyRows, err = reader.HistoryLength(ctx, t.ID); err != nil {
		return nil, err
	}
	for i := range steps {
		s := &steps[i]
		at, ok := ParseStepState(s.State)
		if !ok {
			return nil, fmt.Errorf("step %s of task %s is in unknown state %q", s.Name, t.UUID, s.State)
		}
		r.steps[i] = step{row: s.Step, state: at, saved: at, name: s.Name, quoted: quote(s.Name), namedUUID: s.NamedStepUUID}
		r.counts[at]++
	}
	if err := r.link(); err != nil {
		return nil, err
	}
	w.adopt(r)
	return r, nil
}

// find returns a task that is not finished, from memory or, when it rests,
// from the file. What then turns out to be at rest is let go of after the
// batch. The error is ErrNotFound or ErrUnavailable.
func (w *writer) find(task uuid.UUID) (*run, error) {
	if r := w.byUUID[task]; r != nil {
		return r, nil
	}
	var found *run
	err := w.store.ReadOwn(func(reader *store.Reader) error {
		t, ok, err := reader.Task(w.ctx, task)
		if err != nil || !ok {
			return err
		}
		found, err = w.loadRun(w.ctx, reader, &t)
		return err
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	case found == nil:
		return nil, fmt.Errorf("task %s: %w", task, ErrNotFound)
	}
	w.batch.found = append(w.batch.found, found)
	if !found.state.Terminal() {
		w.resume(found)
	}
	return found, nil
}

// resume puts a task that was read from the file where it was: its steps in
// line, its delays on the timer.
func (w *writer) resume(r *run) {
	for i := range r.steps {
		w.resumeStep(r, int32(i))
	}
	if len(r.due) > 0 {
		w.mark(r)
	}
}

func (w *writer) resumeStep(r *run, i int32) {
	s := &r.steps[i]
	switch s.state {
	case StepPending:
		if s.missing == 0 {
			r.addDue(i)
		}
	case StepEnqueued:
		w.offer(r, i)
	case StepInProgress:
		if c := w.handed[s.row.ID]; c == nil || !c.of(s) {
			delete(w.handed, s.row.ID)
			w.offer(r, i) // claimed by a commit that seemed to fail: nobody has it
		}
	case StepWaitingForRetry:
		if s.row.BackoffSeconds >= 0 { // the delay may have begun under a clock that was set back since
			s.row.NextRetryAt = min(s.row.NextRetryAt, w.batch.at.Add(time.Duration(s.row.BackoffSeconds)*time.Second))
		}
		w.waitForRetry(r, i)
	}
}

// workerLost is the error type of an attempt whose process ended. Its retry
// is not delayed: the failure says nothing about the step.
const workerLost = "worker_lost"

// recover takes up a task after the process that ran it has gone: whoever had
// its steps will bring no result (engine-semantics §4.8).
func (w *writer) recover(r *run) {
	lost := false
	for i := range r.steps {
		if r.steps[i].state.claimed() {
			lost = true
		} else {
			w.resumeStep(r, int32(i))
		}
	}
	if w.recoverSteps(r); lost || len(r.due) > 0 {
		w.mark(r)
	}
}

// recoverFailed takes up the steps that were running when the process ended
// and whose task had been put to error before. Nothing follows from them until
// an operator brings the task back.
func (w *writer) recoverFailed(ctx context.Context) error {
	return w.store.ReadOwn(func(reader *store.Reader) error {
		tasks, err := reader.FailedTasks(ctx, claimedStates)
		if err != nil {
			return err
		}
		for i := range tasks {
			r, err := w.loadRun(ctx, reader, &tasks[i])
			if err != nil {
				return err
			}
			w.recoverSteps(r)
		}
		return nil
	})
}

// recoverSteps ends the attempts of a task's steps that nobody runs any more.
func (w *writer) recoverSteps(r *run) {
	var lost []int32 // a result may add steps
	for i := range r.steps {
		if r.steps[i].state.claimed() {
			lost = append(lost, int32(i))
		}
	}
	for _, i := range lost {
		s := &r.steps[i]
		switch s.state {
		case StepInProgress:
			w.loseAttempt(r, i, workerLost, "the process that ran this step ended before the step did", true)
		case StepEnqueuedForOrchestration:
			w.settleSuccess(r, i)
		default:
			w.settleFailure(r, i)
		}
	}
}
