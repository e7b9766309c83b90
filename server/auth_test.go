package server_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/server"
	"github.com/tasker-systems/taskerpy/server/auth"
)

// guarded is a server that asks for API keys: one for each permission, with
// the permission's name as secret, and "all".
func guarded(t *testing.T, e server.Engine) *server.Server {
	t.Helper()
	keys := []auth.APIKey{auth.NewAPIKey("all", "everything", auth.Everything())}
	for _, p := range auth.Permissions() {
		g, unknown := auth.ParseGrants([]string{string(p)})
		require.Empty(t, unknown)
		keys = append(keys, auth.NewAPIKey(string(p), string(p), g))
	}
	return server.New(server.Options{
		Engine: e, Auth: auth.New(auth.Options{APIKeys: keys}), Metrics: http.NotFoundHandler(),
		Lanes: func() any { return 1 },
	})
}

func askAs(s *server.Server, method, path, key string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader("not JSON"))
	if key != "" {
		r.Header.Set("X-API-Key", key)
	}
	rec := httptest.NewRecorder()
	s.Handler().ServeHTTP(rec, r)
	return rec
}

// permissions says what each route asks for (engine-semantics §9.2).
var permissions = map[string]auth.Permission{
	"POST /v1/tasks":                                   auth.TasksCreate,
	"GET /v1/tasks":                                    auth.TasksList,
	"GET /v1/tasks/{task}":                             auth.TasksRead,
	"DELETE /v1/tasks/{task}":                          auth.TasksCancel,
	"GET /v1/tasks/{task}/summary":                     auth.TasksRead,
	"GET /v1/tasks/{task}/events":                      auth.TasksRead,
	"GET /v1/tasks/{task}/workflow_steps":              auth.StepsRead,
	"GET /v1/tasks/{task}/workflow_steps/{step}":       auth.StepsRead,
	"PATCH /v1/tasks/{task}/workflow_steps/{step}":     auth.StepsResolve,
	"GET /v1/tasks/{task}/workflow_steps/{step}/audit": auth.StepsRead,
	"GET /v1/templates":                                auth.TemplatesRead,
	"GET /v1/templates/{namespace}/{name}/{version}":   auth.TemplatesRead,
	"GET /v1/analytics/performance":                    auth.SystemAnalyticsRead,
	"GET /v1/analytics/bottlenecks":                    auth.SystemAnalyticsRead,
	"GET /v1/dlq":                                      auth.DLQRead,
	"GET /v1/dlq/task/{task}":                          auth.DLQRead,
	"PATCH /v1/dlq/entry/{entry}":                      auth.DLQUpdate,
	"GET /v1/dlq/stats":                                auth.DLQStats,
	"GET /v1/dlq/investigation-queue":                  auth.DLQRead,
	"GET /v1/dlq/staleness":                            auth.DLQRead,
	"GET /config":                                      auth.SystemConfigRead,
	"GET /debug/lanes":                                 auth.SystemHandlersRead,
	"GET /health":                                      "",
	"GET /health/live":                                 "",
	"GET /health/ready":                                "",
	"GET /health/detailed":                             "",
	"GET /metrics":                                     "",
	"GET /api-docs/openapi.json":                       "",
}

func TestEachRouteAsksForItsPermissionAndForNoOther(t *testing.T) {
	e, err := engine.Open(t.Context(), engine.Options{Path: ":memory:"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close(context.Background())) })
	s := guarded(t, e)
	seen := 0
	require.NoError(t, chi.Walk(s.Handler().(chi.Routes), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		seen++
		needed, known := permissions[method+" "+route]
		require.True(t, known, "%s %s", method, route)
		path := strings.NewReplacer("{task}", taskID.String(), "{step}", stepID.String(), "{entry}", stepID.String(), "{", "", "}", "").Replace(route)
		for _, p := range auth.Permissions() {
			rec := askAs(s, method, path, string(p))
			if needed == "" || p == needed {
				require.NotContains(t, []int{401, 403}, rec.Code, "%s %s as %s", method, path, p)
			} else {
				requireProblem(t, rec, 403, "AUTHORIZATION_FAILED", "Missing required permission: "+string(needed))
			}
		}
		require.NotContains(t, []int{401, 403}, askAs(s, method, path, "all").Code)
		if needed != "" {
			requireProblem(t, askAs(s, method, path, ""), 401, "UNAUTHORIZED", "X-API-Key")
		}
		return nil
	}))
	require.Equal(t, len(permissions), seen)
}

func TestRefusalsHaveTheHeadersOfTheSpec(t *testing.T) {
	s := guarded(t, &fake{})
	for key, want := range map[string]struct {
		status                  int
		code                    string
		reason, severity, retry string
	}{
		"":             {401, "UNAUTHORIZED", "missing", "low", ""},
		"wrong":        {401, "AUTHENTICATION_FAILED", "invalid", "high", "60"},
		"tasks:create": {403, "AUTHORIZATION_FAILED", "forbidden", "medium", "5"},
	} {
		rec := askAs(s, http.MethodGet, "/v1/tasks", key)
		requireProblem(t, rec, want.status, want.code)
		h := rec.Header()
		require.Equal(t, want.reason, h.Get("x-auth-failure-reason"))
		require.Equal(t, want.severity, h.Get("x-auth-failure-severity"))
		require.Equal(t, want.retry, h.Get("Retry-After"), key)
		require.Equal(t, want.status == 401, h.Get("WWW-Authenticate") == "Bearer")
	}
}

func TestThePermissionIsCheckedBeforeTheBodyIsRead(t *testing.T) {
	s := guarded(t, &fake{})
	requireProblem(t, askAs(s, http.MethodPost, "/v1/tasks", "tasks:read"), 403, "AUTHORIZATION_FAILED")
	requireProblem(t, askAs(s, http.MethodPost, "/v1/tasks", "tasks:create"), 415, "UNSUPPORTED_MEDIA_TYPE")
}

func TestWhatDoesNotExistNeedsNoCredentials(t *testing.T) {
	s := guarded(t, &fake{})
	requireProblem(t, askAs(s, http.MethodGet, "/v2/tasks", ""), 404, "NOT_FOUND")
	requireProblem(t, askAs(s, http.MethodPut, "/v1/tasks", ""), 405, "METHOD_NOT_ALLOWED")
}

func TestATokenOpensTheServer(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	s := server.New(server.Options{Engine: &fake{}, Auth: auth.New(auth.Options{Tokens: &auth.Tokens{Key: &key.PublicKey}})})
	as := func(valid time.Duration, permissions ...string) *httptest.ResponseRecorder {
		token, err := auth.Sign(key, auth.DefaultIssuer, auth.DefaultAudience, "ada", permissions, valid, time.Now())
		require.NoError(t, err)
		r := httptest.NewRequest(http.MethodGet, "/v1/tasks", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		rec := httptest.NewRecorder()
		s.Handler().ServeHTTP(rec, r)
		return rec
	}
	require.Equal(t, http.StatusOK, as(time.Hour, "tasks:*").Code)
	requireProblem(t, as(time.Hour, "steps:*"), 403, "AUTHORIZATION_FAILED", "tasks:list")
	expired := as(-time.Second, "tasks:*")
	requireProblem(t, expired, 401, "AUTHENTICATION_FAILED", "expired")
	require.Equal(t, "expired", expired.Header().Get("x-auth-failure-reason"))
}

func TestTheConfigurationTellsHowClientsAreKnown(t *testing.T) {
	type shown struct{ Auth map[string]any }
	none := decode[shown](t, ask(t, &fake{}, http.MethodGet, "/config", ""))
	require.Equal(t, false, none.Auth["enabled"])
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	s := server.New(server.Options{Engine: &fake{}, Auth: auth.New(auth.Options{
		Tokens: &auth.Tokens{Key: &key.PublicKey, Strict: true}, APIKeys: []auth.APIKey{auth.NewAPIKey("k", "secret thing", auth.Everything())},
	})})
	rec := askAs(s, http.MethodGet, "/config", "k")
	require.NotContains(t, rec.Body.String(), "secret thing")
	require.Equal(t, map[string]any{
		"enabled": true, "verification_method": "public_key", "jwt_issuer": "tasker-core", "jwt_audience": "tasker-api", "api_key_header": "X-API-Key",
		"api_key_count": 1.0, "strict_validation": true, "allowed_algorithms": []any{"RS256"},
	}, decode[shown](t, rec).Auth)
}
