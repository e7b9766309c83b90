package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/engine/store"
	"github.com/tasker-systems/taskerpy/template"
)

// Engine is an open embedded engine. All methods may be called by any
// goroutine. It is a dispatch.Source.
type Engine struct {
	o     Options
	log   *slog.Logger
	store *store.Store
	inbox *inbox
	clock *clock

	catalog  atomic.Pointer[catalog]
	waits    waits
	watchers watchers
	health   atomic.Pointer[failedCommit]
	stats    stats
	outbox   dispatch.Outbox
	stored   signal // of durable domain events
	// consumers of durable domain events in this process
	consumers consumers

	// reads is held for reading by views of the file, so that it is not closed
	// under them.
	reads      sync.RWMutex
	fileClosed bool

	writer *writer
	upkeep upkeep
	// analytics keeps answers for a while.
	analytics analytics
	ended     chan struct{} // closed when the writer has gone
	close     sync.Once
	closed    error // what went wrong while closing; set before ended is closed
}

// failedCommit is why nothing can be made durable at the moment.
type failedCommit struct{ err error }

// Open opens the file, creating it when missing, and takes up the tasks in it
// that are not finished: steps that were running when the last process ended
// count as a failed attempt and are retried (engine-semantics §4.8). Steps are
// handed out once their templates are registered. The error is ErrLocked when
// another process has the file.
func Open(ctx context.Context, o Options) (*Engine, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MaxResult <= 0 || o.MaxResult > maxResult {
		o.MaxResult = maxResult
	}
	seed := o.JitterSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	s, err := store.Open(o.Path, store.Options{Fault: o.fault})
	if err != nil {
		return nil, err
	}
	e := &Engine{o: o, log: o.Log, store: s, inbox: newInbox(), clock: newClock(), analytics: newAnalytics(), ended: make(chan struct{})}
	e.catalog.Store(&catalog{})
	e.writer = newWriter(e, rand.New(rand.NewPCG(seed, seed)))
	if err := e.writer.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("take up the tasks in %s: %w", o.Path, err), s.Close())
	}
	go e.writer.live()
	e.upkeep.start(e)
	return e, nil
}

// maxResult is the largest Options.MaxResult.
const maxResult = 256 << 20

// maxRow bounds what comes from several results and becomes one row.
func (e *Engine) maxRow() int { return 3 * e.o.MaxResult }

// Close stops accepting requests, makes everything durable that was handed in
// before, and closes the file. It returns ctx.Err() when ctx ends first; the
// file is then closed later. Closing twice is fine.
func (e *Engine) Close(ctx context.Context) error {
	e.close.Do(func() {
		e.upkeep.stop()
		e.inbox.close()
	})
	select {
	case <-e.ended:
		return e.closed
	case <-ctx.Done():
		return fmt.Errorf("close the engine: %w", ctx.Err())
	}
}

// ask hands a request to the writer and waits for its answer.
func (e *Engine) ask(ctx context.Context, r request, done <-chan error) error {
	if !e.inbox.put(r) {
		return ErrClosed
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Register makes templates known, replacing those of the same namespace, name
// and version (engine-semantics §1): from then on tasks can be created from
// them, and the steps of their tasks are handed out. Templates must be valid.
func (e *Engine) Register(ctx context.Context, ts ...*template.Template) error {
	r := &registration{done: make(chan error, 1), defs: make([]*definition, len(ts))}
	for i, t := range ts {
		r.defs[i] = define(t, e.o.DefaultTimeout)
	}
	if err := e.ask(ctx, r, r.done); err != nil {
		return fmt.Errorf("register templates: %w", err)
	}
	return nil
}

// RegisteredTemplate is a template that tasks can be created from.
type RegisteredTemplate struct {
	UUID     uuid.UUID // of the named task
	Template *template.Template
}

// Templates lists the registered templates by namespace, name and version.
func (e *Engine) Templates() []RegisteredTemplate {
	var all []RegisteredTemplate
	for _, r := range *e.catalog.Load() {
		all = append(all, RegisteredTemplate{r.uuid, r.def.template})
	}
	slices.SortFunc(all, func(a, b RegisteredTemplate) int { return strings.Compare(a.Template.Key(), b.Template.Key()) })
	return all
}

// Create makes a task and returns its uuid once the task is durable. The error
// is ErrInvalid, ErrNotFound (no such template), ErrConflict (a task of the
// same identity exists), ErrClosed or ErrUnavailable.
func (e *Engine) Create(ctx context.Context, request TaskRequest) (uuid.UUID, error) {
	s, err := e.submission(request)
	if err == nil {
		err = e.ask(ctx, s, s.done)
	}
	if err != nil {
		return uuid.Nil, fmt.Errorf("create task: %w", err)
	}
	return s.run.row.UUID, nil
}

// Submit is Create, and returns the task as it is then.
func (e *Engine) Submit(ctx context.Context, request TaskRequest) (Task, error) {
	id, err := e.Create(ctx, request)
	if err != nil {
		return Task{}, err
	}
	return e.Task(ctx, id)
}

// Cancel cancels a task and those of its steps that are not finished; the
// results of steps that still run are dropped (engine-semantics §7.2). The
// error is ErrNotFound, or ErrInvalidState for a task in a terminal state.
func (e *Engine) Cancel(ctx context.Context, task uuid.UUID) (Task, error) {
	c := &cancellation{task: task, done: make(chan error, 1)}
	if err := e.ask(ctx, c, c.done); err != nil {
		return Task{}, fmt.Errorf("cancel task %s: %w", task, err)
	}
	return e.Task(ctx, task)
}

// Health returns nil when work can be made durable, else ErrUnavailable with
// the reason, or ErrClosed. It does no I/O.
func (e *Engine) Health() error {
	select {
	case <-e.ended:
		return ErrClosed
	default:
	}
	if f := e.health.Load(); f != nil {
		return f.err
	}
	return nil
}

// Stats is a snapshot of the work in memory.
type Stats struct {
	OpenTasks    int `json:"open_tasks"`    // tasks that something will still happen to
	ReadySteps   int `json:"ready_steps"`   // enqueued steps that wait for a worker
	RunningSteps int `json:"running_steps"` // steps that a worker has
	DelayedSteps int `json:"delayed_steps"` // steps that wait for their next attempt
	ParkedSteps  int `json:"parked_steps"`  // enqueued steps whose template is not registered here
}

type stats struct{ open, ready, running, delayed, parked atomic.Int64 }

// Stats reports where the engine stands, without waiting for anything.
func (e *Engine) Stats() Stats {
	return Stats{
		OpenTasks: int(e.stats.open.Load()), ReadySteps: int(e.stats.ready.Load()), RunningSteps: int(e.stats.running.Load()),
		DelayedSteps: int(e.stats.delayed.Load()), ParkedSteps: int(e.stats.parked.Load()),
	}
}
