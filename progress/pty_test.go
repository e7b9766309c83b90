package progress_test

import (
	"bytes"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/charmbracelet/x/term"
	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/progress"
)

// ptyScreen shows what a program writes to a real pseudo-terminal.
type ptyScreen struct {
	keyboard *os.File // the side of the user
	tty      *os.File // the side of the program
	read     chan struct{}

	mu  sync.Mutex
	raw bytes.Buffer
	vt  *vt.Emulator
}

func openPTY(t *testing.T, width, height int) *ptyScreen {
	t.Helper()
	keyboard, tty, err := pty.Open()
	require.NoError(t, err)
	require.NoError(t, pty.Setsize(tty, &pty.Winsize{Rows: uint16(height), Cols: uint16(width)}))
	s := &ptyScreen{keyboard: keyboard, tty: tty, read: make(chan struct{}), vt: vt.NewEmulator(width, height)}
	go func() {
		defer close(s.read)
		buf := make([]byte, 4096)
		for {
			n, err := keyboard.Read(buf)
			s.mu.Lock()
			s.raw.Write(buf[:n])
			_, _ = s.vt.Write(buf[:n])
			s.mu.Unlock()
			if err != nil {
				return // the program's side was closed
			}
		}
	}()
	t.Cleanup(func() {
		s.end()
		_ = keyboard.Close()
	})
	return s
}

// end closes the program's side and waits for everything to be read.
func (s *ptyScreen) end() string {
	_ = s.tty.Close()
	<-s.read
	s.mu.Lock()
	defer s.mu.Unlock()
	return tidy(s.vt.String())
}

func TestAutoIsLiveOnATerminal(t *testing.T) {
	t.Parallel()
	s := openPTY(t, 60, 10)
	o := options("a", "b")
	o.Mode = progress.Auto
	p := feed{progress.New(s.tty, o)}
	require.Equal(t, progress.Live, p.Mode())
	p.Start()
	p.Print("from a handler")
	p.change("a", "complete", 1)
	p.Finish(engine.Task{Status: "complete"})
	require.Equal(t, frame(`
		from a handler
		✓ a
		· b
		✓ shop/order_intake · complete: 1 complete, 1 pend… · T`), withoutTime(s.end()))
}

// withoutTime replaces the last word, which is how long the test took.
func withoutTime(screen string) string {
	return screen[:strings.LastIndexByte(screen, ' ')+1] + "T"
}

func TestAutoIsPlainOnADumbTerminal(t *testing.T) {
	t.Parallel()
	s := openPTY(t, 60, 10)
	for _, environ := range [][]string{{"TERM=dumb"}, {"LANG=C.UTF-8"}} {
		p := progress.New(s.tty, progress.Options{Environ: environ})
		require.Equal(t, progress.Plain, p.Mode(), environ)
	}
}

func TestTheSizeIsThatOfTheTerminal(t *testing.T) {
	t.Parallel()
	s := openPTY(t, 50, 5)
	p := feed{progress.New(s.tty, options("a", "b", "c", "d", "e", "f"))} // which claims 80 x 24
	p.Start()
	p.Finish(engine.Task{Status: "complete"})
	require.Equal(t, frame(`
		· a
		· b
		  … and 4 pending
		✓ shop/order_intake · complete: 6 pending · T`), withoutTime(s.end()))
}

func TestTheTerminalsModeAndInputAreNotTouched(t *testing.T) {
	t.Parallel()
	s := openPTY(t, 60, 10)
	before, err := term.GetState(s.tty.Fd())
	require.NoError(t, err)
	p := feed{progress.New(s.tty, options("a"))}
	p.Start()
	during, err := term.GetState(s.tty.Fd())
	require.NoError(t, err)
	_, err = io.WriteString(s.keyboard, "typed meanwhile\n")
	require.NoError(t, err)
	p.Finish(engine.Task{Status: "complete"})
	after, err := term.GetState(s.tty.Fd())
	require.NoError(t, err)
	require.Equal(t, before, during)
	require.Equal(t, before, after)
	line := make([]byte, 100)
	n, err := s.tty.Read(line)
	require.NoError(t, err)
	require.Equal(t, "typed meanwhile\n", string(line[:n]))
}

func TestCtrlCGoesToTheProcessAndLeavesTheDisplayAlone(t *testing.T) {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	defer signal.Stop(interrupted)
	s := openPTY(t, 60, 10)
	p := feed{progress.New(s.tty, options("a"))}
	p.Start()
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGINT))
	<-interrupted
	p.begin("a", 1)
	p.complete("a", 1)
	p.Finish(engine.Task{Status: "complete"})
	require.Contains(t, s.end(), "complete, 1 step")
}
