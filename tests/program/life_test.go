package program_test

import (
	"bufio"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// program is the path of a program in testdata.
func program(name string) string { return filepath.Join(root, "tests/program/testdata", name) }

func TestAProgramMayLeaveItsWorkerRunning(t *testing.T) {
	t.Parallel()
	p := newPlace(t, ours())
	e := p.python(program("take_and_leave.py"))
	require.Equal(t, 7, e.code, e.stderr)
	up := p.python(program("take_up.py"), strings.TrimSpace(e.stdout))
	require.Zero(t, up.code, up.stderr)
}

func TestWhatAKilledProgramHadIsTakenUpByTheNext(t *testing.T) {
	t.Parallel()
	p := newPlace(t, ours())
	cmd := p.command(program("take_and_leave.py"), "wait")
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	task, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	up := p.python(program("take_up.py"), strings.TrimSpace(task))
	require.Zero(t, up.code, up.stderr)
}

func TestAWorkerThatCannotBeStarted(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(t *testing.T, p *place)
		says    string
	}{
		"there are no templates": {
			func(t *testing.T, p *place) { p.set("TASKER_TEMPLATE_PATH", t.TempDir()) },
			"no task templates; name their folder in TASKER_TEMPLATE_PATH",
		},
		"there is no folder of templates": {
			func(_ *testing.T, p *place) { p.set("TASKER_TEMPLATE_PATH", "/no/such/folder") },
			"/no/such/folder",
		},
		"a template is wrong": {
			func(t *testing.T, p *place) {
				dir := t.TempDir()
				require.NoError(t, os.WriteFile(filepath.Join(dir, "bad.yaml"),
					[]byte("name: bad\nnamespace_name: programs\nversion: 1.0.0\nsteps:\n  - {name: a, handler: {callable: h}, dependencies: [b]}\n"), 0o600))
				p.set("TASKER_TEMPLATE_PATH", dir)
			},
			"bad.yaml:5",
		},
		"the address is taken": {
			func(t *testing.T, p *place) {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, l.Close()) })
				p.set("TASKER_LISTEN", l.Addr().String())
			},
			"in use",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, ours())
			c.prepare(t, p)
			e := p.python(program("bootstrap_fails.py"), c.says)
			require.Zero(t, e.code, e.stderr)
			require.Equal(t, "done\n", e.stdout)
		})
	}
}

func TestAWorkerWhoseFileAnotherProcessHasIsNotStarted(t *testing.T) {
	t.Parallel()
	p := newPlace(t, ours())
	first := p.command(program("take_and_leave.py"), "wait")
	stdout, err := first.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, first.Start())
	_, err = bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	e := p.python(program("bootstrap_fails.py"), "taskerpy.db")
	require.NoError(t, first.Process.Kill())
	require.Error(t, first.Wait())
	require.Zero(t, e.code, e.stderr)
}

func TestWhatAProgramPutsIntoItsEnvironmentCounts(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "")
	p.set("TASKER_TEMPLATE_PATH", "")
	e := p.python(program("environment.py"), ours())
	require.Zero(t, e.code, e.stderr)
	require.Equal(t, "done\n", e.stdout, e.stderr)
}
