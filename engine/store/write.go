package store

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/gofrs/uuid/v5"
)

// ErrStale means that a row is not in the state in which the writer left it:
// somebody else wrote to the file.
var ErrStale = errors.New("row changed behind the engine's back")

type writeStatements struct {
	insertNamespace, insertNamedTask, updateNamedTask, insertNamedStep *stmt
	insertTask, insertContext, updateTask                              *stmt
	insertStep, updateStep, updateStepResults, updateStepCheckpoint    *stmt
	updateStepParents, insertHistory, insertFailedAttempt              *stmt
}

func (w *writeStatements) prepare(c *conn) (err error) {
	for _, p := range []struct {
		st  **stmt
		sql string
	}{
		{&w.insertNamespace, `INSERT INTO task_namespaces (uuid, name, created_at) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING`},
		{&w.insertNamedTask, `INSERT INTO named_tasks (id, uuid, namespace_id, name, version, description, configuration, created_at, updated_at)
			VALUES (?, ?, (SELECT id FROM task_namespaces WHERE name = ?), ?, ?, ?, ?, ?, ?)`},
		{&w.updateNamedTask, `UPDATE named_tasks SET description = ?, configuration = ?, updated_at = ? WHERE id = ?`},
		{&w.insertNamedStep, `INSERT INTO named_steps (id, uuid, name, created_at) VALUES (?, ?, ?, ?)`},
		{&w.insertTask, `INSERT INTO tasks (id, uuid, named_task_id, state, state_since, identity_hash, priority, initiator, source_system, reason,
			tags, correlation_id, parent_correlation_id, requested_at, created_at, updated_at, completed_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`},
		{&w.insertContext, `INSERT INTO task_contexts (task_id, context) VALUES (?, ?)`},
		{&w.updateTask, `UPDATE tasks SET state = ?, state_since = ?, updated_at = ?, completed_at = ? WHERE id = ? AND state = ?`},
		{&w.insertStep, `INSERT INTO workflow_steps (id, uuid, named_step_id, template_step, state, retryable, max_attempts, attempts, last_attempted_at,
			backoff_request_seconds, next_retry_at, last_failure_at, processed_at, duration_us, created_at, updated_at, parents, inputs, checkpoint, results)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`},
		{&w.updateStep, `UPDATE workflow_steps SET state = ?, attempts = ?, last_attempted_at = ?, backoff_request_seconds = ?, next_retry_at = ?,
			last_failure_at = ?, processed_at = ?, duration_us = ?, updated_at = ? WHERE id = ? AND state = ?`},
		{&w.updateStepResults, `UPDATE workflow_steps SET state = ?, attempts = ?, last_attempted_at = ?, backoff_request_seconds = ?, next_retry_at = ?,
			last_failure_at = ?, processed_at = ?, duration_us = ?, updated_at = ?, results = ? WHERE id = ? AND state = ?`},
		{&w.updateStepCheckpoint, `UPDATE workflow_steps SET checkpoint = ?, updated_at = ? WHERE id = ?`},
		{&w.updateStepParents, `UPDATE workflow_steps SET parents = ?, updated_at = ? WHERE id = ?`},
		{&w.insertHistory, `INSERT INTO history (id, at, changes) VALUES (?, ?, ?)`},
		{&w.insertFailedAttempt, `INSERT INTO failed_attempts (step_id, attempt, recorded_at, duration_us, worker_id, results) VALUES (?, ?, ?, ?, ?, ?)`},
	} {
		if *p.st, err = c.prepare(p.sql); err != nil {
			return err
		}
	}
	return nil
}

// InsertNamedTask adds a template, and its namespace when that is new, then
// with the given uuid.
func (s *Store) InsertNamedTask(n *NamedTask, namespace uuid.UUID, now Instant) error {
	if _, err := s.write.insertNamespace.exec(namespace[:], n.Namespace, int64(now)); err != nil {
		return fmt.Errorf("insert namespace %s: %w", n.Namespace, err)
	}
	if _, err := s.write.insertNamedTask.exec(n.ID, n.UUID[:], n.Namespace, n.Name, n.Version, nonEmpty(n.Description),
		textOf(n.Configuration), int64(now), int64(now)); err != nil {
		return fmt.Errorf("insert template %s/%s@%s: %w", n.Namespace, n.Name, n.Version, err)
	}
	return nil
}

// UpdateNamedTask replaces a template's description and configuration.
func (s *Store) UpdateNamedTask(n *NamedTask, now Instant) error {
	if _, err := s.write.updateNamedTask.exec(nonEmpty(n.Description), textOf(n.Configuration), int64(now), n.ID); err != nil {
		return fmt.Errorf("update template %s/%s@%s: %w", n.Namespace, n.Name, n.Version, err)
	}
	return nil
}

// InsertNamedStep adds a step name.
func (s *Store) InsertNamedStep(n *NamedStep, now Instant) error {
	if _, err := s.write.insertNamedStep.exec(n.ID, n.UUID[:], n.Name, int64(now)); err != nil {
		return fmt.Errorf("insert step name %s: %w", n.Name, err)
	}
	return nil
}

// InsertTask adds a task and its context.
func (s *Store) InsertTask(t *Task, context []byte) error {
	var parent driver.Value
	if t.ParentCorrelationID != nil {
		parent = t.ParentCorrelationID[:]
	}
	if _, err := s.write.insertTask.exec(t.ID, t.UUID[:], t.NamedTask, t.State, int64(t.StateSince), t.IdentityHash, int64(t.Priority),
		t.Initiator, t.SourceSystem, t.Reason, textOf(t.Tags), t.CorrelationID[:], parent,
		int64(t.RequestedAt), int64(t.CreatedAt), int64(t.UpdatedAt), instantOf(t.CompletedAt)); err != nil {
		return fmt.Errorf("insert task %s: %w", t.UUID, err)
	}
	if _, err := s.write.insertContext.exec(t.ID, textOf(context)); err != nil {
		return fmt.Errorf("insert context of task %s: %w", t.UUID, err)
	}
	return nil
}

// UpdateTask writes the task's state, if the row is still in state from.
func (s *Store) UpdateTask(t *Task, from string) error {
	n, err := s.write.updateTask.exec(t.State, int64(t.StateSince), int64(t.UpdatedAt), instantOf(t.CompletedAt), t.ID, from)
	return updated(n, err, "task", t.UUID, from)
}

// InsertStep adds a step.
func (s *Store) InsertStep(p *Step) error {
	if _, err := s.write.insertStep.exec(p.ID, p.UUID[:], p.NamedStep, nonEmpty(p.TemplateStep), p.State, p.Retryable, int64(p.MaxAttempts),
		int64(p.Attempts), instantOf(p.LastAttemptedAt), optional(int64(p.BackoffSeconds), p.BackoffSeconds >= 0), instantOf(p.NextRetryAt),
		instantOf(p.LastFailureAt), instantOf(p.ProcessedAt), durationOf(p.Duration), int64(p.CreatedAt), int64(p.UpdatedAt),
		textOf(p.Parents), textOf(p.Inputs), textOf(p.Checkpoint), textOf(p.Results)); err != nil {
		return fmt.Errorf("insert step %s: %w", p.UUID, err)
	}
	return nil
}

// UpdateStep writes what changes of a step, if the row is still in state
// from. The results are written only when withResults is true: they may be
// large.
func (s *Store) UpdateStep(p *Step, from string, withResults bool) error {
	state, attempts, attempted := p.State, int64(p.Attempts), instantOf(p.LastAttemptedAt)
	backoff, retry := optional(int64(p.BackoffSeconds), p.BackoffSeconds >= 0), instantOf(p.NextRetryAt)
	failure, processed, duration := instantOf(p.LastFailureAt), instantOf(p.ProcessedAt), durationOf(p.Duration)
	var n int64
	var err error
	if withResults {
		n, err = s.write.updateStepResults.exec(state, attempts, attempted, backoff, retry, failure, processed, duration,
			int64(p.UpdatedAt), textOf(p.Results), p.ID, from)
	} else {
		n, err = s.write.updateStep.exec(state, attempts, attempted, backoff, retry, failure, processed, duration,
			int64(p.UpdatedAt), p.ID, from)
	}
	return updated(n, err, "step", p.UUID, from)
}

// UpdateCheckpoint writes a step's checkpoint.
func (s *Store) UpdateCheckpoint(p *Step) error {
	if _, err := s.write.updateStepCheckpoint.exec(textOf(p.Checkpoint), int64(p.UpdatedAt), p.ID); err != nil {
		return fmt.Errorf("update checkpoint of step %s: %w", p.UUID, err)
	}
	return nil
}

// UpdateParents writes which steps a step depends on.
func (s *Store) UpdateParents(p *Step) error {
	if _, err := s.write.updateStepParents.exec(textOf(p.Parents), int64(p.UpdatedAt), p.ID); err != nil {
		return fmt.Errorf("update dependencies of step %s: %w", p.UUID, err)
	}
	return nil
}

// InsertHistory adds one commit's changes to a task's history.
func (s *Store) InsertHistory(h HistoryRow) error {
	if _, err := s.write.insertHistory.exec(h.ID, int64(h.At), textOf(h.Changes)); err != nil {
		return fmt.Errorf("insert history %d of task %d: %w", Position(h.ID), TaskOf(h.ID), err)
	}
	return nil
}

// InsertFailedAttempt keeps the result of an attempt that failed.
func (s *Store) InsertFailedAttempt(a *FailedAttempt) error {
	if _, err := s.write.insertFailedAttempt.exec(a.StepID, int64(a.Attempt), int64(a.RecordedAt), durationOf(a.Duration),
		nonEmpty(a.WorkerID), textOf(a.Results)); err != nil {
		return fmt.Errorf("insert failed attempt %d of step %d: %w", a.Attempt, a.StepID, err)
	}
	return nil
}

func updated(n int64, err error, what string, id uuid.UUID, from string) error {
	if err != nil {
		return fmt.Errorf("update %s %s: %w", what, id, err)
	}
	if n != 1 {
		return fmt.Errorf("update %s %s from state %s: %w", what, id, from, ErrStale)
	}
	return nil
}

func durationOf(d time.Duration) driver.Value {
	if d == 0 {
		return nil
	}
	return d.Microseconds()
}
