package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tasker-systems/taskerpy/engine/store"
)

const (
	// keepEvents is how long durable domain events stay in the file when every
	// consumer has handled them, or none is known.
	keepEvents = 7 * 24 * time.Hour
	// keepUnhandled is how long they stay at most. A consumer that was not
	// there for as long holds nothing back any more.
	keepUnhandled = 30 * 24 * time.Hour

	pauseOfEvents    = time.Hour
	eventsAtOnce     = 500
	restBetweenEvent = 20 * time.Millisecond
)

// consumers are the names that this process subscribed.
type consumers struct {
	mu    sync.Mutex
	names []string
}

func (c *consumers) add(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.names, name) {
		c.names = append(c.names, name)
	}
}

func (c *consumers) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.names)
}

// expireEvents deletes durable domain events that were kept long enough.
func (e *Engine) expireEvents(ctx context.Context) error {
	for {
		var oldest store.Instant
		err := e.read(ctx, func(r *store.Reader) (err error) {
			oldest, err = r.OldestDomainEvent(ctx)
			return err
		})
		now := store.At(time.Now())
		if err != nil || oldest.IsZero() || oldest >= now.Add(-keepEvents) {
			return err
		}
		x := &eventExpiry{present: e.consumers.all(), now: now, done: make(chan error, 1)}
		if err := e.ask(ctx, x, x.done); err != nil {
			return fmt.Errorf("delete old domain events: %w", err)
		}
		if len(x.behind) > 0 {
			e.log.Warn("durable domain events were deleted that their subscribers never handled", "subscribers", x.behind, "kept", keepUnhandled.String())
		}
		if x.deleted < eventsAtOnce {
			return nil
		}
		rest := time.NewTimer(restBetweenEvent)
		select {
		case <-rest.C:
		case <-ctx.Done():
			rest.Stop()
			return ctx.Err()
		}
	}
}

// An eventExpiry deletes some events.
type eventExpiry struct {
	present []string // consumers of this process
	now     store.Instant
	deleted int64
	behind  []string // consumers that missed some
	done    chan error
}

func (x *eventExpiry) apply(w *writer) error {
	w.batch.inserts = append(w.batch.inserts, func() (err error) {
		for _, name := range x.present {
			if err := w.store.SetConsumer(name, 0, x.now); err != nil {
				return err
			}
		}
		cut := store.EventCut{Handled: x.now.Add(-keepEvents), Any: x.now.Add(-keepUnhandled), Seen: x.now.Add(-keepUnhandled), Limit: eventsAtOnce}
		x.deleted, x.behind, err = w.store.DeleteOldEvents(w.ctx, cut)
		return err
	})
	return nil
}

func (x *eventExpiry) reply(_ *writer, err error) { x.done <- err }
