package engine

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// countWrites makes the file at path count the rows that are written to the
// tables of running tasks.
func countWrites(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+path)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	_, err = db.Exec("CREATE TABLE writes (name TEXT PRIMARY KEY, n INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0)")
	require.NoError(t, err)
	for table, size := range map[string]string{
		"tasks": "0", "workflow_steps": "coalesce(length(new.results), 0)", "history": "length(new.changes)", "failed_attempts": "0",
	} {
		_, err = db.Exec("INSERT INTO writes (name) VALUES (?)", table)
		require.NoError(t, err)
		for _, event := range []string{"INSERT", "UPDATE"} {
			_, err = db.Exec(fmt.Sprintf("CREATE TRIGGER %[1]s_%[2]s AFTER %[2]s ON %[1]s BEGIN UPDATE writes SET n = n + 1, bytes = bytes + %[3]s WHERE name = '%[1]s'; END",
				table, event, size))
			require.NoError(t, err)
		}
	}
}

// written tells how many rows, and how many bytes of results and history, one
// task of a template writes for each of its steps.
func written(t *testing.T, yaml string, steps int) (rowsPerStep, bytesPerStep float64) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.db")
	require.NoError(t, open(t, Options{Path: path}).Close(context.Background()))
	countWrites(t, path)
	e := open(t, Options{Path: path}, yaml)
	work(t, e, succeed)
	require.Equal(t, "complete", await(t, e, submit(t, e, asked("shape", 1))).Status)
	number := func(query string) float64 {
		n, err := strconv.ParseFloat(rows(t, e, query)[0], 64)
		require.NoError(t, err)
		return n
	}
	return number("SELECT sum(n) FROM writes") / float64(steps), number("SELECT sum(bytes) FROM writes") / float64(steps)
}

// fan is a step, n that depend on it, and one that depends on all of those.
func fan(name string, n int) string {
	steps, last := []string{"first"}, "last:"
	for i := range n {
		steps = append(steps, fmt.Sprintf("s%d: first", i))
		last += fmt.Sprintf(" s%d", i)
	}
	return dag(name, append(steps, last)...)
}

// line is n steps of which each depends on the one before.
func line(name string, n int) string {
	steps := []string{"s0"}
	for i := 1; i < n; i++ {
		steps = append(steps, fmt.Sprintf("s%d: s%d", i, i-1))
	}
	return dag(name, steps...)
}

// A step is written when it is created, claimed and finished; that does not
// depend on how many others its task has.
func TestWhatAStepWritesDoesNotGrowWithItsTask(t *testing.T) {
	for what, shape := range map[string]func(string, int) string{"fan": fan, "chain": line} {
		t.Run(what, func(t *testing.T) {
			extra := map[string]int{"fan": 2}[what]
			small, smallBytes := written(t, shape("shape", 20), 20+extra)
			large, largeBytes := written(t, shape("shape", 500), 500+extra)
			// How many changes share a commit is chance, and a few rows follow
			// from that.
			require.LessOrEqual(t, large, small+1)
			require.LessOrEqual(t, largeBytes, smallBytes+20)
		})
	}
}

// What is finished is in the file alone.
func TestFinishedTasksAreNotInMemory(t *testing.T) {
	e := open(t, Options{}, linear)
	work(t, e, succeed)
	for i := range 200 {
		require.Equal(t, "complete", await(t, e, submit(t, e, asked("linear", i))).Status)
	}
	held := &census{done: make(chan error, 1)}
	require.NoError(t, e.ask(t.Context(), held, held.done))
	require.Zero(t, *held.held)
}

// census counts what the writer holds for tasks.
type census struct {
	held *struct{ runs, uuids, handed, ready, timers, parked int }
	done chan error
}

func (c *census) apply(w *writer) error {
	c.held = &struct{ runs, uuids, handed, ready, timers, parked int }{
		runs: len(w.runs), uuids: len(w.byUUID), handed: len(w.handed), ready: w.ready.len(), timers: w.timers.len(),
	}
	for _, n := range w.named {
		c.held.parked += len(n.parked)
	}
	return nil
}

func (c *census) reply(_ *writer, err error) { c.done <- err }
