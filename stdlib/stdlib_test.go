package stdlib_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/stdlib"
)

// sources are the files of this folder that belong into the binary.
func sources(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, pkg := range []string{"tasker_core", "taskerpy_host"} {
		require.NoError(t, filepath.WalkDir(pkg, func(path string, d fs.DirEntry, err error) error {
			switch filepath.Ext(path) {
			case ".py", ".pyi", ".typed":
				out = append(out, filepath.ToSlash(path))
			}
			return err
		}))
	}
	return out
}

func TestEverySourceFileIsEmbedded(t *testing.T) {
	for _, path := range sources(t) {
		_, err := fs.Stat(stdlib.FS(), path)
		require.NoError(t, err)
	}
}

func TestNothingButSourcesIsEmbedded(t *testing.T) {
	var embedded []string
	require.NoError(t, fs.WalkDir(stdlib.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if !d.IsDir() {
			embedded = append(embedded, path)
		}
		return err
	}))
	require.ElementsMatch(t, sources(t), embedded)
}

func TestExtractWritesTheSourcesWhereItIsTold(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("TASKERPY_CACHE_DIR", cache)
	dir, err := stdlib.Extract()
	require.NoError(t, err)
	require.Equal(t, cache, filepath.Dir(dir))
	for _, path := range sources(t) {
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		have, err := os.ReadFile(filepath.Join(dir, path))
		require.NoError(t, err)
		require.Equal(t, string(want), string(have), path)
	}
}

func TestExtractMendsAFileThatWasChanged(t *testing.T) {
	t.Setenv("TASKERPY_CACHE_DIR", t.TempDir())
	dir, err := stdlib.Extract()
	require.NoError(t, err)
	file := filepath.Join(dir, "tasker_core", "__init__.py")
	require.NoError(t, os.WriteFile(file, []byte("changed"), 0o600))
	again, err := stdlib.Extract()
	require.NoError(t, err)
	require.Equal(t, dir, again)
	have, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NotEqual(t, "changed", string(have))
}

func TestExtractPassesOverAFolderThatOthersMayWrite(t *testing.T) {
	open := t.TempDir()
	t.Setenv("TASKERPY_CACHE_DIR", open)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir, err := stdlib.Extract()
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o777)) //nolint:gosec // what is to be refused
	other, err := stdlib.Extract()
	require.NoError(t, err)
	require.NotEqual(t, open, filepath.Dir(other))
}

func TestExtractTakesTheNextFolderIfOneCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	cache := t.TempDir()
	t.Setenv("TASKERPY_CACHE_DIR", filepath.Join(file, "below"))
	t.Setenv("XDG_CACHE_HOME", cache)
	dir, err := stdlib.Extract()
	require.NoError(t, err)
	require.Equal(t, filepath.Join(cache, "taskerpy"), filepath.Dir(dir))
}
