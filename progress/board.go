package progress

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/template"
)

// StepInfo is what is known of a step before its task runs.
type StepInfo struct {
	Name        string
	MaxAttempts int
	// Conditional steps exist only if a decision or a batch creates them.
	Conditional bool
	// BatchWorker steps never run themselves: their instances do, whose names
	// are this one and a batch id (engine-semantics §5.4).
	BatchWorker bool
}

// Steps lists the steps of a template in the order in which they can run.
func Steps(t *template.Template) []StepInfo {
	initial := map[int]bool{}
	for _, i := range t.InitialSteps() {
		initial[i] = true
	}
	infos := make([]StepInfo, 0, len(t.Steps))
	for _, i := range t.TopoOrder() {
		s := &t.Steps[i]
		infos = append(infos, StepInfo{
			Name: s.Name, MaxAttempts: int(s.Retry.MaxAttempts), Conditional: !initial[i], BatchWorker: s.Type == template.BatchWorker,
		})
	}
	return infos
}

// kind is what a state means to somebody who watches. The engine's states
// between a handler's end and the decision about it count as in progress.
type kind uint8

const (
	notCreated kind = iota
	pending
	enqueued
	inProgress
	waitingForRetry
	complete
	failed
	cancelled
	resolvedManually
	kinds
)

// kindNames are the words of engine-semantics §3.2, with blanks.
var kindNames = [kinds]string{
	"not created", "pending", "enqueued", "in progress", "waiting for retry", "complete", "error", "cancelled", "resolved manually",
}

func kindOf(state string) kind {
	s, ok := engine.ParseStepState(state)
	if !ok {
		return notCreated
	}
	switch s {
	case engine.StepEnqueued:
		return enqueued
	case engine.StepInProgress, engine.StepEnqueuedForOrchestration, engine.StepEnqueuedAsErrorForOrchestration:
		return inProgress
	case engine.StepWaitingForRetry:
		return waitingForRetry
	case engine.StepComplete:
		return complete
	case engine.StepError:
		return failed
	case engine.StepCancelled:
		return cancelled
	case engine.StepResolvedManually:
		return resolvedManually
	}
	return pending
}

// ended tells whether nothing more happens to the step by itself.
func (k kind) ended() bool { return k >= complete }

// row is one step.
type row struct {
	name        string
	label       string // the name as it is shown
	position    int    // of the template step it belongs to
	maxAttempts int
	mould       bool // a batch worker, shown as its instances once it has any
	instances   int

	kind     kind
	attempts int
	message  string
	began    time.Time // the last attempt
	left     time.Time // the handler of the last attempt, zero while it runs
	changed  int       // number of the last change, to find the newest
}

// took is how long the last attempt was in its handler.
func (r *row) took(now time.Time) time.Duration {
	switch {
	case r.began.IsZero():
		return 0
	case r.left.IsZero():
		return now.Sub(r.began)
	default:
		return r.left.Sub(r.began)
	}
}

// board is the task as it stands. It is not safe for concurrent use.
type board struct {
	title   string
	rows    []*row
	sorted  bool
	byName  map[string]*row
	moulds  []*row
	counts  [kinds]int // of rows but for moulds
	changes int

	began, ended time.Time
	task         string // state of the task, "" until known
	finished     bool   // nothing more will come
}

func newBoard(title string, steps []StepInfo, began time.Time) *board {
	b := &board{title: title, byName: make(map[string]*row, len(steps)), sorted: true, began: began}
	for i, s := range steps {
		if b.byName[s.Name] != nil {
			continue
		}
		r := &row{name: s.Name, label: OneLine(s.Name), position: i, maxAttempts: s.MaxAttempts, mould: s.BatchWorker, kind: pending}
		if s.Conditional {
			r.kind = notCreated
		}
		b.rows = append(b.rows, r)
		b.byName[s.Name] = r
		if r.mould {
			b.moulds = append(b.moulds, r)
		} else {
			b.counts[r.kind]++
		}
	}
	return b
}

// row finds the step's row, or makes one for a step created since.
func (b *board) row(name string) *row {
	if r := b.byName[name]; r != nil {
		return r
	}
	r := &row{name: name, label: OneLine(name), position: len(b.byName), kind: notCreated}
	var mould *row
	for _, m := range b.moulds {
		if strings.HasPrefix(name, m.name+"_") && (mould == nil || len(m.name) > len(mould.name)) {
			mould = m
		}
	}
	if mould != nil {
		mould.instances++
		r.position, r.maxAttempts = mould.position, mould.maxAttempts
	}
	b.rows = append(b.rows, r)
	b.byName[name] = r
	b.counts[r.kind]++
	b.sorted = false
	return r
}

// change takes one change in. It returns the step's row, nil for a change of
// the task itself, and what the step was before.
func (b *board) change(c engine.Change) (r *row, was kind) {
	if c.Step == "" {
		b.task, b.ended = c.To, time.Time{}
		if s, ok := engine.ParseTaskState(c.To); ok && s.Terminal() {
			b.ended = c.At
		}
		return nil, notCreated
	}
	r = b.row(c.Step)
	was = r.kind
	b.changes++
	r.changed = b.changes
	r.attempts = max(r.attempts, c.Attempts)
	switch state, _ := engine.ParseStepState(c.To); state {
	case engine.StepInProgress:
		r.began, r.left = c.At, time.Time{}
	case engine.StepPending, engine.StepEnqueued:
	default:
		if r.left.IsZero() {
			r.left = c.At
		}
	}
	b.set(r, kindOf(c.To))
	switch {
	case r.kind == waitingForRetry:
		// The engine's own words for "will be retried" (engine-semantics §4.2).
		r.message = OneLine(strings.TrimSuffix(c.Message, " - retryable"))
	case r.kind == failed:
		r.message = OneLine(c.Message)
	case r.kind.ended():
		r.message = ""
	}
	return r, was
}

func (b *board) set(r *row, k kind) {
	if r.mould {
		r.kind = k
		return
	}
	b.counts[r.kind]--
	r.kind = k
	b.counts[k]++
}

// finish takes the task as it ended, which tells of steps whose changes were
// missed.
func (b *board) finish(t engine.Task, now time.Time) {
	for _, s := range t.Steps {
		r := b.row(s.Name)
		r.attempts = s.Attempts
		r.maxAttempts = s.MaxAttempts
		if k := kindOf(s.CurrentState); k != r.kind {
			b.set(r, k)
			r.began = time.Time{} // when it ended is not known, so neither is how long it took
		}
	}
	if t.Status != "" {
		b.task = t.Status
	}
	switch {
	case t.CompletedAt != nil:
		b.ended = *t.CompletedAt
	case !b.ended.IsZero():
	case !t.UpdatedAt.IsZero():
		b.ended = t.UpdatedAt // what is blocked, and what a server tells no end of
	default:
		b.ended = now
	}
	b.finished = true
}

// ordered lists the rows to show, each instance of a batch worker in the
// worker's place.
func (b *board) ordered() []*row {
	if !b.sorted {
		slices.SortStableFunc(b.rows, func(x, y *row) int {
			return cmp.Or(cmp.Compare(x.position, y.position), cmp.Compare(x.name, y.name))
		})
		b.sorted = true
	}
	if len(b.moulds) == 0 {
		return b.rows
	}
	shown := make([]*row, 0, len(b.rows))
	for _, r := range b.rows {
		if !r.mould || r.instances == 0 {
			shown = append(shown, r)
		}
	}
	return shown
}

// elapsed is how long ago the task was created, or how long it took.
func (b *board) elapsed(now time.Time) time.Duration {
	if !b.ended.IsZero() {
		now = b.ended
	}
	return now.Sub(b.began)
}

// total counts the steps that exist or surely will.
func (b *board) total() int {
	n := 0
	for k := pending; k < kinds; k++ {
		n += b.counts[k]
	}
	return n
}

// succeeded tells whether the task ended well.
func (b *board) succeeded() bool {
	s, ok := engine.ParseTaskState(b.task)
	return ok && (s == engine.TaskComplete || s == engine.TaskResolvedManually)
}
