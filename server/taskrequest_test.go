package server_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/server"
)

const minimalRequest = `{"name": "order_intake", "namespace": "shop", "version": "1.2.0", "context": {"order_id": "A-1"},
	"initiator": "cli", "source_system": "desk", "reason": "demo"}`

// with is the minimal request with more fields.
func with(more string) string { return strings.TrimSuffix(minimalRequest, "}") + ", " + more + "}" }

func TestAllFieldsOfATaskRequestReachTheEngine(t *testing.T) {
	e := &fake{}
	rec := ask(t, e, http.MethodPost, "/v1/tasks", with(`"tags": ["x", "y"], "requested_at": "2026-02-03T10:00:00.123456", "options": {"a": 1},
		"priority": -7, "correlation_id": "01900000-0000-7000-8000-000000000001", "parent_correlation_id": "01900000-0000-7000-8000-000000000002",
		"idempotency_key": "k-1", "something_else": [null]`))
	require.Equal(t, http.StatusOK, rec.Code, rec.Body.String())
	require.JSONEq(t, `{"order_id": "A-1"}`, string(e.request.Context))
	e.request.Context = nil
	require.Equal(t, engine.TaskRequest{
		Name: "order_intake", Namespace: "shop", Version: "1.2.0", Initiator: "cli", SourceSystem: "desk", Reason: "demo",
		Tags: []string{"x", "y"}, Priority: -7, CorrelationID: &taskID, ParentCorrelationID: &stepID, IdempotencyKey: ptr("k-1"),
	}, e.request)
}

func TestTheContextReachesTheEngineAsWritten(t *testing.T) {
	for _, context := range []string{
		`{"z": 1, "a": 123456789012345678901234567890.50, "z": "twice"}`, `[1]`, `null`, `"text"`, // judged by the engine
	} {
		e := &fake{}
		ask(t, e, http.MethodPost, "/v1/tasks", strings.Replace(minimalRequest, `{"order_id": "A-1"}`, context, 1))
		require.Equal(t, context, string(e.request.Context))
	}
}

func TestOptionalFieldsMayBeNull(t *testing.T) {
	e := &fake{}
	rec := ask(t, e, http.MethodPost, "/v1/tasks", with(`"tags": null, "requested_at": null, "options": null, "priority": null,
		"correlation_id": null, "parent_correlation_id": null, "idempotency_key": null`))
	require.Equal(t, http.StatusOK, rec.Code, rec.Body.String())
	require.Nil(t, e.request.CorrelationID)
	require.Nil(t, e.request.IdempotencyKey)
}

func TestABodyOfTheWrongShapeIsUnprocessable(t *testing.T) {
	for body, mentions := range map[string]string{
		`[]`:                                                   "must be a JSON object",
		`7`:                                                    "must be a JSON object",
		with(`"name": "again"`):                                "field name appears twice",
		with(`"priority": "high"`):                             `field priority must be a 32-bit integer; "high" is not`,
		with(`"priority": "5"`):                                "field priority",
		with(`"priority": 1.5`):                                "field priority",
		with(`"priority": 3000000000`):                         "field priority",
		with(`"tags": "x"`):                                    "field tags must be a list of strings",
		with(`"tags": ["x", 1]`):                               "field tags",
		with(`"tags": ["x", null]`):                            "item 1 is null",
		with(`"correlation_id": "seven"`):                      "field correlation_id must be a UUID",
		with(`"correlation_id": 7`):                            "field correlation_id",
		with(`"parent_correlation_id": ""`):                    "field parent_correlation_id",
		with(`"idempotency_key": 7`):                           "field idempotency_key must be a string",
		with(`"options": []`):                                  "field options must be an object",
		with(`"requested_at": "2026-02-03T10:00:00Z"`):         "field requested_at must be a time without a zone",
		with(`"requested_at": 7`):                              "field requested_at",
		strings.Replace(minimalRequest, `"demo"`, `null`, 1):   "field reason must be a string; null is not",
		strings.Replace(minimalRequest, `"shop"`, `7`, 1):      "field namespace must be a string; 7 is not",
		strings.Replace(minimalRequest, `"name"`, `"Name"`, 1): "field name is missing",
		`{"name": "n", "version": "1", "initiator": "a", "reason": "b"}`:    "field namespace is missing; it must be a string; field source_system is missing",
		strings.Replace(minimalRequest, `"context"`, `"input"`, 1):          "field context is missing",
		with(`"idempotency_key": [` + strings.Repeat(`"long",`, 50) + `0]`): "…",
	} {
		e := &fake{}
		requireProblem(t, ask(t, e, http.MethodPost, "/v1/tasks", body), http.StatusUnprocessableEntity, "UNPROCESSABLE_ENTITY", mentions)
		require.Empty(t, e.request, "the engine was asked nevertheless")
	}
}

func TestABodyThatIsNotJSONIsRefusedWithThePlace(t *testing.T) {
	for body, mentions := range map[string]string{
		"{\"name\": \"a\",\n \"größe\" 7}": "line 2, column 10",
		`{"name": "a"`:                     "not JSON",
		`{"name": "a"} trailing`:           "line 1, column 15",
		`{'name': 1}`:                      "line 1, column 2",
		"  ":                               "empty",
		"{\"name\": \"\xff\"}":             "not UTF-8",
	} {
		requireProblem(t, ask(t, &fake{}, http.MethodPost, "/v1/tasks", body), http.StatusBadRequest, "JSON_ERROR", mentions)
	}
}

func TestOnlyJSONIsTaken(t *testing.T) {
	for contentType, status := range map[string]int{
		"application/json": 200, "application/json; charset=utf-8": 200, "application/vnd.tasker+json": 200,
		"text/plain": 415, "application/x-www-form-urlencoded": 415, "": 415, "json": 415, "multipart/form-data": 415,
	} {
		r := httptest.NewRequest(http.MethodPost, "/v1/tasks", strings.NewReader(minimalRequest))
		if contentType != "" {
			r.Header.Set("Content-Type", contentType)
		}
		rec := httptest.NewRecorder()
		server.New(server.Options{Engine: &fake{}}).Handler().ServeHTTP(rec, r)
		require.Equal(t, status, rec.Code, contentType)
		if status == 415 {
			requireProblem(t, rec, 415, "UNSUPPORTED_MEDIA_TYPE", "application/json")
		}
	}
}

func TestABodyBeyondTheLimitIsTooLarge(t *testing.T) {
	body := with(`"x": "` + strings.Repeat("a", 2<<20) + `"`)
	requireProblem(t, ask(t, &fake{}, http.MethodPost, "/v1/tasks", body), http.StatusRequestEntityTooLarge, "PAYLOAD_TOO_LARGE", "2097152 bytes")
}

func TestABodyWithinTheLimitIsTaken(t *testing.T) {
	body := with(`"x": "` + strings.Repeat("a", 2<<20-1000) + `"`)
	require.Equal(t, http.StatusOK, ask(t, &fake{}, http.MethodPost, "/v1/tasks", body).Code)
}

func FuzzTaskRequest(f *testing.F) {
	for _, seed := range []string{minimalRequest, with(`"tags": [null]`), `{}`, `[`, "", "{\"a\":\xff}", `{"a":1,"a":2}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		e := &fake{}
		rec := ask(t, e, http.MethodPost, "/v1/tasks", body)
		switch rec.Code {
		case http.StatusOK:
			require.NotNil(t, e.request.Context)
		case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
			require.Equal(t, uuid.Nil, e.task.TaskUUID)
			require.Empty(t, e.request)
		default:
			t.Fatalf("status %d: %s", rec.Code, rec.Body)
		}
	})
}

func TestAPriorityMayBeSpelledAsJSONLikes(t *testing.T) {
	for text, want := range map[string]int32{"740.0": 740, "7.4e2": 740, "-0": 0, "-2147483648": -2147483648, "2147483647": 2147483647} {
		e := &fake{task: completeTask()}
		rec := ask(t, e, http.MethodPost, "/v1/tasks", with(`"priority": `+text))
		require.Equal(t, http.StatusOK, rec.Code, rec.Body.String())
		require.Equal(t, want, e.request.Priority, text)
	}
}
