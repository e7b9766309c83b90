package server

import (
	"math"
	"net/http"
)

const (
	defaultHours      = 24
	maxHours          = 24 * 365 // as the engine has it
	defaultSlow       = 10
	maxSlow           = 100
	defaultExecutions = 5
)

// performance is GET /v1/analytics/performance.
func (s *Server) performance(r *http.Request) (any, error) {
	query, err := parseQuery(r)
	if err != nil {
		return nil, err
	}
	hours, err := numberQuery(query, "hours", defaultHours, 0, maxHours)
	if err != nil {
		return nil, err
	}
	return answerOf(s.o.Engine.Performance(r.Context(), hours))
}

// bottlenecks is GET /v1/analytics/bottlenecks.
func (s *Server) bottlenecks(r *http.Request) (any, error) {
	query, err := parseQuery(r)
	if err != nil {
		return nil, err
	}
	limit, err := intQuery(query, "limit", defaultSlow, maxSlow)
	if err != nil {
		return nil, err
	}
	least, err := numberQuery(query, "min_executions", defaultExecutions, 0, math.MaxInt32)
	if err != nil {
		return nil, err
	}
	return answerOf(s.o.Engine.Bottlenecks(r.Context(), limit, least))
}
