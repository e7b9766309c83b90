package project

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/template"
)

func TestWriteMakesTheProject(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "demo")
	written, err := Write(dir)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{
		".gitignore", "README.md", "handlers.py", "order.json", "requirements.txt", "test_handlers.py", filepath.Join("templates", "checkout.yaml"),
	}, written)
	for _, name := range written {
		require.FileExists(t, filepath.Join(dir, name))
	}
}

func TestTheTemplateIsSoundAndTheInputFitsIt(t *testing.T) {
	dir := t.TempDir()
	_, err := Write(dir)
	require.NoError(t, err)
	ts, findings := template.Load(dir)
	for _, f := range findings {
		require.Equal(t, template.SeverityInfo, f.Severity, f.String())
	}
	require.Len(t, ts, 1)
	require.Equal(t, Task, ts[0].Name)
	input, err := os.ReadFile(filepath.Join(dir, Input))
	require.NoError(t, err)
	require.Empty(t, ts[0].CheckInput(input))
}

func TestWriteOverwritesNothing(t *testing.T) {
	dir := t.TempDir()
	mine := filepath.Join(dir, "handlers.py")
	require.NoError(t, os.WriteFile(mine, []byte("mine"), 0o600))
	_, err := Write(dir)
	require.ErrorIs(t, err, ErrExists)
	require.ErrorContains(t, err, mine)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing else may be written")
	kept, err := os.ReadFile(mine)
	require.NoError(t, err)
	require.Equal(t, "mine", string(kept))
}

func TestWriteGoesIntoAFolderWithOtherFiles(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o600))
	_, err := Write(dir)
	require.NoError(t, err)
}

func TestWriteTellsWhatKeepsItFromWriting(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := Write(file)
	require.ErrorContains(t, err, file)
}
