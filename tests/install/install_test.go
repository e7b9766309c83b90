// Package install_test shows that what `make install` leaves works by itself:
// from another folder, without the checkout and without an environment, as in
// the image that the Dockerfile makes.
package install_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// prefix is the one of the Dockerfile.
const prefix = "/usr/local"

// tree is where the tests have installed it, as DESTDIR.
var tree string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "taskerpy-install-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	tree = filepath.Join(dir, "tree")
	// Twice: an installation over an earlier one must work too.
	for range 2 {
		cmd := exec.Command("make", "install", "DESTDIR="+tree, "PREFIX="+prefix)
		cmd.Dir = filepath.Join("..", "..")
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "make install: %v\n%s", err, out)
			return 1
		}
	}
	return m.Run()
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	return dir
}

func installed(elem ...string) string {
	return filepath.Join(append([]string{tree, prefix}, elem...)...)
}

// handlers is a folder with a copy of an example, as a user's project.
func handlers(t *testing.T, example string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "handlers")
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join(root(t), "examples", example))))
	return dir
}

// taskerpy is the installed binary, to be run with an empty environment in a
// folder of its own.
func taskerpy(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(installed("bin", "taskerpy"), args...)
	cmd.Dir = t.TempDir()
	cmd.Env = []string{}
	return cmd
}

func TestTheInstalledTreeRunsAWorkflow(t *testing.T) {
	cmd := taskerpy(t, "run", handlers(t, "linear"), "--task", "mathematical_sequence_py", "--input", `{"even_number": 6}`)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s", stderr.String())
	var result struct {
		Status string
		Steps  map[string]struct{ Result struct{ Result json.Number } }
	}
	require.NoError(t, json.Unmarshal(out, &result), "%s", out)
	require.Equal(t, "complete", result.Status)
	require.Equal(t, "69.0", result.Steps["linear_step_4_py"].Result.Result.String())
}

func TestTheInstalledTreeBringsItsPackages(t *testing.T) {
	out, err := taskerpy(t, "python", "-c", "import sys, pydantic, httpx; print(sys.prefix)").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, installed("lib", "taskerpy", "venv"), strings.TrimSpace(string(out)))
}

func TestNothingInTheInstalledTreeNamesWhereItWasStaged(t *testing.T) {
	err := filepath.WalkDir(installed("lib", "taskerpy", "venv", "bin"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Type()&fs.ModeSymlink != 0 {
			return err
		}
		text, err := os.ReadFile(path)
		require.NotContains(t, string(text), tree, path)
		return err
	})
	require.NoError(t, err)
	config, err := os.ReadFile(installed("lib", "taskerpy", "venv", "pyvenv.cfg"))
	require.NoError(t, err)
	require.NotContains(t, string(config), tree)
}

// healthcheck is the command of the Dockerfile's HEALTHCHECK.
func healthcheck(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), "Dockerfile"))
	require.NoError(t, err)
	found := regexp.MustCompile(`(?m)^HEALTHCHECK (?:.*\\\n)*\s*CMD (\[.*\])$`).FindSubmatch(text)
	require.NotNil(t, found, "no HEALTHCHECK with an exec form")
	var argv []string
	require.NoError(t, json.Unmarshal(found[1], &argv))
	return argv
}

// startCommand is the Dockerfile's ENTRYPOINT and CMD.
func startCommand(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), "Dockerfile"))
	require.NoError(t, err)
	var out []string
	for _, instruction := range []string{"ENTRYPOINT", "CMD"} {
		found := regexp.MustCompile(`(?m)^` + instruction + ` (\[.*\])$`).FindSubmatch(text)
		require.NotNil(t, found, instruction)
		var argv []string
		require.NoError(t, json.Unmarshal(found[1], &argv))
		out = append(out, argv...)
	}
	return out
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}

// The image's start command and health check, with the paths and the port of
// this machine in place of the image's.
func TestTheImagesHealthCheckPassesOnARunningWorker(t *testing.T) {
	port := freePort(t)
	here := strings.NewReplacer(
		"8083", port,
		prefix+"/", installed()+"/",
		"/app/handlers", handlers(t, "linear"),
		"/app/data", t.TempDir(),
	)
	argv := startCommand(t)
	require.Equal(t, "taskerpy", argv[0])
	require.Contains(t, argv, "0.0.0.0:8083")
	for i := range argv {
		argv[i] = here.Replace(argv[i])
	}
	cmd := taskerpy(t, argv[1:]...)
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var said strings.Builder
	listening := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(stderr)
		for announced := false; lines.Scan(); {
			fmt.Fprintln(&said, lines.Text())
			if !announced && strings.Contains(lines.Text(), port) {
				announced = true
				close(listening)
			}
		}
	}()
	select {
	case <-listening:
	case <-ended:
		require.FailNow(t, "the worker did not stay up", "%v\n%s", cmd.Wait(), said.String())
	}

	check := healthcheck(t)
	for i := range check {
		check[i] = here.Replace(check[i])
	}
	probe := exec.Command(check[0], check[1:]...)
	probe.Env = []string{}
	out, err := probe.CombinedOutput()
	require.NoError(t, err, "%s", out)

	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	<-ended
	require.NoError(t, cmd.Wait(), said.String())

	probe = exec.Command(check[0], check[1:]...)
	probe.Env = []string{}
	require.Error(t, probe.Run(), "the check passes without a worker")
}
