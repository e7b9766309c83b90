package engine

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

func TestAStepOfASummaryIsReadWithAndWithoutZones(t *testing.T) {
	want := time.Date(2026, 11, 28, 22, 5, 25, 63582000, time.UTC)
	for _, text := range []string{"2026-11-28T22:05:25.063582", "2026-11-28T22:05:25.063582Z"} {
		var s SummaryStep
		require.NoError(t, json.Unmarshal(fmt.Appendf(nil, `{"name": "pay", "attempts": 2, "created_at": %q, "completed_at": %q, "last_attempted_at": null}`, text, text), &s))
		require.Equal(t, SummaryStep{Name: "pay", Attempts: 2, CreatedAt: want, CompletedAt: &want}, s)
	}
}

func TestASummaryHasTheTaskItsTemplateAndItsSteps(t *testing.T) {
	e := open(t, Options{Path: memory}, routing)
	id := submit(t, e, asked("routing", 1))
	finish(t, e, take(t, e), dispatch.Success, 1)
	settle(t, e)
	s, err := e.Summary(t.Context(), id)
	require.NoError(t, err)
	task, err := e.Task(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, summaryOf(task), s.Task)
	require.Equal(t, "steps_in_process", s.Task.Status)
	require.Equal(t, 2, s.Task.TotalSteps)

	names := map[string]SummaryTemplateStep{}
	for _, step := range s.Template.Steps {
		names[step.Name] = step
	}
	require.Len(t, names, len(parse(t, routing).Steps), "also those that the task does not have")
	require.Equal(t, "decision", names["route"].StepType)
	require.NotEmpty(t, names["route"].Dependencies)
	require.Equal(t, "standard", names["small"].StepType)
	require.Equal(t, "h", names["small"].Handler)
	require.EqualValues(t, 3, names["small"].MaxAttempts)
	require.True(t, names["small"].Retryable)

	require.Len(t, s.Steps, 2)
	require.Equal(t, "complete", s.Steps[0].CurrentState)
	require.NotNil(t, s.Steps[0].CompletedAt)
	require.Equal(t, "route", s.Steps[1].Name)
	require.True(t, s.Steps[1].DependenciesSatisfied)
	require.Equal(t, SummaryDLQ{}, s.DLQ)
	path := "/v1/tasks/" + id.String()
	require.Equal(t, SummaryLinks{Task: path, Steps: path + "/workflow_steps", DLQ: "/v1/dlq"}, s.Links)
}

func TestASummaryTellsWhyAStepFailed(t *testing.T) {
	e := open(t, Options{Path: memory}, chain)
	id := submit(t, e, asked("chain", 1))
	e.Complete(take(t, e), dispatch.Result{Outcome: dispatch.PermanentFailure, JSON: []byte(
		`{"success":false,"status":"permanent_error","metadata":{"retryable":false},"error":{"message":"no","error_type":"PaymentError","retryable":true,"status_code":402}}`)})
	await(t, e, id)
	s, err := e.Summary(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, &SummaryError{ErrorType: "PaymentError", Retryable: true, StatusCode: ptr(402)}, s.Steps[0].Error)
	require.Nil(t, s.Steps[1].Error)
}

func TestASummaryTellsOfAPendingDeadLetterInTheWordsOfTheFile(t *testing.T) {
	e := open(t, Options{Path: memory}, chain)
	id := submit(t, e, asked("chain", 1))
	deadLetter(t, e, id, DLQMaxRetriesExceeded)
	s, err := e.Summary(t.Context(), id)
	require.NoError(t, err)
	data, err := json.Marshal(s.DLQ)
	require.NoError(t, err)
	require.JSONEq(t, `{"in_dlq": true, "dlq_reason": "max_retries_exceeded", "resolution_status": "pending"}`, string(data))

	require.NoError(t, e.UpdateDLQ(t.Context(), deadLetters(t, e)[0].DLQEntryUUID, DLQUpdate{ResolutionStatus: ptr(DLQCancelled)}))
	s, err = e.Summary(t.Context(), id)
	require.NoError(t, err)
	data, err = json.Marshal(s.DLQ)
	require.NoError(t, err)
	require.JSONEq(t, `{"in_dlq": false, "dlq_reason": null, "resolution_status": null}`, string(data))
}

func TestTheSummaryOfAnUnknownTaskIsNotFound(t *testing.T) {
	e := open(t, Options{Path: memory}, chain)
	_, err := e.Summary(t.Context(), newUUID())
	require.ErrorIs(t, err, ErrNotFound)
}
