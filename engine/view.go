package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/engine/store"
)

// The views below are read from the file, so they show what is durable.

// Task returns a task with the readiness records of its steps. The error is
// ErrNotFound or ErrClosed.
func (e *Engine) Task(ctx context.Context, id uuid.UUID) (Task, error) {
	var t Task
	now := e.clock.now()
	err := e.read(ctx, func(r *store.Reader) error {
		row, ok, err := r.Task(ctx, id)
		if err != nil {
			return err
		}
		if !ok {
			return ErrNotFound
		}
		steps, err := r.Steps(ctx, row.ID)
		if err != nil {
			return err
		}
		v, err := viewSteps(steps, now)
		if err != nil {
			return err
		}
		t = v.task(&row)
		for i := range v {
			t.Steps = append(t.Steps, v[i].readiness(id))
		}
		return nil
	})
	if err != nil {
		return Task{}, fmt.Errorf("read task %s: %w", id, err)
	}
	return t, nil
}

// read is store.Read while the engine is open.
func (e *Engine) read(ctx context.Context, f func(*store.Reader) error) error {
	e.reads.RLock()
	defer e.reads.RUnlock()
	if e.fileClosed {
		return ErrClosed
	}
	return e.store.Read(ctx, f)
}

// The words that the list of tasks knows besides the task states.
const (
	statusCompleted = "completed"
	statusPending   = "pending"
)

const (
	defaultPerPage = 25
	maxPerPage     = 100
)

// Tasks returns a page of tasks, newest first. Status is a task state, or
// "completed" (state complete) or "pending" (all others). The error is
// ErrInvalid or ErrClosed.
func (e *Engine) Tasks(ctx context.Context, f TaskFilter) (TaskList, error) {
	if f.Page == 0 {
		f.Page = 1
	}
	if f.PerPage == 0 {
		f.PerPage = defaultPerPage
	}
	filter, err := f.rows()
	if err != nil {
		return TaskList{}, fmt.Errorf("list tasks: %w", err)
	}
	list := TaskList{Tasks: []Task{}}
	now := e.clock.now()
	err = e.read(ctx, func(r *store.Reader) error {
		rows, total, err := r.Tasks(ctx, filter)
		if err != nil {
			return err
		}
		for i := range rows {
			steps, err := r.Steps(ctx, rows[i].ID)
			if err != nil {
				return err
			}
			v, err := viewSteps(steps, now)
			if err != nil {
				return err
			}
			list.Tasks = append(list.Tasks, v.task(&rows[i]))
		}
		pages := (total + f.PerPage - 1) / f.PerPage
		list.Pagination = Pagination{
			Page: f.Page, PerPage: f.PerPage, TotalCount: total, TotalPages: pages, HasNext: f.Page < pages, HasPrevious: f.Page > 1,
		}
		return nil
	})
	if err != nil {
		return TaskList{}, fmt.Errorf("list tasks: %w", err)
	}
	return list, nil
}

// rows translates the filter for the store.
func (f *TaskFilter) rows() (store.Filter, error) {
	if f.Page < 1 || f.PerPage < 1 || f.PerPage > maxPerPage {
		return store.Filter{}, fmt.Errorf("%w: page must be at least 1 and per_page between 1 and %d", ErrInvalid, maxPerPage)
	}
	rows := store.Filter{
		Namespace: f.Namespace, Initiator: f.Initiator, SourceSystem: f.SourceSystem,
		Limit: f.PerPage, Offset: min(f.Page-1, math.MaxInt/maxPerPage) * f.PerPage, // a page number may be any
	}
	switch f.Status {
	case "":
	case statusCompleted:
		rows.State = TaskComplete.String()
	case statusPending:
		rows.Except = TaskComplete.String()
	default:
		state, ok := ParseTaskState(f.Status)
		if !ok {
			return store.Filter{}, fmt.Errorf("%w: status %q is neither a task state nor completed or pending", ErrInvalid, f.Status)
		}
		rows.State = state.String()
	}
	return rows, nil
}

// Steps returns a task's steps in the order of their creation; none for a
// task that does not exist.
func (e *Engine) Steps(ctx context.Context, task uuid.UUID) ([]Step, error) {
	now := e.clock.now()
	all := []Step{}
	err := e.read(ctx, func(r *store.Reader) error {
		row, ok, err := r.Task(ctx, task)
		if err != nil || !ok {
			return err
		}
		steps, err := r.FullSteps(ctx, row.ID)
		if err != nil {
			return err
		}
		v, err := viewSteps(steps, now)
		if err != nil {
			return err
		}
		for i := range v {
			all = append(all, v[i].step(task))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read steps of task %s: %w", task, err)
	}
	return all, nil
}

// Step returns one step of a task. The error is ErrNotFound or ErrClosed.
func (e *Engine) Step(ctx context.Context, task, step uuid.UUID) (Step, error) {
	all, err := e.Steps(ctx, task)
	if err != nil {
		return Step{}, err
	}
	for _, s := range all {
		if s.StepUUID == step {
			return s, nil
		}
	}
	return Step{}, fmt.Errorf("step %s of task %s: %w", step, task, ErrNotFound)
}

// stepViews are the steps of one task with what follows from the others.
type stepViews []stepView

type stepView struct {
	row       *store.FullStep
	state     StepState
	parents   int
	completed int
	satisfied bool // its dependencies are
	eligible  bool
	next      store.Instant // of the next attempt
	ready     bool
}

// viewSteps computes readiness (engine-semantics §4.1).
func viewSteps(rows []store.FullStep, now store.Instant) (stepViews, error) {
	v := make(stepViews, len(rows))
	for i := range rows {
		state, ok := ParseStepState(rows[i].State)
		if !ok {
			return nil, fmt.Errorf("step %s is in unknown state %q", rows[i].Name, rows[i].State)
		}
		v[i] = stepView{row: &rows[i], state: state}
	}
	for i := range v {
		s := &v[i]
		var parents []int
		if s.row.Parents != nil {
			if err := json.Unmarshal(s.row.Parents, &parents); err != nil {
				return nil, fmt.Errorf("read dependencies of step %s: %w", s.row.Name, err)
			}
		}
		s.parents = len(parents)
		for _, p := range parents {
			if p >= 0 && p < len(v) && v[p].state.Satisfies() {
				s.completed++
			}
		}
		s.satisfied = s.completed == s.parents
		s.eligible = s.row.Attempts == 0 || s.row.Retryable && s.row.Attempts < s.row.MaxAttempts
		s.next = s.row.NextRetryAt
		s.ready = (s.state == StepPending || s.state == StepWaitingForRetry) && s.satisfied && s.eligible && s.next <= now
	}
	return v, nil
}

func (v stepViews) count(in func(StepState) bool) int {
	n := 0
	for i := range v {
		if in(v[i].state) {
			n++
		}
	}
	return n
}

// task computes the execution context (engine-semantics §4.7).
func (v stepViews) task(row *store.FullTask) Task {
	is := func(want StepState) func(StepState) bool { return func(s StepState) bool { return s == want } }
	t := Task{
		TaskUUID: row.UUID, Name: row.Name, Namespace: row.Namespace, Version: row.Version, Status: row.State,
		CreatedAt: row.CreatedAt.Time(), UpdatedAt: row.UpdatedAt.Time(), CompletedAt: timeOf(row.CompletedAt),
		Context: row.Context, Initiator: row.Initiator, SourceSystem: row.SourceSystem, Reason: row.Reason, Priority: row.Priority,
		Tags: []string{}, CorrelationID: row.CorrelationID, ParentCorrelationID: row.ParentCorrelationID,
		TotalSteps: len(v), PendingSteps: v.count(is(StepPending)), InProgressSteps: v.count(is(StepInProgress)),
		CompletedSteps: v.count(StepState.Satisfies), FailedSteps: v.count(is(StepError)),
		HealthStatus: "healthy", Steps: []StepReadiness{},
	}
	_ = json.Unmarshal(row.Tags, &t.Tags) // written by tagsJSON
	for i := range v {
		if v[i].ready {
			t.ReadySteps++
		}
	}
	if t.TotalSteps > 0 {
		t.CompletionPercentage = math.Round(10000*float64(t.CompletedSteps)/float64(t.TotalSteps)) / 100
	}
	switch busy := v.count(StepState.busy); {
	case t.FailedSteps > 0:
		t.ExecutionStatus, t.RecommendedAction, t.HealthStatus = "blocked_by_failures", "handle_failures", "blocked"
	case t.ReadySteps > 0:
		t.ExecutionStatus, t.RecommendedAction = "has_ready_steps", "execute_ready_steps"
	case busy > 0:
		t.ExecutionStatus, t.RecommendedAction = "processing", "wait_for_completion"
	case t.TotalSteps > 0 && t.CompletedSteps == t.TotalSteps:
		t.ExecutionStatus, t.RecommendedAction = "all_complete", "finalize_task"
	default:
		t.ExecutionStatus, t.RecommendedAction = "waiting_for_dependencies", "wait_for_dependencies"
	}
	return t
}

func (s *stepView) readiness(task uuid.UUID) StepReadiness {
	r := StepReadiness{
		WorkflowStepUUID: s.row.UUID, TaskUUID: task, NamedStepUUID: s.row.NamedStepUUID, Name: s.row.Name, CurrentState: s.state.String(),
		DependenciesSatisfied: s.satisfied, RetryEligible: s.eligible, ReadyForExecution: s.ready,
		LastFailureAt: naiveOf(s.row.LastFailureAt), NextRetryAt: naiveOf(s.next), TotalParents: s.parents, CompletedParents: s.completed,
		Attempts: int(s.row.Attempts), MaxAttempts: int(s.row.MaxAttempts), LastAttemptedAt: naiveOf(s.row.LastAttemptedAt),
	}
	if s.row.BackoffSeconds >= 0 {
		seconds := int(s.row.BackoffSeconds)
		r.BackoffRequestSeconds = &seconds
	}
	return r
}

func (s *stepView) step(task uuid.UUID) Step {
	return Step{
		StepUUID: s.row.UUID, TaskUUID: task, Name: s.row.Name, CreatedAt: s.row.CreatedAt.Time(), UpdatedAt: s.row.UpdatedAt.Time(),
		CompletedAt: timeOf(s.row.ProcessedAt), Results: s.row.Results, CurrentState: s.state.String(),
		DependenciesSatisfied: s.satisfied, RetryEligible: s.eligible, ReadyForExecution: s.ready,
		TotalParents: s.parents, CompletedParents: s.completed, Attempts: int(s.row.Attempts), MaxAttempts: int(s.row.MaxAttempts),
		LastFailureAt: timeOf(s.row.LastFailureAt), NextRetryAt: timeOf(s.next), LastAttemptedAt: timeOf(s.row.LastAttemptedAt),
		Duration: s.row.Duration,
	}
}

func timeOf(i store.Instant) *time.Time {
	if i.IsZero() {
		return nil
	}
	t := i.Time()
	return &t
}

func naiveOf(i store.Instant) *NaiveTime {
	if i.IsZero() {
		return nil
	}
	return &NaiveTime{i.Time()}
}
