package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/postgres"
	"github.com/tasker-systems/taskerpy/server"
	"github.com/tasker-systems/taskerpy/server/auth"
	"github.com/tasker-systems/taskerpy/template"
)

// deployment is a source that answers what a test tells it to.
type deployment struct {
	stats     func() postgres.Stats
	pool      postgres.Pool
	queuePool postgres.Pool
	depths    []postgres.QueueDepth
	ping      func(ctx context.Context) error
	health    error
	deaf      bool // notifications are not heard
	queuesErr error
}

func (d *deployment) Stats() postgres.Stats {
	if d.stats == nil {
		return postgres.Stats{}
	}
	return d.stats()
}

func (d *deployment) Pool() postgres.Pool { return d.pool }

func (d *deployment) QueuePool() postgres.Pool { return d.queuePool }

func (d *deployment) QueueDepths(context.Context) ([]postgres.QueueDepth, error) {
	return d.depths, d.queuesErr
}

func (d *deployment) Ping(ctx context.Context) error {
	if d.ping == nil {
		return nil
	}
	return d.ping(ctx)
}

func (d *deployment) Health() error        { return d.health }
func (d *deployment) Listening() bool      { return !d.deaf }
func (d *deployment) Namespaces() []string { return []string{"shop"} }
func (d *deployment) UUID() uuid.UUID      { return taskID }

const restID = "worker-01900000-0000-7000-8000-000000000001"

func shopTemplate(t *testing.T) *template.Template {
	return parseTemplate(t, `
name: order_intake
namespace_name: shop
version: 1.2.0
steps:
  - name: check_order
    handler: {callable: shop.orders.CheckOrder, initialization: {limit: 5}}
  - name: ship_order
    handler: {callable: shop.orders.ShipOrder}
    dependencies: [check_order]
environments:
  test:
    steps:
      - name: check_order
        timeout_seconds: 7
`)
}

func askWorker(t *testing.T, o server.WorkerOptions, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	return askOf(server.NewWorker(o), method, path, nil)
}

func askOf(w *server.Worker, method, path string, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	maps.Copy(r.Header, header)
	rec := httptest.NewRecorder()
	w.Handler().ServeHTTP(rec, r)
	return rec
}

type object = map[string]any

// keysOf are the keys of an object, sorted.
func keysOf(o any) []string { return slices.Sorted(maps.Keys(o.(object))) }

func TestAWorkersHealthHasExactlyTheFieldsOfTheSpec(t *testing.T) {
	for path, status := range map[string]string{"/health": "healthy", "/health/live": "alive"} {
		body := decode[object](t, askWorker(t, server.WorkerOptions{Deployment: &deployment{health: errors.New("gone")}}, http.MethodGet, path))
		require.Equal(t, []string{"status", "timestamp", "worker_id"}, keysOf(body), path)
		require.Equal(t, status, body["status"], path)
		require.Equal(t, restID, body["worker_id"], path)
	}
}

func TestAWorkersReadinessHasExactlyTheFieldsOfTheSpec(t *testing.T) {
	body := decode[object](t, askWorker(t, server.WorkerOptions{
		Deployment:  &deployment{pool: postgres.Pool{Size: 5, Idle: 4, Max: 25, Acquires: 90, AcquireWait: 9 * time.Millisecond, Waits: 1, LongestWait: 2 * time.Millisecond, Errors: 2}, queuePool: postgres.Pool{Size: 2, Idle: 2, Max: 4}},
		Environment: "test", Version: "1.2.3",
	}, http.MethodGet, "/health/ready"))
	require.Equal(t, []string{"checks", "status", "system_info", "timestamp", "worker_id"}, keysOf(body))
	require.Equal(t, "ready", body["status"])
	require.Equal(t, []string{"command_processor", "database", "queue_processing"}, keysOf(body["checks"]))
	for name, check := range body["checks"].(object) {
		require.Equal(t, []string{"duration_ms", "last_checked", "message", "status"}, keysOf(check), name)
		require.Equal(t, "healthy", check.(object)["status"], name)
	}
	system := body["system_info"].(object)
	pools := system["pool_utilization"].(object)
	require.Equal(t, []string{"pgmq_pool", "tasker_pool"}, keysOf(pools))
	require.Equal(t, object{
		"active_connections": 1.0, "idle_connections": 4.0, "max_connections": 25.0, "utilization_percent": 4.0, "total_acquires": 90.0,
		"slow_acquires": 1.0, "acquire_errors": 2.0, "average_acquire_time_ms": 0.1, "max_acquire_time_ms": 2.0,
	}, pools["tasker_pool"])
	require.EqualValues(t, 2, pools["pgmq_pool"].(object)["idle_connections"])
	require.EqualValues(t, 4, pools["pgmq_pool"].(object)["max_connections"])
	delete(system, "pool_utilization")
	require.Equal(t, object{
		"version": "1.2.3", "environment": "test", "uptime_seconds": 0.0, "worker_type": "command_processor",
		"database_pool_size": 5.0, "command_processor_active": true, "supported_namespaces": []any{"shop"},
	}, system)
}

// requireNotReady checks the form of a worker's errors, and what it says.
func requireNotReady(t *testing.T, rec *httptest.ResponseRecorder, mentions string) {
	t.Helper()
	require.Equal(t, http.StatusServiceUnavailable, rec.Code, rec.Body.String())
	var body object
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &body))
	require.Equal(t, []string{"error", "message", "request_id", "timestamp"}, keysOf(body))
	require.Equal(t, "service_unavailable", body["error"])
	require.Contains(t, body["message"], mentions)
	_, err := uuid.FromString(body["request_id"].(string))
	require.NoError(t, err)
	require.NotEmpty(t, rec.Header().Get("Retry-After"))
}

func TestAWorkerIsNotReadyWithoutItsDatabase(t *testing.T) {
	gone := errors.New("connection refused")
	requireNotReady(t, askWorker(t, server.WorkerOptions{Deployment: &deployment{ping: func(context.Context) error { return gone }}},
		http.MethodGet, "/health/ready"), "connection refused")
	requireNotReady(t, askWorker(t, server.WorkerOptions{Deployment: &deployment{health: gone}}, http.MethodGet, "/health/ready"), "connection refused")
}

func TestAWorkerIsNotReadyWhileItDrains(t *testing.T) {
	w := server.NewWorker(server.WorkerOptions{Deployment: &deployment{}})
	require.Equal(t, http.StatusOK, askOf(w, http.MethodGet, "/health/ready", nil).Code)
	w.Drain()
	requireNotReady(t, askOf(w, http.MethodGet, "/health/ready", nil), "draining")
	require.Equal(t, http.StatusOK, askOf(w, http.MethodGet, "/health/live", nil).Code)
	require.Equal(t, "degraded", decode[object](t, askOf(w, http.MethodGet, "/health/detailed", nil))["status"])
}

func TestReadinessDoesNotDependOnHowBusyTheHandlersAre(t *testing.T) {
	for what, o := range map[string]server.WorkerOptions{
		"every lane is stuck": {Deployment: &deployment{}, Dispatch: func() dispatch.Stats { return dispatch.Stats{Running: 16, Lanes: 16, Stuck: 16, Queued: 500} }},
		"full queues":         {Deployment: &deployment{depths: []postgres.QueueDepth{{Namespace: "shop", Messages: 1_000_000}}}},
		"failing steps":       {Deployment: &deployment{}, Steps: func() (uint64, uint64) { return 1, 99 }},
		"no notifications":    {Deployment: &deployment{deaf: true}},
		"queues unknown":      {Deployment: &deployment{queuesErr: errors.New("slow")}},
	} {
		require.Equal(t, http.StatusOK, askWorker(t, o, http.MethodGet, "/health/ready").Code, what)
	}
}

// A pool whose connections are all in use, by statements that go well, is a
// busy worker and not a lost database.
func TestABusyPoolDoesNotTurnReadinessRed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		statements := uint64(0)
		hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		busy := &deployment{ping: hang, stats: func() postgres.Stats { statements++; return postgres.Stats{CompleteBatches: statements} }}
		require.Equal(t, http.StatusOK, askWorker(t, server.WorkerOptions{Deployment: busy}, http.MethodGet, "/health/ready").Code)
		requireNotReady(t, askWorker(t, server.WorkerOptions{Deployment: &deployment{ping: hang}}, http.MethodGet, "/health/ready"), "deadline exceeded")
	})
}

func TestHealthWaitsASecondForTheDatabaseAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := server.NewWorker(server.WorkerOptions{Deployment: &deployment{ping: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}})
		began := time.Now()
		askOf(w, http.MethodGet, "/health/ready", nil)
		require.Equal(t, time.Second, time.Since(began))
		began = time.Now()
		askOf(w, http.MethodGet, "/health", nil)
		askOf(w, http.MethodGet, "/health/live", nil)
		require.Zero(t, time.Since(began))
	})
}

func TestHoweverManyAskTheDatabaseIsAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pings := make(chan struct{}, 100)
		answer := make(chan struct{})
		w := server.NewWorker(server.WorkerOptions{Deployment: &deployment{ping: func(context.Context) error {
			pings <- struct{}{}
			<-answer
			return nil
		}}})
		codes := make(chan int, 20)
		for range 20 {
			go func() { codes <- askOf(w, http.MethodGet, "/health/ready", nil).Code }()
		}
		synctest.Wait()
		require.Len(t, pings, 1)
		close(answer)
		for range 20 {
			require.Equal(t, http.StatusOK, <-codes)
		}
	})
}

func TestDetailedHealthShowsEveryPartAndAlwaysAnswers(t *testing.T) {
	detailed := func(o server.WorkerOptions) (status string, checks object) {
		body := decode[object](t, askWorker(t, o, http.MethodGet, "/health/detailed"))
		require.Equal(t, []string{
			"circuit_breakers", "command_processor", "database", "event_system", "queue_processing", "step_processing",
		}, keysOf(body["checks"]))
		return body["status"].(string), body["checks"].(object)
	}
	status, _ := detailed(server.WorkerOptions{Deployment: &deployment{}})
	require.Equal(t, "healthy", status)
	for _, c := range []struct {
		o            server.WorkerOptions
		check, state string
	}{
		{server.WorkerOptions{Deployment: &deployment{deaf: true}}, "event_system", "degraded"},
		{server.WorkerOptions{Deployment: &deployment{health: errors.New("gone")}}, "database", "unhealthy"},
		{server.WorkerOptions{Deployment: &deployment{health: errors.New("gone")}}, "circuit_breakers", "unhealthy"},
		{server.WorkerOptions{Deployment: &deployment{depths: []postgres.QueueDepth{{Messages: 9_999}, {Messages: 1}}}}, "queue_processing", "degraded"},
		{server.WorkerOptions{Deployment: &deployment{depths: []postgres.QueueDepth{{Messages: 50_000}}}}, "queue_processing", "unhealthy"},
		{server.WorkerOptions{Deployment: &deployment{}, Steps: func() (uint64, uint64) { return 95, 5 }}, "step_processing", "degraded"},
		{server.WorkerOptions{Deployment: &deployment{}, Steps: func() (uint64, uint64) { return 85, 15 }}, "step_processing", "unhealthy"},
		{server.WorkerOptions{Deployment: &deployment{}, Dispatch: func() dispatch.Stats { return dispatch.Stats{Stuck: 1} }}, "command_processor", "degraded"},
	} {
		status, checks := detailed(c.o)
		require.Equal(t, "degraded", status, c.check)
		require.Equal(t, c.state, checks[c.check].(object)["status"], c.check)
	}
}

func TestAWorkerAnswersUnknownPathsWithNothing(t *testing.T) {
	rec := askWorker(t, server.WorkerOptions{Deployment: &deployment{}}, http.MethodGet, "/v1/handlers")
	require.Equal(t, http.StatusNotFound, rec.Code)
	require.Empty(t, rec.Body.String())
}

func TestAWorkersNumbers(t *testing.T) {
	body := decode[object](t, askWorker(t, server.WorkerOptions{Deployment: &deployment{
		pool: postgres.Pool{Size: 3}, depths: []postgres.QueueDepth{{Namespace: "shop", Messages: 7, Oldest: 90 * time.Second}},
	}}, http.MethodGet, "/metrics/worker"))
	require.Equal(t, []string{"metrics", "timestamp", "worker_id"}, keysOf(body))
	metrics := body["metrics"].(object)
	require.Equal(t, []string{"database_pool_size", "queue_depth_shop", "queue_oldest_message_age_shop", "uptime_seconds"}, keysOf(metrics))
	for name, value := range map[string]float64{"database_pool_size": 3, "queue_depth_shop": 7, "queue_oldest_message_age_shop": 90} {
		m := metrics[name].(object)
		require.Equal(t, []string{"help", "labels", "metric_type", "value"}, keysOf(m))
		require.Equal(t, value, m["value"], name)
		require.Equal(t, "gauge", m["metric_type"], name)
		require.Equal(t, object{}, m["labels"], name)
	}
	require.Equal(t, "counter", metrics["uptime_seconds"].(object)["metric_type"])
}

func TestAWorkerCountsDomainEvents(t *testing.T) {
	body := decode[object](t, askWorker(t, server.WorkerOptions{
		Deployment: &deployment{},
		Events: func() server.EventStats {
			return server.EventStats{Routed: 3, Durable: 1, Fast: 1, Broadcast: 1, Subscribers: 1}
		},
	}, http.MethodGet, "/metrics/events"))
	require.Equal(t, restID, body["worker_id"])
	require.Equal(t, object{
		"total_routed": 3.0, "durable_routed": 1.0, "fast_routed": 1.0, "broadcast_routed": 1.0, "fast_delivery_errors": 0.0, "routing_errors": 0.0,
	}, body["router"])
	require.Equal(t, []string{
		"ffi_channel_dispatches", "ffi_channel_drops", "ffi_subscriber_count", "rust_handler_count", "rust_handler_dispatches",
		"rust_handler_errors", "rust_subscriber_patterns", "total_events_dispatched",
	}, keysOf(body["in_process_bus"]))
}

func TestAWorkersTemplates(t *testing.T) {
	o := server.WorkerOptions{Deployment: &deployment{}, Templates: []*template.Template{shopTemplate(t)}, Environment: "test"}
	w := server.NewWorker(o)
	list := decode[object](t, askOf(w, http.MethodGet, "/v1/templates", nil))
	require.Equal(t, object{
		"supported_namespaces": []any{"shop"}, "template_count": 1.0, "cache_stats": nil,
		"worker_capabilities": []any{"command_processing", "database_access", "message_queues", "ffi_integration"},
	}, list)
	require.EqualValues(t, 0, decode[object](t, askOf(w, http.MethodGet, "/v1/templates?namespace=other", nil))["template_count"])

	one := decode[object](t, askOf(w, http.MethodGet, "/v1/templates/shop/order_intake/1.2.0", nil))
	require.Equal(t, []string{"access_count", "cache_age_seconds", "cached", "handler_metadata", "template"}, keysOf(one))
	require.Equal(t, []string{"environment", "resolved_at", "template"}, keysOf(one["template"]))
	require.Equal(t, "test", one["template"].(object)["environment"])
	configuration := one["template"].(object)["template"].(object)
	require.Equal(t, "shop", configuration["namespace_name"])
	require.EqualValues(t, 7, configuration["steps"].([]any)[0].(object)["timeout_seconds"], "of the environment")
	metadata := one["handler_metadata"].(object)
	require.Equal(t, []string{
		"config_schema", "default_dependent_system", "handler_class", "name", "namespace", "registered_at", "version",
	}, keysOf(metadata))
	require.Equal(t, configuration, metadata["config_schema"])

	decode[object](t, askOf(w, http.MethodGet, "/v1/templates/shop/order_intake/1.2.0", nil))
	require.Equal(t, http.StatusNotFound, askOf(w, http.MethodGet, "/v1/templates/shop/order_intake/2.0.0", nil).Code)
	stats := decode[object](t, askOf(w, http.MethodGet, "/v1/templates?include_cache_stats=true", nil))["cache_stats"].(object)
	require.Equal(t, object{
		"total_cached": 1.0, "cache_hits": 2.0, "cache_misses": 1.0, "cache_evictions": 0.0, "oldest_entry_age_seconds": 0.0,
		"average_access_count": 2.0, "supported_namespaces": []any{"shop"},
	}, stats)
}

func TestAnUnknownTemplateIsToldInTheFormOfAWorker(t *testing.T) {
	rec := askWorker(t, server.WorkerOptions{Deployment: &deployment{}}, http.MethodGet, "/v1/templates/shop/none/1.0.0")
	require.Equal(t, http.StatusNotFound, rec.Code)
	var body object
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &body))
	require.Equal(t, "template_not_found", body["error"])
	require.Equal(t, "Template not found: shop/none/1.0.0", body["message"])
}

func TestAWorkerValidatesItsTemplates(t *testing.T) {
	o := server.WorkerOptions{Deployment: &deployment{}, Templates: []*template.Template{shopTemplate(t)}}
	require.Equal(t, object{
		"valid": true, "errors": []any{}, "required_capabilities": []any{},
		"step_handlers": []any{"shop.orders.CheckOrder", "shop.orders.ShipOrder"},
	}, decode[object](t, askWorker(t, o, http.MethodPost, "/v1/templates/shop/order_intake/1.2.0/validate")))
}

func TestAWorkerShowsItsConfigurationUnlessItMustNot(t *testing.T) {
	o := server.WorkerOptions{Deployment: &deployment{}, WorkerID: "worker-default-001", Environment: "test", Version: "1.2.3"}
	require.Equal(t, http.StatusNotFound, askWorker(t, o, http.MethodGet, "/config").Code)
	o.Config = func() any { return nil }
	body := decode[object](t, askWorker(t, o, http.MethodGet, "/config"))
	require.Equal(t, []string{"auth", "messaging", "metadata", "worker_id", "worker_type"}, keysOf(body))
	require.Equal(t, []string{"environment", "timestamp", "version"}, keysOf(body["metadata"]))
	require.Equal(t, "worker-default-001", body["worker_id"])
	require.Equal(t, "general", body["worker_type"])
	require.Equal(t, object{"backend": "pgmq", "queues": []any{"worker_shop_queue", "orchestration_step_results"}}, body["messaging"])
}

func TestAWorkerAsksForThePermissionsOfWorkers(t *testing.T) {
	grants, unknown := auth.ParseGrants([]string{"tasks:*", "templates:read", "system:config_read"})
	require.Empty(t, unknown)
	o := server.WorkerOptions{
		Deployment: &deployment{}, Templates: []*template.Template{shopTemplate(t)}, Config: func() any { return nil }, Lanes: func() any { return nil },
		Metrics: http.NotFoundHandler(),
		Auth:    auth.New(auth.Options{APIKeys: []auth.APIKey{auth.NewAPIKey("client", "a client", grants), auth.NewAPIKey("admin", "all", auth.Everything())}}),
	}
	w := server.NewWorker(o)
	header := func(key string) http.Header { return http.Header{"X-Api-Key": {key}} }
	for path, method := range map[string]string{
		"/config": http.MethodGet, "/v1/templates": http.MethodGet, "/v1/templates/shop/order_intake/1.2.0": http.MethodGet,
		"/v1/templates/shop/order_intake/1.2.0/validate": http.MethodPost, "/debug/lanes": http.MethodGet,
	} {
		require.Equal(t, http.StatusUnauthorized, askOf(w, method, path, nil).Code, path)
		refused := askOf(w, method, path, header("client"))
		require.Equal(t, http.StatusForbidden, refused.Code, path)
		require.Contains(t, refused.Body.String(), `"error":"authorization_failed"`)
		require.Equal(t, http.StatusOK, askOf(w, method, path, header("admin")).Code, path)
	}
	for _, path := range []string{"/health", "/health/live", "/health/ready", "/health/detailed", "/metrics/worker", "/metrics/events"} {
		require.Equal(t, http.StatusOK, askOf(w, http.MethodGet, path, nil).Code, path)
	}
}

func TestAWorkersDocumentTellsOfEveryRouteAndOfNoOther(t *testing.T) {
	w := server.NewWorker(server.WorkerOptions{
		Deployment: &deployment{}, Config: func() any { return nil }, Lanes: func() any { return nil }, Metrics: http.NotFoundHandler(),
	})
	var served, told []string
	require.NoError(t, chi.Walk(w.Handler().(chi.Routes), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		served = append(served, method+" "+route)
		return nil
	}))
	document := decode[object](t, askOf(w, http.MethodGet, "/api-docs/openapi.json", nil))
	for path, operations := range document["paths"].(object) {
		for method := range operations.(object) {
			told = append(told, strings.ToUpper(method)+" "+path)
		}
	}
	require.ElementsMatch(t, served, told)
	require.Contains(t, document["components"].(object)["schemas"], "WorkerError")
}

func TestAWorkerServesFromStartToStop(t *testing.T) {
	w := server.NewWorker(server.WorkerOptions{Deployment: &deployment{}})
	l, err := server.Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, w.StartOn(l))
	answer, err := client(t).Get("http://" + w.Addr() + "/health")
	require.NoError(t, err)
	require.Contains(t, readAll(t, answer.Body), restID)
	require.NoError(t, w.Stop(context.Background()))
	require.ErrorIs(t, w.Start(t.Context(), "127.0.0.1:0"), server.ErrStopped)
}
