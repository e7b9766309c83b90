package engine

import (
	"encoding/hex"
	"encoding/json"
	"strconv"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/engine/store"
)

// Events are put together from pieces that are already JSON, because one is
// made for each dispatch (python-api-core §2.6, engine-semantics §6.2).

// eventHead returns the part that all events of a task share, from
// correlation_id to the beginning of workflow_step.
func eventHead(t *store.FullTask) []byte {
	b := make([]byte, 0, 1024+len(t.Context))
	b = appendUUID(append(b, `"correlation_id":`...), t.CorrelationID)
	b = appendUUID(append(b, `,"task_correlation_id":`...), t.CorrelationID)
	if t.ParentCorrelationID != nil {
		b = appendUUID(append(b, `,"parent_correlation_id":`...), *t.ParentCorrelationID)
	}
	b = appendUUID(append(b, `,"task_sequence_step":{"task":{"task":{"task_uuid":`...), t.UUID)
	b = appendUUID(append(b, `,"named_task_uuid":`...), t.NamedTaskUUID)
	b = appendInstant(append(b, `,"complete":false,"requested_at":`...), t.RequestedAt)
	b = append(append(b, `,"initiator":`...), quote(t.Initiator)...)
	b = append(append(b, `,"source_system":`...), quote(t.SourceSystem)...)
	b = append(append(b, `,"reason":`...), quote(t.Reason)...)
	b = append(append(b, `,"tags":`...), t.Tags...)
	b = append(append(b, `,"context":`...), t.Context...)
	b = append(b, `,"identity_hash":"`...)
	b = hex.AppendEncode(b, t.IdentityHash)
	b = strconv.AppendInt(append(b, `","priority":`...), int64(t.Priority), 10)
	b = appendUUID(append(b, `,"correlation_id":`...), t.CorrelationID)
	b = append(b, `,"parent_correlation_id":`...)
	if t.ParentCorrelationID != nil {
		b = appendUUID(b, *t.ParentCorrelationID)
	} else {
		b = append(b, "null"...)
	}
	b = appendInstant(append(b, `,"completed_at":null,"created_at":`...), t.CreatedAt)
	b = appendInstant(append(b, `,"updated_at":`...), t.UpdatedAt)
	b = append(append(b, `},"task_name":`...), quote(t.Name)...)
	b = append(append(b, `,"task_version":`...), quote(t.Version)...)
	b = append(append(b, `,"namespace_name":`...), quote(t.Namespace)...)
	return append(b, `},"workflow_step":{"workflow_step_uuid":`...)
}

// event returns the JSON of the claim's FfiStepEvent.
func (c *claim) event(id uuid.UUID) []byte {
	s := &c.before
	size := 768 + len(c.head) + 2*len(c.quoted) + len(s.inputs) + len(s.results) + len(s.checkpoint) + len(c.stepTemplate)
	for _, a := range c.ancestors {
		size += len(a.quoted) + len(a.results) + 2
	}
	b := make([]byte, 0, size)
	b = appendUUID(append(b, `{"event_id":`...), id)
	b = appendUUID(append(b, `,"task_uuid":`...), c.taskUUID)
	b = appendUUID(append(b, `,"step_uuid":`...), c.stepUUID)
	b = append(append(b, ','), c.head...)
	b = appendUUID(b, c.stepUUID)
	b = appendUUID(append(b, `,"task_uuid":`...), c.taskUUID)
	b = appendUUID(append(b, `,"named_step_uuid":`...), c.namedUUID)
	b = append(append(b, `,"name":`...), c.quoted...)
	b = append(append(b, `,"template_step_name":`...), c.template...)
	b = strconv.AppendBool(append(b, `,"retryable":`...), s.retryable)
	b = strconv.AppendInt(append(b, `,"max_attempts":`...), int64(s.maxAttempts), 10)
	b = append(b, `,"in_process":false,"processed":false,"processed_at":null,"attempts":`...)
	b = strconv.AppendInt(b, int64(s.attempts), 10)
	b = appendInstant(append(b, `,"last_attempted_at":`...), s.lastAttemptedAt)
	b = append(b, `,"backoff_request_seconds":`...)
	if s.backoffSeconds >= 0 {
		b = strconv.AppendInt(b, int64(s.backoffSeconds), 10)
	} else {
		b = append(b, "null"...)
	}
	b = appendJSON(append(b, `,"inputs":`...), s.inputs)
	b = appendJSON(append(b, `,"results":`...), s.results)
	b = appendJSON(append(b, `,"checkpoint":`...), s.checkpoint)
	b = appendInstant(append(b, `,"created_at":`...), s.createdAt)
	b = appendInstant(append(b, `,"updated_at":`...), s.updatedAt)
	b = append(b, `},"dependency_results":{`...)
	for i, a := range c.ancestors {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, a.quoted...), ':'), a.results...)
	}
	b = append(append(b, `},"step_definition":`...), c.stepTemplate...)
	return append(b, '}', '}')
}

func appendJSON(b, value []byte) []byte {
	if value == nil {
		return append(b, "null"...)
	}
	return append(b, value...)
}

func appendInstant(b []byte, i store.Instant) []byte {
	if i.IsZero() {
		return append(b, "null"...)
	}
	return append(i.AppendNaive(append(b, '"')), '"')
}

// appendUUID appends u as a JSON string.
func appendUUID(b []byte, u uuid.UUID) []byte {
	b = append(b, '"')
	for i, part := range [...][]byte{u[0:4], u[4:6], u[6:8], u[8:10], u[10:16]} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, part)
	}
	return append(b, '"')
}

// tagsJSON writes a task's tags.
func tagsJSON(tags []string) []byte {
	if len(tags) == 0 {
		return []byte("[]")
	}
	b, err := json.Marshal(tags)
	if err != nil {
		panic(err) // strings always encode
	}
	return b
}
