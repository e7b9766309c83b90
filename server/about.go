package server

import (
	"math"
	"net/http"

	"github.com/tasker-systems/taskerpy/engine"
)

// What the OpenAPI document tells of each route. These are never changed.

// Tags of the document.
const (
	tagHealth    = "health"
	tagTasks     = "tasks"
	tagSteps     = "workflow steps"
	tagTemplates = "templates"
	tagAnalytics = "analytics"
	tagDLQ       = "dead letters"
	tagServer    = "server"
)

func number(least, most, fallback int) schema {
	return schema{"type": "integer", "minimum": least, "maximum": most, "default": fallback}
}

func flag() schema { return schema{"type": "boolean", "default": false} }

func words(all ...string) schema { return schema{"type": "string", "enum": all} }

func anyText() schema { return schema{"type": "string"} }

// atMost is a text of so many bytes.
func atMost(n int) schema { return schema{"type": "string", "maxLength": n} }

func orNull(s schema) schema { return schema{"anyOf": []schema{s, {"type": "null"}}} }

// listOf is a list of the type of value.
func listOf[T any](T) []T { return nil }

// follow is a link to an operation whose parameters are in the answer, given as
// names and pointers.
func follow(operation string, parameters ...string) schema {
	values := schema{}
	for i := 0; i < len(parameters); i += 2 {
		values[parameters[i]] = "$response.body#" + parameters[i+1]
	}
	return schema{"operationId": operation, "parameters": values}
}

// maxText is how long the engine lets the texts of a task be, in bytes.
const maxText = 128

var (
	aboutHealth      = operation{id: "health", summary: "Tell that the server answers", tag: tagHealth, answer: pulse{}}
	aboutLive        = operation{id: "live", summary: "Tell that the process lives", tag: tagHealth, answer: pulse{}}
	aboutReady       = operation{id: "ready", summary: "Tell whether work should be sent here", tag: tagHealth, answer: vitals{}}
	aboutDetailed    = operation{id: "detailed", summary: "Tell how each part of the process is", tag: tagHealth, answer: vitals{}}
	aboutConfig      = operation{id: "getConfiguration", summary: "Show the effective configuration, secrets masked", tag: tagServer, answer: configuration{}}
	aboutOpenAPI     = operation{id: "getOpenAPI", summary: "Show this document", tag: tagServer, answer: schema{"type": "object"}}
	aboutMetrics     = operation{id: "getMetrics", summary: "Show metrics in the text format of Prometheus", tag: tagServer, media: "text/plain"}
	aboutEventCounts = operation{id: "countDomainEvents", summary: "Count published domain events", tag: tagServer, answer: eventCounts{}}
	aboutLanes       = operation{id: "getLanes", summary: "Show what each thread of Python does", tag: tagServer, answer: schema{}}
)

var (
	aboutCreateTask = operation{
		id: "createTask", summary: "Create a task from a template", tag: tagTasks, body: taskRequestSchema(), answer: engine.Task{},
		refusals: []int{http.StatusNotFound, http.StatusConflict},
		links: schema{
			"task": follow("getTask", "task", "/task_uuid"), "cancel": follow("cancelTask", "task", "/task_uuid"),
			"summary": follow("summarizeTask", "task", "/task_uuid"), "steps": follow("listSteps", "task", "/task_uuid"),
			"step":   follow("getStep", "task", "/task_uuid", "step", "/steps/0/workflow_step_uuid"),
			"audit":  follow("auditStep", "task", "/task_uuid", "step", "/steps/0/workflow_step_uuid"),
			"change": follow("changeStep", "task", "/task_uuid", "step", "/steps/0/workflow_step_uuid"),
		},
	}
	aboutListTasks = operation{
		id: "listTasks", summary: "List tasks, newest first", tag: tagTasks, answer: engine.TaskList{},
		query: []parameter{
			{"page", "counted from 1", number(1, math.MaxInt32, 1)},
			{"per_page", "tasks of a page", number(1, maxPerPage, defaultPerPage)},
			{"namespace", "only tasks of this namespace", anyText()},
			{"status", "only tasks in this state; completed means complete, pending all others, nothing any", taskStatusSchema()},
			{"initiator", "only tasks that this one asked for", anyText()},
			{"source_system", "only tasks from this system", anyText()},
			{"true_status", "show the tasks' states as status, instead of completed or pending", flag()},
		},
	}
	aboutGetTask = operation{
		id: "getTask", summary: "Read a task with the readiness of its steps", tag: tagTasks, answer: engine.Task{}, refusals: []int{http.StatusNotFound},
	}
	aboutCancelTask = operation{
		id: "cancelTask", summary: "Cancel a task that has not ended", tag: tagTasks, answer: engine.Task{}, refusals: []int{http.StatusNotFound},
	}
	aboutSummary = operation{
		id: "summarizeTask", summary: "Read a task with its template and steps", tag: tagTasks, answer: engine.TaskSummary{},
		refusals: []int{http.StatusNotFound},
	}
	aboutEvents = operation{
		id: "followTask", tag: tagTasks, media: "text/event-stream", refusals: []int{http.StatusNotFound},
		summary: "Follow a task: server-sent events task (as it is), change (of the task or a step), end (the task once it has settled)",
	}
)

var (
	aboutListSteps = operation{
		id: "listSteps", summary: "List the steps of a task; an unknown task has none", tag: tagSteps, answer: listOf(engine.Step{}),
	}
	aboutGetStep = operation{
		id: "getStep", summary: "Read a step", tag: tagSteps, answer: engine.Step{}, refusals: []int{http.StatusNotFound},
	}
	aboutChangeStep = operation{
		id: "changeStep", summary: "Reset, resolve or complete a step by hand", tag: tagSteps, body: stepActionSchema(), answer: engine.Step{},
		refusals: []int{http.StatusNotFound},
	}
	aboutAuditStep = operation{
		id: "auditStep", summary: "List the finished attempts of a step, newest first", tag: tagSteps, answer: listOf(engine.StepAudit{}),
		refusals: []int{http.StatusNotFound},
	}
)

var (
	aboutListTemplates = operation{
		id: "listTemplates", summary: "List the registered task templates", tag: tagTemplates, answer: templateList{},
		query: []parameter{{"namespace", "only templates of this namespace", anyText()}},
	}
	aboutGetTemplate = operation{
		id: "getTemplate", summary: "Read a task template", tag: tagTemplates, answer: templateDetail{}, refusals: []int{http.StatusNotFound},
		query: []parameter{{"configuration", "show the whole template as configuration", flag()}},
	}
)

var (
	aboutPerformance = operation{
		id: "getPerformance", summary: "Tell how the tasks of the last hours fared; up to a minute old", tag: tagAnalytics, answer: engine.Performance{},
		query: []parameter{{"hours", "how far to look back; 0 is the last hour", number(0, maxHours, defaultHours)}},
	}
	aboutBottlenecks = operation{
		id: "getBottlenecks", summary: "Tell what is slow; up to a minute old", tag: tagAnalytics, answer: engine.Bottlenecks{},
		query: []parameter{
			{"limit", "at most so many steps and tasks", number(1, maxSlow, defaultSlow)},
			{"min_executions", "only what was executed at least so often", number(0, math.MaxInt32, defaultExecutions)},
		},
	}
)

var (
	aboutListDLQ = operation{
		id: "listDeadLetters", summary: "List dead-letter entries, newest first", tag: tagDLQ, answer: listOf(engine.DLQEntry{}),
		query: []parameter{
			{"resolution_status", "only entries of this status, in either spelling", dlqStatusSchema()},
			{"limit", "at most so many", number(1, maxDLQ, defaultDLQ)},
			{"offset", "after so many", number(0, math.MaxInt32, 0)},
		},
	}
	aboutGetDLQ = operation{
		id: "getDeadLetter", summary: "Read the newest dead-letter entry of a task", tag: tagDLQ, answer: engine.DLQEntry{},
		refusals: []int{http.StatusNotFound},
	}
	aboutUpdateDLQ = operation{
		id: "updateDeadLetter", summary: "Note how the investigation of a task goes", tag: tagDLQ, body: dlqUpdateSchema(), answer: updated{},
		refusals: []int{http.StatusNotFound},
	}
	aboutDLQStats = operation{
		id: "countDeadLetters", summary: "Count the dead-letter entries of each reason", tag: tagDLQ, answer: listOf(engine.DLQStats{}),
	}
	aboutInvestigations = operation{
		id: "listInvestigations", summary: "List pending dead-letter entries, the most urgent first", tag: tagDLQ, answer: listOf(engine.Investigation{}),
		query: []parameter{{"limit", "at most so many", number(1, maxDLQ, defaultQueue)}},
	}
	aboutStaleTasks = operation{
		id: "listStaleTasks", summary: "List tasks by how near they are to being stale", tag: tagDLQ, answer: listOf(engine.StaleTask{}),
		query: []parameter{{"limit", "at most so many", number(1, maxDLQ, defaultQueue)}},
	}
)

// The bodies of requests (engine-semantics §2.1, §7.1, §7.5).

func taskRequestSchema() schema {
	name := schema{"type": "string", "pattern": `[^\s]`, "maxLength": maxText} // not blank
	return schema{
		"type": "object", "required": []string{"name", "namespace", "version", "context", "initiator", "source_system", "reason"},
		"properties": schema{
			"name": name, "namespace": name, "version": name, "context": schema{"type": "object"},
			"initiator": atMost(maxText), "source_system": atMost(maxText), "reason": atMost(maxText),
			"tags":                  orNull(schema{"type": "array", "items": anyText()}),
			"priority":              orNull(schema{"type": "integer", "minimum": math.MinInt32, "maximum": math.MaxInt32}),
			"correlation_id":        orNull(schema{"type": "string", "format": "uuid"}),
			"parent_correlation_id": orNull(schema{"type": "string", "format": "uuid"}),
			"idempotency_key":       orNull(anyText()),
			"requested_at":          orNull(schema{"type": "string", "pattern": existingPattern}),
			"options":               orNull(schema{"type": "object"}),
		},
	}
}

func stepActionSchema() schema {
	action := func(kind, operator string, more schema) schema {
		properties := schema{"action_type": schema{"const": kind}, "reason": anyText(), operator: anyText()}
		required := []string{"action_type", "reason", operator}
		for name, s := range more {
			properties[name] = s
			required = append(required, name)
		}
		return schema{"type": "object", "required": required, "properties": properties}
	}
	return schema{"oneOf": []schema{
		action(actionReset, "reset_by", nil),
		action(actionResolve, "resolved_by", nil),
		action(actionComplete, "completed_by", schema{"completion_data": schema{
			"type": "object", "required": []string{"result"}, "properties": schema{"result": schema{}, "metadata": schema{}},
		}}),
	}}
}

func dlqUpdateSchema() schema {
	return schema{"type": "object", "properties": schema{
		"resolution_status": orNull(dlqStatusSchema()),
		"resolution_notes":  orNull(anyText()),
		"resolved_by":       orNull(anyText()),
		"metadata":          orNull(schema{"type": "object"}),
	}}
}

func dlqStatusSchema() schema {
	return words("Pending", "ManuallyResolved", "PermanentlyFailed", "Cancelled", "pending", "manually_resolved", "permanently_failed", "cancelled")
}

func taskStatusSchema() schema {
	return words("", "completed", "pending", "initializing", "enqueuing_steps", "steps_in_process", "evaluating_results", "waiting_for_dependencies",
		"waiting_for_retry", "blocked_by_failures", "complete", "error", "cancelled", "resolved_manually")
}
