package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/engine"
)

const (
	// silence is how long a stream may say nothing; taskerpy says something
	// every 15 s.
	silence = 45 * time.Second
	// A stream that broke is asked for again after firstPause, then after twice
	// as long each time, maxBroken times in a row.
	firstPause = 500 * time.Millisecond
	maxBroken  = 5
	// A server without streams is asked for the task every pollFirst at first,
	// and less and less often while nothing happens.
	pollFirst = 250 * time.Millisecond
	pollMost  = 2 * time.Second
	// maxEvent bounds one event, in bytes.
	maxEvent = 64 << 20
)

// Follow calls change for each step that a task has and then for all that
// happens to it, until nothing will happen to it by itself any more; it
// returns the task as it then is. Changes may be left out when the connection
// is lost meanwhile; what came of them is told. A server that has no stream of
// events is asked again and again.
func (c *Client) Follow(ctx context.Context, task uuid.UUID, change func(engine.Change)) (Answer[engine.Task], error) {
	first, err := c.Task(ctx, task)
	if err != nil {
		return first, err
	}
	f := &follower{client: c, id: task, change: change, known: map[string]known{}}
	f.snapshot(ctx, first.Value)
	if settled(first.Value) {
		return first, nil
	}
	end, err := f.stream(ctx)
	if errors.Is(err, errNoStream) {
		end, err = f.poll(ctx)
	}
	return end, err
}

// settled tells whether nothing will happen to a task by itself any more.
func settled(t engine.Task) bool {
	state, _ := engine.ParseTaskState(t.Status)
	if state != engine.TaskBlockedByFailures {
		return state.Terminal()
	}
	for _, s := range t.Steps {
		switch state, _ := engine.ParseStepState(s.CurrentState); state {
		case engine.StepEnqueued, engine.StepInProgress, engine.StepEnqueuedForOrchestration, engine.StepEnqueuedAsErrorForOrchestration:
			return false
		}
	}
	return true
}

// follower tells what happens to one task.
type follower struct {
	client *Client
	id     uuid.UUID
	change func(engine.Change)

	known  map[string]known // by step; "" is the task
	seenAt time.Time        // when the last snapshot was true
	heard  bool             // something, in this stream
	absurd bool             // what was heard cannot be read
}

type known struct {
	state    string
	attempts int
}

// snapshot tells of all that is not known yet of the task as it is.
func (f *follower) snapshot(ctx context.Context, t engine.Task) {
	f.seenAt = t.UpdatedAt
	var why map[string]string
	for _, s := range t.Steps {
		c := engine.Change{TaskUUID: f.id, Step: s.Name, To: s.CurrentState, At: t.UpdatedAt, Attempts: s.Attempts}
		if state, _ := engine.ParseStepState(c.To); f.news(c) && (state == engine.StepError || state == engine.StepWaitingForRetry) {
			if why == nil {
				why = f.failures(ctx)
			}
			c.Message = why[s.Name]
		}
		f.tell(c)
	}
	f.tell(engine.Change{TaskUUID: f.id, To: t.Status, At: t.UpdatedAt})
}

// failures are why steps failed, as far as that can be had.
func (f *follower) failures(ctx context.Context) map[string]string {
	why := map[string]string{}
	if steps, err := f.client.Steps(ctx, f.id); err == nil {
		for _, s := range steps.Value {
			why[s.Name] = Failure(s)
		}
	}
	return why
}

// news tells whether a change is not known yet.
func (f *follower) news(c engine.Change) bool {
	before, had := f.known[c.Step]
	return !had || before != known{c.To, c.Attempts}
}

// tell passes a change on unless it is known.
func (f *follower) tell(c engine.Change) {
	if !f.news(c) {
		return
	}
	if c.From == "" {
		c.From = f.known[c.Step].state
	}
	f.known[c.Step] = known{c.To, c.Attempts}
	f.change(c)
}

// errNoStream means that the server has no streams of events, or none left.
var errNoStream = errors.New("no stream of events")

// stream follows the task by its stream of events, asking for it again when it
// breaks.
func (f *follower) stream(ctx context.Context) (Answer[engine.Task], error) {
	pause := firstPause
	for broken := 0; ; broken++ {
		f.heard = false
		end, err := f.listen(ctx)
		if err == nil || errors.Is(err, errNoStream) || f.absurd || ctx.Err() != nil {
			return end, err
		}
		if f.heard {
			broken, pause = 0, firstPause
		}
		if broken == maxBroken {
			return end, err
		}
		if err := sleep(ctx, pause); err != nil {
			return end, f.client.unreachable(ctx, err)
		}
		pause *= 2
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// listen reads one stream to its end. The error is errNoStream, or says why it
// broke.
func (f *follower) listen(ctx context.Context) (end Answer[engine.Task], err error) {
	listening, cancel := context.WithCancel(ctx)
	defer cancel()
	request, err := f.client.request(listening, http.MethodGet, nil, nil, []string{"v1", "tasks", f.id.String(), "events"})
	if err != nil {
		return end, err
	}
	request.Header.Set("Accept", "text/event-stream")
	watch := time.AfterFunc(f.client.config.Timeout, cancel)
	defer watch.Stop()
	response, err := f.client.http.Do(request)
	if err != nil {
		return end, f.broken(ctx, listening, err)
	}
	defer func() { _ = response.Body.Close() }()
	if kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); response.StatusCode != http.StatusOK || kind != "text/event-stream" {
		return end, errNoStream
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, maxEvent)
	event := ""
	for lines.Scan() {
		watch.Reset(silence)
		line := lines.Text()
		if name, ok := strings.CutPrefix(line, "event: "); ok {
			event = name
			continue
		}
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		f.heard = true
		done, err := f.take(ctx, event, []byte(data), &end)
		if done || err != nil {
			f.absurd = err != nil
			return end, err
		}
	}
	err = lines.Err()
	if err == nil {
		err = io.ErrUnexpectedEOF // it ended without the event that says so
	}
	return end, f.broken(ctx, listening, err)
}

// broken explains why a stream ended. One that was silent too long was ended
// here.
func (f *follower) broken(ctx, listening context.Context, err error) error {
	if listening.Err() != nil && ctx.Err() == nil {
		err = os.ErrDeadlineExceeded
	}
	return f.client.unreachable(ctx, err)
}

// take takes one event in; done is true for the last one.
func (f *follower) take(ctx context.Context, event string, data []byte, end *Answer[engine.Task]) (done bool, err error) {
	switch event {
	case "task", "end":
		var t engine.Task
		if err := json.Unmarshal(data, &t); err != nil {
			return false, f.client.unintelligible(fmt.Errorf("event %s: %w", event, err))
		}
		f.snapshot(ctx, t)
		*end = Answer[engine.Task]{Value: t, Raw: data}
		return event == "end", nil
	case "change":
		var c engine.Change
		if err := json.Unmarshal(data, &c); err != nil {
			return false, f.client.unintelligible(fmt.Errorf("event %s: %w", event, err))
		}
		// The snapshot told of what was before it.
		if c.At.After(f.seenAt) {
			f.tell(c)
		}
	}
	return false, nil
}

// poll asks for the task until it has settled.
func (f *follower) poll(ctx context.Context) (Answer[engine.Task], error) {
	for pause := pollFirst; ; pause = min(pause*3/2, pollMost) {
		if err := sleep(ctx, pause); err != nil {
			return Answer[engine.Task]{}, f.client.unreachable(ctx, err)
		}
		before := f.seenAt
		a, err := f.client.Task(ctx, f.id)
		if err != nil {
			return a, err
		}
		f.snapshot(ctx, a.Value)
		if settled(a.Value) {
			return a, nil
		}
		if f.seenAt.After(before) {
			pause = pollFirst
		}
	}
}
