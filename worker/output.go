package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
)

// OutputLine is one line that a handler printed or logged.
type OutputLine struct {
	Stream    string     // "stdout" or "stderr" for printed lines, "" for logged ones
	Text      string     // without the newline
	Level     slog.Level // of logged lines; printed ones are Info
	Logger    string     // name of the Python logger
	Source    string     // file:line of a logged line
	Exception string     // formatted traceback that a logged line carries
	Fields    map[string]string

	// The step that wrote it; empty for lines of threads that a handler
	// started, and for module level code.
	Step          string
	TaskUUID      string
	CorrelationID string
}

// output answers the native functions through which lines arrive.
type output struct {
	receive func(OutputLine)
	level   slog.Level // lines that are logged below it are dropped
}

// wireLine is how taskerpy_host.streams and tasker_core.logging write a line.
type wireLine struct {
	Stream        string            `json:"stream"`
	Line          string            `json:"line"`
	Level         int               `json:"level"`
	Logger        string            `json:"logger"`
	Message       string            `json:"message"`
	Source        string            `json:"source"`
	Exception     string            `json:"exception"`
	Fields        map[string]string `json:"fields"`
	Step          string            `json:"step"`
	TaskUUID      string            `json:"task_uuid"`
	CorrelationID string            `json:"correlation_id"`
}

// levels are those of the native functions log_error … log_trace.
var levels = map[string]slog.Level{
	"log_error": slog.LevelError, "log_warn": slog.LevelWarn, "log_info": slog.LevelInfo,
	"log_debug": slog.LevelDebug, "log_trace": slog.LevelDebug - 4,
}

// line decodes one line of the native function name; ok is false if name is
// not one of those that carry lines.
func (o output) line(name string, payload []byte) (ok bool, err error) {
	level, logged := levels[name]
	if name != "emit" && name != "log" && !logged {
		return false, nil
	}
	var w wireLine
	if err := json.Unmarshal(payload, &w); err != nil {
		return true, fmt.Errorf("%s: %w", name, err)
	}
	l := OutputLine{
		Stream: w.Stream, Text: w.Line, Logger: w.Logger, Source: w.Source, Exception: w.Exception, Fields: w.Fields,
		Step: w.Step, TaskUUID: w.TaskUUID, CorrelationID: w.CorrelationID,
	}
	switch {
	case name == "log":
		l.Text, l.Level = w.Message, slogLevel(w.Level)
	case logged:
		l.Text, l.Level, l.Logger = w.Message, level, "tasker_core"
	}
	if l.Stream != "" || l.Level >= o.level {
		o.receive(l)
	}
	return true, nil
}

// slogLevel translates the levels of Python's logging.
func slogLevel(python int) slog.Level {
	switch {
	case python >= 40:
		return slog.LevelError
	case python >= 30:
		return slog.LevelWarn
	case python >= 20:
		return slog.LevelInfo
	case python >= 10:
		return slog.LevelDebug
	default:
		return slog.LevelDebug - 4
	}
}

// LogLines writes lines to a log.
func LogLines(log *slog.Logger) func(OutputLine) {
	return func(l OutputLine) {
		attrs := make([]slog.Attr, 0, 8)
		add := func(key, value string) {
			if value != "" {
				attrs = append(attrs, slog.String(key, value))
			}
		}
		add("stream", l.Stream)
		add("logger", l.Logger)
		add("step", l.Step)
		add("task_uuid", l.TaskUUID)
		add("correlation_id", l.CorrelationID)
		add("source", l.Source)
		for key, value := range l.Fields {
			add(key, value)
		}
		add("exception", strings.TrimRight(l.Exception, "\n"))
		log.LogAttrs(context.Background(), l.Level, l.Text, attrs...)
	}
}
