package worker

import (
	"context"
	"errors"
	"slices"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/domainevent"
	"github.com/tasker-systems/taskerpy/template"
)

// errOwned refuses to stop a worker from within its own handlers.
var errOwned = errors.New("this worker belongs to taskerpy, whose process runs the handlers: stop that process instead")

// call answers the native functions for handlers that lanes run. Steps are
// dispatched to the handlers directly, so there is never one to poll.
func (w *Worker) call(name string, payload []byte) ([]byte, error) {
	if name == "publish_domain_event" {
		return publishEvent(w.publisher, payload)
	}
	if answer, ok, err := w.status.call(name); ok {
		return answer, err
	}
	switch name {
	case "stop_worker", "transition_to_graceful_shutdown":
		return nil, errOwned
	case "complete_step_event", "checkpoint_yield_step_event":
		return []byte("false"), nil
	case "cleanup_timeouts":
		return []byte("0"), nil
	default: // poll_step_events
		return nil, nil
	}
}

// pending tells about the steps in handlers in the words of a polling program.
func (w *Worker) pending() dispatch.PollerStats {
	s := w.dispatcher.Stats()
	p := dispatch.PollerStats{Pending: s.Running}
	if s.Running > 0 {
		longest := s.Longest.Milliseconds()
		p.OldestMS = &longest
		if s.Longest > dispatch.StarvingAfter {
			p.Starving, p.StarvingN = true, 1
		}
	}
	return p
}

// Exhausted is closed when more handlers than there may be lanes ignore their
// timeouts: the process should be drained and started again.
func (w *Worker) Exhausted() <-chan struct{} { return w.exhausted }

// startEvents starts publishing domain events, if a template declares some or
// somebody has subscribed to what handlers may publish themselves.
func (w *Worker) startEvents(ctx context.Context, c Config) error {
	o := domainevent.Options{Source: w.source(), Remote: w.deployment != nil, Observer: c.EventObserver, Log: c.Log}
	w.publisher = domainevent.New(o)
	if !w.python.subscribers && !slices.ContainsFunc(w.python.report.Templates, declaresEvents) {
		return nil
	}
	events, err := w.python.host.NewEvents()
	if err != nil {
		return err
	}
	o.Python = events
	w.publisher = domainevent.New(o)
	return w.publisher.Start(ctx)
}

func declaresEvents(t *template.Template) bool {
	return slices.ContainsFunc(t.Steps, func(s template.Step) bool { return len(s.PublishesEvents) > 0 })
}

// DomainEvents reports what was published.
func (w *Worker) DomainEvents() domainevent.Stats { return w.publisher.Stats() }
