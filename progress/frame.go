package progress

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/tasker-systems/taskerpy/engine"
)

// symbols are the characters of the display.
type symbols struct {
	kinds    [kinds]string
	spinner  []string
	ellipsis string
	between  string // parts of the summary
}

func symbolsFor(ascii bool) symbols {
	if ascii {
		return symbols{
			kinds:    [kinds]string{" ", "-", "-", "", "~", "+", "x", "o", "+"},
			spinner:  []string{"|", "/", "-", `\`},
			ellipsis: "...", between: " - ",
		}
	}
	return symbols{
		kinds:    [kinds]string{" ", "·", "·", "", "↻", "✓", "✗", "○", "✓"},
		spinner:  []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"},
		ellipsis: "…", between: " · ",
	}
}

// Widths of columns, in cells.
const (
	stateWidth    = 17 // "resolved manually"
	durationWidth = 6
	minNameWidth  = 12
	minNoteWidth  = 20
	// Below this width states are told by their symbols alone.
	narrowWidth = 64
)

// painter draws frames of one terminal.
type painter struct {
	symbols symbols
	styles  [kinds]lipgloss.Style
	faint   lipgloss.Style
	bold    lipgloss.Style
}

// newPainter uses the terminal's own sixteen colours, which suit whatever
// background its user likes.
func newPainter(ascii bool) painter {
	plain := lipgloss.NewStyle()
	p := painter{symbols: symbolsFor(ascii), faint: plain.Faint(true), bold: plain.Bold(true)}
	p.styles = [kinds]lipgloss.Style{
		notCreated: p.faint, pending: p.faint, enqueued: plain,
		inProgress: plain.Foreground(lipgloss.Cyan), waitingForRetry: plain.Foreground(lipgloss.Yellow),
		complete: plain.Foreground(lipgloss.Green), resolvedManually: plain.Foreground(lipgloss.Green),
		failed: plain.Foreground(lipgloss.Red).Bold(true), cancelled: plain.Foreground(lipgloss.Magenta),
	}
	return p
}

// frame draws the board into width times height cells: as many rows as fit,
// what became of the others, and a summary. turn moves the spinner. One line
// of the height stays free, for lines printed above need room to move in.
func (p painter) frame(b *board, now time.Time, turn, width, height int) []string {
	rows := b.ordered()
	rest := [kinds]int{}
	if room := max(height-2, 0); len(rows) > room {
		rows, rest = pick(rows, max(room-1, 0)) // a line goes to what is left out
	}
	lines := make([]string, 0, len(rows)+2)
	l := p.layout(rows, width)
	spinner := p.symbols.spinner[turn%len(p.symbols.spinner)]
	for _, r := range rows {
		lines = append(lines, p.line(r, l, now, spinner))
	}
	if left := breakdown(rest); left != "" && height > 2 {
		lines = append(lines, p.faint.Render(cut("  "+p.symbols.ellipsis+" and "+left, width, p.symbols.ellipsis)))
	}
	return append(lines, p.summary(b, now, spinner, width))
}

// pick chooses the n rows that matter most, in the order they have, and
// counts the others: failures, then what runs or waits to be retried, then
// what ended last and what comes next.
func pick(rows []*row, n int) (chosen []*row, rest [kinds]int) {
	type ranked struct {
		index, class, order int
	}
	all := make([]ranked, len(rows))
	for i, r := range rows {
		k := ranked{index: i, order: i}
		switch r.kind {
		case failed:
			k.order = -r.changed
		case inProgress:
			k.class, k.order = 1, r.changed
		case waitingForRetry:
			k.class, k.order = 2, r.changed
		case enqueued:
			k.class = 5
		case pending:
			k.class = 6
		case notCreated:
			k.class = 7
		default:
			k.class, k.order = 4, -r.changed
		}
		all[i] = k
	}
	slices.SortFunc(all, func(x, y ranked) int {
		return cmp.Or(cmp.Compare(x.class, y.class), cmp.Compare(x.order, y.order), cmp.Compare(x.index, y.index))
	})
	// No class takes more than half of the room while others need it.
	var taken, spare []ranked
	for start := 0; start < len(all); {
		end := start
		for end < len(all) && all[end].class == all[start].class {
			end++
		}
		share := min(end-start, (n-len(taken)+1)/2)
		taken = append(taken, all[start:start+share]...)
		spare = append(spare, all[start+share:end]...)
		start = end
	}
	taken = append(taken, spare[:min(n-len(taken), len(spare))]...)
	keep := make([]bool, len(rows))
	for _, k := range taken {
		keep[k.index] = true
	}
	for i, r := range rows {
		if keep[i] {
			chosen = append(chosen, r)
		} else if !r.mould {
			rest[r.kind]++
		}
	}
	return chosen, rest
}

// layout is the width of each column, 0 for one that is left out.
type layout struct {
	width, name, state int
}

func (p painter) layout(rows []*row, width int) layout {
	l := layout{width: width}
	if width >= narrowWidth {
		l.state = stateWidth
	}
	longest := 0
	for _, r := range rows {
		longest = max(longest, ansi.StringWidth(r.label))
	}
	fixed := 2 + 2 + durationWidth + 2 + minNoteWidth
	if l.state > 0 {
		fixed += l.state + 2
	}
	l.name = min(longest, max(width-fixed, minNameWidth))
	return l
}

// line draws one row.
func (p painter) line(r *row, l layout, now time.Time, spinner string) string {
	symbol := p.symbols.kinds[r.kind]
	if r.kind == inProgress {
		symbol = spinner
		if !r.left.IsZero() {
			symbol = p.symbols.spinner[0] // out of the handler
		}
	}
	style := p.styles[r.kind]
	text := style.Render(symbol) + " "
	name := pad(cut(r.label, l.name, p.symbols.ellipsis), l.name)
	if r.kind == notCreated || r.kind == pending {
		name = p.faint.Render(name)
	}
	text += name
	if l.state > 0 {
		text += "  " + style.Render(pad(kindNames[r.kind], l.state))
	}
	took := ""
	if !r.began.IsZero() {
		took = duration(r.took(now))
	}
	text += "  " + pad("", durationWidth-ansi.StringWidth(took)) + took
	if note := r.note(); note != "" {
		text += "  " + note
	}
	if r.message != "" {
		text += "  " + style.Render(r.message)
	}
	return strings.TrimRight(ansi.Truncate(text, l.width, p.symbols.ellipsis), " ")
}

// note tells about attempts when there is something to tell.
func (r *row) note() string {
	switch {
	case r.kind == inProgress && r.attempts > 1:
		if r.maxAttempts >= r.attempts {
			return fmt.Sprintf("attempt %d of %d", r.attempts, r.maxAttempts)
		}
		return fmt.Sprintf("attempt %d", r.attempts)
	case (r.kind == waitingForRetry || r.kind == pending || r.kind == enqueued) && r.attempts > 0:
		if r.maxAttempts > r.attempts {
			return fmt.Sprintf("attempt %d of %d failed", r.attempts, r.maxAttempts)
		}
		return fmt.Sprintf("attempt %d failed", r.attempts)
	case r.kind.ended() && r.attempts > 1:
		return counted(r.attempts, "attempt")
	}
	return ""
}

// breakdown counts steps by what they are: "8 complete, 2 pending".
func breakdown(counts [kinds]int) string {
	var parts []string
	for _, k := range []kind{failed, inProgress, waitingForRetry, complete, resolvedManually, cancelled, enqueued, pending, notCreated} {
		if counts[k] > 0 {
			parts = append(parts, grouped(counts[k])+" "+kindNames[k])
		}
	}
	return strings.Join(parts, ", ")
}

// summary is the last line: how far the task is, or how it ended.
func (p painter) summary(b *board, now time.Time, spinner string, width int) string {
	symbol, style, text := p.outcome(b, spinner)
	took := duration(b.elapsed(now))
	// When there is little room the time stays whole and title and counts share
	// the rest.
	between := ansi.StringWidth(p.symbols.between)
	room := width - ansi.StringWidth(symbol) - 1 - between - ansi.StringWidth(took)
	title := OneLine(b.title)
	if title != "" {
		title = cut(title, max(room/2, room-between-ansi.StringWidth(text)), p.symbols.ellipsis)
		text = p.symbols.between + text
	}
	text = cut(text, room-ansi.StringWidth(title), p.symbols.ellipsis)
	line := style.Render(symbol) + " " + p.bold.Render(title) + text
	return ansi.Truncate(line+p.symbols.between+took, width, "")
}

func (p painter) outcome(b *board, spinner string) (symbol string, style lipgloss.Style, text string) {
	if b.finished {
		k, state, counts := verdict(b)
		return p.symbols.kinds[k], p.styles[k], state + counts
	}
	others := b.counts
	others[complete], others[resolvedManually], others[notCreated], others[pending] = 0, 0, 0, 0
	text = fmt.Sprintf("%s of %s complete", grouped(b.counts[complete]+b.counts[resolvedManually]), counted(b.total(), "step"))
	if more := breakdown(others); more != "" {
		text += ", " + more
	}
	return spinner, p.styles[inProgress], text
}

// verdict says how the task ended: like which kind of step it looks, its
// state, and what became of its steps.
func verdict(b *board) (k kind, state, counts string) {
	k = failed
	switch {
	case b.succeeded():
		k = complete
	case b.task == engine.TaskCancelled.String():
		k = cancelled
	}
	state = strings.ReplaceAll(cmp.Or(b.task, "unknown"), "_", " ")
	created := b.counts
	created[notCreated] = 0
	if k == complete && created[complete] == b.total() {
		counts = ", " + counted(b.total(), "step")
	} else if more := breakdown(created); more != "" {
		counts = ": " + more
	}
	return k, state, counts
}
