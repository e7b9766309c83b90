package engine

import (
	"context"
	"fmt"
	"sync"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/engine/store"
)

// Wait returns the task once it is in a terminal state, or in
// blocked_by_failures with none of its steps enqueued or running any more.
// The error is ErrNotFound, ErrClosed or ctx.Err().
func (e *Engine) Wait(ctx context.Context, task uuid.UUID) (Task, error) {
	// Registered before the file is read, so that nothing can happen in
	// between unseen.
	w, ok := e.waits.add(task)
	if !ok {
		return Task{}, fmt.Errorf("wait for task %s: %w", task, ErrClosed)
	}
	defer e.waits.remove(task, w)
	settled, err := e.settled(ctx, task)
	if err != nil {
		return Task{}, fmt.Errorf("wait for task %s: %w", task, err)
	}
	if settled {
		return e.Task(ctx, task)
	}
	select {
	case <-w.done:
	case <-ctx.Done():
		return Task{}, ctx.Err()
	}
	if w.closed {
		return Task{}, fmt.Errorf("wait for task %s: %w", task, ErrClosed)
	}
	return e.Task(ctx, task)
}

// Settled returns the task and whether Wait would return it at once.
func (e *Engine) Settled(ctx context.Context, task uuid.UUID) (t Task, settled bool, err error) {
	if settled, err = e.settled(ctx, task); err == nil {
		t, err = e.Task(ctx, task)
	}
	return t, settled, err
}

// settled tells whether nothing will happen to a task by itself any more.
func (e *Engine) settled(ctx context.Context, task uuid.UUID) (settled bool, err error) {
	err = e.read(ctx, func(r *store.Reader) error {
		id, name, ok, err := r.TaskState(ctx, task)
		if err != nil {
			return err
		}
		if !ok {
			return ErrNotFound
		}
		state, _ := ParseTaskState(name)
		if settled = state.Terminal(); settled || state != TaskBlockedByFailures {
			return nil
		}
		steps, err := r.Steps(ctx, id)
		if err != nil {
			return err
		}
		v, err := viewSteps(steps, 0)
		settled = err == nil && v.count(StepState.busy) == 0
		return err
	})
	return settled, err
}

// waits are the calls of Wait, by task.
type waits struct {
	mu     sync.Mutex
	byTask map[uuid.UUID][]*wait
	closed bool
}

type wait struct {
	done   chan struct{}
	closed bool // set before done is closed
}

func (ws *waits) add(task uuid.UUID) (*wait, bool) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.closed {
		return nil, false
	}
	if ws.byTask == nil {
		ws.byTask = map[uuid.UUID][]*wait{}
	}
	w := &wait{done: make(chan struct{})}
	ws.byTask[task] = append(ws.byTask[task], w)
	return w, true
}

func (ws *waits) remove(task uuid.UUID, w *wait) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	left := ws.byTask[task]
	for i := range left {
		if left[i] == w {
			left = append(left[:i:i], left[i+1:]...)
			break
		}
	}
	if len(left) == 0 {
		delete(ws.byTask, task)
	} else {
		ws.byTask[task] = left
	}
}

// settle ends the waits for a task.
func (ws *waits) settle(task uuid.UUID) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, w := range ws.byTask[task] {
		close(w.done)
	}
	delete(ws.byTask, task)
}

// settleExcept ends the waits for all tasks but those that open tells to go on.
func (ws *waits) settleExcept(open func(task uuid.UUID) bool) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for task, all := range ws.byTask {
		if open(task) {
			continue
		}
		for _, w := range all {
			close(w.done)
		}
		delete(ws.byTask, task)
	}
}

func (ws *waits) close() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.closed = true
	for _, all := range ws.byTask {
		for _, w := range all {
			w.closed = true
			close(w.done)
		}
	}
	ws.byTask = nil
}
