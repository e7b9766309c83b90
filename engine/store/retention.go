package store

import (
	"context"
	"database/sql/driver"
	"fmt"
)

// deleteRows is how many rows are deleted at a time. They may be large, and a
// large row is many pages.
const deleteRows = 64

// ExpiredTasks looks at up to examine tasks that come after the given id, in
// the order of their creation, and returns those that were finished before
// the cutoff and that no pending dead-letter entry tells of. last is the
// last task looked at, 0 when none is left that was created before the
// cutoff. The newest task of the file is never among them: its id must not
// be given again.
func (r *Reader) ExpiredTasks(ctx context.Context, after int64, cutoff Instant, examine int) (expired []int64, last int64, err error) {
	err = r.query(ctx, `SELECT t.id, t.completed_at IS NOT NULL AND t.completed_at < ?
			AND NOT EXISTS (SELECT 1 FROM tasks_dlq d WHERE d.task_id = t.id AND d.resolution_status = 'pending')
		FROM tasks t WHERE t.id > ? AND t.id < (SELECT max(id) FROM tasks) AND t.created_at < ? ORDER BY t.id LIMIT ?`,
		func(c row) error {
			last = c.int(0)
			if c.int(1) != 0 {
				expired = append(expired, last)
			}
			return nil
		}, int64(cutoff), after, int64(cutoff), int64(examine))
	if err != nil {
		return nil, 0, fmt.Errorf("look for expired tasks: %w", err)
	}
	return expired, last, nil
}

// HalfDeleted returns the tasks whose deletion has begun and is not done.
func (r *Reader) HalfDeleted(ctx context.Context) ([]int64, error) {
	var all []int64
	err := r.query(ctx, `SELECT task_id FROM expired_tasks ORDER BY task_id`, func(c row) error { all = append(all, c.int(0)); return nil })
	if err != nil {
		return nil, fmt.Errorf("look for half deleted tasks: %w", err)
	}
	return all, nil
}

// ExpireTask takes a task out of tasks if it was finished before the cutoff,
// so that nobody sees it any more. taken is also true when it was taken out
// before; then DeleteExpired deletes what remains of it.
func (s *Store) ExpireTask(id int64, cutoff Instant) (taken bool, err error) {
	st, err := s.w.prepare(`SELECT EXISTS (SELECT 1 FROM expired_tasks WHERE task_id = ?1), EXISTS (SELECT 1 FROM tasks WHERE id = ?1
		AND completed_at < ?2 AND NOT EXISTS (SELECT 1 FROM tasks_dlq WHERE task_id = ?1 AND resolution_status = 'pending'))`)
	expired := false
	if err == nil {
		err = st.query(context.Background(), func(c row) error {
			taken, expired = c.int(0) != 0, c.int(1) != 0
			return nil
		}, id, int64(cutoff))
	}
	if err != nil {
		return false, fmt.Errorf("look at task %d before deleting it: %w", id, err)
	}
	if taken || !expired {
		return taken, nil
	}
	for _, sql := range []string{
		`INSERT INTO expired_tasks (task_id) VALUES (?)`,
		`DELETE FROM tasks_dlq WHERE task_id = ?`,
		`DELETE FROM task_contexts WHERE task_id = ?`,
		`DELETE FROM tasks WHERE id = ?`,
	} {
		if _, err := s.change(sql, id); err != nil {
			return false, fmt.Errorf("delete task %d: %w", id, err)
		}
	}
	return true, nil
}

// DeleteExpired deletes some rows of a task that ExpireTask has taken out.
// done tells that none is left.
func (s *Store) DeleteExpired(id int64) (done bool, err error) {
	for _, table := range []struct{ name, key string }{{"failed_attempts", "step_id"}, {"history", "id"}, {"workflow_steps", "id"}} {
		n, err := s.change(fmt.Sprintf(`DELETE FROM %[1]s WHERE rowid IN (SELECT rowid FROM %[1]s WHERE %[2]s BETWEEN ? AND ? LIMIT ?)`,
			table.name, table.key), ID(id, 0), ID(id, MaxPositions-1), deleteRows)
		if err != nil {
			return false, fmt.Errorf("delete from %s what belongs to task %d: %w", table.name, id, err)
		}
		if n == deleteRows {
			return false, nil
		}
	}
	_, err = s.change(`DELETE FROM expired_tasks WHERE task_id = ?`, id)
	return err == nil, err
}

func (s *Store) change(sql string, args ...int64) (int64, error) {
	st, err := s.w.prepare(sql)
	if err != nil {
		return 0, err
	}
	values := make([]driver.Value, len(args))
	for i, a := range args {
		values[i] = a
	}
	return st.exec(values...)
}
