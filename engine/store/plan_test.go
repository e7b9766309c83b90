package store

import (
	"context"
	"database/sql/driver"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// scanning are the statements that may look at all rows of a table, by the
// method that makes them, with the reason why their cost is no matter.
var scanning = map[string]string{
	"OldestDomainEvent": "it stops at the first row",
	"NamedTasks":        "templates are few, and read at the start",
	"NamedSteps":        "step names are few, and read at the start",
	"HalfDeleted":       "the table holds what is being deleted",
	"Publications":      "the table holds what is not published yet",
	"DLQEntries":        "dead letters are few",
	"DLQStats":          "dead letters are few",
	"Investigations":    "dead letters are few",
	"Tasks":             "a list of all tasks counts them",
}

// plan is what SQLite would do for a statement, a line for each table.
func plan(t *testing.T, c *conn, sql string) (steps []string) {
	t.Helper()
	s, err := c.prepare("EXPLAIN QUERY PLAN " + sql)
	require.NoError(t, err, sql)
	require.NoError(t, s.query(t.Context(), func(r row) error { steps = append(steps, r.text(3)); return nil },
		make([]driver.Value, len(s.args))...))
	return steps
}

// scans are the steps of a plan that look at every row of a table.
func scans(steps []string) (all []string) {
	for _, step := range steps {
		// A partial index holds the rows that are asked for and no others, a
		// subquery's rows were looked at where they came from.
		if strings.HasPrefix(step, "SCAN ") && !strings.Contains(step, "USING INDEX tasks_open") && !strings.Contains(step, "USING INDEX tasks_failed") &&
			!strings.HasPrefix(step, "SCAN (") && step != "SCAN CONSTANT ROW" && !strings.Contains(step, "VIRTUAL TABLE") {
			all = append(all, step)
		}
	}
	return all
}

// What the engine does for a step must not cost more in a file with many
// tasks: no statement that a running task needs may look at all rows.
func TestNoStatementOfARunningTaskLooksAtAllRows(t *testing.T) {
	s := opened(t, newPath(t), Options{})
	seed(t, s)
	ctx := t.Context()
	calls := map[string]func(*Reader) error{
		"NamedTasks":        func(r *Reader) error { return second(r.NamedTasks(ctx)) },
		"NamedSteps":        func(r *Reader) error { return second(r.NamedSteps(ctx)) },
		"LastTaskID":        func(r *Reader) error { return second(r.LastTaskID(ctx)) },
		"Identity":          func(r *Reader) error { return third(r.Identity(ctx, []byte{1})) },
		"Task":              func(r *Reader) error { return third(r.Task(ctx, id(1))) },
		"TaskState":         func(r *Reader) error { _, _, _, err := r.TaskState(ctx, id(1)); return err },
		"OpenTasks":         func(r *Reader) error { return second(r.OpenTasks(ctx, "blocked_by_failures", []string{"enqueued"})) },
		"FailedTasks":       func(r *Reader) error { return second(r.FailedTasks(ctx, []string{"in_progress"})) },
		"Tasks":             func(r *Reader) error { return third(r.Tasks(ctx, Filter{Limit: 1})) },
		"Steps":             func(r *Reader) error { return second(r.Steps(ctx, 1)) },
		"FullSteps":         func(r *Reader) error { return second(r.FullSteps(ctx, 1)) },
		"FullStep":          func(r *Reader) error { return third(r.FullStep(ctx, 1, id(1))) },
		"NamedTask":         func(r *Reader) error { return second(r.NamedTask(ctx, 1)) },
		"HistoryLength":     func(r *Reader) error { return second(r.HistoryLength(ctx, 1)) },
		"History":           func(r *Reader) error { return second(r.History(ctx, 1)) },
		"FailedAttempts":    func(r *Reader) error { return second(r.FailedAttempts(ctx, 1)) },
		"FirstTaskSince":    func(r *Reader) error { return second(r.FirstTaskSince(ctx, now)) },
		"CountTasks":        func(r *Reader) error { return second(r.CountTasks(ctx, 1)) },
		"CountSteps":        func(r *Reader) error { return second(r.CountSteps(ctx, 1)) },
		"SlowSteps":         func(r *Reader) error { return second(r.SlowSteps(ctx, 1, 1, 1)) },
		"SlowTasks":         func(r *Reader) error { return second(r.SlowTasks(ctx, 1, 1, 1, [2]string{})) },
		"DLQEntries":        func(r *Reader) error { return second(r.DLQEntries(ctx, "", 1, 0)) },
		"DLQEntry":          func(r *Reader) error { return third(r.DLQEntry(ctx, id(1))) },
		"LastDLQEntry":      func(r *Reader) error { return third(r.LastDLQEntry(ctx, id(1))) },
		"PendingDLQEntry":   func(r *Reader) error { return third(r.PendingDLQEntry(ctx, 1)) },
		"DLQStats":          func(r *Reader) error { return second(r.DLQStats(ctx)) },
		"Investigations":    func(r *Reader) error { return second(r.Investigations(ctx)) },
		"TasksInStates":     func(r *Reader) error { return r.TasksInStates(ctx, []string{"pending"}, func(OpenTask) {}) },
		"Publications":      func(r *Reader) error { return second(r.Publications(ctx)) },
		"Consumer":          func(r *Reader) error { return third(r.Consumer(ctx, "c")) },
		"LastDomainEvent":   func(r *Reader) error { return second(r.LastDomainEvent(ctx)) },
		"OldestDomainEvent": func(r *Reader) error { return second(r.OldestDomainEvent(ctx)) },
		"DomainEvents":      func(r *Reader) error { return second(r.DomainEvents(ctx, 0, 1)) },
		"ExpiredTasks":      func(r *Reader) error { return third(r.ExpiredTasks(ctx, 0, now, 1)) },
		"HalfDeleted":       func(r *Reader) error { return second(r.HalfDeleted(ctx)) },
	}
	for i := range reflect.TypeFor[*Reader]().NumMethod() {
		name := reflect.TypeFor[*Reader]().Method(i).Name
		call, known := calls[name]
		require.True(t, known, "tell here how to call the new method %s", name)
		read(t, s, func(r *Reader) {
			before := map[string]bool{}
			for sql := range r.c.stmts {
				before[sql] = true
			}
			require.NoError(t, call(r), name)
			looked := 0
			for sql := range r.c.stmts {
				if before[sql] || strings.HasPrefix(sql, "EXPLAIN") {
					continue
				}
				found := scans(plan(t, r.c, sql))
				looked += len(found)
				if scanning[name] == "" {
					require.Empty(t, found, "%s: %s", name, sql)
				}
			}
			if scanning[name] != "" {
				require.NotZero(t, looked, "%s looks at all rows no more: it needs no exception", name)
			}
		})
	}

	// What writes.
	write(t, s, func() error {
		if _, err := s.ExpireTask(1, now+100); err != nil {
			return err
		}
		_, err := s.DeleteExpired(1)
		return err
	})
	write(t, s, func() error { return second(s.change(`DELETE FROM publications WHERE id = ?`, 1)) })
	for sql := range s.w.stmts {
		switch word, _, _ := strings.Cut(sql, " "); word {
		case "INSERT", "UPDATE", "DELETE", "SELECT":
			require.Empty(t, scans(plan(t, s.w, sql)), sql)
		}
	}
}

func second[A any](_ A, err error) error { return err }

func third[A, B any](_ A, _ B, err error) error { return err }

// A list gives the newest tasks: it must not sort all of them first, whatever
// it is filtered by.
func TestAListOfTasksIsReadFromItsEnd(t *testing.T) {
	s := opened(t, newPath(t), Options{})
	seed(t, s)
	for _, f := range []Filter{{}, {Namespace: "shop"}, {State: "complete"}, {Except: "complete"}, {Initiator: "me", SourceSystem: "here"}} {
		f.Limit = 10
		read(t, s, func(r *Reader) {
			before := len(r.c.stmts)
			_, _, err := r.Tasks(context.Background(), f)
			require.NoError(t, err)
			require.Greater(t, len(r.c.stmts), before)
			for sql := range r.c.stmts {
				if strings.Contains(sql, "ORDER BY t.id DESC") && !strings.HasPrefix(sql, "EXPLAIN") {
					steps := plan(t, r.c, sql)
					require.NotContains(t, strings.Join(steps, "; "), "TEMP B-TREE", "%+v: %s", f, sql)
					require.Regexp(t, "^(SCAN|SEARCH) t", steps[0], "%+v", f)
				}
			}
		})
	}
}
