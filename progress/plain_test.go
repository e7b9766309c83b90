package progress_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/progress"
)

// plain runs a test in fake time without a terminal and returns the lines.
func plain(t *testing.T, o progress.Options, test func(p feed)) []string {
	t.Helper()
	var out strings.Builder
	synctest.Test(t, func(*testing.T) {
		o.Mode = progress.Plain
		p := feed{progress.New(&out, o)}
		p.Start()
		test(p)
		p.Close()
	})
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
}

func TestPlainSaysWhenStepsCompleteFailOrAreToBeRetried(t *testing.T) {
	t.Parallel()
	lines := plain(t, options("check_order", "book", "bill"), func(p feed) {
		for _, step := range []string{"check_order", "book", "bill"} {
			p.change(step, "pending", 0)
		}
		p.begin("check_order", 1)
		time.Sleep(1300 * time.Millisecond)
		p.complete("check_order", 1)
		p.begin("book", 1)
		time.Sleep(20 * time.Millisecond)
		p.retry("book", 1, "ConnectionError: refused")
		time.Sleep(time.Second)
		p.begin("book", 2)
		time.Sleep(30 * time.Millisecond)
		p.complete("book", 2)
		p.begin("bill", 1)
		time.Sleep(40 * time.Millisecond)
		p.fail("bill", 1, "ValueError: no such\n account")
		p.Finish(engine.Task{Status: "blocked_by_failures"})
	})
	require.Equal(t, []string{
		"check_order: complete after 1.3s",
		"book: attempt 1 of 3 failed, waiting for retry: ConnectionError: refused",
		"book: complete after 30ms (2 attempts)",
		"bill: error after 40ms: ValueError: no such account",
		"shop/order_intake: blocked by failures after 2.3s: 1 error, 2 complete",
	}, lines)
}

func TestPlainSumsUpASuccess(t *testing.T) {
	t.Parallel()
	lines := plain(t, options("a", "b"), func(p feed) {
		for _, step := range []string{"a", "b"} {
			p.begin(step, 1)
			time.Sleep(time.Second)
			p.complete(step, 1)
		}
		p.Finish(engine.Task{Status: "complete"})
	})
	require.Equal(t, "shop/order_intake: complete after 2.0s, 2 steps", lines[len(lines)-1])
}

func TestADurationIsThatOfTheTaskAndNotOfTheWatching(t *testing.T) {
	t.Parallel()
	created := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	changed := created.Add(5 * time.Second)
	for _, end := range []engine.Task{
		{Status: "complete", UpdatedAt: changed.Add(time.Minute), CompletedAt: &changed},
		{Status: "complete", UpdatedAt: changed}, // of a server that tells no end
		{Status: "blocked_by_failures", UpdatedAt: changed},
	} {
		o := options()
		o.Created = created
		lines := plain(t, o, func(p feed) { p.Finish(end) })
		require.Regexp(t, "^shop/order_intake: .* after 5.0s", lines[0])
	}
}

func TestATaskThatIsNotFinishedHasTakenTheTimeSinceItWasCreated(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	synctest.Test(t, func(*testing.T) {
		o := options()
		o.Mode, o.Created = progress.Plain, time.Now()
		time.Sleep(3 * time.Second)
		p := progress.New(&out, o)
		p.Start()
		time.Sleep(4 * time.Second)
		p.Close()
	})
	require.Contains(t, out.String(), "after 7.0s")
}

func TestPlainTellsOfStepsThatWereCancelledOrResolved(t *testing.T) {
	t.Parallel()
	lines := plain(t, options("a", "b"), func(p feed) {
		p.change("a", "resolved_manually", 0)
		p.change("b", "cancelled", 0)
		p.Finish(engine.Task{Status: "cancelled"})
	})
	require.Equal(t, []string{
		"a: resolved manually", "b: cancelled",
		"shop/order_intake: cancelled after 0.0ms: 1 resolved manually, 1 cancelled",
	}, lines)
}

func TestPlainPrintsLinesAsTheyAre(t *testing.T) {
	t.Parallel()
	lines := plain(t, options(), func(p feed) { p.Print("50%\r100% \x1b[31mred\x1b[m\x1b[2J") })
	require.Equal(t, "50%\r100% \x1b[31mred\x1b[m\x1b[2J", lines[0])
}

func TestPlainWritesNoEscapeSequencesOfItsOwn(t *testing.T) {
	t.Parallel()
	lines := plain(t, options("a"), func(p feed) {
		p.begin("a", 1)
		p.fail("a", 1, "\x1b[2J\x1b]0;title\x07boom\x1b[H")
	})
	require.Equal(t, "a: error after 0.0ms: boom", lines[0])
}

func TestNoneShowsPrintedLinesOnly(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	p := feed{progress.New(&out, progress.Options{Mode: progress.None})}
	p.Start()
	p.begin("a", 1)
	p.Print("from a handler")
	p.fail("a", 1, "boom")
	p.Finish(engine.Task{Status: "blocked_by_failures"})
	require.Equal(t, "from a handler\n", out.String())
}
