package install_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// machine is a PATH that holds what a machine has installed; its apt-get
// writes down what it is asked for.
type machine struct {
	t   *testing.T
	bin string
	log string
}

// newMachine has everything the build needs, is Debian, and we are root.
func newMachine(t *testing.T) machine {
	t.Helper()
	dir := t.TempDir()
	m := machine{t: t, bin: filepath.Join(dir, "bin"), log: filepath.Join(dir, "apt.log")}
	require.NoError(t, os.Mkdir(m.bin, 0o755))
	m.has("go", `case "$2" in CC) echo gcc;; PKG_CONFIG) echo pkg-config;; GOVERSION) echo go1.26.0;; esac`)
	m.has("gcc", "")
	m.has("pkg-config", "")
	m.python("3.11", "fine", "fine")
	m.has("id", "echo 0")
	m.has("apt-get", `echo "$*" >>`+m.log)
	return m
}

// has installs a program of the given shell code.
func (m machine) has(name, code string) {
	m.t.Helper()
	require.NoError(m.t, os.WriteFile(filepath.Join(m.bin, name), []byte("#!/bin/sh\n"+code+"\n"), 0o755))
}

func (m machine) lacks(name string) {
	m.t.Helper()
	require.NoError(m.t, os.Remove(filepath.Join(m.bin, name)))
}

// python installs a python3 that reports this about itself.
func (m machine) python(version, headers, venv string) {
	supported := "yes"
	if version < "3.10" {
		supported = "no"
	}
	m.has("python3", "echo version="+version+" supported="+supported+" headers="+headers+" venv="+venv)
}

// prepare runs scripts/prerequisites and returns what it says, its exit code
// and the calls of apt-get.
func (m machine) prepare() (said string, code int, installed []string) {
	m.t.Helper()
	cmd := exec.Command(filepath.Join(root(m.t), "scripts", "prerequisites"))
	cmd.Env = []string{"PATH=" + m.bin, "PYTHON=python3"}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code, err = exit.ExitCode(), nil
	}
	require.NoError(m.t, err)
	calls, err := os.ReadFile(m.log)
	if err == nil {
		installed = strings.Split(strings.TrimSpace(string(calls)), "\n")
	}
	return stderr.String(), code, installed
}

func TestNothingIsInstalledWhereEverythingIsThere(t *testing.T) {
	said, code, installed := newMachine(t).prepare()
	require.Empty(t, said)
	require.Zero(t, code)
	require.Empty(t, installed)
}

func TestRootGetsWhatIsMissing(t *testing.T) {
	m := newMachine(t)
	m.lacks("gcc")
	m.lacks("pkg-config")
	m.python("3.12", "missing", "missing")
	said, code, installed := m.prepare()
	require.Zero(t, code, said)
	require.Equal(t, []string{"install -y --no-install-recommends gcc libc6-dev pkg-config python3.12-dev python3.12-venv"}, installed)
}

func TestRootGetsAPython(t *testing.T) {
	m := newMachine(t)
	m.lacks("python3")
	_, code, installed := m.prepare()
	require.Zero(t, code)
	require.Equal(t, []string{"install -y --no-install-recommends python3 python3-dev python3-venv"}, installed)
}

func TestPackageListsAreFetchedWhenThoseAtHandDoNotDo(t *testing.T) {
	m := newMachine(t)
	m.lacks("gcc")
	m.has("apt-get", `echo "$*" >>`+m.log+`
[ "$1" != update ] || : >`+m.log+`.updated
[ -e `+m.log+`.updated ]`)
	_, code, installed := m.prepare()
	require.Zero(t, code)
	install := "install -y --no-install-recommends gcc libc6-dev"
	require.Equal(t, []string{install, "update -q", install}, installed)
}

func TestWhoIsNotRootIsToldWhatToType(t *testing.T) {
	m := newMachine(t)
	m.has("id", "echo 1000")
	m.lacks("gcc")
	m.python("3.13", "missing", "fine")
	said, code, installed := m.prepare()
	require.Equal(t, 3, code)
	require.Empty(t, installed)
	require.Equal(t, "taskerpy: missing: a C compiler, headers of Python 3.13; type: sudo apt-get install -y gcc libc6-dev python3.13-dev\n", said)
}

func TestWithoutAptTheMissingThingsAreNamed(t *testing.T) {
	m := newMachine(t)
	m.lacks("apt-get")
	m.lacks("pkg-config")
	said, code, _ := m.prepare()
	require.Equal(t, 3, code)
	require.Equal(t, "taskerpy: missing: pkg-config; install them with your system's package manager (on Debian: pkg-config)\n", said)
}

func TestARefusedInstallationIsNotTakenForSuccess(t *testing.T) {
	m := newMachine(t)
	m.lacks("gcc")
	m.has("apt-get", "exit 100")
	said, code, _ := m.prepare()
	require.Equal(t, 3, code)
	require.Contains(t, said, "apt-get could not install a C compiler")
}

func TestAnUnsupportedPythonIsNamedWithTheRemedy(t *testing.T) {
	m := newMachine(t)
	m.python("2.7", "fine", "fine")
	said, code, _ := m.prepare()
	require.Equal(t, 3, code)
	require.Contains(t, said, "is Python 2.7; taskerpy builds with 3.10 to 3.13: choose one, for instance with `make PYTHON=python3.12 …`")
}

func TestWithoutGoTheInstructionsAreNamed(t *testing.T) {
	m := newMachine(t)
	m.lacks("go")
	said, code, _ := m.prepare()
	require.Equal(t, 3, code)
	require.Contains(t, said, "Go is missing: install Go 1.26 or newer")
	require.Equal(t, 1, strings.Count(said, "\n"))
}

func TestAnOldGoIsRefused(t *testing.T) {
	m := newMachine(t)
	m.has("go", "echo go1.19.8")
	said, code, _ := m.prepare()
	require.Equal(t, 3, code)
	require.Contains(t, said, "is go1.19.8: install Go 1.26 or newer")
}

// python is the one that make chose.
func python(t *testing.T) string {
	t.Helper()
	if exe := os.Getenv("PYTHON"); exe != "" {
		return exe
	}
	exe, err := exec.LookPath("python3")
	require.NoError(t, err)
	return exe
}

func TestAPythonWithoutSharedLibraryIsNamedWithTheRemedy(t *testing.T) {
	cmd := exec.Command(python(t), "-c", `
import runpy, sys, sysconfig
sysconfig.get_config_vars().update(LIBDIR="/nonexistent", LIBPL="/nonexistent")
sys.base_prefix = "/nonexistent"
runpy.run_path(sys.argv.pop(1), run_name="__main__")
`, filepath.Join(root(t), "embed", "build", "pkgconfig.py"), t.TempDir())
	out, err := cmd.CombinedOutput()
	require.Equal(t, 3, cmd.ProcessState.ExitCode(), "%v: %s", err, out)
	require.Regexp(t, `^taskerpy: \S+ \(Python \S+\) has no shared libpython\S+\.so; use one that has: .*--enable-shared pyenv install --force`, string(out))
	require.Equal(t, 1, strings.Count(string(out), "\n"))
}
