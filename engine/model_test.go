package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// A model is what engine-semantics says about tasks, written down once more
// and as plainly as possible: no memory limits, no batches, no file. The
// property test drives it beside the engine.
type model struct{ tasks []*modelTask }

type modelTask struct {
	state string
	steps []*modelStep
	// touched is set when something happened to the task since it was
	// evaluated last.
	touched bool
}

type modelStep struct {
	name    string
	parents []int
	policy  modelPolicy

	state    string
	attempts int
	next     time.Time // of a step in waiting_for_retry
	result   string
	yielded  bool // in progress, and to be handed out again
	cursor   int  // of the last checkpoint
}

// modelPolicy is a step's retry policy. Durations are in milliseconds.
type modelPolicy struct {
	retryable   bool
	max         int
	backoff     string
	base, limit int
}

func (p modelPolicy) delay(attempts int) time.Duration {
	ms := p.base
	switch p.backoff {
	case "none":
		ms = 0
	case "linear":
		ms *= attempts
	case "exponential":
		for range attempts - 1 {
			ms *= 2
		}
	case "fibonacci":
		a, b := 0, 1
		for range attempts - 1 {
			a, b = b, a+b
		}
		ms *= b
	}
	return time.Duration(min(ms, p.limit)) * time.Millisecond
}

func satisfies(state string) bool { return state == "complete" || state == "resolved_manually" }

func terminal(state string) bool {
	return slices.Contains([]string{"complete", "error", "cancelled", "resolved_manually"}, state)
}

func (t *modelTask) create() {
	for _, s := range t.steps {
		s.state = "pending"
	}
	t.state = "initializing"
	t.touched = true
}

// claim tells of a step that was handed out; the error says why that is wrong.
func (t *modelTask) claim(s *modelStep, attempt int) error {
	switch {
	case s.state == "enqueued" && attempt == s.attempts+1:
		s.state, s.attempts = "in_progress", attempt
	case s.state == "in_progress" && s.yielded && attempt == s.attempts:
		s.yielded = false
	default:
		return fmt.Errorf("step %s was handed out as attempt %d while it is %s after %d attempts", s.name, attempt, s.state, s.attempts)
	}
	return nil
}

// modelResult is what a handler brings.
type modelResult struct {
	kind   string // success, retryable, permanent or yield
	asked  time.Duration
	result string
	cursor int
}

// apply takes the result of an attempt; nobody may wait for it any more.
func (t *modelTask) apply(s *modelStep, attempt int, r modelResult, now time.Time) {
	if s.state != "in_progress" || s.attempts != attempt {
		return
	}
	if r.kind == "yield" {
		s.yielded, s.cursor = true, r.cursor
		return
	}
	t.touched = true
	s.result = r.result
	switch {
	case r.kind == "success":
		s.state = "complete"
	case r.kind == "permanent":
		s.state = "error"
	default:
		delay := s.policy.delay(s.attempts)
		if r.asked > 0 {
			delay = r.asked
		}
		s.fail(now.Add(delay))
	}
}

// fail ends an attempt that may be followed by another.
func (s *modelStep) fail(next time.Time) {
	s.yielded = false
	if !s.policy.retryable || s.attempts >= s.policy.max {
		s.state = "error"
		return
	}
	s.state, s.next = "waiting_for_retry", next
}

// cancel cancels the task and tells whether it could be.
func (t *modelTask) cancel() bool {
	if t.state == "" || terminal(t.state) {
		return false
	}
	for _, s := range t.steps {
		if s.state != "complete" && s.state != "resolved_manually" {
			s.state = "cancelled"
		}
	}
	t.state = "cancelled"
	return true
}

// operate changes a step by hand, with reset, resolve or complete, and tells
// whether that was possible.
func (t *modelTask) operate(s *modelStep, what, result string) bool {
	if s.state == "" || what == "reset" && s.state != "error" {
		return false
	}
	s.yielded = false
	switch what {
	case "reset":
		s.state, s.attempts = "pending", 0
	case "resolve":
		s.state = "resolved_manually"
	case "complete":
		s.state, s.result = "complete", result
	}
	switch {
	case terminal(t.state):
	case t.state == "blocked_by_failures":
		if !t.has("error") {
			t.state, t.touched = "evaluating_results", true
		}
	default:
		t.touched = true
	}
	return true
}

// die is what the end of the process means: attempts under way have failed.
func (m *model) die(now time.Time) bool {
	for _, t := range m.tasks {
		for _, s := range t.steps {
			if s.state == "in_progress" {
				t.touched = true
				s.result = "worker_lost"
				s.fail(now)
			}
		}
	}
	return true
}

func (t *modelTask) has(states ...string) bool {
	return slices.ContainsFunc(t.steps, func(s *modelStep) bool { return slices.Contains(states, s.state) })
}

// evaluate decides what comes next for all tasks.
func (m *model) evaluate(now time.Time) {
	for _, t := range m.tasks {
		t.evaluate(now)
	}
}

func (t *modelTask) evaluate(now time.Time) {
	if t.state == "" || terminal(t.state) || t.state == "blocked_by_failures" {
		t.touched = false
		return
	}
	var due []*modelStep
	for _, s := range t.steps {
		waits := slices.ContainsFunc(s.parents, func(p int) bool { return !satisfies(t.steps[p].state) })
		if s.state == "pending" && !waits || s.state == "waiting_for_retry" && !s.next.After(now) {
			due = append(due, s)
		}
	}
	if !t.touched && len(due) == 0 {
		return
	}
	t.touched = false
	switch {
	case t.has("error"):
		t.state = "blocked_by_failures"
	case len(due) > 0:
		for _, s := range due {
			s.state = "enqueued"
		}
		t.state = "steps_in_process"
	case t.has("enqueued", "in_progress"):
		t.state = "evaluating_results"
	case !slices.ContainsFunc(t.steps, func(s *modelStep) bool { return !satisfies(s.state) }):
		t.state = "complete"
	default:
		t.state = "waiting_for_dependencies"
	}
}

// ancestors are the steps that step i sees the results of.
func (t *modelTask) ancestors(i int) map[string]string {
	seen := map[string]string{}
	var walk func(int)
	walk = func(i int) {
		for _, p := range t.steps[i].parents {
			if s := t.steps[p]; s.state == "complete" {
				seen[s.name] = s.result
			}
			walk(p)
		}
	}
	walk(i)
	return seen
}

// claimed checks a step that the engine handed out.
func (m *model) claimed(task int, name string, attempt int, event []byte) error {
	if task >= len(m.tasks) {
		return fmt.Errorf("a step of task %d was handed out, which does not exist", task)
	}
	t := m.tasks[task]
	i := slices.IndexFunc(t.steps, func(s *modelStep) bool { return s.name == name })
	s := t.steps[i]
	if err := t.claim(s, attempt); err != nil {
		return fmt.Errorf("task %d: %w", task, err)
	}
	var seen struct {
		Sequence struct {
			Step struct {
				Attempts   int `json:"attempts"`
				Checkpoint *struct{ Cursor int }
			} `json:"workflow_step"`
			Dependencies map[string]struct{ Result string } `json:"dependency_results"`
		} `json:"task_sequence_step"`
	}
	if err := json.Unmarshal(event, &seen); err != nil {
		return fmt.Errorf("task %d, step %s: %w", task, name, err)
	}
	results := map[string]string{}
	for name, r := range seen.Sequence.Dependencies {
		results[name] = r.Result
	}
	cursor := 0
	if c := seen.Sequence.Step.Checkpoint; c != nil {
		cursor = c.Cursor
	}
	switch want := t.ancestors(i); {
	case !maps.Equal(want, results):
		return fmt.Errorf("task %d, step %s sees results %v of its ancestors, want %v", task, name, results, want)
	case seen.Sequence.Step.Attempts != attempt-1:
		return fmt.Errorf("task %d, step %s sees %d attempts in its attempt %d", task, name, seen.Sequence.Step.Attempts, attempt)
	case cursor != s.cursor:
		return fmt.Errorf("task %d, step %s sees checkpoint %d, want %d", task, name, cursor, s.cursor)
	}
	return nil
}
