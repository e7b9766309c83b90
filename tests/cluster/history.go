package cluster

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// historySQL is every transition of the tasks that were created since $1 and
// have not ended, and of their steps, in the order in which they were made.
const historySQL = `
	WITH open AS (
	  SELECT t.task_uuid FROM tasker.tasks t JOIN tasker.task_transitions x USING (task_uuid)
	   WHERE t.created_at >= $1 AT TIME ZONE 'UTC' AND x.most_recent
	     AND x.to_state NOT IN ('complete', 'error', 'cancelled', 'resolved_manually')
	   ORDER BY t.created_at LIMIT 3
	)
	SELECT task_uuid::text, created_at, 'task', coalesce(from_state, ''), to_state FROM tasker.task_transitions JOIN open USING (task_uuid)
	UNION ALL
	SELECT s.task_uuid::text, x.created_at, n.name, coalesce(x.from_state, ''), x.to_state
	  FROM tasker.workflow_step_transitions x JOIN tasker.workflow_steps s USING (workflow_step_uuid) JOIN open USING (task_uuid)
	  JOIN tasker.named_steps n USING (named_step_uuid)
	ORDER BY 1, 2`

// history tells what happened to tasks that have been created since a moment
// and have not ended: their history, and what the server says of them.
func (c *Cluster) history(since time.Time) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	rows, err := c.pool.Query(ctx, historySQL, since)
	if err != nil {
		return err.Error()
	}
	defer rows.Close()
	var told strings.Builder
	var tasks []string
	for rows.Next() {
		var task, what, from, to string
		var at time.Time
		if err := rows.Scan(&task, &at, &what, &from, &to); err != nil {
			return err.Error()
		}
		if !slices.Contains(tasks, task) {
			tasks = append(tasks, task)
		}
		fmt.Fprintf(&told, "%s %s %s: %s -> %s\n", task, at.Format("15:04:05.000000"), what, from, to)
	}
	if err := rows.Err(); err != nil {
		return err.Error()
	}
	const most = 200
	text, err := os.ReadFile(c.serverLog())
	if err != nil {
		return told.String() + err.Error()
	}
	var said []string
	for line := range strings.Lines(string(text)) {
		if slices.ContainsFunc(tasks, func(task string) bool { return strings.Contains(line, task) }) {
			said = append(said, line)
		}
	}
	return told.String() + strings.Join(said[max(0, len(said)-most):], "")
}
