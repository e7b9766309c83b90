package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/engine/store"
)

// StepAudit tells of one finished attempt of a step (StepAuditResponse,
// engine-semantics §7.3, §9.4).
type StepAudit struct {
	AuditUUID        uuid.UUID  `json:"audit_uuid"`
	WorkflowStepUUID uuid.UUID  `json:"workflow_step_uuid"`
	TransitionUUID   uuid.UUID  `json:"transition_uuid"`
	TaskUUID         uuid.UUID  `json:"task_uuid"`
	RecordedAt       time.Time  `json:"recorded_at"`
	WorkerUUID       *uuid.UUID `json:"worker_uuid"`
	CorrelationID    *uuid.UUID `json:"correlation_id"`
	Success          bool       `json:"success"`
	ExecutionTimeMS  *int64     `json:"execution_time_ms"`
	// Result is the event of the transition: {"type": …, "data": the result of
	// the attempt}. Null once an operator replaced the result.
	Result    json.RawMessage `json:"result"`
	StepName  string          `json:"step_name"`
	FromState *string         `json:"from_state"`
	ToState   string          `json:"to_state"`
}

// Audit returns the finished attempts of a step, newest first. The uuids of
// the records are made from what they tell of, so they are the same each time.
// The error is ErrNotFound or ErrClosed.
func (e *Engine) Audit(ctx context.Context, task, step uuid.UUID) ([]StepAudit, error) {
	var a audit
	err := e.read(ctx, func(r *store.Reader) error {
		t, ok, err := r.Task(ctx, task)
		if err != nil {
			return err
		}
		if ok {
			a.step, ok, err = r.FullStep(ctx, t.ID, step)
		}
		if err != nil {
			return err
		}
		if !ok {
			return ErrNotFound
		}
		a.task = t
		if a.failed, err = r.FailedAttempts(ctx, a.step.ID); err != nil {
			return err
		}
		rows, err := r.History(ctx, t.ID)
		if err != nil {
			return err
		}
		a.transitions, err = transitionsOf(rows, store.Position(a.step.ID))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("audit of step %s of task %s: %w", step, task, err)
	}
	return a.records(), nil
}

// transition is one state change of a step, as the history has it.
type transition struct {
	at       store.Instant
	from, to string // from is "" for the first
}

// transitionsOf takes the changes of one step out of its task's history,
// oldest first.
func transitionsOf(rows []store.HistoryRow, position int) ([]transition, error) {
	var all []transition
	for _, row := range rows {
		var entries [][]any
		if err := json.Unmarshal(row.Changes, &entries); err != nil {
			return nil, fmt.Errorf("read history %d of task %d: %w", store.Position(row.ID), store.TaskOf(row.ID), err)
		}
		for _, entry := range entries {
			if len(entry) < 3 || entry[0] != float64(position) {
				continue
			}
			from, _ := entry[1].(string)
			for _, change := range entry[2:] {
				to, ok := change.(string)
				if !ok {
					break // who made the change and why
				}
				all = append(all, transition{row.At, from, to})
				from = to
			}
		}
	}
	return all, nil
}

// audit is what the records of a step are made from.
type audit struct {
	task        store.FullTask
	step        store.FullStep
	failed      []store.FailedAttempt
	transitions []transition
}

func (a *audit) records() []StepAudit {
	all := []StepAudit{}
	for i, t := range a.transitions {
		if t.to != StepEnqueuedForOrchestration.String() && t.to != StepEnqueuedAsErrorForOrchestration.String() {
			continue
		}
		all = append(all, a.record(i, t))
	}
	slices.Reverse(all)
	return all
}

func (a *audit) record(i int, t transition) StepAudit {
	event := stepEnqueueForOrchestration
	if t.to == StepEnqueuedAsErrorForOrchestration.String() {
		event = stepEnqueueAsErrorForOrchestration
	}
	correlation := a.task.CorrelationID
	r := StepAudit{
		AuditUUID:        uuid.NewV5(a.step.UUID, fmt.Sprintf("audit/%d", i)),
		TransitionUUID:   uuid.NewV5(a.step.UUID, fmt.Sprintf("transition/%d", i)),
		WorkflowStepUUID: a.step.UUID, TaskUUID: a.task.UUID, RecordedAt: t.at.Time(), CorrelationID: &correlation,
		StepName: a.step.Name, ToState: t.to,
	}
	if t.from != "" {
		r.FromState = &t.from
	}
	result, took, worker := a.outcome(i, t)
	r.Success = event == stepEnqueueForOrchestration
	if result == nil {
		return r
	}
	said := readOutcome(result)
	if said.Success != nil {
		r.Success = *said.Success
	}
	ms := took.Milliseconds()
	if took == 0 {
		ms = int64(said.Metadata.ExecutionTimeMS)
	}
	r.ExecutionTimeMS = &ms
	if worker == "" {
		worker = said.worker()
	}
	r.WorkerUUID = workerUUID(worker)
	r.Result = encoded(struct {
		Type string          `json:"type"`
		Data json.RawMessage `json:"data"`
	}{event.String(), result})
	return r
}

// outcome finds what the attempt that ended with transition i left: the result
// of a failed attempt is kept apart, that of a success in the step, until an
// operator completes the step with another.
func (a *audit) outcome(i int, t transition) (result []byte, took time.Duration, worker string) {
	for _, f := range a.failed { // one ends in a batch at most
		if f.RecordedAt == t.at {
			return f.Results, f.Duration, f.WorkerID
		}
	}
	if t.to != StepEnqueuedForOrchestration.String() {
		return nil, 0, ""
	}
	for _, later := range a.transitions[min(i+2, len(a.transitions)):] {
		if later.to == StepComplete.String() {
			return nil, 0, ""
		}
	}
	return a.step.Results, a.step.Duration, ""
}

// saidOutcome is what an audit reads of a stored result (engine-semantics
// §6.1). Python puts the worker at the top.
type saidOutcome struct {
	Success  *bool  `json:"success"`
	WorkerID string `json:"worker_id"`
	Metadata struct {
		ExecutionTimeMS float64 `json:"execution_time_ms"`
		WorkerID        string  `json:"worker_id"`
	} `json:"metadata"`
}

func readOutcome(result []byte) saidOutcome {
	var s saidOutcome
	// What is of another type than expected is as good as not there.
	_ = json.Unmarshal(result, &s)
	return s
}

func (s *saidOutcome) worker() string {
	if s.Metadata.WorkerID != "" {
		return s.Metadata.WorkerID
	}
	return s.WorkerID
}

// workers is the namespace of the uuids of workers, which have names here.
var workers = uuid.NewV5(uuid.Nil, "taskerpy workers")

// workerUUID is the uuid that a worker's name is, or the one that always
// stands for it; nil for no name.
func workerUUID(name string) *uuid.UUID {
	if name == "" {
		return nil
	}
	id, err := uuid.FromString(name)
	if err != nil {
		id = uuid.NewV5(workers, name)
	}
	return &id
}
