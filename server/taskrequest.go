package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tasker-systems/taskerpy/engine"
)

// readTaskRequest reads the body of POST /v1/tasks (engine-semantics §2.1). Its
// error is a *problem: 415, 413, 400 for what is not JSON, and 422 for JSON of
// another shape.
func readTaskRequest(r *http.Request) (engine.TaskRequest, error) {
	fields, err := readFields(r)
	if err != nil {
		return engine.TaskRequest{}, err
	}
	return fields.taskRequest()
}

// naiveLayout is how requested_at is written: without a zone.
const naiveLayout = "2006-01-02T15:04:05"

// integer is a 32-bit integer in any spelling of JSON: 740.0 and 7.4e2 are 740.
type integer int32

// UnmarshalJSON refuses what is no whole number.
func (i *integer) UnmarshalJSON(data []byte) error {
	value, err := strconv.ParseFloat(string(data), 64)
	if err != nil || value != math.Trunc(value) || value < math.MinInt32 || value > math.MaxInt32 {
		return errors.New("not a 32-bit integer")
	}
	*i = integer(value)
	return nil
}

// taskRequest takes the fields apart; all that is wrong is told at once.
// Unknown fields are ignored.
func (f fields) taskRequest() (engine.TaskRequest, error) {
	var r engine.TaskRequest
	var wrong []string
	note := func(err error) {
		if err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	note(required(f, "name", "a string", &r.Name))
	note(required(f, "namespace", "a string", &r.Namespace))
	note(required(f, "version", "a string", &r.Version))
	note(required(f, "initiator", "a string", &r.Initiator))
	note(required(f, "source_system", "a string", &r.SourceSystem))
	note(required(f, "reason", "a string", &r.Reason))
	var priority integer
	note(optional(f, "priority", "a 32-bit integer", &priority))
	r.Priority = int32(priority)
	note(optional(f, "correlation_id", "a UUID", &r.CorrelationID))
	note(optional(f, "parent_correlation_id", "a UUID", &r.ParentCorrelationID))
	note(optional(f, "idempotency_key", "a string", &r.IdempotencyKey))

	var ok bool
	if r.Context, ok = f["context"]; !ok { // what it may be is the engine's business
		note(errors.New("field context is missing; it must be an object"))
	}
	var tags []*string // a null among them must not pass as ""
	note(optional(f, "tags", "a list of strings", &tags))
	for i, tag := range tags {
		if tag == nil {
			note(fmt.Errorf("field tags must be a list of strings; item %d is null", i))
			break
		}
		r.Tags = append(r.Tags, *tag)
	}
	// These two are checked, since a Tasker deployment would refuse them, and
	// otherwise have no effect.
	var options map[string]json.RawMessage
	note(optional(f, "options", "an object", &options))
	var requestedAt string
	const naive = "a time without a zone, as in 2026-02-03T10:00:00"
	if err := optional(f, "requested_at", naive, &requestedAt); err != nil {
		note(err)
	} else if _, err := time.Parse(naiveLayout, requestedAt); requestedAt != "" && err != nil {
		note(fmt.Errorf("field requested_at must be %s; %q is not", naive, requestedAt))
	}
	if len(wrong) > 0 {
		return engine.TaskRequest{}, unprocessable("%s", strings.Join(wrong, "; "))
	}
	return r, nil
}
