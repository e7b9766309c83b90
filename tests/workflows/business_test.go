package workflows_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func order(token string, amount float64, items ...[2]int) map[string]any {
	var cart []map[string]any
	for _, item := range items {
		cart = append(cart, map[string]any{"product_id": item[0], "quantity": item[1]})
	}
	return map[string]any{
		"cart_items":    cart,
		"customer_info": map[string]any{"email": "ada@example.com", "name": "Ada"},
		"payment_info":  map[string]any{"method": "credit_card", "token": token, "amount": amount},
	}
}

func TestAnOrderIsPaidAndConfirmed(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, f family) {
		o := runTask(t, "ecommerce", "ecommerce_order_processing"+f.suffix, order("tok_test_valid", 124.76, [2]int{1, 2}, [2]int{2, 1}))
		require.Equal(t, "ecommerce"+f.suffix, o.Namespace)
		steps := f.bare("validate_cart", "process_payment", "update_inventory", "create_order", "send_confirmation")
		requireComplete(t, o, slices.Clone(steps)...)
		requireResult(t, o, steps[0], `{
		  "validated_items": [
		    {"product_id": 1, "name": "Widget A", "price": 29.99, "quantity": 2, "line_total": 59.98},
		    {"product_id": 2, "name": "Widget B", "price": 49.99, "quantity": 1, "line_total": 49.99}],
		  "subtotal": 109.97, "tax": 8.8, "shipping": 5.99, "total": 124.75999999999999, "item_count": 2, "validated_at": `+instant+`}`)
		requireResult(t, o, steps[1], `{
		  "payment_id": "~pay_[0-9a-f]{24}", "amount_charged": 124.76, "currency": "USD", "payment_method_type": "credit_card",
		  "transaction_id": "~txn_[0-9a-f]{24}", "processed_at": `+instant+`, "status": "completed"}`)
		requireResult(t, o, steps[2], `{
		  "updated_products": [
		    {"product_id": 1, "name": "Widget A", "previous_stock": 100, "new_stock": 98, "quantity_reserved": 2, "reservation_id": "~rsv_[0-9a-f]{16}"},
		    {"product_id": 2, "name": "Widget B", "previous_stock": 50, "new_stock": 49, "quantity_reserved": 1, "reservation_id": "~rsv_[0-9a-f]{16}"}],
		  "total_items_reserved": 3,
		  "inventory_changes": [
		    {"product_id": 1, "change_type": "reservation", "quantity": -2, "reason": "order_checkout", "timestamp": `+instant+`,
		     "reservation_id": "~rsv_[0-9a-f]{16}", "inventory_log_id": "~log_[0-9a-f]{16}"},
		    {"product_id": 2, "change_type": "reservation", "quantity": -1, "reason": "order_checkout", "timestamp": `+instant+`,
		     "reservation_id": "~rsv_[0-9a-f]{16}", "inventory_log_id": "~log_[0-9a-f]{16}"}],
		  "inventory_log_id": "~log_[0-9a-f]{16}", "updated_at": `+instant+`}`)
		requireResult(t, o, steps[3], `{
		  "order_id": "~[1-9]\\d{3}", "order_number": "~ORD-\\d{8}-[0-9A-F]{8}", "status": "confirmed", "total_amount": 124.75999999999999,
		  "customer_email": "ada@example.com", "created_at": `+instant+`, "estimated_delivery": "~[A-Z][a-z]+ \\d\\d, \\d{4}"}`)
		message := map[family]string{classBased: `"~msg_[0-9a-f]{24}"`, functional: `"~mock_[0-9a-f]{16}"`}[f]
		requireResult(t, o, steps[4], `{"email_sent": true, "recipient": "ada@example.com", "email_type": "order_confirmation",
		  "sent_at": `+instant+`, "message_id": `+message+`}`)
	})
}

func TestAnOrderThatCannotBePaidStopsAtItsPayment(t *testing.T) {
	for name, c := range map[string]struct {
		token   string
		amount  float64
		message string
	}{
		"declined card":      {"tok_test_declined", 124.76, "Payment declined: Card was declined by issuer"},
		"insufficient funds": {"tok_test_insufficient_funds", 124.76, "Payment declined: Insufficient funds"},
	} {
		t.Run(name, func(t *testing.T) {
			inBothFamilies(t, func(t *testing.T, f family) {
				o := runTask(t, "ecommerce", "ecommerce_order_processing"+f.suffix, order(c.token, c.amount, [2]int{1, 2}, [2]int{2, 1}))
				steps := f.bare("validate_cart", "process_payment", "update_inventory", "create_order", "send_confirmation")
				require.Equal(t, "blocked_by_failures", o.Status)
				require.Equal(t, "complete", o.Steps[steps[0]].State)
				failed := o.Steps[steps[1]]
				require.Equal(t, "error", failed.State)
				require.Equal(t, 1, failed.Attempts)
				require.False(t, failed.Error.Retryable)
				require.Equal(t, c.message, failed.Error.Message)
				for _, later := range steps[2:] {
					require.Equal(t, "pending", o.Steps[later].State)
				}
			})
		})
	}
}

func TestAnEmptyCartIsRefused(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, f family) {
		o := runTask(t, "ecommerce", "ecommerce_order_processing"+f.suffix, order("tok_test_valid", 0))
		failed := o.Steps[f.bare("validate_cart")[0]]
		require.Equal(t, "error", failed.State)
		require.Equal(t, 1, failed.Attempts)
		require.Equal(t, "Cart items are required but were not provided", failed.Error.Message)
		require.False(t, failed.Error.Retryable)
	})
}

func TestThePipelineTurnsThreeSourcesIntoInsights(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, f family) {
		o := runTask(t, "data_pipeline", "analytics_pipeline"+f.suffix, nil)
		require.Equal(t, "data_pipeline"+f.suffix, o.Namespace)
		steps := f.bare("extract_sales_data", "extract_inventory_data", "extract_customer_data",
			"transform_sales", "transform_inventory", "transform_customers", "aggregate_metrics", "generate_insights")
		requireComplete(t, o, slices.Clone(steps)...)
		requireExtracts(t, o, steps)
		requireTransforms(t, o, steps)
		requireResult(t, o, steps[6], `{
		  "total_revenue": 3199.73, "total_inventory_quantity": 575, "total_customers": 5, "total_customer_lifetime_value": 30500.0,
		  "sales_transactions": 5, "inventory_reorder_alerts": 0, "revenue_per_customer": 639.95, "inventory_turnover_indicator": 5.5647,
		  "aggregation_complete": true, "sources_included": 3}`)
		requireResult(t, o, steps[7], `{
		  "insights": [
		    {"category": "Revenue", "finding": "Total revenue of $3199.73 with 5 customers", "metric": 639.95, "recommendation": "Customer spend is healthy"},
		    {"category": "Inventory", "finding": "All products above reorder points", "metric": 0, "recommendation": "Inventory levels are healthy"},
		    {"category": "Customer Value", "finding": "Average customer lifetime value: $6100.00", "metric": 6100.0,
		     "recommendation": "Focus on retention programs"}],
		  "health_score": {"score": 100, "max_score": 100, "rating": "Excellent"},
		  "total_metrics_analyzed": 10, "pipeline_complete": true, "generated_at": `+instant+`}`)
	})
}

func requireExtracts(t *testing.T, o outcome, steps []string) {
	t.Helper()
	requireLike(t, `{"extracted_at": `+instant+`, "source": "SalesDatabase", "total_amount": 3199.73,
	  "date_range": {"start_date": "2025-11-01", "end_date": "2025-11-18"}}`, without(t, o, steps[0], "records"), "sales")
	requireLike(t, `{"extracted_at": `+instant+`, "source": "InventorySystem", "total_quantity": 575, "products_tracked": 3}`,
		without(t, o, steps[1], "records", "warehouses"), "inventory")
	requireLike(t, `{"extracted_at": `+instant+`, "source": "CRMSystem", "total_customers": 5, "total_lifetime_value": 30500.0,
	  "tier_breakdown": {"gold": 2, "silver": 1, "premium": 1, "standard": 1}, "avg_lifetime_value": 6100.0}`,
		without(t, o, steps[2], "records"), "customers")
	for _, name := range steps[:3] {
		var r struct{ Records []map[string]any }
		resultOf(t, o, name, &r)
		require.Len(t, r.Records, 5, name)
	}
	var inventory struct{ Warehouses []string }
	resultOf(t, o, steps[1], &inventory)
	require.ElementsMatch(t, []string{"WH-01", "WH-02", "WH-03"}, inventory.Warehouses)
}

// requireTransforms checks what both families give alike, the names of their
// sources included.
func requireTransforms(t *testing.T, o outcome, steps []string) {
	t.Helper()
	daily := func(amount string) string {
		return fmt.Sprintf(`{"total_amount": %s, "order_count": 1, "avg_order_value": %s}`, amount, amount)
	}
	requireResult(t, o, steps[3], fmt.Sprintf(`{
	  "record_count": 5,
	  "daily_sales": {"2025-11-01": %s, "2025-11-05": %s, "2025-11-10": %s, "2025-11-15": %s, "2025-11-18": %s},
	  "product_sales": {
	    "PROD-A": {"total_quantity": 7, "total_revenue": 699.93, "order_count": 2},
	    "PROD-B": {"total_quantity": 10, "total_revenue": 999.9, "order_count": 2},
	    "PROD-C": {"total_quantity": 10, "total_revenue": 1499.9, "order_count": 1}},
	  "total_revenue": 3199.73, "transformation_type": "sales_analytics", "source": "extract_sales_data"}`,
		daily("499.95"), daily("299.97"), daily("199.98"), daily("1499.90"), daily("699.93")))
	requireResult(t, o, steps[4], `{
	  "record_count": 5,
	  "warehouse_summary": {
	    "WH-01": {"total_quantity": 225, "product_count": 2, "reorder_alerts": 0},
	    "WH-02": {"total_quantity": 300, "product_count": 2, "reorder_alerts": 0},
	    "WH-03": {"total_quantity": 50, "product_count": 1, "reorder_alerts": 0}},
	  "product_inventory": {
	    "PROD-A": {"total_quantity": 250, "warehouse_count": 2, "needs_reorder": false},
	    "PROD-B": {"total_quantity": 125, "warehouse_count": 2, "needs_reorder": false},
	    "PROD-C": {"total_quantity": 200, "warehouse_count": 1, "needs_reorder": false}},
	  "total_quantity_on_hand": 575, "reorder_alerts": 0, "transformation_type": "inventory_analytics", "source": "extract_inventory_data"}`)
	requireResult(t, o, steps[5], `{
	  "record_count": 5,
	  "tier_analysis": {
	    "gold": {"customer_count": 2, "total_lifetime_value": 12500, "avg_lifetime_value": 6250},
	    "silver": {"customer_count": 1, "total_lifetime_value": 2500, "avg_lifetime_value": 2500},
	    "premium": {"customer_count": 1, "total_lifetime_value": 15000, "avg_lifetime_value": 15000},
	    "standard": {"customer_count": 1, "total_lifetime_value": 500, "avg_lifetime_value": 500}},
	  "value_segments": {"high_value": 1, "medium_value": 3, "low_value": 1},
	  "total_lifetime_value": 30500.0, "avg_customer_value": 6100.0, "transformation_type": "customer_analytics", "source": "extract_customer_data"}`)
}

func TestAUserIsRegistered(t *testing.T) {
	for plan, want := range map[string]struct {
		billing, channels, features string
		messages, preferences       int
	}{
		"free":       {"", `["email", "in_app"]`, "", 2, 7},
		"pro":        {"29.99", `["email", "in_app"]`, `["basic_features", "advanced_analytics"]`, 2, 8},
		"enterprise": {"299.99", `["email", "in_app", "sms"]`, `["basic_features", "advanced_analytics", "priority_support", "custom_integrations"]`, 3, 10},
	} {
		t.Run(plan, func(t *testing.T) {
			inBothFamilies(t, func(t *testing.T, f family) {
				o := runTask(t, "user_registration", "user_registration"+f.suffix, map[string]any{
					"user_info": map[string]any{"email": "ada@example.com", "name": "Ada", "plan": plan, "phone": "+44 1", "source": "mobile"},
				})
				require.Equal(t, "microservices"+f.suffix, o.Namespace)
				steps := f.bare("create_user_account", "setup_billing_profile", "initialize_preferences", "send_welcome_sequence", "update_user_status")
				requireComplete(t, o, slices.Clone(steps)...)
				requireResult(t, o, steps[0], fmt.Sprintf(`{"user_id": "~user_[0-9a-f]{12}", "email": "ada@example.com", "name": "Ada", "plan": %q,
				  "phone": "+44 1", "source": "mobile", "status": "created", "created_at": %s}`, plan, instant))
				if want.billing == "" {
					requireResult(t, o, steps[1], `{"user_id": "~user_[0-9a-f]{12}", "plan": "free", "billing_required": false,
					  "status": "skipped_free_plan", "message": "Free plan users do not require billing setup"}`)
				} else {
					requireResult(t, o, steps[1], fmt.Sprintf(`{"billing_id": "~billing_[0-9a-f]{12}", "user_id": "~user_[0-9a-f]{12}", "plan": %q,
					  "price": %s, "currency": "USD", "billing_cycle": "monthly", "features": %s, "status": "active",
					  "next_billing_date": "~\\d{4}-.*", "created_at": %s}`, plan, want.billing, want.features, instant))
				}
				var preferences struct {
					Preferences    map[string]any
					Customizations int
				}
				resultOf(t, o, steps[2], &preferences)
				require.Len(t, preferences.Preferences, want.preferences)
				requireResult(t, o, steps[3], fmt.Sprintf(`{"user_id": "~user_[0-9a-f]{12}", "plan": %q, "channels_used": %s, "messages_sent": %d,
				  "welcome_sequence_id": "~welcome_[0-9a-f]{12}", "status": "sent", "sent_at": %s}`, plan, want.channels, want.messages, instant))
				paid := ""
				if want.billing != "" {
					paid = `"billing_id": "~billing_[0-9a-f]{12}", "next_billing_date": "~\\d{4}-.*",`
				}
				requireResult(t, o, steps[4], fmt.Sprintf(`{"user_id": "~user_[0-9a-f]{12}", "status": "active", "plan": %q,
				  "registration_summary": {"user_id": "~user_[0-9a-f]{12}", "email": "ada@example.com", "plan": %q, "registration_status": "complete", %s
				    "preferences_count": %d, "welcome_sent": true, "notification_channels": %s, "user_created_at": %s, "registration_completed_at": %s},
				  "activation_timestamp": %s, "all_services_coordinated": true,
				  "services_completed": ["user_service", "billing_service", "preferences_service", "notification_service"]}`,
					plan, plan, paid, want.preferences, want.channels, instant, instant, instant))
			})
		})
	}
}

func TestARegistrationThatWasMadeBeforeSucceedsAgain(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, f family) {
		o := runTask(t, "user_registration", "user_registration"+f.suffix, map[string]any{
			"user_info": map[string]any{"email": "existing@example.com", "name": "Existing User", "plan": "free"},
		})
		require.Equal(t, "complete", o.Status, o.stderr)
		requireResult(t, o, f.bare("create_user_account")[0], `{"user_id": "user_existing_001", "email": "existing@example.com", "plan": "free",
		  "status": "already_exists", "created_at": "2025-01-01T00:00:00Z"}`)
	})
}

func TestARegistrationWithoutEmailIsRefusedWithItsCode(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, f family) {
		o := runTask(t, "user_registration", "user_registration"+f.suffix, map[string]any{"user_info": map[string]any{"name": "Ada"}})
		steps := f.bare("create_user_account", "setup_billing_profile", "initialize_preferences", "send_welcome_sequence", "update_user_status")
		errorType := map[family]string{classBased: "handler_error", functional: "MISSING_EMAIL"}[f]
		requireFailed(t, o, steps[0], 1, errorType, "Email is required but was not provided", false)
		for _, later := range steps[1:] {
			require.Equal(t, "pending", o.Steps[later].State, later)
		}
	})
}

func TestCustomerServiceRefundsByDelegating(t *testing.T) {
	for customer, want := range map[string]struct {
		tier   string
		window int
		limit  int
		asked  bool
	}{
		"cust_1": {"standard", 30, 10000, true}, "cust_gold_1": {"gold", 60, 50000, false}, "cust_vip_1": {"premium", 90, 100000, false},
	} {
		t.Run(want.tier, func(t *testing.T) {
			inBothFamilies(t, func(t *testing.T, f family) {
				o := runTask(t, "team_scaling", "customer_success_process_refund"+f.suffix, map[string]any{
					"ticket_id": "ticket_1", "customer_id": customer, "refund_amount": 5000, "customer_email": "ada@example.com", "correlation_id": "cs-7",
				})
				require.Equal(t, "customer_success"+f.suffix, o.Namespace)
				steps := f.bare("validate_refund_request", "check_refund_policy", "get_manager_approval", "execute_refund_workflow", "update_ticket_status")
				requireComplete(t, o, slices.Clone(steps)...)
				requireResult(t, o, steps[0], fmt.Sprintf(`{"namespace": "customer_success", "request_validated": true, "ticket_id": "ticket_1",
				  "customer_id": %q, "ticket_status": "open", "customer_tier": %q, "original_purchase_date": "~\\d{4}-.*",
				  "payment_id": "~pay_[0-9a-f]{12}", "validation_timestamp": %s}`, customer, want.tier, instant))
				requireResult(t, o, steps[1], fmt.Sprintf(`{"namespace": "customer_success", "policy_checked": true, "policy_compliant": true,
				  "customer_tier": %q, "refund_window_days": %d, "days_since_purchase": 30, "within_refund_window": true, "requires_approval": %v,
				  "max_allowed_amount": %d, "policy_checked_at": %s}`, want.tier, want.window, want.asked, want.limit, instant))
				approval := `"approval_id": null, "manager_id": null, "manager_notes": "Auto-approved for customer tier ` + want.tier + `"`
				if want.asked {
					approval = `"approval_id": "~appr_[0-9a-f]{16}", "manager_id": "~mgr_[1-5]", "manager_notes": "Approved refund request for customer ` + customer + `"`
				}
				requireResult(t, o, steps[2], fmt.Sprintf(`{"namespace": "customer_success", "approval_obtained": true, "approval_required": %v,
				  "auto_approved": %v, %s, "approved_at": %s}`, want.asked, !want.asked, approval, instant))
				requireResult(t, o, steps[3], `{"namespace": "customer_success", "task_delegated": true, "target_namespace": "payments",
				  "target_workflow": "process_refund", "delegated_task_id": "~task_[0-9a-f-]{36}", "delegated_task_status": "created",
				  "delegation_timestamp": `+instant+`, "correlation_id": "cs-7"}`)
				requireResult(t, o, steps[4], `{"namespace": "customer_success", "ticket_updated": true, "ticket_id": "ticket_1",
				  "previous_status": "in_progress", "new_status": "resolved",
				  "resolution_note": "~Refund of \\$50\\.00 processed successfully\\. Delegated task ID: task_[0-9a-f-]{36}\\. Correlation ID: cs-7",
				  "updated_at": `+instant+`, "refund_completed": true, "delegated_task_id": "~task_[0-9a-f-]{36}"}`)
			})
		})
	}
}

func TestARefundAboveThePolicysLimitIsRefused(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, f family) {
		o := runTask(t, "team_scaling", "customer_success_process_refund"+f.suffix, map[string]any{
			"ticket_id": "ticket_1", "customer_id": "cust_1", "refund_amount": 10001, "customer_email": "ada@example.com",
		})
		errorType := map[family]string{classBased: "handler_error", functional: "EXCEEDS_AMOUNT_LIMIT"}[f]
		requireFailed(t, o, f.bare("check_refund_policy")[0], 1, errorType, "Refund amount exceeds policy limit: $100.01 (max: $100.00)", false)
	})
}

func TestPaymentsRefund(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, f family) {
		o := runTask(t, "team_scaling", "payments_process_refund"+f.suffix, map[string]any{
			"payment_id": "pay_abc_1", "refund_amount": 5000, "customer_email": "ada@example.com",
		})
		require.Equal(t, "payments"+f.suffix, o.Namespace)
		steps := f.bare("validate_payment_eligibility", "process_gateway_refund", "update_payment_records", "notify_customer")
		requireComplete(t, o, slices.Clone(steps)...)
		requireResult(t, o, steps[0], `{"namespace": "payments", "payment_validated": true, "payment_id": "pay_abc_1", "original_amount": 6000,
		  "refund_amount": 5000, "payment_method": "credit_card", "gateway_provider": "MockPaymentGateway", "eligibility_status": "eligible",
		  "validation_timestamp": `+instant+`}`)
		requireResult(t, o, steps[1], `{"namespace": "payments", "refund_processed": true, "refund_id": "~rfnd_[0-9a-f]{24}", "payment_id": "pay_abc_1",
		  "refund_amount": 5000, "refund_status": "processed", "gateway_transaction_id": "~gtx_[0-9a-f]{20}",
		  "gateway_provider": "MockPaymentGateway", "processed_at": `+instant+`, "estimated_arrival": "~\\d{4}-.*"}`)
		requireResult(t, o, steps[2], `{"namespace": "payments", "records_updated": true, "payment_id": "pay_abc_1", "refund_id": "~rfnd_[0-9a-f]{24}",
		  "record_id": "~rec_[0-9a-f]{16}", "payment_status": "refunded", "refund_status": "completed", "history_entries_created": 2,
		  "updated_at": `+instant+`}`)
		requireResult(t, o, steps[3], `{"namespace": "payments", "notification_sent": true, "customer_email": "ada@example.com",
		  "message_id": "~msg_[0-9a-f]{24}", "notification_type": "refund_confirmation", "sent_at": `+instant+`, "delivery_status": "delivered",
		  "refund_id": "~rfnd_[0-9a-f]{24}", "refund_amount": 5000}`)
	})
}

// without gives a step's result without some of its keys.
func without(t *testing.T, o outcome, name string, keys ...string) string {
	t.Helper()
	var r map[string]any
	resultOf(t, o, name, &r)
	for _, key := range keys {
		delete(r, key)
	}
	return mustJSON(t, r)
}
