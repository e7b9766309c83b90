// Package progress shows the life of one task: a line per step that is kept
// up to date on a terminal, or a line per event where output is not a
// terminal. It reads no input, changes no terminal mode and handles no signal:
// Ctrl-C goes to whoever handles it in the process.
package progress

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/tasker-systems/taskerpy/engine"
)

// Options say what is shown and how. The zero value of each field is its
// default.
type Options struct {
	Mode Mode
	// Title names the task in the summary.
	Title string
	// Created is when the task was created, by the clock that also gives its
	// changes their time; zero means when the display begins.
	Created time.Time
	// Steps are known from the start; see Steps. Others appear when the first
	// change tells of them.
	Steps []StepInfo
	// Width and Height are the terminal's size in cells, for a Live display on
	// something that cannot be asked for it; 0 means 80 and 24.
	Width, Height int
	// Environ replaces the process environment, of which TERM, NO_COLOR and
	// the locale matter.
	Environ []string
}

// Progress shows one task. Its methods may be called by several goroutines at
// once. Nothing is shown before Start; after Finish or Close only Print and
// Writer still have an effect. What cannot be written is lost: progress never
// stops work.
type Progress struct {
	w       io.Writer
	painter painter
	options Options
	mode    Mode

	mu      sync.Mutex // guards what follows, and w while no display runs
	board   *board
	started bool
	closed  bool
	live    *live // nil unless Live is running
}

// New makes a Progress that writes to w, which should be standard error.
func New(w io.Writer, o Options) *Progress {
	if o.Environ == nil {
		o.Environ = os.Environ()
	}
	env := environment(o.Environ)
	p := &Progress{w: w, mode: o.Mode.resolve(w, env), options: o, painter: newPainter(env.ascii())}
	p.board = newBoard(o.Title, o.Steps, o.Created)
	return p
}

// Mode is how progress is shown, never Auto.
func (p *Progress) Mode() Mode { return p.mode }

// Start begins the display. Further calls do nothing.
func (p *Progress) Start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.started || p.closed {
		return
	}
	p.started = true
	if p.board.began.IsZero() {
		p.board.began = time.Now()
	}
	if p.mode == Live {
		p.live = startLive(p)
	}
}

// Change takes one change of the watched task in. Changes of another task
// must not be given.
func (p *Progress) Change(c engine.Change) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	r, was := p.board.change(c)
	if p.mode == Plain && p.started {
		if line := plainLine(r, was, c); line != "" {
			p.write(line)
		}
	}
}

// Print writes a line of something else: above the display when there is
// one. It may wait for a display that cannot keep up.
func (p *Progress) Print(line string) {
	p.mu.Lock()
	l := p.live
	if l == nil {
		p.write(line)
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	if !l.print(line) {
		p.mu.Lock()
		p.write(line)
		p.mu.Unlock()
	}
}

// write writes a line directly. The caller holds mu and no display runs.
func (p *Progress) write(line string) {
	// Nobody could be told that standard error is gone.
	_, _ = fmt.Fprintln(p.w, line)
}

// Finish shows how the task ended and ends the display; every goroutine of it
// has ended when Finish returns. Further calls do nothing.
func (p *Progress) Finish(t engine.Task) {
	p.end(func() { p.board.finish(t, time.Now()) })
}

// Close ends the display of a task that is not finished, leaving it as it is.
// After Finish it does nothing.
func (p *Progress) Close() {
	p.end(func() { p.board.finish(engine.Task{}, time.Now()) })
}

func (p *Progress) end(settle func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	settle()
	if l := p.live; l != nil {
		p.mu.Unlock()
		l.end()
		p.mu.Lock()
		p.live = nil
	}
	if p.mode == Plain && p.started {
		p.write(plainSummary(p.board, time.Now()))
	}
}

// Writer is Print as a writer of lines, for a logger. What is written before
// its line ends is kept back.
func (p *Progress) Writer() io.Writer { return &lineWriter{p: p} }

type lineWriter struct {
	p    *Progress
	mu   sync.Mutex
	rest []byte
}

// maxRest bounds what is kept back of a line that does not end, in bytes.
const maxRest = 64 << 10

// Write never fails.
func (w *lineWriter) Write(data []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest = append(w.rest, data...)
	for {
		line, rest, found := bytes.Cut(w.rest, []byte("\n"))
		if !found {
			break
		}
		w.p.Print(string(line))
		w.rest = rest
	}
	if len(w.rest) > maxRest {
		w.p.Print(string(w.rest))
		w.rest = nil
	}
	return len(data), nil
}
