package store

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func opened(t testing.TB, path string, o Options) *Store {
	t.Helper()
	s, err := Open(path, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "test.db") }

func TestAFileIsOpenOnceInAProcess(t *testing.T) {
	path := newPath(t)
	s := opened(t, path, Options{})
	_, err := Open(path, Options{})
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorContains(t, err, path)
	require.NoError(t, s.Close())
	opened(t, path, Options{})
}

func TestARefusedOpenLeavesTheLockOfTheOwnerInPlace(t *testing.T) {
	path := newPath(t)
	opened(t, path, Options{})
	for range 2 { // the second would succeed if the first had dropped the lock
		_, err := Open(path, Options{})
		require.ErrorIs(t, err, ErrLocked)
	}
}

func TestAFileIsOpenOnceWhateverItsPathIsCalled(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "test.db")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "real"), 0o755))
	require.NoError(t, os.Symlink(filepath.Join(dir, "real"), filepath.Join(dir, "linked")))
	for what, names := range map[string][2]string{
		"a link to the file":          {path, filepath.Join(dir, "link.db")},
		"a link to a folder":          {filepath.Join(dir, "real", "x.db"), filepath.Join(dir, "linked", "x.db")},
		"a way around":                {filepath.Join(dir, "real", "..", "y.db"), filepath.Join(dir, "y.db")},
		"a link to a file to be made": {filepath.Join(dir, "early.db"), filepath.Join(dir, "late.db")},
	} {
		t.Run(what, func(t *testing.T) {
			switch what {
			case "a link to the file":
				require.NoError(t, os.Symlink(names[0], names[1]))
			case "a link to a file to be made":
				require.NoError(t, os.Symlink(names[1], names[0]))
			}
			s, err := Open(names[0], Options{})
			require.NoError(t, err)
			defer func() { require.NoError(t, s.Close()) }()
			_, err = Open(names[1], Options{})
			require.ErrorIs(t, err, ErrLocked)
		})
	}
}

func TestTheLockFileNamesTheOwnerWhileTheFileIsOpen(t *testing.T) {
	path := newPath(t)
	s := opened(t, path, Options{})
	data, err := os.ReadFile(path + ".lock")
	require.NoError(t, err)
	var owner Owner
	require.NoError(t, json.Unmarshal(data, &owner))
	require.Equal(t, os.Getpid(), owner.PID)
	require.Contains(t, owner.String(), os.Args[0])
	require.NoError(t, s.Close())
	data, err = os.ReadFile(path + ".lock")
	require.NoError(t, err)
	require.Empty(t, data)
}

func TestALockFileLeftBehindDoesNotMatter(t *testing.T) {
	path := newPath(t)
	require.NoError(t, os.WriteFile(path+".lock", []byte(`{"pid":1,"host":"gone"}`), 0o644))
	opened(t, path, Options{})
}

func TestADatabaseInMemoryIsNobodyElses(t *testing.T) {
	opened(t, memory, Options{})
	opened(t, memory, Options{})
}

func TestTheFolderOfAFileIsMade(t *testing.T) {
	opened(t, filepath.Join(t.TempDir(), "a", "b", "test.db"), Options{})
}

func TestAFileThatCannotBeMadeIsAnErrorThatNamesIt(t *testing.T) {
	dir := t.TempDir()
	blocker := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(blocker, nil, 0o644))
	path := filepath.Join(blocker, "test.db")
	_, err := Open(path, Options{})
	require.ErrorContains(t, err, path)
	_, err = Open(dir, Options{})
	require.ErrorContains(t, err, dir)
}
