package program_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// workerServer is a running `python -m tasker_core.bin.server`.
type workerServer struct {
	t   *testing.T
	url string
	cmd *exec.Cmd

	mu    sync.Mutex
	lines []string
	news  chan struct{} // has room for one: there are more lines, or no more
	ended bool
}

// startServer starts a server on the handlers and templates of a project.
func startServer(t *testing.T, project string) *workerServer {
	t.Helper()
	running <- struct{}{}
	handlers := filepath.Join(t.TempDir(), filepath.Base(project))
	require.NoError(t, os.CopyFS(handlers, os.DirFS(filepath.Join(root, project))))
	address := freeAddress(t)
	p := newPlace(t, handlers)
	p.set("PYTHON_HANDLER_PATH", handlers)
	p.set("TASKER_LISTEN", "")
	p.set("TASKER_WEB_BIND_ADDRESS", address)
	for _, name := range []string{"HOSTNAME", "LANG", "LC_ALL", "LC_CTYPE"} {
		p.set(name, "") // then Python changes the environment
	}
	s := &workerServer{t: t, url: "http://" + address, cmd: p.command("-m", "tasker_core.bin.server"), news: make(chan struct{}, 1)}
	stderr, err := s.cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, s.cmd.Start())
	go s.read(bufio.NewScanner(stderr))
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // fine when it has ended
		s.awaitEnd()
		<-running
	})
	s.await("Worker ready and processing tasks")
	return s
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	return l.Addr().String()
}

func (s *workerServer) read(lines *bufio.Scanner) {
	for lines.Scan() {
		s.note(func() { s.lines = append(s.lines, lines.Text()) })
	}
	s.note(func() { s.ended = true })
}

func (s *workerServer) note(what func()) {
	s.mu.Lock()
	what()
	s.mu.Unlock()
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// said returns the lines so far, and whether there will be no more.
func (s *workerServer) said() (text string, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n"), s.ended
}

// await waits until the server has said something.
func (s *workerServer) await(what string) {
	s.t.Helper()
	for {
		text, ended := s.said()
		if strings.Contains(text, what) {
			return
		}
		require.False(s.t, ended, "the server ended without %q:\n%s", what, text)
		<-s.news
	}
}

func (s *workerServer) awaitEnd() {
	for {
		if _, ended := s.said(); ended {
			_ = s.cmd.Wait()
			return
		}
		<-s.news
	}
}

// end sends a signal and returns the exit code that follows.
func (s *workerServer) end(signal os.Signal) int {
	s.t.Helper()
	require.NoError(s.t, s.cmd.Process.Signal(signal))
	s.awaitEnd()
	return s.cmd.ProcessState.ExitCode()
}

var client = &http.Client{Timeout: 30 * time.Second}

func (s *workerServer) get(path string, into any) {
	s.t.Helper()
	answer, err := client.Get(s.url + path)
	require.NoError(s.t, err)
	defer func() { _ = answer.Body.Close() }()
	require.Equal(s.t, http.StatusOK, answer.StatusCode)
	require.NoError(s.t, json.NewDecoder(answer.Body).Decode(into))
}

// create creates a task of the namespace domain_events_py.
func (s *workerServer) create(amount float64) string {
	s.t.Helper()
	answer, err := client.Post(s.url+"/v1/tasks", "application/json", strings.NewReader(fmt.Sprintf(
		`{"name": "domain_event_publishing_py", "namespace": "domain_events_py", "version": "1.0.0", "initiator": "t", "source_system": "t",
		  "reason": "t", "context": {"order_id": "7c9e6679-7425-40de-944b-e07fc1f90ae7", "customer_id": "c", "amount": %v}}`, amount)))
	require.NoError(s.t, err)
	defer func() { _ = answer.Body.Close() }()
	require.Equal(s.t, http.StatusOK, answer.StatusCode)
	var task struct {
		UUID string `json:"task_uuid"`
	}
	require.NoError(s.t, json.NewDecoder(answer.Body).Decode(&task))
	return task.UUID
}

// until asks again and again until f is content.
func (s *workerServer) until(what string, f func() bool) {
	s.t.Helper()
	over := time.After(patience)
	for !f() {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-over:
			text, _ := s.said()
			s.t.Fatalf("%s: not within %s\n%s", what, patience, text)
		}
	}
}

func TestTheServerRunsTasksUntilItIsTold(t *testing.T) {
	t.Parallel()
	s := startServer(t, "tests/python/workflows/domain_events")
	task := s.create(5)
	var got struct {
		Status string
		Steps  []struct {
			State    string `json:"current_state"`
			Attempts int
		}
	}
	s.until("the task", func() bool {
		s.get("/v1/tasks/"+task, &got)
		return got.Status == "complete"
	})
	require.Len(t, got.Steps, 4)
	for _, step := range got.Steps {
		require.Equal(t, "complete", step.State)
		require.Equal(t, 1, step.Attempts)
	}

	var events struct {
		Router struct {
			Total   int `json:"total_routed"`
			Durable int `json:"durable_routed"`
			Fast    int `json:"fast_routed"`
		}
		WorkerID string `json:"worker_id"`
	}
	s.until("the events", func() bool {
		s.get("/metrics/events", &events)
		return events.Router.Total >= 4
	})
	require.Equal(t, []int{4, 1, 3}, []int{events.Router.Total, events.Router.Durable, events.Router.Fast})
	require.NotEmpty(t, events.WorkerID)
	var health struct{ Status string }
	s.get("/health", &health)
	require.Equal(t, "healthy", health.Status)

	require.NoError(t, s.cmd.Process.Signal(syscall.SIGUSR1))
	s.await("Worker Status: {'running': True")
	require.Zero(t, s.end(syscall.SIGTERM))
	text, _ := s.said()
	require.Contains(t, text, "Received SIGTERM signal, initiating shutdown...")
	require.NotContains(t, text, "Traceback")
}

func TestTheServerEndsAtAnInterruptToo(t *testing.T) {
	t.Parallel()
	s := startServer(t, "tests/python/workflows/domain_events")
	require.Zero(t, s.end(os.Interrupt))
	text, _ := s.said()
	require.Contains(t, text, "Received SIGINT signal, initiating shutdown...")
}

func TestAServerWithoutTemplatesEndsWithCodeFour(t *testing.T) {
	t.Parallel()
	e := newPlace(t, t.TempDir()).python("-m", "tasker_core.bin.server")
	require.Equal(t, 4, e.code)
	require.Contains(t, e.stderr, "Bootstrap failed: no task templates")
}

func TestAServerBesideAnotherWorkerEndsWithCodeThree(t *testing.T) {
	t.Parallel()
	e := newPlace(t, ours()).python("-c",
		"import sys, tasker_core, tasker_core.bin.server as server; tasker_core.bootstrap_worker(); sys.exit(server.main())")
	require.Equal(t, 3, e.code)
	require.Contains(t, e.stderr, "Worker system already running")
}
