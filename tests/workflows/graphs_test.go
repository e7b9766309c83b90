package workflows_test

import (
	"fmt"
	"slices"
	"testing"
)

func TestLinear(t *testing.T) {
	for n, want := range map[int][4]string{6: {"36", "46", "138", "69.0"}, 10: {"100", "110", "330", "165.0"}, 8: {"64", "74", "222", "111.0"}} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			requireLinear(t, runTask(t, "linear", "linear_workflow_py/mathematical_sequence_py@1.0.0", map[string]any{"even_number": n}), classBased, want)
			requireLinear(t, runTask(t, "linear_workflow", "linear_workflow_dsl_py/mathematical_sequence_dsl_py@1.0.0", map[string]any{"even_number": n}), functional, want)
		})
	}
}

func requireLinear(t *testing.T, o outcome, f family, want [4]string) {
	t.Helper()
	names := f.named("linear_step_1", "linear_step_2", "linear_step_3", "linear_step_4")
	requireComplete(t, o, slices.Clone(names)...)
	requireResult(t, o, names[0], fmt.Sprintf(
		`{"result": %s, "operation": "square", "step_type": "initial", "input_refs": {"even_number": "task.context.even_number"}}`, want[0]))
	requireResult(t, o, names[1], fmt.Sprintf(`{"result": %s, "operation": "add", "constant": 10, "input_value": %s}`, want[1], want[0]))
	requireResult(t, o, names[2], fmt.Sprintf(`{"result": %s, "operation": "multiply", "factor": 3, "input_value": %s}`, want[2], want[1]))
	requireResult(t, o, names[3], fmt.Sprintf(`{"result": %s, "operation": "divide", "divisor": 2, "input_value": %s}`, want[3], want[2]))
}

func TestDiamond(t *testing.T) {
	for n, want := range map[int][4]string{6: {"36", "61", "72", "66.5"}, 10: {"100", "125", "200", "162.5"}, 4: {"16", "41", "32", "36.5"}} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			requireDiamond(t, runTask(t, "diamond", "diamond_workflow_py/parallel_computation_py@1.0.0", map[string]any{"even_number": n}), classBased, want)
			requireDiamond(t, runTask(t, "diamond_workflow", "diamond_workflow_dsl_py/parallel_computation_dsl_py@1.0.0", map[string]any{"even_number": n}), functional, want)
		})
	}
}

func requireDiamond(t *testing.T, o outcome, f family, want [4]string) {
	t.Helper()
	names := f.named("diamond_start", "diamond_branch_b", "diamond_branch_c", "diamond_end")
	requireComplete(t, o, slices.Clone(names)...)
	requireResult(t, o, names[0], fmt.Sprintf(`{"result": %s, "operation": "square", "step_type": "initial"}`, want[0]))
	requireResult(t, o, names[1], fmt.Sprintf(
		`{"result": %s, "operation": "add", "constant": 25, "input_value": %s, "branch": "B"}`, want[1], want[0]))
	requireResult(t, o, names[2], fmt.Sprintf(
		`{"result": %s, "operation": "multiply", "factor": 2, "input_value": %s, "branch": "C"}`, want[2], want[0]))
	requireResult(t, o, names[3], fmt.Sprintf(
		`{"result": %s, "operation": "average", "branch_b_value": %s, "branch_c_value": %s, "step_type": "convergence"}`, want[3], want[1], want[2]))
}
