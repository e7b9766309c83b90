package sidebyside_test

import "slices"

// framework tells whether the server's HTTP framework has answered by itself.
func framework(d difference) bool {
	text, plain := d.theirs.(string)
	_, problem := d.ours.(map[string]any)
	return plain && (problem || text == "" || text == "text/plain")
}

// failed tells whether the server has failed at the request.
func failed(d difference) bool {
	return d.theirs == "DATABASE_ERROR" || d.theirs == "Database operation failed" || d.theirs == 500 || d.theirs == absent{} || d.ours == absent{}
}

func kept(d difference) bool { return d.theirs == absent{} }

// answers are the differences that there are to be between tasker-server and the
// engine. Sections are those of engine-semantics.
var answers = slices.Concat(
	[]explanation{
		{path: "*.body.error.message", why: "says what is wrong, where, and what to do"},
		{path: "*.body", why: "errors have the same form everywhere; some are answered by the server's framework in plain text", fits: framework},
		{path: "*.kind", why: "as above", fits: framework},
		{path: "create with a context that is *.status", why: "a wrong request is no failure of the server", fits: failed},
		{path: "create with a context that is *.body.error.code", why: "as above", fits: failed},
		{path: "list of *.status", why: "a list may be asked for by any state (§9.3)", fits: failed},
		{path: "list of what is complete.body.*", why: "as above", fits: failed},
		{path: "list of an unknown status.body.error.code", why: "as above", fits: failed},
		{path: "create with a known key.status", why: "an idempotency key decides (§2.4)", fits: theirs(200)},
		{path: "create with a known key.body.*", why: "as above"},

		{path: "*.body*.completed_at", why: "is when the task entered its last state; the server never sets it (§9.3)", fits: theirs(nil)},
		{path: "list*.body.tasks[].completed_at", why: "as above", fits: theirs(nil)},
		{path: "*summary.body.task.completed_at", why: "as above", fits: theirs(nil)},
		{path: "cancel.body.status", why: "is the task's state (§7.2)", fits: theirs("waiting_for_dependencies")},
		{path: "*.body.completed_parents", why: "counts them also for a step that has ended", fits: theirs(0.0)},
		{path: "*.body.dependencies_satisfied", why: "as above", fits: theirs(false)},
		{path: "*.body*.next_retry_at", why: "what failed for good is not retried"},
		{path: "*.body.steps[].next_retry_at", why: "as above"},
		{path: "failed steps.body[].next_retry_at", why: "as above"},
		{path: "*summary.body.steps[].*_at", why: "has a zone, as all times of tasks and steps (§9.1)"},
		{path: "*summary.body.steps[].error", why: "is read from where it is (§9.3)", fits: theirs(nil)},
		{path: "*summary.body.task.*", why: "is more of the task than there is in theirs", fits: kept},
		{path: "*audit.body[].execution_time_ms", why: "is told also when it is 0", fits: kept},
		{path: "templates*.body.namespaces[].description", why: "the engine makes no texts up"},
		{path: "completion.body.results.metadata.started_at", why: "nothing was started"},
		{path: "completed step.body.results.metadata.started_at", why: "as above"},
		{path: "complet*.body.results.orchestration_metadata", why: "there is nothing to tell"},
	},
	// How a failure is stored for a server is the worker's, and compared in
	// TestBothWorkersLeaveTheSame.
	inStored("status", "the server takes no failure but failed (worker-protocol §3.7)"),
	inStored("metadata.custom.original_status", "as above"),
	inStored("error.*", "is told also when it is empty"),
	unsteady(inStored("metadata.worker_id", "each has its name")),
	unsteady(inStored("metadata.execution_time_ms", "was measured")),
	inStored("orchestration_metadata", "asks the server for the template's wait; the engine knows it"),
	[]explanation{
		{path: "waiting *.body.steps[].backoff_request_seconds", why: "the server caps and has no jitter (§5)"},

		{path: "*.body.worker_id", why: "the engine is a worker too", fits: kept},
		{path: "*.body.checks.*.message", why: "says what the check looks at"},
		{path: "*.body.info.*", why: "says what there is: one file, no pools"},
		{path: "performance.body.*", why: "is computed from the states of tasks, and by the hour (§9.5)"},
	},
	unsteady([]explanation{
		{path: "*.body.checks.*.duration_ms", why: "was measured"},
		// The answer to a creation may be older or younger than the first steps.
		{path: "create*.body.*_steps", why: "a worker may be quicker"},
		{path: "create*.body.completion_percentage", why: "as above"},
		{path: "create*.body.execution_status", why: "as above"},
		{path: "create*.body.recommended_action", why: "as above"},
		{path: "create*.body.status", why: "as above"},
		{path: "create*.body.steps[].*", why: "as above"},
		{path: "create*.body.updated_at", why: "as above"},
		{path: "waiting task.body.*", why: "the server gets there a little later"},
		{path: "reset.body.current_state", why: "as above"},
		{path: "reset.body.ready_for_execution", why: "as above"},
		{path: "reset.body.attempts", why: "as above"},
		{path: "reset.body.last_attempted_at", why: "as above"},
		{path: "bottlenecks*.body.resource_utilization.*", why: "was measured"},
		{path: "bottlenecks*.body.resource_utilization.system_health.*", why: "the server counts what has a step in a state, the engine what is in it"},
		{path: "bottlenecks*.body.slow_*", why: "was measured"},
		{path: "bottlenecks*.body.slow_*[].*", why: "as above"},
		{path: "bottlenecks*.body.recommendations", why: "as above"},
	}),
)

// inStored explains a difference in results, wherever they are told.
func inStored(path, why string) []explanation {
	return []explanation{
		{path: "*step*.body[].results." + path, why: why, unsteady: true},
		{path: "*.body.results." + path, why: why},
		{path: "*audit.body[].result.data." + path, why: why, unsteady: true},
	}
}
