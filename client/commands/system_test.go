package commands_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/client/commands"
	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/server"
	"github.com/tasker-systems/taskerpy/template"
)

// machine is a server of ours with a worker's id.
type machine struct {
	*server.Server
	url string
}

func serve(t *testing.T, id string) machine {
	t.Helper()
	e, err := engine.Open(t.Context(), engine.Options{Path: ":memory:"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close(context.Background())) })
	tpl, findings := template.Parse("t.yaml", []byte(shopTemplate))
	require.NotNil(t, tpl, findings)
	require.NoError(t, e.Register(t.Context(), tpl))
	s := server.New(server.Options{Engine: e, WorkerID: id, Version: "1.2.3", Environment: "test"})
	require.NoError(t, s.Start(t.Context(), "127.0.0.1:0"))
	t.Cleanup(func() { require.NoError(t, s.Stop(context.Background())) })
	return machine{s, "http://" + s.Addr()}
}

// foreign is a worker of the published package, as far as it is asked here
// (worker-protocol §5.2).
func foreign(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/health/detailed":
			_, _ = w.Write([]byte(`{"status": "degraded", "timestamp": "2026-02-03T10:00:00Z", "worker_id": "worker-7",
				"checks": {"queue_processing": {"status": "degraded", "message": null, "duration_ms": 2, "last_checked": "2026-02-03T10:00:00Z"}},
				"system_info": {"version": "0.1.8", "environment": "test", "worker_type": "command_processor", "supported_namespaces": ["bank"]}}`))
		case "/health/ready":
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"error": "service_unavailable", "message": "draining"}`))
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// asked runs a command line with an environment.
func asked(t *testing.T, environment map[string]string, args ...string) (out string, code int, err error) {
	t.Helper()
	o := commands.Options{Getenv: func(name string) string { return environment[name] }}
	root := &cobra.Command{Use: "taskerpy", SilenceErrors: true, SilenceUsage: true}
	worker := &cobra.Command{Use: "worker"}
	worker.AddCommand(commands.Worker(o)...)
	root.AddCommand(append(commands.New(o), worker)...)
	var stdout bytes.Buffer
	root.SetOut(&stdout)
	root.SetErr(&stdout)
	root.SetArgs(args)
	err = root.ExecuteContext(t.Context())
	var coded interface{ ExitCode() int }
	if err != nil {
		require.ErrorAs(t, err, &coded)
		code = coded.ExitCode()
	}
	return stdout.String(), code, err
}

func TestTheHealthOfATaskerpyWhichIsBothSides(t *testing.T) {
	t.Parallel()
	m := serve(t, "w1")
	out, _, err := asked(t, nil, "system", "health", "--url", m.url)
	require.NoError(t, err)
	require.Contains(t, out, "orchestration and worker at "+m.url+"\n")
	require.Regexp(t, `(?m)^  ready +yes$`, out)
	require.Regexp(t, `(?m)^    web_database +healthy +work can be made durable$`, out)
	m.Drain()
	out, code, err := asked(t, nil, "system", "health", "--url", m.url)
	require.EqualError(t, err, "orchestration and worker at "+m.url+" takes no work: not ready: draining; try again in 5 s")
	require.Equal(t, 1, code)
	require.Regexp(t, `(?m)^  status +degraded$`, out)
}

func TestTheSidesOfADeploymentMayBeApart(t *testing.T) {
	t.Parallel()
	ours, theirs := serve(t, "w1"), foreign(t)
	env := map[string]string{"TASKER_ORCHESTRATION_URL": ours.url, "TASKER_WORKER_URL": theirs}
	out, _, err := asked(t, env, "system", "info")
	require.NoError(t, err)
	require.Equal(t, []string{"SIDE", "STATUS", "READY", "VERSION", "ENVIRONMENT", "WORKER", "ADDRESS"}, words(out, 0))
	require.Equal(t, []string{"orchestration", "healthy", "yes", "1.2.3", "test", "w1", ours.url}, words(out, 1))
	require.Equal(t, []string{"worker", "degraded", "no", "0.1.8", "test", "worker-7", theirs}, words(out, 2))
	out, _, err = asked(t, env, "system", "health", "-o")
	require.NoError(t, err)
	require.NotContains(t, out, theirs)
	_, code, err := asked(t, env, "system", "health", "-w")
	require.ErrorContains(t, err, "worker at "+theirs+" takes no work")
	require.Equal(t, 1, code)
}

// words are those of a line.
func words(out string, line int) []string {
	var all []string
	for _, w := range bytes.Fields(bytes.Split([]byte(out), []byte("\n"))[line]) {
		all = append(all, string(w))
	}
	return all
}

func TestAServerThatIsNotThereIsToldAsSuch(t *testing.T) {
	t.Parallel()
	out, code, err := asked(t, nil, "system", "health", "--url", "http://127.0.0.1:1", "--output", "json")
	require.ErrorContains(t, err, "no taskerpy listens on http://127.0.0.1:1")
	require.Equal(t, 3, code)
	var all []map[string]any
	require.NoError(t, json.Unmarshal([]byte(out), &all))
	require.Equal(t, "unreachable", all[0]["status"])
	require.Nil(t, all[0]["health"])
}

func TestWorkersAreListed(t *testing.T) {
	t.Parallel()
	ours, theirs := serve(t, "w1"), foreign(t)
	list := []string{"worker", "list", "--url", ours.url, "--url", theirs}
	out, _, err := asked(t, nil, list...)
	require.NoError(t, err)
	require.Equal(t, []string{"w1", "healthy", "yes", "shop", "1.2.3", "test", ours.url}, words(out, 1))
	require.Equal(t, []string{"worker-7", "degraded", "no", "bank", "0.1.8", "test", theirs}, words(out, 2))
	out, _, err = asked(t, nil, append(list, "-n", "bank")...)
	require.NoError(t, err)
	require.NotContains(t, out, "w1 ")
	out, _, err = asked(t, nil, append(list, "-n", "nowhere")...)
	require.NoError(t, err)
	require.Equal(t, "no workers\n", out)
}

func TestTheStatusAndHealthOfOneWorker(t *testing.T) {
	t.Parallel()
	ours, theirs := serve(t, "w1"), foreign(t)
	out, _, err := asked(t, nil, "worker", "status", "worker-7", "--url", ours.url, "--url", theirs)
	require.NoError(t, err)
	require.Contains(t, out, "worker at "+theirs+"\n")
	require.NotContains(t, out, ours.url)
	_, _, err = asked(t, nil, "worker", "health", "w1", "--url", ours.url, "--url", theirs)
	require.NoError(t, err)
	_, code, err := asked(t, nil, "worker", "health", "-a", "--url", ours.url, "--url", theirs)
	require.ErrorContains(t, err, "takes no work")
	require.Equal(t, 1, code)
	_, code, err = asked(t, nil, "worker", "status", "w9", "--url", ours.url)
	require.ErrorContains(t, err, `worker status: no worker "w9" there, but ["w1"]`)
	require.Equal(t, 2, code)
	_, code, err = asked(t, nil, "worker", "health", "w1", "-a", "--url", ours.url)
	require.ErrorContains(t, err, "exclude each other")
	require.Equal(t, 2, code)
}

func TestAnOrchestrationServerIsNoWorker(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"status": "healthy", "timestamp": "2026-02-03T10:00:00Z", "checks": {}, "info": {"version": "0.1.8", "environment": "test"}}`))
	}))
	t.Cleanup(s.Close)
	env := map[string]string{"TASKER_ORCHESTRATION_URL": s.URL}
	out, _, err := asked(t, env, "system", "health")
	require.NoError(t, err)
	require.Equal(t, "orchestration at "+s.URL, string(bytes.Split([]byte(out), []byte("\n"))[0]))
	for _, args := range [][]string{{"worker", "list"}, {"worker", "status"}, {"worker", "health"}, {"system", "health", "--workers"}} {
		out, code, err := asked(t, env, args...)
		if args[0] == "worker" {
			require.Empty(t, out)
		}
		require.EqualError(t, err, "no worker at "+s.URL+" but an orchestration server; say with TASKER_WORKER_URL or --url where the worker is", args)
		require.Equal(t, 2, code)
	}
}

func TestWorkersAsJSON(t *testing.T) {
	t.Parallel()
	ours := serve(t, "w1")
	out, _, err := asked(t, map[string]string{"TASKER_WORKER_URL": ours.url}, "worker", "list", "-o", "json")
	require.NoError(t, err)
	var all []struct {
		Address    string
		Ready      bool
		Namespaces []string
		Health     struct {
			WorkerID string `json:"worker_id"`
		}
	}
	require.NoError(t, json.Unmarshal([]byte(out), &all))
	require.Len(t, all, 1)
	require.True(t, all[0].Ready)
	require.Equal(t, []string{"shop"}, all[0].Namespaces)
	require.Equal(t, "w1", all[0].Health.WorkerID)
}
