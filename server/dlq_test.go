package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/server"
)

// openStale is a shop whose engine puts tasks to error that nobody works on.
// It must be opened in a bubble.
func openStale(t *testing.T) *shop {
	t.Helper()
	e, err := engine.Open(t.Context(), engine.Options{Path: ":memory:", Staleness: engine.Staleness{Mode: engine.StalenessAct}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close(context.Background())) })
	require.NoError(t, e.Register(t.Context(), parseTemplate(t, chain)))
	return &shop{t: t, engine: e, server: server.New(server.Options{Engine: e})}
}

// pass lets time pass in a bubble.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (s *shop) create(order string) engine.Task {
	s.t.Helper()
	return read[engine.Task](s, http.MethodPost, "/v1/tasks", orderRequest(order))
}

func TestAStaleTaskIsADeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStale(t)
		task := s.create("A-1")
		require.JSONEq(t, `[]`, s.ask(http.MethodGet, "/v1/dlq", "").Body.String())
		pass(40 * time.Minute)
		list := read[[]map[string]any](s, http.MethodGet, "/v1/dlq", "")
		require.Len(t, list, 1)
		require.Equal(t, task.TaskUUID.String(), list[0]["task_uuid"])
		require.Equal(t, "StalenessTimeout", list[0]["dlq_reason"])
		require.Equal(t, "Pending", list[0]["resolution_status"])
		require.Equal(t, "steps_in_process", list[0]["original_state"])
		require.NotContains(t, list[0]["dlq_timestamp"], "Z", "times of dead letters are naive")
		for _, key := range []string{"dlq_entry_uuid", "resolution_timestamp", "resolution_notes", "resolved_by", "task_snapshot", "metadata", "created_at", "updated_at"} {
			require.Contains(t, list[0], key)
		}
		require.Len(t, list[0], 13)
		require.Equal(t, list[0], read[map[string]any](s, http.MethodGet, "/v1/dlq/task/"+task.TaskUUID.String(), ""))
		require.Equal(t, "error", read[engine.Task](s, http.MethodGet, "/v1/tasks/"+task.TaskUUID.String(), "").Status)
		summary := read[map[string]any](s, http.MethodGet, "/v1/tasks/"+task.TaskUUID.String()+"/summary", "")
		require.Equal(t, map[string]any{"in_dlq": true, "dlq_reason": "staleness_timeout", "resolution_status": "pending"}, summary["dlq"])
	})
}

func TestDeadLettersAreFilteredAndPaged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStale(t)
		for i := range 3 {
			s.create(fmt.Sprint(i))
		}
		pass(40 * time.Minute)
		all := read[[]engine.DLQEntry](s, http.MethodGet, "/v1/dlq", "")
		require.Len(t, all, 3)
		read[map[string]any](s, http.MethodPatch, "/v1/dlq/entry/"+all[1].DLQEntryUUID.String(), `{"resolution_status": "manually_resolved"}`)
		for query, want := range map[string]int{
			"resolution_status=Pending": 2, "resolution_status=pending": 2, "resolution_status=ManuallyResolved": 1,
			"resolution_status=manually_resolved": 1, "resolution_status=Cancelled": 0, "limit=2": 2, "limit=2&offset=2": 1, "offset=3": 0,
		} {
			require.Len(t, read[[]engine.DLQEntry](s, http.MethodGet, "/v1/dlq?"+query, ""), want, query)
		}
		for query, mentions := range map[string]string{
			"resolution_status=open": `"open"`, "resolution_status=": "resolution_status", "limit=0": "limit", "limit=1001": "1 to 1000",
			"offset=-1": "offset", "offset=x": `"x"`, "limit=%zz": "query",
		} {
			requireProblem(t, s.ask(http.MethodGet, "/v1/dlq?"+query, ""), 400, "BAD_REQUEST", mentions)
		}
	})
}

func TestAnInvestigationIsNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStale(t)
		task := s.create("A-1")
		pass(40 * time.Minute)
		entry := read[engine.DLQEntry](s, http.MethodGet, "/v1/dlq/task/"+task.TaskUUID.String(), "")
		path := "/v1/dlq/entry/" + entry.DLQEntryUUID.String()
		rec := s.ask(http.MethodPatch, path, `{"resolution_notes": "nobody was there", "resolved_by": null, "unknown": 1}`)
		require.Equal(t, http.StatusOK, rec.Code)
		require.JSONEq(t, fmt.Sprintf(`{"success": true, "message": "DLQ entry updated", "dlq_entry_uuid": %q}`, entry.DLQEntryUUID), rec.Body.String())
		noted := read[engine.DLQEntry](s, http.MethodGet, "/v1/dlq/task/"+task.TaskUUID.String(), "")
		require.Equal(t, "nobody was there", *noted.ResolutionNotes)
		require.Equal(t, engine.DLQPending, noted.ResolutionStatus)
		require.Nil(t, noted.ResolutionTimestamp)

		read[map[string]any](s, http.MethodPatch, path,
			`{"resolution_status": "PermanentlyFailed", "resolved_by": "ops-7", "metadata": {"ticket": "T-4"}}`)
		closed := read[engine.DLQEntry](s, http.MethodGet, "/v1/dlq/task/"+task.TaskUUID.String(), "")
		require.Equal(t, engine.DLQPermanentlyFailed, closed.ResolutionStatus)
		require.NotNil(t, closed.ResolutionTimestamp)
		require.Equal(t, "ops-7", *closed.ResolvedBy)
		require.Equal(t, "nobody was there", *closed.ResolutionNotes)
		require.JSONEq(t, `{"ticket": "T-4"}`, string(closed.Metadata))
	})
}

func TestUpdatesOfDeadLettersThatMakeNoSense(t *testing.T) {
	s := openShop(t)
	path := "/v1/dlq/entry/" + stepID.String()
	for body, mentions := range map[string]string{
		`{"resolution_status": "open"}`: `"open" is none of Pending`,
		`{"resolution_status": 3}`:      "resolution_status must be a string",
		`{"resolved_by": []}`:           "resolved_by must be a string",
		`{"metadata": "x"}`:             "metadata must be an object",
		`[]`:                            "must be a JSON object",
	} {
		requireProblem(t, s.ask(http.MethodPatch, path, body), 422, "UNPROCESSABLE_ENTITY", mentions)
	}
	requireProblem(t, s.ask(http.MethodPatch, path, `{"resolution_status": "Pending"}`), 404, "NOT_FOUND", "DLQ entry not found")
	requireProblem(t, s.ask(http.MethodPatch, "/v1/dlq/entry/seven", `{}`), 400, "INVALID_UUID", "seven")
	requireProblem(t, s.ask(http.MethodGet, "/v1/dlq/task/"+taskID.String(), ""), 404, "NOT_FOUND", "No DLQ entry")
	requireProblem(t, s.ask(http.MethodGet, "/v1/dlq/task/seven", ""), 400, "INVALID_UUID", "seven")
}

func TestStatisticsAndQueueOfDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStale(t)
		require.JSONEq(t, `[]`, s.ask(http.MethodGet, "/v1/dlq/stats", "").Body.String())
		require.JSONEq(t, `[]`, s.ask(http.MethodGet, "/v1/dlq/investigation-queue", "").Body.String())
		s.create("A-1")
		s.create("A-2")
		pass(40 * time.Minute)
		stats := read[[]map[string]any](s, http.MethodGet, "/v1/dlq/stats", "")
		require.Len(t, stats, 1)
		require.Equal(t, "StalenessTimeout", stats[0]["dlq_reason"])
		require.EqualValues(t, 2, stats[0]["total_entries"])
		require.EqualValues(t, 2, stats[0]["pending"])
		require.Nil(t, stats[0]["avg_resolution_time_minutes"])
		require.Len(t, stats[0], 9)

		queue := read[[]map[string]any](s, http.MethodGet, "/v1/dlq/investigation-queue", "")
		require.Len(t, queue, 2)
		require.Len(t, queue[0], 11)
		require.EqualValues(t, 100+queue[0]["minutes_in_dlq"].(float64), queue[0]["priority_score"])
		require.Equal(t, "error", queue[0]["current_state"])
		require.Len(t, read[[]any](s, http.MethodGet, "/v1/dlq/investigation-queue?limit=1", ""), 1)
		requireProblem(t, s.ask(http.MethodGet, "/v1/dlq/investigation-queue?limit=0", ""), 400, "BAD_REQUEST", "limit")
	})
}

func TestTheStalenessOfTasksOverREST(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStale(t)
		task := s.create("A-1")
		pass(25 * time.Minute)
		s.create("A-2")
		rec := s.ask(http.MethodGet, "/v1/dlq/staleness", "")
		require.Equal(t, http.StatusOK, rec.Code)
		var list []json.RawMessage
		require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &list))
		require.Len(t, list, 2)
		require.JSONEq(t, fmt.Sprintf(`{"task_uuid": %q, "namespace_name": "shop", "task_name": "order_intake", "current_state": "steps_in_process",
			"time_in_state_minutes": 25, "task_age_minutes": 25, "staleness_threshold_minutes": 30, "health_status": "warning", "priority": 0}`, task.TaskUUID), string(list[0]))
		require.Len(t, read[[]any](s, http.MethodGet, "/v1/dlq/staleness?limit=1", ""), 1)
		requireProblem(t, s.ask(http.MethodGet, "/v1/dlq/staleness?limit=many", ""), 400, "BAD_REQUEST", "many")
	})
}
