package cli

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tasker-systems/taskerpy/config"
	"github.com/tasker-systems/taskerpy/progress"
	"github.com/tasker-systems/taskerpy/worker"
)

// console is standard error shared by logs, handlers' output and a live
// display, which takes it over while it is there.
type console struct {
	mu sync.Mutex
	w  io.Writer
}

// Write writes whole lines. Nobody can be told that standard error is gone.
func (c *console) Write(lines []byte) (int, error) {
	c.mu.Lock()
	w := c.w
	c.mu.Unlock()
	_, _ = w.Write(lines)
	return len(lines), nil
}

// divert sends what follows to w.
func (c *console) divert(w io.Writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.w = w
}

// logging is where a command's logs and its handlers' output go.
type logging struct {
	console *console
	log     *slog.Logger
	output  func(worker.OutputLine)
	text    *textHandler // nil for JSON
	records *worker.Records
}

// newLogging sets logs up. long says that the command runs until it is
// stopped: then a log that goes to no terminal is for programs to read.
func (a *app) newLogging(c *config.Config, long bool) *logging {
	l := &logging{console: &console{w: a.err}, records: worker.NewRecords()}
	terminal := progress.Terminal(a.err)
	level := c.LogLevel
	if !long && c.Origin("log_level") == config.Default {
		level = slog.LevelWarn // the result of one task says what is to be said
	}
	if c.LogFormat == config.LogJSON || c.LogFormat == config.LogAuto && long && !terminal {
		json := func(level slog.Level) slog.Handler {
			return slog.NewJSONHandler(l.console, &slog.HandlerOptions{Level: level, ReplaceAttr: levelNames})
		}
		l.log = slog.New(l.records.Handler(json(level)))
		// What handlers print is shown at every level; what they log has been
		// filtered by Python.
		l.output = worker.LogLines(slog.New(json(slog.LevelDebug - 4)))
		return l
	}
	l.text = &textHandler{w: l.console, level: level, layout: time.RFC3339, shown: new(atomic.Pointer[string])}
	if terminal {
		l.text.layout = time.TimeOnly
		l.text.colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	l.log = slog.New(l.records.Handler(l.text))
	l.output = l.text.line
	return l
}

// levelNames gives trace its name.
func levelNames(groups []string, a slog.Attr) slog.Attr {
	if level, ok := a.Value.Any().(slog.Level); ok && a.Key == slog.LevelKey && len(groups) == 0 {
		a.Value = slog.StringValue(levelWord(level))
	}
	return a
}

func levelWord(level slog.Level) string {
	if level < slog.LevelDebug {
		return "TRACE"
	}
	return level.String()
}

// textHandler writes log records and handlers' output as lines for people:
// time, level, step, text, then what else there is as key=value.
type textHandler struct {
	w      io.Writer
	level  slog.Level
	layout string // of times
	colour bool
	attrs  string // of WithAttrs, written already
	prefix string // of WithGroup

	// shown is the task whose ids stand above a live display: lines of it do
	// without them.
	shown *atomic.Pointer[string]
}

func (h *textHandler) isShown(task string) { h.shown.Store(&task) }

// Enabled implements slog.Handler.
func (h *textHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

// Handle implements slog.Handler.
func (h *textHandler) Handle(_ context.Context, r slog.Record) error {
	var b bytes.Buffer
	h.head(&b, r.Time, r.Level)
	b.WriteString(r.Message)
	tail := h.attrs
	r.Attrs(func(a slog.Attr) bool {
		tail += h.attr(h.prefix, a)
		return true
	})
	h.tail(&b, tail)
	_, err := h.w.Write(b.Bytes())
	return err
}

// WithAttrs implements slog.Handler.
func (h *textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	for _, a := range attrs {
		with.attrs += h.attr(h.prefix, a)
	}
	return &with
}

// WithGroup implements slog.Handler.
func (h *textHandler) WithGroup(name string) slog.Handler {
	with := *h
	with.prefix += name + "."
	return &with
}

// line writes what a handler printed or logged.
func (h *textHandler) line(l worker.OutputLine) {
	var b bytes.Buffer
	if l.Stream != "" {
		h.time(&b, time.Now())
	} else {
		h.head(&b, time.Now(), l.Level)
	}
	if l.Step != "" {
		b.WriteString(h.paint(bold, l.Step) + ": ")
	}
	b.WriteString(l.Text)
	tail := ""
	add := func(key, value string) {
		if value != "" {
			tail += " " + key + "=" + quoted(value)
		}
	}
	if shown := h.shown.Load(); shown == nil || l.TaskUUID != *shown {
		add("task", l.TaskUUID)
		add("correlation_id", l.CorrelationID)
	}
	if l.Stream == "" {
		add("logger", l.Logger)
		add("source", l.Source)
	}
	for key, value := range l.Fields {
		add(key, value)
	}
	h.tail(&b, tail)
	if l.Exception != "" {
		for text := range strings.SplitSeq(strings.TrimRight(l.Exception, "\n"), "\n") {
			b.WriteString("    " + text + "\n")
		}
	}
	_, _ = h.w.Write(b.Bytes()) // the console never fails
}

func (h *textHandler) time(b *bytes.Buffer, t time.Time) {
	b.WriteString(h.paint(faint, t.Format(h.layout)) + " ")
}

func (h *textHandler) head(b *bytes.Buffer, t time.Time, level slog.Level) {
	h.time(b, t)
	word := levelWord(level)
	b.WriteString(h.paint(levelColour(level), word))
	b.WriteString(strings.Repeat(" ", max(1, 6-len(word))))
}

func (h *textHandler) tail(b *bytes.Buffer, attrs string) {
	if attrs != "" {
		b.WriteString(" " + h.paint(faint, attrs))
	}
	b.WriteByte('\n')
}

// attr writes " key=value"; groups give dotted keys.
func (h *textHandler) attr(prefix string, a slog.Attr) string {
	value := a.Value.Resolve()
	if value.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		out := ""
		for _, inner := range value.Group() {
			out += h.attr(prefix, inner)
		}
		return out
	}
	if a.Equal(slog.Attr{}) {
		return ""
	}
	return " " + prefix + a.Key + "=" + quoted(value.String())
}

// quoted puts quotes around what would not be one word.
func quoted(value string) string {
	if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == '"' || r == '=' || !strconv.IsPrint(r) }) {
		return strconv.Quote(value)
	}
	return value
}

// Colours are the terminal's own.
const (
	bold   = "1"
	faint  = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

func (h *textHandler) paint(colour, text string) string { return paint(h.colour, colour, text) }

func paint(enabled bool, colour, text string) string {
	if !enabled {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

func levelColour(level slog.Level) string {
	switch {
	case level >= slog.LevelError:
		return red
	case level >= slog.LevelWarn:
		return yellow
	case level >= slog.LevelInfo:
		return cyan
	default:
		return faint
	}
}
