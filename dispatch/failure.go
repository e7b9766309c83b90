package dispatch

import (
	"encoding/json"
	"time"
)

// Failure describes a failed execution that no handler reported.
type Failure struct {
	Step      *Step
	Message   string
	ErrorType string
	Retryable bool
	Took      time.Duration
	WorkerID  string
}

// FailureResult gives the stored form of a failure (engine-semantics §6.1).
func FailureResult(f Failure) []byte {
	status := "permanent_error"
	if f.Retryable {
		status = "retryable_error"
	}
	type object = map[string]any
	out, err := json.Marshal(struct {
		StepUUID      string `json:"step_uuid"`
		Success       bool   `json:"success"`
		Status        string `json:"status"`
		Result        any    `json:"result"`
		Metadata      object `json:"metadata"`
		Error         object `json:"error"`
		Orchestration any    `json:"orchestration_metadata"`
	}{
		StepUUID: f.Step.StepUUID.String(),
		Status:   status,
		Metadata: object{
			"execution_time_ms": f.Took.Milliseconds(), "handler_version": nil, "retryable": f.Retryable,
			"completed_at": time.Now().UTC().Format(time.RFC3339Nano), "worker_id": f.WorkerID, "worker_hostname": nil,
			"started_at": nil, "custom": object{}, "error_code": nil, "error_type": f.ErrorType, "context": object{},
		},
		Error: object{
			"message": f.Message, "error_type": f.ErrorType, "backtrace": nil, "retryable": f.Retryable,
			"status_code": nil, "context": object{},
		},
	})
	if err != nil {
		panic("encode a failure of plain values: " + err.Error()) // cannot happen
	}
	return out
}
