package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/tasker-systems/taskerpy/engine/store"
)

const (
	// examineAtOnce is how many tasks are looked at for expiry in one read.
	examineAtOnce = 1000
	// expireFor bounds how long a batch spends deleting, so that retention is
	// hardly felt: what else is in the batch waits for it, and for the pages
	// that were changed all over the file to reach the disk.
	expireFor = 2 * time.Millisecond
	// expireRest is how much longer than a deletion took retention rests
	// after it: at most a fifth of the writer's time is spent on it.
	expireRest = 4
)

// pauseOfRetention is how long to wait between two looks for expired tasks.
func pauseOfRetention(keep time.Duration) time.Duration {
	return min(max(keep/20, time.Minute), time.Hour)
}

// expire deletes the tasks that were finished longer than Options.Keep ago.
// Tasks in blocked_by_failures are not finished, and those with a pending
// dead-letter entry are still looked into: both are kept.
func (e *Engine) expire(ctx context.Context) error {
	cutoff := store.At(time.Now().Add(-e.o.Keep))
	half, err := e.halfDeleted(ctx)
	if err != nil {
		return err
	}
	deleted := 0
	for after := int64(0); ; {
		if err := e.deleteTasks(ctx, half, cutoff); err != nil {
			return err
		}
		deleted += len(half)
		if half, after, err = e.expired(ctx, after, cutoff); err != nil {
			return err
		}
		if after == 0 {
			break
		}
	}
	if deleted > 0 {
		e.log.Info("deleted expired tasks", "tasks", deleted, "keep", e.o.Keep.String())
	}
	return nil
}

func (e *Engine) halfDeleted(ctx context.Context) (ids []int64, err error) {
	err = e.read(ctx, func(r *store.Reader) error {
		ids, err = r.HalfDeleted(ctx)
		return err
	})
	return ids, err
}

func (e *Engine) expired(ctx context.Context, after int64, cutoff store.Instant) (ids []int64, last int64, err error) {
	err = e.read(ctx, func(r *store.Reader) error {
		ids, last, err = r.ExpiredTasks(ctx, after, cutoff, examineAtOnce)
		return err
	})
	return ids, last, err
}

// deleteTasks deletes tasks in as many batches as it takes.
func (e *Engine) deleteTasks(ctx context.Context, ids []int64, cutoff store.Instant) error {
	for len(ids) > 0 {
		x := &expiry{ids: ids, cutoff: cutoff, done: make(chan error, 1)}
		if err := e.ask(ctx, x, x.done); err != nil {
			return fmt.Errorf("delete expired tasks: %w", err)
		}
		ids = x.ids
		rest := time.NewTimer(expireRest * x.took)
		select {
		case <-rest.C:
		case <-ctx.Done():
			rest.Stop()
			return ctx.Err()
		}
	}
	return nil
}

// An expiry deletes some tasks. ids are then those that are left.
type expiry struct {
	ids    []int64
	cutoff store.Instant
	took   time.Duration
	done   chan error
}

func (x *expiry) apply(w *writer) error {
	w.batch.inserts = append(w.batch.inserts, func() error {
		began := time.Now()
		ids := x.ids
		for len(ids) > 0 && time.Since(began) < expireFor {
			done, err := w.expireTask(ids[0], x.cutoff)
			if err != nil {
				return err
			}
			if done {
				ids = ids[1:]
			}
		}
		x.ids, x.took = ids, time.Since(began)
		return nil
	})
	return nil
}

func (x *expiry) reply(_ *writer, err error) { x.done <- err }

// expireTask deletes a task, or some of it: done tells that nothing is left to
// do. One that an operator takes up again in this batch is left alone; it is
// in memory.
func (w *writer) expireTask(id int64, cutoff store.Instant) (done bool, err error) {
	if w.runs[id] != nil {
		return true, nil
	}
	taken, err := w.store.ExpireTask(id, cutoff)
	if err != nil || !taken {
		return true, err
	}
	return w.store.DeleteExpired(id)
}
