package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/engine/store"
	"github.com/tasker-systems/taskerpy/template"
)

// TaskSummary is a task with its template and steps in one answer
// (TaskSummaryResponse, engine-semantics §9.3).
type TaskSummary struct {
	Task     SummaryTask     `json:"task"`
	Template SummaryTemplate `json:"template"`
	Steps    []SummaryStep   `json:"steps"`
	DLQ      SummaryDLQ      `json:"dlq"`
	Links    SummaryLinks    `json:"links"`
}

// SummaryTask is what a summary tells of the task itself: all but its context.
type SummaryTask struct {
	TaskUUID             uuid.UUID  `json:"task_uuid"`
	Name                 string     `json:"name"`
	Namespace            string     `json:"namespace"`
	Version              string     `json:"version"`
	Status               string     `json:"status"`
	CreatedAt            time.Time  `json:"created_at"`
	UpdatedAt            time.Time  `json:"updated_at"`
	CompletedAt          *time.Time `json:"completed_at"`
	Initiator            string     `json:"initiator"`
	SourceSystem         string     `json:"source_system"`
	Reason               string     `json:"reason"`
	Priority             int32      `json:"priority"`
	CorrelationID        uuid.UUID  `json:"correlation_id"`
	ParentCorrelationID  *uuid.UUID `json:"parent_correlation_id"`
	TotalSteps           int        `json:"total_steps"`
	PendingSteps         int        `json:"pending_steps"`
	InProgressSteps      int        `json:"in_progress_steps"`
	CompletedSteps       int        `json:"completed_steps"`
	FailedSteps          int        `json:"failed_steps"`
	ReadySteps           int        `json:"ready_steps"`
	ExecutionStatus      string     `json:"execution_status"`
	RecommendedAction    string     `json:"recommended_action"`
	CompletionPercentage float64    `json:"completion_percentage"`
	HealthStatus         string     `json:"health_status"`
}

// SummaryTemplate is the task's template as it is now.
type SummaryTemplate struct {
	Steps []SummaryTemplateStep `json:"steps"`
}

// SummaryTemplateStep is one step of the template.
type SummaryTemplateStep struct {
	Name         string   `json:"name"`
	StepType     string   `json:"step_type"`
	Handler      string   `json:"handler"` // its callable
	Dependencies []string `json:"dependencies"`
	Retryable    bool     `json:"retryable"`
	MaxAttempts  uint32   `json:"max_attempts"`
}

// SummaryStep is one step of the task.
type SummaryStep struct {
	StepUUID              uuid.UUID     `json:"step_uuid"`
	Name                  string        `json:"name"`
	CurrentState          string        `json:"current_state"`
	CreatedAt             time.Time     `json:"created_at"`
	CompletedAt           *time.Time    `json:"completed_at"`
	LastAttemptedAt       *time.Time    `json:"last_attempted_at"`
	Attempts              int           `json:"attempts"`
	MaxAttempts           int           `json:"max_attempts"`
	DependenciesSatisfied bool          `json:"dependencies_satisfied"`
	RetryEligible         bool          `json:"retry_eligible"`
	Error                 *SummaryError `json:"error"`
}

// UnmarshalJSON reads times with a zone, as they are written here, and without,
// as tasker-server writes them in summaries.
func (s *SummaryStep) UnmarshalJSON(data []byte) error {
	type rest SummaryStep
	read := struct {
		*rest
		CreatedAt       NaiveTime  `json:"created_at"`
		CompletedAt     *NaiveTime `json:"completed_at"`
		LastAttemptedAt *NaiveTime `json:"last_attempted_at"`
	}{rest: (*rest)(s)}
	if err := json.Unmarshal(data, &read); err != nil {
		return err
	}
	s.CreatedAt, s.CompletedAt, s.LastAttemptedAt = read.CreatedAt.Time, read.CompletedAt.time(), read.LastAttemptedAt.time()
	return nil
}

// SummaryError is why the last attempt of a step failed.
type SummaryError struct {
	ErrorType  string `json:"error_type"`
	Retryable  bool   `json:"retryable"`
	StatusCode *int   `json:"status_code"`
}

// SummaryDLQ tells whether the task is being investigated. The words are those
// of the file, as in staleness_timeout.
type SummaryDLQ struct {
	InDLQ            bool    `json:"in_dlq"`
	DLQReason        *string `json:"dlq_reason"`
	ResolutionStatus *string `json:"resolution_status"`
}

// SummaryLinks are the paths of what belongs to the task.
type SummaryLinks struct {
	Task  string `json:"task"`
	Steps string `json:"steps"`
	DLQ   string `json:"dlq"`
}

// Summary returns a task with its template and steps. The error is ErrNotFound
// or ErrClosed.
func (e *Engine) Summary(ctx context.Context, id uuid.UUID) (TaskSummary, error) {
	var s TaskSummary
	now := e.clock.now()
	err := e.read(ctx, func(r *store.Reader) error {
		row, ok, err := r.Task(ctx, id)
		if err != nil {
			return err
		}
		if !ok {
			return ErrNotFound
		}
		rows, err := r.FullSteps(ctx, row.ID)
		if err != nil {
			return err
		}
		v, err := viewSteps(rows, now)
		if err != nil {
			return err
		}
		entry, inDLQ, err := r.PendingDLQEntry(ctx, row.ID)
		if err != nil {
			return err
		}
		named, err := r.NamedTask(ctx, row.NamedTask)
		if err != nil {
			return err
		}
		path := "/v1/tasks/" + id.String()
		s = TaskSummary{
			Task: summaryOf(v.task(&row)), Template: SummaryTemplate{Steps: []SummaryTemplateStep{}}, Steps: []SummaryStep{},
			Links: SummaryLinks{Task: path, Steps: path + "/workflow_steps", DLQ: "/v1/dlq"},
		}
		for i := range v {
			s.Steps = append(s.Steps, v[i].summary())
		}
		if inDLQ {
			s.DLQ = SummaryDLQ{InDLQ: true, DLQReason: &entry.Reason, ResolutionStatus: &entry.ResolutionStatus}
		}
		t, err := parseConfiguration(&named)
		if err != nil {
			e.log.Warn("stored template cannot be read; the summary is without its steps", "task_uuid", id, "error", err)
			return nil
		}
		for i := range t.Steps {
			s.Template.Steps = append(s.Template.Steps, templateSummary(&t.Steps[i]))
		}
		return nil
	})
	if err != nil {
		return TaskSummary{}, fmt.Errorf("summarise task %s: %w", id, err)
	}
	return s, nil
}

func summaryOf(t Task) SummaryTask {
	return SummaryTask{
		TaskUUID: t.TaskUUID, Name: t.Name, Namespace: t.Namespace, Version: t.Version, Status: t.Status,
		CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt, CompletedAt: t.CompletedAt,
		Initiator: t.Initiator, SourceSystem: t.SourceSystem, Reason: t.Reason, Priority: t.Priority,
		CorrelationID: t.CorrelationID, ParentCorrelationID: t.ParentCorrelationID,
		TotalSteps: t.TotalSteps, PendingSteps: t.PendingSteps, InProgressSteps: t.InProgressSteps,
		CompletedSteps: t.CompletedSteps, FailedSteps: t.FailedSteps, ReadySteps: t.ReadySteps,
		ExecutionStatus: t.ExecutionStatus, RecommendedAction: t.RecommendedAction,
		CompletionPercentage: t.CompletionPercentage, HealthStatus: t.HealthStatus,
	}
}

func templateSummary(s *template.Step) SummaryTemplateStep {
	kind := s.Type
	if kind == "" {
		kind = template.Standard
	}
	return SummaryTemplateStep{
		Name: s.Name, StepType: string(kind), Handler: s.Handler.Callable, Dependencies: append([]string{}, s.Dependencies...),
		Retryable: s.Retry.Retryable, MaxAttempts: s.Retry.MaxAttempts,
	}
}

func (s *stepView) summary() SummaryStep {
	return SummaryStep{
		StepUUID: s.row.UUID, Name: s.row.Name, CurrentState: s.state.String(), CreatedAt: s.row.CreatedAt.Time(),
		CompletedAt: timeOf(s.row.ProcessedAt), LastAttemptedAt: timeOf(s.row.LastAttemptedAt),
		Attempts: int(s.row.Attempts), MaxAttempts: int(s.row.MaxAttempts),
		DependenciesSatisfied: s.satisfied, RetryEligible: s.eligible, Error: summaryError(s.row.Results),
	}
}

// summaryError reads the error of a stored result, nil when it has none or
// none with a type.
func summaryError(results []byte) *SummaryError {
	var said struct {
		Error *struct {
			ErrorType  string   `json:"error_type"`
			Retryable  bool     `json:"retryable"`
			StatusCode *float64 `json:"status_code"`
		} `json:"error"`
	}
	_ = json.Unmarshal(results, &said) // what is of another type is not there
	if said.Error == nil || said.Error.ErrorType == "" {
		return nil
	}
	e := &SummaryError{ErrorType: said.Error.ErrorType, Retryable: said.Error.Retryable}
	if said.Error.StatusCode != nil {
		code := int(*said.Error.StatusCode)
		e.StatusCode = &code
	}
	return e
}
