package store

import (
	"context"
	"fmt"

	"github.com/gofrs/uuid/v5"
)

// FullStep returns the step of a task with this uuid; ok is false when the
// task has none such.
func (r *Reader) FullStep(ctx context.Context, task int64, id uuid.UUID) (s FullStep, ok bool, err error) {
	err = r.query(ctx, `SELECT `+stepColumns+`, s.inputs, s.checkpoint, s.results FROM workflow_steps s
		JOIN named_steps n ON n.id = s.named_step_id WHERE s.id BETWEEN ? AND ? AND s.uuid = ?`,
		func(c row) error {
			s, ok = scanStep(c), true
			s.Inputs, s.Checkpoint, s.Results = c.json(19), c.json(20), c.json(21)
			return nil
		}, ID(task, 0), ID(task, MaxPositions-1), id[:])
	if err != nil {
		return FullStep{}, false, fmt.Errorf("read step %s: %w", id, err)
	}
	return s, ok, nil
}

// NamedTask returns the template with this id.
func (r *Reader) NamedTask(ctx context.Context, id int64) (n NamedTask, err error) {
	err = r.query(ctx, `SELECT t.id, t.uuid, n.name, t.name, t.version, t.description, t.configuration
		FROM named_tasks t JOIN task_namespaces n ON n.id = t.namespace_id WHERE t.id = ?`,
		func(c row) error {
			n = NamedTask{c.int(0), c.uuid(1), c.text(2), c.text(3), c.text(4), c.text(5), c.json(6)}
			return nil
		}, id)
	if err != nil {
		return NamedTask{}, fmt.Errorf("read template %d: %w", id, err)
	}
	return n, nil
}
