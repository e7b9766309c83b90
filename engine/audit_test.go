package engine

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

// audited returns the audit of a step by name.
func audited(t testing.TB, e *Engine, task uuid.UUID, step string) []StepAudit {
	t.Helper()
	all, err := e.Audit(t.Context(), task, stepOf(t, e, task, step).StepUUID)
	require.NoError(t, err)
	return all
}

// eventIn reads the event of an audit record.
func eventIn(t testing.TB, a StepAudit) (kind string, result map[string]any) {
	t.Helper()
	var e struct {
		Type string         `json:"type"`
		Data map[string]any `json:"data"`
	}
	require.NoError(t, json.Unmarshal(a.Result, &e), string(a.Result))
	return e.Type, e.Data
}

func TestEachFinishedAttemptHasAnAuditRecordNewestFirst(t *testing.T) {
	e := open(t, Options{Path: memory, ImmediateRetries: true, WorkerID: "desk-1"}, dag("single", "only"))
	id := submit(t, e, asked("single", 1))
	finish(t, e, take(t, e), dispatch.RetryableFailure, "first try")
	finish(t, e, take(t, e), dispatch.RetryableFailure, "second try")
	finish(t, e, take(t, e), dispatch.Success, 12)
	task := await(t, e, id)

	all := audited(t, e, id, "only")
	require.Len(t, all, 3)
	step := stepOf(t, e, id, "only")
	for i, want := range []struct {
		success  bool
		to, kind string
		message  string
	}{
		{true, "enqueued_for_orchestration", "EnqueueForOrchestration", ""},
		{false, "enqueued_as_error_for_orchestration", "EnqueueAsErrorForOrchestration", "second try"},
		{false, "enqueued_as_error_for_orchestration", "EnqueueAsErrorForOrchestration", "first try"},
	} {
		a := all[i]
		require.Equal(t, want.success, a.Success, i)
		require.Equal(t, "in_progress", *a.FromState)
		require.Equal(t, want.to, a.ToState)
		require.Equal(t, step.StepUUID, a.WorkflowStepUUID)
		require.Equal(t, id, a.TaskUUID)
		require.Equal(t, "only", a.StepName)
		require.Equal(t, task.CorrelationID, *a.CorrelationID)
		kind, result := eventIn(t, a)
		require.Equal(t, want.kind, kind)
		if want.message != "" {
			require.Equal(t, want.message, result["error"].(map[string]any)["message"])
		} else {
			require.EqualValues(t, 12, result["result"])
		}
		if i > 0 {
			require.False(t, a.RecordedAt.After(all[i-1].RecordedAt))
		}
	}
}

func TestAuditRecordsTellHowLongTheHandlerTook(t *testing.T) {
	e := open(t, Options{Path: memory, ImmediateRetries: true}, dag("single", "only"))
	id := submit(t, e, asked("single", 1))
	failed := take(t, e)
	result := resultOf(failed, dispatch.RetryableFailure, "no")
	result.Duration = 30 * time.Millisecond
	e.Complete(failed, result)
	step := take(t, e)
	result = resultOf(step, dispatch.Success, 1)
	result.Duration = 41 * time.Millisecond
	e.Complete(step, result)
	await(t, e, id)
	all := audited(t, e, id, "only")
	require.EqualValues(t, 41, *all[0].ExecutionTimeMS)
	require.EqualValues(t, 30, *all[1].ExecutionTimeMS)
}

func TestTheUUIDsOfAnAuditAreTheSameEachTime(t *testing.T) {
	e := open(t, Options{Path: memory, ImmediateRetries: true, WorkerID: "desk-1"}, dag("single", "only"))
	id := submit(t, e, asked("single", 1))
	finish(t, e, take(t, e), dispatch.RetryableFailure, "first try")
	finish(t, e, take(t, e), dispatch.Success, 1)
	await(t, e, id)
	all := audited(t, e, id, "only")
	require.Equal(t, all, audited(t, e, id, "only"))
	seen := map[uuid.UUID]bool{}
	for _, a := range all {
		for _, u := range []uuid.UUID{a.AuditUUID, a.TransitionUUID} {
			require.EqualValues(t, 5, u.Version())
			require.False(t, seen[u])
			seen[u] = true
		}
	}
	require.EqualValues(t, 5, all[1].WorkerUUID.Version())
}

func TestAWorkerWhoseNameIsAUUIDKeepsIt(t *testing.T) {
	name := newUUID()
	e := open(t, Options{Path: memory, WorkerID: name.String()}, dag("single", "only"))
	id := submit(t, e, asked("single", 1))
	finish(t, e, take(t, e), dispatch.PermanentFailure, "no")
	await(t, e, id)
	require.Equal(t, name, *audited(t, e, id, "only")[0].WorkerUUID)
}

func TestCheckpointsAndManualActionsAreNotAudited(t *testing.T) {
	e := open(t, Options{Path: memory}, dag("single", "only"))
	id := submit(t, e, asked("single", 1))
	finish(t, e, take(t, e), dispatch.CheckpointYield, map[string]any{"cursor": 1, "items_processed": 1})
	take(t, e)
	_, err := e.ResolveStep(t.Context(), id, stepOf(t, e, id, "only").StepUUID, byHand)
	require.NoError(t, err)
	await(t, e, id)
	require.Empty(t, audited(t, e, id, "only"))
}

func TestAResultThatAnOperatorReplacedIsNotShownAsTheAttempts(t *testing.T) {
	e := open(t, Options{Path: memory}, dag("pair", "one", "two: one"))
	id := submit(t, e, asked("pair", 1))
	finish(t, e, take(t, e), dispatch.Success, "by the handler")
	take(t, e)
	one := stepOf(t, e, id, "one").StepUUID
	_, err := e.CompleteStep(t.Context(), id, one, byHand, Completion{Result: json.RawMessage(`"by hand"`)})
	require.NoError(t, err)
	all := audited(t, e, id, "one")
	require.Len(t, all, 1)
	require.True(t, all[0].Success)
	require.Nil(t, all[0].Result)
	require.Nil(t, all[0].ExecutionTimeMS)
}

func TestADecisionThatCouldNotBeFollowedIsAuditedAsAFailure(t *testing.T) {
	e := open(t, Options{Path: memory}, routing)
	id := submit(t, e, asked("routing", 1))
	finish(t, e, take(t, e), dispatch.Success, 1)
	finish(t, e, take(t, e), dispatch.Success, choose("nowhere"))
	await(t, e, id)
	all := audited(t, e, id, "route")
	require.Len(t, all, 1)
	require.False(t, all[0].Success)
	require.Equal(t, "enqueued_for_orchestration", all[0].ToState)
}

func TestAnAttemptThatWasLostWithItsProcessIsAudited(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	e := open(t, Options{Path: path}, dag("single", "only"))
	id := submit(t, e, asked("single", 1))
	take(t, e)
	require.NoError(t, e.Close(t.Context()))
	e = open(t, Options{Path: path}, dag("single", "only"))
	all := audited(t, e, id, "only")
	require.Len(t, all, 1)
	require.False(t, all[0].Success)
	_, result := eventIn(t, all[0])
	require.Equal(t, workerLost, result["error"].(map[string]any)["error_type"])
}

func TestTheAuditOfWhatDoesNotExistIsNotFound(t *testing.T) {
	e := open(t, Options{Path: memory}, dag("single", "only"))
	id := submit(t, e, asked("single", 1))
	other := submit(t, e, asked("single", 2))
	for _, c := range [][2]uuid.UUID{{newUUID(), newUUID()}, {id, newUUID()}, {id, stepOf(t, e, other, "only").StepUUID}} {
		_, err := e.Audit(t.Context(), c[0], c[1])
		require.ErrorIs(t, err, ErrNotFound)
	}
}
