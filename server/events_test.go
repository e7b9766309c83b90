package server_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/server"
)

func TestEventStatsHaveTheReferencesKeys(t *testing.T) {
	s := server.New(server.Options{Engine: &fake{}, WorkerID: "w1", Events: func() server.EventStats {
		return server.EventStats{
			Routed: 9, Durable: 2, Fast: 4, Broadcast: 3, FastErrors: 1, RoutingErrors: 5, Subscribers: 6, Lost: 2,
		}
	}})
	rec := askServer(t, s, http.MethodGet, "/metrics/events", "")
	require.Equal(t, http.StatusOK, rec.Code)
	var body map[string]any
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &body))
	_, err := time.Parse(time.RFC3339Nano, body["captured_at"].(string))
	require.NoError(t, err)
	delete(body, "captured_at")
	got, err := json.Marshal(body)
	require.NoError(t, err)
	require.JSONEq(t, `{
	  "router": {"total_routed": 9, "durable_routed": 2, "fast_routed": 4, "broadcast_routed": 3,
	             "fast_delivery_errors": 1, "routing_errors": 5},
	  "in_process_bus": {"total_events_dispatched": 7, "rust_handler_dispatches": 0, "ffi_channel_dispatches": 5,
	                     "rust_handler_errors": 0, "ffi_channel_drops": 2, "rust_subscriber_patterns": 0,
	                     "rust_handler_count": 0, "ffi_subscriber_count": 6},
	  "worker_id": "w1"}`, string(got))
}

func TestWithoutEventsThereIsNoRouteForThem(t *testing.T) {
	requireProblem(t, ask(t, &fake{}, http.MethodGet, "/metrics/events", ""), http.StatusNotFound, "NOT_FOUND", "/metrics/events")
}
