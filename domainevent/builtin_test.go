package domainevent_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/domainevent"
)

const orders = `
name: declaring
namespace_name: shop
version: 1.0.0
steps:
  - name: pay
    handler: {callable: h}
    publishes_events:
      - name: order.paid
        description: d
        publisher: shop.publishers.Orders
        delivery_mode: fast
        schema: {type: object, required: [amount], properties: {amount: {type: number}}}
      - {name: order.seen, description: d, delivery_mode: fast, schema: {type: object}}
      - name: order.failed
        description: d
        condition: failure
        delivery_mode: fast
        schema: {type: object, required: [error_code, error_message]}
`

func TestAnEventThatDoesNotFitItsSchemaIsLeftOutAndCounted(t *testing.T) {
	e := open(t, "", orders)
	p := start(t, e, newPython(t))
	succeed(e, submit(t, e), `{"amount":"much"}`)
	succeed(e, submit(t, e), `{"amount":5}`)
	drain(t, p)
	require.Equal(t, []string{"order.seen", "order.paid", "order.seen"}, names(polled(t, p)))
	require.EqualValues(t, 1, p.Stats().RoutingErrors)
	require.EqualValues(t, 3, p.Stats().Routed)
}

func TestAnEventOfAFailureTellsTheErrorWhenThereIsNoResult(t *testing.T) {
	e := open(t, "", orders)
	p := start(t, e, newPython(t))
	fail(e, submit(t, e), false)
	drain(t, p)
	events := polled(t, p)
	require.Equal(t, []string{"order.failed"}, names(events))
	require.JSONEq(t, `{"error_code":"PaymentError","error_message":"no funds","error_type":"PaymentError","retryable":false}`,
		string(events[0].Payload.Value))
}

func TestAResultWithoutValueIsPublishedAsAnEmptyObject(t *testing.T) {
	e := open(t, "", declaring("a.b success fast"))
	p := start(t, e, newPython(t))
	succeed(e, submit(t, e), `null`)
	drain(t, p)
	require.JSONEq(t, `{}`, string(polled(t, p)[0].Payload.Value))
}

func TestAPublisherThatIsNotKnownIsMentionedOnce(t *testing.T) {
	e := open(t, "", orders)
	var log bytes.Buffer
	py := newPython(t)
	py.BuiltIn = domainevent.NewBuiltIn(slog.New(slog.NewTextHandler(&log, nil)))
	p := start(t, e, py)
	for range 3 {
		succeed(e, submit(t, e), `{"amount":5}`)
	}
	drain(t, p)
	require.Len(t, polled(t, p), 6)
	require.Equal(t, 1, strings.Count(log.String(), "shop.publishers.Orders"))
}

func TestTheBuiltInPublisherHasNoSubscribers(t *testing.T) {
	b := domainevent.NewBuiltIn(slog.New(slog.DiscardHandler))
	names, err := b.Subscribe()
	require.NoError(t, err)
	require.Empty(t, names)
	require.EqualError(t, b.Handle("mailer", json.RawMessage(`{}`)), "no subscriber mailer")
}

func TestWhatIsNotAStepCannotBePublished(t *testing.T) {
	b := domainevent.NewBuiltIn(slog.New(slog.DiscardHandler))
	_, err := b.Publish(json.RawMessage(`[]`), json.RawMessage(`{}`))
	require.ErrorContains(t, err, "read step")
	_, err = b.Publish(json.RawMessage(`{}`), json.RawMessage(`[]`))
	require.ErrorContains(t, err, "read result")
}
