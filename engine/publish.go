package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/engine/store"
	"github.com/tasker-systems/taskerpy/template"
)

// Publication and DomainEvent are what every source hands to publishers.
type (
	Publication = dispatch.Publication // its Handle is the id of its row
	DomainEvent = dispatch.DomainEvent
)

// rowOf returns the id of a publication's row, 0 for one without.
func rowOf(p Publication) int64 {
	id, _ := p.Handle.(int64)
	return id
}

// Publications waits for finished attempts whose events are to be published
// and returns them, oldest first. The error is ErrClosed or ctx.Err().
func (e *Engine) Publications(ctx context.Context) ([]Publication, error) {
	all, err := e.outbox.Take(ctx)
	if errors.Is(err, dispatch.ErrClosed) {
		return nil, ErrClosed
	}
	return all, err
}

// closed tells whether c is closed, without waiting.
func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Published stores the durable events of a publication, which is done with
// that.
func (e *Engine) Published(ctx context.Context, p Publication, durable []DomainEvent) error {
	d := &publicationDone{publication: p, durable: durable, done: make(chan error, 1)}
	if err := e.ask(ctx, d, d.done); err != nil {
		return fmt.Errorf("publish events of step %s: %w", p.StepUUID, err)
	}
	return nil
}

// Sync waits until what was handed in before, results of steps included, is
// durable, and the publications that follow from it can be had.
func (e *Engine) Sync(ctx context.Context) error {
	b := &barrier{done: make(chan error, 1)}
	if err := e.ask(ctx, b, b.done); err != nil {
		return fmt.Errorf("wait for the last results to be stored: %w", err)
	}
	return nil
}

// barrier is answered with the batch that it is part of.
type barrier struct{ done chan error }

func (b *barrier) apply(*writer) error { return nil }

func (b *barrier) reply(_ *writer, err error) { b.done <- err }

// publicationDone stores events.
type publicationDone struct {
	publication Publication
	durable     []DomainEvent
	done        chan error
}

func (d *publicationDone) apply(w *writer) error {
	now := w.batch.at
	w.batch.inserts = append(w.batch.inserts, func() error {
		for _, e := range d.durable {
			if n := len(e.JSON); n > w.e.maxRow() {
				w.e.log.Error("durable domain event dropped: it is too large to be stored", "event", e.Name, "event_id", e.Event, "bytes", n)
				continue
			}
			row := store.DomainEvent{EventID: e.Event, Name: e.Name, Event: e.JSON, PublishedAt: now}
			if err := w.store.InsertDomainEvent(&row); err != nil {
				return err
			}
		}
		return w.store.DeletePublication(rowOf(d.publication))
	})
	return nil
}

func (d *publicationDone) reply(w *writer, err error) {
	if err == nil && len(d.durable) > 0 {
		w.e.stored.signal()
	}
	d.done <- err
}

// signal wakes everybody who waits for it.
type signal struct {
	mu sync.Mutex
	ch chan struct{}
}

func (s *signal) signal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}

func (s *signal) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

// Subscribe makes a consumer of durable events known. A new one begins with
// the events that are published from now on, others go on where they were.
func (e *Engine) Subscribe(ctx context.Context, consumer string) error {
	var last int64
	var known bool
	err := e.read(ctx, func(r *store.Reader) (err error) {
		if _, known, err = r.Consumer(ctx, consumer); err != nil || known {
			return err
		}
		last, err = r.LastDomainEvent(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("subscribe %s: %w", consumer, err)
	}
	if !known {
		err = e.Consumed(ctx, consumer, last)
	}
	if err == nil {
		e.consumers.add(consumer)
	}
	return err
}

// Consume waits for durable events that the consumer has not handled yet and
// returns at most limit of them, in the order of their publication. The error
// is ErrClosed or ctx.Err().
func (e *Engine) Consume(ctx context.Context, consumer string, limit int) ([]DomainEvent, error) {
	for {
		published := e.stored.wait() // before the look, so that nothing is missed
		var rows []store.DomainEvent
		// What is there already is given even when ctx has ended, so that a
		// consumer can be drained.
		reading := context.WithoutCancel(ctx)
		err := e.read(reading, func(r *store.Reader) error {
			last, _, err := r.Consumer(reading, consumer)
			if err != nil {
				return err
			}
			rows, err = r.DomainEvents(reading, last, limit)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("consume events for %s: %w", consumer, err)
		}
		if len(rows) > 0 {
			events := make([]DomainEvent, len(rows))
			for i, row := range rows {
				events[i] = DomainEvent{ID: row.ID, Event: row.EventID, Name: row.Name, JSON: row.Event}
			}
			return events, nil
		}
		select {
		case <-published:
		case <-e.ended:
			return nil, ErrClosed
		case <-ctx.Done():
			if closed(published) {
				continue
			}
			return nil, ctx.Err()
		}
	}
}

// Consumed notes that a consumer has handled all events up to the one of this
// id.
func (e *Engine) Consumed(ctx context.Context, consumer string, last int64) error {
	c := &consumption{consumer: consumer, last: last, done: make(chan error, 1)}
	if err := e.ask(ctx, c, c.done); err != nil {
		return fmt.Errorf("note progress of consumer %s: %w", consumer, err)
	}
	return nil
}

type consumption struct {
	consumer string
	last     int64
	done     chan error
}

func (c *consumption) apply(w *writer) error {
	now := w.batch.at
	w.batch.inserts = append(w.batch.inserts, func() error {
		return w.store.SetConsumer(c.consumer, c.last, now)
	})
	return nil
}

func (c *consumption) reply(_ *writer, err error) { c.done <- err }

// publishes tells whether an attempt that ended like this has events to
// publish.
func publishes(conditions []template.EventCondition, success, retryable bool) bool {
	return slices.ContainsFunc(conditions, func(c template.EventCondition) bool { return c.Holds(success, retryable) })
}

// publish notes, in the batch that stores a step's result, that the events of
// the attempt are due.
func (w *writer) publish(r *run, i int32, c *claim, result []byte, success bool) {
	def := r.definition(&r.steps[i])
	if def == nil || len(def.events) == 0 {
		return
	}
	f := failure{}
	if !success {
		f, _ = readFailure(result, w.batch.at.Time())
	}
	if !publishes(def.events, success, f.retryable) {
		return
	}
	w.lastPublication++
	id := newUUID()
	row := store.Publication{ID: w.lastPublication, StepID: c.stepID, Attempt: c.attempt, Event: c.event(id), Result: result}
	if n := len(row.Event) + len(row.Result); n > w.e.maxRow() {
		w.e.log.Error("domain events of a step are not published: what the step was given is too large to be stored once more",
			"task_uuid", c.taskUUID, "step", c.name, "bytes", n)
		return
	}
	w.batch.inserts = append(w.batch.inserts, func() error { return w.store.InsertPublication(&row) })
	w.batch.publications = append(w.batch.publications, Publication{
		Handle: row.ID, StepUUID: c.stepUUID, Attempt: int(c.attempt), ID: id, Event: row.Event, Result: row.Result,
	})
}

// loadPublications takes up what the last process did not publish, and what a
// commit stored that seemed to fail.
func (w *writer) loadPublications(ctx context.Context) error {
	var rows []store.Publication
	err := w.store.ReadOwn(func(r *store.Reader) (err error) {
		rows, err = r.Publications(ctx)
		return err
	})
	if err != nil {
		return err
	}
	var all []Publication
	for _, row := range rows {
		if row.ID <= w.offered {
			continue
		}
		w.lastPublication, w.offered = max(w.lastPublication, row.ID), row.ID
		event := object(row.Event)
		all = append(all, Publication{
			Handle: row.ID, StepUUID: uuid.FromStringOrNil(text(event["step_uuid"])), Attempt: int(row.Attempt),
			ID: uuid.FromStringOrNil(text(event["event_id"])), Event: row.Event, Result: row.Result,
		})
	}
	w.e.outbox.Put(all...)
	return nil
}
