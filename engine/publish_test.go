package engine

import (
	"context"
	"testing"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

const announcing = `
name: announcing
namespace_name: tests
version: 1.0.0
steps:
  - name: pay
    handler: {callable: h}
    retry: {max_attempts: 3, backoff: none}
    publishes_events:
      - {name: order.paid, description: Paid, condition: success, schema: {type: object}}
  - name: quiet
    handler: {callable: h}
    dependencies: [pay]
  - name: tell
    handler: {callable: h}
    dependencies: [quiet]
    retry: {max_attempts: 2, backoff: none}
    publishes_events:
      - {name: order.troubled, description: Again, condition: retryable_failure, schema: {type: object}}
      - {name: order.lost, description: Never, condition: permanent_failure, schema: {type: object}}
`

// publications returns what waits to be published, without waiting.
func publications(e *Engine) []Publication {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	all, _ := e.outbox.Take(ctx)
	return all
}

func TestOnlyAttemptsWhoseConditionHoldsArePublished(t *testing.T) {
	e := open(t, Options{}, announcing)
	id := submit(t, e, asked("announcing", 1))
	finish(t, e, take(t, e), dispatch.RetryableFailure, "not yet") // pay: declares success only
	finish(t, e, take(t, e), dispatch.Success, map[string]any{"total": 3})
	finish(t, e, take(t, e), dispatch.Success, 1) // quiet declares nothing
	finish(t, e, take(t, e), dispatch.RetryableFailure, "trouble")
	finish(t, e, take(t, e), dispatch.PermanentFailure, "lost")
	await(t, e, id)
	var attempts []int
	for _, p := range publications(e) {
		attempts = append(attempts, p.Attempt)
	}
	require.Equal(t, []int{2, 1, 2}, attempts)
}

func TestAPublicationCarriesWhatTheHandlerGotAndGave(t *testing.T) {
	e := open(t, Options{}, announcing)
	submit(t, e, asked("announcing", 1))
	step := take(t, e)
	finish(t, e, step, dispatch.Success, map[string]any{"total": 3})
	all, err := e.Publications(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, step.StepUUID, all[0].StepUUID)
	require.Contains(t, string(all[0].Event), `"name":"pay"`)
	require.Contains(t, string(all[0].Result), `"total":3`)
}

func TestAfterSyncTheResultsHandedInBeforeCanBePublished(t *testing.T) {
	e := open(t, Options{}, announcing)
	submit(t, e, asked("announcing", 1))
	finish(t, e, take(t, e), dispatch.Success, 1)
	require.NoError(t, e.Sync(t.Context()))
	require.Len(t, publications(e), 1)
	require.NoError(t, e.Close(t.Context()))
	require.ErrorIs(t, e.Sync(t.Context()), ErrClosed)
}

func TestWhatWasNotPublishedComesAgainAfterARestartWithTheSameEventID(t *testing.T) {
	e := open(t, Options{}, announcing)
	submit(t, e, asked("announcing", 1))
	finish(t, e, take(t, e), dispatch.Success, 1)
	before, err := e.Publications(t.Context())
	require.NoError(t, err)
	require.NoError(t, e.Close(t.Context()))

	again := open(t, Options{Path: e.o.Path}, announcing)
	after, err := again.Publications(t.Context())
	require.NoError(t, err)
	require.Equal(t, before[0].EventID(0), after[0].EventID(0))
	require.NotEqual(t, before[0].EventID(0), before[0].EventID(1))
	require.NoError(t, again.Published(t.Context(), after[0], nil))
	require.NoError(t, again.Close(t.Context()))

	third := open(t, Options{Path: e.o.Path}, announcing)
	require.Empty(t, publications(third))
}

// A reset begins to count attempts from 1 again; what the first and the second
// of that number publish are different events all the same.
func TestAttemptsOfTheSameNumberBeforeAndAfterAResetHaveEventsOfTheirOwn(t *testing.T) {
	e := open(t, Options{}, announcing)
	id := submit(t, e, asked("announcing", 1))
	finish(t, e, take(t, e), dispatch.Success, 1)
	finish(t, e, take(t, e), dispatch.Success, 1)
	var ids []uuid.UUID
	for range 2 {
		s := take(t, e)
		require.Equal(t, "tell", s.Name)
		require.Equal(t, 1, s.Attempt)
		finish(t, e, s, dispatch.PermanentFailure, "lost")
		await(t, e, id)
		_, err := e.ResetStep(t.Context(), id, s.StepUUID, Operation{})
		require.NoError(t, err)
	}
	for _, p := range publications(e) {
		require.NotContains(t, ids, p.EventID(0))
		ids = append(ids, p.EventID(0))
	}
	require.Len(t, ids, 3)
}

// publishOne stores one durable event.
func publishOne(t *testing.T, e *Engine, name string) uuid.UUID {
	t.Helper()
	id := newUUID()
	require.NoError(t, e.Published(t.Context(), Publication{}, []DomainEvent{{Event: id, Name: name, JSON: []byte(`{"n":1}`)}}))
	return id
}

func TestAConsumerGetsEveryDurableEventOnceItIsKnown(t *testing.T) {
	e := open(t, Options{}, announcing)
	publishOne(t, e, "too.early")
	require.NoError(t, e.Subscribe(t.Context(), "mailer"))
	first, second := publishOne(t, e, "a.b"), publishOne(t, e, "c.d")
	events, err := e.Consume(t.Context(), "mailer", 10)
	require.NoError(t, err)
	require.Len(t, events, 2)
	require.Equal(t, []uuid.UUID{first, second}, []uuid.UUID{events[0].Event, events[1].Event})
	require.JSONEq(t, `{"n":1}`, string(events[0].JSON))
}

func TestEventsComeAgainUntilTheyAreConsumed(t *testing.T) {
	e := open(t, Options{}, announcing)
	require.NoError(t, e.Subscribe(t.Context(), "mailer"))
	publishOne(t, e, "a.b")
	events, err := e.Consume(t.Context(), "mailer", 10)
	require.NoError(t, err)
	require.NoError(t, e.Close(t.Context()))

	again := open(t, Options{Path: e.o.Path}, announcing)
	require.NoError(t, again.Subscribe(t.Context(), "mailer"))
	repeated, err := again.Consume(t.Context(), "mailer", 10)
	require.NoError(t, err)
	require.Equal(t, events, repeated)
	require.NoError(t, again.Consumed(t.Context(), "mailer", events[0].ID))
	next := publishOne(t, again, "c.d")
	rest, err := again.Consume(t.Context(), "mailer", 10)
	require.NoError(t, err)
	require.Equal(t, next, rest[0].Event)
}

func TestAnEventOfTheSameIDIsStoredOnce(t *testing.T) {
	e := open(t, Options{}, announcing)
	require.NoError(t, e.Subscribe(t.Context(), "mailer"))
	event := DomainEvent{Event: newUUID(), Name: "a.b", JSON: []byte(`{}`)}
	for range 2 {
		require.NoError(t, e.Published(t.Context(), Publication{}, []DomainEvent{event}))
	}
	events, err := e.Consume(t.Context(), "mailer", 10)
	require.NoError(t, err)
	require.Len(t, events, 1)
}

func TestConsumeWaitsForTheNextEvent(t *testing.T) {
	e := open(t, Options{}, announcing)
	require.NoError(t, e.Subscribe(t.Context(), "mailer"))
	got := make(chan []DomainEvent, 1)
	go func() {
		events, _ := e.Consume(t.Context(), "mailer", 10)
		got <- events
	}()
	id := publishOne(t, e, "a.b")
	require.Equal(t, id, (<-got)[0].Event)

	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	require.NoError(t, e.Consumed(t.Context(), "mailer", 1))
	_, err := e.Consume(ctx, "mailer", 10)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}
