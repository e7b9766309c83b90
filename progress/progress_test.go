package progress_test

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/progress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// terminal is a virtual terminal that remembers what was written to it. Its
// methods first wait until nothing moves any more.
type terminal struct {
	mu     sync.Mutex
	vt     *vt.Emulator
	writes []string
}

func newTerminal(width, height int) *terminal {
	return &terminal{vt: vt.NewEmulator(width, height)}
}

func (t *terminal) Write(data []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.writes = append(t.writes, string(data))
	return t.vt.Write(data)
}

// echo is what the terminal shows of keys that the user presses.
func (t *terminal) echo(keys string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _ = t.vt.WriteString(keys)
}

func (t *terminal) settled() func() {
	synctest.Wait()
	t.mu.Lock()
	return t.mu.Unlock
}

// screen is what can be seen.
func (t *terminal) screen() string {
	defer t.settled()()
	return tidy(t.vt.String())
}

// scrolled is what was scrolled away, line by line.
func (t *terminal) scrolled() []string {
	defer t.settled()()
	lines := []string{}
	for i := range t.vt.Scrollback().Len() {
		lines = append(lines, strings.TrimRight(t.vt.Scrollback().Line(i).String(), " "))
	}
	return lines
}

// all is what was scrolled away and what can be seen, line by line.
func (t *terminal) all() []string { return append(t.scrolled(), strings.Split(t.screen(), "\n")...) }

func (t *terminal) written() []string {
	defer t.settled()()
	return t.writes
}

func (t *terminal) cursor() (x, y int, hidden bool) {
	defer t.settled()()
	at := t.vt.CursorPosition()
	return at.X, at.Y, t.vt.CursorHidden()
}

// tidy removes trailing blanks and blank lines.
func tidy(screen string) string {
	lines := strings.Split(screen, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " \r")
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

// frame is the expected screen, written indented and with a first line break.
func frame(s string) string {
	return tidy(strings.ReplaceAll(strings.TrimPrefix(s, "\n"), "\t", ""))
}

// unicode is the environment of a usual terminal.
func unicode() []string { return []string{"TERM=xterm-256color", "LANG=en_GB.UTF-8"} }

func options(steps ...string) progress.Options {
	o := progress.Options{Mode: progress.Live, Title: "shop/order_intake", Width: 80, Height: 24, Environ: unicode()}
	for _, name := range steps {
		o.Steps = append(o.Steps, progress.StepInfo{Name: name, MaxAttempts: 3})
	}
	return o
}

// feed gives changes of steps, all of which happen now.
type feed struct{ *progress.Progress }

func (f feed) change(step, to string, attempts int, message ...string) {
	f.Change(engine.Change{Step: step, To: to, At: time.Now(), Attempts: attempts, Message: strings.Join(message, "")})
}

// begin takes a step into its handler.
func (f feed) begin(step string, attempt int) {
	f.change(step, "enqueued", attempt-1)
	f.change(step, "in_progress", attempt)
}

// complete ends a step that was begun.
func (f feed) complete(step string, attempt int) {
	f.change(step, "enqueued_for_orchestration", attempt)
	f.change(step, "complete", attempt)
}

// retry fails an attempt that is not the last.
func (f feed) retry(step string, attempt int, message string) {
	f.change(step, "enqueued_as_error_for_orchestration", attempt)
	f.change(step, "waiting_for_retry", attempt, message, " - retryable")
}

// fail fails the last attempt.
func (f feed) fail(step string, attempt int, message string) {
	f.change(step, "enqueued_as_error_for_orchestration", attempt)
	f.change(step, "error", attempt, message)
}

// live runs a test in fake time with a display on a virtual terminal.
func live(t *testing.T, width, height int, o progress.Options, test func(t *testing.T, term *terminal, p feed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		term := newTerminal(width, height)
		o.Width, o.Height = width, height
		p := feed{progress.New(term, o)}
		p.Start()
		defer p.Close()
		test(t, term, p)
	})
}

// settle lets the display draw once more.
func settle() {
	time.Sleep(time.Second)
	synctest.Wait()
}

func TestModeIsReadFromItsWord(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"auto", "plain", "live", "none"} {
		var m progress.Mode
		require.NoError(t, m.Set(word))
		require.Equal(t, word, m.String())
	}
	var m progress.Mode
	require.EqualError(t, m.Set("fancy"), `"fancy" is none of auto, plain, live, none`)
}

func TestAutoIsPlainWhereThereIsNoTerminal(t *testing.T) {
	t.Parallel()
	p := progress.New(&strings.Builder{}, progress.Options{Environ: unicode()})
	require.Equal(t, progress.Plain, p.Mode())
}

func TestEndingTwiceIsEndingOnce(t *testing.T) {
	t.Parallel()
	live(t, 80, 24, options("a"), func(t *testing.T, term *terminal, p feed) {
		p.Finish(engine.Task{Status: "complete"})
		before := term.screen()
		p.Finish(engine.Task{Status: "error"})
		p.Close()
		p.change("a", "error", 1)
		require.Equal(t, before, term.screen())
	})
}

func TestADisplayThatWasNeverStartedShowsNothing(t *testing.T) {
	t.Parallel()
	for _, mode := range []progress.Mode{progress.Live, progress.Plain, progress.None} {
		var out strings.Builder
		o := options("a")
		o.Mode = mode
		p := feed{progress.New(&out, o)}
		p.complete("a", 1)
		p.Finish(engine.Task{Status: "complete"})
		p.Start()
		require.Empty(t, out.String(), mode)
	}
}

func TestLinesPrintedAfterTheEndAreWritten(t *testing.T) {
	t.Parallel()
	for _, mode := range []progress.Mode{progress.Live, progress.Plain, progress.None} {
		synctest.Test(t, func(t *testing.T) {
			var out strings.Builder
			o := options("a")
			o.Mode = mode
			p := progress.New(&out, o)
			p.Start()
			p.Finish(engine.Task{Status: "complete"})
			p.Print("late")
			require.True(t, strings.HasSuffix(out.String(), "late\n"), mode)
		})
	}
}

func TestTheWriterPrintsWholeLines(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	w := progress.New(&out, progress.Options{Mode: progress.None}).Writer()
	for _, part := range []string{"level=INFO ", "msg=a\nlevel=", "WARN msg=b\n\nrest"} {
		n, err := w.Write([]byte(part))
		require.NoError(t, err)
		require.Len(t, part, n)
	}
	require.Equal(t, "level=INFO msg=a\nlevel=WARN msg=b\n\n", out.String())
}

func TestALineWithoutEndIsNotKeptBackForEver(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	w := progress.New(&out, progress.Options{Mode: progress.None}).Writer()
	for range 100 {
		_, err := w.Write([]byte(strings.Repeat("x", 1000)))
		require.NoError(t, err)
	}
	require.Greater(t, out.Len(), 60_000)
}
