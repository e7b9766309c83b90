package store

import (
	"context"
	"database/sql/driver"
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

// EventCut says which domain events are old.
type EventCut struct {
	// Handled are deleted when they are from before it and every consumer has
	// passed them; Any whether or not.
	Handled, Any Instant
	// Seen is since when a consumer must have been there to count.
	Seen  Instant
	Limit int // how many events are looked at, oldest first
}

// DeleteOldEvents deletes old events within a transaction, and tells how many
// and which consumers that count had not passed them.
func (s *Store) DeleteOldEvents(ctx context.Context, c EventCut) (deleted int64, behind []string, err error) {
	const old = `SELECT id FROM (SELECT id, published_at FROM domain_events ORDER BY id LIMIT ?) WHERE published_at < ?
		OR published_at < ? AND id <= coalesce((SELECT min(last_id) FROM event_consumers WHERE updated_at >= ?), 9223372036854775807)`
	args := []driver.Value{int64(c.Limit), int64(c.Any), int64(c.Handled), int64(c.Seen)}
	late, err := s.w.prepare(`SELECT name FROM event_consumers WHERE updated_at >= ? AND last_id < (SELECT max(id) FROM (` + old + `)) ORDER BY name`)
	if err == nil {
		err = late.query(ctx, func(r row) error { behind = append(behind, r.text(0)); return nil }, append([]driver.Value{int64(c.Seen)}, args...)...)
	}
	if err != nil {
		return 0, nil, fmt.Errorf("look for old domain events: %w", err)
	}
	st, err := s.w.prepare(`DELETE FROM domain_events WHERE id IN (` + old + `)`)
	if err == nil {
		deleted, err = st.exec(args...)
	}
	if err != nil {
		return 0, nil, fmt.Errorf("delete old domain events: %w", err)
	}
	return deleted, behind, nil
}

// OldestDomainEvent returns when the oldest domain event was published, zero
// without any.
func (r *Reader) OldestDomainEvent(ctx context.Context) (at Instant, err error) {
	err = r.query(ctx, `SELECT published_at FROM domain_events ORDER BY id LIMIT 1`, func(c row) error { at = c.instant(0); return nil })
	if err != nil {
		return 0, fmt.Errorf("read oldest domain event: %w", err)
	}
	return at, nil
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
