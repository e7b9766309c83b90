package built

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Tool returns the folder of a virtualenv with this release of a Python
// package, which is made under build/ when it is missing. The test is skipped
// when no package index can be reached.
func Tool(t testing.TB, name, version string) (folder string) {
	t.Helper()
	release, err := exec.Command(filepath.Join(Virtualenv(), "bin", "python"), "-c",
		`import os, sys; print("%d.%d" % sys.version_info[:2]); print(os.path.realpath(sys._base_executable))`).Output()
	require.NoError(t, err, "ask the virtualenv for its Python")
	about := strings.Split(strings.TrimSpace(string(release)), "\n")
	folder = filepath.Join(Root(), "build", fmt.Sprintf("%s-%s-py%s", name, version, about[0]))
	finished := filepath.Join(folder, "finished")
	require.NoError(t, os.MkdirAll(folder, 0o755))
	// Two at once would spoil each other's.
	lock, err := os.OpenFile(folder+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	require.NoError(t, err)
	defer func() { require.NoError(t, lock.Close()) }()
	require.NoError(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	if _, err := os.Stat(finished); err == nil {
		return folder
	}
	out, err := exec.Command(about[1], "-m", "venv", "--clear", folder).CombinedOutput()
	require.NoError(t, err, "%s", out)
	pip := exec.Command(filepath.Join(folder, "bin", "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
		"--retries", "1", "--timeout", "15", name+"=="+version)
	if out, err = pip.CombinedOutput(); err != nil && unreachable(string(out)) {
		t.Skipf("pip cannot fetch %s %s: no package index can be reached", name, version)
	}
	require.NoError(t, err, "pip install %s==%s:\n%s", name, version, out)
	require.NoError(t, os.WriteFile(finished, nil, 0o644))
	return folder
}

// unreachable tells failures of the network from others of pip.
func unreachable(said string) bool {
	said = strings.ToLower(said)
	for _, word := range []string{"connection", "timed out", "timeout", "name or service not known", "proxyerror"} {
		if strings.Contains(said, word) {
			return true
		}
	}
	return false
}
