package stdlib_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/stdlib"
)

func TestADistributionHoldsAllSourcesAndWhatPipNeeds(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "below", "stubs")
	written, err := stdlib.WriteDistribution(dir)
	require.NoError(t, err)
	files := append(sources(t), "pyproject.toml", "_taskerpy.pyi")
	require.Len(t, files, written)
	for _, path := range files {
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		have, err := os.ReadFile(filepath.Join(dir, path))
		require.NoError(t, err)
		require.Equal(t, string(want), string(have), path)
	}
}

func TestADistributionReplacesAnEarlierOneAndLeavesOtherFilesAlone(t *testing.T) {
	dir := t.TempDir()
	own := filepath.Join(dir, "own.py")
	require.NoError(t, os.WriteFile(own, []byte("own"), 0o600))
	_, err := stdlib.WriteDistribution(dir)
	require.NoError(t, err)
	gone := filepath.Join(dir, "tasker_core", "gone.py")
	require.NoError(t, os.WriteFile(gone, nil, 0o600))
	_, err = stdlib.WriteDistribution(dir)
	require.NoError(t, err)
	require.NoFileExists(t, gone)
	require.FileExists(t, own)
}

func TestADistributionDoesNotReplaceWhatSomebodyElseWrote(t *testing.T) {
	for _, name := range []string{"tasker_core/__init__.py", "pyproject.toml"} {
		dir := t.TempDir()
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte("theirs"), 0o600))
		_, err := stdlib.WriteDistribution(dir)
		require.ErrorIs(t, err, stdlib.ErrForeign)
		require.ErrorContains(t, err, filepath.Join(dir, strings.Split(name, "/")[0]))
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, entries, 1)
	}
}

func TestADistributionThatCannotBeWrittenSaysWhere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := stdlib.WriteDistribution(file)
	require.ErrorContains(t, err, file)
}

// The distribution needs what the binary's virtualenv needs, and has the
// version that the package tells.
func TestADistributionAgreesWithThePackage(t *testing.T) {
	project, err := os.ReadFile("pyproject.toml")
	require.NoError(t, err)
	requirements, err := os.ReadFile("../requirements.txt")
	require.NoError(t, err)
	for _, line := range strings.Split(strings.TrimSpace(string(requirements)), "\n") {
		if !strings.HasPrefix(line, "#") {
			require.Contains(t, string(project), `    "`+line+`",`)
		}
	}
	native, err := os.ReadFile("tasker_core/_tasker_core.py")
	require.NoError(t, err)
	version := regexp.MustCompile(`(?m)^__version__ = "(.+)"$`).FindSubmatch(native)
	require.NotNil(t, version)
	require.Contains(t, string(project), `version = "`+string(version[1])+`"`)
}
