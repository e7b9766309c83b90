package engine

import (
	"database/sql"
	"fmt"
	"testing"

	_ "github.com/mattn/go-sqlite3" // as an SQLite shell would read the file
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

// rows runs a query on an engine's file and writes each row as one line.
func rows(t testing.TB, e *Engine, query string, args ...any) (all []string) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+e.o.Path+"?mode=ro")
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	r, err := db.Query(query, args...)
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	columns, err := r.Columns()
	require.NoError(t, err)
	for r.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(any)
		}
		require.NoError(t, r.Scan(values...))
		line := ""
		for i, v := range values {
			if i > 0 {
				line += " "
			}
			line += fmt.Sprint(*v.(*any))
		}
		all = append(all, line)
	}
	require.NoError(t, r.Err())
	return all
}

func TestTheFileShowsTransitionsInTheWordsOfTheSpecification(t *testing.T) {
	e := open(t, Options{ImmediateRetries: true}, dag("pair", "first", "second: first"))
	id := submit(t, e, asked("pair", 1))
	finish(t, e, take(t, e), dispatch.RetryableFailure, "again")
	finish(t, e, take(t, e), dispatch.Success, 1)
	finish(t, e, take(t, e), dispatch.Success, 1)
	await(t, e, id)

	require.Equal(t, []string{
		"<nil> pending 1 0", "pending initializing 2 0", "initializing enqueuing_steps 3 0", "enqueuing_steps steps_in_process 4 0",
		"steps_in_process evaluating_results 5 0", "evaluating_results enqueuing_steps 6 0", "enqueuing_steps steps_in_process 7 0",
		"steps_in_process evaluating_results 8 0", "evaluating_results enqueuing_steps 9 0", "enqueuing_steps steps_in_process 10 0",
		"steps_in_process evaluating_results 11 0", "evaluating_results complete 12 1",
	}, rows(t, e, `SELECT from_state, to_state, sort_key, most_recent FROM task_transitions WHERE task_uuid = ? ORDER BY sort_key`, id[:]))

	first := stepOf(t, e, id, "first").StepUUID
	require.Equal(t, []string{
		"<nil> pending 1 0", "pending enqueued 2 0", "enqueued in_progress 3 0", "in_progress enqueued_as_error_for_orchestration 4 0",
		"enqueued_as_error_for_orchestration waiting_for_retry 5 0", "waiting_for_retry pending 6 0", "pending enqueued 7 0",
		"enqueued in_progress 8 0", "in_progress enqueued_for_orchestration 9 0", "enqueued_for_orchestration complete 10 1",
	}, rows(t, e, `SELECT from_state, to_state, sort_key, most_recent FROM workflow_step_transitions WHERE workflow_step_uuid = ? ORDER BY sort_key`, first[:]))
}

func TestTheFileShowsEdgesAndProgress(t *testing.T) {
	e := open(t, Options{}, diamond)
	id := submit(t, e, asked("diamond", 1))
	finish(t, e, take(t, e), dispatch.Success, 1)
	running := takeAll(t, e, 2)
	finish(t, e, running["left"], dispatch.Success, 1)
	settle(t, e)
	require.Equal(t, []string{"start left", "start right", "left end", "right end"}, rows(t, e, `
		SELECT p.name, s.name FROM workflow_step_edges e
		JOIN task_steps p ON p.uuid = e.from_step JOIN task_steps s ON s.uuid = e.to_step ORDER BY p.id, s.id`))
	require.Equal(t, []string{"start 1 0", "left 1 0", "right 0 1", "end 0 0"},
		rows(t, e, `SELECT name, processed, in_process FROM task_steps WHERE task_uuid = ? ORDER BY position`, id[:]))
}

func TestEveryTransitionOfATaskStartsWhereTheLastOneEnded(t *testing.T) {
	e := open(t, Options{ImmediateRetries: true}, mixed)
	work(t, e, func(s *dispatch.Step) (dispatch.Outcome, any) {
		if s.Attempt == 1 && len(s.Name)%2 == 0 {
			return dispatch.RetryableFailure, "again"
		}
		return dispatch.Success, 1
	})
	for i := range 10 {
		await(t, e, submit(t, e, asked("mixed", i)))
	}
	for _, view := range []string{"task_transitions", "workflow_step_transitions"} {
		owner := map[string]string{"task_transitions": "task_uuid", "workflow_step_transitions": "workflow_step_uuid"}[view]
		require.Equal(t, []string{"0"}, rows(t, e, fmt.Sprintf(`
			SELECT count(*) FROM (SELECT from_state, lag(to_state) OVER (PARTITION BY %s ORDER BY sort_key) AS before FROM %s)
			WHERE from_state IS NOT before`, owner, view)))
	}
}

func TestTheFileIsSoundAfterMuchWork(t *testing.T) {
	e := open(t, Options{ImmediateRetries: true}, mixed)
	work(t, e, succeed)
	for i := range 20 {
		await(t, e, submit(t, e, asked("mixed", i)))
	}
	require.NoError(t, e.Close(t.Context()))
	require.Equal(t, []string{"ok"}, rows(t, e, `PRAGMA integrity_check`))
	require.Empty(t, rows(t, e, `PRAGMA foreign_key_check`))
}
