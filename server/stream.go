package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/engine"
)

const (
	// maxStreams is how many streams of events there may be at once: each
	// keeps a connection.
	maxStreams = 256
	// pingInterval is how often a stream that has nothing to say shows that it
	// lives, so that proxies keep it and a client that is gone is noticed.
	pingInterval = 15 * time.Second
	// streamWrite is how long a client may take to take an event.
	streamWrite = 30 * time.Second
)

// The events of a stream.
const (
	eventTask   = "task"   // the task as it is, at the beginning
	eventChange = "change" // an engine.Change
	eventEnd    = "end"    // the task, to which nothing will happen by itself any more; the last one
)

// streamEvents is GET /v1/tasks/{task}/events: what happens to a task from now
// on, as server-sent events, until the task has ended or failed. A stream that
// ends without the event "end" was cut off: the client should ask again.
func (s *Server) streamEvents(w http.ResponseWriter, r *http.Request) {
	id, err := pathUUID(r, "task", codeInvalidUUID)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		p := problemf(http.StatusServiceUnavailable, codeBackpressure, "%d streams of events are open, which is the limit", maxStreams)
		p.retryAfter = retryElsewhere
		s.refuse(w, r, p)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	// Before the task is read, so that nothing can happen unseen in between.
	changes, stop := s.o.Engine.Watch(id)
	defer stop()
	task, err := s.o.Engine.Task(ctx, id)
	if errors.Is(err, engine.ErrNotFound) {
		err = notFound("Task not found: %s", id)
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	out := newEventStream(w)
	if r.Method == http.MethodHead {
		return
	}
	f := follower{engine: s.o.Engine, id: id, changes: changes, out: out, stopping: s.stopping, state: task.Status}
	if err := f.follow(ctx, cancel, task); err != nil {
		s.log.Debug("stream of events ended", "task_uuid", id, "client", r.RemoteAddr, "error", err)
	}
}

// follower passes on what happens to one task.
type follower struct {
	engine   Engine
	id       uuid.UUID
	changes  <-chan engine.Change
	out      *eventStream
	stopping <-chan struct{}

	state string // of the task, by what was passed on
}

var errCutOff = errors.New("the engine tells no more changes, or the server is stopping")

// follow sends events until the task has settled.
func (f *follower) follow(ctx context.Context, cancel context.CancelFunc, task engine.Task) error {
	if err := f.out.send(eventTask, taskOf(task)); err != nil {
		return err
	}
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer cancel()
	settled := make(chan settlement, 1)
	waiting.Go(func() { settled <- f.settlement(ctx) })
	ping := time.NewTicker(pingInterval)
	defer ping.Stop()
	var end *engine.Task
	for {
		// The task's last change is in the channel when it has settled.
		if end != nil && f.state == end.Status {
			return f.out.send(eventEnd, taskOf(*end))
		}
		select {
		case c, ok := <-f.changes:
			if !ok {
				return errCutOff
			}
			if c.Step == "" {
				f.state = c.To
			}
			if err := f.out.send(eventChange, c); err != nil {
				return err
			}
		case s := <-settled:
			if s.err != nil {
				return s.err
			}
			end = &s.task
		case <-ping.C:
			if err := f.out.ping(); err != nil {
				return err
			}
		case <-f.stopping:
			return errCutOff
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

type settlement struct {
	task engine.Task
	err  error
}

// settlement waits until the task has settled, also when an operator takes it
// up again in the moment it has.
func (f *follower) settlement(ctx context.Context) settlement {
	for {
		t, err := f.engine.Wait(ctx, f.id)
		if state, _ := engine.ParseTaskState(t.Status); err != nil || state.Terminal() || state == engine.TaskBlockedByFailures {
			return settlement{t, err}
		}
	}
}

// eventStream writes server-sent events.
type eventStream struct {
	w http.ResponseWriter
	c *http.ResponseController
}

// newEventStream begins the answer.
func newEventStream(w http.ResponseWriter) *eventStream {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Accel-Buffering", "no") // a proxy must not hold events back
	s := &eventStream{w: w, c: http.NewResponseController(w)}
	// The limits of other answers do not hold for this one. A writer without
	// deadlines has none to take away.
	_ = s.c.SetReadDeadline(time.Time{})
	w.WriteHeader(http.StatusOK)
	return s
}

func (s *eventStream) send(event string, data any) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "event: %s\ndata: ", event)
	encoder := json.NewEncoder(&b) // writes one line
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(data); err != nil {
		return fmt.Errorf("encode event %s: %w", event, err)
	}
	b.WriteByte('\n')
	return s.write(b.Bytes())
}

// ping sends a comment.
func (s *eventStream) ping() error { return s.write([]byte(": ping\n\n")) }

func (s *eventStream) write(data []byte) error {
	_ = s.c.SetWriteDeadline(time.Now().Add(streamWrite)) // see newEventStream
	if _, err := s.w.Write(data); err != nil {
		return err
	}
	if err := s.c.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}
