package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/postgres"
	"github.com/tasker-systems/taskerpy/server"
	"github.com/tasker-systems/taskerpy/server/metrics"
	"github.com/tasker-systems/taskerpy/tests/built"
	"github.com/tasker-systems/taskerpy/tests/cluster"
)

// patience bounds waiting for what comes soon.
const patience = 30 * time.Second

// api is a worker's HTTP API on a real source, without handlers.
type api struct {
	t      *testing.T
	url    string
	source *postgres.Source
	worker *server.Worker
}

func serveWorker(t *testing.T, c *cluster.Cluster) *api {
	ctx := t.Context()
	o := postgres.Options{URL: c.URL(), Templates: orderTemplate(t), Visibility: 3 * time.Second, Poll: 100 * time.Millisecond}
	source, err := postgres.Open(ctx, o)
	require.NoError(t, err)
	claiming, stop := context.WithCancel(ctx)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_, _ = source.Claim(claiming, 1) // there is nothing; it ends with its context
	}()
	m := metrics.NewForDeployment(metrics.Info{Version: "test", WorkerID: "worker-" + source.UUID().String()})
	m.Follow(metrics.Sources{Deployment: source})
	worker := server.NewWorker(server.WorkerOptions{
		Deployment: source, Templates: o.Templates, Steps: m.Steps, Metrics: m.Handler(nil), Config: func() any { return nil },
	})
	require.NoError(t, worker.Start(ctx, "127.0.0.1:0"))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		require.NoError(t, worker.Stop(ctx))
		stop()
		<-stopped
		require.NoError(t, source.Close(ctx))
	})
	return &api{t: t, url: "http://" + worker.Addr(), source: source, worker: worker}
}

func (a *api) get(path string) (status int, body string) {
	answer, err := http.Get(a.url + path)
	require.NoError(a.t, err)
	defer func() { require.NoError(a.t, answer.Body.Close()) }()
	text, err := io.ReadAll(answer.Body)
	require.NoError(a.t, err)
	return answer.StatusCode, string(text)
}

func (a *api) requireStatus(path string, want int) {
	a.t.Helper()
	require.Eventually(a.t, func() bool { status, _ := a.get(path); return status == want }, patience, 50*time.Millisecond, "%s is not %d", path, want)
}

// requireMetric waits for a line of /metrics that begins so.
func (a *api) requireMetric(line string) {
	a.t.Helper()
	require.Eventually(a.t, func() bool { _, body := a.get("/metrics"); return strings.Contains(body, "\n"+line) }, patience, 50*time.Millisecond, line)
}

// Item 19 of the conformance checklist (worker-protocol §12).
func TestReadinessFollowsTheDatabaseAndTheDrain(t *testing.T) {
	c := cluster.Start(t, cluster.Options{NoServer: true, NoSync: true})
	a := serveWorker(t, c)
	a.requireStatus("/health/ready", http.StatusOK)
	c.StopPostgres(cluster.Fast)
	a.requireStatus("/health/ready", http.StatusServiceUnavailable)
	for _, path := range []string{"/health", "/health/live", "/health/detailed", "/metrics", "/metrics/worker", "/metrics/events"} {
		status, body := a.get(path)
		require.Equal(t, http.StatusOK, status, path)
		require.NotContains(t, body, c.Password(), path)
	}
	a.requireMetric("tasker_worker_database_up 0\n")
	_, body := a.get("/metrics")
	require.False(t, strings.Contains(body, "\ntasker_worker_queue_depth{"), "it is not known")
	c.StartPostgres(t.Context())
	a.requireStatus("/health/ready", http.StatusOK)
	require.Eventually(t, a.source.Listening, patience, 10*time.Millisecond, "it listens again")
	a.worker.Drain()
	a.requireStatus("/health/ready", http.StatusServiceUnavailable)
}

// Item 20: what the queues hold is seen in numbers.
func TestTheWorkersNumbersAreThoseOfTheDatabase(t *testing.T) {
	c := cluster.Start(t, cluster.Options{NoServer: true, NoSync: true})
	a := serveWorker(t, c)
	// Messages that nobody may see yet: they stay.
	_, err := c.DB().Exec(t.Context(), `SELECT pgmq.send('worker_shop_queue', '{}'::jsonb, 3600) FROM generate_series(1, 7)`)
	require.NoError(t, err)
	a.requireMetric("tasker_worker_queue_depth{namespace=\"shop\"} 7\n")
	a.requireMetric("tasker_worker_database_up 1\n")
	_, body := a.get("/metrics/worker")
	var answer struct {
		Metrics map[string]struct{ Value float64 }
	}
	require.NoError(t, json.Unmarshal([]byte(body), &answer), body)
	require.EqualValues(t, 7, answer.Metrics["queue_depth_shop"].Value)
	require.Positive(t, answer.Metrics["database_pool_size"].Value)
	status, body := a.get("/health/detailed")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, `"messages: 7, queues: 1"`)
}

// The process finds everything in the deployment's own file: database, address
// and the server's API.
func TestTheFileOfADeploymentIsEnoughForAWorker(t *testing.T) {
	c := cluster.Start(t, cluster.Options{NoServer: true, NoSync: true, Config: map[string]any{
		"worker.web.bind_address": "127.0.0.1:0", "worker.worker_id": "worker-of-the-file", "common.database.pool.max_connections": 7,
	}})
	binary := program
	cmd := exec.CommandContext(t.Context(), binary, "run", filepath.Join(built.Root(), "examples", "linear"), "--log-format", "json")
	cmd.Dir = t.TempDir()
	cmd.Env = append(built.Environ(), "TASKER_CONFIG_PATH="+c.ConfigFile(), "DATABASE_URL="+c.URL())
	log, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // when it is still there
	url := ""
	lines := bufio.NewScanner(log)
	for url == "" && lines.Scan() {
		var line struct{ Msg, URL string }
		require.NoError(t, json.Unmarshal(lines.Bytes(), &line), lines.Text())
		url = line.URL
	}
	require.NotEmpty(t, url, lines.Err())
	drained := make(chan string, 1)
	go func() {
		rest := ""
		for lines.Scan() {
			rest += lines.Text() + "\n"
		}
		drained <- rest
	}()

	a := &api{t: t, url: url}
	a.requireStatus("/health/ready", http.StatusOK)
	_, body := a.get("/config")
	var config struct {
		WorkerID      string `json:"worker_id"`
		Configuration []struct{ Key, Origin string }
	}
	require.NoError(t, json.Unmarshal([]byte(body), &config), body)
	require.Equal(t, "worker-of-the-file", config.WorkerID)
	require.NotContains(t, body, c.Password())
	origins := map[string]string{}
	for _, e := range config.Configuration {
		origins[e.Key] = e.Origin
	}
	require.Equal(t, c.ConfigFile()+":common.database.pool.max_connections", origins["max_connections"])
	require.Equal(t, "DATABASE_URL", origins["database_url"])
	a.requireMetric(`tasker_worker_queue_depth{namespace="linear_workflow_py"} 0`)
	a.requireMetric(`tasker_db_transaction_duration_milliseconds_count{result="commit",transaction_type="step_claim"} `)
	status, body := a.get("/v1/templates")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, `"supported_namespaces":["linear_workflow_py"],"template_count":1`)

	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	rest := <-drained
	require.NoError(t, cmd.Wait(), rest)
}
