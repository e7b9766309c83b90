package workflows_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// approvals are the results of the approval steps for an amount.
var approvals = map[string]string{
	"auto_approve": `{"approved": true, "approval_type": "auto", "approved_amount": %v, "approver": "system",
	  "notes": "Auto-approved for amounts under $1,000"}`,
	"manager_approval": `{"approved": true, "approval_type": "manager", "approved_amount": %v, "approver": "manager@example.com",
	  "notes": "Manager approved after review"}`,
	"finance_review": `{"approved": true, "approval_type": "finance", "approved_amount": %v, "approver": "finance@example.com",
	  "budget_code": "CAPEX-2024", "notes": "Finance review completed for large amount"}`,
}

func TestApprovalIsRoutedByTheAmount(t *testing.T) {
	auto := []string{"auto_approve"}
	manager := []string{"manager_approval"}
	both := []string{"manager_approval", "finance_review"}
	for _, c := range []struct {
		amount          float64
		path, threshold string
		branches        []string
		approvers       string
	}{
		{0.01, "auto", "small", auto, `{"type": "auto", "approved": true, "approver": "system"}`},
		{500, "auto", "small", auto, `{"type": "auto", "approved": true, "approver": "system"}`},
		{999.99, "auto", "small", auto, `{"type": "auto", "approved": true, "approver": "system"}`},
		{1000, "manager", "medium", manager, `{"type": "manager", "approved": true, "approver": "manager@example.com"}`},
		{2500, "manager", "medium", manager, `{"type": "manager", "approved": true, "approver": "manager@example.com"}`},
		{4999.99, "manager", "medium", manager, `{"type": "manager", "approved": true, "approver": "manager@example.com"}`},
		{5000, "dual", "large", both, `{"type": "manager", "approved": true, "approver": "manager@example.com"},
		  {"type": "finance", "approved": true, "approver": "finance@example.com"}`},
		{10000, "dual", "large", both, `{"type": "manager", "approved": true, "approver": "manager@example.com"},
		  {"type": "finance", "approved": true, "approver": "finance@example.com"}`},
	} {
		t.Run(fmt.Sprint(c.amount), func(t *testing.T) {
			inBothFamilies(t, func(t *testing.T, f family) {
				o := runTask(t, "conditional_approval", "approval_routing"+f.suffix,
					map[string]any{"amount": c.amount, "requester": "ada", "purpose": "books"})
				require.Equal(t, "conditional_approval"+f.suffix, o.Namespace)
				requireComplete(t, o, append(f.named("validate_request", "routing_decision", "finalize_approval"), f.named(c.branches...)...)...)
				requireResult(t, o, "validate_request"+f.suffix,
					fmt.Sprintf(`{"validated": true, "amount": %v, "requester": "ada", "purpose": "books"}`, c.amount))
				requireResult(t, o, "routing_decision"+f.suffix, fmt.Sprintf(
					`{"decision_point_outcome": {"type": "create_steps", "step_names": ["%s"]},
					  "routing_context": {"approval_path": %q, "amount": %v, "threshold_used": %q}}`,
					strings.Join(f.named(c.branches...), `", "`), c.path, c.amount, c.threshold))
				for _, branch := range c.branches {
					requireResult(t, o, branch+f.suffix, fmt.Sprintf(approvals[branch], c.amount))
				}
				requireResult(t, o, "finalize_approval"+f.suffix, fmt.Sprintf(
					`{"approvals": [%s], "approval_count": %d, "all_approved": true, "final_status": "approved"}`, c.approvers, len(c.branches)))
			})
		})
	}
}

func TestARequestThatIsNotValidIsNotRouted(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, f family) {
		o := runTask(t, "conditional_approval", "approval_routing"+f.suffix, map[string]any{"amount": -1})
		require.Equal(t, "blocked_by_failures", o.Status)
		require.Equal(t, 1, o.exitCode)
		requireSteps(t, o, f.named("validate_request", "routing_decision")...)
		refused := o.Steps["validate_request"+f.suffix]
		require.Equal(t, "error", refused.State)
		require.Equal(t, 1, refused.Attempts)
		require.Equal(t, "validation_error", refused.Error.ErrorType)
		require.Equal(t, "Validation failed: amount must be a positive number, requester is required, purpose is required", refused.Error.Message)
		require.Equal(t, "pending", o.Steps["routing_decision"+f.suffix].State)
	})
}
