// Package engine is the embedded orchestration engine: it creates tasks from
// templates, decides which steps may run, hands them out as a
// dispatch.Source, retries and finalises, all durably in one SQLite file
// (spec: engine-semantics).
package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/engine/store"
)

// Options configure an Engine. The zero value of each field is its default.
type Options struct {
	// Path of the SQLite file, or ":memory:".
	Path string
	// Log receives what the engine has to say; nil discards it.
	Log *slog.Logger
	// StrictInput refuses tasks whose context does not match the template's
	// input_schema; otherwise that is only a warning (engine-semantics §1.7).
	StrictInput bool
	// AlwaysUnique lets the same template and context be submitted again
	// (engine-semantics §2.4); an idempotency key still decides when given.
	AlwaysUnique bool
	// ImmediateRetries ignores template backoff, as the reference does (§4.4).
	ImmediateRetries bool
	// DefaultTimeout bounds steps without timeout_seconds; 0 means none.
	DefaultTimeout time.Duration
	// JitterSeed, when not 0, makes retry jitter reproducible.
	JitterSeed uint64
	// NoJitter makes retry delays exactly what the template says.
	NoJitter bool
	// Staleness says what happens to tasks that stay too long where they are;
	// nothing by default (§7.4).
	Staleness Staleness
	// Keep is how long finished tasks are kept; 0 means for ever. With a task
	// its identity is forgotten: the same input is then a new task.
	Keep time.Duration
	// MaxResult is how many bytes the result of a step, or its checkpoint, may
	// have; 0 means 256 MiB, which also is the most: SQLite cannot store more
	// than a gigabyte in one row. A step with a larger result fails for good.
	MaxResult int
	// WorkerID names this process in results and transitions.
	WorkerID string
	// Shown, unless nil, is the correlation id of a task whose progress is
	// shown: the log does without its failed attempts.
	Shown uuid.UUID
	// CommitObserver, when not nil, is called after each durable commit with
	// how long it took, from its first statement to the end of the sync, and
	// how many state changes it carried. It must return quickly.
	CommitObserver func(d time.Duration, changes int)

	fault func(store.Point) error // for tests
}

// TaskRequest is the body of POST /v1/tasks (engine-semantics §2.1).
type TaskRequest struct {
	Name                string          `json:"name"`
	Namespace           string          `json:"namespace"`
	Version             string          `json:"version"`
	Context             json.RawMessage `json:"context"`
	Initiator           string          `json:"initiator"`
	SourceSystem        string          `json:"source_system"`
	Reason              string          `json:"reason"`
	Tags                []string        `json:"tags,omitempty"`
	Priority            int32           `json:"priority,omitempty"`
	CorrelationID       *uuid.UUID      `json:"correlation_id,omitempty"`
	ParentCorrelationID *uuid.UUID      `json:"parent_correlation_id,omitempty"`
	IdempotencyKey      *string         `json:"idempotency_key,omitempty"`
}

// Task is a task as REST shows it (TaskResponse, engine-semantics §9.3).
type Task struct {
	TaskUUID            uuid.UUID       `json:"task_uuid"`
	Name                string          `json:"name"`
	Namespace           string          `json:"namespace"`
	Version             string          `json:"version"`
	Status              string          `json:"status"`
	CreatedAt           time.Time       `json:"created_at"`
	UpdatedAt           time.Time       `json:"updated_at"`
	CompletedAt         *time.Time      `json:"completed_at"`
	Context             json.RawMessage `json:"context"`
	Initiator           string          `json:"initiator"`
	SourceSystem        string          `json:"source_system"`
	Reason              string          `json:"reason"`
	Priority            int32           `json:"priority"`
	Tags                []string        `json:"tags"`
	CorrelationID       uuid.UUID       `json:"correlation_id"`
	ParentCorrelationID *uuid.UUID      `json:"parent_correlation_id"`

	TotalSteps           int     `json:"total_steps"`
	PendingSteps         int     `json:"pending_steps"`
	InProgressSteps      int     `json:"in_progress_steps"`
	CompletedSteps       int     `json:"completed_steps"`
	FailedSteps          int     `json:"failed_steps"`
	ReadySteps           int     `json:"ready_steps"`
	ExecutionStatus      string  `json:"execution_status"`
	RecommendedAction    string  `json:"recommended_action"`
	CompletionPercentage float64 `json:"completion_percentage"`
	HealthStatus         string  `json:"health_status"`

	Steps []StepReadiness `json:"steps"`
}

// StepReadiness is a step's readiness record (engine-semantics §4.1). Its
// times are naive UTC on the wire.
type StepReadiness struct {
	WorkflowStepUUID      uuid.UUID  `json:"workflow_step_uuid"`
	TaskUUID              uuid.UUID  `json:"task_uuid"`
	NamedStepUUID         uuid.UUID  `json:"named_step_uuid"`
	Name                  string     `json:"name"`
	CurrentState          string     `json:"current_state"`
	DependenciesSatisfied bool       `json:"dependencies_satisfied"`
	RetryEligible         bool       `json:"retry_eligible"`
	ReadyForExecution     bool       `json:"ready_for_execution"`
	LastFailureAt         *NaiveTime `json:"last_failure_at"`
	NextRetryAt           *NaiveTime `json:"next_retry_at"`
	TotalParents          int        `json:"total_parents"`
	CompletedParents      int        `json:"completed_parents"`
	Attempts              int        `json:"attempts"`
	MaxAttempts           int        `json:"max_attempts"`
	BackoffRequestSeconds *int       `json:"backoff_request_seconds"`
	LastAttemptedAt       *NaiveTime `json:"last_attempted_at"`
}

// Step is a step as REST shows it (StepResponse, engine-semantics §9.4).
type Step struct {
	StepUUID              uuid.UUID       `json:"step_uuid"`
	TaskUUID              uuid.UUID       `json:"task_uuid"`
	Name                  string          `json:"name"`
	CreatedAt             time.Time       `json:"created_at"`
	UpdatedAt             time.Time       `json:"updated_at"`
	CompletedAt           *time.Time      `json:"completed_at"`
	Results               json.RawMessage `json:"results"`
	CurrentState          string          `json:"current_state"`
	DependenciesSatisfied bool            `json:"dependencies_satisfied"`
	RetryEligible         bool            `json:"retry_eligible"`
	ReadyForExecution     bool            `json:"ready_for_execution"`
	TotalParents          int             `json:"total_parents"`
	CompletedParents      int             `json:"completed_parents"`
	Attempts              int             `json:"attempts"`
	MaxAttempts           int             `json:"max_attempts"`
	LastFailureAt         *time.Time      `json:"last_failure_at"`
	NextRetryAt           *time.Time      `json:"next_retry_at"`
	LastAttemptedAt       *time.Time      `json:"last_attempted_at"`

	// Duration of the last execution inside the handler; not part of the
	// reference's representation.
	Duration time.Duration `json:"-"`
}

// NaiveTime is a UTC time written without a zone, as the reference writes
// the times of readiness and dead-letter records.
type NaiveTime struct{ time.Time }

const naiveLayout = "2006-01-02T15:04:05.999999"

// MarshalJSON writes the time without zone and with up to microseconds.
func (t NaiveTime) MarshalJSON() ([]byte, error) {
	return []byte(`"` + t.UTC().Format(naiveLayout) + `"`), nil
}

// UnmarshalJSON reads what MarshalJSON writes, and a time with a zone.
func (t *NaiveTime) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	for _, layout := range []string{naiveLayout, time.RFC3339Nano} {
		if parsed, err := time.Parse(layout, text); err == nil {
			t.Time = parsed.UTC()
			return nil
		}
	}
	return fmt.Errorf("%q is no time as in 2006-01-02T15:04:05", text)
}

// time is the time itself, nil for none.
func (t *NaiveTime) time() *time.Time {
	if t == nil {
		return nil
	}
	return &t.Time
}

// TaskFilter selects tasks for Engine.Tasks, newest first.
type TaskFilter struct {
	Namespace, Status, Initiator, SourceSystem string
	// Page counts from 1; PerPage is 1 to 100. Zero means 1 and 25.
	Page, PerPage int
}

// Pagination tells where in the whole list a page lies (§9.3).
type Pagination struct {
	Page        int  `json:"page"`
	PerPage     int  `json:"per_page"`
	TotalCount  int  `json:"total_count"`
	TotalPages  int  `json:"total_pages"`
	HasNext     bool `json:"has_next"`
	HasPrevious bool `json:"has_previous"`
}

// TaskList is one page of tasks.
type TaskList struct {
	Tasks      []Task     `json:"tasks"`
	Pagination Pagination `json:"pagination"`
}

// Change is one durable state change of a task or, when Step is not empty,
// of one of its steps. Watchers receive changes in the order they were
// committed.
type Change struct {
	TaskUUID uuid.UUID `json:"task_uuid"`
	Step     string    `json:"step,omitempty"`
	From     string    `json:"from"` // "" for what is new
	To       string    `json:"to"`
	At       time.Time `json:"at"`
	Attempts int       `json:"attempts"` // of the step, after the change
	// Message says why, for failures.
	Message string `json:"message,omitempty"`
}

// Errors that callers tell apart with errors.Is.
var (
	ErrNotFound     = errors.New("not found")                        // REST 404
	ErrConflict     = errors.New("identity exists")                  // REST 409: a task with this identity already exists
	ErrInvalid      = errors.New("invalid request")                  // REST 400
	ErrClosed       = fmt.Errorf("engine is %w", dispatch.ErrClosed) // REST 503
	ErrUnavailable  = errors.New("store unavailable")                // REST 503: nothing can be made durable now; the message says why
	ErrLocked       = store.ErrLocked                                // another process has the file; the message names it
	ErrInvalidState = errors.New("transition not allowed")           // REST 400
)
