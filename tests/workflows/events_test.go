package workflows_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return string(text)
}

// service is a running `taskerpy run` without --task.
type service struct {
	t    *testing.T
	url  string
	cmd  *exec.Cmd
	done chan struct{} // closed when its output has ended
}

// serve starts a project and waits until it answers.
func serve(t *testing.T, project string, env ...string) *service {
	t.Helper()
	requireEngine(t)
	running <- struct{}{}
	cmd := command("run", project, "--listen", "127.0.0.1:0", "--log-format", "json", "--data", filepath.Join(t.TempDir(), "tasks.db"))
	cmd.Env = append(cmd.Env, env...)
	pipe, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	s := &service{t: t, cmd: cmd, done: make(chan struct{})}
	url := make(chan string, 1)
	go func() {
		defer close(s.done)
		for lines := bufio.NewScanner(pipe); lines.Scan(); {
			var line struct{ URL string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.URL != "" {
				url <- line.URL
			}
		}
	}()
	select {
	case s.url = <-url:
	case <-s.done:
		_ = cmd.Wait()
		<-running
		t.Fatal("the service ended at its start")
	}
	t.Cleanup(func() {
		defer func() { <-running }()
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		<-s.done
		require.NoError(t, cmd.Wait(), "the service drains and exits with 0")
	})
	return s
}

var client = &http.Client{Timeout: 30 * time.Second}

// get reads an answer of the service.
func (s *service) get(path string, into any) {
	s.t.Helper()
	answer, err := client.Get(s.url + path)
	require.NoError(s.t, err)
	defer func() { _ = answer.Body.Close() }()
	require.Equal(s.t, http.StatusOK, answer.StatusCode, path)
	require.NoError(s.t, json.NewDecoder(answer.Body).Decode(into))
}

// create creates a task and returns its uuid.
func (s *service) create(namespace, name string, input map[string]any) string {
	s.t.Helper()
	request := map[string]any{
		"name": name, "namespace": namespace, "version": "1.0.0", "context": input,
		"initiator": "integration-test", "source_system": "test", "reason": "domain events", "priority": 5, "tags": []string{"integration-test"},
	}
	answer, err := client.Post(s.url+"/v1/tasks", "application/json", bytes.NewReader([]byte(mustJSON(s.t, request))))
	require.NoError(s.t, err)
	defer func() { _ = answer.Body.Close() }()
	require.Equal(s.t, http.StatusOK, answer.StatusCode)
	var created struct {
		UUID string `json:"task_uuid"`
	}
	require.NoError(s.t, json.NewDecoder(answer.Body).Decode(&created))
	return created.UUID
}

// task is what the suites look at of a task.
type task struct {
	Status    string
	Execution string `json:"execution_status"`
	Steps     []struct {
		Name  string
		State string `json:"current_state"`
	}
}

// until polls, as the suites do, until f is content.
func (s *service) until(what string, f func() bool) {
	s.t.Helper()
	patience := time.After(time.Minute)
	for !f() {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-patience:
			s.t.Fatalf("%s: not within a minute", what)
		}
	}
}

// await waits until a task has the given execution status.
func (s *service) await(uuid, execution string) (got task) {
	s.t.Helper()
	s.until("task "+execution, func() bool {
		s.get("/v1/tasks/"+uuid, &got)
		return got.Execution == execution
	})
	return got
}

// eventStats is what the suites look at of /metrics/events.
type eventStats struct {
	Router struct {
		Total     int `json:"total_routed"`
		Durable   int `json:"durable_routed"`
		Fast      int `json:"fast_routed"`
		Broadcast int `json:"broadcast_routed"`
		Errors    int `json:"routing_errors"`
	}
	WorkerID string `json:"worker_id"`
}

// awaitEvents waits until so many events were published, and tells of them.
func (s *service) awaitEvents(total int) (got eventStats) {
	s.t.Helper()
	s.until(fmt.Sprintf("%d events", total), func() bool {
		s.get("/metrics/events", &got)
		return got.Router.Total >= total
	})
	return got
}

func orderEvents(n int) map[string]any {
	return map[string]any{
		"order_id": fmt.Sprintf("7c9e6679-7425-40de-944b-e07fc1f90%03d", n), "customer_id": "cust_1", "amount": 99.5, "simulate_failure": false,
	}
}

func TestATaskPublishesOneDurableAndThreeFastEvents(t *testing.T) {
	for name, suffix := range map[string]string{"classes": "_py", "functions": "_dsl_py"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, "domain_events")
			before := s.awaitEvents(0)
			require.NotEmpty(t, before.WorkerID)
			require.Zero(t, before.Router.Total)
			got := s.await(s.create("domain_events"+suffix, "domain_event_publishing"+suffix, orderEvents(1)), "all_complete")
			require.Equal(t, "complete", got.Status)
			require.Len(t, got.Steps, 4)
			for _, step := range got.Steps {
				require.Equal(t, "complete", step.State, step.Name)
			}
			after := s.awaitEvents(4)
			require.Equal(t, [5]int{4, 1, 3, 0, 0},
				[5]int{after.Router.Total, after.Router.Durable, after.Router.Fast, after.Router.Broadcast, after.Router.Errors})
		})
	}
}

func TestTasksAtTheSameTimePublishTheirEventsOnceEach(t *testing.T) {
	t.Parallel()
	s := serve(t, "domain_events")
	var all []string
	for n := range 3 {
		all = append(all, s.create("domain_events_py", "domain_event_publishing_py", orderEvents(n)))
	}
	for _, uuid := range all {
		s.await(uuid, "all_complete")
	}
	after := s.awaitEvents(12)
	require.Equal(t, [3]int{12, 3, 9}, [3]int{after.Router.Total, after.Router.Durable, after.Router.Fast})
}

func TestEachFailedAttemptPublishesItsFailure(t *testing.T) {
	t.Parallel()
	s := serve(t, "domain_events")
	input := orderEvents(1)
	input["simulate_failure"] = true
	got := s.await(s.create("domain_events_py", "domain_event_publishing_py", input), "blocked_by_failures")
	require.Equal(t, "blocked_by_failures", got.Status)
	// order.validated, and payment.failed for each of three attempts.
	after := s.awaitEvents(4)
	require.Equal(t, [4]int{4, 3, 1, 0}, [4]int{after.Router.Total, after.Router.Durable, after.Router.Fast, after.Router.Errors})
}

func TestEventsThatDoNotFitTheirSchemasAreCounted(t *testing.T) {
	t.Parallel()
	project, err := filepath.Abs("testdata/notices")
	require.NoError(t, err)
	s := serve(t, project, "NOTICES="+t.TempDir(), "PYTHONDONTWRITEBYTECODE=1")
	s.await(s.create("notices", "notices", map[string]any{"amount": 999.5}), "all_complete")
	after := s.awaitEvents(1)
	require.Equal(t, [2]int{1, 2}, [2]int{after.Router.Total, after.Router.Errors})
}

func TestEventsThatAnErrorOfTheirPublisherLosesAreCounted(t *testing.T) {
	t.Parallel()
	project, err := filepath.Abs("testdata/notices")
	require.NoError(t, err)
	s := serve(t, project, "NOTICES="+t.TempDir(), "PYTHONDONTWRITEBYTECODE=1")
	s.await(s.create("notices", "notices", map[string]any{"amount": 666}), "all_complete")
	var got eventStats
	s.until("the errors", func() bool {
		s.get("/metrics/events", &got)
		return got.Router.Errors >= 3
	})
	require.Equal(t, [2]int{0, 3}, [2]int{got.Router.Total, got.Router.Errors})
}
