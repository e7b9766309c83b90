package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tasker-systems/taskerpy/engine"
)

// readTaskRequest reads the body of POST /v1/tasks (engine-semantics §2.1). Its
// error is a *problem: 415, 413, 400 for what is not JSON, and 422 for JSON of
// another shape.
func readTaskRequest(r *http.Request) (engine.TaskRequest, error) {
	if kind := r.Header.Get("Content-Type"); !isJSON(kind) {
		return engine.TaskRequest{}, problemf(http.StatusUnsupportedMediaType, codeUnsupportedMedia,
			"content type %q is not application/json", kind)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return engine.TaskRequest{}, bodyProblem(err)
	}
	fields, err := splitObject(body)
	if err != nil {
		return engine.TaskRequest{}, err
	}
	return fields.taskRequest()
}

func isJSON(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	return err == nil && (kind == "application/json" || strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json"))
}

func bodyProblem(err error) *problem {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return problemf(http.StatusRequestEntityTooLarge, codePayloadTooLarge,
			"the body has more than %d bytes; put large data elsewhere and pass its place", tooLarge.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return problemf(http.StatusRequestTimeout, codeTimeout, "the body did not arrive within %s", readTimeout)
	default:
		return badRequest("read the body: %v", err)
	}
}

// fields are the members of a JSON object, each as it was written.
type fields map[string]json.RawMessage

// splitObject reads one JSON object. Names are taken exactly, and once: as the
// reference does, and unlike encoding/json's structs.
func splitObject(body []byte) (fields, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, problemf(http.StatusBadRequest, codeJSON, "the body is empty; it must be a JSON object")
	}
	if !utf8.Valid(body) {
		return nil, problemf(http.StatusBadRequest, codeJSON, "the body is not UTF-8")
	}
	var whole json.RawMessage
	if err := json.Unmarshal(body, &whole); err != nil {
		return nil, jsonProblem(body, err)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, unprocessable("the body must be a JSON object")
	}
	all := fields{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, jsonProblem(body, err)
		}
		name, _ := key.(string) // the decoder lets nothing else be a key
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, jsonProblem(body, err)
		}
		if _, twice := all[name]; twice {
			return nil, unprocessable("field %s appears twice", name)
		}
		all[name] = value
	}
	return all, nil
}

func unprocessable(format string, args ...any) *problem {
	return problemf(http.StatusUnprocessableEntity, codeUnprocessable, format, args...)
}

// jsonProblem names the place of a syntax error.
func jsonProblem(body []byte, err error) *problem {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return problemf(http.StatusBadRequest, codeJSON, "the body is not JSON: %v", err)
	}
	before := body[:min(max(int(syntax.Offset)-1, 0), len(body))]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
	return problemf(http.StatusBadRequest, codeJSON, "the body is not JSON: line %d, column %d: %v", line, column, syntax)
}

// naiveLayout is how requested_at is written: without a zone.
const naiveLayout = "2006-01-02T15:04:05"

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
	note(optional(f, "priority", "a 32-bit integer", &r.Priority))
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

// optional reads a field that may be missing or null.
func optional[T any](f fields, name, want string, into *T) error {
	raw, ok := f[name]
	if !ok || string(raw) == "null" {
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("field %s must be %s; %s is not", name, want, abbreviated(raw))
	}
	return nil
}

// required reads a field that must be there.
func required[T any](f fields, name, want string, into *T) error {
	raw, ok := f[name]
	switch {
	case !ok:
		return fmt.Errorf("field %s is missing; it must be %s", name, want)
	case string(raw) == "null":
		return fmt.Errorf("field %s must be %s; null is not", name, want)
	}
	return optional(f, name, want, into)
}

// abbreviated shows the beginning of a value.
func abbreviated(raw []byte) string {
	const most = 60
	text := []rune(string(raw))
	if len(text) <= most {
		return string(text)
	}
	return string(text[:most]) + "…"
}
