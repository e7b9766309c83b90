package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	ossignal "os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/template"
)

// What needs a process of its own runs the test binary again, which then is
// one of the children below instead of running tests.
const (
	childVariable = "ENGINE_TEST_CHILD"
	pathVariable  = "ENGINE_TEST_PATH"
)

func beChild(name string) int {
	children := map[string]func(path string) error{"hold": hold, "work": workUntilKilled, "fill": fillDisk, "look": lookOnly}
	if err := children[name](os.Getenv(pathVariable)); err != nil {
		fmt.Println("error:", err)
		return 1
	}
	return 0
}

// child is a running child: its output line by line, and its input.
type child struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
}

func start(t testing.TB, name, path string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+name, pathVariable+"="+path)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	return &child{cmd, in, bufio.NewScanner(out)}
}

func (c *child) line(t testing.TB) string {
	t.Helper()
	require.True(t, c.lines.Scan(), "the child has ended: %v", c.lines.Err())
	return c.lines.Text()
}

// kill ends the child as a power cut would end it.
func (c *child) kill(t testing.TB) {
	t.Helper()
	require.NoError(t, c.cmd.Process.Signal(syscall.SIGKILL))
	_ = c.cmd.Wait()
}

// hold opens the file and keeps it until its input ends.
func hold(path string) error {
	e, err := Open(context.Background(), Options{Path: path})
	if err != nil {
		return err
	}
	fmt.Println("open")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return e.Close(context.Background())
}

func TestASecondProcessOnAFileIsRefusedAndToldWhoHasIt(t *testing.T) {
	e := open(t, Options{})
	c := start(t, "hold", e.o.Path)
	line := c.line(t)
	require.Contains(t, line, "file in use by process")
	require.Contains(t, line, fmt.Sprint(os.Getpid()))
	require.Contains(t, line, e.o.Path)
	require.Error(t, c.cmd.Wait())
}

func TestAFileOfAnotherProcessIsLockedUntilThatEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	c := start(t, "hold", path)
	require.Equal(t, "open", c.line(t))
	_, err := Open(t.Context(), Options{Path: path})
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorContains(t, err, fmt.Sprintf("process %d on ", c.cmd.Process.Pid))
	require.ErrorContains(t, err, filepath.Base(os.Args[0]))
	require.NoError(t, c.in.Close())
	require.NoError(t, c.cmd.Wait())
	open(t, Options{Path: path})
}

func TestAProcessThatIsKilledLeavesNoLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	c := start(t, "hold", path)
	require.Equal(t, "open", c.line(t))
	c.kill(t)
	open(t, Options{Path: path})
}

// linearTemplate is the template that children work with.
func linearTemplate() (*template.Template, error) {
	parsed, findings := template.Parse("linear", []byte(linear))
	if template.HasErrors(findings) {
		return nil, errors.New(findings[0].String())
	}
	return parsed, nil
}

// workUntilKilled submits tasks and runs them, and tells of each task that was
// accepted and of each that it saw complete.
func workUntilKilled(path string) error {
	ctx := context.Background()
	parsed, err := linearTemplate()
	if err != nil {
		return err
	}
	e, err := Open(ctx, Options{Path: path})
	if err != nil {
		return err
	}
	if err := e.Register(ctx, parsed); err != nil {
		return err
	}
	go func() {
		for {
			steps, err := e.Claim(ctx, 8)
			if err != nil {
				return
			}
			for _, s := range steps {
				e.Complete(s, resultOf(s, dispatch.Success, s.Name))
			}
		}
	}()
	for i := 0; ; i++ {
		id, err := e.Create(ctx, TaskRequest{Name: "linear", Namespace: "tests", Version: "1.0.0", Context: fmt.Appendf(nil, `{"pid":%d,"i":%d}`, os.Getpid(), i)})
		if err != nil {
			return err
		}
		fmt.Println("accepted", id)
		if i%3 == 0 {
			if _, err := e.Wait(ctx, id); err != nil {
				return err
			}
			fmt.Println("complete", id)
		}
	}
}

func TestAProcessKilledAtAnyTimeLosesNothingItPromised(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	promised := map[uuid.UUID]string{}
	for round := range 5 {
		c := start(t, "work", path)
		for range 10 + 7*round {
			what, text, _ := strings.Cut(c.line(t), " ")
			promised[uuid.Must(uuid.FromString(text))] = what
		}
		c.kill(t)
		for c.lines.Scan() { // what it still said before
			if what, text, ok := strings.Cut(c.lines.Text(), " "); ok && len(text) == 36 {
				promised[uuid.Must(uuid.FromString(text))] = what
			}
		}
	}
	e := open(t, Options{Path: path})
	for id, what := range promised {
		task := taskOf(t, e, id)
		if what == "complete" {
			require.Equal(t, "complete", task.Status)
		}
	}
	require.NoError(t, e.Register(t.Context(), parse(t, linear)))
	work(t, e, succeed)
	for id := range promised {
		require.Equal(t, "complete", await(t, e, id).Status)
	}
}

// limitFiles bounds how large files of this process may become, which looks to
// it like a full disk.
func limitFiles(size uint64) error {
	var now syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &now); err != nil {
		return err
	}
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: min(size, now.Max), Max: now.Max})
}

// fillDisk runs into a full disk and out of it again. Its error is what went
// other than it should.
func fillDisk(path string) error {
	ossignal.Ignore(syscall.SIGXFSZ)
	ctx := context.Background()
	parsed, err := linearTemplate()
	if err != nil {
		return err
	}
	e, err := Open(ctx, Options{Path: path})
	if err != nil {
		return err
	}
	if err := e.Register(ctx, parsed); err != nil {
		return err
	}
	ask := func(i int) (uuid.UUID, error) {
		return e.Create(ctx, TaskRequest{Name: "linear", Namespace: "tests", Version: "1.0.0",
			Context: fmt.Appendf(nil, `{"i":%d,"fill":%q}`, i, strings.Repeat("x", 5000))})
	}
	id, err := ask(0)
	if err != nil {
		return err
	}
	steps, err := e.Claim(ctx, 1)
	if err != nil {
		return err
	}
	wal, err := os.Stat(path + "-wal")
	if err != nil {
		return err
	}
	if err := limitFiles(uint64(wal.Size()) + 100_000); err != nil {
		return err
	}

	accepted := 1
	for i := 1; ; i++ {
		if _, err = ask(i); err != nil {
			break
		}
		if accepted++; accepted > 1000 {
			return errors.New("the disk is never full")
		}
	}
	if !errors.Is(err, ErrUnavailable) {
		return fmt.Errorf("a full disk gives %w", err)
	}
	fmt.Println("refused:", err)
	if err := e.Health(); !errors.Is(err, ErrUnavailable) {
		return fmt.Errorf("health on a full disk is %w", err)
	}
	e.Complete(steps[0], resultOf(steps[0], dispatch.Success, "kept"))
	if task, err := e.Task(ctx, id); err != nil || task.CompletedSteps != 0 {
		return fmt.Errorf("reading on a full disk: %d steps complete, %w", task.CompletedSteps, err)
	}
	list, err := e.Tasks(ctx, TaskFilter{})
	if err != nil || list.Pagination.TotalCount != accepted {
		return fmt.Errorf("%d tasks are there, %d were accepted: %w", list.Pagination.TotalCount, accepted, err)
	}

	if err := limitFiles(1 << 62); err != nil {
		return err
	}
	for i := 0; ; i++ { // each answer takes until the next try to write
		if _, err := ask(1_000_000); err == nil {
			break
		} else if !errors.Is(err, ErrUnavailable) || i == 1000 {
			return fmt.Errorf("when there is space again: %w", err)
		}
	}
	if err := e.Health(); err != nil {
		return fmt.Errorf("health with space again is %w", err)
	}
	fmt.Println("healthy")
	if steps, err := e.Steps(ctx, id); err != nil || steps[0].CurrentState != "complete" || !strings.Contains(string(steps[0].Results), "kept") {
		return fmt.Errorf("the result that came meanwhile is lost: %s %w", steps[0].CurrentState, err)
	}
	return e.Close(ctx)
}

func TestAFullDiskStopsAcceptanceUntilThereIsSpaceAgain(t *testing.T) {
	c := start(t, "fill", filepath.Join(t.TempDir(), "test.db"))
	refused := c.line(t)
	t.Log(refused)
	require.Contains(t, refused, "refused: create task: store unavailable: commit to ")
	require.Equal(t, "healthy", c.line(t))
	require.NoError(t, c.cmd.Wait(), "%s", c.lines.Text())
}

// lookOnly opens the file as somebody who may read it and no more.
func lookOnly(path string) error {
	if os.Getuid() == 0 { // who may write everything
		const nobody = 65534
		if err := errors.Join(syscall.Setresgid(nobody, nobody, nobody), syscall.Setresuid(nobody, nobody, nobody)); err != nil {
			return err
		}
	}
	return hold(path)
}

// shared is a folder that other users may look into, which t.TempDir is not.
func shared(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "engine-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, errors.Join(os.Chmod(dir, 0o700), os.RemoveAll(dir))) })
	return dir
}

// Also without anything that would have to be written at the start.
func TestAnEmptyFileThatCannotBeWrittenIsRefusedWithTheRemedy(t *testing.T) {
	for what, modes := range map[string]struct{ file, folder, beside os.FileMode }{
		"the file":                 {0o444, 0o777, 0o666},
		"its folder":               {0o666, 0o555, 0o444},
		"the file and its folder":  {0o444, 0o555, 0o444},
		"the log beside it":        {0o666, 0o777, 0o444},
		"a folder without the log": {0o666, 0o555, 0},
	} {
		t.Run(what, func(t *testing.T) {
			dir := shared(t)
			path := filepath.Join(dir, "test.db")
			c := start(t, "hold", path)
			require.Equal(t, "open", c.line(t))
			c.kill(t) // what is beside the file stays there
			for file, mode := range map[string]os.FileMode{
				path: modes.file, path + "-wal": modes.beside, path + "-shm": modes.beside, path + ".lock": 0o666, dir: modes.folder,
			} {
				if mode == 0 {
					require.NoError(t, os.Remove(file))
					continue
				}
				require.NoError(t, os.Chmod(file, mode))
			}
			said := start(t, "look", path).line(t)
			require.Regexp(t, "^error: open "+path+": it cannot be written: .*; make the file, its folder and what is beside it writable for this user, or choose another path$", said)
		})
	}
}

func TestAFileThatCannotBeWrittenIsRefusedAndKept(t *testing.T) {
	dir := shared(t)
	path := filepath.Join(dir, "test.db")
	e := open(t, Options{Path: path}, linear)
	id := submit(t, e, asked("linear", 1))
	require.NoError(t, e.Close(t.Context()))
	for file, mode := range map[string]os.FileMode{path: 0o444, path + ".lock": 0o666, dir: 0o555} {
		require.NoError(t, os.Chmod(file, mode))
	}
	c := start(t, "look", path)
	said := c.line(t)
	require.Regexp(t, "^error: open "+path+": .*(readonly|read-only|cannot be written)", said)
	require.NoError(t, errors.Join(os.Chmod(dir, 0o755), os.Chmod(path, 0o644)))
	require.Equal(t, "steps_in_process", statusOf(t, open(t, Options{Path: path}, linear), id))
}
