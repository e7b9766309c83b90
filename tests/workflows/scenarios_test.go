package workflows_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAStepThatSucceeds(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, f family) {
		o := runTask(t, "test_scenarios", "success_only"+f.suffix, map[string]any{"message": "all is well"})
		require.Equal(t, "test_scenarios"+f.suffix, o.Namespace)
		requireComplete(t, o, "success_step"+f.suffix)
		requireResult(t, o, "success_step"+f.suffix,
			`{"status": "success", "message": "all is well", "timestamp": `+instant+`, "handler": "SuccessStepHandler"}`)
	})
}

func TestAStepThatAlwaysFailsIsTriedThreeTimes(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, f family) {
		o := runTask(t, "test_scenarios", "retryable_error_only"+f.suffix, map[string]any{"error_message": "line is busy"})
		requireFailed(t, o, "retryable_error_step"+f.suffix, 3, "temporary_error", "line is busy", true)
	})
}

func TestAStepThatFailsForGoodIsTriedOnce(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, f family) {
		o := runTask(t, "test_scenarios", "permanent_error_only"+f.suffix, map[string]any{"error_message": "no such number"})
		requireFailed(t, o, "permanent_error_step"+f.suffix, 1, "permanent_error", "no such number", false)
	})
}

// requireFailed checks that one step has failed the task.
func requireFailed(t *testing.T, o outcome, name string, attempts int, errorType, message string, retryable bool) {
	t.Helper()
	require.Equal(t, "blocked_by_failures", o.Status)
	require.Equal(t, 1, o.exitCode)
	s := o.Steps[name]
	require.Equal(t, "error", s.State)
	require.Equal(t, attempts, s.Attempts)
	require.Equal(t, errorType, s.Error.ErrorType)
	require.Equal(t, message, s.Error.Message)
	require.Equal(t, retryable, s.Error.Retryable)
}

func TestStepsAreDispatchedToTheMethodsOfOneHandler(t *testing.T) {
	t.Parallel()
	o := runTask(t, "resolver_tests", "method_dispatch_py", map[string]any{"data": map[string]any{"amount": 100.0, "reason": "damaged"}})
	require.Equal(t, "resolver_tests_py", o.Namespace)
	requireComplete(t, o, "validate_step_py", "process_step_py", "refund_step_py", "default_call_step_py")
	const uuid = `"~[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"`
	requireResult(t, o, "validate_step_py", `{"invoked_method": "validate", "handler": "MultiMethodHandler", "step_uuid": `+uuid+`,
	  "message": "Validation completed successfully", "validated": true, "input_validated": {"amount": 100.0, "reason": "damaged"}}`)
	requireResult(t, o, "process_step_py", `{"invoked_method": "process", "handler": "MultiMethodHandler", "step_uuid": `+uuid+`,
	  "message": "Processing completed", "original_amount": 100.0, "processed_amount": 110.00000000000001, "processing_fee": 10.000000000000014}`)
	requireResult(t, o, "refund_step_py", `{"invoked_method": "refund", "handler": "MultiMethodHandler", "step_uuid": `+uuid+`,
	  "message": "Refund processed", "refund_amount": 100.0, "refund_reason": "damaged", "refund_id": "~refund_\\d+"}`)
	requireResult(t, o, "default_call_step_py", `{"invoked_method": "call", "handler": "MultiMethodHandler", "step_uuid": `+uuid+`,
	  "message": "Default call method invoked", "input_received": {"amount": 100.0, "reason": "damaged"}}`)
}

func TestAFunctionIsCalledWhateverMethodTheTemplateNames(t *testing.T) {
	t.Parallel()
	o := runTask(t, "resolver_tests", "method_dispatch_dsl_py", map[string]any{"data": map[string]any{"amount": 100.0}})
	steps := functional.named("validate_step", "process_step", "refund_step", "default_call_step")
	requireComplete(t, o, steps...)
	for _, name := range steps {
		var r struct {
			Method string `json:"invoked_method"`
		}
		resultOf(t, o, name, &r)
		require.Equal(t, "call", r.Method, name)
	}
}

func TestAMethodThatRefusesItsInputFailsTheTask(t *testing.T) {
	t.Parallel()
	o := runTask(t, "resolver_tests", "method_dispatch_py", map[string]any{"data": map[string]any{"reason": "damaged"}})
	requireFailed(t, o, "validate_step_py", 1, "validation_error", `Validation failed: missing required field "amount"`, false)
	for _, name := range classBased.named("process_step", "refund_step", "default_call_step") {
		require.Equal(t, "pending", o.Steps[name].State, name)
	}
}
