package dispatch

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// phase is where a step with a timeout stands.
type phase uint8

const (
	inTime  phase = iota
	expired       // its handler was interrupted
	givenUp       // its handler did not come back: the step is failed, the lane stuck
)

// deadline bounds one execution of a step, by its timeout or because its source
// revokes it. The lane cannot begin its next step while an interrupt is on its
// way, because end waits for it.
type deadline struct {
	mu    sync.Mutex
	phase phase
	over  bool        // the handler came back
	timer *time.Timer // nil for a step without a timeout
}

// limit starts the clock, if any, of a step that a lane is about to enter.
func (d *Dispatcher) limit(l *lane, it item, started time.Time) *deadline {
	x := &deadline{}
	if it.step.Timeout <= 0 {
		return x
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.timer = time.AfterFunc(it.step.Timeout, func() { d.expire(l, it, started, x) })
	return x
}

// end stops the clock and tells how far things went.
func (x *deadline) end() phase {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.over = true
	if x.timer != nil {
		x.timer.Stop()
	}
	return x.phase
}

// expire interrupts a handler that is past its time.
func (d *Dispatcher) expire(l *lane, it item, started time.Time, x *deadline) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.over {
		return
	}
	x.phase = expired
	d.mu.Lock()
	d.timeouts++
	d.mu.Unlock()
	d.interrupt(l, it)
	x.timer = time.AfterFunc(yieldTime, func() { d.insist(l, it, started, x) })
}

// insist interrupts a handler once more.
func (d *Dispatcher) insist(l *lane, it item, started time.Time, x *deadline) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.over {
		return
	}
	d.interrupt(l, it)
	x.timer = time.AfterFunc(yieldTime, func() { d.giveUp(l, it, started, x) })
}

// revoke asks a handler to end whose result nobody wants. It may ignore that.
// The caller does not wait for it: an interrupt may have to wait for the GIL.
func (d *Dispatcher) revoke(l *lane, it item, x *deadline) {
	time.AfterFunc(0, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		if !x.over {
			d.interrupt(l, it)
		}
	})
}

func (d *Dispatcher) interrupt(l *lane, it item) {
	ctx, cancel := context.WithTimeout(context.Background(), yieldTime)
	defer cancel()
	if err := l.executor.Interrupt(ctx); err != nil {
		d.Log.Warn("interrupt handler", "step", it.step.Name, "task_uuid", it.step.TaskUUID, "error", err)
	}
}

// giveUp fails the step of a handler that does not come back, and replaces its
// lane.
func (d *Dispatcher) giveUp(l *lane, it item, started time.Time, x *deadline) {
	x.mu.Lock()
	if x.over {
		x.mu.Unlock()
		return
	}
	x.phase = givenUp
	x.mu.Unlock()

	d.mu.Lock()
	d.lanes = slices.DeleteFunc(d.lanes, func(other *lane) bool { return other == l })
	d.stuck++
	exhausted := d.stuck > d.MaxStuck && !d.exhausted
	d.exhausted = d.exhausted || exhausted
	if d.queue.len() > 0 {
		d.wakeOne()
	}
	d.mu.Unlock()
	d.Log.Error("handler ignores its timeout; its lane is stuck and replaced",
		"step", it.step.Name, "task_uuid", it.step.TaskUUID, "lane", l.n, "timeout", it.step.Timeout.String())
	took := time.Since(started)
	d.finish(it, started, took, RetryableFailure, d.timedOut(it.step, took))
	d.wg.Done()
	if exhausted {
		d.Exhausted()
	}
}

// comeBack notes that a lane which was given up has left its handler after
// all. What the handler returned is dropped.
func (d *Dispatcher) comeBack(l *lane, it item, took time.Duration) {
	d.mu.Lock()
	d.stuck--
	d.mu.Unlock()
	d.Log.Warn("stuck handler came back; its result is dropped",
		"step", it.step.Name, "task_uuid", it.step.TaskUUID, "lane", l.n, "took", took.String())
}

// timedOut is the result of a step that was ended by its timeout
// (engine-semantics §4.8).
func (d *Dispatcher) timedOut(step *Step, took time.Duration) []byte {
	return FailureResult(Failure{
		Step: step, Message: fmt.Sprintf("FFI handler timed out after %dms", step.Timeout.Milliseconds()),
		ErrorType: "timeout", Retryable: true, Took: took, WorkerID: d.WorkerID,
	})
}
