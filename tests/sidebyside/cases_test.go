package sidebyside_test

import (
	"path/filepath"
	"slices"
	"strings"
)

// task is one that both workers run.
type task struct {
	name                string
	namespace, template string
	input               map[string]any
	events              int // durable ones that it publishes
}

// project is a folder of handlers with its tasks.
type project struct {
	project string
	tasks   []task
}

// cases are tasks of every template of the example projects, in both ways of
// writing handlers, and for each way that their steps can go.
func cases(projects string) []project {
	csv := func(file, mode string) map[string]any {
		return map[string]any{"csv_file_path": filepath.Join(projects, "csv_batch", "csv_batch", file), "analysis_mode": mode}
	}
	linear := map[string]any{"even_number": 6}
	small := map[string]any{"even_number": 0} // tasker-py has integers of 64 bits
	return []project{
		{"linear", []task{{name: "numbers", namespace: "linear_workflow_py", template: "mathematical_sequence_py", input: linear}}},
		{"linear_workflow", []task{{name: "numbers", namespace: "linear_workflow_dsl_py", template: "mathematical_sequence_dsl_py", input: linear}}},
		{"diamond", []task{{name: "numbers", namespace: "diamond_workflow_py", template: "parallel_computation_py", input: linear}}},
		{"diamond_workflow", []task{{name: "numbers", namespace: "diamond_workflow_dsl_py", template: "parallel_computation_dsl_py", input: linear}}},
		{"mixed_dag", []task{{name: "numbers", namespace: "mixed_dag_workflow_py", template: "complex_dag_py", input: small}}},
		{"tree", []task{{name: "numbers", namespace: "tree_workflow_py", template: "hierarchical_tree_py", input: small}}},
		{"tested", []task{
			{name: "booked", namespace: "workshops", template: "book_workshop", input: map[string]any{"workshop": "weaving", "count": 2, "price_cents": 4500}},
			{name: "too many", namespace: "workshops", template: "book_workshop", input: map[string]any{"workshop": "weaving", "count": 7, "price_cents": 4500}},
		}},
		{"conditional_approval", inBoth("conditional_approval", "approval_routing", map[string]map[string]any{
			"small":   {"amount": 500, "requester": "ada", "purpose": "books"},
			"medium":  {"amount": 2500, "requester": "ada", "purpose": "books"},
			"large":   {"amount": 5000, "requester": "ada", "purpose": "books"},
			"invalid": {"amount": -1},
		})},
		{"csv_batch", inBoth("csv_processing", "csv_product_inventory_analyzer", map[string]map[string]any{
			"inventory": csv("products.csv", "inventory"),
			"empty":     csv("products_empty.csv", "inventory"),
			"no file":   {"csv_file_path": "/no/such/file.csv"},
		})},
		{"checkpoint_yield", checkpoints()},
		{"resolver_tests", inBoth("resolver_tests", "method_dispatch", map[string]map[string]any{
			"refund": {"data": map[string]any{"amount": 100.0, "reason": "damaged"}},
		})},
		{"test_scenarios", slices.Concat(
			inBoth("test_scenarios", "success_only", map[string]map[string]any{"success": {"message": "all is well"}}),
			inBoth("test_scenarios", "retryable_error_only", map[string]map[string]any{"retryable": {"error_message": "line is busy"}}),
			inBoth("test_scenarios", "permanent_error_only", map[string]map[string]any{"permanent": {"error_message": "no such number"}}),
		)},
		{"domain_events", withEvents(inBoth("domain_events", "domain_event_publishing", map[string]map[string]any{
			"paid": {"order_id": "6f6f1f6e-7f0c-4b1e-9f60-0d7a7a3f6f10", "customer_id": "cust_1", "amount": 42.5},
		}))},
		{"ecommerce", slices.Concat(
			inBoth("ecommerce", "ecommerce_order_processing", map[string]map[string]any{"paid": order("tok_test_valid", 124.76, 1, 2)}),
			// tasker-py runs a class again that has raised PermanentError.
			ofFunctions(inBoth("ecommerce", "ecommerce_order_processing", map[string]map[string]any{
				"declined": order("tok_test_declined", 124.76, 1, 2),
				"empty":    order("tok_test_valid", 0),
			})),
		)},
		{"data_pipeline", inBoth("data_pipeline", "analytics_pipeline", map[string]map[string]any{"sales": {"run": 1}})},
		{"user_registration", inBoth("microservices", "user_registration", map[string]map[string]any{
			"free":       user("ada@example.com", "free"),
			"pro":        user("ada@example.com", "pro"),
			"enterprise": user("ada@example.com", "enterprise"),
			"existing":   user("existing@example.com", "free"),
			"no email":   {"user_info": map[string]any{"name": "Ada"}},
		})},
		// tasker-py does not give an input to a parameter that begins with _, as
		// those of the functions do.
		{"team_scaling", ofClasses(slices.Concat(
			inBoth("customer_success", "customer_success_process_refund", map[string]map[string]any{
				"standard": refund("cust_1", 5000),
				"gold":     refund("cust_gold_1", 5000),
			}),
			inBoth("payments", "payments_process_refund", map[string]map[string]any{
				"payment": {"payment_id": "pay_abc_1", "refund_amount": 5000, "customer_email": "ada@example.com"},
			}),
		))},
	}
}

// inBoth are tasks of a template and of its twin.
func inBoth(namespace, template string, inputs map[string]map[string]any) []task {
	var tasks []task
	for name, input := range inputs {
		for _, suffix := range []string{"_py", "_dsl_py"} {
			tasks = append(tasks, task{name: template + suffix + ", " + name, namespace: namespace + suffix, template: template + suffix, input: input})
		}
	}
	return tasks
}

func ofFunctions(tasks []task) []task {
	return slices.DeleteFunc(tasks, func(k task) bool { return !strings.HasSuffix(k.template, "_dsl_py") })
}

func ofClasses(tasks []task) []task {
	return slices.DeleteFunc(tasks, func(k task) bool { return strings.HasSuffix(k.template, "_dsl_py") })
}

// withEvents says that each task publishes one durable event.
func withEvents(tasks []task) []task {
	for i := range tasks {
		tasks[i].events = 1
	}
	return tasks
}

func checkpoints() []task {
	var tasks []task
	for name, input := range map[string]map[string]any{
		"four parts": {"total_items": 100, "items_per_checkpoint": 25},
		"one part":   {"total_items": 10, "items_per_checkpoint": 20},
		"retried":    {"total_items": 100, "items_per_checkpoint": 20, "fail_after_items": 50, "fail_on_attempt": 1},
		"none":       {"total_items": 0, "items_per_checkpoint": 10},
		"failed":     {"total_items": 100, "items_per_checkpoint": 25, "fail_after_items": 30, "permanent_failure": true},
	} {
		for _, template := range []string{"checkpoint_yield_test", "checkpoint_yield_test_dsl"} {
			tasks = append(tasks, task{name: template + ", " + name, namespace: "python_e2e_checkpoint_yield", template: template, input: input})
		}
	}
	return tasks
}

func order(token string, amount float64, products ...int) map[string]any {
	cart := []map[string]any{}
	for _, product := range products {
		cart = append(cart, map[string]any{"product_id": product, "quantity": 3 - product})
	}
	return map[string]any{
		"cart_items":    cart,
		"customer_info": map[string]any{"email": "ada@example.com", "name": "Ada"},
		"payment_info":  map[string]any{"method": "credit_card", "token": token, "amount": amount},
	}
}

func user(email, plan string) map[string]any {
	return map[string]any{"user_info": map[string]any{"email": email, "name": "Ada", "plan": plan, "phone": "+44 1", "source": "mobile"}}
}

func refund(customer string, amount int) map[string]any {
	return map[string]any{
		"ticket_id": "ticket_1", "customer_id": customer, "refund_amount": amount, "customer_email": "ada@example.com", "correlation_id": "cs-7",
	}
}
