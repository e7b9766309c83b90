package server

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/engine"
)

const (
	defaultDLQ   = 50  // entries of GET /v1/dlq
	defaultQueue = 100 // entries of the investigation queue and of the staleness view
	maxDLQ       = 1000
)

// listDLQ is GET /v1/dlq.
func (s *Server) listDLQ(r *http.Request) (any, error) {
	query, err := parseQuery(r)
	if err != nil {
		return nil, err
	}
	var f engine.DLQFilter
	if query.Has("resolution_status") {
		if f.Status, err = engine.ParseDLQStatus(query.Get("resolution_status")); err != nil {
			return nil, err
		}
	}
	if f.Limit, err = intQuery(query, "limit", defaultDLQ, maxDLQ); err != nil {
		return nil, err
	}
	if f.Offset, err = numberQuery(query, "offset", 0, 0, math.MaxInt32); err != nil {
		return nil, err
	}
	return answerOf(s.o.Engine.DLQ(r.Context(), f))
}

// answerOf gives an engine's answer, or its error.
func answerOf[T any](answer T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// getDLQ is GET /v1/dlq/task/{task}: the newest entry of a task.
func (s *Server) getDLQ(r *http.Request) (any, error) {
	task, err := pathUUID(r, "task", codeInvalidUUID)
	if err != nil {
		return nil, err
	}
	entry, err := s.o.Engine.DLQOfTask(r.Context(), task)
	if errors.Is(err, engine.ErrNotFound) {
		return nil, notFound("No DLQ entry of task %s", task)
	}
	return answerOf(entry, err)
}

// updated is the answer of PATCH /v1/dlq/entry/{entry}.
type updated struct {
	Success bool      `json:"success"`
	Message string    `json:"message"`
	Entry   uuid.UUID `json:"dlq_entry_uuid"`
}

// updateDLQ is PATCH /v1/dlq/entry/{entry}.
func (s *Server) updateDLQ(r *http.Request) (any, error) {
	entry, err := pathUUID(r, "entry", codeInvalidUUID)
	if err != nil {
		return nil, err
	}
	f, err := readFields(r)
	if err != nil {
		return nil, err
	}
	update, err := f.dlqUpdate()
	if err != nil {
		return nil, err
	}
	err = s.o.Engine.UpdateDLQ(r.Context(), entry, update)
	if errors.Is(err, engine.ErrNotFound) {
		return nil, notFound("DLQ entry not found: %s", entry)
	}
	return answerOf(updated{true, "DLQ entry updated", entry}, err)
}

// dlqUpdate reads the body of PATCH /v1/dlq/entry/{entry}. Unknown fields are
// ignored, and null is as good as absent.
func (f fields) dlqUpdate() (engine.DLQUpdate, error) {
	var u engine.DLQUpdate
	var status *string
	var metadata map[string]json.RawMessage
	err := errors.Join(
		optional(f, "resolution_status", "a string", &status),
		optional(f, "resolution_notes", "a string", &u.ResolutionNotes),
		optional(f, "resolved_by", "a string", &u.ResolvedBy),
		optional(f, "metadata", "an object", &metadata),
	)
	if err == nil && status != nil {
		var parsed engine.DLQStatus
		if parsed, err = engine.ParseDLQStatus(*status); err != nil {
			err = errors.New(detail(err, engine.ErrInvalid))
		}
		u.ResolutionStatus = &parsed
	}
	if err != nil {
		return u, unprocessable("%s", joined(err))
	}
	if metadata != nil {
		u.Metadata = f["metadata"]
	}
	return u, nil
}

// dlqStats is GET /v1/dlq/stats.
func (s *Server) dlqStats(r *http.Request) (any, error) {
	return answerOf(s.o.Engine.DLQStats(r.Context()))
}

// investigations is GET /v1/dlq/investigation-queue.
func (s *Server) investigations(r *http.Request) (any, error) {
	limit, err := queueLimit(r)
	if err != nil {
		return nil, err
	}
	return answerOf(s.o.Engine.Investigations(r.Context(), limit))
}

// staleTasks is GET /v1/dlq/staleness.
func (s *Server) staleTasks(r *http.Request) (any, error) {
	limit, err := queueLimit(r)
	if err != nil {
		return nil, err
	}
	return answerOf(s.o.Engine.StaleTasks(r.Context(), limit))
}

func queueLimit(r *http.Request) (int, error) {
	query, err := parseQuery(r)
	if err != nil {
		return 0, err
	}
	return intQuery(query, "limit", defaultQueue, maxDLQ)
}
