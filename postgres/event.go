package postgres

import (
	"bytes"
	"encoding/json"

	"github.com/gofrs/uuid/v5"
)

// event is the FfiStepEvent of a claim (worker-protocol §3.4), put together
// from JSON of the database. Before and after the checkpoint it stays the same
// for as long as the claim is held.
type event struct{ head, checkpoint, tail []byte }

func makeEvent(c *claim, h *hydrated) event {
	b := make([]byte, 0, 640+len(h.task)+len(h.step))
	step := c.stepUUID.String()
	correlation := h.correlation.String()
	b = append(b, `","task_uuid":"`...)
	b = append(b, c.taskUUID.String()...)
	b = append(append(b, `","step_uuid":"`...), step...)
	b = append(append(b, `","correlation_id":"`...), correlation...)
	b = append(append(b, `","trace_id":"`...), correlation...)
	b = append(append(b, `","span_id":"span-`...), step...)
	b = append(append(b, `","task_correlation_id":"`...), correlation...)
	if h.parent != nil {
		b = append(append(b, `","parent_correlation_id":"`...), h.parent.String()...)
	}
	b = append(append(b, `","task_sequence_step":{"task":{"task":`...), h.task...)
	b = append(append(b, `,"task_name":`...), quote(c.template.name)...)
	b = append(append(b, `,"task_version":`...), quote(c.template.version)...)
	b = append(append(b, `,"namespace_name":`...), quote(c.template.namespace)...)
	b = append(append(b, `},"workflow_step":{"name":`...), quote(c.name)...)
	b = append(append(b, `,"template_step_name":`...), quote(*h.templateStep)...)
	b = append(append(b, ','), bytes.TrimSuffix(bytes.TrimPrefix(h.step, []byte("{")), []byte("}"))...)
	b = append(b, `,"checkpoint":`...)

	tail := make([]byte, 0, 64+len(h.dependencies)+len(c.definition.json))
	tail = append(tail, `},"dependency_results":`...)
	if h.dependencies == nil {
		tail = append(tail, "{}"...)
	}
	tail = append(tail, h.dependencies...)
	tail = append(append(tail, `,"step_definition":`...), c.definition.json...)
	tail = append(tail, "}}"...)
	return event{head: b, checkpoint: h.checkpoint, tail: tail}
}

// bytes returns the event under an id.
func (e *event) bytes(id uuid.UUID) []byte {
	b := make([]byte, 0, 64+len(e.head)+len(e.checkpoint)+len(e.tail))
	b = append(append(b, `{"event_id":"`...), id.String()...)
	b = append(b, e.head...)
	if e.checkpoint == nil {
		b = append(b, "null"...)
	}
	b = append(b, e.checkpoint...)
	return append(b, e.tail...)
}

// quote returns s as a JSON string.
func quote(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // every string encodes
	}
	return b
}
