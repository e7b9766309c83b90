package engine

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

// small is an engine that stores results up to a thousand bytes.
func small(t testing.TB, yaml ...string) *Engine { return open(t, Options{MaxResult: 1000}, yaml...) }

func TestAResultThatCannotBeStoredFailsItsStepForGood(t *testing.T) {
	for _, outcome := range []dispatch.Outcome{dispatch.Success, dispatch.RetryableFailure} {
		e := small(t, linear)
		id := submit(t, e, asked("linear", 1))
		finish(t, e, take(t, e), outcome, strings.Repeat("x", 1000))
		require.Equal(t, "blocked_by_failures", await(t, e, id).Status)
		s := stepOf(t, e, id, "one")
		require.Equal(t, "error", s.CurrentState)
		require.Equal(t, 1, s.Attempts)
		require.Contains(t, string(s.Results), resultTooLarge)
		require.Contains(t, string(s.Results), "at most 1000 can be stored; keep large data elsewhere and return where it is")
		require.NoError(t, e.Health())
	}
}

func TestAResultOfTheLargestSizeIsStored(t *testing.T) {
	e := small(t, linear)
	submit(t, e, asked("linear", 1))
	s := take(t, e)
	result := resultOf(s, dispatch.Success, "")
	result = resultOf(s, dispatch.Success, strings.Repeat("x", 1000-len(result.JSON)))
	require.Len(t, result.JSON, 1000)
	e.Complete(s, result)
	require.Equal(t, "two", take(t, e).Name)
}

func TestACheckpointThatCannotBeStoredFailsTheAttempt(t *testing.T) {
	e := small(t, linear)
	id := submit(t, e, asked("linear", 1))
	finish(t, e, take(t, e), dispatch.CheckpointYield, map[string]any{"cursor": strings.Repeat("x", 1000), "items_processed": 1})
	settle(t, e)
	s := stepOf(t, e, id, "one")
	require.Equal(t, "waiting_for_retry", s.CurrentState)
	require.Contains(t, string(s.Results), "checkpoint_error")
	require.Contains(t, string(s.Results), "at most 1000 can be stored")
}

func TestAResultGivenByHandThatCannotBeStoredIsRefused(t *testing.T) {
	e := small(t, linear)
	id := submit(t, e, asked("linear", 1))
	s := take(t, e)
	result, err := json.Marshal(strings.Repeat("x", 1000))
	require.NoError(t, err)
	_, err = e.CompleteStep(t.Context(), id, s.StepUUID, Operation{}, Completion{Result: result})
	require.ErrorIs(t, err, ErrInvalid)
	require.ErrorContains(t, err, "at most 1000 can be stored")
	require.Equal(t, "in_progress", states(t, e, id)["one"])
}

func TestTheEventsOfAStepThatWasGivenTooMuchAreNotPublished(t *testing.T) {
	e := small(t, `
name: heavy
namespace_name: tests
version: 1.0.0
steps:
  - {name: a, handler: {callable: h}}
  - {name: b, handler: {callable: h}}
  - {name: c, handler: {callable: h}}
  - name: end
    handler: {callable: h}
    dependencies: [a, b, c]
    publishes_events: [{name: tests.done, description: Done, schema: {}}]
`)
	id := submit(t, e, asked("heavy", 1))
	for _, s := range takeAll(t, e, 3) {
		finish(t, e, s, dispatch.Success, strings.Repeat("x", 700))
	}
	finish(t, e, take(t, e), dispatch.Success, 1)
	require.Equal(t, "complete", await(t, e, id).Status)
	require.Empty(t, publications(e))
}

func TestADurableEventThatCannotBeStoredIsDropped(t *testing.T) {
	e := small(t)
	require.NoError(t, e.Subscribe(t.Context(), "mailer"))
	events := []DomainEvent{
		{Event: newUUID(), Name: "too.large", JSON: []byte(`"` + strings.Repeat("x", 3000) + `"`)},
		{Event: newUUID(), Name: "a.b", JSON: []byte(`{}`)},
	}
	require.NoError(t, e.Published(t.Context(), Publication{}, events))
	got, err := e.Consume(t.Context(), "mailer", 10)
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, "a.b", got[0].Name)
}
