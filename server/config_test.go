package server_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/server"
)

func TestConfigHasThePartsOfTheSpecAndWhatIsInEffectHere(t *testing.T) {
	s := server.New(server.Options{
		Engine: &fake{}, Version: "1.2.3",
		Config: func() any { return map[string]any{"listen": "127.0.0.1:8083", "database_url": "postgres://u:***@db/x"} },
	})
	rec := askServer(t, s, http.MethodGet, "/config", "")
	require.Equal(t, http.StatusOK, rec.Code)
	var all map[string]any
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &all))
	require.ElementsMatch(t, []string{
		"metadata", "auth", "circuit_breakers", "database_pools", "deployment_mode", "messaging", "configuration",
	}, slices.Collect(maps.Keys(all)))
	require.Equal(t, "127.0.0.1:8083", all["configuration"].(map[string]any)["listen"])
	metadata := all["metadata"].(map[string]any)
	require.Equal(t, "1.2.3", metadata["version"])
	require.Equal(t, "development", metadata["environment"])
	require.Equal(t, false, all["auth"].(map[string]any)["enabled"])
}

func TestLanesAreShownAsGiven(t *testing.T) {
	s := server.New(server.Options{Engine: &fake{}, Lanes: func() any { return map[string]any{"lanes": []string{"one"}} }})
	rec := askServer(t, s, http.MethodGet, "/debug/lanes", "")
	require.Equal(t, http.StatusOK, rec.Code)
	require.JSONEq(t, `{"lanes": ["one"]}`, rec.Body.String())
}

func TestMetricsAreServedByTheirHandler(t *testing.T) {
	s := server.New(server.Options{Engine: &fake{}, Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "tasker_lanes 1\n")
	})})
	rec := askServer(t, s, http.MethodGet, "/metrics", "")
	require.Equal(t, "tasker_lanes 1\n", rec.Body.String())
	requireProblem(t, askServer(t, s, http.MethodPost, "/metrics", ""), 405, "METHOD_NOT_ALLOWED")
}
