// Package workflows_test runs the example workflows of the specification with
// the real binary on the embedded engine, and compares states, attempts and
// results with what the specification gives (engine-semantics §11.2,
// python-api-more §14). The projects are those of tests/python/workflows, in
// both ways of writing handlers, and two of examples/.
package workflows_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/tests/built"
	"github.com/tasker-systems/taskerpy/tests/cluster"
)

// atOnce is how many processes run at the same time: tests are parallel, and
// each is a whole interpreter.
const atOnce = 2

var (
	binary   string // the taskerpy that TestMain has built
	projects string // a copy of the projects
	running  = make(chan struct{}, atOnce)
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "taskerpy-workflows-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := prepare(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if os.Getenv(onDeployment) == "" {
		return m.Run()
	}
	return cluster.ForMain(cluster.Options{}, func(c *cluster.Cluster) int {
		deployed = newDeployment(c)
		return m.Run()
	})
}

// prepare builds the binary and copies the projects to dir.
func prepare(dir string) error {
	var err error
	if binary, err = built.Into(context.Background(), dir); err != nil {
		return err
	}
	projects = filepath.Join(dir, "projects")
	for _, source := range []string{"../python/workflows", "../../examples"} {
		if err := os.CopyFS(projects, os.DirFS(source)); err != nil {
			return err
		}
	}
	return nil
}

// command is taskerpy, to be started in the folder of the projects.
func command(args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	cmd.Dir = projects
	cmd.Env = built.Environ()
	return cmd
}

// outcome is what `taskerpy run --task` prints.
type outcome struct {
	Namespace string
	Status    string
	Steps     map[string]step
	exitCode  int
	stderr    string
}

type step struct {
	State    string
	Attempts int
	Result   json.RawMessage
	Error    *struct {
		Message   string
		ErrorType string `json:"error_type"`
		Retryable bool
		Context   map[string]any
	}
}

// runTask runs one task of a project in a process and a file of its own. As
// the suites do that drive a deployment, it adds a key of its own to the input.
func runTask(t *testing.T, project, task string, input map[string]any) outcome {
	t.Helper()
	if deployed != nil {
		return deployed.runTask(t, project, task, input)
	}
	running <- struct{}{}
	defer func() { <-running }()
	given := map[string]any{"_test_run_id": t.Name()}
	for key, value := range input {
		given[key] = value
	}
	text, err := json.Marshal(given)
	require.NoError(t, err)
	cmd := command("run", project, "--task", task, "--input", string(text), "--data", filepath.Join(t.TempDir(), "tasks.db"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	o := outcome{exitCode: cmd.ProcessState.ExitCode(), stderr: stderr.String()}
	require.NoError(t, json.Unmarshal(out, &o), "%s\n%s", out, o.stderr)
	return o
}

// requireComplete checks that the task is complete with exactly these steps,
// each after one attempt.
func requireComplete(t *testing.T, o outcome, steps ...string) {
	t.Helper()
	require.Equal(t, "complete", o.Status, o.stderr)
	require.Zero(t, o.exitCode)
	requireSteps(t, o, steps...)
	for name, s := range o.Steps {
		require.Equal(t, "complete", s.State, name)
		require.Equal(t, 1, s.Attempts, name)
	}
}

// requireSteps checks which steps the task has.
func requireSteps(t *testing.T, o outcome, steps ...string) {
	t.Helper()
	var names []string
	for name := range o.Steps {
		names = append(names, name)
	}
	sort.Strings(names)
	sort.Strings(steps)
	require.Equal(t, steps, names)
}

// requireResult compares a step's result with want, JSON in which a string
// that begins with ~ stands for whatever the expression behind it matches.
func requireResult(t *testing.T, o outcome, name, want string) {
	t.Helper()
	require.Contains(t, o.Steps, name)
	requireLike(t, want, string(o.Steps[name].Result), "result of "+name)
}

func requireLike(t *testing.T, want, got, what string) {
	t.Helper()
	var wanted, given any
	require.NoError(t, json.Unmarshal([]byte(want), &wanted), want)
	require.NoError(t, json.Unmarshal([]byte(got), &given), "%s: %s", what, got)
	require.Empty(t, difference(wanted, given, what), "%s is %s", what, got)
}

// difference says where got is not like want, "" if it is.
func difference(want, got any, where string) string {
	switch want := want.(type) {
	case map[string]any:
		have, ok := got.(map[string]any)
		if !ok {
			return fmt.Sprintf("%s is no object", where)
		}
		for key := range have {
			if _, ok := want[key]; !ok {
				return fmt.Sprintf("%s has %s", where, key)
			}
		}
		for key, value := range want {
			if _, ok := have[key]; !ok {
				return fmt.Sprintf("%s lacks %s", where, key)
			}
			if d := difference(value, have[key], where+"."+key); d != "" {
				return d
			}
		}
		return ""
	case []any:
		have, ok := got.([]any)
		if !ok || len(have) != len(want) {
			return fmt.Sprintf("%s is no list of %d", where, len(want))
		}
		for i, value := range want {
			if d := difference(value, have[i], fmt.Sprintf("%s[%d]", where, i)); d != "" {
				return d
			}
		}
		return ""
	case string:
		if pattern, ok := strings.CutPrefix(want, "~"); ok {
			if matched, err := regexp.MatchString("^(?:"+pattern+")$", fmt.Sprint(got)); err != nil || !matched {
				return fmt.Sprintf("%s is %v, not like %s", where, got, pattern)
			}
			return ""
		}
	case float64:
		// tasker-server writes results once more and is wrong in the last digit.
		if have, ok := got.(float64); ok && deployed != nil && math.Abs(want-have) <= 1e-12*math.Abs(want) {
			return ""
		}
	}
	if want != got {
		return fmt.Sprintf("%s is %v, not %v", where, got, want)
	}
	return ""
}

// instant is the pattern of a point in time, as tests' JSON has it.
const instant = `"~\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(\\.\\d+)?(Z|\\+00:00)"`

// family is one of the two ways in which handlers are written. A template
// called X_py has a twin X_dsl_py, and so have its namespace and its steps.
type family struct{ name, suffix string }

var classBased, functional = family{"classes", "_py"}, family{"functions", "_dsl_py"}

// inBothFamilies runs a test for each family, in parallel.
func inBothFamilies(t *testing.T, test func(t *testing.T, f family)) {
	for _, f := range []family{classBased, functional} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			test(t, f)
		})
	}
}

// named gives names the family's suffix.
func (f family) named(names ...string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = name + f.suffix
	}
	return out
}

// bare gives names the suffix that steps have in templates whose class-based
// form does without one.
func (f family) bare(names ...string) []string {
	if f == classBased {
		return append([]string(nil), names...)
	}
	return f.named(names...)
}
