package server_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

func TestPerformanceOverREST(t *testing.T) {
	s := openShop(t)
	s.work(s.create("A-1"), dispatch.Success)
	s.failed("A-2")
	p := read[map[string]any](s, http.MethodGet, "/v1/analytics/performance", "")
	for key, want := range map[string]any{
		"total_tasks": 2.0, "completed_tasks": 1.0, "failed_tasks": 1.0, "active_tasks": 0.0, "completion_rate": 50.0, "error_rate": 50.0,
		"system_health_score": 0.5,
	} {
		require.Equal(t, want, p[key], key)
	}
	require.InDelta(t, 2.0/24, p["tasks_per_hour"], 1e-9)
	require.InDelta(t, 2.0/24, p["steps_per_hour"], 1e-9)
	require.Len(t, p, 13)
	hour := read[map[string]any](s, http.MethodGet, "/v1/analytics/performance?hours=0", "")
	require.Equal(t, 2.0, hour["tasks_per_hour"])
	for _, query := range []string{"hours=-1", "hours=8761", "hours=x", "hours="} {
		requireProblem(t, s.ask(http.MethodGet, "/v1/analytics/performance?"+query, ""), 400, "BAD_REQUEST", "hours must be a number from 0 to 8760")
	}
}

func TestBottlenecksOverREST(t *testing.T) {
	s := openShop(t)
	s.work(s.create("A-1"), dispatch.Success)
	b := read[map[string]any](s, http.MethodGet, "/v1/analytics/bottlenecks", "")
	require.Equal(t, []any{}, b["slow_steps"], "nothing ran five times")
	require.Equal(t, []any{}, b["slow_tasks"])
	require.Equal(t, []any{}, b["recommendations"])
	counts := b["resource_utilization"].(map[string]any)["system_health"].(map[string]any)
	require.Equal(t, 1.0, counts["complete_tasks"])
	require.Equal(t, 2.0, counts["complete_steps"])
	require.Len(t, counts, 12+10+2)
	b = read[map[string]any](s, http.MethodGet, "/v1/analytics/bottlenecks?min_executions=1&limit=1", "")
	require.Len(t, b["slow_steps"], 1)
	require.Len(t, b["slow_steps"].([]any)[0], 10)
	require.Len(t, b["slow_tasks"].([]any)[0], 10)
	for query, mentions := range map[string]string{"limit=0": "limit", "limit=101": "1 to 100", "min_executions=-1": "min_executions"} {
		requireProblem(t, s.ask(http.MethodGet, "/v1/analytics/bottlenecks?"+query, ""), 400, "BAD_REQUEST", mentions)
	}
}
