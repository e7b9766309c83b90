package store

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"
	"time"

	"github.com/gofrs/uuid/v5"
)

// Reader reads rows. It is valid only where it was given.
type Reader struct{ c *conn }

func (r *Reader) query(ctx context.Context, sql string, f func(row) error, args ...driver.Value) error {
	s, err := r.c.prepare(sql)
	if err != nil {
		return err
	}
	return s.query(ctx, f, args...)
}

// NamedTasks returns every template in the file.
func (r *Reader) NamedTasks(ctx context.Context) ([]NamedTask, error) {
	var all []NamedTask
	err := r.query(ctx, `SELECT t.id, t.uuid, n.name, t.name, t.version, t.description, t.configuration
		FROM named_tasks t JOIN task_namespaces n ON n.id = t.namespace_id ORDER BY t.id`,
		func(c row) error {
			all = append(all, NamedTask{c.int(0), c.uuid(1), c.text(2), c.text(3), c.text(4), c.text(5), c.json(6)})
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("read templates: %w", err)
	}
	return all, nil
}

// NamedSteps returns every step name in the file.
func (r *Reader) NamedSteps(ctx context.Context) ([]NamedStep, error) {
	var all []NamedStep
	err := r.query(ctx, `SELECT id, uuid, name FROM named_steps ORDER BY id`, func(c row) error {
		all = append(all, NamedStep{c.int(0), c.uuid(1), c.text(2)})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read step names: %w", err)
	}
	return all, nil
}

// LastTaskID returns the highest task id in the file, 0 when it has none.
func (r *Reader) LastTaskID(ctx context.Context) (id int64, err error) {
	err = r.query(ctx, `SELECT max(id) FROM tasks`, func(c row) error { id = c.int(0); return nil })
	if err != nil {
		return 0, fmt.Errorf("read last task id: %w", err)
	}
	return id, nil
}

// Identity returns the task that has the identity hash; ok is false when
// none has.
func (r *Reader) Identity(ctx context.Context, hash []byte) (task uuid.UUID, ok bool, err error) {
	err = r.query(ctx, `SELECT uuid FROM tasks WHERE identity_hash = ?`, func(c row) error {
		task, ok = c.uuid(0), true
		return nil
	}, hash)
	if err != nil {
		return uuid.Nil, false, fmt.Errorf("look up task identity: %w", err)
	}
	return task, ok, nil
}

const taskColumns = `t.id, t.uuid, t.named_task_id, t.state, t.state_since, t.identity_hash, t.priority, t.initiator, t.source_system, t.reason,
	t.tags, t.correlation_id, t.parent_correlation_id, t.requested_at, t.created_at, t.updated_at, t.completed_at,
	nt.uuid, ns.name, nt.name, nt.version, c.context
	FROM tasks t
	JOIN named_tasks nt ON nt.id = t.named_task_id
	JOIN task_namespaces ns ON ns.id = nt.namespace_id
	JOIN task_contexts c ON c.task_id = t.id`

func scanTask(c row) FullTask {
	t := FullTask{
		Task: Task{
			ID: c.int(0), UUID: c.uuid(1), NamedTask: c.int(2), State: c.text(3), StateSince: c.instant(4),
			IdentityHash: c.blob(5), Priority: int32(c.int(6)),
			Initiator: c.text(7), SourceSystem: c.text(8), Reason: c.text(9),
			Tags: c.json(10), CorrelationID: c.uuid(11),
			RequestedAt: c.instant(13), CreatedAt: c.instant(14), UpdatedAt: c.instant(15), CompletedAt: c.instant(16),
		},
		NamedTaskUUID: c.uuid(17), Namespace: c.text(18), Name: c.text(19), Version: c.text(20), Context: c.json(21),
	}
	if c.blob(12) != nil {
		parent := c.uuid(12)
		t.ParentCorrelationID = &parent
	}
	return t
}

// Task returns the task with this uuid; ok is false when there is none.
func (r *Reader) Task(ctx context.Context, id uuid.UUID) (t FullTask, ok bool, err error) {
	err = r.query(ctx, `SELECT `+taskColumns+` WHERE t.uuid = ?`, func(c row) error {
		t, ok = scanTask(c), true
		return nil
	}, id[:])
	if err != nil {
		return FullTask{}, false, fmt.Errorf("read task %s: %w", id, err)
	}
	return t, ok, nil
}

// TaskState returns a task's id and state; ok is false when there is none.
func (r *Reader) TaskState(ctx context.Context, task uuid.UUID) (id int64, state string, ok bool, err error) {
	err = r.query(ctx, `SELECT id, state FROM tasks WHERE uuid = ?`, func(c row) error {
		id, state, ok = c.int(0), c.text(1), true
		return nil
	}, task[:])
	if err != nil {
		return 0, "", false, fmt.Errorf("read state of task %s: %w", task, err)
	}
	return id, state, ok, nil
}

// OpenTasks returns, oldest first, the tasks that are in no terminal state,
// without those in state resting that have no step in one of the states busy.
func (r *Reader) OpenTasks(ctx context.Context, resting string, busy []string) ([]FullTask, error) {
	var all []FullTask
	args := []driver.Value{resting}
	for _, s := range busy {
		args = append(args, s)
	}
	err := r.query(ctx, `SELECT `+taskColumns+` WHERE t.completed_at IS NULL AND (t.state <> ? OR EXISTS (
		SELECT 1 FROM workflow_steps s WHERE s.id BETWEEN t.id << 24 AND (t.id << 24) + 16777215
		AND s.state IN (`+placeholders(len(busy))+`))) ORDER BY t.id`,
		func(c row) error {
			all = append(all, scanTask(c))
			return nil
		}, args...)
	if err != nil {
		return nil, fmt.Errorf("read open tasks: %w", err)
	}
	return all, nil
}

// FailedTasks returns, oldest first, the tasks in state error that have a step
// in one of the given states.
func (r *Reader) FailedTasks(ctx context.Context, steps []string) ([]FullTask, error) {
	var all []FullTask
	var args []driver.Value
	for _, s := range steps {
		args = append(args, s)
	}
	err := r.query(ctx, `SELECT `+taskColumns+` WHERE t.state = 'error' AND EXISTS (
		SELECT 1 FROM workflow_steps s WHERE s.id BETWEEN t.id << 24 AND (t.id << 24) + 16777215
		AND s.state IN (`+placeholders(len(steps))+`)) ORDER BY t.id`,
		func(c row) error {
			all = append(all, scanTask(c))
			return nil
		}, args...)
	if err != nil {
		return nil, fmt.Errorf("read failed tasks: %w", err)
	}
	return all, nil
}

// Filter selects tasks; empty fields select all.
type Filter struct {
	Namespace, State, Initiator, SourceSystem string
	// Except excludes a state.
	Except string
	// Limit and Offset select a page.
	Limit, Offset int
}

// Tasks returns a page of the selected tasks, newest first, and how many
// there are in all.
func (r *Reader) Tasks(ctx context.Context, f Filter) (page []FullTask, total int, err error) {
	var where []string
	var args []driver.Value
	for _, c := range []struct{ condition, value string }{
		// Not by a join: the tasks are to be read from the newest on.
		{"t.named_task_id IN (SELECT id FROM named_tasks WHERE namespace_id = (SELECT id FROM task_namespaces WHERE name = ?))", f.Namespace},
		{"t.state = ?", f.State}, {"t.state <> ?", f.Except},
		{"t.initiator = ?", f.Initiator}, {"t.source_system = ?", f.SourceSystem},
	} {
		if c.value != "" {
			where = append(where, c.condition)
			args = append(args, c.value)
		}
	}
	condition := ""
	if len(where) > 0 {
		condition = " WHERE " + strings.Join(where, " AND ")
	}
	err = r.query(ctx, `SELECT count(*) FROM tasks t`+condition,
		func(c row) error { total = int(c.int(0)); return nil }, args...)
	if err == nil {
		err = r.query(ctx, `SELECT `+taskColumns+condition+` ORDER BY t.id DESC LIMIT ? OFFSET ?`,
			func(c row) error { page = append(page, scanTask(c)); return nil },
			append(args, int64(f.Limit), int64(f.Offset))...)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("list tasks: %w", err)
	}
	return page, total, nil
}

const stepColumns = `s.id, s.uuid, s.named_step_id, s.template_step, s.state, s.retryable, s.max_attempts, s.attempts, s.last_attempted_at,
	s.backoff_request_seconds, s.next_retry_at, s.last_failure_at, s.processed_at, s.duration_us, s.created_at, s.updated_at,
	n.name, n.uuid, s.parents`

func scanStep(c row) FullStep {
	s := FullStep{
		Step: Step{
			ID: c.int(0), UUID: c.uuid(1), NamedStep: c.int(2), TemplateStep: c.text(3), State: c.text(4),
			Retryable: c.int(5) != 0, MaxAttempts: int32(c.int(6)), Attempts: int32(c.int(7)), LastAttemptedAt: c.instant(8),
			BackoffSeconds: -1, NextRetryAt: c.instant(10), LastFailureAt: c.instant(11), ProcessedAt: c.instant(12),
			Duration: time.Duration(c.int(13)) * time.Microsecond, CreatedAt: c.instant(14), UpdatedAt: c.instant(15),
			Parents: c.json(18),
		},
		Name: c.text(16), NamedStepUUID: c.uuid(17),
	}
	if c[9] != nil {
		s.BackoffSeconds = int32(c.int(9))
	}
	return s
}

// Steps returns a task's steps by position, without inputs, checkpoint and
// results.
func (r *Reader) Steps(ctx context.Context, task int64) ([]FullStep, error) {
	return r.steps(ctx, stepColumns, task, scanStep)
}

// FullSteps returns a task's steps by position.
func (r *Reader) FullSteps(ctx context.Context, task int64) ([]FullStep, error) {
	return r.steps(ctx, stepColumns+`, s.inputs, s.checkpoint, s.results`, task, func(c row) FullStep {
		s := scanStep(c)
		s.Inputs, s.Checkpoint, s.Results = c.json(19), c.json(20), c.json(21)
		return s
	})
}

func (r *Reader) steps(ctx context.Context, columns string, task int64, scan func(row) FullStep) ([]FullStep, error) {
	var all []FullStep
	err := r.query(ctx, `SELECT `+columns+` FROM workflow_steps s JOIN named_steps n ON n.id = s.named_step_id
		WHERE s.id BETWEEN ? AND ? ORDER BY s.id`,
		func(c row) error { all = append(all, scan(c)); return nil },
		ID(task, 0), ID(task, MaxPositions-1))
	if err != nil {
		return nil, fmt.Errorf("read steps of task %d: %w", task, err)
	}
	return all, nil
}

// HistoryLength returns how many history rows a task has.
func (r *Reader) HistoryLength(ctx context.Context, task int64) (n int, err error) {
	err = r.query(ctx, `SELECT max(id) FROM history WHERE id BETWEEN ? AND ?`, func(c row) error {
		if c[0] != nil {
			n = Position(c.int(0)) + 1
		}
		return nil
	}, ID(task, 0), ID(task, MaxPositions-1))
	if err != nil {
		return 0, fmt.Errorf("read history of task %d: %w", task, err)
	}
	return n, nil
}

// History returns a task's history, oldest first.
func (r *Reader) History(ctx context.Context, task int64) ([]HistoryRow, error) {
	var all []HistoryRow
	err := r.query(ctx, `SELECT id, at, changes FROM history WHERE id BETWEEN ? AND ? ORDER BY id`, func(c row) error {
		all = append(all, HistoryRow{c.int(0), c.instant(1), c.json(2)})
		return nil
	}, ID(task, 0), ID(task, MaxPositions-1))
	if err != nil {
		return nil, fmt.Errorf("read history of task %d: %w", task, err)
	}
	return all, nil
}

// FailedAttempts returns the failed attempts of a step, oldest first.
func (r *Reader) FailedAttempts(ctx context.Context, step int64) ([]FailedAttempt, error) {
	var all []FailedAttempt
	err := r.query(ctx, `SELECT step_id, attempt, recorded_at, duration_us, worker_id, results FROM failed_attempts
		WHERE step_id = ? ORDER BY id`, func(c row) error {
		all = append(all, FailedAttempt{c.int(0), int32(c.int(1)), c.instant(2), time.Duration(c.int(3)) * time.Microsecond, c.text(4), c.json(5)})
		return nil
	}, step)
	if err != nil {
		return nil, fmt.Errorf("read failed attempts of step %d: %w", step, err)
	}
	return all, nil
}

func placeholders(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }
