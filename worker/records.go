package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// recordsBacklog is how many records wait for Python; the newest are
	// dropped beyond that.
	recordsBacklog = 1000
	// nobody is above every level: no record is kept.
	nobody = math.MaxInt64
)

// Records copies the log of the host for a Python program that asks for it
// (tasker_core.logging.receive_host_records). While nobody asks, it costs one
// atomic load for each line.
type Records struct {
	level atomic.Int64 // of slog; records below it are not kept

	mu    sync.Mutex
	queue []hostRecord
	lost  int
	news  chan struct{} // closed when there is something to take; nil while nobody waits
}

// hostRecord is a record as tasker_core._host_records reads it.
type hostRecord struct {
	Time    float64        `json:"time"`  // Unix, in seconds
	Level   int            `json:"level"` // of Python's logging
	Message string         `json:"message"`
	Fields  map[string]any `json:"fields"`
}

// errReceived refuses a second receiver: each record goes to one.
var errReceived = errors.New("records of the host are received already: stop that first")

// NewRecords makes a Records that keeps nothing yet.
func NewRecords() *Records {
	r := &Records{}
	r.level.Store(nobody)
	return r
}

// Handler is a slog.Handler that passes records on to next and copies them.
func (r *Records) Handler(next slog.Handler) slog.Handler {
	return &recordsHandler{records: r, next: next}
}

func (r *Records) wants(level slog.Level) bool { return int64(level) >= r.level.Load() }

// native answers the native functions for receiving; ok is false for others.
func (r *Records) native(name string, payload []byte) (answer []byte, ok bool, err error) {
	switch name {
	case "receive_host_records":
		var request struct {
			Level int `json:"level"`
		}
		if err := json.Unmarshal(payload, &request); err != nil {
			return nil, true, fmt.Errorf("%s: %w", name, err)
		}
		return nil, true, r.start(slogLevel(request.Level))
	case "next_host_records":
		answer, err = r.next()
		return answer, true, err
	case "stop_host_records":
		r.stop()
		return nil, true, nil
	}
	return nil, false, nil
}

func (r *Records) start(level slog.Level) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.level.Load() != nobody {
		return errReceived
	}
	r.queue, r.lost = nil, 0 // what came while the last receiver stopped
	r.level.Store(int64(level))
	return nil
}

// next waits for records and takes all there are. It answers nothing when
// receiving has stopped and all is taken.
func (r *Records) next() ([]byte, error) {
	for {
		r.mu.Lock()
		if len(r.queue) > 0 || r.lost > 0 {
			batch := struct {
				Records []hostRecord `json:"records"`
				Lost    int          `json:"lost"`
			}{r.queue, r.lost}
			r.queue, r.lost = nil, 0
			r.mu.Unlock()
			return json.Marshal(batch)
		}
		if r.level.Load() == nobody {
			r.mu.Unlock()
			return nil, nil
		}
		if r.news == nil {
			r.news = make(chan struct{})
		}
		news := r.news
		r.mu.Unlock()
		<-news
	}
}

func (r *Records) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.level.Store(nobody)
	r.wake()
}

func (r *Records) wake() {
	if r.news != nil {
		close(r.news)
		r.news = nil
	}
}

func (r *Records) put(h hostRecord) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == recordsBacklog {
		r.lost++
		return
	}
	r.queue = append(r.queue, h)
	r.wake()
}

// recordsHandler is the Records' end of a logger.
type recordsHandler struct {
	records *Records
	next    slog.Handler
	attrs   []slog.Attr // of WithAttrs, with the names of their groups
	prefix  string      // of WithGroup
}

// Enabled implements slog.Handler.
func (h *recordsHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.records.wants(level) || h.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *recordsHandler) Handle(ctx context.Context, r slog.Record) error {
	if h.records.wants(r.Level) {
		fields := make(map[string]any, len(h.attrs)+r.NumAttrs())
		for _, a := range h.attrs {
			addField(fields, "", a)
		}
		r.Attrs(func(a slog.Attr) bool {
			addField(fields, h.prefix, a)
			return true
		})
		h.records.put(hostRecord{
			Time: float64(r.Time.UnixMicro()) / 1e6, Level: pythonLevel(r.Level), Message: r.Message, Fields: fields,
		})
	}
	if h.next.Enabled(ctx, r.Level) {
		return h.next.Handle(ctx, r)
	}
	return nil
}

// WithAttrs implements slog.Handler.
func (h *recordsHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.next = h.next.WithAttrs(attrs)
	with.attrs = append([]slog.Attr(nil), h.attrs...)
	for _, a := range attrs {
		a.Key = h.prefix + a.Key
		with.attrs = append(with.attrs, a)
	}
	return &with
}

// WithGroup implements slog.Handler.
func (h *recordsHandler) WithGroup(name string) slog.Handler {
	with := *h
	with.next = h.next.WithGroup(name)
	with.prefix += name + "."
	return &with
}

// addField adds an attribute; groups give dotted names.
func addField(fields map[string]any, prefix string, a slog.Attr) {
	value := a.Value.Resolve()
	switch value.Kind() {
	case slog.KindGroup:
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, inner := range value.Group() {
			addField(fields, prefix, inner)
		}
	case slog.KindBool, slog.KindInt64, slog.KindUint64:
		fields[prefix+a.Key] = value.Any()
	case slog.KindFloat64:
		if f := value.Float64(); !math.IsNaN(f) && !math.IsInf(f, 0) { // JSON has neither
			fields[prefix+a.Key] = f
			return
		}
		fields[prefix+a.Key] = value.String()
	case slog.KindTime:
		fields[prefix+a.Key] = value.Time().UTC().Format(time.RFC3339Nano)
	default:
		if a.Key != "" {
			fields[prefix+a.Key] = value.String()
		}
	}
}

// pythonLevel translates to the levels of Python's logging, as slogLevel does
// from them.
func pythonLevel(level slog.Level) int {
	switch {
	case level >= slog.LevelError:
		return 40
	case level >= slog.LevelWarn:
		return 30
	case level >= slog.LevelInfo:
		return 20
	case level >= slog.LevelDebug:
		return 10
	default:
		return 5
	}
}
