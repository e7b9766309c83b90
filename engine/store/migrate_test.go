package store

import (
	"context"
	"crypto/sha256"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// sqlite runs statements on a file as an SQLite shell would.
func sqlite(t testing.TB, path, sql string) {
	t.Helper()
	c, err := connect(path, url.Values{})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.close()) }()
	require.NoError(t, c.script(sql))
}

func TestAFileOfAnotherProgramIsRefusedAndLeftAsItIs(t *testing.T) {
	for what, sql := range map[string]string{
		"with tables":         "CREATE TABLE notes (text)",
		"with a version":      "PRAGMA user_version = 3",
		"with an application": "PRAGMA application_id = 7; CREATE TABLE notes (text)",
	} {
		t.Run(what, func(t *testing.T) {
			path := newPath(t)
			sqlite(t, path, sql)
			before, err := os.ReadFile(path)
			require.NoError(t, err)
			_, err = Open(path, Options{})
			require.ErrorContains(t, err, path)
			require.ErrorContains(t, err, "another program")
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, sha256.Sum256(before), sha256.Sum256(after))
			require.NoFileExists(t, path+"-wal")
		})
	}
}

func TestAFileThatIsNoDatabaseIsRefusedAndLeftAsItIs(t *testing.T) {
	path := newPath(t)
	text := []byte("Dear diary, today nothing happened. It was a day as long as any other, and then some more of it.")
	require.NoError(t, os.WriteFile(path, text, 0o644))
	_, err := Open(path, Options{})
	require.ErrorContains(t, err, path)
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, text, after)
}

func TestAFileOfANewerSchemaIsRefused(t *testing.T) {
	path := newPath(t)
	require.NoError(t, opened(t, path, Options{}).Close())
	sqlite(t, path, "PRAGMA user_version = 1000")
	_, err := Open(path, Options{})
	require.ErrorContains(t, err, "version 1000")
	require.ErrorContains(t, err, "use a newer taskerpy")
}

func TestAnEmptyFileBecomesADatabase(t *testing.T) {
	path := newPath(t)
	require.NoError(t, os.WriteFile(path, nil, 0o644))
	opened(t, path, Options{})
}

func TestOpeningAgainChangesNoSchema(t *testing.T) {
	path := newPath(t)
	require.NoError(t, opened(t, path, Options{}).Close())
	s := opened(t, path, Options{})
	version, err := s.w.pragma("user_version")
	require.NoError(t, err)
	all, err := migrations()
	require.NoError(t, err)
	require.Equal(t, int64(len(all)), version)
	id, err := s.w.pragma("application_id")
	require.NoError(t, err)
	require.Equal(t, int64(applicationID), id)
}

// bare connects to a new file without bringing its schema up to date.
func bare(t testing.TB) *conn {
	t.Helper()
	c, err := connect(filepath.Join(t.TempDir(), "test.db"), url.Values{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.close()) })
	return c
}

func TestMigrationsRunInOrderAndEachOnce(t *testing.T) {
	c := bare(t)
	all := []migration{{1, "CREATE TABLE a (x); INSERT INTO a VALUES (1);"}, {2, "INSERT INTO a VALUES (2);"}}
	require.NoError(t, migrate(c, all[:1]))
	require.NoError(t, migrate(c, all))
	require.NoError(t, migrate(c, all))
	sum, err := (&Reader{c: c}).sum("SELECT sum(x) FROM a")
	require.NoError(t, err)
	require.Equal(t, int64(3), sum)
}

func TestAMigrationThatFailsLeavesTheOneBefore(t *testing.T) {
	c := bare(t)
	all := []migration{{1, "CREATE TABLE a (x);"}, {2, "CREATE TABLE b (x); CREATE TABLE b (x);"}}
	require.ErrorContains(t, migrate(c, all), "migrate schema to version 2")
	require.NoError(t, c.script("ROLLBACK")) // what closing the file does
	version, err := c.pragma("user_version")
	require.NoError(t, err)
	require.Equal(t, int64(1), version)
	require.Error(t, c.script("SELECT * FROM b"))
	require.NoError(t, migrate(c, all[:1]))
}

// sum reads one integer.
func (r *Reader) sum(sql string) (n int64, err error) {
	err = r.query(context.Background(), sql, func(c row) error { n = c.int(0); return nil })
	return n, err
}
