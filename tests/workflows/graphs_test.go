package workflows_test

import (
	"fmt"
	"testing"
)

func TestLinear(t *testing.T) {
	for n, want := range map[int][4]string{6: {"36", "46", "138", "69.0"}, 10: {"100", "110", "330", "165.0"}, 8: {"64", "74", "222", "111.0"}} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			o := runTask(t, "linear", "linear_workflow_py/mathematical_sequence_py@1.0.0", map[string]any{"even_number": n})
			requireComplete(t, o, "linear_step_1_py", "linear_step_2_py", "linear_step_3_py", "linear_step_4_py")
			requireResult(t, o, "linear_step_1_py", fmt.Sprintf(
				`{"result": %s, "operation": "square", "step_type": "initial", "input_refs": {"even_number": "task.context.even_number"}}`, want[0]))
			requireResult(t, o, "linear_step_2_py", fmt.Sprintf(`{"result": %s, "operation": "add", "constant": 10, "input_value": %s}`, want[1], want[0]))
			requireResult(t, o, "linear_step_3_py", fmt.Sprintf(`{"result": %s, "operation": "multiply", "factor": 3, "input_value": %s}`, want[2], want[1]))
			requireResult(t, o, "linear_step_4_py", fmt.Sprintf(`{"result": %s, "operation": "divide", "divisor": 2, "input_value": %s}`, want[3], want[2]))
		})
	}
}

func TestDiamond(t *testing.T) {
	for n, want := range map[int][4]string{6: {"36", "61", "72", "66.5"}, 10: {"100", "125", "200", "162.5"}, 4: {"16", "41", "32", "36.5"}} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			o := runTask(t, "diamond", "diamond_workflow_py/parallel_computation_py@1.0.0", map[string]any{"even_number": n})
			requireComplete(t, o, "diamond_start_py", "diamond_branch_b_py", "diamond_branch_c_py", "diamond_end_py")
			requireResult(t, o, "diamond_start_py", fmt.Sprintf(`{"result": %s, "operation": "square", "step_type": "initial"}`, want[0]))
			requireResult(t, o, "diamond_branch_b_py", fmt.Sprintf(
				`{"result": %s, "operation": "add", "constant": 25, "input_value": %s, "branch": "B"}`, want[1], want[0]))
			requireResult(t, o, "diamond_branch_c_py", fmt.Sprintf(
				`{"result": %s, "operation": "multiply", "factor": 2, "input_value": %s, "branch": "C"}`, want[2], want[0]))
			requireResult(t, o, "diamond_end_py", fmt.Sprintf(
				`{"result": %s, "operation": "average", "branch_b_value": %s, "branch_c_value": %s, "step_type": "convergence"}`, want[3], want[1], want[2]))
		})
	}
}
