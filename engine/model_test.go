package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/uuid/v5"
)

// A model is what engine-semantics says about tasks, written down once more
// and as plainly as possible: no memory limits, no batches of requests, no
// file. The property test drives it beside the engine.
type model struct {
	tasks []*modelTask
	// publications are the finished attempts whose events are due.
	publications []*modelPublication
}

type modelTask struct {
	number   int
	template *modelTemplate
	state    string
	steps    []*modelStep
	// touched is set when something happened to the task since it was
	// evaluated last.
	touched bool
}

type modelStep struct {
	name    string
	def     *modelDef // of its template step
	parents []string
	batch   modelBatch // of an instance of a batch worker

	state    string
	attempts int
	next     time.Time // of a step in waiting_for_retry
	result   string
	yielded  bool // in progress, and to be handed out again
	resumed  bool // the attempt under way was handed out before
	cursor   int  // of the last checkpoint
}

// modelPolicy is a step's retry policy. Durations are in milliseconds.
type modelPolicy struct {
	retryable   bool
	max         int
	backoff     string
	base, limit int
}

// modelPublication is a finished attempt of a step that declares an event.
type modelPublication struct {
	task, attempt int
	step, result  string
	id            uuid.UUID // of its event; nil until somebody saw it
	taken         bool      // by whoever publishes now
	done          bool      // its event is stored
}

// publishesWhen tells whether an attempt that ended like this makes the event of
// the declared condition due (engine-semantics §8.1).
func publishesWhen(condition string, success, retryable bool) bool {
	switch condition {
	case "always":
		return true
	case "success":
		return success
	case "failure":
		return !success
	case "retryable_failure":
		return !success && retryable
	case "permanent_failure":
		return !success && !retryable
	}
	return false
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
	t.steps = t.template.initial()
	t.state = "initializing"
	t.touched = true
}

// claim tells of a step that was handed out; the error says why that is wrong.
// begun says that the file has the attempt already, from a commit of which
// nobody was told: then it goes on, also when its handler is not entered.
func (t *modelTask) claim(s *modelStep, attempt int, begun bool) error {
	switch {
	case s.state == "enqueued" && attempt == s.attempts+1:
		s.state, s.attempts, s.resumed = "in_progress", attempt, begun
	case s.state == "in_progress" && s.yielded && attempt == s.attempts:
		s.yielded, s.resumed = false, true
	default:
		return fmt.Errorf("step %s was handed out as attempt %d while it is %s after %d attempts", s.name, attempt, s.state, s.attempts)
	}
	return nil
}

// modelResult is what a handler brings.
type modelResult struct {
	kind    string // success, retryable, permanent, yield or unstarted
	asked   time.Duration
	result  string // JSON of a success, else the message
	outcome modelOutcome
	cursor  int
}

// apply takes the result of an attempt; nobody may wait for it any more.
func (m *model) apply(t *modelTask, s *modelStep, attempt int, r modelResult, now time.Time) {
	if s.state != "in_progress" || s.attempts != attempt {
		return
	}
	if r.kind == "yield" {
		s.yielded, s.cursor = true, r.cursor
		return
	}
	if r.kind == "unstarted" { // as if it had not been handed out
		if s.yielded = s.resumed; !s.resumed {
			s.state, s.attempts = "enqueued", s.attempts-1
		}
		return
	}
	t.touched = true
	s.result = r.result
	switch {
	case r.kind == "success":
		s.state = "complete"
		if !t.follow(s, r.outcome) {
			s.state = "error"
		}
	case r.kind == "permanent":
		s.state = "error"
	default:
		delay := s.def.policy.delay(s.attempts)
		if r.asked > 0 {
			delay = r.asked
		}
		s.fail(now.Add(delay))
	}
	if publishesWhen(s.def.event, s.state == "complete", r.kind == "retryable") {
		m.publications = append(m.publications, &modelPublication{task: t.number, step: s.name, attempt: attempt, result: r.result})
	}
}

// fail ends an attempt that may be followed by another.
func (s *modelStep) fail(next time.Time) {
	s.yielded = false
	if p := s.def.policy; !p.retryable || s.attempts >= p.max {
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
func (t *modelTask) operate(s *modelStep, what, result string, outcome modelOutcome) bool {
	if what == "reset" && s.state != "error" {
		return false
	}
	if what == "complete" && !terminal(t.state) && !t.follow(s, outcome) { // a finished task stays as it is
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
		waits := slices.ContainsFunc(s.parents, func(p string) bool { return !satisfies(t.step(p).state) })
		if !waits && (s.state == "pending" || s.state == "waiting_for_retry" && !s.next.After(now)) {
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

// step finds a step by name; nil when there is none.
func (t *modelTask) step(name string) *modelStep {
	for _, s := range t.steps {
		if s.name == name {
			return s
		}
	}
	return nil
}

// ancestors are the results that a step sees.
func (t *modelTask) ancestors(s *modelStep) map[string]string {
	seen := map[string]string{}
	var walk func(*modelStep)
	walk = func(s *modelStep) {
		for _, name := range s.parents {
			p := t.step(name)
			if p.state == "complete" {
				seen[name] = p.result
			}
			walk(p)
		}
	}
	walk(s)
	return seen
}

// handedOut is what the model looks at in the event of a step.
type handedOut struct {
	Sequence struct {
		Task struct {
			Task struct{ Context struct{ N int } }
		}
		Step struct {
			Name       string
			Attempts   int
			Checkpoint *struct{ Cursor int }
			Inputs     struct {
				Cursor struct {
					BatchID string `json:"batch_id"`
				}
				NoOp bool `json:"is_no_op"`
			}
		} `json:"workflow_step"`
		Dependencies map[string]struct{ Result json.RawMessage } `json:"dependency_results"`
		Definition   struct{ Name string }                       `json:"step_definition"`
	} `json:"task_sequence_step"`
}

// claimed checks a step that the engine handed out.
func (m *model) claimed(event *handedOut, attempt int, begun bool) error {
	seen := &event.Sequence
	n, name := seen.Task.Task.Context.N, seen.Step.Name
	if n >= len(m.tasks) {
		return fmt.Errorf("a step of task %d was handed out, which does not exist", n)
	}
	t := m.tasks[n]
	s := t.step(name)
	if s == nil {
		return fmt.Errorf("step %s of task %d was handed out, which does not exist", name, n)
	}
	if err := t.claim(s, attempt, begun); err != nil {
		return fmt.Errorf("task %d: %w", n, err)
	}
	results := map[string]string{}
	for name, r := range seen.Dependencies {
		results[name] = string(r.Result)
	}
	cursor := 0
	if c := seen.Step.Checkpoint; c != nil {
		cursor = c.Cursor
	}
	batch := modelBatch{seen.Step.Inputs.Cursor.BatchID, seen.Step.Inputs.NoOp}
	switch want := t.ancestors(s); {
	case !maps.Equal(want, results):
		return fmt.Errorf("task %d, step %s sees results %v of its ancestors, want %v", n, name, results, want)
	case seen.Step.Attempts != attempt-1:
		return fmt.Errorf("task %d, step %s sees %d attempts in its attempt %d", n, name, seen.Step.Attempts, attempt)
	case cursor != s.cursor:
		return fmt.Errorf("task %d, step %s sees checkpoint %d, want %d", n, name, cursor, s.cursor)
	case batch != s.batch:
		return fmt.Errorf("task %d, step %s sees batch %v, want %v", n, name, batch, s.batch)
	case seen.Definition.Name != s.def.name:
		return fmt.Errorf("task %d, step %s sees the definition of %s, want that of %s", n, name, seen.Definition.Name, s.def.name)
	}
	return nil
}

// fresh tells whether a step that is handed out had not begun, as far as the
// model knows.
func (m *model) fresh(event *handedOut) bool {
	n, name := event.Sequence.Task.Task.Context.N, event.Sequence.Step.Name
	if n >= len(m.tasks) {
		return false
	}
	s := m.tasks[n].step(name)
	return s != nil && s.state != "in_progress"
}

// published checks an attempt whose events the engine wants published.
func (m *model) published(p *Publication) (*modelPublication, error) {
	var event handedOut
	if err := json.Unmarshal(p.Event, &event); err != nil {
		return nil, err
	}
	n, name, id := event.Sequence.Task.Task.Context.N, event.Sequence.Step.Name, p.EventID(0)
	for _, due := range m.publications {
		if due.task != n || due.step != name || due.attempt != p.Attempt || due.taken || due.done && due.id != id ||
			due.id != uuid.Nil && due.id != id || !strings.Contains(string(p.Result), due.result) {
			continue
		}
		due.taken, due.id = true, id
		for _, other := range m.publications {
			if other != due && other.id == id {
				return nil, fmt.Errorf("two attempts of step %s of task %d have events of the same id", name, n)
			}
		}
		return due, nil
	}
	return nil, fmt.Errorf("events of attempt %d of step %s of task %d are to be published, which are not due", p.Attempt, name, n)
}
