package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"net/http/httptest"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/server"
)

// sent is one server-sent event.
type sent struct{ event, data string }

// eventsOf takes events apart, without comments.
func eventsOf(t *testing.T, text string) []sent {
	t.Helper()
	var all []sent
	for block := range strings.SplitSeq(strings.TrimSuffix(text, "\n\n"), "\n\n") {
		if strings.HasPrefix(block, ":") {
			continue
		}
		lines := strings.Split(block, "\n")
		require.Len(t, lines, 2, block)
		name, ok := strings.CutPrefix(lines[0], "event: ")
		require.True(t, ok, block)
		data, ok := strings.CutPrefix(lines[1], "data: ")
		require.True(t, ok, block)
		all = append(all, sent{name, data})
	}
	return all
}

// changesOf lists the changes among events, as "step: from to".
func changesOf(t *testing.T, events []sent) []string {
	t.Helper()
	var all []string
	for _, e := range events {
		if e.event != "change" {
			continue
		}
		var c engine.Change
		require.NoError(t, json.Unmarshal([]byte(e.data), &c))
		all = append(all, c.Step+": "+c.From+" "+c.To)
	}
	return all
}

// streaming is a recorder that tests may read while it is written.
type streaming struct {
	*httptest.ResponseRecorder
	mu sync.Mutex
}

func (s *streaming) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ResponseRecorder.Write(p)
}

func (s *streaming) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Body.String()
}

// stream follows a task until the answer or ctx ends.
func (s *shop) stream(ctx context.Context, task string) (rec *streaming, done <-chan struct{}) {
	rec = &streaming{ResponseRecorder: httptest.NewRecorder()}
	ended := make(chan struct{})
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/v1/tasks/"+task+"/events", nil)
	go func() {
		defer close(ended)
		s.server.Handler().ServeHTTP(rec, r)
	}()
	return rec, ended
}

// openBubble is openShop within a bubble.
func openBubble(t *testing.T) *shop {
	t.Helper()
	e, err := engine.Open(t.Context(), engine.Options{Path: ":memory:"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close(context.Background())) })
	require.NoError(t, e.Register(t.Context(), parseTemplate(t, chain)))
	return &shop{t: t, engine: e, server: server.New(server.Options{Engine: e})}
}

func TestATaskIsFollowedFromWhatItIsToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openBubble(t)
		task := s.create("A-1")
		rec, done := s.stream(t.Context(), task.TaskUUID.String())
		synctest.Wait()
		require.Equal(t, "text/event-stream", rec.Header().Get("Content-Type"))
		s.work(task, dispatch.Success)
		<-done
		events := eventsOf(t, rec.text())
		require.Equal(t, "task", events[0].event)
		require.Contains(t, events[0].data, `"status":"steps_in_process"`)
		require.Equal(t, []string{
			"check_order: enqueued in_progress", "check_order: in_progress enqueued_for_orchestration", "check_order: enqueued_for_orchestration complete",
			": steps_in_process evaluating_results", ": evaluating_results enqueuing_steps", "close_order: pending enqueued",
			": enqueuing_steps steps_in_process", "close_order: enqueued in_progress", "close_order: in_progress enqueued_for_orchestration",
			"close_order: enqueued_for_orchestration complete", ": steps_in_process evaluating_results", ": evaluating_results complete",
		}, changesOf(t, events))
		last := events[len(events)-1]
		require.Equal(t, "end", last.event)
		require.Contains(t, last.data, `"status":"complete"`)
	})
}

func TestAFailureEndsAStreamAndIsExplained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openBubble(t)
		task := s.create("A-1")
		rec, done := s.stream(t.Context(), task.TaskUUID.String())
		synctest.Wait()
		s.work(task, dispatch.PermanentFailure)
		<-done
		require.Contains(t, rec.text(), `"message":"no stock"`)
		events := eventsOf(t, rec.text())
		require.Equal(t, "end", events[len(events)-1].event)
		require.Contains(t, events[len(events)-1].data, `"status":"blocked_by_failures"`)
	})
}

func TestTheStreamOfATaskThatHasEndedEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openBubble(t)
		task := s.create("A-1")
		s.work(task, dispatch.Success)
		rec, done := s.stream(t.Context(), task.TaskUUID.String())
		<-done
		events := eventsOf(t, rec.text())
		require.Equal(t, []string{"task", "end"}, []string{events[0].event, events[1].event})
		require.Len(t, events, 2)
	})
}

func TestAStreamThatHasNothingToSayShowsThatItLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openBubble(t)
		task := s.create("A-1")
		ctx, stop := context.WithCancel(t.Context())
		rec, done := s.stream(ctx, task.TaskUUID.String())
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.GreaterOrEqual(t, strings.Count(rec.text(), ": ping\n\n"), 39)
		stop()
		<-done
	})
}

func TestAStreamEndsWithItsClientTheEngineOrTheServer(t *testing.T) {
	for what, end := range map[string]func(s *shop, stop context.CancelFunc){
		"client": func(_ *shop, stop context.CancelFunc) { stop() },
		"engine": func(s *shop, _ context.CancelFunc) { require.NoError(s.t, s.engine.Close(context.Background())) },
		"server": func(s *shop, _ context.CancelFunc) { require.NoError(s.t, s.server.Stop(context.Background())) },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := openBubble(t)
				task := s.create("A-1")
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				rec, done := s.stream(ctx, task.TaskUUID.String())
				synctest.Wait()
				end(s, stop)
				<-done
				require.NotContains(t, rec.text(), "event: end")
			})
		})
	}
}

func TestATaskThatAnOperatorTakesUpIsFollowedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openBubble(t)
		task := s.failed("A-1")
		read[engine.Step](s, http.MethodPatch, s.stepPath(task, "check_order"), resetAction)
		rec, done := s.stream(t.Context(), task.TaskUUID.String())
		synctest.Wait()
		s.work(task, dispatch.Success)
		<-done
		require.Contains(t, rec.text(), `event: end`)
		require.Contains(t, rec.text(), `"status":"complete"`)
	})
}

func TestWhatCannotBeFollowedIsRefused(t *testing.T) {
	s := openShop(t)
	requireProblem(t, s.ask(http.MethodGet, "/v1/tasks/"+taskID.String()+"/events", ""), 404, "NOT_FOUND", "Task not found")
	requireProblem(t, s.ask(http.MethodGet, "/v1/tasks/seven/events", ""), 400, "INVALID_UUID", "seven")
}

func TestTheHeadersOfAStreamAreAnsweredAlone(t *testing.T) {
	s := openShop(t)
	rec := s.ask(http.MethodHead, "/v1/tasks/"+s.create("A-1").TaskUUID.String()+"/events", "")
	require.Equal(t, http.StatusOK, rec.Code)
	require.Equal(t, "text/event-stream", rec.Header().Get("Content-Type"))
	require.Empty(t, rec.Body.String())
}

func TestStreamsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openBubble(t)
		task := s.create("A-1").TaskUUID.String()
		ctx, stop := context.WithCancel(t.Context())
		var ended []<-chan struct{}
		for range 256 {
			_, done := s.stream(ctx, task)
			ended = append(ended, done)
		}
		synctest.Wait()
		rec := s.ask(http.MethodGet, "/v1/tasks/"+task+"/events", "")
		require.Equal(t, http.StatusServiceUnavailable, rec.Code)
		require.Equal(t, "5", rec.Header().Get("Retry-After"))
		require.JSONEq(t, `{"error": {"code": "BACKPRESSURE", "message": "256 streams of events are open, which is the limit", "retry_after_seconds": 5}}`, rec.Body.String())
		stop()
		for _, done := range ended {
			<-done
		}
		rest, done := s.stream(t.Context(), task)
		synctest.Wait()
		require.Equal(t, http.StatusOK, rest.Code)
		require.NoError(t, s.server.Stop(t.Context()))
		<-done
	})
}

func TestEventsReachAClientOverTheNetworkAsTheyHappen(t *testing.T) {
	s := openShop(t)
	require.NoError(t, s.server.Start(t.Context(), "127.0.0.1:0"))
	t.Cleanup(func() { require.NoError(t, s.server.Stop(context.Background())) })
	task := s.create("A-1")
	answer, err := client(t).Get("http://" + s.server.Addr() + "/v1/tasks/" + task.TaskUUID.String() + "/events")
	require.NoError(t, err)
	defer func() { require.NoError(t, answer.Body.Close()) }()
	lines := bufio.NewScanner(answer.Body)
	await := func(want string) {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), want) {
				return
			}
		}
		require.Fail(t, "no "+want, "%v", lines.Err())
	}
	await(`"status":"steps_in_process"`) // while nothing has happened yet
	s.work(task, dispatch.Success)
	await(`"to":"complete"`)
	await("event: end")
	for lines.Scan() {
	}
	require.NoError(t, lines.Err())
	_, err = answer.Body.Read(make([]byte, 1))
	require.True(t, errors.Is(err, http.ErrBodyReadAfterClose) || err != nil)
}
