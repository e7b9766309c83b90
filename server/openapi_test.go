package server_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/server"
	"github.com/tasker-systems/taskerpy/server/auth"
)

func decode[T any](t *testing.T, rec *httptest.ResponseRecorder) T {
	t.Helper()
	require.Equal(t, http.StatusOK, rec.Code, rec.Body.String())
	var v T
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &v), rec.Body.String())
	return v
}

// document is the OpenAPI document of a server.
func document(t *testing.T, s *server.Server) map[string]any {
	t.Helper()
	return decode[map[string]any](t, askServer(t, s, http.MethodGet, "/api-docs/openapi.json", ""))
}

func fullServer() *server.Server {
	return server.New(server.Options{
		Engine: &fake{}, Version: "1.2.3", Metrics: http.NotFoundHandler(), Lanes: func() any { return 1 },
		Events: func() server.EventStats { return server.EventStats{} },
	})
}

func TestTheDocumentTellsOfEveryRouteAndOfNoOther(t *testing.T) {
	for what, s := range map[string]*server.Server{"everything": fullServer(), "the least": server.New(server.Options{Engine: &fake{}})} {
		var served, told []string
		require.NoError(t, chi.Walk(s.Handler().(chi.Routes), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
			served = append(served, method+" "+route)
			return nil
		}))
		for path, operations := range document(t, s)["paths"].(map[string]any) {
			for method := range operations.(map[string]any) {
				told = append(told, strings.ToUpper(method)+" "+path)
			}
		}
		slices.Sort(served)
		slices.Sort(told)
		require.Equal(t, served, told, what)
	}
}

func TestTheDocumentIsWellFormed(t *testing.T) {
	d := document(t, fullServer())
	require.Equal(t, "3.1.0", d["openapi"])
	require.Equal(t, "1.2.3", d["info"].(map[string]any)["version"])
	ids := map[string]bool{}
	for path, operations := range d["paths"].(map[string]any) {
		for method, o := range operations.(map[string]any) {
			o := o.(map[string]any)
			id := o["operationId"].(string)
			require.False(t, ids[id], "operation %s appears twice", id)
			ids[id] = true
			require.NotEmpty(t, o["summary"], id)
			require.Contains(t, o["responses"], "200", id)
			var named []string
			if parameters, ok := o["parameters"].([]any); ok {
				for _, p := range parameters {
					p := p.(map[string]any)
					if p["in"] == "path" {
						named = append(named, "{"+p["name"].(string)+"}")
					}
				}
			}
			for _, part := range strings.Split(path, "/") {
				if strings.HasPrefix(part, "{") {
					require.Contains(t, named, part, id)
				}
			}
			require.Equal(t, method == "post" || method == "patch", o["requestBody"] != nil, id)
		}
	}
	for _, operations := range d["paths"].(map[string]any) {
		for _, o := range operations.(map[string]any) {
			links, _ := o.(map[string]any)["responses"].(map[string]any)["200"].(map[string]any)["links"].(map[string]any)
			for name, link := range links {
				require.True(t, ids[link.(map[string]any)["operationId"].(string)], name)
			}
		}
	}
	// Every reference leads somewhere.
	var walk func(value any)
	walk = func(value any) {
		switch v := value.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				name := strings.TrimPrefix(ref, "#/components/schemas/")
				require.Contains(t, d["components"].(map[string]any)["schemas"], name)
			}
			for _, inner := range v {
				walk(inner)
			}
		case []any:
			for _, inner := range v {
				walk(inner)
			}
		}
	}
	walk(d)
}

func TestTheExamplesOfTheDocumentCreateTasks(t *testing.T) {
	s := openShop(t)
	require.NoError(t, s.engine.Register(t.Context(), parseTemplate(t, `{name: free, namespace_name: shop, version: 1.0.0, steps: [{name: a, handler: {callable: A}}]}`)))
	create := document(t, s.server)["paths"].(map[string]any)["/v1/tasks"].(map[string]any)["post"].(map[string]any)
	examples := create["requestBody"].(map[string]any)["content"].(map[string]any)["application/json"].(map[string]any)["examples"].(map[string]any)
	require.Len(t, examples, 2)
	body, err := json.Marshal(examples["shop/free@1.0.0"].(map[string]any)["value"])
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, s.ask(http.MethodPost, "/v1/tasks", string(body)).Code)
}

func TestTheDocumentNamesTheWaysToAuthenticate(t *testing.T) {
	open := document(t, fullServer())
	require.NotContains(t, open["components"], "securitySchemes")
	s := server.New(server.Options{Engine: &fake{}, Auth: auth.New(auth.Options{APIKeys: []auth.APIKey{auth.NewAPIKey("k", "", auth.Everything())}})})
	d := document(t, s)
	require.Equal(t, map[string]any{"apiKey": map[string]any{"type": "apiKey", "in": "header", "name": "X-API-Key"}},
		d["components"].(map[string]any)["securitySchemes"])
	list := d["paths"].(map[string]any)["/v1/tasks"].(map[string]any)["get"].(map[string]any)
	require.Contains(t, list["description"], "tasks:list")
	require.Equal(t, []any{map[string]any{"apiKey": []any{}}}, list["security"])
	require.Contains(t, list["responses"], "401")
	require.NotContains(t, d["paths"].(map[string]any)["/health"].(map[string]any)["get"], "security")
}

// conformity holds answers against the document that the same server gives.
type conformity struct {
	t        *testing.T
	s        *shop
	doc      map[string]any
	compiler *jsonschema.Compiler
	met      map[string]bool // operation and status
}

func newConformity(t *testing.T, s *shop) *conformity {
	t.Helper()
	raw := s.ask(http.MethodGet, "/api-docs/openapi.json", "").Body.Bytes()
	resource, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	require.NoError(t, err)
	c := &conformity{t: t, s: s, doc: resource.(map[string]any), compiler: jsonschema.NewCompiler(), met: map[string]bool{}}
	c.compiler.AssertFormat()
	require.NoError(t, c.compiler.AddResource("doc.json", resource))
	return c
}

// ask sends a request for an operation; its answer must be one that the
// document tells of, and body must be so too if it was taken.
func (c *conformity) ask(id, path, body string) *httptest.ResponseRecorder {
	c.t.Helper()
	route, method, operation := c.find(id)
	rec := c.s.ask(strings.ToUpper(method), path, body)
	status := http.StatusText(rec.Code)
	responses := operation["responses"].(map[string]any)
	code := decodeStatus(rec.Code)
	require.Contains(c.t, responses, code, "%s answers %s", id, status)
	content := responses[code].(map[string]any)["content"].(map[string]any)
	media, _, _ := strings.Cut(rec.Header().Get("Content-Type"), ";")
	require.Contains(c.t, content, media, id)
	c.check("#/paths/"+escaped(route)+"/"+method+"/responses/"+code+"/content/"+escaped(media)+"/schema", rec.Body.Bytes(), id)
	if body != "" && rec.Code == http.StatusOK {
		c.check("#/paths/"+escaped(route)+"/"+method+"/requestBody/content/application~1json/schema", []byte(body), id)
	}
	c.met[id+" "+code] = true
	return rec
}

func decodeStatus(code int) string { data, _ := json.Marshal(code); return string(data) }

func escaped(s string) string {
	return strings.NewReplacer("%", "%25", "{", "%7B", "}", "%7D").Replace(strings.NewReplacer("~", "~0", "/", "~1").Replace(s))
}

func (c *conformity) check(pointer string, body []byte, id string) {
	c.t.Helper()
	s, err := c.compiler.Compile("doc.json" + pointer)
	require.NoError(c.t, err)
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	require.NoError(c.t, err, string(body))
	require.NoError(c.t, s.Validate(value), "%s: %s", id, body)
}

func (c *conformity) find(id string) (route, method string, operation map[string]any) {
	c.t.Helper()
	for route, operations := range c.doc["paths"].(map[string]any) {
		for method, o := range operations.(map[string]any) {
			if o := o.(map[string]any); o["operationId"] == id {
				return route, method, o
			}
		}
	}
	require.Fail(c.t, "no operation "+id)
	return "", "", nil
}

// untested are the operations whose answers are not JSON of this server's.
var untested = []string{"followTask", "getMetrics", "getLanes", "countDomainEvents"}

func TestAnswersAreAsTheDocumentSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStale(t)
		c := newConformity(t, s)
		for _, id := range []string{"health", "live", "ready", "detailed"} {
			path := "/health"
			if id != "health" {
				path += "/" + id
			}
			c.ask(id, path, "")
		}
		c.ask("getConfiguration", "/config", "")
		c.ask("getOpenAPI", "/api-docs/openapi.json", "")
		c.ask("listTemplates", "/v1/templates?namespace=shop", "")
		c.ask("getTemplate", "/v1/templates/shop/order_intake/1.2.0?configuration=true", "")
		c.ask("getTemplate", "/v1/templates/shop/order_intake/7", "")

		c.ask("createTask", "/v1/tasks", orderRequest("A-1"))
		for _, body := range []string{orderRequest("A-1"), `{"name": 3}`, `{`, strings.Replace(orderRequest("A-2"), "1.2.0", "7", 1)} {
			require.NotEqual(t, 200, c.ask("createTask", "/v1/tasks", body).Code)
		}
		done := s.create("done")
		s.work(done, dispatch.Success)
		failed := s.failed("failed")
		cancelled, stale := s.create("cancelled"), s.create("stale")
		_, err := s.engine.Cancel(t.Context(), cancelled.TaskUUID)
		require.NoError(t, err)
		c.ask("cancelTask", "/v1/tasks/"+s.create("other").TaskUUID.String(), "")
		c.ask("cancelTask", "/v1/tasks/"+cancelled.TaskUUID.String(), "")
		pass(40 * time.Minute) // what nobody works on gets stale

		for _, task := range []string{done.TaskUUID.String(), failed.TaskUUID.String(), cancelled.TaskUUID.String(), stale.TaskUUID.String(), taskID.String(), "seven"} {
			c.ask("getTask", "/v1/tasks/"+task, "")
			c.ask("summarizeTask", "/v1/tasks/"+task+"/summary", "")
			c.ask("listSteps", "/v1/tasks/"+task+"/workflow_steps", "")
			c.ask("getDeadLetter", "/v1/dlq/task/"+task, "")
		}
		c.ask("listTasks", "/v1/tasks?per_page=2&true_status=true", "")
		c.ask("listTasks", "/v1/tasks?page=0", "")

		check := s.stepPath(failed, "check_order")
		c.ask("getStep", check, "")
		c.ask("getStep", "/v1/tasks/"+failed.TaskUUID.String()+"/workflow_steps/"+stepID.String(), "")
		c.ask("auditStep", check+"/audit", "")
		c.ask("auditStep", s.stepPath(done, "check_order")+"/audit", "")
		c.ask("changeStep", check, resetAction)
		c.ask("changeStep", check, resetAction) // not in error any more
		c.ask("changeStep", check, completeAction)
		c.ask("changeStep", s.stepPath(failed, "close_order"), resolveAction)
		c.ask("changeStep", check, `{"action_type": "explode"}`)

		c.ask("listDeadLetters", "/v1/dlq?limit=2", "")
		c.ask("listDeadLetters", "/v1/dlq?limit=none", "")
		c.ask("countDeadLetters", "/v1/dlq/stats", "")
		c.ask("listInvestigations", "/v1/dlq/investigation-queue", "")
		c.ask("listStaleTasks", "/v1/dlq/staleness", "")
		entry := read[map[string]any](s, http.MethodGet, "/v1/dlq/task/"+stale.TaskUUID.String(), "")["dlq_entry_uuid"].(string)
		c.ask("updateDeadLetter", "/v1/dlq/entry/"+entry, `{"resolution_status": "ManuallyResolved", "resolution_notes": "n", "metadata": {"a": 1}}`)
		c.ask("updateDeadLetter", "/v1/dlq/entry/"+stepID.String(), `{"resolution_status": "ManuallyResolved"}`)
		c.ask("countDeadLetters", "/v1/dlq/stats", "")
		c.ask("getPerformance", "/v1/analytics/performance?hours=1", "")
		c.ask("getBottlenecks", "/v1/analytics/bottlenecks?min_executions=1", "")

		for route, operations := range c.doc["paths"].(map[string]any) {
			for _, o := range operations.(map[string]any) {
				if id := o.(map[string]any)["operationId"].(string); !slices.Contains(untested, id) {
					require.True(t, c.met[id+" 200"], "%s of %s was not answered", id, route)
				}
			}
		}
	})
}
