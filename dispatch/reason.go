package dispatch

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/place"
)

// Reason is why an attempt failed, as its stored result tells
// (engine-semantics §6.1). What the result does not tell is empty.
type Reason struct {
	Type    string // of the exception that the handler raised, else of the error
	Message string
	// File and Line are the place in the user's code: the last frame of the
	// traceback that is neither Python's nor a library's.
	File string
	Line int
}

const (
	// plainFailure is the error type of every function that raised an exception
	// which says nothing of itself: its class says more.
	plainFailure = "handler_error"
	// noMessage is stored in place of an empty message.
	noMessage = "Unknown error"
)

// ReadReason reads the stored result of an attempt; it is empty for one that
// succeeded.
func ReadReason(result []byte) Reason {
	var stored struct {
		Success bool            `json:"success"`
		Error   json.RawMessage `json:"error"`
	}
	if json.Unmarshal(result, &stored) != nil || stored.Success {
		return Reason{}
	}
	return ReadError(stored.Error)
}

// ReadError reads the error of a stored result. Parts that have another shape
// count as absent.
func ReadError(data json.RawMessage) Reason {
	fault := members(data)
	var r Reason
	var trace []string
	read(fault["message"], &r.Message)
	read(fault["error_type"], &r.Type)
	read(fault["backtrace"], &trace)
	if r.Type == plainFailure {
		read(members(fault["context"])["exception_type"], &r.Type)
	}
	if r.Message == noMessage && len(trace) > 0 {
		r.Message = ""
	}
	r.File, r.Line = origin(trace, r.Message)
	return r
}

func members(data json.RawMessage) (m map[string]json.RawMessage) {
	read(data, &m)
	return m
}

// read leaves value as it is when data is something else.
func read[T any](data json.RawMessage, value *T) {
	var v T
	if json.Unmarshal(data, &v) == nil && string(data) != "null" {
		*value = v
	}
}

var (
	traceFrame = regexp.MustCompile(`(?m)^[ |+-]*File "([^"<][^"]*)", line (\d+)`)
	// The binary's own Python, and Python's: no place that a user would change.
	hostFile    = regexp.MustCompile(`/(tasker_core|taskerpy_host)/`)
	libraryFile = regexp.MustCompile(`/lib(64)?/python3(\.\d+)?/|/(site|dist)-packages/`)
	packageFile = regexp.MustCompile(`/(site|dist)-packages/`)
)

// origin finds the place in the user's code. Without one it is the first that
// is in an installed package: then the handlers are installed too.
func origin(trace []string, message string) (file string, line int) {
	text := strings.TrimRight(strings.Join(trace, "\n"), "\n")
	text = strings.TrimSuffix(text, strings.TrimRight(message, "\n")) // it may hold another traceback
	for _, found := range traceFrame.FindAllStringSubmatch(text, -1) {
		at, _ := strconv.Atoi(found[2]) // digits; more than fit are nowhere
		switch {
		case hostFile.MatchString(found[1]):
		case !libraryFile.MatchString(found[1]):
			file, line = found[1], at
		case file == "" && packageFile.MatchString(found[1]):
			file, line = found[1], at
		}
	}
	return file, line
}

// String is what people are told: KeyError: 'name' (handlers.py:17).
func (r Reason) String() string {
	text := r.Message
	if r.Type != "" && !strings.HasPrefix(r.Message, r.Type) {
		text = strings.TrimSuffix(r.Type+": "+r.Message, ": ")
	}
	if r.File != "" {
		text = strings.TrimSpace(fmt.Sprintf("%s (%s:%d)", text, place.Near(r.File), r.Line))
	}
	return text
}

// maxLogged bounds a message in the log, in bytes. The whole is in the result.
const maxLogged = 4096

// FailedAttempt is an attempt that failed, for the log.
type FailedAttempt struct {
	Step          string
	TaskUUID      uuid.UUID
	CorrelationID uuid.UUID
	Attempt       int
	Retried       bool   // another attempt follows, as far as is known
	Result        []byte // as it is stored
}

// Log writes the one line about the attempt: an error for the last one.
func (a FailedAttempt) Log(log *slog.Logger) {
	level, text := slog.LevelError, "step failed"
	if a.Retried {
		level, text = slog.LevelWarn, "step failed, another attempt follows"
	}
	ctx := context.Background()
	if !log.Enabled(ctx, level) {
		return
	}
	r := ReadReason(a.Result)
	attrs := []slog.Attr{
		slog.String("step", a.Step), slog.String("task_uuid", a.TaskUUID.String()), slog.String("correlation_id", a.CorrelationID.String()),
		slog.Int("attempt", a.Attempt), slog.String("error_type", cmp.Or(r.Type, "unknown")),
	}
	if r.Message != "" {
		attrs = append(attrs, slog.String("error", strings.ToValidUTF8(r.Message[:min(len(r.Message), maxLogged)], "")))
	}
	if r.File != "" {
		attrs = append(attrs, slog.String("source", fmt.Sprintf("%s:%d", r.File, r.Line)))
	}
	log.LogAttrs(ctx, level, text, attrs...)
}
