package gil

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tasker-systems/taskerpy/embed"
	"github.com/tasker-systems/taskerpy/gil/state"
)

// Attached proves that the calling thread holds the GIL. Its methods are for
// work off the hot path. It must not outlive the function it was given to, and
// nobody may wait on a Go lock or channel while holding one.
type Attached struct{ thread *embed.Thread }

// Lookup finds module.name, importing the module.
func (a *Attached) Lookup(module, name string) (embed.Func, error) {
	return a.thread.Lookup(module, name)
}

// Call calls fn and stays attached.
func (a *Attached) Call(fn embed.Func, in []byte) ([]byte, error) {
	a.thread.Detach()
	defer a.thread.Attach()
	return a.thread.Call(fn, in)
}

// Lane is one locked OS thread with its own kept Python thread state, which
// runs what Run gives it, one after another.
type Lane struct {
	id      int
	name    string
	runtime *Runtime
	thread  *embed.Thread
	life    state.Machine
	jobs    chan func()
	closing chan struct{} // closed by Close
	calls   atomic.Uint64

	// What runs now, for debugState: written by the lane around each call with
	// plain atomics, since the hot path cannot afford a state transition under
	// a lock.
	enteredAt atomic.Int64 // unix nanoseconds, 0 while outside Python
	doing     atomic.Pointer[string]
}

// NewLane starts a lane. Its thread is made anew and ends with Close: it is
// never reused, since thread-local state of Python libraries sticks to it.
func (r *Runtime) NewLane(name string) (*Lane, error) {
	r.mu.Lock()
	if now, _ := r.life.Get(); now != state.Idle {
		r.mu.Unlock()
		return nil, fmt.Errorf("start lane %s: %w", name, ErrStopped)
	}
	r.lastLane++
	l := &Lane{id: r.lastLane, name: name, runtime: r, jobs: make(chan func()), closing: make(chan struct{})}
	r.lanes = append(r.lanes, l)
	r.wg.Add(1)
	r.mu.Unlock()

	started := make(chan error, 1)
	go l.live(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start lane %s: %w", name, err)
	}
	return l, nil
}

// live is the lane's thread.
func (l *Lane) live(started chan<- error) {
	defer l.runtime.wg.Done()
	defer l.runtime.forget(l)
	// Never unlocked: a locked goroutine that returns ends its thread.
	runtime.LockOSThread()
	err := l.life.Set(state.Starting)
	if err == nil {
		l.thread, err = embed.NewThread()
	}
	if err == nil {
		err = l.life.Set(state.Idle)
	}
	started <- err
	if err != nil {
		return
	}
	l.work()
	l.thread.Free()
	_ = l.life.Set(state.Stopped)
}

func (l *Lane) work() {
	for {
		select {
		case job := <-l.jobs:
			job()
		case <-l.closing:
			return
		}
	}
}

func (r *Runtime) forget(l *Lane) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lanes = slices.DeleteFunc(r.lanes, func(other *Lane) bool { return other == l })
}

// Run runs f on the lane's thread and waits for it. It must not be called
// from f itself. After Close it runs nothing and returns ErrStopped.
func (l *Lane) Run(f func()) error {
	done := make(chan struct{})
	job := func() {
		defer close(done)
		f()
	}
	select {
	case l.jobs <- job:
		<-done
		return nil
	case <-l.closing:
		return fmt.Errorf("lane %s: %w", l.name, ErrStopped)
	}
}

// Close ends the lane when its current job is done. It may be called once.
func (l *Lane) Close() { close(l.closing) }

// Call runs fn with the bytes of in and returns its answer, in one crossing.
// Only within Run. label says what runs, for /debug/lanes; it is kept by reference.
func (l *Lane) Call(fn embed.Func, in []byte, label *string) ([]byte, error) {
	l.doing.Store(label)
	l.enteredAt.Store(time.Now().UnixNano())
	out, err := l.thread.Call(fn, in)
	l.enteredAt.Store(0)
	l.calls.Add(1)
	return out, err
}

// Interrupt raises the exception class that Runtime.Lookup found in the call
// that the lane is in; it does nothing between calls. It waits for the GIL, and
// returns ctx.Err() when ctx ends first: then nothing is raised, not even later.
// Any goroutine may call it until Close.
func (l *Lane) Interrupt(ctx context.Context, exception embed.Func) error {
	// The owner may still wait for the GIL when ctx ends, and have it while the
	// lane is in its next call. So one of the two decides.
	var decided atomic.Bool
	raised := make(chan struct{})
	err := l.runtime.onOwner(ctx, func(a *Attached) error {
		if decided.CompareAndSwap(false, true) {
			a.thread.Interrupt(l.thread, exception)
			close(raised)
		}
		return nil
	})
	if err == nil || decided.CompareAndSwap(false, true) {
		return err
	}
	<-raised
	return nil
}

// Attached runs f with the GIL held. Only within Run.
func (l *Lane) Attached(f func(*Attached) error) error {
	l.thread.Attach()
	defer l.thread.Detach()
	return f(&Attached{l.thread})
}

func (l *Lane) debugState() LaneState {
	now, since := l.life.Get()
	out := LaneState{ID: l.id, Name: l.name, State: now, Calls: l.calls.Load()}
	if at := l.enteredAt.Load(); at != 0 && now == state.Idle {
		out.State, since = state.Running, time.Unix(0, at)
		if label := l.doing.Load(); label != nil {
			out.Doing = *label
		}
	}
	if !since.IsZero() {
		out.For = time.Since(since)
	}
	return out
}
