package template_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/template"
)

// folder writes files below a new directory.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	return dir
}

// named is a template without anything worth a warning.
func named(name string) string { return strings.Replace(heading, "name: t", "name: "+name, 1) + step }

func load(t *testing.T, paths ...string) (keys, errs []string) {
	t.Helper()
	ts, found := template.Load(paths...)
	for _, tpl := range ts {
		keys = append(keys, tpl.Name)
	}
	for _, f := range found {
		if f.Severity == template.SeverityError {
			errs = append(errs, f.String())
		}
	}
	return keys, errs
}

func TestDirectoriesAreSearchedForTemplates(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"a.yaml": named("a"), "deep/er/b.yml": named("b"), "deep/C.YAML": named("c"),
		"notes.txt": named("no"), "compose.yaml": "services: {}\n", "list.yaml": "- 1\n",
		".git/d.yaml": named("hidden"), "venv/pyvenv.cfg": "", "venv/lib/e.yaml": named("venv"), "node_modules/x/f.yaml": named("node"),
	})
	keys, errs := load(t, dir)
	require.Empty(t, errs)
	require.ElementsMatch(t, []string{"a", "b", "c"}, keys)
}

func TestAFileThatFailsIsToldOfAndTheOthersAreRead(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"a.yaml": named("a"), "b.yaml": "steps:\n\t- x\n", "c.yaml": "namespace_name: n\nsteps: []\n", "d.yaml": named("d"),
	})
	keys, errs := load(t, dir)
	require.Equal(t, []string{"a", "d"}, keys)
	require.Len(t, errs, 3)
	require.True(t, strings.HasPrefix(errs[0], filepath.Join(dir, "b.yaml")+":2:1: error: "), errs[0])
	require.True(t, strings.HasPrefix(errs[1], filepath.Join(dir, "c.yaml")+":1:1: error: template: key name is missing"), errs[1])
}

func TestAFileThatIsNamedMustBeATemplate(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"compose.yaml": "services: {}\n"})
	_, errs := load(t, filepath.Join(dir, "compose.yaml"))
	require.NotEmpty(t, errs)
}

func TestATemplateWithErrorsIsGivenToBeDrawn(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"a.yaml": named("a") + "    dependencies: [gone]\n"})
	keys, errs := load(t, dir)
	require.Equal(t, []string{"a"}, keys)
	require.Len(t, errs, 1)
}

func TestTheSameTemplateTwiceIsAnError(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"a.yaml": named("t"), "b.yaml": named("t"), "c.yaml": strings.Replace(named("t"), "1.0.0", "2.0.0", 1)})
	_, errs := load(t, dir)
	require.Equal(t, []string{
		filepath.Join(dir, "b.yaml") + ":1:7: error: template n/t@1.0.0 is already defined at " + filepath.Join(dir, "a.yaml") +
			":1:7; remove one of them or change its version [DUPLICATE_TEMPLATE]",
	}, errs)
}

func TestAFileIsReadOnce(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"a.yaml": named("a")})
	require.NoError(t, os.Symlink(filepath.Join(dir, "a.yaml"), filepath.Join(dir, "link.yaml")))
	keys, errs := load(t, dir, filepath.Join(dir, "a.yaml"), dir)
	require.Equal(t, []string{"a"}, keys)
	require.Empty(t, errs)
}

func TestAPathThatDoesNotExist(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "gone")
	_, errs := load(t, missing)
	require.Equal(t, []string{missing + ": error: cannot be read: no such file or directory [UNREADABLE]"}, errs)
}

// asNobody calls f as somebody who may not look into what is closed.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() == 0 {
		const nobody = 65534
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		syscall.RawSyscall(syscall.SYS_SETFSUID, nobody, 0, 0) // of this thread alone
		defer syscall.RawSyscall(syscall.SYS_SETFSUID, 0, 0, 0)
	}
	f()
}

func TestWhatIsClosedStopsOnlyASearchThatNamesIt(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "template-") // t.TempDir is for nobody else
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	theirs, secret := filepath.Join(dir, "theirs"), filepath.Join(dir, "secret.yaml")
	require.NoError(t, errors.Join(os.Chmod(dir, 0o755), os.Mkdir(theirs, 0), //nolint:gosec // for others to look into
		os.WriteFile(secret, nil, 0)))
	asNobody(t, func() {
		_, found := template.Load(dir)
		require.Len(t, found, 2)
		require.Equal(t, secret+": warning: cannot be read: permission denied [UNREADABLE]", found[0].String())
		require.Equal(t, theirs+": warning: cannot be searched for templates: permission denied [UNREADABLE]", found[1].String())

		_, errs := load(t, theirs, secret)
		require.Equal(t, []string{
			theirs + ": error: cannot be searched for templates: permission denied [UNREADABLE]",
			secret + ": error: cannot be read: permission denied [UNREADABLE]",
		}, errs)
	})
}
