package e2e_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/tests/built"
)

// asked starts a worker whose step asks the orchestration API, and returns what
// the API has said to it.
func asked(t *testing.T, namespace, command string, environment []string, more ...string) string {
	t.Helper()
	p := newProject(t, shared, namespace, chain(1, "steps.Ask")...)
	handlers := filepath.Join(built.Root(), "tests", "e2e", "handlers")
	args := append([]string{command, handlers, "--templates", p.templates}, more...)
	r := start(t, append([]string{"TASKER_NAMESPACE=" + namespace}, environment...), args...)
	r.await(t, "the worker is ready", func() bool { return r.api.Get(t.Context(), "/health/ready", nil) == nil })
	p.requireDone([]string{p.create("flow", nil)})
	require.NoError(t, r.Process.Signal(syscall.SIGTERM))
	r.end(t)
	said, err := os.ReadFile(filepath.Join(p.notes, "said"))
	require.NoError(t, err)
	return string(said)
}

// guarded is an orchestration API that asks for a key.
func guarded(t *testing.T) (url string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-API-Key") != "sesame" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte(`{"status": "healthy", "timestamp": "2026-01-01T00:00:00Z"}`))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// file writes a file for a worker to read.
func file(t *testing.T, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestAFlagForTheOrchestrationAPIComesBeforeTheVariable(t *testing.T) {
	said := asked(t, "askflag", "run", []string{"TASKER_ORCHESTRATION_URL=http://127.0.0.1:1", "TASKER_API_KEY=sesame"},
		"--orchestration-url", guarded(t))
	require.Equal(t, "healthy", said)
}

func TestTheKeyOfAFileIsSentToTheAPIOfTheVariable(t *testing.T) {
	url := "TASKER_ORCHESTRATION_URL=" + guarded(t)
	t.Run("ours", func(t *testing.T) {
		key := "TASKER_CONFIG=" + file(t, "taskerpy.toml", `orchestration_api_key = "sesame"`)
		require.Equal(t, "healthy", asked(t, "askours", "run", []string{url, key}))
	})
	t.Run("that of the deployment", func(t *testing.T) {
		key := "TASKER_CONFIG_PATH=" + file(t, "tasker.toml", "[worker.orchestration_client.auth]\ntype = \"api_key\"\nkey = \"sesame\"\n")
		require.Equal(t, "healthy", asked(t, "askdeployed", "run", []string{url, key}))
	})
	t.Run("of a worker process", func(t *testing.T) {
		key := "TASKER_CONFIG=" + file(t, "taskerpy.toml", `orchestration_api_key = "sesame"`)
		require.Equal(t, "healthy", asked(t, "askprocess", "worker", []string{url, key}))
	})
}

func TestAnOrchestrationAPIThatAnswersLateIsGivenUpAfterTheConfiguredTime(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(s.Close)
	for _, command := range []string{"run", "worker"} {
		t.Run(command, func(t *testing.T) {
			late := "TASKER_CONFIG_PATH=" + file(t, "tasker.toml", "[worker.orchestration_client]\nbase_url = \""+s.URL+"\"\ntimeout_ms = 50\n")
			said := asked(t, "asklate"+command, command, []string{late, "TASKER_ORCHESTRATION_URL="})
			require.Contains(t, said, "did not answer within 0.05 s")
		})
	}
}
