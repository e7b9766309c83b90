package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/engine/store"
	"github.com/tasker-systems/taskerpy/template"
)

// How much the property test does, and where it begins:
//
//	go test ./engine -run TheModelSays -model.cases 10000
//	go test ./engine -run TheModelSays -model.seed 123 -model.cases 1
var (
	modelCases = flag.Uint64("model.cases", 1000, "how many tasks the property test of the engine runs")
	modelSeed  = flag.Uint64("model.seed", 0, "which world the property test of the engine begins with; 0 is a random one")
)

const tasksPerWorld = 20

// TestTheEngineDoesWhatTheModelSays drives random graphs of all step types
// through random results, delays, checkpoints, cancellations, operators,
// events, failing commits and crashes, and compares each state, attempt,
// result and time with the model's. It prints the seed of what fails.
func TestTheEngineDoesWhatTheModelSays(t *testing.T) {
	first := *modelSeed
	if first == 0 {
		first = rand.Uint64N(1 << 32)
	}
	end := first + (*modelCases+tasksPerWorld-1)/tasksPerWorld
	var next atomic.Uint64
	next.Store(first)
	for range min(runtime.GOMAXPROCS(0), 4) {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for seed := next.Add(1) - 1; seed < end; seed = next.Add(1) - 1 {
				if !t.Run("", func(t *testing.T) { liveOnce(t, seed) }) {
					next.Store(end)
				}
			}
		})
	}
}

func liveOnce(t *testing.T, seed uint64) {
	dir := quickDir(t) // outside of the bubble: it is removed last
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed, dir)
		defer func() {
			if t.Failed() {
				t.Logf("repeat with -model.seed %d -model.cases 1\n%s", seed, strings.Join(w.story, "\n"))
			}
		}()
		w.live()
	})
}

// world is one engine with its model.
type world struct {
	t     *testing.T
	r     *rand.Rand
	dir   string
	files int // number of crashes; -1 in memory
	e     *Engine

	templates []*template.Template
	shapes    []*modelTemplate

	stopClaims func()

	mu      sync.Mutex
	model   model
	effects []*effect // handed in and not durable yet, in order
	held    []heldStep
	wrong   []string
	failing struct{ before, after int }
	doubt   bool        // a commit looked failed: steps may be claimed that nobody has yet
	doubted bool        // it was so at some time, or the process died after a commit
	crash   store.Point // take the files at this point of the next commit
	copied  string      // where they are; the engine is dead then

	ids   []uuid.UUID // of tasks; nil when not known yet
	stale []heldStep  // results that came already
	due   []duePublication
	story []string
}

// duePublication is one that nobody has published yet.
type duePublication struct {
	given Publication
	model *modelPublication
}

// effect is something that becomes true with a commit, if the state of things
// then allows it.
type effect struct {
	apply func(now time.Time) bool
	done  bool
}

// heldStep is a step that a worker has.
type heldStep struct {
	task, attempt int
	step          string
	given         *dispatch.Step
}

func newWorld(t *testing.T, seed uint64, dir string) *world {
	w := &world{t: t, r: rand.New(rand.NewPCG(seed, 1)), dir: dir, files: -1}
	if w.r.IntN(3) == 0 {
		w.files = 0
	}
	for i := range 3 {
		shape := makeShape(w.r, fmt.Sprint("random_", i))
		w.templates, w.shapes = append(w.templates, parse(t, shape.yaml())), append(w.shapes, shape)
		w.note("%s", shape.yaml())
	}
	w.open()
	return w
}

func (w *world) note(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf("%s ", time.Now().UTC().Format("04:05.000"))+fmt.Sprintf(format, args...))
}

// subscriber is the one consumer of events in a world.
const subscriber = "listener"

// open opens the engine on what the last one left, and starts its workers.
func (w *world) open() {
	path := memory
	if w.files >= 0 {
		path = filepath.Join(w.dir, fmt.Sprint(w.files, ".db"))
	}
	e, err := Open(w.t.Context(), Options{Path: path, NoJitter: true, Log: slog.New(alarm{w.t}), fault: w.commit})
	require.NoError(w.t, err)
	require.NoError(w.t, e.Register(w.t.Context(), w.templates...))
	require.NoError(w.t, e.Subscribe(w.t.Context(), subscriber))
	w.e = e
	ctx, cancel := context.WithCancel(context.Background())
	var workers sync.WaitGroup
	for range 1 + w.r.IntN(3) {
		limit := 1000 // crashes are easier to follow when nothing stays enqueued
		if w.files < 0 {
			limit = 1 + w.r.IntN(4)
		}
		workers.Go(func() {
			for {
				steps, err := e.Claim(ctx, limit)
				if err != nil {
					return
				}
				w.claimed(steps)
			}
		})
	}
	w.stopClaims = func() { cancel(); workers.Wait() }
	w.t.Cleanup(func() { // when the test failed
		w.stopClaims()
		_ = e.Close(context.Background())
	})
}

// commit is called by the engine at each commit: what is durable then has
// happened.
func (w *world) commit(p store.Point) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.copied != "" {
		return errBroken
	}
	if p == store.BeforeCommit && w.failing.before > 0 {
		w.failing.before--
		return errBroken
	}
	if p == w.crash {
		w.doubted = w.doubted || p == store.AfterCommit
		w.copied = copyFiles(w.t, w.e.o.Path, filepath.Join(w.dir, fmt.Sprint(w.files+1, ".db")))
		return errBroken
	}
	if p == store.AfterCommit {
		if w.failing.after > 0 {
			w.failing.after--
			w.doubt, w.doubted = true, true
			return errBroken
		}
		return nil
	}
	now := time.Now()
	w.happen(now)
	return nil
}

// happen lets everything happen that was handed in.
func (w *world) happen(now time.Time) {
	for _, x := range w.effects {
		x.done = x.apply(now)
	}
	w.effects = nil
	w.model.evaluate(now)
}

// claimed takes what the engine hands out.
func (w *world) claimed(steps []*dispatch.Step) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.effects) > 0 {
		w.happen(time.Now()) // a step that was not started comes again without a commit
	}
	for _, s := range steps {
		var event handedOut
		if err := json.Unmarshal(s.Event, &event); err != nil {
			w.wrong = append(w.wrong, err.Error())
			return
		}
		begun := s.Handle.(*claim).again
		if begun && !w.doubted && w.model.fresh(&event) {
			w.wrong = append(w.wrong, fmt.Sprintf("step %s is said to have begun before", s.Name))
			return
		}
		if err := w.model.claimed(&event, s.Attempt, begun); err != nil {
			w.wrong = append(w.wrong, err.Error())
			return
		}
		n := event.Sequence.Task.Task.Context.N
		w.held = append(w.held, heldStep{n, s.Attempt, s.Name, s})
		w.ids[n] = s.TaskUUID
	}
}

// hand adds effects that the next commit of the engine will have.
func (w *world) hand(x ...*effect) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.effects = append(w.effects, x...)
}

// answered compares what the engine answered to a request with its effect.
func (w *world) answered(x *effect, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !x.done {
		w.effects = slices.DeleteFunc(w.effects, func(y *effect) bool { return x == y })
	}
	switch {
	case errors.Is(err, ErrUnavailable):
	case err == nil && !x.done:
		w.wrong = append(w.wrong, "the engine said yes to what is not done")
	case (errors.Is(err, ErrInvalidState) || errors.Is(err, ErrInvalid)) && x.done:
		w.wrong = append(w.wrong, fmt.Sprintf("refused with %v, and done", err))
	case err != nil && !errors.Is(err, ErrInvalidState) && !errors.Is(err, ErrInvalid):
		w.wrong = append(w.wrong, err.Error())
	}
}

// live is the life of a world.
func (w *world) live() {
	for range 40 * tasksPerWorld {
		w.act()
		w.check()
		if len(w.ids) == tasksPerWorld && w.resting() {
			break
		}
	}
	w.mu.Lock()
	w.failing.before, w.failing.after = 0, 0
	w.mu.Unlock()
	w.end()
}

func (w *world) resting() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.model.tasks {
		if t.state == "" {
			continue // could not be stored
		}
		if !terminal(t.state) && t.state != "blocked_by_failures" || t.has("enqueued", "in_progress") {
			return false
		}
	}
	return true
}

// act does one random thing.
func (w *world) act() {
	switch n := w.r.IntN(100); {
	case n < 70:
		w.change()
	case n < 80:
		pause := time.Duration(w.r.IntN(2000)) * time.Millisecond
		w.note("%s pass", pause)
		time.Sleep(pause)
	case n < 86:
		times := 1 + w.r.IntN(3)
		w.note("the next %d commits fail", times)
		w.mu.Lock()
		w.failing.before = times
		w.mu.Unlock()
		w.change()
	case n < 90:
		w.note("the next commit looks failed")
		w.mu.Lock()
		w.failing.after = 1
		w.mu.Unlock()
		w.change()
	case n < 94 && len(w.stale) > 0:
		h := w.stale[w.r.IntN(len(w.stale))]
		w.note("a result of task %d step %s attempt %d comes again", h.task, h.step, h.attempt)
		w.e.Complete(h.given, resultOf(h.given, dispatch.Success, "too late"))
	case n < 96 && w.files >= 0:
		w.die()
	case n < 98:
		w.publish()
	}
	synctest.Wait()
}

// publish stores the events of some of the attempts that are due.
func (w *world) publish() {
	w.mu.Lock()
	for _, p := range publications(w.e) {
		due, err := w.model.published(&p)
		if err != nil {
			w.wrong = append(w.wrong, err.Error())
			continue
		}
		w.due = append(w.due, duePublication{p, due})
	}
	w.mu.Unlock()
	for range w.r.IntN(len(w.due) + 1) {
		i := w.r.IntN(len(w.due))
		p := w.due[i]
		x := &effect{apply: func(time.Time) bool { p.model.done = true; return true }}
		w.hand(x)
		err := w.e.Published(w.t.Context(), p.given, []DomainEvent{{Event: p.given.EventID(0), Name: "tests.done", JSON: []byte(`{}`)}})
		w.note("task %d step %s attempt %d: events published: %v", p.model.task, p.model.step, p.model.attempt, err)
		w.answered(x, err)
		if err == nil {
			w.due = slices.Delete(w.due, i, i+1)
		}
	}
}

// change asks the engine for a random change.
func (w *world) change() {
	n := w.r.IntN(100)
	if n < 15 && len(w.ids) < tasksPerWorld {
		w.submit()
		return
	}
	if n < 85 || len(w.ids) == 0 {
		w.finish(1 + w.r.IntN(3))
		return
	}
	if w.doubtful() {
		w.healthy()
	}
	task := max(0, len(w.ids)-1-w.r.IntN(4)) // a young one, which is likely not to be finished
	if n < 90 {
		w.cancel(task)
	} else {
		w.operate(task)
	}
}

// id is the uuid of a task; nil when nobody knows it yet.
func (w *world) id(n int) uuid.UUID {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ids[n]
}

func (w *world) doubtful() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.doubt
}

func (w *world) submit() {
	n := len(w.ids)
	shape := w.r.IntN(len(w.shapes))
	task := &modelTask{number: n, template: w.shapes[shape]}
	w.mu.Lock()
	w.ids, w.model.tasks = append(w.ids, uuid.Nil), append(w.model.tasks, task)
	w.mu.Unlock()
	x := &effect{apply: func(time.Time) bool { task.create(); return true }}
	w.hand(x)
	request := asked(w.templates[shape].Name, n)
	request.Priority = int32(w.r.IntN(5) - 2)
	id, err := w.e.Create(w.t.Context(), request)
	w.note("task %d of shape %d: %v", n, shape, err)
	w.answered(x, err)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		w.ids[n] = id
	}
}

// finish brings the results of up to n steps at once.
func (w *world) finish(n int) {
	w.mu.Lock()
	slices.SortFunc(w.held, func(a, b heldStep) int { return cmp.Or(a.task-b.task, strings.Compare(a.step, b.step)) })
	var chosen []heldStep
	for range min(n, len(w.held)) {
		i := w.r.IntN(len(w.held))
		chosen = append(chosen, w.held[i])
		w.held = slices.Delete(w.held, i, i+1)
	}
	w.mu.Unlock()
	var requests []request
	for _, h := range chosen {
		brought, result := w.result(h)
		w.note("task %d step %s attempt %d: %s %s", h.task, h.step, h.attempt, brought.kind, brought.result)
		w.hand(w.model.result(h, brought))
		requests = append(requests, &completion{claim: h.given.Handle.(*claim), result: result})
		w.stale = append(w.stale, h)
	}
	w.e.inbox.put(requests...)
}

// result makes up the result of an attempt.
func (w *world) result(h heldStep) (modelResult, dispatch.Result) {
	text := fmt.Sprintf("result %d of task %d step %s", w.r.IntN(1000), h.task, h.step)
	switch n := w.r.IntN(100); {
	case n < 65:
		w.mu.Lock()
		task := w.model.tasks[h.task]
		value, outcome := makeOutcome(w.r, task.template, task.step(h.step).def, text)
		w.mu.Unlock()
		return modelResult{kind: "success", result: value, outcome: outcome}, resultOf(h.given, dispatch.Success, json.RawMessage(value))
	case n < 85:
		return modelResult{kind: "retryable", result: text}, resultOf(h.given, dispatch.RetryableFailure, text)
	case n < 88:
		asked := 1 + w.r.IntN(3)
		data := fmt.Appendf(nil, `{"success":false,"result":%q,"metadata":{"retryable":true,"retry_after":%d}}`, text, asked)
		return modelResult{kind: "retryable", asked: time.Duration(asked) * time.Second, result: text},
			dispatch.Result{Outcome: dispatch.RetryableFailure, JSON: data}
	case n < 92:
		return modelResult{kind: "permanent", result: text}, resultOf(h.given, dispatch.PermanentFailure, text)
	case n < 94:
		return modelResult{kind: "unstarted"}, dispatch.Result{Outcome: dispatch.Unstarted}
	default:
		cursor := 1 + w.r.IntN(1000)
		return modelResult{kind: "yield", cursor: cursor}, resultOf(h.given, dispatch.CheckpointYield, map[string]int{"cursor": cursor, "items_processed": cursor})
	}
}

// result is the effect of bringing a result.
func (m *model) result(h heldStep, r modelResult) *effect {
	t := m.tasks[h.task]
	return &effect{apply: func(now time.Time) bool { m.apply(t, t.step(h.step), h.attempt, r, now); return true }}
}

func (w *world) cancel(n int) {
	id := w.id(n)
	if id == uuid.Nil {
		return
	}
	task := w.model.tasks[n]
	x := &effect{apply: func(time.Time) bool { return task.cancel() }}
	w.hand(x)
	_, err := w.e.Cancel(w.t.Context(), id)
	w.note("task %d is cancelled: %v", n, err)
	w.answered(x, err)
}

func (w *world) operate(n int) {
	id := w.id(n)
	if id == uuid.Nil {
		return
	}
	w.mu.Lock()
	task := w.model.tasks[n]
	s := task.steps[w.r.IntN(len(task.steps))]
	what := []string{"reset", "resolve", "complete"}[w.r.IntN(3)]
	if failed := slices.IndexFunc(task.steps, func(s *modelStep) bool { return s.state == "error" }); failed >= 0 && w.r.IntN(2) == 0 {
		s, what = task.steps[failed], "reset"
	}
	value, outcome := makeOutcome(w.r, task.template, s.def, "by hand")
	w.mu.Unlock()
	step := stepOf(w.t, w.e, id, s.name).StepUUID
	x := &effect{apply: func(time.Time) bool { return task.operate(s, what, value, outcome) }}
	w.hand(x)
	by := Operation{By: "me", Reason: "test"}
	var err error
	switch what {
	case "reset":
		_, err = w.e.ResetStep(w.t.Context(), id, step, by)
	case "resolve":
		_, err = w.e.ResolveStep(w.t.Context(), id, step, by)
	case "complete":
		_, err = w.e.CompleteStep(w.t.Context(), id, step, by, Completion{Result: json.RawMessage(value)})
	}
	w.note("%s task %d step %s %s: %v", what, n, s.name, value, err)
	w.answered(x, err)
}

// die ends the process, now or at the next commit, and starts it again.
func (w *world) die() {
	point := []store.Point{"", store.BeforeCommit, store.AfterCommit}[w.r.IntN(3)]
	w.healthy()
	w.mu.Lock()
	w.failing.before, w.failing.after = 0, 0
	if point == "" {
		w.copied = copyFiles(w.t, w.e.o.Path, filepath.Join(w.dir, fmt.Sprint(w.files+1, ".db")))
	}
	w.crash = point
	w.mu.Unlock()
	w.note("the process dies, %s", point)
	if point != "" {
		switch w.r.IntN(2) {
		case 0:
			w.finish(3)
		default:
			if len(w.ids) < tasksPerWorld {
				w.submit()
			}
		}
		synctest.Wait()
	}
	w.mu.Lock()
	happened := w.copied != ""
	w.crash = ""
	w.mu.Unlock()
	if !happened {
		return // there was no commit
	}
	w.stopClaims()
	require.Error(w.t, errors.Join(w.e.Close(w.t.Context()), errBroken)) // it may have something to store, and cannot

	w.mu.Lock()
	w.files++
	w.held, w.stale, w.effects, w.due, w.copied = nil, nil, nil, nil, ""
	for _, p := range w.model.publications {
		p.taken = p.done // the others come again
	}
	if point == store.AfterCommit {
		for _, t := range w.model.tasks {
			for _, s := range t.steps {
				if s.state == "enqueued" { // claimed by the commit, and never seen by anybody
					s.state, s.attempts = "in_progress", s.attempts+1
				}
			}
		}
	}
	w.effects = append(w.effects, &effect{apply: w.model.die})
	w.mu.Unlock()
	w.open()
	w.healthy()
}

// healthy waits until commits succeed.
func (w *world) healthy() {
	for range 1000 {
		synctest.Wait()
		if w.e.Health() == nil {
			w.flush()
			w.mu.Lock()
			w.doubt = false
			w.mu.Unlock()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	require.Fail(w.t, "the engine does not recover", "%v", w.e.Health())
}

// flush applies what the engine took and saw no reason to commit, which must
// be what changes nothing.
func (w *world) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.happen(time.Now())
}

// check compares the engine with the model.
func (w *world) check() {
	w.t.Helper()
	w.mu.Lock()
	wrong := w.wrong
	w.mu.Unlock()
	require.Empty(w.t, wrong)
	if w.e.Health() != nil {
		return // the file is behind
	}
	w.flush()
	if n := w.r.IntN(4 * tasksPerWorld); n < 2*len(w.ids) { // not each time: reading takes longer than all else
		w.compare(n / 2)
	}
}

func (w *world) compare(n int) {
	w.t.Helper()
	id := w.id(n)
	if id == uuid.Nil {
		return // could not be stored, as far as anybody knows
	}
	got := taskOf(w.t, w.e, id)
	steps, err := w.e.Steps(w.t.Context(), id)
	require.NoError(w.t, err)

	w.mu.Lock()
	defer w.mu.Unlock()
	task := w.model.tasks[n]
	require.Equal(w.t, task.state, got.Status, "task %d", n)
	require.Equal(w.t, terminal(task.state), got.CompletedAt != nil, "task %d", n)
	var have, expected []string
	for _, s := range steps {
		have = append(have, s.Name)
	}
	for _, s := range task.steps {
		expected = append(expected, s.name)
	}
	require.ElementsMatch(w.t, expected, have, "steps of task %d", n)
	for _, s := range steps {
		want := task.step(s.Name)
		require.Equal(w.t, []any{want.state, want.attempts, len(want.parents)}, []any{s.CurrentState, s.Attempts, s.TotalParents}, "task %d step %s", n, s.Name)
		if want.state == "waiting_for_retry" {
			require.True(w.t, want.next.Equal(*s.NextRetryAt), "task %d step %s: next attempt at %s, want %s", n, s.Name, s.NextRetryAt, want.next)
		}
		if satisfies(want.state) {
			require.Nil(w.t, s.NextRetryAt, "task %d step %s", n, s.Name)
		}
		require.Contains(w.t, string(s.Results), want.result, "task %d step %s", n, s.Name)
	}
}

// end lets everything come to an end, and looks at what is left then.
func (w *world) end() {
	for range 10_000 {
		w.healthy()
		if w.resting() {
			break
		}
		w.mu.Lock()
		held := w.held
		w.held = nil
		w.mu.Unlock()
		if len(held) == 0 {
			time.Sleep(time.Second)
		}
		for _, h := range held {
			w.mu.Lock()
			def := w.model.tasks[h.task].step(h.step).def
			w.mu.Unlock()
			value, outcome := lastOutcome(def)
			w.note("task %d step %s attempt %d: at last", h.task, h.step, h.attempt)
			w.hand(w.model.result(h, modelResult{kind: "success", result: value, outcome: outcome}))
			w.e.inbox.put(&completion{claim: h.given.Handle.(*claim), result: resultOf(h.given, dispatch.Success, json.RawMessage(value))})
			synctest.Wait()
		}
	}
	require.True(w.t, w.resting(), "tasks do not come to an end")
	w.mu.Lock()
	require.Empty(w.t, w.wrong)
	w.mu.Unlock()
	for n := range w.ids {
		if id := w.id(n); id != uuid.Nil {
			_, err := w.e.Wait(soon(w.t), id)
			require.NoError(w.t, err)
		}
		w.compare(n)
	}
	w.events()
	w.mu.Lock()
	held := w.held
	w.mu.Unlock()
	for _, h := range held { // of tasks that were cancelled
		w.e.Complete(h.given, resultOf(h.given, dispatch.Success, "too late"))
	}
	w.stopClaims()
	synctest.Wait()
	require.Equal(w.t, Stats{}, w.e.Stats())
	require.NoError(w.t, w.e.Close(w.t.Context()))
}

// events publishes what is still due, and looks whether the subscriber can
// have the event of each attempt that made one due, once.
func (w *world) events() {
	w.publish()
	for len(w.due) > 0 {
		w.publish()
	}
	want := map[uuid.UUID]bool{}
	w.mu.Lock()
	require.Empty(w.t, w.wrong)
	for _, p := range w.model.publications {
		require.True(w.t, p.done, "the event of task %d step %s attempt %d was never due", p.task, p.step, p.attempt)
		want[p.id] = true
	}
	w.mu.Unlock()
	got := map[uuid.UUID]bool{}
	if len(want) > 0 {
		events, err := w.e.Consume(w.t.Context(), subscriber, 1_000_000)
		require.NoError(w.t, err)
		for _, e := range events {
			require.False(w.t, got[e.Event], "an event is stored twice")
			got[e.Event] = true
		}
	}
	require.Equal(w.t, want, got)
}
