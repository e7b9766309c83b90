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
	"unicode/utf8"
)

// readFields reads the body of a request as one JSON object. The error is a
// *problem: 415, 413, 400 for what is not JSON, and 422 for another kind of
// JSON.
func readFields(r *http.Request) (fields, error) {
	if kind := r.Header.Get("Content-Type"); !isJSON(kind) {
		return nil, problemf(http.StatusUnsupportedMediaType, codeUnsupportedMedia, "content type %q is not application/json", kind)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, bodyProblem(err)
	}
	return splitObject(body)
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
