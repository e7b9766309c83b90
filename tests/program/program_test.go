// Package program_test runs Python programs that start a worker and poll for
// steps by themselves, as programs for the reference package do, with the
// real binary (python-api-core §2, §8, §9, §12; python-api-more §7, §11). The
// programs in testdata say what they expect with assert.
package program_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/tests/built"
)

// atOnce is how many programs run at the same time.
const atOnce = 2

var (
	binary  string // the taskerpy that TestMain has built
	root    string // of the checkout
	running = make(chan struct{}, atOnce)
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "taskerpy-program-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if binary, err = built.Into(context.Background(), dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if root, err = filepath.Abs("../.."); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// place is a folder of its own in which programs run one after the other.
type place struct {
	t   *testing.T
	dir string
	env []string
}

// newPlace makes a folder whose programs find the given templates. Their
// workers listen on free ports.
func newPlace(t *testing.T, templates string) *place {
	t.Helper()
	return &place{t: t, dir: t.TempDir(), env: built.Environ("TASKER_TEMPLATE_PATH="+templates, "TASKER_LISTEN=127.0.0.1:0")}
}

// set sets an environment variable of the programs to come; "" removes it.
func (p *place) set(name, value string) {
	p.env = slices.DeleteFunc(p.env, func(entry string) bool { return strings.HasPrefix(entry, name+"=") })
	if value != "" {
		p.env = append(p.env, name+"="+value)
	}
}

// ours are the templates of testdata, linear those of the linear example.
func ours() string   { return filepath.Join(root, "tests/program/testdata/templates") }
func linear() string { return filepath.Join(root, "examples/linear") }

// patience bounds the life of a program; a healthy one needs a small part.
const patience = 2 * time.Minute

// command is a python command of taskerpy in the folder.
func (p *place) command(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	p.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, binary, append([]string{"python"}, args...)...)
	cmd.Dir, cmd.Env = p.dir, p.env
	return cmd
}

// ended is what is left of a program.
type ended struct {
	code           int
	stdout, stderr string
}

// python runs a python command to its end.
func (p *place) python(args ...string) ended {
	p.t.Helper()
	running <- struct{}{}
	defer func() { <-running }()
	cmd := p.command(args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); !errors.As(err, new(*exec.ExitError)) {
		require.NoError(p.t, err)
	}
	return ended{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// requireDone runs a program of testdata, whose assertions must hold.
func (p *place) requireDone(name string) ended {
	p.t.Helper()
	e := p.python(program(name))
	require.Zero(p.t, e.code, e.stderr)
	require.Equal(p.t, "done\n", e.stdout, e.stderr)
	return e
}

func TestPrograms(t *testing.T) {
	for name, templates := range map[string]string{
		"life.py":               ours(),
		"without_worker.py":     ours(),
		"linear.py":             linear(),
		"answers.py":            ours(),
		"checkpoint.py":         ours(),
		"timeouts.py":           ours(),
		"graceful.py":           ours(),
		"domain_events.py":      ours(),
		"own_events.py":         ours(),
		"publishing_handler.py": ours(),
		"worker_class.py":       ours(),
		"threads.py":            ours(),
		"fork.py":               ours(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			newPlace(t, templates).requireDone(name)
		})
	}
}
