// Package examples_test runs every example as its README says, with the real
// binary, and compares what each step gives.
package examples_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/tests/built"
)

// binary is the taskerpy that TestMain has built.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "taskerpy-examples-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if binary, err = built.Into(context.Background(), dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// checkout is a folder with the examples and bin/taskerpy, as a user has it.
func checkout(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(dir, "examples"), os.DirFS("../../examples")))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "bin"), 0o755))
	require.NoError(t, os.Symlink(binary, filepath.Join(dir, "bin", "taskerpy")))
	return dir
}

// outcome is what `taskerpy run --task` prints.
type outcome struct {
	Namespace string
	Name      string
	Status    string
	Steps     map[string]step
	exitCode  int
}

type step struct {
	State    string
	Attempts int
	Result   json.RawMessage
	Error    *struct {
		Message   string
		ErrorType string `json:"error_type"`
		Retryable bool
	}
}

// shell runs a command line in a checkout.
func shell(t *testing.T, line string) outcome {
	t.Helper()
	cmd := exec.Command("sh", "-c", line)
	cmd.Dir = checkout(t)
	cmd.Env = built.Environ()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	var o outcome
	require.NoError(t, json.Unmarshal(out, &o), "%s\n%s", out, stderr.String())
	o.exitCode = cmd.ProcessState.ExitCode()
	return o
}

// runTask runs one example with the given input.
func runTask(t *testing.T, example, task, input string) outcome {
	t.Helper()
	return shell(t, fmt.Sprintf("bin/taskerpy run examples/%s --task %s --input '%s'", example, task, input))
}

// requireResults compares results to the byte: their keys in order, integers
// exact, 69.0 not 69.
func requireResults(t *testing.T, o outcome, want map[string]string) {
	t.Helper()
	require.Equal(t, "complete", o.Status)
	require.Zero(t, o.exitCode)
	got := map[string]string{}
	for name, s := range o.Steps {
		require.Equal(t, "complete", s.State, name)
		require.Equal(t, 1, s.Attempts, name)
		var compact bytes.Buffer
		require.NoError(t, json.Compact(&compact, s.Result))
		got[name] = compact.String()
	}
	require.Equal(t, want, got)
}

func TestLinear(t *testing.T) {
	for _, c := range []struct {
		n       int
		results [4]string
	}{
		{4, [4]string{"16", "26", "78", "39.0"}},
		{6, [4]string{"36", "46", "138", "69.0"}},
		{8, [4]string{"64", "74", "222", "111.0"}},
		{10, [4]string{"100", "110", "330", "165.0"}},
	} {
		t.Run(fmt.Sprint(c.n), func(t *testing.T) {
			o := runTask(t, "linear", "mathematical_sequence_py", fmt.Sprintf(`{"even_number": %d}`, c.n))
			require.Equal(t, "linear_workflow_py", o.Namespace)
			require.Equal(t, "mathematical_sequence_py", o.Name)
			r := c.results
			requireResults(t, o, map[string]string{
				"linear_step_1_py": `{"result":` + r[0] + `,"operation":"square","step_type":"initial","input_refs":{"even_number":"task.context.even_number"}}`,
				"linear_step_2_py": `{"result":` + r[1] + `,"operation":"add","constant":10,"input_value":` + r[0] + `}`,
				"linear_step_3_py": `{"result":` + r[2] + `,"operation":"multiply","factor":3,"input_value":` + r[1] + `}`,
				"linear_step_4_py": `{"result":` + r[3] + `,"operation":"divide","divisor":2,"input_value":` + r[2] + `}`,
			})
		})
	}
}

func TestDiamond(t *testing.T) {
	for _, c := range []struct {
		n                int
		start, b, c, end string
	}{
		{4, "16", "41", "32", "36.5"},
		{6, "36", "61", "72", "66.5"},
		{10, "100", "125", "200", "162.5"},
	} {
		t.Run(fmt.Sprint(c.n), func(t *testing.T) {
			o := runTask(t, "diamond", "parallel_computation_py", fmt.Sprintf(`{"even_number": %d}`, c.n))
			require.Equal(t, "diamond_workflow_py", o.Namespace)
			requireResults(t, o, map[string]string{
				"diamond_start_py":    `{"result":` + c.start + `,"operation":"square","step_type":"initial"}`,
				"diamond_branch_b_py": `{"result":` + c.b + `,"operation":"add","constant":25,"input_value":` + c.start + `,"branch":"B"}`,
				"diamond_branch_c_py": `{"result":` + c.c + `,"operation":"multiply","factor":2,"input_value":` + c.start + `,"branch":"C"}`,
				"diamond_end_py":      `{"result":` + c.end + `,"operation":"average","branch_b_value":` + c.b + `,"branch_c_value":` + c.c + `,"step_type":"convergence"}`,
			})
		})
	}
}

// power is n to the given power, exactly.
func power(n, exponent int64) string {
	return new(big.Int).Exp(big.NewInt(n), big.NewInt(exponent), nil).String()
}

// values takes the "result" of each step.
func values(t *testing.T, o outcome) map[string]string {
	t.Helper()
	require.Equal(t, "complete", o.Status)
	out := map[string]string{}
	for name, s := range o.Steps {
		var r struct{ Result json.Number }
		require.NoError(t, json.Unmarshal(s.Result, &r), name)
		out[name] = r.Result.String()
	}
	return out
}

func TestTree(t *testing.T) {
	for _, n := range []int64{2, 6, 100} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			o := runTask(t, "tree", "hierarchical_tree_py", fmt.Sprintf(`{"even_number": %d}`, n))
			require.Equal(t, "tree_workflow_py", o.Namespace)
			require.Equal(t, map[string]string{
				"tree_root_py":              power(n, 2),
				"tree_branch_left_py":       power(n, 4),
				"tree_branch_right_py":      power(n, 4),
				"tree_leaf_d_py":            power(n, 8),
				"tree_leaf_e_py":            power(n, 8),
				"tree_leaf_f_py":            power(n, 8),
				"tree_leaf_g_py":            power(n, 8),
				"tree_final_convergence_py": power(n, 64),
			}, values(t, o))
		})
	}
}

func TestMixedDAG(t *testing.T) {
	for _, n := range []int64{2, 6, 100} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			o := runTask(t, "mixed_dag", "complex_dag_py", fmt.Sprintf(`{"even_number": %d}`, n))
			require.Equal(t, "mixed_dag_workflow_py", o.Namespace)
			require.Equal(t, map[string]string{
				"dag_init_py":          power(n, 2),
				"dag_process_left_py":  power(n, 4),
				"dag_process_right_py": power(n, 4),
				"dag_validate_py":      power(n, 16),
				"dag_transform_py":     power(n, 8),
				"dag_analyze_py":       power(n, 8),
				"dag_finalize_py":      power(n, 64),
			}, values(t, o))
		})
	}
}

func TestASingleFile(t *testing.T) {
	o := runTask(t, "single_file/handlers.py", "handlers", `{"items": [{"quantity": 3, "price": 2000}]}`)
	require.Equal(t, "default", o.Namespace)
	requireResults(t, o, map[string]string{
		"check_order":    `{"items":[{"quantity":3,"price":2000}],"count":3}`,
		"price_items":    `{"full":6000,"discount":0,"net":6000}`,
		"price_shipping": `{"shipping":0}`,
		"write_receipt":  `{"total":6000,"text":"3 items, 60.00 EUR"}`,
	})
}

func TestASingleFileRefusesAnEmptyOrder(t *testing.T) {
	o := runTask(t, "single_file/handlers.py", "handlers", `{"items": []}`)
	require.Equal(t, 1, o.exitCode)
	require.Equal(t, "error", o.Steps["check_order"].State)
	require.Equal(t, "The order has no items", o.Steps["check_order"].Error.Message)
	require.False(t, o.Steps["check_order"].Error.Retryable)
}

func TestNumbersThatTheFirstStepRefuses(t *testing.T) {
	for _, c := range []struct{ example, task, first, input, message string }{
		{"linear", "mathematical_sequence_py", "linear_step_1_py", `{}`, "Task context must contain an even_number"},
		{"linear", "mathematical_sequence_py", "linear_step_1_py", `{"even_number": 6.0}`, "even_number must be an even integer, got: 6.0"},
		{"linear", "mathematical_sequence_py", "linear_step_1_py", `{"even_number": true}`, "even_number must be an even integer, got: True"},
		{"linear", "mathematical_sequence_py", "linear_step_1_py", `{"even_number": "6"}`, "even_number must be an even integer, got: 6"},
		{"diamond", "parallel_computation_py", "diamond_start_py", `{"even_number": 7}`, "even_number must be an even integer, got: 7"},
		{"tree", "hierarchical_tree_py", "tree_root_py", `{"even_number": 7}`, "even_number must be an even integer, got: 7"},
		{"mixed_dag", "complex_dag_py", "dag_init_py", `{"even_number": 7}`, "even_number must be an even integer, got: 7"},
	} {
		t.Run(c.example+c.input, func(t *testing.T) {
			o := runTask(t, c.example, c.task, c.input)
			require.Equal(t, 1, o.exitCode)
			require.Equal(t, "blocked_by_failures", o.Status)
			refused := o.Steps[c.first]
			require.Equal(t, "error", refused.State)
			require.Equal(t, 1, refused.Attempts)
			require.Equal(t, "validation_error", refused.Error.ErrorType)
			require.Equal(t, c.message, refused.Error.Message)
			require.False(t, refused.Error.Retryable)
			delete(o.Steps, c.first)
			for name, other := range o.Steps {
				require.Equal(t, "pending", other.State, name)
			}
		})
	}
}

// The last step of what each README shows.
func TestReadmesShowCommandsThatWork(t *testing.T) {
	want := map[string][2]string{
		"linear":      {"linear_step_4_py", `"result": 69.0,`},
		"diamond":     {"diamond_end_py", `"result": 66.5,`},
		"tree":        {"tree_final_convergence_py", `"result": 18446744073709551616,`},
		"mixed_dag":   {"dag_finalize_py", `"result": 18446744073709551616,`},
		"single_file": {"write_receipt", `"total": 3910,`},
		"tested":      {"tell_guest", `"text": "Reservation pottery-10: 91.00 EUR"`},
	}
	folders, err := filepath.Glob("../../examples/*/README.md")
	require.NoError(t, err)
	require.Len(t, folders, len(want), "an example without a test or without a README")
	for _, readme := range folders {
		example := filepath.Base(filepath.Dir(readme))
		t.Run(example, func(t *testing.T) {
			text, err := os.ReadFile(readme)
			require.NoError(t, err)
			blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1)
			require.Len(t, blocks, 1)
			o := shell(t, strings.TrimSpace(blocks[0][1]))
			require.Zero(t, o.exitCode)
			require.Contains(t, string(o.Steps[want[example][0]].Result), want[example][1])
		})
	}
}

func TestRunningAnExampleTwiceInTheSameFolder(t *testing.T) {
	command := `bin/taskerpy run examples/linear --task mathematical_sequence_py --input '{"even_number": 6}'`
	o := shell(t, command+" >/dev/null && "+command)
	require.Zero(t, o.exitCode)
	require.Equal(t, "complete", o.Status)
}
