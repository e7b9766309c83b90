package store

import (
	"context"
	"fmt"

	"github.com/gofrs/uuid/v5"
)

// Publication is a row of publications.
type Publication struct {
	ID      int64
	StepID  int64
	Attempt int32
	Event   []byte // JSON
	Result  []byte // JSON
}

// DomainEvent is a row of domain_events.
type DomainEvent struct {
	ID          int64 // given by the file
	EventID     uuid.UUID
	Name        string
	Event       []byte // JSON
	PublishedAt Instant
}

// InsertPublication notes that the events of a step's attempt are to be
// published.
func (s *Store) InsertPublication(p *Publication) error {
	st, err := s.w.prepare(`INSERT INTO publications (id, step_id, attempt, event, result) VALUES (?, ?, ?, ?, ?)`)
	if err == nil {
		_, err = st.exec(p.ID, p.StepID, int64(p.Attempt), textOf(p.Event), textOf(p.Result))
	}
	if err != nil {
		return fmt.Errorf("insert publication %d: %w", p.ID, err)
	}
	return nil
}

// DeletePublication notes that it is done.
func (s *Store) DeletePublication(id int64) error {
	st, err := s.w.prepare(`DELETE FROM publications WHERE id = ?`)
	if err == nil {
		_, err = st.exec(id)
	}
	if err != nil {
		return fmt.Errorf("delete publication %d: %w", id, err)
	}
	return nil
}

// InsertDomainEvent adds an event; one whose event id is there already is
// left as it is.
func (s *Store) InsertDomainEvent(e *DomainEvent) error {
	st, err := s.w.prepare(`INSERT INTO domain_events (event_id, name, event, published_at) VALUES (?, ?, ?, ?) ON CONFLICT (event_id) DO NOTHING`)
	if err == nil {
		_, err = st.exec(e.EventID[:], e.Name, textOf(e.Event), int64(e.PublishedAt))
	}
	if err != nil {
		return fmt.Errorf("insert domain event %s: %w", e.EventID, err)
	}
	return nil
}

// SetConsumer notes how far a consumer of domain events has come.
func (s *Store) SetConsumer(name string, lastID int64, now Instant) error {
	st, err := s.w.prepare(`INSERT INTO event_consumers (name, last_id, updated_at) VALUES (?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET last_id = max(last_id, excluded.last_id), updated_at = excluded.updated_at`)
	if err == nil {
		_, err = st.exec(name, lastID, int64(now))
	}
	if err != nil {
		return fmt.Errorf("note progress of consumer %s: %w", name, err)
	}
	return nil
}

// DeleteConsumedEvents deletes events from before an instant that every
// consumer has passed.
func (s *Store) DeleteConsumedEvents(before Instant) error {
	st, err := s.w.prepare(`DELETE FROM domain_events WHERE published_at < ?
		AND id <= coalesce((SELECT min(last_id) FROM event_consumers), (SELECT max(id) FROM domain_events))`)
	if err == nil {
		_, err = st.exec(int64(before))
	}
	if err != nil {
		return fmt.Errorf("delete old domain events: %w", err)
	}
	return nil
}

// Publications returns what is still to be published, oldest first.
func (r *Reader) Publications(ctx context.Context) ([]Publication, error) {
	var all []Publication
	err := r.query(ctx, `SELECT id, step_id, attempt, event, result FROM publications ORDER BY id`, func(c row) error {
		all = append(all, Publication{c.int(0), c.int(1), int32(c.int(2)), c.json(3), c.json(4)})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read publications: %w", err)
	}
	return all, nil
}

// Consumer returns how far a consumer has come; ok is false for a new one.
func (r *Reader) Consumer(ctx context.Context, name string) (lastID int64, ok bool, err error) {
	err = r.query(ctx, `SELECT last_id FROM event_consumers WHERE name = ?`, func(c row) error {
		lastID, ok = c.int(0), true
		return nil
	}, name)
	if err != nil {
		return 0, false, fmt.Errorf("read consumer %s: %w", name, err)
	}
	return lastID, ok, nil
}

// LastDomainEvent returns the highest id of a domain event, 0 without any.
func (r *Reader) LastDomainEvent(ctx context.Context) (id int64, err error) {
	err = r.query(ctx, `SELECT max(id) FROM domain_events`, func(c row) error { id = c.int(0); return nil })
	if err != nil {
		return 0, fmt.Errorf("read last domain event: %w", err)
	}
	return id, nil
}

// DomainEvents returns at most limit events after an id, in order.
func (r *Reader) DomainEvents(ctx context.Context, after int64, limit int) ([]DomainEvent, error) {
	var all []DomainEvent
	err := r.query(ctx, `SELECT id, event_id, name, event, published_at FROM domain_events WHERE id > ? ORDER BY id LIMIT ?`,
		func(c row) error {
			all = append(all, DomainEvent{c.int(0), c.uuid(1), c.text(2), c.json(3), c.instant(4)})
			return nil
		}, after, int64(limit))
	if err != nil {
		return nil, fmt.Errorf("read domain events: %w", err)
	}
	return all, nil
}
