package progress

import (
	"bytes"
	"cmp"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/term"
)

const (
	// frameInterval is how often the display is drawn anew: often enough for a
	// spinner, rarely enough to cost nothing.
	frameInterval = 100 * time.Millisecond
	// printInterval is how long lines to print are gathered.
	printInterval = 10 * time.Millisecond
	// maxQueued is how many lines may wait to be printed.
	maxQueued = 4096

	defaultWidth  = 80
	defaultHeight = 24
)

// live is the display of a terminal. One goroutine draws it.
//
// Each time it erases the frame, writes the lines that came in between, and
// draws the frame below them, all in one write. Inserting lines above a frame
// that stays in place looks the same until the user presses Enter: then the
// insertion goes to the wrong place and printed lines are lost, where here one
// outdated line is left behind.
type live struct {
	p       *Progress
	w       io.Writer
	profile colorprofile.Profile
	width   int // where the terminal cannot be asked
	height  int

	turn  int      // of the spinner
	drawn []string // the last frame, of which the cursor is at the end

	wake  chan struct{} // lines are queued
	stop  chan struct{} // closed to end
	ended chan struct{} // closed when the goroutine has ended

	mu    sync.Mutex
	room  *sync.Cond // the queue was taken
	queue []string
	over  bool // nothing more is taken from the queue
}

func startLive(p *Progress) *live {
	l := &live{
		p: p, w: p.w, profile: profile(p.w, p.options.Environ),
		width: cmp.Or(p.options.Width, defaultWidth), height: cmp.Or(p.options.Height, defaultHeight),
		wake: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{}),
	}
	l.room = sync.NewCond(&l.mu)
	go l.run()
	return l
}

// profile is what colours the terminal has. A display that was asked for
// where no terminal can be seen gets those that the environment promises.
func profile(w io.Writer, environ []string) colorprofile.Profile {
	if Terminal(w) {
		return colorprofile.Detect(w, environ)
	}
	return max(colorprofile.Env(environ), colorprofile.ASCII)
}

// size is the terminal's size now. Asking each time needs no signal.
func (l *live) size() (width, height int) {
	if f, ok := l.w.(*os.File); ok {
		if w, h, err := term.GetSize(f.Fd()); err == nil && w > 0 && h > 0 {
			return w, h
		}
	}
	return l.width, l.height
}

// run draws until the display is to end.
func (l *live) run() {
	defer close(l.ended)
	ticker := time.NewTicker(frameInterval)
	defer ticker.Stop()
	for {
		l.draw(false)
		select {
		case <-ticker.C:
			l.turn++
		case <-l.stop:
			l.draw(true)
			return
		case <-l.wake:
			select {
			case <-time.After(printInterval):
			case <-l.stop:
				l.draw(true)
				return
			}
		}
	}
}

// Control sequences.
const (
	beginUpdate = "\x1b[?2026h\x1b[?25l" // terminals that know it show nothing until the end
	endUpdate   = "\x1b[?25h\x1b[?2026l" // a cursor that is hidden only meanwhile survives a kill
	eraseLine   = "\x1b[K"               // from the cursor on
	eraseBelow  = "\x1b[J"
	resetStyle  = "\x1b[m"
)

// draw prints the queued lines and draws the frame below them. The last frame
// stays: the cursor goes to the line after it.
func (l *live) draw(last bool) {
	printed := l.take(last)
	width, height := l.size()
	l.p.mu.Lock()
	// One column stays empty: terminals differ in what happens in the last one.
	frame := l.p.painter.frame(l.p.board, time.Now(), l.turn, width-1, height)
	l.p.mu.Unlock()
	var b bytes.Buffer
	b.WriteString(beginUpdate + "\r")
	if up := l.rows(width) - 1; up > 0 {
		b.WriteString("\x1b[" + strconv.Itoa(min(up, height-1)) + "A")
	}
	if len(printed) > 0 {
		b.WriteString(eraseBelow)
		for _, line := range printed {
			b.WriteString(printable(line) + "\r\n")
		}
	}
	colours := &colorprofile.Writer{Forward: &b, Profile: l.profile}
	for i, line := range frame {
		if i > 0 {
			b.WriteString("\r\n")
		}
		_, _ = io.WriteString(colours, line) // a bytes.Buffer takes everything
		b.WriteString(eraseLine)
	}
	b.WriteString(eraseBelow)
	if last {
		b.WriteString("\r\n")
	}
	b.WriteString(endUpdate)
	l.drawn = frame
	_, _ = l.w.Write(b.Bytes()) // a terminal that has gone is no reason to stop a task
}

// rows is how many rows of the screen the last frame fills, which is more than
// it has lines once the terminal has become narrower and wrapped them.
func (l *live) rows(width int) int {
	n := 0
	for _, line := range l.drawn {
		n += max(1, (ansi.StringWidth(line)+width-1)/width)
	}
	return n
}

// take empties the queue; last refuses what comes after.
func (l *live) take(last bool) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	queue := l.queue
	l.queue, l.over = nil, last
	l.room.Broadcast()
	return queue
}

// print queues a line. It is false when the display is over.
func (l *live) print(line string) bool {
	l.mu.Lock()
	for len(l.queue) >= maxQueued && !l.over {
		l.room.Wait()
	}
	if l.over {
		l.mu.Unlock()
		return false
	}
	l.queue = append(l.queue, line)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return true
}

// end draws the last frame and waits for the goroutine. It must be called
// once.
func (l *live) end() {
	close(l.stop)
	<-l.ended
}

// printable is a line fit to stand above the frame: colours stay, what would
// move the cursor goes. Of a line that overwrites itself, as progress bars do,
// the last state stays.
func printable(line string) string {
	line = strings.TrimRight(line, "\r\n")
	if i := strings.LastIndexByte(line, '\r'); i >= 0 {
		line = line[i+1:]
	}
	var b strings.Builder
	coloured := false
	var state byte
	for len(line) > 0 {
		seq, width, n, next := ansi.DecodeSequence(line, state, nil)
		line, state = line[n:], next
		switch {
		case width > 0 || seq == "\t":
			b.WriteString(seq)
		case seq == "\n":
			b.WriteString("\r\n")
		case isColour(seq):
			b.WriteString(seq)
			coloured = true
		}
	}
	if coloured {
		b.WriteString(resetStyle)
	}
	return b.String()
}

// isColour tells whether seq selects colours and the like (SGR), and nothing
// that only ends in the same letter.
func isColour(seq string) bool {
	parameters, ok := strings.CutPrefix(seq, "\x1b[")
	if !ok || !strings.HasSuffix(parameters, "m") {
		return false
	}
	return strings.Trim(parameters[:len(parameters)-1], "0123456789;:") == ""
}
