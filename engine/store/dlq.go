package store

import (
	"context"
	"database/sql/driver"
	"fmt"

	"github.com/gofrs/uuid/v5"
)

// DLQEntry is a row of tasks_dlq with its task's uuid.
type DLQEntry struct {
	UUID             uuid.UUID
	TaskID           int64
	TaskUUID         uuid.UUID // only read
	OriginalState    string
	Reason           string
	ResolutionStatus string
	ResolutionAt     Instant
	ResolutionNotes  *string
	ResolvedBy       *string
	TaskSnapshot     []byte
	Metadata         []byte // nil is NULL
	CreatedAt        Instant
	UpdatedAt        Instant
}

// InsertDLQEntry adds a pending entry, unless its task has one already.
func (s *Store) InsertDLQEntry(d *DLQEntry) error {
	st, err := s.w.prepare(`INSERT OR IGNORE INTO tasks_dlq (uuid, task_id, original_state, dlq_reason, task_snapshot, metadata, created_at, updated_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`)
	if err == nil {
		_, err = st.exec(d.UUID[:], d.TaskID, d.OriginalState, d.Reason, textOf(d.TaskSnapshot), textOf(d.Metadata), int64(d.CreatedAt), int64(d.UpdatedAt))
	}
	if err != nil {
		return fmt.Errorf("insert dead-letter entry of task %d: %w", d.TaskID, err)
	}
	return nil
}

// DLQChange is what to change of an entry: what is empty or nil stays as it
// is. A status sets the time of the resolution to At.
type DLQChange struct {
	Status    string
	Notes, By *string
	Metadata  []byte
	At        Instant
}

// UpdateDLQEntry changes an entry. A change that would give its task a second
// pending entry is not made.
func (s *Store) UpdateDLQEntry(id uuid.UUID, c DLQChange) error {
	st, err := s.w.prepare(`UPDATE OR IGNORE tasks_dlq SET resolution_status = coalesce(?1, resolution_status),
		resolution_timestamp = CASE WHEN ?1 IS NULL THEN resolution_timestamp ELSE ?2 END,
		resolution_notes = coalesce(?3, resolution_notes), resolved_by = coalesce(?4, resolved_by), metadata = coalesce(?5, metadata),
		updated_at = ?2 WHERE uuid = ?6`)
	if err == nil {
		_, err = st.exec(nonEmpty(c.Status), int64(c.At), pointed(c.Notes), pointed(c.By), textOf(c.Metadata), id[:])
	}
	if err != nil {
		return fmt.Errorf("update dead-letter entry %s: %w", id, err)
	}
	return nil
}

func pointed(s *string) driver.Value {
	if s == nil {
		return nil
	}
	return *s
}

const dlqColumns = `d.uuid, d.task_id, t.uuid, d.original_state, d.dlq_reason, d.resolution_status, d.resolution_timestamp, d.resolution_notes,
	d.resolved_by, d.task_snapshot, d.metadata, d.created_at, d.updated_at
	FROM tasks_dlq d JOIN tasks t ON t.id = d.task_id`

func scanDLQEntry(c row) DLQEntry {
	d := DLQEntry{
		UUID: c.uuid(0), TaskID: c.int(1), TaskUUID: c.uuid(2), OriginalState: c.text(3), Reason: c.text(4), ResolutionStatus: c.text(5),
		ResolutionAt: c.instant(6), TaskSnapshot: c.json(9), Metadata: c.json(10), CreatedAt: c.instant(11), UpdatedAt: c.instant(12),
	}
	for i, field := range map[int]**string{7: &d.ResolutionNotes, 8: &d.ResolvedBy} {
		if c[i] != nil {
			text := c.text(i)
			*field = &text
		}
	}
	return d
}

// DLQEntries returns a page of the entries with this resolution status, of
// all when it is empty, newest first.
func (r *Reader) DLQEntries(ctx context.Context, status string, limit, offset int) ([]DLQEntry, error) {
	var all []DLQEntry
	err := r.query(ctx, `SELECT `+dlqColumns+` WHERE ? = '' OR d.resolution_status = ? ORDER BY d.id DESC LIMIT ? OFFSET ?`,
		func(c row) error { all = append(all, scanDLQEntry(c)); return nil }, status, status, int64(limit), int64(offset))
	if err != nil {
		return nil, fmt.Errorf("list dead-letter entries: %w", err)
	}
	return all, nil
}

// DLQEntry returns the entry with this uuid; ok is false when there is none.
func (r *Reader) DLQEntry(ctx context.Context, id uuid.UUID) (d DLQEntry, ok bool, err error) {
	return r.dlqEntry(ctx, ` WHERE d.uuid = ?`, id[:])
}

// LastDLQEntry returns a task's newest entry; ok is false when it has none.
func (r *Reader) LastDLQEntry(ctx context.Context, task uuid.UUID) (d DLQEntry, ok bool, err error) {
	return r.dlqEntry(ctx, ` WHERE t.uuid = ? ORDER BY d.id DESC LIMIT 1`, task[:])
}

// PendingDLQEntry returns a task's pending entry; ok is false when it has
// none.
func (r *Reader) PendingDLQEntry(ctx context.Context, task int64) (d DLQEntry, ok bool, err error) {
	return r.dlqEntry(ctx, ` WHERE d.task_id = ? AND d.resolution_status = 'pending'`, task)
}

func (r *Reader) dlqEntry(ctx context.Context, condition string, arg driver.Value) (d DLQEntry, ok bool, err error) {
	err = r.query(ctx, `SELECT `+dlqColumns+condition, func(c row) error {
		d, ok = scanDLQEntry(c), true
		return nil
	}, arg)
	if err != nil {
		return DLQEntry{}, false, fmt.Errorf("read dead-letter entry: %w", err)
	}
	return d, ok, nil
}

// DLQStats counts the entries of one reason.
type DLQStats struct {
	Reason                                                         string
	Total, Pending, ManuallyResolved, PermanentlyFailed, Cancelled int
	Oldest, Newest                                                 Instant
	// ResolutionSum is the time that Resolved entries took together.
	ResolutionSum int64 // microseconds
	Resolved      int
}

// DLQStats counts the entries of each reason that has some.
func (r *Reader) DLQStats(ctx context.Context) ([]DLQStats, error) {
	var all []DLQStats
	err := r.query(ctx, `SELECT dlq_reason, count(*), sum(resolution_status = 'pending'), sum(resolution_status = 'manually_resolved'),
		sum(resolution_status = 'permanently_failed'), sum(resolution_status = 'cancelled'), min(created_at), max(created_at),
		coalesce(sum(resolution_timestamp - created_at) FILTER (WHERE resolution_status <> 'pending'), 0),
		count(resolution_timestamp) FILTER (WHERE resolution_status <> 'pending')
		FROM tasks_dlq GROUP BY dlq_reason ORDER BY dlq_reason`,
		func(c row) error {
			all = append(all, DLQStats{
				Reason: c.text(0), Total: int(c.int(1)), Pending: int(c.int(2)), ManuallyResolved: int(c.int(3)), PermanentlyFailed: int(c.int(4)),
				Cancelled: int(c.int(5)), Oldest: c.instant(6), Newest: c.instant(7), ResolutionSum: c.int(8), Resolved: int(c.int(9)),
			})
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("count dead-letter entries: %w", err)
	}
	return all, nil
}

// Investigation is a pending entry with where its task stands.
type Investigation struct {
	DLQEntry
	Namespace, TaskName, State string
	StateSince                 Instant
}

// Investigations returns all pending entries, oldest first.
func (r *Reader) Investigations(ctx context.Context) ([]Investigation, error) {
	var all []Investigation
	err := r.query(ctx, `SELECT d.uuid, t.uuid, d.original_state, d.dlq_reason, d.created_at, ns.name, nt.name, t.state, t.state_since
		FROM tasks_dlq d JOIN tasks t ON t.id = d.task_id JOIN named_tasks nt ON nt.id = t.named_task_id
		JOIN task_namespaces ns ON ns.id = nt.namespace_id
		WHERE d.resolution_status = 'pending' ORDER BY d.id`,
		func(c row) error {
			all = append(all, Investigation{
				DLQEntry:  DLQEntry{UUID: c.uuid(0), TaskUUID: c.uuid(1), OriginalState: c.text(2), Reason: c.text(3), CreatedAt: c.instant(4)},
				Namespace: c.text(5), TaskName: c.text(6), State: c.text(7), StateSince: c.instant(8),
			})
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("read pending dead-letter entries: %w", err)
	}
	return all, nil
}

// OpenTask is what of a task that is not finished tells how long it has been
// where it is.
type OpenTask struct {
	UUID                  uuid.UUID
	NamedTask             int64
	State                 string
	StateSince, CreatedAt Instant
	Priority              int32
}

// TasksInStates calls f with each task that is not finished and in one of the
// states.
func (r *Reader) TasksInStates(ctx context.Context, states []string, f func(OpenTask)) error {
	args := make([]driver.Value, len(states))
	for i, s := range states {
		args[i] = s
	}
	err := r.query(ctx, `SELECT uuid, named_task_id, state, state_since, created_at, priority FROM tasks
		WHERE completed_at IS NULL AND state IN (`+placeholders(len(states))+`)`,
		func(c row) error {
			f(OpenTask{c.uuid(0), c.int(1), c.text(2), c.instant(3), c.instant(4), int32(c.int(5))})
			return nil
		}, args...)
	if err != nil {
		return fmt.Errorf("read open tasks: %w", err)
	}
	return nil
}
