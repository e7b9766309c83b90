package store

import (
	"time"

	"github.com/gofrs/uuid/v5"
)

// positionBits is how many low bits of a step's or history row's id number
// it within its task.
const positionBits = 24

// MaxPositions is how many steps, and how many commits, one task can have.
const MaxPositions = 1 << positionBits

// ID returns the id of the row that has the given number within a task.
func ID(task int64, number int) int64 { return task<<positionBits | int64(number) }

// Position returns the number within its task of the row with this id.
func Position(id int64) int { return int(id & (MaxPositions - 1)) }

// TaskOf returns the id of the task that the row with this id belongs to.
func TaskOf(id int64) int64 { return id >> positionBits }

// NamedTask is a registered template.
type NamedTask struct {
	ID            int64
	UUID          uuid.UUID
	Namespace     string
	Name          string
	Version       string
	Description   string
	Configuration []byte // JSON
}

// NamedStep gives a step name its identity in the file.
type NamedStep struct {
	ID   int64
	UUID uuid.UUID
	Name string
}

// Task is a row of tasks.
type Task struct {
	ID           int64
	UUID         uuid.UUID
	NamedTask    int64
	State        string
	StateSince   Instant
	IdentityHash []byte
	Priority     int32

	Initiator, SourceSystem, Reason string

	Tags                []byte // JSON array
	CorrelationID       uuid.UUID
	ParentCorrelationID *uuid.UUID

	RequestedAt, CreatedAt, UpdatedAt, CompletedAt Instant
}

// FullTask is a task with what its representation needs from other tables.
type FullTask struct {
	Task
	NamedTaskUUID            uuid.UUID
	Namespace, Name, Version string
	Context                  []byte
}

// Step is a row of workflow_steps.
type Step struct {
	ID             int64
	UUID           uuid.UUID
	NamedStep      int64
	TemplateStep   string // empty when it is the step's own name
	State          string
	Retryable      bool
	MaxAttempts    int32
	Attempts       int32
	BackoffSeconds int32 // -1 is NULL

	LastAttemptedAt, NextRetryAt, LastFailureAt, ProcessedAt Instant
	CreatedAt, UpdatedAt                                     Instant

	Duration   time.Duration // 0 is NULL
	Parents    []byte        // JSON array of positions, nil when none
	Inputs     []byte
	Checkpoint []byte
	Results    []byte
}

// FullStep is a step with its name.
type FullStep struct {
	Step
	Name          string
	NamedStepUUID uuid.UUID
}

// FailedAttempt is a row of failed_attempts.
type FailedAttempt struct {
	StepID     int64
	Attempt    int32
	RecordedAt Instant
	Duration   time.Duration
	WorkerID   string
	Results    []byte
}

// HistoryRow is a row of history.
type HistoryRow struct {
	ID      int64
	At      Instant
	Changes []byte
}
