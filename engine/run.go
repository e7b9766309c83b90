package engine

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/engine/store"
)

// A run is a running task in memory. Only the writer goroutine touches it
// once the task is queued for creation. It is one batch ahead of the file at
// most: when that batch cannot be committed, all runs are read again.
type run struct {
	row   store.Task
	state TaskState
	saved TaskState // in the file; taskNew before the task is inserted
	named *namedTask
	key   templateKey
	steps []step
	// positions finds steps by name; nil until somebody asks.
	positions map[string]int32

	context []byte // until the task is inserted
	head    []byte // the part that all events of the task share

	counts [stepStates]int32
	// due are the steps that may be enqueued: their dependencies are
	// satisfied and no backoff holds them. What was cancelled meanwhile is
	// still among them.
	due []int32

	history      []byte // of the current batch, without the closing brackets
	historyOwner int32
	historyRows  int

	dirty      bool // listed in the batch
	toEvaluate bool // ditto
	dirtySteps []int32

	visit uint32 // number of the current walk over the steps
}

// taskItself is the owner of a task's own changes, among step positions.
const (
	taskItself int32 = -1
	explained  int32 = -2 // the entry is closed by an explanation
)

// step is a step of a running task.
type step struct {
	row       store.Step
	state     StepState
	saved     StepState // in the file; stepNew before the step is inserted
	name      string
	quoted    []byte // the name as JSON
	namedUUID uuid.UUID

	parents, children []int32
	missing           int32 // parents that do not satisfy yet

	dirty, newResults, newCheckpoint, newParents bool

	visit uint32 // the last walk that came here
}

// namedTask is a template as running tasks see it: replacing a template
// changes what their next steps are given.
type namedTask struct {
	row store.NamedTask
	def *definition // nil when the file's template cannot be read
	// active is set once this process registered the template. Until then
	// nobody here can run its steps: they are parked.
	active bool
	parked []parkedStep
	// enqueued is how many steps of its running tasks are enqueued.
	enqueued int32
}

// parkedStep is an enqueued step whose template is not registered.
type parkedStep struct {
	run      *run
	position int32
}

// definition returns the definition of a step, nil when the template no
// longer has one.
func (r *run) definition(s *step) *stepDefinition {
	if r.named.def == nil {
		return nil
	}
	return r.named.def.steps[s.templateName()]
}

// busy is how many steps are on their way to or from a handler.
func (r *run) busy() int32 {
	n := int32(0)
	for s := StepEnqueued; s <= StepEnqueuedAsErrorForOrchestration; s++ {
		n += r.counts[s]
	}
	return n
}

// settled tells whether nothing will happen to the task by itself any more.
func (r *run) settled() bool {
	return r.state.Terminal() || r.state == TaskBlockedByFailures && r.busy() == 0
}

// link fills in children and missing parents from the steps' parents.
func (r *run) link() error {
	for i := range r.steps {
		s := &r.steps[i]
		if s.row.Parents == nil {
			continue
		}
		if err := json.Unmarshal(s.row.Parents, &s.parents); err != nil {
			return fmt.Errorf("read dependencies of step %s of task %s: %w", s.name, r.row.UUID, err)
		}
		for _, p := range s.parents {
			if p < 0 || int(p) >= len(r.steps) {
				return fmt.Errorf("step %s of task %s depends on step number %d, which does not exist", s.name, r.row.UUID, p)
			}
			parent := &r.steps[p]
			parent.children = append(parent.children, int32(i))
			if !parent.state.Satisfies() {
				s.missing++
			}
		}
	}
	return nil
}

// ancestors calls f with each step that step i depends on, directly or not,
// up to a distance of maxAncestry (engine-semantics §6.2).
func (r *run) ancestors(i int32, f func(*step)) {
	r.visit++
	level := r.steps[i].parents
	for range maxAncestry {
		var next []int32
		for _, p := range level {
			s := &r.steps[p]
			if s.visit == r.visit {
				continue
			}
			s.visit = r.visit
			f(s)
			next = append(next, s.parents...)
		}
		if len(next) == 0 {
			return
		}
		level = next
	}
}

const maxAncestry = 50

// addDue lists a step as one that may be enqueued, once.
func (r *run) addDue(i int32) {
	if !slices.Contains(r.due, i) {
		r.due = append(r.due, i)
	}
}

// explain adds to the newest entry of the history who made the change and why.
func (r *run) explain(by, reason string) {
	b, err := json.Marshal(struct {
		By     string `json:"by,omitempty"`
		Reason string `json:"reason,omitempty"`
	}{by, reason})
	if err != nil {
		panic(err) // strings always encode
	}
	r.history = append(append(r.history, ','), b...)
	r.historyOwner = explained
}

// record adds a state change to the history of the current batch.
func (r *run) record(owner int32, from, to string) {
	b := r.history
	if len(b) > 0 && owner == r.historyOwner {
		b = append(b, ',', '"')
	} else {
		if len(b) == 0 {
			b = append(b, '[', '[')
		} else {
			b = append(b, ']', ',', '[')
		}
		if owner == taskItself {
			b = append(b, "null"...)
		} else {
			b = strconv.AppendInt(b, int64(owner), 10)
		}
		if from == "" {
			b = append(b, ",null,\""...)
		} else {
			b = append(b, ',', '"')
			b = append(b, from...)
			b = append(b, '"', ',', '"')
		}
	}
	b = append(b, to...)
	r.history = append(b, '"')
	r.historyOwner = owner
}
