package engine

import (
	"bytes"
	"encoding/json"
	"net/mail"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/uuid/v5"
)

// A failure is what the engine reads from the stored result of a failed
// attempt (engine-semantics §6.1). Successful results are stored unread.
type failure struct {
	message   string // empty when the result has none
	errorType string
	retryable bool
	// requested is the delay that the handler or a server asked for; it
	// counts only if isRequested. header tells that a retry-after header
	// asked.
	requested           time.Duration
	isRequested, header bool
}

// readFailure reads a failure result. Parts that are missing or have another
// shape count as absent; ok is false when the whole is no JSON object.
func readFailure(data []byte, now time.Time) (f failure, ok bool) {
	result := object(data)
	if result == nil {
		return failure{}, false
	}
	meta, fault := object(result["metadata"]), object(result["error"])
	f.message = text(fault["message"])
	f.errorType = text(fault["error_type"])
	if f.errorType == "" {
		f.errorType = text(meta["error_type"])
	}
	f.retryable = string(bytes.TrimSpace(meta["retryable"])) == "true"
	orchestration := object(result["orchestration_metadata"])
	for name, value := range object(orchestration["headers"]) {
		if strings.EqualFold(name, "retry-after") {
			if d, ok := retryAfter(text(value), now); ok {
				f.requested, f.isRequested, f.header = d, true, true
				return f, true
			}
		}
	}
	candidates := []json.RawMessage{object(orchestration["backoff_hint"])["delay_seconds"]}
	for _, m := range []map[string]json.RawMessage{meta, object(meta["context"]), object(meta["custom"]), object(fault["metadata"]), object(fault["context"])} {
		candidates = append(candidates, m["retry_after_seconds"], m["retry_after"])
	}
	for _, c := range candidates {
		if d, ok := seconds(string(c)); ok {
			f.requested, f.isRequested = d, true
			break
		}
	}
	return f, true
}

// retryAfter reads a retry-after header: whole seconds, or a date that lies
// in the future.
func retryAfter(value string, now time.Time) (time.Duration, bool) {
	value = strings.TrimSpace(value)
	if n, err := strconv.ParseUint(value, 10, 32); err == nil {
		return min(time.Duration(n)*time.Second, maxRequestedDelay), true
	}
	at, err := mail.ParseDate(value)
	if err != nil || !at.After(now) {
		return 0, false
	}
	return min(at.Sub(now), maxRequestedDelay), true
}

// seconds reads a JSON number of seconds that is not negative.
func seconds(number string) (time.Duration, bool) {
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !(n >= 0) {
		return 0, false
	}
	return time.Duration(min(n, maxRequestedDelay.Seconds()) * float64(time.Second)), true
}

func object(data json.RawMessage) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if json.Unmarshal(data, &m) != nil {
		return nil
	}
	return m
}

func text(data json.RawMessage) string {
	var s string
	if json.Unmarshal(data, &s) != nil {
		return ""
	}
	return s
}

// judge decides what becomes of a step whose attempt failed
// (engine-semantics §4.2). readable is false when there is no result that
// could be read; then only the attempts count. A step that its template
// declares not retryable fails for good at once.
func judge(f failure, readable bool, retryable bool, attempts, maxAttempts int32) (stepEvent, string) {
	message := f.message
	if message == "" {
		message = "Step execution failed"
	}
	if readable && !f.retryable || !retryable || attempts >= maxAttempts {
		return stepFail, message
	}
	return stepWaitForRetry, message + " - retryable"
}

// failureResult makes the result of an attempt that the engine itself
// declares failed.
func failureResult(step uuid.UUID, errorType, message string, retryable bool, workerID string, now time.Time) []byte {
	type metadata struct {
		ExecutionTimeMS int64          `json:"execution_time_ms"`
		HandlerVersion  *string        `json:"handler_version"`
		Retryable       bool           `json:"retryable"`
		CompletedAt     time.Time      `json:"completed_at"`
		WorkerID        string         `json:"worker_id"`
		WorkerHostname  *string        `json:"worker_hostname"`
		StartedAt       *time.Time     `json:"started_at"`
		Custom          map[string]any `json:"custom"`
		ErrorCode       *string        `json:"error_code"`
		ErrorType       string         `json:"error_type"`
		Context         map[string]any `json:"context"`
	}
	type stepError struct {
		Message   string   `json:"message"`
		ErrorType string   `json:"error_type"`
		Backtrace []string `json:"backtrace"`
		Retryable bool     `json:"retryable"`
	}
	data, err := json.Marshal(struct {
		StepUUID      uuid.UUID      `json:"step_uuid"`
		Success       bool           `json:"success"`
		Status        string         `json:"status"`
		Result        map[string]any `json:"result"`
		Metadata      metadata       `json:"metadata"`
		Error         stepError      `json:"error"`
		Orchestration *struct{}      `json:"orchestration_metadata"`
	}{
		StepUUID: step,
		Status:   "error",
		Metadata: metadata{
			Retryable: retryable, CompletedAt: now.UTC(), WorkerID: workerID, ErrorType: errorType,
			Custom: map[string]any{}, Context: map[string]any{},
		},
		Error: stepError{Message: message, ErrorType: errorType, Backtrace: []string{}, Retryable: retryable},
	})
	if err != nil {
		panic(err) // strings, booleans and a time always encode
	}
	return data
}
