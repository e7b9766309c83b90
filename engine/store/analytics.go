package store

import (
	"context"
	"fmt"
	"time"
)

// FirstTaskSince returns the id of the first task created at or after the
// time, one more than the highest id when there is none. Ids are in the order
// of creation, so the times need no index.
func (r *Reader) FirstTaskSince(ctx context.Context, at Instant) (int64, error) {
	last, err := r.LastTaskID(ctx)
	if err != nil {
		return 0, err
	}
	low, high := int64(0), last+1 // the answer is in (low, high]
	for high-low > 1 {
		middle := low + (high-low)/2
		id, created := high, at
		if err := r.query(ctx, `SELECT id, created_at FROM tasks WHERE id >= ? ORDER BY id LIMIT 1`, func(c row) error {
			id, created = c.int(0), c.instant(1)
			return nil
		}, middle); err != nil {
			return 0, fmt.Errorf("look for the first task since %s: %w", at.Time().Format(time.RFC3339), err)
		}
		if created >= at {
			high = middle
		} else {
			low = id
		}
	}
	return high, nil
}

// TaskCount counts the tasks of one state.
type TaskCount struct {
	State string
	Tasks int
	// Took is how long they took together, from creation to the end.
	Took time.Duration
}

// CountTasks counts the tasks from an id on by state.
func (r *Reader) CountTasks(ctx context.Context, first int64) ([]TaskCount, error) {
	var all []TaskCount
	err := r.query(ctx, `SELECT state, count(*), coalesce(sum(completed_at - created_at), 0) FROM tasks WHERE id >= ? GROUP BY state`,
		func(c row) error {
			all = append(all, TaskCount{c.text(0), int(c.int(1)), micros(c.int(2))})
			return nil
		}, first)
	if err != nil {
		return nil, fmt.Errorf("count tasks: %w", err)
	}
	return all, nil
}

// StepCount counts the steps of one state.
type StepCount struct {
	State string
	Steps int
	// Measured is how many of them were in a handler for a time that is known,
	// Took for how long together in their last attempts.
	Measured int
	Took     time.Duration
}

// stepTook is how long a step's last attempt was in its handler.
const stepTook = `coalesce(s.duration_us, s.processed_at - s.last_attempted_at)`

// CountSteps counts the steps of the tasks from an id on by state.
func (r *Reader) CountSteps(ctx context.Context, firstTask int64) ([]StepCount, error) {
	var all []StepCount
	err := r.query(ctx, `SELECT s.state, count(*), count(`+stepTook+`), coalesce(sum(`+stepTook+`), 0)
		FROM workflow_steps s WHERE s.id >= ? GROUP BY s.state`,
		func(c row) error {
			all = append(all, StepCount{c.text(0), int(c.int(1)), int(c.int(2)), micros(c.int(3))})
			return nil
		}, ID(firstTask, 0))
	if err != nil {
		return nil, fmt.Errorf("count steps: %w", err)
	}
	return all, nil
}

// Slow tells how long the executions of a step, or of the tasks of a
// template, take.
type Slow struct {
	Namespace, TaskName, Version string
	Step                         string // "" for a task
	Average, Most                time.Duration
	Executions, Errors           int
	Steps                        float64 // on average, of a task
	Last                         Instant // the last execution
}

// SlowSteps returns the slowest steps of the tasks from an id on, of those
// that were executed often enough. The instances of a batch worker count as
// one step.
func (r *Reader) SlowSteps(ctx context.Context, firstTask int64, least, limit int) ([]Slow, error) {
	var all []Slow
	err := r.query(ctx, `SELECT ns.name, nt.name, nt.version, coalesce(s.template_step, n.name) AS step, avg(`+stepTook+`), max(`+stepTook+`),
		count(*), sum(s.state = 'error'), max(s.last_attempted_at)
		FROM workflow_steps s JOIN named_steps n ON n.id = s.named_step_id JOIN tasks t ON t.id = s.id >> 24
		JOIN named_tasks nt ON nt.id = t.named_task_id JOIN task_namespaces ns ON ns.id = nt.namespace_id
		WHERE s.id >= ? AND s.last_attempted_at IS NOT NULL GROUP BY nt.id, step HAVING count(*) >= ? ORDER BY 5 DESC, nt.id, step LIMIT ?`,
		func(c row) error {
			all = append(all, Slow{
				Namespace: c.text(0), TaskName: c.text(1), Version: c.text(2), Step: c.text(3), Average: micros(int64(c.float(4))),
				Most: micros(c.int(5)), Executions: int(c.int(6)), Errors: int(c.int(7)), Last: c.instant(8),
			})
			return nil
		}, ID(firstTask, 0), int64(least), int64(limit))
	if err != nil {
		return nil, fmt.Errorf("look for slow steps: %w", err)
	}
	return all, nil
}

// SlowTasks returns the slowest templates by their finished tasks from an id
// on, of those with enough tasks. Errors counts tasks in a state of failed.
func (r *Reader) SlowTasks(ctx context.Context, first int64, least, limit int, failed [2]string) ([]Slow, error) {
	var all []Slow
	err := r.query(ctx, `SELECT ns.name, nt.name, nt.version, avg(t.completed_at - t.created_at), max(t.completed_at - t.created_at),
		count(*), sum(t.state IN (?, ?)), max(t.updated_at),
		avg((SELECT max(s.id) FROM workflow_steps s WHERE s.id BETWEEN t.id << 24 AND (t.id << 24) + 16777215) - (t.id << 24) + 1)
		FROM tasks t JOIN named_tasks nt ON nt.id = t.named_task_id JOIN task_namespaces ns ON ns.id = nt.namespace_id
		WHERE t.id >= ? GROUP BY nt.id HAVING count(*) >= ? ORDER BY 4 DESC, nt.id LIMIT ?`,
		func(c row) error {
			all = append(all, Slow{
				Namespace: c.text(0), TaskName: c.text(1), Version: c.text(2), Average: micros(int64(c.float(3))), Most: micros(c.int(4)),
				Executions: int(c.int(5)), Errors: int(c.int(6)), Last: c.instant(7), Steps: c.float(8),
			})
			return nil
		}, failed[0], failed[1], first, int64(least), int64(limit))
	if err != nil {
		return nil, fmt.Errorf("look for slow tasks: %w", err)
	}
	return all, nil
}

// Utilization is which part of the connections for reading is in use, from 0
// to 1, not counting that of the caller, who must be within Read.
func (s *Store) Utilization() float64 {
	if s.readers == nil {
		return 0
	}
	return float64(maxReaders-1-len(s.readers)) / (maxReaders - 1)
}

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

func (r row) float(i int) float64 { v, _ := r[i].(float64); return v }
