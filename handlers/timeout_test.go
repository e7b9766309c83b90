package handlers_test

import (
	"context"
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/handlers"
)

// few hands out the given steps and passes on what comes back.
type few struct {
	steps   chan *dispatch.Step
	results chan dispatch.Result
}

func (f *few) Claim(ctx context.Context, _ int) ([]*dispatch.Step, error) {
	select {
	case s := <-f.steps:
		return []*dispatch.Step{s}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (f *few) Complete(_ *dispatch.Step, r dispatch.Result) { f.results <- r }

// running dispatches to the handlers of source on one lane.
func running(t *testing.T, source string) *few {
	t.Helper()
	h := host(t)
	dir := project(t, "p_timeout", map[string]string{t.Name() + ".py": source})
	loaded, err := h.Load(filepath.Join(dir, t.Name()+".py"))
	require.NoError(t, err)
	require.Empty(t, loaded.Problems)
	f := &few{steps: make(chan *dispatch.Step, 10), results: make(chan dispatch.Result, 10)}
	d := dispatch.New(dispatch.Options{
		Source: f, Concurrency: 1, NewExecutor: func(n int) (dispatch.Executor, error) { return h.NewExecutor(n) },
	})
	d.Start(context.Background())
	t.Cleanup(func() { require.NoError(t, d.Drain(context.Background())) })
	return f
}

// stepFor is a step for the handler of this name.
func stepFor(t *testing.T, callable string, timeout time.Duration) *dispatch.Step {
	t.Helper()
	task, step, event := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
	type object = map[string]any
	data, err := json.Marshal(object{
		"event_id": event, "task_uuid": task, "step_uuid": step, "correlation_id": event,
		"task_sequence_step": object{
			"task":               object{"task": object{"task_uuid": task, "context": object{}}, "task_name": "t", "task_version": "1.0.0", "namespace_name": "n"},
			"workflow_step":      object{"workflow_step_uuid": step, "task_uuid": task, "name": "s", "template_step_name": "s", "attempts": 0, "max_attempts": 3, "retryable": true},
			"dependency_results": object{},
			"step_definition":    object{"name": "s", "handler": object{"callable": callable, "initialization": object{}}},
		},
	})
	require.NoError(t, err)
	return &dispatch.Step{EventID: event, TaskUUID: task, StepUUID: step, Name: "s", Timeout: timeout, Event: data}
}

const endless = `
from tasker_core import StepHandler

cleaned = []

class Endless(StepHandler):
    handler_name = "endless"

    def call(self, context):
        try:
            while True:
                try:
                    sum(range(1000))
                except Exception:
                    pass
        finally:
            cleaned.append(1)

class Cleaned(StepHandler):
    handler_name = "cleaned"

    def call(self, context):
        total = 0
        for n in range(200_000):
            total += n
        return self.success({"cleaned": len(cleaned), "total": total})
`

func TestAHandlerThatSpinsIsEndedByItsTimeout(t *testing.T) {
	f := running(t, endless)
	f.steps <- stepFor(t, "endless", 50*time.Millisecond)
	r := <-f.results
	require.Equal(t, dispatch.RetryableFailure, r.Outcome)
	require.Contains(t, string(r.JSON), "timed out after 50ms")

	f.steps <- stepFor(t, "cleaned", 0)
	r = <-f.results
	require.Equal(t, dispatch.Success, r.Outcome, string(r.JSON))
	require.Contains(t, string(r.JSON), `"cleaned":1`) // its finally clause ran
}

func TestATimeoutNeverHitsTheNextStep(t *testing.T) {
	f := running(t, endless)
	for range 50 {
		f.steps <- stepFor(t, "endless", 2*time.Millisecond)
		f.steps <- stepFor(t, "cleaned", 0)
		require.Equal(t, dispatch.RetryableFailure, (<-f.results).Outcome)
		r := <-f.results
		require.Equal(t, dispatch.Success, r.Outcome, string(r.JSON))
	}
}

func TestACoroutineThatWaitsIsEndedByItsTimeout(t *testing.T) {
	f := running(t, `
import asyncio
from tasker_core.step_handler import step_handler

left = []

@step_handler("waiting_coroutine")
async def waiting():
    try:
        await asyncio.sleep(3600)
    finally:
        left.append(1)

@step_handler("after_waiting")
async def after():
    await asyncio.sleep(0)
    return {"left": len(left)}
`)
	f.steps <- stepFor(t, "waiting_coroutine", 50*time.Millisecond)
	require.Equal(t, dispatch.RetryableFailure, (<-f.results).Outcome)

	f.steps <- stepFor(t, "after_waiting", 0)
	r := <-f.results
	require.Equal(t, dispatch.Success, r.Outcome, string(r.JSON))
	require.Contains(t, string(r.JSON), `"left":1`)
}

func TestATimeoutWhileALineIsLoggedKeepsNoOtherLineWaiting(t *testing.T) {
	f := running(t, `
import logging
import threading
from tasker_core.step_handler import step_handler

log = logging.getLogger("timeouts")
entered, leave = threading.Event(), threading.Event()

class Slow:
    def __str__(self):
        entered.set()
        leave.wait()
        return "slow"

@step_handler("logs_past_its_timeout")
def logs_past_its_timeout():
    threading.Thread(target=log.warning, args=("%s", Slow())).start()
    entered.wait()
    threading.Timer(0.3, leave.set).start()
    log.warning("at the same time")
    while True:
        sum(range(1000))

@step_handler("logs_later")
def logs_later():
    other = threading.Thread(target=log.warning, args=("later",), daemon=True)
    other.start()
    other.join(5)
    return {"logged": not other.is_alive()}
`)
	f.steps <- stepFor(t, "logs_past_its_timeout", 50*time.Millisecond)
	require.Equal(t, dispatch.RetryableFailure, (<-f.results).Outcome)

	f.steps <- stepFor(t, "logs_later", 0)
	require.Contains(t, string((<-f.results).JSON), `"logged":true`)
}

var _ dispatch.Executor = (*handlers.Executor)(nil)
