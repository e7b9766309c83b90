package engine

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

const intake = `
name: intake
namespace_name: shop
version: 1.2.0
steps:
  - name: check
    handler: {callable: shop.Check}
  - name: ship
    description: Hand the parcel over
    handler: {callable: shop.Ship, method: express, resolver: explicit_mapping, initialization: {carrier: DX, limits: {kg: 30}}}
    dependencies: [check]
    retry: {max_attempts: 4, backoff: linear, backoff_base_ms: 1500}
    timeout_seconds: 20
    publishes_events:
      - {name: parcel.sent, description: It left, condition: success, delivery_mode: fast, schema: {type: object}}
`

// The event of a step's second attempt, as engine-semantics §6.2 and
// python-api-core §2.6 lay it out. Time in a bubble begins in the year 2000.
const shipEvent = `{
  "event_id": "EVENT", "task_uuid": "TASK", "step_uuid": "STEP", "correlation_id": "11111111-1111-4111-8111-111111111111",
  "task_correlation_id": "11111111-1111-4111-8111-111111111111", "parent_correlation_id": "22222222-2222-4222-8222-222222222222",
  "task_sequence_step": {
    "task": {
      "task": {
        "task_uuid": "TASK", "named_task_uuid": "NAMED_TASK", "complete": false, "requested_at": "2000-01-01T00:00:00",
        "initiator": "cli", "source_system": "desk", "reason": "a \"demo\"", "tags": ["urgent", "ü"],
        "context": {"order_id": "A-1", "n": 7}, "identity_hash": "HASH", "priority": 5,
        "correlation_id": "11111111-1111-4111-8111-111111111111", "parent_correlation_id": "22222222-2222-4222-8222-222222222222",
        "completed_at": null, "created_at": "2000-01-01T00:00:00", "updated_at": "2000-01-01T00:00:00"
      },
      "task_name": "intake", "task_version": "1.2.0", "namespace_name": "shop"
    },
    "workflow_step": {
      "workflow_step_uuid": "STEP", "task_uuid": "TASK", "named_step_uuid": "NAMED_STEP", "name": "ship", "template_step_name": "ship",
      "retryable": true, "max_attempts": 4, "in_process": false, "processed": false, "processed_at": null,
      "attempts": 1, "last_attempted_at": "2000-01-01T00:00:00", "backoff_request_seconds": 2,
      "inputs": {"carrier": "DX", "limits": {"kg": 30}}, "results": {"success": false, "metadata": {"retryable": true}},
      "checkpoint": null, "created_at": "2000-01-01T00:00:00", "updated_at": "2000-01-01T00:00:01.5"
    },
    "dependency_results": {"check": {"step_uuid": "CHECK", "success": true, "result": {"ok": true}}},
    "step_definition": {
      "name": "ship", "description": "Hand the parcel over",
      "handler": {"callable": "shop.Ship", "method": "express", "resolver": "explicit_mapping",
                  "initialization": {"carrier": "DX", "limits": {"kg": 30}}},
      "type": "standard", "system_dependency": null, "dependencies": ["check"],
      "retry": {"retryable": true, "max_attempts": 4, "backoff": "linear", "backoff_base_ms": 1500, "max_backoff_ms": null},
      "timeout_seconds": 20,
      "publishes_events": [{"name": "parcel.sent", "description": "It left", "condition": "success", "schema": {"type": "object"},
                            "delivery_mode": "fast", "publisher": null}],
      "batch_config": null
    }
  }
}`

func TestTheEventOfAStepIsWhatTheHandlerSideExpects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory, NoJitter: true}, intake)
		correlation, parent := uuid.FromStringOrNil("11111111-1111-4111-8111-111111111111"), uuid.FromStringOrNil("22222222-2222-4222-8222-222222222222")
		id := submit(t, e, TaskRequest{
			Name: "intake", Namespace: "shop", Version: "1.2.0", Context: json.RawMessage(`{"order_id": "A-1", "n": 7}`),
			Initiator: "cli", SourceSystem: "desk", Reason: `a "demo"`, Tags: []string{"urgent", "ü"}, Priority: 5,
			CorrelationID: &correlation, ParentCorrelationID: &parent,
		})
		check := take(t, e)
		e.Complete(check, dispatch.Result{Outcome: dispatch.Success,
			JSON: fmt.Appendf(nil, `{"step_uuid":%q,"success":true,"result":{"ok":true}}`, check.StepUUID)})
		e.Complete(take(t, e), dispatch.Result{Outcome: dispatch.RetryableFailure, JSON: []byte(`{"success":false,"metadata":{"retryable":true}}`)})
		ship := take(t, e)

		var raw struct {
			Sequence struct {
				Task struct {
					Task struct {
						NamedTask string `json:"named_task_uuid"`
						Hash      string `json:"identity_hash"`
					} `json:"task"`
				} `json:"task"`
				Step struct {
					NamedStep string `json:"named_step_uuid"`
				} `json:"workflow_step"`
			} `json:"task_sequence_step"`
		}
		require.NoError(t, json.Unmarshal(ship.Event, &raw))
		require.Equal(t, e.Templates()[0].UUID.String(), raw.Sequence.Task.Task.NamedTask)
		require.Regexp(t, "^[0-9a-f]{16,}$", raw.Sequence.Task.Task.Hash)
		want := strings.NewReplacer("EVENT", ship.EventID.String(), "NAMED_TASK", raw.Sequence.Task.Task.NamedTask,
			"NAMED_STEP", raw.Sequence.Step.NamedStep, "TASK", id.String(), "STEP", ship.StepUUID.String(),
			"CHECK", check.StepUUID.String(), "HASH", raw.Sequence.Task.Task.Hash).Replace(shipEvent)
		require.JSONEq(t, want, string(ship.Event))
	})
}

func TestAHandedOutStepNamesItsTaskAndAttempt(t *testing.T) {
	e := open(t, Options{}, intake)
	id := submit(t, e, TaskRequest{Name: "intake", Namespace: "shop", Version: "1.2.0", Context: json.RawMessage(`{}`)})
	s := take(t, e)
	task, err := e.Task(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, id, s.TaskUUID)
	require.Equal(t, stepOf(t, e, id, "check").StepUUID, s.StepUUID)
	require.Equal(t, task.CorrelationID, s.CorrelationID)
	require.Equal(t, []any{"shop", "intake", "check", 1}, []any{s.Namespace, s.Task, s.Name, s.Attempt})
}

func TestTheEventOfATaskWithoutParentLeavesTheKeyOut(t *testing.T) {
	e := open(t, Options{}, linear)
	submit(t, e, asked("linear", 1))
	var keys map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(take(t, e).Event, &keys))
	require.NotContains(t, keys, "parent_correlation_id")
	require.NotContains(t, keys, "trace_id")
	require.Contains(t, string(keys["task_sequence_step"]), `"parent_correlation_id":null`)
}

func TestTheHandlerSeesTheAttemptsBeforeItsOwn(t *testing.T) {
	e := open(t, Options{ImmediateRetries: true}, retrying("max_attempts: 3"))
	submit(t, e, asked("retrying", 1))
	for n := range 3 {
		s := take(t, e)
		require.Equal(t, n+1, s.Attempt)
		before := eventOf(t, s).Sequence.Step
		require.Equal(t, n, before.Attempts)
		require.Equal(t, 3, before.MaxAttempts)
		require.Equal(t, n > 0, before.LastAttemptedAt != nil)
		finish(t, e, s, dispatch.RetryableFailure, "again")
	}
}

func TestEveryDispatchOfAStepHasAnEventIDOfItsOwn(t *testing.T) {
	e := open(t, Options{ImmediateRetries: true}, retrying("max_attempts: 3"))
	submit(t, e, asked("retrying", 1))
	first := take(t, e)
	finish(t, e, first, dispatch.RetryableFailure, "again")
	second := take(t, e)
	require.Equal(t, first.StepUUID, second.StepUUID)
	require.NotEqual(t, first.EventID, second.EventID)
	require.Equal(t, second.EventID, eventOf(t, second).EventID)
}

func TestBigIntegersAndKeyOrderSurviveTheWholeWay(t *testing.T) {
	e := open(t, Options{}, dag("pair", "first", "second: first"))
	const context = `{"z":123456789012345678901234567890,"a":{"y":-9007199254740993,"b":1.10},"é":"<&>\u2028"}`
	const result = `{"success":true,"result":{"zeta":98765432109876543210987654321,"alpha":[1,2.50],"m":1e400}}`
	id := submit(t, e, TaskRequest{Name: "pair", Namespace: "tests", Version: "1.0.0", Context: json.RawMessage(context)})
	first := take(t, e)
	require.Contains(t, string(first.Event), `"context":`+context+`,`)
	e.Complete(first, dispatch.Result{Outcome: dispatch.Success, JSON: []byte(result)})
	second := take(t, e)
	require.Contains(t, string(second.Event), `"dependency_results":{"first":`+result+`}`)
	task, err := e.Task(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, context, string(task.Context))
	require.Equal(t, result, string(stepOf(t, e, id, "first").Results))
}

func TestNumbersOfAnyLengthAreExactInTheEvent(t *testing.T) {
	e := open(t, Options{}, linear)
	long := strings.Repeat("7", 500)
	submit(t, e, TaskRequest{Name: "linear", Namespace: "tests", Version: "1.0.0", Context: json.RawMessage(`{"n":` + long + `}`)})
	var got struct {
		Sequence struct {
			Task struct {
				Task struct{ Context struct{ N json.Number } }
			}
		} `json:"task_sequence_step"`
	}
	require.NoError(t, json.Unmarshal(take(t, e).Event, &got))
	want, _ := new(big.Int).SetString(long, 10)
	n, ok := new(big.Int).SetString(got.Sequence.Task.Task.Context.N.String(), 10)
	require.True(t, ok)
	require.Zero(t, want.Cmp(n))
}

func TestStepAndTaskTextsOfAnyKindMakeValidEvents(t *testing.T) {
	e := open(t, Options{}, linear)
	request := asked("linear", 1)
	request.Reason, request.Tags = "quote \" backslash \\ newline \n nul \x00 ünï", []string{"\t", `"`}
	submit(t, e, request)
	s := take(t, e)
	require.True(t, json.Valid(s.Event))
	var got struct {
		Sequence struct {
			Task struct {
				Task struct {
					Reason string
					Tags   []string
				}
			}
		} `json:"task_sequence_step"`
	}
	require.NoError(t, json.Unmarshal(s.Event, &got))
	require.Equal(t, request.Reason, got.Sequence.Task.Task.Reason)
	require.Equal(t, request.Tags, got.Sequence.Task.Task.Tags)
}

// Text that is no Unicode would make an event that the handler side cannot
// decode, so it is refused at the door.
func TestAContextWithTextThatIsNoUnicodeIsRefused(t *testing.T) {
	e := open(t, Options{}, linear)
	for _, context := range []string{"{\"a\":\"\xff\"}", "{\"\xc3\":1}", `{"a":"\ud800"}`, `{"a":"x\udc00y"}`, `{"\ud800\ud800":1}`} {
		_, err := e.Create(t.Context(), TaskRequest{Name: "linear", Namespace: "tests", Version: "1.0.0", Context: json.RawMessage(context)})
		require.ErrorIs(t, err, ErrInvalid, "%q", context)
	}
	submit(t, e, TaskRequest{Name: "linear", Namespace: "tests", Version: "1.0.0", Context: json.RawMessage(`{"a":"\ud83d\ude00 \\ud800"}`)})
}
