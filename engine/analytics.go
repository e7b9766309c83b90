package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/tasker-systems/taskerpy/engine/store"
)

const (
	// analyticsLife is how long an answer is given again.
	analyticsLife = time.Minute
	// maxHours bounds the window of Performance: a year.
	maxHours = 24 * 365
	// maxAnalysed is how many tasks, the newest, are searched for bottlenecks.
	maxAnalysed = 100_000
)

// Performance tells how the tasks created in a window of time fared
// (PerformanceMetrics, engine-semantics §9.5). It counts by the states of
// tasks: failed are those in error or blocked by failures; active those that
// something will still happen to. Rates are in percent.
type Performance struct {
	TotalTasks                 int       `json:"total_tasks"`
	ActiveTasks                int       `json:"active_tasks"`
	CompletedTasks             int       `json:"completed_tasks"`
	FailedTasks                int       `json:"failed_tasks"`
	CompletionRate             float64   `json:"completion_rate"`
	ErrorRate                  float64   `json:"error_rate"`
	AverageTaskDurationSeconds float64   `json:"average_task_duration_seconds"` // of completed tasks, from creation on
	AverageStepDurationSeconds float64   `json:"average_step_duration_seconds"` // of completed steps, in the handler
	TasksPerHour               float64   `json:"tasks_per_hour"`                // created
	StepsPerHour               float64   `json:"steps_per_hour"`                // completed
	SystemHealthScore          float64   `json:"system_health_score"`           // completed of finished in the last hour; 1 when none
	AnalysisPeriodStart        time.Time `json:"analysis_period_start"`
	CalculatedAt               time.Time `json:"calculated_at"`
}

// Bottlenecks tells what is slow, and how much there is of everything
// (BottleneckAnalysis, engine-semantics §9.5).
type Bottlenecks struct {
	SlowSteps           []SlowStep          `json:"slow_steps"`
	SlowTasks           []SlowTask          `json:"slow_tasks"`
	ResourceUtilization ResourceUtilization `json:"resource_utilization"`
	Recommendations     []string            `json:"recommendations"`
}

// SlowStep is a step of a template by the time that its last attempts took.
type SlowStep struct {
	NamespaceName          string     `json:"namespace_name"`
	TaskName               string     `json:"task_name"`
	Version                string     `json:"version"`
	StepName               string     `json:"step_name"`
	AverageDurationSeconds float64    `json:"average_duration_seconds"`
	MaxDurationSeconds     float64    `json:"max_duration_seconds"`
	ExecutionCount         int        `json:"execution_count"`
	ErrorCount             int        `json:"error_count"`
	ErrorRate              float64    `json:"error_rate"` // percent
	LastExecutedAt         *time.Time `json:"last_executed_at"`
}

// SlowTask is a template by the time that its finished tasks took.
type SlowTask struct {
	NamespaceName          string     `json:"namespace_name"`
	TaskName               string     `json:"task_name"`
	Version                string     `json:"version"`
	AverageDurationSeconds float64    `json:"average_duration_seconds"`
	MaxDurationSeconds     float64    `json:"max_duration_seconds"`
	ExecutionCount         int        `json:"execution_count"`
	AverageStepCount       float64    `json:"average_step_count"`
	ErrorCount             int        `json:"error_count"`
	ErrorRate              float64    `json:"error_rate"` // percent
	LastExecutedAt         *time.Time `json:"last_executed_at"`
}

// ResourceUtilization tells how much there is of everything in the file.
type ResourceUtilization struct {
	// DatabasePoolUtilization is the part of the reading connections in use,
	// from 0 to 1.
	DatabasePoolUtilization float64 `json:"database_pool_utilization"`
	// SystemHealth has a count for each task state, as in complete_tasks, for
	// each step state, as in complete_steps, and both totals.
	SystemHealth map[string]int `json:"system_health"`
}

// Performance analyses the tasks created within the last hours; 0 means 1. An
// answer may be up to a minute old. The error is ErrInvalid for more than a
// year, or ErrClosed.
func (e *Engine) Performance(ctx context.Context, hours int) (Performance, error) {
	if hours < 0 || hours > maxHours {
		return Performance{}, fmt.Errorf("%w: hours must be from 0 to %d; %d is not", ErrInvalid, maxHours, hours)
	}
	hours = max(hours, 1)
	return cached(ctx, &e.analytics, hours, func() (p Performance, err error) {
		err = e.read(ctx, func(r *store.Reader) error {
			p, err = performance(ctx, r, time.Duration(hours)*time.Hour, time.Now().UTC())
			return err
		})
		return p, err
	})
}

// bottleneckQuery is what Bottlenecks is asked.
type bottleneckQuery struct{ limit, least int }

// Bottlenecks returns the slowest steps and templates among the newest tasks,
// at most limit of each, and only those executed at least so often. An answer
// may be up to a minute old.
func (e *Engine) Bottlenecks(ctx context.Context, limit, least int) (Bottlenecks, error) {
	return cached(ctx, &e.analytics, bottleneckQuery{limit, least}, func() (b Bottlenecks, err error) {
		err = e.read(ctx, func(r *store.Reader) error {
			utilization := e.store.Utilization()
			b, err = bottlenecks(ctx, r, limit, least)
			b.ResourceUtilization.DatabasePoolUtilization = utilization
			return err
		})
		b.Recommendations = b.recommend()
		return b, err
	})
}

// analytics keeps answers that are dear to find. One is looked for at a time.
type analytics struct {
	turn    chan struct{} // has room for one
	answers map[any]answer
}

type answer struct {
	at    time.Time
	value any
}

func newAnalytics() analytics {
	return analytics{turn: make(chan struct{}, 1), answers: map[any]answer{}}
}

func cached[T any](ctx context.Context, a *analytics, question any, find func() (T, error)) (T, error) {
	var none T
	select {
	case a.turn <- struct{}{}:
	case <-ctx.Done():
		return none, ctx.Err()
	}
	defer func() { <-a.turn }()
	now := time.Now()
	for q, old := range a.answers {
		if now.Sub(old.at) >= analyticsLife {
			delete(a.answers, q)
		}
	}
	if known, ok := a.answers[question].value.(T); ok {
		return known, nil
	}
	found, err := find()
	if err != nil {
		return none, fmt.Errorf("analyse tasks: %w", err)
	}
	a.answers[question] = answer{now, found}
	return found, nil
}

func performance(ctx context.Context, r *store.Reader, window time.Duration, now time.Time) (Performance, error) {
	p := Performance{AnalysisPeriodStart: now.Add(-window), CalculatedAt: now, SystemHealthScore: 1}
	first, err := r.FirstTaskSince(ctx, store.At(p.AnalysisPeriodStart))
	if err != nil {
		return p, err
	}
	tasks, err := r.CountTasks(ctx, first)
	if err != nil {
		return p, err
	}
	steps, err := r.CountSteps(ctx, first)
	if err != nil {
		return p, err
	}
	recent := first
	if window > time.Hour {
		if recent, err = r.FirstTaskSince(ctx, store.At(now.Add(-time.Hour))); err != nil {
			return p, err
		}
	}
	lastHour, err := r.CountTasks(ctx, recent)
	if err != nil {
		return p, err
	}
	fates := fatesOf(tasks)
	p.TotalTasks, p.ActiveTasks, p.CompletedTasks, p.FailedTasks = fates.all, fates.active, fates.completed, fates.failed
	p.CompletionRate, p.ErrorRate = percent(fates.completed, fates.all), percent(fates.failed, fates.all)
	p.AverageTaskDurationSeconds = average(fates.took, fates.completed)
	p.TasksPerHour = float64(fates.all) / window.Hours()
	for _, s := range steps {
		if s.State == StepComplete.String() {
			p.StepsPerHour = float64(s.Steps) / window.Hours()
			p.AverageStepDurationSeconds = average(s.Took, s.Measured)
		}
	}
	if f := fatesOf(lastHour); f.completed+f.failed > 0 {
		p.SystemHealthScore = float64(f.completed) / float64(f.completed+f.failed)
	}
	return p, nil
}

// fates are counts of tasks by what became of them.
type fates struct {
	all, active, completed, failed int
	took                           time.Duration // by the completed ones
}

func fatesOf(counts []store.TaskCount) fates {
	var f fates
	for _, c := range counts {
		f.all += c.Tasks
		switch state, _ := ParseTaskState(c.State); state {
		case TaskComplete, TaskResolvedManually:
			f.completed += c.Tasks
			f.took += c.Took
		case TaskError, TaskBlockedByFailures:
			f.failed += c.Tasks
		case TaskCancelled:
		default:
			f.active += c.Tasks
		}
	}
	return f
}

func bottlenecks(ctx context.Context, r *store.Reader, limit, least int) (Bottlenecks, error) {
	b := Bottlenecks{SlowSteps: []SlowStep{}, SlowTasks: []SlowTask{}, ResourceUtilization: ResourceUtilization{SystemHealth: map[string]int{}}}
	last, err := r.LastTaskID(ctx)
	if err != nil {
		return b, err
	}
	first := max(last-maxAnalysed, 0)
	steps, err := r.SlowSteps(ctx, first, least, limit)
	if err != nil {
		return b, err
	}
	for i := range steps {
		s := &steps[i]
		b.SlowSteps = append(b.SlowSteps, SlowStep{
			NamespaceName: s.Namespace, TaskName: s.TaskName, Version: s.Version, StepName: s.Step,
			AverageDurationSeconds: s.Average.Seconds(), MaxDurationSeconds: s.Most.Seconds(),
			ExecutionCount: s.Executions, ErrorCount: s.Errors, ErrorRate: percent(s.Errors, s.Executions), LastExecutedAt: timeOf(s.Last),
		})
	}
	tasks, err := r.SlowTasks(ctx, first, least, limit, [2]string{TaskError.String(), TaskBlockedByFailures.String()})
	if err != nil {
		return b, err
	}
	for i := range tasks {
		t := &tasks[i]
		b.SlowTasks = append(b.SlowTasks, SlowTask{
			NamespaceName: t.Namespace, TaskName: t.TaskName, Version: t.Version,
			AverageDurationSeconds: t.Average.Seconds(), MaxDurationSeconds: t.Most.Seconds(), ExecutionCount: t.Executions,
			AverageStepCount: t.Steps, ErrorCount: t.Errors, ErrorRate: percent(t.Errors, t.Executions), LastExecutedAt: timeOf(t.Last),
		})
	}
	return b, countStates(ctx, r, b.ResourceUtilization.SystemHealth)
}

// countStates counts everything in the file by its state.
func countStates(ctx context.Context, r *store.Reader, into map[string]int) error {
	tasks, err := r.CountTasks(ctx, 0)
	if err != nil {
		return err
	}
	steps, err := r.CountSteps(ctx, 0)
	if err != nil {
		return err
	}
	for s := TaskPending; s < taskStates; s++ {
		into[s.String()+"_tasks"] = 0
	}
	for s := StepPending; s < stepStates; s++ {
		into[s.String()+"_steps"] = 0
	}
	into["total_tasks"], into["total_steps"] = 0, 0
	for _, c := range tasks {
		into[c.State+"_tasks"] = c.Tasks
		into["total_tasks"] += c.Tasks
	}
	for _, c := range steps {
		into[c.State+"_steps"] = c.Steps
		into["total_steps"] += c.Steps
	}
	return nil
}

// Above these a recommendation is given.
const (
	muchErrorRate   = 20.0 // percent
	muchUtilization = 0.8
	muchDuration    = 30.0 // seconds
)

// recommend says what to look at, a sentence each.
func (b *Bottlenecks) recommend() []string {
	all := []string{}
	var failing, slow *SlowStep
	for i := range b.SlowSteps {
		s := &b.SlowSteps[i]
		if failing == nil || s.ErrorRate > failing.ErrorRate {
			failing = s
		}
		if slow == nil || s.AverageDurationSeconds > slow.AverageDurationSeconds {
			slow = s
		}
	}
	if failing != nil && failing.ErrorRate > muchErrorRate {
		all = append(all, fmt.Sprintf("Step %s of %s/%s fails in %.1f %% of its executions: look at its errors.",
			failing.StepName, failing.NamespaceName, failing.TaskName, failing.ErrorRate))
	}
	if u := b.ResourceUtilization.DatabasePoolUtilization; u > muchUtilization {
		all = append(all, fmt.Sprintf("%.0f %% of the connections for reading are in use: ask for fewer lists at once.", 100*u))
	}
	if slow != nil && slow.AverageDurationSeconds > muchDuration {
		all = append(all, fmt.Sprintf("Step %s of %s/%s takes %.1f s on average: make it faster, or divide it into batches.",
			slow.StepName, slow.NamespaceName, slow.TaskName, slow.AverageDurationSeconds))
	}
	return all
}

func percent(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
}

func average(sum time.Duration, n int) float64 {
	if n == 0 {
		return 0
	}
	return sum.Seconds() / float64(n)
}
