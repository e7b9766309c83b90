package progress_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/progress"
	"github.com/tasker-systems/taskerpy/template"
)

func TestLiveShowsEveryStepFromTheStart(t *testing.T) {
	t.Parallel()
	o := options("check_order", "book", "bill")
	o.Steps[2].Conditional = true
	live(t, 80, 24, o, func(t *testing.T, term *terminal, p feed) {
		require.Equal(t, frame(`
			· check_order  pending
			· book         pending
			  bill         not created
			⠋ shop/order_intake · 0 of 2 steps complete · 0.0ms`), term.screen())
	})
}

func TestLiveFollowsAStepThroughItsLife(t *testing.T) {
	t.Parallel()
	live(t, 80, 24, options("check_order"), func(t *testing.T, term *terminal, p feed) {
		step := func() string { settle(); return strings.Split(term.screen(), "\n")[0] }
		p.change("check_order", "pending", 0)
		require.Equal(t, "· check_order  pending", step())
		p.change("check_order", "enqueued", 0)
		require.Equal(t, "· check_order  enqueued", step())
		p.change("check_order", "in_progress", 1)
		require.Equal(t, "⠋ check_order  in progress          1.0s", step())
		p.change("check_order", "enqueued_as_error_for_orchestration", 1)
		require.Equal(t, "⠋ check_order  in progress          1.0s", step(), "the handler has ended")
		p.change("check_order", "waiting_for_retry", 1, "ValueError: no - retryable")
		require.Equal(t, "↻ check_order  waiting for retry    1.0s  attempt 1 of 3 failed  ValueError: no", step())
		p.begin("check_order", 2)
		time.Sleep(time.Second)
		require.Equal(t, "⠋ check_order  in progress          2.0s  attempt 2 of 3  ValueError: no", step())
		p.complete("check_order", 2)
		require.Equal(t, "✓ check_order  complete             2.0s  2 attempts", step())
	})
}

func TestLiveSpinsWhileAStepRuns(t *testing.T) {
	t.Parallel()
	live(t, 80, 24, options("a"), func(t *testing.T, term *terminal, p feed) {
		p.begin("a", 1)
		seen := map[string]bool{}
		for range 10 {
			time.Sleep(100 * time.Millisecond)
			seen[string([]rune(term.screen())[:1])] = true
		}
		require.Len(t, seen, 10)
	})
}

func TestLiveEndsWithTheOutcome(t *testing.T) {
	t.Parallel()
	live(t, 80, 24, options("check_order", "book", "bill", "close"), func(t *testing.T, term *terminal, p feed) {
		p.begin("check_order", 1)
		time.Sleep(2 * time.Second)
		p.complete("check_order", 1)
		p.begin("book", 1)
		time.Sleep(60 * time.Millisecond)
		p.fail("book", 1, "ValueError: the shelf that holds the goods is empty, and so is the one behind it")
		p.Change(engine.Change{To: "blocked_by_failures", At: time.Now()})
		p.change("bill", "cancelled", 0)
		p.Finish(engine.Task{Status: "blocked_by_failures"})
		require.Equal(t, frame(`
			✓ check_order  complete             2.0s
			✗ book         error                60ms  ValueError: the shelf that holds the…
			○ bill         cancelled
			· close        pending
			✗ shop/order_intake · blocked by failures: 1 error, 1 complete, 1 cance… · 2.0s`), term.screen())
		x, y, _ := term.cursor()
		require.Equal(t, [2]int{0, 5}, [2]int{x, y}, "what comes next begins on a line of its own")
	})
}

func TestLiveEndsASuccessBriefly(t *testing.T) {
	t.Parallel()
	live(t, 80, 24, options("a", "b"), func(t *testing.T, term *terminal, p feed) {
		for _, step := range []string{"a", "b"} {
			p.begin(step, 1)
			time.Sleep(150 * time.Millisecond)
			p.complete(step, 1)
		}
		p.Change(engine.Change{To: "complete", At: time.Now()})
		time.Sleep(time.Minute)
		p.Finish(engine.Task{Status: "complete"})
		require.Equal(t, frame(`
			✓ a  complete            150ms
			✓ b  complete            150ms
			✓ shop/order_intake · complete, 2 steps · 300ms`), term.screen())
	})
}

func TestLiveLearnsFromTheFinishedTaskWhatItMissed(t *testing.T) {
	t.Parallel()
	live(t, 80, 24, options("a", "b"), func(t *testing.T, term *terminal, p feed) {
		p.begin("a", 1)
		p.Finish(engine.Task{Status: "complete", Steps: []engine.StepReadiness{
			{Name: "a", CurrentState: "complete", Attempts: 2, MaxAttempts: 3},
			{Name: "b", CurrentState: "complete", Attempts: 1, MaxAttempts: 3},
			{Name: "late", CurrentState: "complete", Attempts: 1, MaxAttempts: 3},
		}})
		require.Equal(t, frame(`
			✓ a     complete                   2 attempts
			✓ b     complete
			✓ late  complete
			✓ shop/order_intake · complete, 3 steps · 0.0ms`), term.screen())
	})
}

func TestLiveShowsInstancesInPlaceOfTheirBatchWorker(t *testing.T) {
	t.Parallel()
	o := options("split", "crunch", "crunch_big", "merge")
	o.Steps[1].BatchWorker, o.Steps[1].Conditional = true, true
	o.Steps[2].BatchWorker, o.Steps[2].Conditional = true, true
	o.Steps[3].Conditional = true
	live(t, 80, 24, o, func(t *testing.T, term *terminal, p feed) {
		p.begin("split", 1)
		p.complete("split", 1)
		for _, step := range []string{"crunch_002", "merge", "crunch_001", "crunch_big_001"} {
			p.change(step, "pending", 0)
		}
		p.begin("crunch_002", 1)
		p.retry("crunch_002", 1, "E")
		settle()
		require.Equal(t, frame(`
			✓ split           complete            0.0ms
			· crunch_001      pending
			↻ crunch_002      waiting for retry   0.0ms  attempt 1 of 3 failed  E
			· crunch_big_001  pending
			· merge           pending
			⠋ shop/order_intake · 1 of 5 steps complete, 1 waiting for retry · 1.0s`), term.screen())
	})
}

func TestLiveKeepsAStepNobodyKnewOf(t *testing.T) {
	t.Parallel()
	live(t, 80, 24, options("a"), func(t *testing.T, term *terminal, p feed) {
		p.begin("surprise", 2)
		settle()
		require.Contains(t, term.screen(), "⠋ surprise  in progress          1.0s  attempt 2\n")
	})
}

func TestStepsAreThoseOfTheTemplateInTheOrderTheyCanRun(t *testing.T) {
	t.Parallel()
	tpl, findings := template.Parse("t.yaml", []byte(`
name: t
namespace_name: n
version: 1.0.0
steps:
  - {name: last, type: deferred_convergence, dependencies: [work], handler: {callable: c}}
  - {name: work, type: batch_worker, dependencies: [split], handler: {callable: c}, retry: {max_attempts: 7}}
  - {name: split, type: batchable, handler: {callable: c}}
`))
	require.Empty(t, findings)
	require.Equal(t, []progress.StepInfo{
		{Name: "split", MaxAttempts: 3},
		{Name: "work", MaxAttempts: 7, Conditional: true, BatchWorker: true},
		{Name: "last", MaxAttempts: 3, Conditional: true},
	}, progress.Steps(tpl))
}

func TestLiveLeavesOutWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	var names []string
	for i := range 10_000 {
		names = append(names, fmt.Sprintf("step_%05d", i))
	}
	live(t, 80, 12, options(names...), func(t *testing.T, term *terminal, p feed) {
		for _, name := range names[:5000] {
			p.begin(name, 1)
			p.complete(name, 1)
		}
		p.begin(names[40], 2)
		p.fail(names[40], 2, "boom")
		p.begin(names[5000], 1)
		p.begin(names[9000], 1)
		settle()
		require.Equal(t, frame(`
			✗ step_00040  error               0.0ms  2 attempts  boom
			✓ step_04996  complete            0.0ms
			✓ step_04997  complete            0.0ms
			✓ step_04998  complete            0.0ms
			✓ step_04999  complete            0.0ms
			⠋ step_05000  in progress          1.0s
			· step_05001  pending
			· step_05002  pending
			⠋ step_09000  in progress          1.0s
			  … and 4,995 complete, 4,996 pending
			⠋ shop/order_intake · 4,999 of 10,000 steps complete, 1 error, 2 in pro… · 1.0s`), term.screen())
		require.Empty(t, term.scrolled())
	})
}

func TestLiveFitsAnyTerminal(t *testing.T) {
	t.Parallel()
	for _, size := range [][2]int{{1, 1}, {2, 2}, {10, 3}, {20, 4}, {40, 5}, {200, 60}} {
		width, height := size[0], size[1]
		live(t, width, height, options("check_order", "book", "bill", "close", "count", "pack"), func(t *testing.T, term *terminal, p feed) {
			p.begin("book", 1)
			p.retry("book", 1, strings.Repeat("very long ", 20))
			for range 5 {
				settle()
			}
			lines := strings.Split(term.screen(), "\n")
			require.LessOrEqual(t, len(lines), height)
			for _, line := range lines {
				require.Less(t, ansi.StringWidth(line), max(width, 2), "%dx%d: %q", width, height, line)
			}
			require.Empty(t, term.scrolled(), "%dx%d", width, height)
		})
	}
}

func TestANarrowTerminalTellsStatesBySymbol(t *testing.T) {
	t.Parallel()
	live(t, 50, 24, options("check_order", "a_step_with_quite_a_long_name"), func(t *testing.T, term *terminal, p feed) {
		p.begin("check_order", 1)
		p.fail("check_order", 1, "ValueError: out of stock")
		settle()
		require.Equal(t, frame(`
			✗ check_order         0.0ms  ValueError: out of …
			· a_step_with_quit…
			⠋ shop/order_intake · 0 of 2 steps comple… · 1.0s`), term.screen())
	})
}

func TestPrintedLinesStandAboveTheDisplay(t *testing.T) {
	t.Parallel()
	live(t, 40, 8, options("a"), func(t *testing.T, term *terminal, p feed) {
		var want []string
		for i := range 30 {
			line := fmt.Sprintf("line %d", i)
			if i%7 == 3 {
				line = strings.Repeat("wide ", 8*i)[:40*i] // as wide as the terminal, more than once
			}
			p.Print(line)
			want = append(want, line)
			if i%4 == 0 {
				settle()
			}
		}
		settle()
		lines := term.all()
		require.Equal(t, strings.Join(want, ""), strings.Join(withoutBlanks(lines[:len(lines)-2]), ""))
		require.Equal(t, "· a", lines[len(lines)-2])
	})
}

// withoutBlanks restores the blank that a terminal's line of full width ended
// with.
func withoutBlanks(lines []string) []string {
	for i, line := range lines {
		if len(line) == 39 {
			lines[i] += " "
		}
	}
	return lines
}

func TestPrintedLinesAreNotLostWhenTheUserPressesEnter(t *testing.T) {
	t.Parallel()
	live(t, 40, 10, options("a", "b", "c"), func(t *testing.T, term *terminal, p feed) {
		for i := range 40 {
			term.echo("\r\n\r\n")
			p.Print(fmt.Sprintf("line %d.", i))
			p.Print(fmt.Sprintf("and %d.", i))
			settle()
		}
		all := strings.Join(term.all(), "\n")
		for i := range 40 {
			require.Contains(t, all, fmt.Sprintf("line %d.\nand %d.\n", i, i))
		}
		require.True(t, strings.HasSuffix(term.screen(), frame(`
			· a
			· b
			· c
			⠋ shop/order_in… · 0 of 3 step… · 40.0s`)), term.screen())
	})
}

func TestManyPrintedLinesAllArriveInOrder(t *testing.T) {
	t.Parallel()
	live(t, 40, 10, options("a"), func(t *testing.T, term *terminal, p feed) {
		term.vt.SetScrollbackSize(30_000)
		for i := range 20_000 { // several times what may wait
			p.Print(fmt.Sprint(i))
		}
		p.Finish(engine.Task{Status: "complete"})
		lines := term.all()
		for i := range 20_000 {
			require.Equal(t, fmt.Sprint(i), lines[i])
		}
	})
}

func TestPrintedLinesKeepColoursButCannotMoveTheCursor(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"plain":                         "plain",
		"\x1b[1;31mred\x1b[m":           "\x1b[1;31mred\x1b[m\x1b[m",
		"\x1b[38:2::1:2:3mtrue":         "\x1b[38:2::1:2:3mtrue\x1b[m",
		"up\x1b[3A\x1b[2J\x1b[Hhome":    "uphome",
		"title\x1b]0;gone\x07.":         "title.",
		"keys\x1b[>4;2m.":               "keys.",
		"10%\r 50%\r100%\r":             "100%",
		"tab\there":                     "tab\there",
		"bell\x07back\x08space\x0bvert": "bellbackspacevert",
		"two\nlines":                    "two\r\nlines",
		"broken \xff byte":              "broken \xff byte",
		"wide 日本 and joined 👩‍👩‍👧 letters": "wide 日本 and joined 👩‍👩‍👧 letters",
	} {
		live(t, 80, 24, options("a"), func(t *testing.T, term *terminal, p feed) {
			p.Print(line)
			settle()
			require.Contains(t, strings.Join(term.written(), ""), "\x1b[J"+want+"\r\n", "%q", line)
		})
	}
}

func TestNamesAndMessagesCannotBreakTheDisplay(t *testing.T) {
	t.Parallel()
	o := options("a\x1b[2J\nb")
	o.Title = "bad\x1b[H\ttitle"
	live(t, 80, 24, o, func(t *testing.T, term *terminal, p feed) {
		p.begin("a\x1b[2J\nb", 1)
		p.fail("a\x1b[2J\nb", 1, "one\r\ntwo\x1b[10A\x07 three")
		settle()
		require.Equal(t, frame(`
			✗ a b  error               0.0ms  one two three
			⠋ bad title · 0 of 1 step complete, 1 error · 1.0s`), term.screen())
	})
}

var colour = regexp.MustCompile(`\x1b\[[0-9;]*3[0-9][0-9;]*m`)

func TestStatesAreColoured(t *testing.T) {
	t.Parallel()
	live(t, 80, 24, options("a"), func(t *testing.T, term *terminal, p feed) {
		p.begin("a", 1)
		settle()
		require.Regexp(t, colour, strings.Join(term.written(), ""))
	})
}

func TestNoColorIsHonoured(t *testing.T) {
	t.Parallel()
	o := options("a")
	o.Environ = append(o.Environ, "NO_COLOR=1")
	live(t, 80, 24, o, func(t *testing.T, term *terminal, p feed) {
		p.begin("a", 1)
		p.fail("a", 1, "boom")
		p.Finish(engine.Task{Status: "blocked_by_failures"})
		require.NotRegexp(t, colour, strings.Join(term.written(), ""))
	})
}

func TestALocaleWithoutUnicodeGetsASCII(t *testing.T) {
	t.Parallel()
	for _, environ := range [][]string{
		{"TERM=xterm", "LC_ALL=C"}, {"TERM=xterm", "LANG=de_DE.ISO-8859-1"}, {"TERM=linux", "LANG=C.UTF-8"},
	} {
		o := options("a_long_name_that_needs_to_be_shortened", "b", "c", "d")
		o.Environ = environ
		live(t, 40, 6, o, func(t *testing.T, term *terminal, p feed) {
			p.begin("b", 1)
			p.fail("b", 1, "a message that is too long")
			settle()
			for _, r := range strings.Join(term.written(), "") {
				require.Less(t, r, rune(0x80), "%q in %v", r, environ)
			}
			require.Contains(t, term.screen(), "x b ")
		})
	}
}

func TestTheTerminalIsLeftUsableByEveryWrite(t *testing.T) {
	t.Parallel()
	live(t, 80, 24, options("a"), func(t *testing.T, term *terminal, p feed) {
		p.begin("a", 1)
		p.Print("\x1b[31mred")
		settle()
		p.Finish(engine.Task{Status: "complete"})
		require.NotEmpty(t, term.written())
		for _, data := range term.written() {
			require.True(t, strings.HasSuffix(data, "\x1b[?25h\x1b[?2026l"), "%q", data)
		}
		require.NotContains(t, strings.Join(term.written(), ""), "\x1b[?1049", "the alternate screen")
		require.NotContains(t, strings.Join(term.written(), ""), "\x1b[?1000", "the mouse")
		require.NotContains(t, strings.Join(term.written(), ""), "\x1b[?2004", "bracketed paste")
		_, _, hidden := term.cursor()
		require.False(t, hidden)
	})
}

func TestClosingLeavesTheLastStateOnTheScreen(t *testing.T) {
	t.Parallel()
	live(t, 80, 24, options("a", "b"), func(t *testing.T, term *terminal, p feed) {
		p.Change(engine.Change{To: "steps_in_process", At: time.Now()})
		p.begin("a", 1)
		time.Sleep(time.Second)
		p.Close()
		require.Equal(t, frame(`
			⠋ a  in progress          1.0s
			· b  pending
			✗ shop/order_intake · steps in process: 1 in progress, 1 pending · 1.0s`), term.screen())
	})
}

// gone is a terminal whose window was closed.
type gone struct{}

func (gone) Write([]byte) (int, error) { return 0, errors.New("input/output error") }

func TestATerminalThatHasGoneStopsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := feed{progress.New(gone{}, options("a"))}
		p.Start()
		for i := range 10_000 {
			p.Print(fmt.Sprint(i))
		}
		p.begin("a", 1)
		p.Finish(engine.Task{Status: "complete"})
	})
}

func TestManyMayUseItAtOnce(t *testing.T) {
	t.Parallel()
	live(t, 80, 24, options("a", "b"), func(t *testing.T, term *terminal, p feed) {
		done := make(chan struct{})
		for range 4 {
			go func() {
				defer func() { done <- struct{}{} }()
				for i := range 200 {
					p.begin("a", i+1)
					p.Print(uuid.Must(uuid.NewV4()).String())
					p.complete("b", i+1)
				}
			}()
		}
		for range 4 {
			<-done
		}
		p.Finish(engine.Task{Status: "complete"})
		require.Len(t, term.all(), 800+3)
	})
}
