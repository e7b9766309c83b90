package client_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/client"
	"github.com/tasker-systems/taskerpy/engine"
)

var followed = uuid.Must(uuid.FromString("0190d0a0-0000-7000-8000-000000000001"))

// taskAt is a followed task of two steps, as it was at a second of its life.
func taskAt(second int, status, one, two string) string {
	step := func(name, state string) string {
		return fmt.Sprintf(`{"name": %q, "current_state": %q, "attempts": 1}`, name, state)
	}
	return fmt.Sprintf(`{"task_uuid": %q, "name": "order_intake", "status": %q, "updated_at": "2026-02-03T10:00:%02dZ", "steps": [%s, %s]}`,
		followed, status, second, step("one", one), step("two", two))
}

// changeAt is an event of a stream.
func changeAt(second int, step, from, to, message string) string {
	return fmt.Sprintf("event: change\ndata: {\"task_uuid\": %q, \"step\": %q, \"from\": %q, \"to\": %q, \"at\": \"2026-02-03T10:00:%02dZ\", \"attempts\": 1, \"message\": %q}\n\n",
		followed, step, from, to, second, message)
}

func event(name, data string) string { return "event: " + name + "\ndata: " + data + "\n\n" }

// script answers requests in turn: for the task, for its stream, and for its
// steps. The last answer is given again.
type script struct {
	mu     sync.Mutex
	tasks  []string
	events []string // "" means that there is no such route
	steps  string
	asked  []string
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kind := strings.TrimPrefix(r.URL.Path, "/v1/tasks/"+followed.String())
	s.asked = append(s.asked, kind)
	next := func(answers *[]string) string {
		answer := (*answers)[0]
		if len(*answers) > 1 {
			*answers = (*answers)[1:]
		}
		return answer
	}
	switch kind {
	case "":
		_, _ = io.WriteString(w, next(&s.tasks))
	case "/workflow_steps":
		_, _ = io.WriteString(w, s.steps)
	case "/events":
		answer := ""
		if len(s.events) > 0 {
			answer = next(&s.events)
		}
		if answer == "" {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"error": {"code": "NOT_FOUND", "message": "no such route"}}`)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, answer)
	}
}

func (s *script) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.asked...)
}

// follow follows the task of a script, and gives what it was told.
func follow(t *testing.T, s *script) (told []string, end client.Answer[engine.Task], err error) {
	t.Helper()
	c := serve(t, client.Config{}, s.ServeHTTP)
	end, err = c.Follow(t.Context(), followed, func(c engine.Change) {
		require.Equal(t, followed, c.TaskUUID)
		line := fmt.Sprintf("%s: %s %s", c.Step, c.From, c.To)
		if c.Message != "" {
			line += " (" + c.Message + ")"
		}
		told = append(told, line)
	})
	return told, end, err
}

func TestFollowingATaskTellsWhatItIsAndThenWhatHappens(t *testing.T) {
	t.Parallel()
	s := &script{
		tasks: []string{taskAt(1, "steps_in_process", "in_progress", "pending")},
		events: []string{": ping\n\n" + event("task", taskAt(2, "steps_in_process", "in_progress", "pending")) +
			changeAt(1, "one", "enqueued", "in_progress", "") + // from before the task was read
			changeAt(3, "one", "in_progress", "complete", "") + changeAt(3, "", "steps_in_process", "evaluating_results", "") +
			changeAt(4, "two", "pending", "error", "no stock") + event("end", taskAt(4, "blocked_by_failures", "complete", "error"))},
	}
	told, end, err := follow(t, s)
	require.NoError(t, err)
	require.Equal(t, []string{
		"one:  in_progress", "two:  pending", ":  steps_in_process", "one: in_progress complete", ": steps_in_process evaluating_results",
		"two: pending error (no stock)", ": evaluating_results blocked_by_failures",
	}, told)
	require.Equal(t, "blocked_by_failures", end.Value.Status)
	require.JSONEq(t, taskAt(4, "blocked_by_failures", "complete", "error"), string(end.Raw))
}

func TestATaskThatHasEndedIsNotFollowed(t *testing.T) {
	t.Parallel()
	s := &script{tasks: []string{taskAt(1, "complete", "complete", "complete")}}
	told, end, err := follow(t, s)
	require.NoError(t, err)
	require.Equal(t, []string{"one:  complete", "two:  complete", ":  complete"}, told)
	require.Equal(t, "complete", end.Value.Status)
	require.Equal(t, []string{""}, s.requests())
}

func TestAStreamThatBreaksIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	s := &script{
		tasks: []string{taskAt(1, "steps_in_process", "in_progress", "pending")},
		events: []string{
			event("task", taskAt(1, "steps_in_process", "in_progress", "pending")),
			event("task", taskAt(3, "steps_in_process", "complete", "in_progress")) + changeAt(4, "two", "in_progress", "complete", "") +
				event("end", taskAt(4, "complete", "complete", "complete")),
		},
	}
	told, _, err := follow(t, s)
	require.NoError(t, err)
	require.Equal(t, []string{
		"one:  in_progress", "two:  pending", ":  steps_in_process", "one: in_progress complete", "two: pending in_progress",
		"two: in_progress complete", ": steps_in_process complete",
	}, told)
}

func TestAServerWithoutStreamsIsAskedAgainAndAgain(t *testing.T) {
	t.Parallel()
	s := &script{
		tasks: []string{
			taskAt(1, "steps_in_process", "in_progress", "pending"), taskAt(1, "steps_in_process", "in_progress", "pending"),
			taskAt(2, "evaluating_results", "complete", "enqueued"), taskAt(3, "blocked_by_failures", "complete", "in_progress"),
			taskAt(4, "blocked_by_failures", "complete", "error"),
		},
		steps: `[{"name": "two", "results": {"success": false, "error": {"error_type": "StockError", "message": "no stock"}}}]`,
	}
	told, end, err := follow(t, s)
	require.NoError(t, err)
	require.Equal(t, []string{
		"one:  in_progress", "two:  pending", ":  steps_in_process", "one: in_progress complete", "two: pending enqueued",
		": steps_in_process evaluating_results", "two: enqueued in_progress", ": evaluating_results blocked_by_failures",
		"two: in_progress error (StockError: no stock)",
	}, told)
	require.Equal(t, "blocked_by_failures", end.Value.Status, "also a step that was still running has ended")
}

func TestFollowingWhatDoesNotExistFails(t *testing.T) {
	t.Parallel()
	c := serve(t, client.Config{}, says(http.StatusNotFound, `{"error": {"code": "NOT_FOUND", "message": "Task not found: seven"}}`))
	_, err := c.Follow(t.Context(), followed, func(engine.Change) {})
	require.ErrorContains(t, err, "Task not found")
}

func TestWhoHasSeenEnoughStopsFollowing(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	c := serve(t, client.Config{}, func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/events") {
			_, _ = io.WriteString(w, taskAt(1, "steps_in_process", "in_progress", "pending"))
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		stop()
		<-r.Context().Done()
	})
	_, err := c.Follow(ctx, followed, func(engine.Change) {})
	var e *client.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, 130, e.ExitCode())
	require.Equal(t, "interrupted", e.Error())
}

func TestAStreamThatSaysNonsenseIsNotFollowed(t *testing.T) {
	t.Parallel()
	s := &script{
		tasks:  []string{taskAt(1, "steps_in_process", "in_progress", "pending")},
		events: []string{event("task", "{")},
	}
	_, _, err := follow(t, s)
	require.ErrorContains(t, err, "cannot be read")
}
