package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/engine/store"
)

// DLQReason is why a task was given to investigation (engine-semantics §7.5).
// Its text is the stored spelling, as in staleness_timeout; on the wire it is
// StalenessTimeout. Both are read.
type DLQReason string

// The reasons. Only the first is ever given by the engine itself.
const (
	DLQStalenessTimeout        DLQReason = "staleness_timeout"
	DLQMaxRetriesExceeded      DLQReason = "max_retries_exceeded"
	DLQDependencyCycleDetected DLQReason = "dependency_cycle_detected"
	DLQWorkerUnavailable       DLQReason = "worker_unavailable"
	DLQManual                  DLQReason = "manual_dlq"
)

var dlqReasons = []DLQReason{DLQStalenessTimeout, DLQMaxRetriesExceeded, DLQDependencyCycleDetected, DLQWorkerUnavailable, DLQManual}

// DLQStatus is how far the investigation of a dead-letter entry is. Spelled
// as DLQReason.
type DLQStatus string

// The statuses.
const (
	DLQPending           DLQStatus = "pending"
	DLQManuallyResolved  DLQStatus = "manually_resolved"
	DLQPermanentlyFailed DLQStatus = "permanently_failed"
	DLQCancelled         DLQStatus = "cancelled"
)

var dlqStatuses = []DLQStatus{DLQPending, DLQManuallyResolved, DLQPermanentlyFailed, DLQCancelled}

// ParseDLQStatus reads a status in either spelling. The error is ErrInvalid.
func ParseDLQStatus(text string) (DLQStatus, error) {
	return parseWord("resolution_status", dlqStatuses, text)
}

// Wire is the spelling of the wire.
func (s DLQStatus) Wire() string { return pascal(string(s)) }

// MarshalJSON writes the spelling of the wire.
func (r DLQReason) MarshalJSON() ([]byte, error) { return json.Marshal(pascal(string(r))) }

// UnmarshalJSON reads either spelling.
func (r *DLQReason) UnmarshalJSON(data []byte) error {
	return unmarshalWord(data, "dlq_reason", dlqReasons, r)
}

// MarshalJSON writes the spelling of the wire.
func (s DLQStatus) MarshalJSON() ([]byte, error) { return json.Marshal(s.Wire()) }

// UnmarshalJSON reads either spelling.
func (s *DLQStatus) UnmarshalJSON(data []byte) error {
	return unmarshalWord(data, "resolution_status", dlqStatuses, s)
}

func unmarshalWord[W ~string](data []byte, what string, words []W, into *W) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("%s must be a string: %w", what, err)
	}
	word, err := parseWord(what, words, text)
	if err == nil {
		*into = word
	}
	return err
}

func parseWord[W ~string](what string, words []W, text string) (W, error) {
	spelled := make([]string, len(words))
	for i, w := range words {
		if text == string(w) || text == pascal(string(w)) {
			return w, nil
		}
		spelled[i] = pascal(string(w))
	}
	return "", fmt.Errorf("%w: %s %q is none of %s", ErrInvalid, what, text, strings.Join(spelled, ", "))
}

// pascal writes snake_case as PascalCase.
func pascal(snake string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(snake, "_") {
		if word != "" {
			b.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return b.String()
}

// DLQEntry is the record of an investigation into a task. It never changes the
// task (engine-semantics §7.5).
type DLQEntry struct {
	DLQEntryUUID        uuid.UUID       `json:"dlq_entry_uuid"`
	TaskUUID            uuid.UUID       `json:"task_uuid"`
	OriginalState       string          `json:"original_state"` // of the task when the entry was made
	DLQReason           DLQReason       `json:"dlq_reason"`
	DLQTimestamp        NaiveTime       `json:"dlq_timestamp"`
	ResolutionStatus    DLQStatus       `json:"resolution_status"`
	ResolutionTimestamp *NaiveTime      `json:"resolution_timestamp"`
	ResolutionNotes     *string         `json:"resolution_notes"`
	ResolvedBy          *string         `json:"resolved_by"`
	TaskSnapshot        json.RawMessage `json:"task_snapshot"`
	Metadata            json.RawMessage `json:"metadata"`
	CreatedAt           NaiveTime       `json:"created_at"`
	UpdatedAt           NaiveTime       `json:"updated_at"`
}

// DLQFilter selects dead-letter entries, newest first. An empty Status means
// all; Limit must be at least 1.
type DLQFilter struct {
	Status        DLQStatus
	Limit, Offset int
}

// DLQ lists dead-letter entries.
func (e *Engine) DLQ(ctx context.Context, f DLQFilter) ([]DLQEntry, error) {
	all := []DLQEntry{}
	err := e.read(ctx, func(r *store.Reader) error {
		rows, err := r.DLQEntries(ctx, string(f.Status), f.Limit, f.Offset)
		for i := range rows {
			all = append(all, viewDLQ(&rows[i]))
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list dead-letter entries: %w", err)
	}
	return all, nil
}

// DLQOfTask returns the newest dead-letter entry of a task. The error is
// ErrNotFound when it has none.
func (e *Engine) DLQOfTask(ctx context.Context, task uuid.UUID) (DLQEntry, error) {
	var entry DLQEntry
	err := e.read(ctx, func(r *store.Reader) error {
		row, ok, err := r.LastDLQEntry(ctx, task)
		if err == nil && !ok {
			err = ErrNotFound
		}
		entry = viewDLQ(&row)
		return err
	})
	if err != nil {
		return DLQEntry{}, fmt.Errorf("dead-letter entry of task %s: %w", task, err)
	}
	return entry, nil
}

func viewDLQ(d *store.DLQEntry) DLQEntry {
	return DLQEntry{
		DLQEntryUUID: d.UUID, TaskUUID: d.TaskUUID, OriginalState: d.OriginalState, DLQReason: DLQReason(d.Reason),
		DLQTimestamp: NaiveTime{d.CreatedAt.Time()}, ResolutionStatus: DLQStatus(d.ResolutionStatus),
		ResolutionTimestamp: naiveOf(d.ResolutionAt), ResolutionNotes: d.ResolutionNotes, ResolvedBy: d.ResolvedBy,
		TaskSnapshot: d.TaskSnapshot, Metadata: d.Metadata, CreatedAt: NaiveTime{d.CreatedAt.Time()}, UpdatedAt: NaiveTime{d.UpdatedAt.Time()},
	}
}

// DLQUpdate says what to change of a dead-letter entry: what is nil stays as
// it is. A status sets the time of the resolution.
type DLQUpdate struct {
	ResolutionStatus *DLQStatus      `json:"resolution_status,omitempty"`
	ResolutionNotes  *string         `json:"resolution_notes,omitempty"`
	ResolvedBy       *string         `json:"resolved_by,omitempty"`
	Metadata         json.RawMessage `json:"metadata,omitempty"`
}

// UpdateDLQ changes a dead-letter entry. The error is ErrNotFound, or
// ErrInvalidState for an entry that would become the second pending one of its
// task.
func (e *Engine) UpdateDLQ(ctx context.Context, entry uuid.UUID, u DLQUpdate) error {
	r := &dlqUpdate{entry: entry, DLQUpdate: u, done: make(chan error, 1)}
	if err := e.ask(ctx, r, r.done); err != nil {
		return fmt.Errorf("update dead-letter entry %s: %w", entry, err)
	}
	return nil
}

type dlqUpdate struct {
	DLQUpdate
	entry uuid.UUID
	done  chan error
}

func (u *dlqUpdate) apply(w *writer) error {
	var row, pending store.DLQEntry
	var found, blocked bool
	err := w.store.ReadOwn(func(r *store.Reader) (err error) {
		if row, found, err = r.DLQEntry(w.ctx, u.entry); err == nil && found {
			pending, blocked, err = r.PendingDLQEntry(w.ctx, row.TaskID)
		}
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case !found:
		return ErrNotFound
	case u.ResolutionStatus != nil && *u.ResolutionStatus == DLQPending && blocked && pending.UUID != u.entry:
		return fmt.Errorf("%w: entry %s of the same task is pending already", ErrInvalidState, pending.UUID)
	}
	change := store.DLQChange{Notes: u.ResolutionNotes, By: u.ResolvedBy, Metadata: u.Metadata, At: w.batch.at}
	if u.ResolutionStatus != nil {
		change.Status = string(*u.ResolutionStatus)
	}
	w.batch.inserts = append(w.batch.inserts, func() error { return w.store.UpdateDLQEntry(u.entry, change) })
	return nil
}

func (u *dlqUpdate) reply(_ *writer, err error) { u.done <- err }

// DLQStats counts the dead-letter entries of one reason.
type DLQStats struct {
	DLQReason                DLQReason  `json:"dlq_reason"`
	TotalEntries             int        `json:"total_entries"`
	Pending                  int        `json:"pending"`
	ManuallyResolved         int        `json:"manually_resolved"`
	PermanentFailures        int        `json:"permanent_failures"`
	Cancelled                int        `json:"cancelled"`
	OldestEntry              *NaiveTime `json:"oldest_entry"`
	NewestEntry              *NaiveTime `json:"newest_entry"`
	AvgResolutionTimeMinutes *float64   `json:"avg_resolution_time_minutes"` // nil when none is resolved
}

// DLQStats counts the entries of each reason that has some.
func (e *Engine) DLQStats(ctx context.Context) ([]DLQStats, error) {
	all := []DLQStats{}
	err := e.read(ctx, func(r *store.Reader) error {
		rows, err := r.DLQStats(ctx)
		for _, row := range rows {
			s := DLQStats{
				DLQReason: DLQReason(row.Reason), TotalEntries: row.Total, Pending: row.Pending, ManuallyResolved: row.ManuallyResolved,
				PermanentFailures: row.PermanentlyFailed, Cancelled: row.Cancelled, OldestEntry: naiveOf(row.Oldest), NewestEntry: naiveOf(row.Newest),
			}
			if row.Resolved > 0 {
				average := float64(row.ResolutionSum) / float64(row.Resolved) / float64(time.Minute/time.Microsecond)
				s.AvgResolutionTimeMinutes = &average
			}
			all = append(all, s)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("count dead-letter entries: %w", err)
	}
	return all, nil
}

// Investigation is a pending dead-letter entry in the order in which they
// should be looked into (engine-semantics §7.5).
type Investigation struct {
	DLQEntryUUID       uuid.UUID `json:"dlq_entry_uuid"`
	TaskUUID           uuid.UUID `json:"task_uuid"`
	OriginalState      string    `json:"original_state"`
	DLQReason          DLQReason `json:"dlq_reason"`
	DLQTimestamp       NaiveTime `json:"dlq_timestamp"`
	MinutesInDLQ       int64     `json:"minutes_in_dlq"`
	NamespaceName      string    `json:"namespace_name"`
	TaskName           string    `json:"task_name"`
	CurrentState       string    `json:"current_state"`
	TimeInStateMinutes int64     `json:"time_in_state_minutes"`
	PriorityScore      float64   `json:"priority_score"`
}

// UnmarshalJSON reads whole minutes, as they are written here, and fractions, as
// tasker-server writes them.
func (i *Investigation) UnmarshalJSON(data []byte) error {
	type rest Investigation
	read := struct {
		*rest
		MinutesInDLQ       float64 `json:"minutes_in_dlq"`
		TimeInStateMinutes float64 `json:"time_in_state_minutes"`
	}{rest: (*rest)(i)}
	if err := json.Unmarshal(data, &read); err != nil {
		return err
	}
	i.MinutesInDLQ, i.TimeInStateMinutes = int64(read.MinutesInDLQ), int64(read.TimeInStateMinutes)
	return nil
}

// Investigations returns up to limit pending entries, the most urgent first:
// by the weight of the reason plus the minutes since the entry was made.
func (e *Engine) Investigations(ctx context.Context, limit int) ([]Investigation, error) {
	all := []Investigation{}
	now := e.clock.now()
	err := e.read(ctx, func(r *store.Reader) error {
		rows, err := r.Investigations(ctx)
		for i := range rows {
			row := &rows[i]
			minutes := now.Sub(row.CreatedAt).Minutes()
			all = append(all, Investigation{
				DLQEntryUUID: row.UUID, TaskUUID: row.TaskUUID, OriginalState: row.OriginalState, DLQReason: DLQReason(row.Reason),
				DLQTimestamp: NaiveTime{row.CreatedAt.Time()}, MinutesInDLQ: int64(minutes), NamespaceName: row.Namespace, TaskName: row.TaskName,
				CurrentState: row.State, TimeInStateMinutes: minutesBetween(row.StateSince, now),
				PriorityScore: DLQReason(row.Reason).weight() + minutes,
			})
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list investigations: %w", err)
	}
	slices.SortStableFunc(all, func(a, b Investigation) int { return cmp.Compare(b.PriorityScore, a.PriorityScore) })
	return all[:min(len(all), limit)], nil
}

// weight is what a reason counts in the order of investigations.
func (r DLQReason) weight() float64 {
	switch r {
	case DLQDependencyCycleDetected:
		return 1000
	case DLQMaxRetriesExceeded:
		return 500
	case DLQStalenessTimeout:
		return 100
	case DLQWorkerUnavailable:
		return 50
	}
	return 10
}

// minutesBetween is the whole minutes from one time to another.
func minutesBetween(from, to store.Instant) int64 { return int64(to.Sub(from) / time.Minute) }
