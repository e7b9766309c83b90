package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/tests/built"
	"github.com/tasker-systems/taskerpy/tests/cluster"
)

// running is a command of ours that works for the shared deployment.
type running struct {
	*exec.Cmd
	output bytes.Buffer // its standard output and error; to be read once it has ended
	ended  <-chan error
	api    cluster.Client
}

// start starts a command that serves the API of its worker.
func start(t *testing.T, environment []string, args ...string) *running {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	r := &running{Cmd: exec.CommandContext(ctx, program, args...), api: cluster.Client{URL: "http://" + address}}
	r.Dir = t.TempDir()
	r.Stdout, r.Stderr = &r.output, &r.output
	r.Env = built.Environ(append([]string{
		"DATABASE_URL=" + shared.URL(), "TASKER_ORCHESTRATION_URL=" + shared.ServerURL(), "TASKER_WEB_BIND_ADDRESS=" + address,
	}, environment...)...)
	require.NoError(t, r.Start())
	return r
}

// await waits until something is so, and shows the output if it is not to be.
func (r *running) await(t *testing.T, what string, so func() bool) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- r.Wait() }()
	deadline := time.After(time.Minute)
	for !so() {
		select {
		case err := <-ended:
			require.Failf(t, "it has ended", "%s: %v\n%s", what, err, &r.output)
		case <-deadline:
			_ = r.Process.Kill()
			require.Failf(t, "not within a minute", "%s: %v\n%s", what, <-ended, &r.output)
		case <-time.After(5 * time.Millisecond):
		}
	}
	r.ended = ended
}

// end waits until it has ended well.
func (r *running) end(t *testing.T) {
	t.Helper()
	require.NoError(t, <-r.ended, &r.output)
}

func TestAProgramMayPollForTheStepsOfADeployment(t *testing.T) {
	c := shared.For(t)
	folder := t.TempDir()
	sources := filepath.Join(built.Root(), "tests", "e2e", "program")
	r := start(t, []string{"TASKER_TEMPLATE_PATH=" + sources}, "python", filepath.Join(sources, "my_worker.py"), folder)
	var id string
	r.await(t, "the program has a task", func() bool {
		text, err := os.ReadFile(filepath.Join(folder, "task"))
		id = string(text)
		return err == nil && len(text) == 36
	})

	var ready struct {
		Status string
		System struct {
			Namespaces []string `json:"supported_namespaces"`
		} `json:"system_info"`
	}
	require.NoError(t, r.api.Get(t.Context(), "/health/ready", &ready))
	require.Equal(t, "ready", ready.Status)
	require.Equal(t, []string{"polled"}, ready.System.Namespaces)
	require.Equal(t, map[string]float64{"": 1}, seriesOf(t, r.api, "tasker_worker_database_up"))
	require.Equal(t, map[string]float64{`{claim_method="event",namespace="polled"}`: 1}, seriesOf(t, r.api, "tasker_steps_claimed_total"))

	require.NoError(t, os.WriteFile(filepath.Join(folder, "go"), nil, 0o600))
	r.end(t)
	require.Contains(t, r.output.String(), fmt.Sprintf("done %d", r.Process.Pid))

	require.Equal(t, "complete", c.WaitTask(t.Context(), id).Status)
	step := c.Steps(t.Context(), id)["work"]
	require.Equal(t, 2, step.Attempts)
	result, err := step.Result()
	require.NoError(t, err)
	require.Equal(t, map[string]any{"total": 325.0}, result)
	rows, err := c.DB().Query(t.Context(), `SELECT message->>'event_name' FROM pgmq.q_polled_domain_events
		WHERE message->'metadata'->>'task_uuid' = $1 ORDER BY 1`, id)
	require.NoError(t, err)
	var names []string
	for rows.Next() {
		var name string
		require.NoError(t, rows.Scan(&name))
		names = append(names, name)
	}
	require.NoError(t, rows.Err())
	require.Equal(t, []string{"work.kept", "work.told"}, names, "a fast event stays in the process")
}

// The process of the published package's images works for a deployment as it
// is: no flag but its own variables.
func TestTheWorkerProcessOfThePublishedPackageWorksForADeployment(t *testing.T) {
	c := shared.For(t)
	diamond := filepath.Join(built.Root(), "examples", "diamond")
	r := start(t, []string{"PYTHON_HANDLER_PATH=" + diamond, "TASKER_TEMPLATE_PATH=" + diamond}, "worker")
	r.await(t, "the worker is ready", func() bool { return r.api.Get(t.Context(), "/health/ready", nil) == nil })
	id := c.CreateTask(t.Context(), "parallel_computation_py", "diamond_workflow_py", "1.0.0", map[string]any{"even_number": 6, "run": t.Name()})
	require.Equal(t, "complete", c.WaitTask(t.Context(), id).Status)
	require.NoError(t, r.Process.Signal(syscall.SIGTERM))
	r.end(t)
	require.Contains(t, r.output.String(), "taskerpy worker works for a deployment  url="+r.api.URL+" orchestration="+shared.ServerURL())
	require.NotContains(t, r.output.String(), "taskerpy.db")
}

// workerProcess starts the process of the published package for a project,
// polls for its only step, and is told to stop while it runs.
func workerProcess(t *testing.T, p *project, environment ...string) (r *running, id string) {
	t.Helper()
	r = start(t, append([]string{
		"PYTHON_HANDLER_PATH=" + filepath.Join(built.Root(), "tests", "e2e", "handlers"), "TASKER_TEMPLATE_PATH=" + p.templates,
	}, environment...), "worker")
	r.await(t, "the worker is ready", func() bool { return r.api.Get(t.Context(), "/health/ready", nil) == nil })
	id = p.create("flow", nil)
	p.awaitNotes("entered", 1)
	require.NoError(t, r.Process.Signal(syscall.SIGTERM))
	return r, id
}

// once is a step at the gate that has one attempt.
const once = "{name: one, handler: {callable: steps.Gate}, retry: {retryable: true, max_attempts: 1}}"

func TestTheWorkerProcessFinishesItsStepWhenItIsStopped(t *testing.T) {
	p := newProject(t, shared, "polledlast", once)
	r, id := workerProcess(t, p)
	require.Eventually(t, func() bool {
		var refusal *cluster.StatusError
		return errors.As(r.api.Get(t.Context(), "/health/ready", nil), &refusal) && refusal.Status == http.StatusServiceUnavailable
	}, 3*time.Second, 5*time.Millisecond, "it is not ready from the beginning of its drain")
	p.open()
	r.end(t)
	p.requireDone([]string{id})
	require.Equal(t, 1, p.steps(id)[0].Attempts)
	require.Equal(t, 1, p.noted("entered")[p.steps(id)[0].ID])
}

func TestAStepThatOutlastsTheDrainOfTheWorkerProcessIsRunByAnotherWorker(t *testing.T) {
	p := newProject(t, shared, "polledoutlasting", once)
	r, id := workerProcess(t, p, "TASKER_DRAIN_TIMEOUT=1s")
	r.end(t)
	require.Contains(t, r.output.String(), "1 steps still running")
	p.open()
	p.worker("--visibility-timeout", "1h", "--poll-interval", "10m")
	p.requireDone([]string{id})
	require.Equal(t, 1, p.steps(id)[0].History.count("in_progress", "enqueued"))
}
