package embed_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/embed"
)

// venv makes the files by which a virtualenv of some version is told.
func venv(t *testing.T, version string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), ".venv")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "bin"), 0o755))
	require.NoError(t, os.Symlink(embed.BuiltFor(), filepath.Join(dir, "bin", "python")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pyvenv.cfg"), []byte("home = /usr/bin\nversion = "+version+"\n"), 0o600))
	return dir
}

func find(t *testing.T, choice string, beside ...string) (embed.Python, error) {
	t.Helper()
	return embed.FindPython(t.Context(), choice, beside)
}

func TestAChosenFolderComesFirst(t *testing.T) {
	chosen := venv(t, embed.RuntimeVersion())
	t.Setenv("VIRTUAL_ENV", venv(t, embed.RuntimeVersion()))
	p, err := find(t, chosen)
	require.NoError(t, err)
	require.Equal(t, chosen, p.Prefix)
	require.Equal(t, filepath.Join(chosen, "bin", "python"), p.Executable)
	require.Empty(t, p.Warnings)
}

func TestAChosenExecutableBringsItsVirtualenv(t *testing.T) {
	chosen := venv(t, embed.RuntimeVersion())
	p, err := find(t, filepath.Join(chosen, "bin", "python"))
	require.NoError(t, err)
	require.Equal(t, chosen, p.Prefix)
}

func TestAChosenExecutableMayBeOutsideOfVirtualenvs(t *testing.T) {
	p, err := find(t, embed.BuiltFor())
	require.NoError(t, err)
	require.Empty(t, p.Prefix)
	require.Equal(t, embed.RuntimeVersion(), p.Version)
}

func TestTheActiveVirtualenvComesBeforeOneBeside(t *testing.T) {
	active, beside := venv(t, embed.RuntimeVersion()), venv(t, embed.RuntimeVersion())
	t.Setenv("VIRTUAL_ENV", active)
	p, err := find(t, "", filepath.Dir(beside))
	require.NoError(t, err)
	require.Equal(t, active, p.Prefix)
}

func TestTheFirstVirtualenvBesideIsTaken(t *testing.T) {
	t.Setenv("VIRTUAL_ENV", "")
	first, second := venv(t, embed.RuntimeVersion()), venv(t, embed.RuntimeVersion())
	p, err := find(t, "", t.TempDir(), filepath.Dir(first), filepath.Dir(second))
	require.NoError(t, err)
	require.Equal(t, first, p.Prefix)
}

func TestWithoutAVirtualenvThePythonOfTheBuildIsTaken(t *testing.T) {
	t.Setenv("VIRTUAL_ENV", "")
	p, err := find(t, "", t.TempDir())
	require.NoError(t, err)
	require.Equal(t, embed.BuiltFor(), p.Executable)
	require.Empty(t, p.Prefix)
}

func TestAVirtualenvOfAnotherMinorVersionIsRefused(t *testing.T) {
	dir := venv(t, "3.2.1")
	_, err := find(t, dir)
	require.ErrorIs(t, err, embed.ErrUnavailable)
	require.ErrorContains(t, err, dir+" is of Python 3.2.1, but this taskerpy embeds Python "+embed.RuntimeVersion())
	require.ErrorContains(t, err, "make PYTHON=python3.2")
}

func TestAVirtualenvOfAnotherPatchVersionIsWarnedAbout(t *testing.T) {
	minor := embed.RuntimeVersion()[:strings.LastIndex(embed.RuntimeVersion(), ".")]
	p, err := find(t, venv(t, minor+".99"))
	require.NoError(t, err)
	require.Len(t, p.Warnings, 1)
	require.Contains(t, p.Warnings[0], minor+".99")
}

func TestWhatIsNoVirtualenvIsRefusedWithARemedy(t *testing.T) {
	dir := t.TempDir()
	_, err := find(t, dir)
	require.ErrorIs(t, err, embed.ErrUnavailable)
	require.ErrorContains(t, err, "it has no pyvenv.cfg; make one with")
}

func TestAVirtualenvWhosePythonIsGoneIsRefused(t *testing.T) {
	dir := venv(t, embed.RuntimeVersion())
	python := filepath.Join(dir, "bin", "python")
	require.NoError(t, os.Remove(python))
	require.NoError(t, os.Symlink("/no/such/python", python))
	_, err := find(t, dir)
	require.ErrorIs(t, err, embed.ErrUnavailable)
	require.ErrorContains(t, err, "points nowhere")
}

func TestAMissingChoiceIsRefused(t *testing.T) {
	_, err := find(t, "/no/such/folder")
	require.ErrorIs(t, err, embed.ErrUnavailable)
}

func TestWhatIsNoPythonIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "python")
	require.NoError(t, os.WriteFile(file, []byte("#!/bin/sh\nexit 1\n"), 0o700))
	_, err := find(t, file)
	require.ErrorIs(t, err, embed.ErrUnavailable)
	require.ErrorContains(t, err, "does not run as a Python")
}
