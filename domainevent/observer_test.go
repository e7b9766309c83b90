package domainevent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/domainevent"
	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/handlers"
)

// observer counts what it is told, by "what name delivery publisher".
type observer struct {
	mu   sync.Mutex
	seen map[string]int
	took []time.Duration
}

func (o *observer) see(what string, k domainevent.Kind) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen[fmt.Sprint(what, " ", k.Namespace, "/", k.Name, " ", k.Delivery, " ", k.Publisher)]++
}

func (o *observer) EventDispatched(k domainevent.Kind) { o.see("dispatched", k) }
func (o *observer) EventDropped(k domainevent.Kind)    { o.see("dropped", k) }

func (o *observer) EventPublished(k domainevent.Kind, took time.Duration) {
	o.see("published", k)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.took = append(o.took, took)
}

func (o *observer) EventFailed(k domainevent.Kind, took time.Duration) {
	o.see("failed", k)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.took = append(o.took, took)
}

// observed starts a publisher, which the test has to drain, and what observes it.
func observed(t *testing.T, s domainevent.Source, py domainevent.Python) (*domainevent.Publisher, *observer) {
	t.Helper()
	o := &observer{seen: map[string]int{}}
	p := domainevent.New(domainevent.Options{Source: s, Python: py, Observer: o})
	require.NoError(t, p.Start(t.Context()))
	t.Cleanup(func() { drain(t, p) })
	return p, o
}

func TestAnObserverIsToldWhatBecomesOfEachEvent(t *testing.T) {
	e := open(t, "", declaring("a.a success durable", "b.b success fast", "c.c success broadcast", "d.d failure durable"))
	p, o := observed(t, e, newPython(t))
	pay(t, e)
	pay(t, e)
	drain(t, p)
	want := map[string]int{}
	for _, event := range []string{"shop/a.a durable default", "shop/b.b fast default", "shop/c.c broadcast default"} {
		want["dispatched "+event], want["published "+event] = 2, 2
	}
	require.Equal(t, want, o.seen)
	for _, took := range o.took {
		require.Positive(t, took)
	}
}

func TestABroadcastEventIsFastWhereDurableOnesAreReadElsewhere(t *testing.T) {
	e := open(t, "", declaring("a.a success durable", "c.c success broadcast"))
	py := newPython(t, "mailer")
	p := domainevent.New(domainevent.Options{Source: readElsewhere{e}, Python: py, Remote: true})
	require.NoError(t, p.Start(t.Context()))
	pay(t, e)
	drain(t, p)
	require.Equal(t, []string{"c.c"}, names(py.got("mailer")))
}

// readElsewhere is a source whose durable events nobody here gets.
type readElsewhere struct{ *engine.Engine }

func (readElsewhere) Consume(ctx context.Context, _ string, _ int) ([]dispatch.DomainEvent, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestAnObserverIsToldOfEventsThatDoNotFitTheirSchema(t *testing.T) {
	e := open(t, "", orders)
	p, o := observed(t, e, newPython(t))
	succeed(e, submit(t, e), `{"amount":"much"}`)
	drain(t, p)
	require.Equal(t, map[string]int{
		"dispatched shop/order.paid fast shop.publishers.Orders": 1, "failed shop/order.paid fast shop.publishers.Orders": 1,
		"dispatched shop/order.seen fast default": 1, "published shop/order.seen fast default": 1,
	}, o.seen)
}

func TestAllEventsOfAnAttemptWhosePublisherFailsHaveFailed(t *testing.T) {
	e := open(t, "", declaring("a.a success durable", "b.b always fast", "c.c failure durable"))
	py := newPython(t)
	py.publish = func(json.RawMessage, json.RawMessage) (handlers.Shaped, error) {
		return handlers.Shaped{}, errors.New("no")
	}
	p, o := observed(t, e, py)
	pay(t, e)
	drain(t, p)
	require.Equal(t, map[string]int{
		"dispatched shop/a.a durable default": 1, "failed shop/a.a durable default": 1,
		"dispatched shop/b.b fast default": 1, "failed shop/b.b fast default": 1,
	}, o.seen)
	require.EqualValues(t, 2, p.Stats().RoutingErrors)
}

// roomless is a source that has no room for events.
type roomless struct{ *engine.Engine }

func (s roomless) Published(ctx context.Context, p dispatch.Publication, _ []dispatch.DomainEvent) error {
	return errors.Join(s.Engine.Published(ctx, p, nil), dispatch.ErrUnstorable)
}

func TestDurableEventsThatCannotBeStoredHaveFailed(t *testing.T) {
	e := open(t, "", declaring("a.a success durable", "b.b success fast"))
	p, o := observed(t, roomless{e}, newPython(t))
	pay(t, e)
	drain(t, p)
	require.Equal(t, map[string]int{
		"dispatched shop/a.a durable default": 1, "failed shop/a.a durable default": 1,
		"dispatched shop/b.b fast default": 1, "published shop/b.b fast default": 1,
	}, o.seen)
	require.EqualValues(t, 1, p.Stats().RoutingErrors)
	require.EqualValues(t, 0, p.Stats().Durable)
	require.EqualValues(t, 1, p.Stats().Routed)
}

func TestEventsOfHandlersThemselvesAreObserved(t *testing.T) {
	p, o := observed(t, open(t, "", declaring("a.a success durable")), newPython(t))
	_, err := p.PublishFast("stock.low", json.RawMessage(`{}`), map[string]json.RawMessage{"namespace": json.RawMessage(`"shop"`)})
	require.NoError(t, err)
	require.Equal(t, map[string]int{"dispatched shop/stock.low fast direct": 1, "published shop/stock.low fast direct": 1}, o.seen)
}

// Only one who polls can miss an event that is not there any more.
func TestFastEventsAreDroppedWhenTooManyWaitForAPollingProgram(t *testing.T) {
	for _, polls := range []bool{false, true} {
		p, o := observed(t, open(t, "", declaring("a.a success durable")), newPython(t))
		if polls {
			require.Nil(t, p.Bus().Poll())
		}
		for range 1003 {
			_, err := p.PublishFast("e", json.RawMessage(`{}`), nil)
			require.NoError(t, err)
		}
		dropped := map[bool]int{false: 0, true: 3}[polls]
		require.Equal(t, dropped, o.seen["dropped unknown/e fast direct"])
		require.Equal(t, 1003-dropped, o.seen["published unknown/e fast direct"])
	}
}
