package engine

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

// restored opens a backup as an engine's file.
func restored(t testing.TB, path string, yaml ...string) *Engine {
	t.Helper()
	return open(t, Options{Path: path}, yaml...)
}

func TestABackupHoldsEverythingThatIsDurable(t *testing.T) {
	for what, o := range map[string]Options{"of a file": {}, "of a database in memory": {Path: memory}} {
		t.Run(what, func(t *testing.T) {
			e := open(t, o, linear, dag("single", "only"))
			done := submit(t, e, asked("single", 1))
			finish(t, e, take(t, e), dispatch.Success, 7)
			open := submit(t, e, asked("linear", 1))
			finish(t, e, take(t, e), dispatch.Success, 1)
			settle(t, e)
			to := filepath.Join(t.TempDir(), "backup.db")
			require.NoError(t, e.Backup(t.Context(), to))
			finish(t, e, take(t, e), dispatch.Success, 1) // after the backup
			settle(t, e)

			b := restored(t, to, linear, dag("single", "only"))
			require.Equal(t, "complete", statusOf(t, b, done))
			require.Contains(t, string(stepOf(t, b, done, "only").Results), `"result":7`)
			require.Equal(t, "complete", states(t, b, open)["one"])
			require.Equal(t, "enqueued", states(t, b, open)["two"])
			work(t, b, succeed)
			require.Equal(t, "complete", await(t, b, open).Status)
		})
	}
}

func TestAFileIsBackedUpWhileAnEngineHasItOpen(t *testing.T) {
	e := open(t, Options{}, linear)
	id := submit(t, e, asked("linear", 1))
	to := filepath.Join(t.TempDir(), "backup.db")
	require.NoError(t, BackupFile(t.Context(), e.o.Path, to))
	require.Equal(t, "steps_in_process", statusOf(t, restored(t, to, linear), id))
	submit(t, e, asked("linear", 2))
}

func TestTasksAreAcceptedWhileABackupIsMade(t *testing.T) {
	e := open(t, Options{}, dag("single", "only"))
	work(t, e, succeed)
	for i := range 200 {
		submit(t, e, asked("single", i))
	}
	dir := t.TempDir()
	done := make(chan error, 1)
	go func() { done <- e.Backup(t.Context(), filepath.Join(dir, "backup.db")) }()
	for i := range 100 {
		await(t, e, submit(t, e, asked("single", 1000+i)))
	}
	require.NoError(t, <-done)
	list, err := restored(t, filepath.Join(dir, "backup.db")).Tasks(t.Context(), TaskFilter{})
	require.NoError(t, err)
	require.GreaterOrEqual(t, list.Pagination.TotalCount, 200)
}

func TestABackupNeverTouchesWhatExists(t *testing.T) {
	e := open(t, Options{}, linear)
	to := filepath.Join(t.TempDir(), "backup.db")
	require.NoError(t, os.WriteFile(to, []byte("mine"), 0o600))
	err := e.Backup(t.Context(), to)
	require.ErrorIs(t, err, fs.ErrExist)
	require.ErrorContains(t, err, to)
	data, err := os.ReadFile(to)
	require.NoError(t, err)
	require.Equal(t, "mine", string(data))
}

func TestABackupThatFailsLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other.db")
	require.NoError(t, os.WriteFile(other, []byte("no database at all, only some text that is long enough to look like one"), 0o600))
	for what, from := range map[string]string{"what is no database": other, "what does not exist": filepath.Join(dir, "none.db")} {
		to := t.TempDir()
		err := BackupFile(t.Context(), from, filepath.Join(to, "backup.db"))
		require.ErrorContains(t, err, from, what)
		left, err := os.ReadDir(to)
		require.NoError(t, err)
		require.Empty(t, left, what)
		require.NoFileExists(t, filepath.Join(dir, "none.db"))
	}
}

func TestABackupToAFolderThatDoesNotExistNamesIt(t *testing.T) {
	e := open(t, Options{}, linear)
	to := filepath.Join(t.TempDir(), "nowhere", "backup.db")
	err := e.Backup(t.Context(), to)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, to)
}

func TestAClosedEngineIsNotBackedUp(t *testing.T) {
	e := open(t, Options{}, linear)
	require.NoError(t, e.Close(t.Context()))
	require.ErrorIs(t, e.Backup(t.Context(), filepath.Join(t.TempDir(), "backup.db")), ErrClosed)
}
