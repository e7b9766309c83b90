package server_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/server"
)

type vitals struct {
	Status    string
	Timestamp time.Time
	WorkerID  string `json:"worker_id"`
	Checks    map[string]struct {
		Status, Message string
		DurationMS      *int `json:"duration_ms"`
	}
	Info map[string]any
}

func readVitals(t *testing.T, s *server.Server, path string) vitals {
	t.Helper()
	rec := askServer(t, s, http.MethodGet, path, "")
	require.Equal(t, http.StatusOK, rec.Code, rec.Body.String())
	var v vitals
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &v))
	require.WithinDuration(t, time.Now(), v.Timestamp, time.Minute)
	require.Equal(t, time.UTC, v.Timestamp.Location())
	return v
}

func stats() dispatch.Stats {
	return dispatch.Stats{Queued: 5, Running: 2, Lanes: 4, Idle: 2, Window: 20}
}

func TestHealthAndLivenessSayThatSomethingAnswers(t *testing.T) {
	broken := &fake{health: engine.ErrUnavailable}
	s := server.New(server.Options{Engine: broken, WorkerID: "w-1"})
	s.Drain()
	v := readVitals(t, s, "/health")
	require.Equal(t, "healthy", v.Status)
	require.Equal(t, "w-1", v.WorkerID)
	require.Equal(t, "alive", readVitals(t, s, "/health/live").Status)
}

func TestWithoutWorkerIDHealthHasExactlyTheFieldsOfTheSpec(t *testing.T) {
	var body map[string]any
	require.NoError(t, json.Unmarshal(ask(t, &fake{}, http.MethodGet, "/health", "").Body.Bytes(), &body))
	require.ElementsMatch(t, []string{"status", "timestamp"}, slices.Collect(maps.Keys(body)))
}

func TestReadinessShowsItsFiveChecks(t *testing.T) {
	s := server.New(server.Options{Engine: &fake{}, Dispatch: stats, Version: "1.2.3", Environment: "test"})
	v := readVitals(t, s, "/health/ready")
	require.Equal(t, "ready", v.Status)
	require.ElementsMatch(t, []string{
		"web_database", "orchestration_database", "circuit_breaker", "orchestration_system", "command_processor",
	}, slices.Collect(maps.Keys(v.Checks)))
	for name, c := range v.Checks {
		require.Equal(t, "healthy", c.Status, name)
		require.NotEmpty(t, c.Message, name)
		require.NotNil(t, c.DurationMS, name)
	}
	require.Equal(t, "1.2.3", v.Info["version"])
	require.Equal(t, "test", v.Info["environment"])
}

func TestReadinessFailsFromTheBeginningOfTheDrain(t *testing.T) {
	s := server.New(server.Options{Engine: &fake{}})
	require.Equal(t, http.StatusOK, askServer(t, s, http.MethodGet, "/health/ready", "").Code)
	s.Drain()
	rec := askServer(t, s, http.MethodGet, "/health/ready", "")
	requireProblem(t, rec, 503, "SERVICE_UNAVAILABLE", "draining")
	require.Equal(t, "5", rec.Header().Get("Retry-After"))
	require.True(t, s.Draining())
}

func TestReadinessFailsWhileNothingCanBeMadeDurable(t *testing.T) {
	e := &fake{health: fmt.Errorf("%w: disk full", engine.ErrUnavailable)}
	rec := ask(t, e, http.MethodGet, "/health/ready", "")
	requireProblem(t, rec, 503, "SERVICE_UNAVAILABLE", "disk full")
	require.Equal(t, "1", rec.Header().Get("Retry-After"))
	e.health = nil
	require.Equal(t, http.StatusOK, ask(t, e, http.MethodGet, "/health/ready", "").Code)
}

func TestReadinessDoesNotDependOnHandlerLoad(t *testing.T) {
	busy := func() dispatch.Stats { return dispatch.Stats{Queued: 1000, Running: 16, Lanes: 16, Longest: time.Hour} }
	s := server.New(server.Options{Engine: &fake{}, Dispatch: busy})
	require.Equal(t, "ready", readVitals(t, s, "/health/ready").Status)
	require.Equal(t, "healthy", readVitals(t, s, "/health/detailed").Status)
}

func TestDetailedHealthShowsTheQueues(t *testing.T) {
	s := server.New(server.Options{Engine: &fake{stats: engine.Stats{OpenTasks: 4, ReadySteps: 3}}, Dispatch: stats})
	v := readVitals(t, s, "/health/detailed")
	require.Equal(t, "healthy", v.Status)
	require.Len(t, v.Checks, 8)
	require.Contains(t, v.Checks["queue_depth"].Message, "4 tasks open; steps: 3 ready")
	require.Contains(t, v.Checks["channel_saturation"].Message, "5 steps queued")
	require.Contains(t, v.Checks["command_processor"].Message, "2 of 4 lanes asleep")
	require.Contains(t, v.Checks, "pool_utilization")
	require.Equal(t, "running", v.Info["operational_state"])
	require.Equal(t, "closed", v.Info["circuit_breaker_state"])
}

func TestDetailedHealthIsAnsweredWith200WhenDegraded(t *testing.T) {
	s := server.New(server.Options{Engine: &fake{health: engine.ErrUnavailable}, Dispatch: stats})
	v := readVitals(t, s, "/health/detailed")
	require.Equal(t, "degraded", v.Status)
	require.Equal(t, "unhealthy", v.Checks["orchestration_database"].Status)
	require.Equal(t, "healthy", v.Checks["orchestration_system"].Status)

	s = server.New(server.Options{Engine: &fake{}, Dispatch: stats})
	s.Drain()
	v = readVitals(t, s, "/health/detailed")
	require.Equal(t, "degraded", v.Status)
	require.Equal(t, "draining", v.Info["operational_state"])
	require.Equal(t, "healthy", v.Checks["orchestration_database"].Status)
}

func TestAStuckLaneDegradesTheProcessAndLeavesItReady(t *testing.T) {
	s := server.New(server.Options{Engine: &fake{}, Dispatch: func() dispatch.Stats { return dispatch.Stats{Stuck: 1} }})
	require.Equal(t, "ready", readVitals(t, s, "/health/ready").Status)
	v := readVitals(t, s, "/health/detailed")
	require.Equal(t, "degraded", v.Status)
	require.Contains(t, v.Checks["command_processor"].Message, "stuck lanes: 1")
}

func TestWhileDrainingNoTaskIsTakenAndEverythingElseAnswered(t *testing.T) {
	e := &fake{task: completeTask()}
	s := server.New(server.Options{Engine: e})
	s.Drain()
	rec := askServer(t, s, http.MethodPost, "/v1/tasks", minimalRequest)
	requireProblem(t, rec, 503, "SERVICE_UNAVAILABLE", "draining")
	require.Equal(t, "5", rec.Header().Get("Retry-After"))
	require.Empty(t, e.request)
	require.Equal(t, http.StatusOK, askServer(t, s, http.MethodGet, "/v1/tasks/"+taskID.String(), "").Code)
	require.Equal(t, http.StatusOK, askServer(t, s, http.MethodDelete, "/v1/tasks/"+taskID.String(), "").Code)
	require.Equal(t, http.StatusOK, askServer(t, s, http.MethodGet, "/v1/tasks", "").Code)
}
