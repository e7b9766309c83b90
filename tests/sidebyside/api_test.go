package sidebyside_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/tests/built"
	"github.com/tasker-systems/taskerpy/tests/cluster"
)

// api is one of the two that are asked the same: tasker-server's, and that of
// taskerpy with its own engine.
type api struct {
	url   string
	known map[string]string // what {name} in a path or a body stands for
}

// request is one question, and what is then waited for.
type request struct {
	name         string
	method, path string
	body         string
	headers      map[string]string
	task         string // learn the task's id, and those of its steps, under this name
	until        string // then wait until the task has this status, or execution status; "step S": until one of its steps is in the state S
}

func (a *api) resolve(text string) string {
	var pairs []string
	for name, value := range a.known {
		pairs = append(pairs, "{"+name+"}", value)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

func (a *api) ask(t *testing.T, ctx context.Context, r request) map[string]any {
	t.Helper()
	var body io.Reader
	if r.body != "" {
		body = strings.NewReader(a.resolve(r.body))
	}
	q, err := http.NewRequestWithContext(ctx, r.method, a.url+a.resolve(r.path), body)
	require.NoError(t, err)
	if r.body != "" {
		q.Header.Set("Content-Type", "application/json")
	}
	for name, value := range r.headers {
		q.Header.Set(name, value)
	}
	answer, err := http.DefaultClient.Do(q)
	require.NoError(t, err)
	defer func() { require.NoError(t, answer.Body.Close()) }()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	found := map[string]any{"status": answer.StatusCode, "kind": kind}
	var value any
	if json.Unmarshal(text, &value) == nil {
		found["body"] = ordered(value)
	} else {
		found["body"] = string(bytes.TrimSpace(text))
	}
	return found
}

// ordered sorts the steps in an answer by name: those that were made at once
// come in any order.
func ordered(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key := range v {
			v[key] = ordered(v[key])
		}
	case []any:
		for i := range v {
			v[i] = ordered(v[i])
		}
		name := func(e any) string {
			fields, _ := e.(map[string]any)
			text, _ := fields["name"].(string)
			return text
		}
		slices.SortStableFunc(v, func(a, b any) int { return strings.Compare(name(a), name(b)) })
	}
	return value
}

// follow waits for what a request asks for and learns the ids of its task.
func (a *api) follow(t *testing.T, ctx context.Context, r request, found map[string]any) {
	t.Helper()
	if r.task == "" {
		return
	}
	if body, ok := found["body"].(map[string]any); ok && a.known[r.task] == "" {
		id, _ := body["task_uuid"].(string)
		require.NotEmpty(t, id, "%v", found)
		a.known[r.task] = id
	}
	for {
		task := a.ask(t, ctx, request{method: "GET", path: "/v1/tasks/" + a.known[r.task]})["body"].(map[string]any)
		there := false
		for _, s := range task["steps"].([]any) {
			step := s.(map[string]any)
			a.known[r.task+"."+step["name"].(string)] = step["workflow_step_uuid"].(string)
			there = there || r.until == fmt.Sprint("step ", step["current_state"])
		}
		if there || r.until == "" || task["status"] == r.until || task["execution_status"] == r.until {
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			require.FailNow(t, "it never gets there", "%s %s: %v", r.name, r.until, task)
		}
	}
}

// askBoth compares the answers of both, and returns which explanations it used.
func askBoth(t *testing.T, ctx context.Context, both []*api, requests []request, explained []explanation) map[string]bool {
	t.Helper()
	used := map[string]bool{}
	for _, r := range requests {
		t.Run(r.name, func(t *testing.T) {
			var found [2]any
			for i, a := range both {
				answer := a.ask(t, ctx, r)
				a.follow(t, ctx, r, answer)
				found[i] = map[string]any{r.name: answer}
			}
			compare(t, explained, found[0], found[1], used)
		})
	}
	return used
}

// The embedded engine is asked what tasker-server is asked, request after
// request: statuses, types and bodies are the same, or it is explained why not.
func TestTheEngineAnswersAsTheServerDoes(t *testing.T) {
	binary := built.Binary(t)
	source := filepath.Join(built.Root(), "tests", "sidebyside", "shop")
	c := cluster.Start(t, cluster.Options{})
	c.StartWorker(t.Context(), binary, source)
	folder, unknown := t.TempDir(), uuid.Must(uuid.NewV7()).String()
	both := make([]*api, 2)
	for i, url := range []string{c.ServerURL(), built.Serve(t, binary, source, "--data", filepath.Join(t.TempDir(), "engine.db"))} {
		both[i] = &api{url: url, known: map[string]string{"unknown": unknown, "until": filepath.Join(folder, "open")}}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	used := askBoth(t, ctx, both, requests, answers)
	// The handlers that were cancelled may end.
	require.NoError(t, os.WriteFile(filepath.Join(folder, "open"), nil, 0o600))
	requireAllUsed(t, answers, used)
}

func bought(context string) string {
	return `{"name": "order", "namespace": "shop", "version": "1.0.0", "context": ` + context + `, "initiator": "desk", "source_system": "crm", "reason": "tests", "tags": ["a"]}`
}

var requests = []request{
	{name: "health", method: "GET", path: "/health"},
	{name: "live", method: "GET", path: "/health/live"},
	{name: "ready", method: "GET", path: "/health/ready"},
	{name: "detailed", method: "GET", path: "/health/detailed"},
	{name: "no path", method: "GET", path: "/v1/nothing"},
	{name: "no method", method: "PUT", path: "/v1/tasks"},
	{name: "no method of a task", method: "POST", path: "/v1/tasks/{unknown}"},

	{name: "create", method: "POST", path: "/v1/tasks", body: bought(`{"amount": 5}`), task: "good", until: "complete"},
	{name: "task", method: "GET", path: "/v1/tasks/{good}"},
	{name: "summary", method: "GET", path: "/v1/tasks/{good}/summary"},
	{name: "steps", method: "GET", path: "/v1/tasks/{good}/workflow_steps"},
	{name: "step", method: "GET", path: "/v1/tasks/{good}/workflow_steps/{good.pay}"},
	{name: "audit", method: "GET", path: "/v1/tasks/{good}/workflow_steps/{good.pay}/audit"},
	{name: "create the same", method: "POST", path: "/v1/tasks", body: bought(`{"amount": 5}`)},
	{name: "create with a priority and ids", method: "POST", path: "/v1/tasks", task: "full", until: "complete", body: `{"name": "order", "namespace": "shop", "version": "1.0.0", "context": {"amount": 6},
		"initiator": "desk", "source_system": "crm", "reason": "tests", "tags": [], "priority": 7, "correlation_id": "0190a1b2-0000-7000-8000-000000000001",
		"parent_correlation_id": "0190a1b2-0000-7000-8000-000000000002", "idempotency_key": "key-1"}`},

	{name: "create of an unknown template", method: "POST", path: "/v1/tasks", body: strings.Replace(bought(`{}`), `"order"`, `"ordeal"`, 1)},
	{name: "create in an unknown namespace", method: "POST", path: "/v1/tasks", body: strings.Replace(bought(`{}`), `"shop"`, `"shed"`, 1)},
	{name: "create of an unknown version", method: "POST", path: "/v1/tasks", body: strings.Replace(bought(`{}`), `"1.0.0"`, `"9.0.0"`, 1)},
	{name: "create without a body", method: "POST", path: "/v1/tasks"},
	{name: "create of no JSON", method: "POST", path: "/v1/tasks", body: `{"name": `},
	{name: "create of a list", method: "POST", path: "/v1/tasks", body: `[]`},
	{name: "create without a name", method: "POST", path: "/v1/tasks", body: `{"namespace": "shop", "version": "1.0.0", "context": {}}`},
	{name: "create with an empty name", method: "POST", path: "/v1/tasks", body: strings.Replace(bought(`{}`), `"order"`, `""`, 1)},
	{name: "create with a name that is a number", method: "POST", path: "/v1/tasks", body: strings.Replace(bought(`{}`), `"order"`, `5`, 1)},
	{name: "create with a context that is a list", method: "POST", path: "/v1/tasks", body: bought(`[1]`)},
	{name: "create with a context that is null", method: "POST", path: "/v1/tasks", body: bought(`null`)},
	{name: "create without a context", method: "POST", path: "/v1/tasks", body: `{"name": "order", "namespace": "shop", "version": "1.0.0", "initiator": "desk", "source_system": "crm", "reason": "tests"}`},
	{name: "create without an initiator", method: "POST", path: "/v1/tasks", body: `{"name": "order", "namespace": "shop", "version": "1.0.0", "context": {"amount": 91}}`},
	{name: "create with a priority that is a string", method: "POST", path: "/v1/tasks", body: strings.Replace(bought(`{}`), `"tags"`, `"priority": "high", "tags"`, 1)},
	{name: "create with a bad correlation id", method: "POST", path: "/v1/tasks", body: strings.Replace(bought(`{}`), `"tags"`, `"correlation_id": "x", "tags"`, 1)},
	{name: "create of text", method: "POST", path: "/v1/tasks", body: bought(`{}`), headers: map[string]string{"Content-Type": "text/plain"}},

	{name: "task that is not there", method: "GET", path: "/v1/tasks/{unknown}"},
	{name: "task with a bad id", method: "GET", path: "/v1/tasks/x"},
	{name: "summary that is not there", method: "GET", path: "/v1/tasks/{unknown}/summary"},
	{name: "summary with a bad id", method: "GET", path: "/v1/tasks/x/summary"},
	{name: "steps of a task that is not there", method: "GET", path: "/v1/tasks/{unknown}/workflow_steps"},
	{name: "steps of a bad id", method: "GET", path: "/v1/tasks/x/workflow_steps"},
	{name: "step that is not there", method: "GET", path: "/v1/tasks/{good}/workflow_steps/{unknown}"},
	{name: "step of another task", method: "GET", path: "/v1/tasks/{full}/workflow_steps/{good.pay}"},
	{name: "step with a bad id", method: "GET", path: "/v1/tasks/{good}/workflow_steps/x"},
	{name: "audit of a step that is not there", method: "GET", path: "/v1/tasks/{good}/workflow_steps/{unknown}/audit"},
	{name: "audit of another task's step", method: "GET", path: "/v1/tasks/{full}/workflow_steps/{good.pay}/audit"},

	{name: "list", method: "GET", path: "/v1/tasks?namespace=shop&initiator=desk&source_system=crm"},
	{name: "list of a page", method: "GET", path: "/v1/tasks?page=2&per_page=1&initiator=desk"},
	{name: "list of a late page", method: "GET", path: "/v1/tasks?page=200&initiator=desk"},
	{name: "list of nothing", method: "GET", path: "/v1/tasks?namespace=shed"},
	{name: "list of what is complete", method: "GET", path: "/v1/tasks?status=complete&initiator=desk"},
	{name: "list of what is pending", method: "GET", path: "/v1/tasks?status=pending&initiator=desk"},
	{name: "list of an unknown status", method: "GET", path: "/v1/tasks?status=odd"},
	{name: "list of page 0", method: "GET", path: "/v1/tasks?page=0"},
	{name: "list of 0 a page", method: "GET", path: "/v1/tasks?per_page=0"},
	{name: "list of 101 a page", method: "GET", path: "/v1/tasks?per_page=101"},
	{name: "list of page x", method: "GET", path: "/v1/tasks?page=x"},
	{name: "list of page -1", method: "GET", path: "/v1/tasks?page=-1"},

	{name: "create what fails", method: "POST", path: "/v1/tasks", body: bought(`{"amount": 8, "failure": "permanent"}`), task: "bad", until: "blocked_by_failures"},
	{name: "failed task", method: "GET", path: "/v1/tasks/{bad}"},
	{name: "failed steps", method: "GET", path: "/v1/tasks/{bad}/workflow_steps"},
	{name: "failed step", method: "GET", path: "/v1/tasks/{bad}/workflow_steps/{bad.pay}"},
	{name: "failed audit", method: "GET", path: "/v1/tasks/{bad}/workflow_steps/{bad.pay}/audit"},
	{name: "failed summary", method: "GET", path: "/v1/tasks/{bad}/summary"},
	{name: "change without a body", method: "PATCH", path: "/v1/tasks/{bad}/workflow_steps/{bad.pay}"},
	{name: "change of no kind", method: "PATCH", path: "/v1/tasks/{bad}/workflow_steps/{bad.pay}", body: `{"action_type": "dance", "reason": "x", "reset_by": "ada"}`},
	{name: "change without a reason", method: "PATCH", path: "/v1/tasks/{bad}/workflow_steps/{bad.pay}", body: `{"action_type": "resolve_manually", "resolved_by": "ada"}`},
	{name: "change by nobody", method: "PATCH", path: "/v1/tasks/{bad}/workflow_steps/{bad.pay}", body: `{"action_type": "resolve_manually", "reason": "x"}`},
	{name: "change of a step that is not there", method: "PATCH", path: "/v1/tasks/{bad}/workflow_steps/{unknown}", body: `{"action_type": "resolve_manually", "reason": "x", "resolved_by": "ada"}`},
	{name: "change of another task's step", method: "PATCH", path: "/v1/tasks/{good}/workflow_steps/{bad.pay}", body: `{"action_type": "resolve_manually", "reason": "x", "resolved_by": "ada"}`},
	{name: "change of a complete step", method: "PATCH", path: "/v1/tasks/{bad}/workflow_steps/{bad.check}", body: `{"action_type": "reset_for_retry", "reason": "x", "reset_by": "ada"}`},
	{name: "completion without a result", method: "PATCH", path: "/v1/tasks/{bad}/workflow_steps/{bad.pay}", body: `{"action_type": "complete_manually", "reason": "x", "completed_by": "ada"}`},
	{name: "completion", method: "PATCH", path: "/v1/tasks/{bad}/workflow_steps/{bad.pay}", body: `{"action_type": "complete_manually", "reason": "paid in cash", "completed_by": "ada",
		"completion_data": {"result": {"paid": 8}, "metadata": {"how": "cash"}}}`},
	{name: "completed step", method: "GET", path: "/v1/tasks/{bad}/workflow_steps/{bad.pay}"},

	{name: "create what is to be retried", method: "POST", path: "/v1/tasks", body: bought(`{"amount": 9, "failure": "retryable"}`), task: "retried", until: "step waiting_for_retry"},
	{name: "waiting task", method: "GET", path: "/v1/tasks/{retried}"},
	{name: "waiting step", method: "GET", path: "/v1/tasks/{retried}/workflow_steps/{retried.pay}"},

	{name: "create what fails again", method: "POST", path: "/v1/tasks", body: bought(`{"amount": 10, "failure": "permanent"}`), task: "resolved", until: "blocked_by_failures"},
	{name: "resolution", method: "PATCH", path: "/v1/tasks/{resolved}/workflow_steps/{resolved.pay}", body: `{"action_type": "resolve_manually", "reason": "waived", "resolved_by": "ada"}`},
	{name: "create what fails once more", method: "POST", path: "/v1/tasks", body: bought(`{"amount": 11, "failure": "permanent"}`), task: "reset", until: "blocked_by_failures"},
	{name: "reset", method: "PATCH", path: "/v1/tasks/{reset}/workflow_steps/{reset.pay}", body: `{"action_type": "reset_for_retry", "reason": "again", "reset_by": "ada"}`},

	{name: "create what waits", method: "POST", path: "/v1/tasks", body: bought(`{"amount": 12, "until": "{until}"}`), task: "running", until: "processing"},
	{name: "running task", method: "GET", path: "/v1/tasks/{running}"},
	{name: "running steps", method: "GET", path: "/v1/tasks/{running}/workflow_steps"},
	{name: "running summary", method: "GET", path: "/v1/tasks/{running}/summary"},
	{name: "change of a running step", method: "PATCH", path: "/v1/tasks/{running}/workflow_steps/{running.check}", body: `{"action_type": "reset_for_retry", "reason": "x", "reset_by": "ada"}`},
	{name: "cancel", method: "DELETE", path: "/v1/tasks/{running}"},
	{name: "cancelled task", method: "GET", path: "/v1/tasks/{running}"},
	{name: "cancelled steps", method: "GET", path: "/v1/tasks/{running}/workflow_steps"},
	{name: "cancel again", method: "DELETE", path: "/v1/tasks/{running}"},
	{name: "cancel what is complete", method: "DELETE", path: "/v1/tasks/{good}"},
	{name: "cancel what is not there", method: "DELETE", path: "/v1/tasks/{unknown}"},
	{name: "cancel a bad id", method: "DELETE", path: "/v1/tasks/x"},

	{name: "templates", method: "GET", path: "/v1/templates?namespace=shop"},
	{name: "templates of nothing", method: "GET", path: "/v1/templates?namespace=shed"},
	{name: "template", method: "GET", path: "/v1/templates/shop/order/1.0.0"},
	{name: "template that is not there", method: "GET", path: "/v1/templates/shop/ordeal/1.0.0"},
	{name: "performance", method: "GET", path: "/v1/analytics/performance"},
	{name: "performance of x", method: "GET", path: "/v1/analytics/performance?hours=x"},
	{name: "bottlenecks", method: "GET", path: "/v1/analytics/bottlenecks?min_executions=1"},
	{name: "bottlenecks of few", method: "GET", path: "/v1/analytics/bottlenecks"},
	{name: "dlq", method: "GET", path: "/v1/dlq"},
	{name: "dlq of a status", method: "GET", path: "/v1/dlq?resolution_status=Pending&limit=5"},
	{name: "dlq of an unknown status", method: "GET", path: "/v1/dlq?resolution_status=odd"},
	{name: "dlq of a task", method: "GET", path: "/v1/dlq/task/{good}"},
	{name: "dlq of a bad id", method: "GET", path: "/v1/dlq/task/x"},
	{name: "dlq entry", method: "PATCH", path: "/v1/dlq/entry/{unknown}", body: `{"resolution_status": "ManuallyResolved", "resolution_notes": "x", "resolved_by": "ada"}`},
	{name: "dlq entry without a body", method: "PATCH", path: "/v1/dlq/entry/{unknown}"},
	{name: "dlq entry of an unknown status", method: "PATCH", path: "/v1/dlq/entry/{unknown}", body: `{"resolution_status": "odd"}`},
	{name: "dlq statistics", method: "GET", path: "/v1/dlq/stats"},
	{name: "dlq queue", method: "GET", path: "/v1/dlq/investigation-queue"},
	{name: "dlq staleness", method: "GET", path: "/v1/dlq/staleness"},
	{name: "create with a known key", method: "POST", path: "/v1/tasks", body: `{"name": "order", "namespace": "shop", "version": "1.0.0", "context": {"amount": 7},
		"initiator": "desk", "source_system": "crm", "reason": "tests", "idempotency_key": "key-1"}`},
}
