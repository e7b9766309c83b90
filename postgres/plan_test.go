package postgres

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/tests/cluster"
)

// historySQL makes $1 steps that were finished long ago, with five transitions
// each, of tasks of their own.
const historySQL = `
WITH named AS (
  INSERT INTO tasker.named_steps (name, created_at, updated_at) VALUES ('long_ago', now(), now()) RETURNING named_step_uuid
), task AS (
  INSERT INTO tasker.tasks (named_task_uuid, requested_at, tags, context, identity_hash, priority, correlation_id, created_at, updated_at)
  SELECT named_task_uuid, now(), '[]', '{}', gen_random_uuid()::text, 0, gen_random_uuid(), now(), now()
    FROM generate_series(1, $1::int), tasker.named_tasks WHERE name = 'order_intake'
  RETURNING task_uuid
), step AS (
  INSERT INTO tasker.workflow_steps (task_uuid, named_step_uuid, retryable, max_attempts, processed, results, created_at, updated_at)
  SELECT task_uuid, named_step_uuid, true, 3, true, '{}', now(), now() FROM task, named RETURNING workflow_step_uuid
)
INSERT INTO tasker.workflow_step_transitions (workflow_step_uuid, from_state, to_state, metadata, sort_key, most_recent, created_at, updated_at)
SELECT workflow_step_uuid, x.from_state, x.to_state, '{}', x.sort_key, x.sort_key = 5, now(), now()
  FROM step, (VALUES (NULL, 'pending', 1), ('pending', 'enqueued', 2), ('enqueued', 'in_progress', 3),
    ('in_progress', 'enqueued_for_orchestration', 4), ('enqueued_for_orchestration', 'complete', 5)) AS x(from_state, to_state, sort_key)`

// longSQL gives every unfinished task $1 transitions, as those of many steps have.
const longSQL = `
INSERT INTO tasker.task_transitions (task_uuid, to_state, metadata, sort_key, most_recent, created_at, updated_at)
SELECT s.task_uuid, 'steps_in_process', '{}', n, n = $1, now(), now()
  FROM tasker.workflow_steps s, generate_series(1, $1::int) n WHERE NOT s.processed`

// The rows that are read for a step do not depend on how many others there
// are, nor on what the tables held, or were counted to hold, when the
// statements were planned.
func TestAStepIsFoundAmongAnyNumberOfOthers(t *testing.T) {
	const history, steps, perStep = 10_000, 100, 20
	for name, c := range map[string]struct{ before bool }{
		"planned when there was nothing": {before: false},
		"counted before the queue was":   {before: true},
	} {
		t.Run(name, func(t *testing.T) {
			// Nobody counts again, and what tests read is not mixed in.
			d := newDeployment(t, cluster.Options{Postgres: map[string]string{"autovacuum": "off"}})
			first := d.open()
			makeHistory := func() {
				_, err := d.DB().Exec(t.Context(), historySQL, history)
				require.NoError(t, err)
			}
			s := first
			if c.before {
				makeHistory()
				_, err := d.DB().Exec(t.Context(), "ANALYZE")
				require.NoError(t, err)
				require.NoError(t, first.Close(t.Context()))
				s = d.open()
			} else {
				makeHistory()
			}
			d.enqueue(steps, "check_order")
			_, err := d.DB().Exec(t.Context(), longSQL, 10*perStep)
			require.NoError(t, err)
			read := d.rowsRead()
			for _, step := range claimed(t, s, steps) {
				s.Complete(step, success(step, `{}`))
			}
			synced(t, s)
			require.NoError(t, s.Close(t.Context()))
			for table, rows := range d.rowsRead() {
				require.LessOrEqual(t, rows-read[table], steps*perStep, "rows read of %s for %d steps", table, steps)
			}
		})
	}
}

// rowsRead is how many rows of each table connections have read that report
// it: they do when they end.
func (d *deployment) rowsRead() map[string]int {
	d.t.Helper()
	d.DB().Reset()
	d.QueueDB().Reset()
	require.Eventually(d.t, func() bool {
		return d.count(`SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name = 'tests' AND pid <> pg_backend_pid()`) == 0
	}, time.Minute, 10*time.Millisecond)
	read := map[string]int{}
	for _, pool := range []*pgxpool.Pool{d.DB(), d.QueueDB()} {
		rows, err := pool.Query(d.t.Context(), `
			SELECT format('%s.%s', schemaname, relname), seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables`)
		require.NoError(d.t, err)
		var table string
		var n int
		_, err = pgx.ForEachRow(rows, []any{&table, &n}, func() error {
			read[table] = n
			return nil
		})
		require.NoError(d.t, err)
	}
	require.NotEmpty(d.t, read, fmt.Sprint(read))
	return read
}
