package domainevent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/domainevent"
	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/handlers"
)

func TestEventsArePublishedOnTheirConditions(t *testing.T) {
	yaml := declaring("on.success success fast", "on.failure failure fast", "on.retryable retryable_failure fast",
		"on.permanent permanent_failure fast", "on.always always fast")
	e := open(t, "", yaml)
	p := start(t, e, newPython(t))
	s := submit(t, e)
	fail(e, s, true)
	succeed(e, claim(t, e), `{}`)
	fail(e, submit(t, e), false)
	drain(t, p)
	require.Equal(t, []string{
		"on.failure", "on.retryable", "on.always",
		"on.success", "on.always",
		"on.failure", "on.permanent", "on.always",
	}, names(polled(t, p)))
}

func TestADurableEventGoesToSubscribersAndNotToTheBus(t *testing.T) {
	e := open(t, "", declaring("a.b success durable"))
	py := newPython(t, "mailer", "ledger")
	p := start(t, e, py)
	pay(t, e)
	require.Equal(t, []string{"a.b"}, names(py.await("mailer", 1)))
	require.Equal(t, []string{"a.b"}, names(py.await("ledger", 1)))
	require.Empty(t, polled(t, p))
}

func TestAFastEventGoesToSubscribersAndTheBusAndIsNotKept(t *testing.T) {
	e := open(t, "", declaring("a.b success fast"))
	require.NoError(t, e.Subscribe(t.Context(), "other"))
	py := newPython(t, "mailer")
	p := start(t, e, py)
	pay(t, e)
	handled := py.await("mailer", 1)
	require.Equal(t, handled, polled(t, p))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := e.Consume(ended, "other", 1)
	require.ErrorIs(t, err, context.Canceled)
}

func TestABroadcastEventGoesBothWaysAndIsHandledOnce(t *testing.T) {
	e := open(t, "", declaring("a.b success broadcast"))
	py := newPython(t, "mailer")
	p := start(t, e, py)
	pay(t, e)
	drain(t, p)
	handled := py.got("mailer")
	require.Len(t, handled, 1)
	require.Equal(t, handled, polled(t, p))
	kept, err := e.Consume(t.Context(), "anybody", 10)
	require.NoError(t, err)
	require.Len(t, kept, 1)
	require.Equal(t, handled[0].ID, kept[0].Event)
}

func TestDurableEventsAreHandledOnceAndInOrderAcrossRestarts(t *testing.T) {
	path := file(t)
	py := newPython(t, "mailer")
	for range 3 {
		e := open(t, path, declaring("a.b success durable", "c.d success durable"))
		p := start(t, e, py)
		pay(t, e)
		pay(t, e)
		drain(t, p)
		require.NoError(t, e.Close(t.Context()))
	}
	handled := py.got("mailer")
	ids := map[uuid.UUID]bool{}
	for i, event := range handled {
		ids[event.ID] = true
		require.Equal(t, []string{"a.b", "c.d"}[i%2], event.Name)
	}
	require.Len(t, handled, 12)
	require.Len(t, ids, 12)
}

// stopping is an engine that is closed just when a subscriber's progress is
// to be noted, as by the end of the process.
type stopping struct{ *engine.Engine }

func (s stopping) Consumed(context.Context, string, int64) error { return engine.ErrClosed }

func TestEventsWhoseHandlingWasNotNotedAreHandledAgain(t *testing.T) {
	path := file(t)
	yaml := declaring("a.b success durable")
	first := open(t, path, yaml)
	require.NoError(t, first.Subscribe(t.Context(), "mailer"))
	py := newPython(t, "mailer")
	p := start(t, stopping{first}, py)
	pay(t, first)
	before := py.await("mailer", 1)
	drain(t, p)
	require.NoError(t, first.Close(t.Context()))

	again := newPython(t, "mailer")
	second := open(t, path, yaml)
	p = start(t, second, again)
	require.Equal(t, before, again.await("mailer", 1))
	drain(t, p)
	require.NoError(t, second.Close(t.Context()))

	third := open(t, path, yaml)
	quiet := newPython(t, "mailer")
	drain(t, start(t, third, quiet))
	require.Empty(t, quiet.got("mailer"))
}

func TestEventsOfAttemptsThatWereNotPublishedComeAfterARestartWithTheSameIDs(t *testing.T) {
	path := file(t)
	yaml := declaring("a.b always durable", "c.d always fast")
	first := open(t, path, yaml)
	lost := newPython(t, "mailer")
	shaped := make(chan []uuid.UUID, 1)
	crashing := crashing{first, shaped}
	p := start(t, crashing, lost)
	pay(t, first)
	ids := <-shaped
	require.NoError(t, first.Close(t.Context()))
	drain(t, p)

	second := open(t, path, yaml)
	py := newPython(t, "mailer")
	p = start(t, second, py)
	drain(t, p)
	require.Len(t, py.got("mailer"), 2)
	require.Contains(t, ids, py.got("mailer")[0].ID)
	require.Contains(t, ids, polled(t, p)[0].ID)
}

// crashing is an engine whose process ends while events are stored: they are
// shaped and nothing of it is in the file.
type crashing struct {
	*engine.Engine
	shaped chan<- []uuid.UUID
}

func (c crashing) Published(_ context.Context, p engine.Publication, _ []engine.DomainEvent) error {
	c.shaped <- []uuid.UUID{p.EventID(0), p.EventID(1)}
	return engine.ErrClosed
}

func TestEveryAttemptAndDeclarationHasAnEventIDOfItsOwn(t *testing.T) {
	e := open(t, "", declaring("a.b always fast", "c.d always fast"))
	p := start(t, e, newPython(t))
	fail(e, submit(t, e), true)
	succeed(e, claim(t, e), `{}`)
	drain(t, p)
	ids := map[uuid.UUID]bool{}
	for _, event := range polled(t, p) {
		ids[event.ID] = true
	}
	require.Len(t, ids, 4)
}

func TestTheEnvelopeIsAsTheSpecificationShowsIt(t *testing.T) {
	e := open(t, "", declaring("order.paid success fast"))
	p := start(t, e, newPython(t))
	s := submit(t, e)
	e.Complete(s, dispatch.Result{Outcome: dispatch.Success, JSON: fmt.Appendf(nil,
		`{"step_uuid":%q,"success":true,"status":"completed","result":{"total":12,"n":123456789012345678901}}`, s.StepUUID)})
	drain(t, p)
	raw := p.Bus().Poll()

	var got map[string]any
	require.NoError(t, json.Unmarshal(raw, &got))
	payload := got["payload"].(map[string]any)
	task := payload["task_sequence_step"].(map[string]any)["task"].(map[string]any)["task"].(map[string]any)
	require.Equal(t, s.TaskUUID.String(), task["task_uuid"])
	var handed struct {
		Step json.RawMessage `json:"task_sequence_step"`
	}
	require.NoError(t, json.Unmarshal(s.Event, &handed))
	sequence, err := json.Marshal(payload["task_sequence_step"])
	require.NoError(t, err)
	require.JSONEq(t, string(handed.Step), string(sequence), "the event carries what the handler was given")
	payload["task_sequence_step"] = "HANDED"

	golden, err := os.ReadFile("testdata/envelope.json")
	require.NoError(t, err)
	text, err := json.Marshal(got)
	require.NoError(t, err)
	plain := regexp.MustCompile(`"(fired_at|published_at)":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"`).ReplaceAllString(string(text), `"$1":"INSTANT"`)
	plain = strings.NewReplacer(got["event_id"].(string), "EVENT", s.TaskUUID.String(), "TASK", s.StepUUID.String(), "STEP",
		s.CorrelationID.String(), "CORRELATION").Replace(plain)
	require.JSONEq(t, string(golden), plain)
	require.Contains(t, string(raw), `"n":123456789012345678901`, "integers are exact at any size")
}

func TestAPublishersMetadataIsKeptBesideTheEnvelopes(t *testing.T) {
	e := open(t, "", declaring("a.b success fast"))
	py := newPython(t)
	py.publish = func(_, _ json.RawMessage) (handlers.Shaped, error) {
		return handlers.Shaped{Events: []handlers.ShapedEvent{{
			Name: "a.b", Delivery: "fast", Payload: json.RawMessage(`{"amount":5}`),
			Metadata: json.RawMessage(`{"region":"north","fired_by":"forged"}`), FiredBy: "amounts",
		}}}, nil
	}
	p := start(t, e, py)
	pay(t, e)
	drain(t, p)
	event := polled(t, p)[0]
	require.Equal(t, "north", event.Meta["region"])
	require.Equal(t, "amounts", event.Meta["fired_by"])
	require.JSONEq(t, `{"amount":5}`, string(event.Payload.Value))
}

func TestDrainDeliversWhatWasPublishedLast(t *testing.T) {
	e := open(t, "", declaring("kept success durable", "quick success fast"))
	py := newPython(t, "mailer")
	p := start(t, e, py)
	const tasks = 50
	for range tasks {
		succeed(e, submit(t, e), `{}`) // nobody waits until it is durable
	}
	drain(t, p)
	require.Len(t, py.got("mailer"), 2*tasks)
	require.Len(t, polled(t, p), tasks)
}

func TestDrainGivesUpWhenItsTimeIsOver(t *testing.T) {
	e := open(t, "", declaring("a.b success durable"))
	py := newPython(t, "mailer")
	entered, leave := make(chan struct{}), make(chan struct{})
	py.handle = func(string, json.RawMessage) error { close(entered); <-leave; return nil }
	p := domainevent.New(domainevent.Options{Source: e, Python: py})
	require.NoError(t, p.Start(t.Context()))
	pay(t, e)
	<-entered
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, p.Drain(ended), context.Canceled)
	close(leave)
	py.await("mailer", 1)
}

func TestDrainingWhatNeverStartedOrTwiceIsFine(t *testing.T) {
	e := open(t, "", declaring("a.b success durable"))
	p := domainevent.New(domainevent.Options{Source: e, Python: newPython(t)})
	drain(t, p)
	require.NoError(t, p.Start(t.Context()))
	drain(t, p)
	drain(t, p)
}

func TestASubscriberThatCannotBeStartedEndsTheStart(t *testing.T) {
	e := open(t, "", declaring("a.b success durable"))
	py := refusing{newPython(t)}
	require.EqualError(t, domainevent.New(domainevent.Options{Source: e, Python: py}).Start(t.Context()), "subscriber Mailer cannot be started")
}

type refusing struct{ *python }

func (refusing) Subscribe() ([]string, error) {
	return nil, errors.New("subscriber Mailer cannot be started")
}

func TestAPublisherThatFailsCostsOnlyItsOwnAttemptsEvents(t *testing.T) {
	e := open(t, "", declaring("a.b success durable"))
	py := newPython(t, "mailer")
	var calls atomic.Int32
	py.publish = func(step, result json.RawMessage) (handlers.Shaped, error) {
		if calls.Add(1) == 1 {
			return handlers.Shaped{}, errors.New("no")
		}
		return py.BuiltIn.Publish(step, result)
	}
	p := start(t, e, py)
	pay(t, e) // the task completes
	pay(t, e)
	drain(t, p)
	require.Len(t, py.got("mailer"), 1)
	require.EqualValues(t, 1, p.Stats().RoutingErrors)
	require.EqualValues(t, 1, p.Stats().Routed)
}

func TestASubscriberThatFailsDoesNotKeepEventsFromOthers(t *testing.T) {
	e := open(t, "", declaring("a.b success durable", "c.d success fast"))
	py := newPython(t, "broken", "mailer")
	py.handle = func(subscriber string, _ json.RawMessage) error {
		if subscriber == "broken" {
			return errors.New("no")
		}
		return nil
	}
	p := start(t, e, py)
	pay(t, e)
	drain(t, p)
	require.ElementsMatch(t, []string{"a.b", "c.d"}, names(py.got("mailer")))
	require.Empty(t, py.got("broken"))
	require.EqualValues(t, 4, p.Stats().Handled)
}

// full is an engine whose file cannot be written for a while.
type full struct {
	*engine.Engine
	published, consumed atomic.Int32 // how often storing will fail
}

func (f *full) Published(ctx context.Context, p engine.Publication, durable []engine.DomainEvent) error {
	if f.published.Add(-1) >= 0 {
		return engine.ErrUnavailable
	}
	return f.Engine.Published(ctx, p, durable)
}

func (f *full) Consumed(ctx context.Context, consumer string, last int64) error {
	if f.consumed.Add(-1) >= 0 {
		return engine.ErrUnavailable
	}
	return f.Engine.Consumed(ctx, consumer, last)
}

func TestEventsAreStoredOnceTheFileCanBeWrittenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &full{Engine: open(t, "", declaring("a.b success durable"))}
		py := newPython(t, "mailer")
		start(t, e, py)
		e.published.Store(3)
		pay(t, e.Engine)
		require.Len(t, py.await("mailer", 1), 1)
	})
}

func TestASubscriberHandlesNothingTwiceWhenItsProgressCanBeNotedOnlyLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &full{Engine: open(t, "", declaring("a.b success durable"))}
		py := newPython(t, "mailer")
		p := start(t, e, py)
		e.consumed.Store(3)
		pay(t, e.Engine)
		py.await("mailer", 1)
		pay(t, e.Engine)
		py.await("mailer", 2)
		drain(t, p)
		require.Len(t, py.got("mailer"), 2)
	})
}

func TestFastEventsThatSubscribersCannotKeepUpWithAreDroppedAndCounted(t *testing.T) {
	const backlog = 1000
	e := open(t, "", declaring("a.b success fast"))
	py := newPython(t, "mailer")
	entered, leave := make(chan struct{}, 2*backlog), make(chan struct{})
	py.handle = func(string, json.RawMessage) error { entered <- struct{}{}; <-leave; return nil }
	event := handlers.ShapedEvent{Name: "a.b", Delivery: "fast", Payload: json.RawMessage(`{}`), Metadata: json.RawMessage(`{}`)}
	many := 1
	published := make(chan struct{}, 1)
	py.publish = func(_, _ json.RawMessage) (shaped handlers.Shaped, _ error) {
		for range many {
			shaped.Events = append(shaped.Events, event)
		}
		return shaped, nil
	}
	p := start(t, told{e, published}, py)
	pay(t, e)
	<-published
	<-entered // the subscriber is busy, its backlog empty
	many = backlog + 5
	pay(t, e)
	<-published
	close(leave)
	drain(t, p)
	require.Len(t, py.got("mailer"), 1+backlog)
	stats := p.Stats()
	require.EqualValues(t, 5, stats.FastErrors)
	require.EqualValues(t, 1+many, stats.Fast)
	// The bus holds as many, and one of its events tells how many it lost.
	require.EqualValues(t, 6, stats.Lost)
	require.Equal(t, 6, polled(t, p)[0].Lagged)
}

// told is an engine that tells when something was published.
type told struct {
	*engine.Engine
	published chan<- struct{}
}

func (e told) Published(ctx context.Context, p engine.Publication, durable []engine.DomainEvent) error {
	err := e.Engine.Published(ctx, p, durable)
	e.published <- struct{}{}
	return err
}

func TestStatsCountByDeliveryMode(t *testing.T) {
	e := open(t, "", declaring("a.a success durable", "b.b success fast", "c.c success fast", "d.d success broadcast"))
	p := start(t, e, newPython(t, "mailer", "ledger"))
	pay(t, e)
	pay(t, e)
	drain(t, p)
	require.Equal(t, domainevent.Stats{Routed: 8, Durable: 2, Fast: 4, Broadcast: 2, Handled: 16, Subscribers: 2, Given: 4, FastRoom: 1000}, p.Stats())
}
