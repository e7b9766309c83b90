// Package api_test asks the real program over HTTP, as strangers do.
package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/tests/built"
)

const (
	schemathesis = "4.32.5"
	// seconds bounds each of the two runs.
	seconds = 15
	// seedVariable repeats a run.
	seedVariable = "SCHEMATHESIS_SEED"
)

// The document is the contract: Schemathesis makes requests from it, good and
// bad, and compares the answers with it. With random ids it mostly meets what
// does not exist; then it is told the ids of a task and a step that do.
func TestTheAPIKeepsWhatItsDocumentPromises(t *testing.T) {
	tool := built.Tool(t, "schemathesis", schemathesis)
	seed := rand.Uint32()
	if text := os.Getenv(seedVariable); text != "" {
		given, err := strconv.ParseUint(text, 10, 32)
		require.NoError(t, err, seedVariable)
		seed = uint32(given)
	}
	t.Logf("%s=%d repeats this", seedVariable, seed)
	linear := filepath.Join(built.Root(), "examples", "linear")
	url := built.Serve(t, built.Binary(t), linear, "--data", ":memory:")
	run := func(t *testing.T, config string) {
		command := exec.CommandContext(t.Context(), filepath.Join(tool, "bin", "python"), "-m", "schemathesis.cli",
			"--config-file", config, "run", url+"/api-docs/openapi.json",
			// A stream has no end, and what is valid for the document may be
			// refused for another reason: a task that has ended, a name that is taken.
			"--exclude-path", "/v1/tasks/{task}/events", "--exclude-checks", "positive_data_acceptance",
			"--seed", strconv.FormatUint(uint64(seed), 10), "--max-time", strconv.Itoa(seconds),
			"--generation-database", "none", "--no-color")
		command.Dir = t.TempDir()
		out, err := command.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Regexp(t, `\d+ generated, \d+ passed`, string(out))
	}
	t.Run("with ids that do not exist", func(t *testing.T) { run(t, write(t, "")) })
	t.Run("with ids that exist", func(t *testing.T) {
		task, step := create(t, url)
		run(t, write(t, fmt.Sprintf("[parameters]\ntask = %q\nstep = %q\nnamespace = %q\nname = %q\nversion = %q\n",
			task, step, "linear_workflow_py", "mathematical_sequence_py", "1.0.0")))
	})
}

func write(t *testing.T, config string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "schemathesis.toml")
	require.NoError(t, os.WriteFile(path, []byte(config), 0o644))
	return path
}

// create makes a task of the linear example.
func create(t *testing.T, url string) (task, step string) {
	t.Helper()
	var made struct {
		UUID  string `json:"task_uuid"`
		Steps []struct {
			UUID string `json:"workflow_step_uuid"`
		}
	}
	ask(t, http.MethodPost, url+"/v1/tasks", `{"namespace": "linear_workflow_py", "name": "mathematical_sequence_py", "version": "1.0.0",
		"context": {"even_number": 6}, "initiator": "test", "source_system": "test", "reason": "test"}`, &made)
	require.NotEmpty(t, made.Steps)
	return made.UUID, made.Steps[0].UUID
}

func ask(t *testing.T, method, url, body string, answer any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { require.NoError(t, response.Body.Close()) }()
	data, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode, "%s", data)
	require.NoError(t, json.NewDecoder(bytes.NewReader(data)).Decode(answer))
}
