// Package gil owns the threads that hold the GIL: the owner, which started the
// interpreter and runs no user code, and the lanes, locked OS threads with
// kept thread states that run handlers. Everything that needs the GIL is
// reached through a Lane's one-crossing Call or through an *Attached token,
// which only this package hands out.
package gil

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/tasker-systems/taskerpy/embed"
	"github.com/tasker-systems/taskerpy/gil/state"
)

// Config says how to start a Runtime.
type Config struct {
	Python embed.Python
	// Native answers calls from Python; see embed.Native.
	Native embed.Native
	// LogLevel bounds what Python's logging passes to the host.
	LogLevel slog.Level
	// SwitchInterval is how long a thread may hold the GIL while others wait.
	// 0 keeps Python's own 5 ms: a shorter one helps waiting threads and costs
	// running ones (embedding notes §3).
	SwitchInterval time.Duration
}

// Info is what the running Python tells of itself.
type Info struct {
	Version    string   `json:"version"`
	Executable string   `json:"executable"`
	Prefix     string   `json:"prefix"`
	Missing    []string `json:"missing"` // packages that tasker_core needs and this environment lacks
}

// flushTimeout is how long to wait for the GIL to flush Python's streams when
// handlers do not end.
const flushTimeout = time.Second

// Runtime is the started interpreter. There is at most one in a process.
type Runtime struct {
	life state.Machine
	info Info

	// tasks are done by the owner, one after the other.
	tasks chan func(*Attached)
	ended chan struct{} // closed when the owner has gone

	mu       sync.Mutex
	lanes    []*Lane // the living
	lastLane int
	wg       sync.WaitGroup // lanes
}

// Start starts the interpreter on a thread of its own and returns when code
// can run. If the start fails the process has no Python until it ends.
func Start(ctx context.Context, c Config) (*Runtime, error) {
	r := &Runtime{tasks: make(chan func(*Attached)), ended: make(chan struct{})}
	if err := r.life.Set(state.Starting); err != nil {
		return nil, err
	}
	started := make(chan error, 1)
	go r.own(c, started)
	select {
	case err := <-started:
		if err != nil {
			return nil, err
		}
	case <-ctx.Done():
		return nil, fmt.Errorf("start Python: %w", ctx.Err())
	}
	if err := r.configure(ctx, c); err != nil {
		return nil, err
	}
	return r, nil
}

// own is the owner thread: it starts the interpreter and lives as long as it.
func (r *Runtime) own(c Config, started chan<- error) {
	// Never unlocked: the interpreter's main thread must not be reused.
	runtime.LockOSThread()
	defer close(r.ended)
	if err := embed.Initialize(embed.Config{Executable: c.Python.Executable, Native: c.Native}); err != nil {
		_ = r.life.Set(state.Failed)
		started <- err
		return
	}
	thread := embed.DetachCurrent()
	if err := r.life.Set(state.Idle); err != nil {
		started <- err
		return
	}
	started <- nil
	for task := range r.tasks {
		thread.Attach()
		task(&Attached{thread})
		thread.Detach()
	}
}

// onOwner runs f on the owner thread, attached. f must not run user code.
func (r *Runtime) onOwner(ctx context.Context, f func(*Attached) error) error {
	done := make(chan error, 1)
	select {
	case r.tasks <- func(a *Attached) { done <- f(a) }:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *Runtime) configure(ctx context.Context, c Config) error {
	request, err := json.Marshal(map[string]any{
		"log_level":       pythonLevel(c.LogLevel),
		"switch_interval": c.SwitchInterval.Seconds(),
	})
	if err != nil {
		return fmt.Errorf("configure Python: %w", err)
	}
	var answer []byte
	err = r.onOwner(ctx, func(a *Attached) error {
		fn, err := a.Lookup("taskerpy_host.boot", "configure")
		if err != nil {
			return err
		}
		answer, err = a.Call(fn, request)
		return err
	})
	if err == nil {
		err = json.Unmarshal(answer, &r.info)
	}
	if err != nil {
		return fmt.Errorf("configure Python: %w", err)
	}
	if len(r.info.Missing) > 0 {
		return fmt.Errorf("the Python environment of %s lacks %s; install with: %s -m pip install %s: %w",
			r.info.Prefix, strings.Join(r.info.Missing, ", "), r.info.Executable, strings.Join(r.info.Missing, " "), embed.ErrUnavailable)
	}
	return nil
}

// pythonLevel translates slog's levels to those of Python's logging.
func pythonLevel(l slog.Level) int {
	switch {
	case l < slog.LevelDebug:
		return 5
	case l < slog.LevelInfo:
		return 10
	case l < slog.LevelWarn:
		return 20
	case l < slog.LevelError:
		return 30
	default:
		return 40
	}
}

// Info tells about the running Python.
func (r *Runtime) Info() Info { return r.info }

// ErrStopped is returned for work that comes after Stop.
var ErrStopped = errors.New("python runtime is stopped")

// Lookup finds the Python function module.name for Lane.Call. It imports the
// module on the owner, so it is only for modules of the host itself.
func (r *Runtime) Lookup(ctx context.Context, module, name string) (embed.Func, error) {
	var fn embed.Func
	err := r.onOwner(ctx, func(a *Attached) (err error) {
		fn, err = a.Lookup(module, name)
		return err
	})
	return fn, err
}

// Stop waits for the lanes to end, which whoever made them must have closed, then runs Python's exit hooks and flushes its streams. When
// ctx ends first it gives up waiting and returns its error: then the process
// should exit without further ado, which is safe at any time. The interpreter
// is not finalised: Py_FinalizeEx can block for ever while threads exist.
// Stopping twice, or what never started, is fine.
func (r *Runtime) Stop(ctx context.Context) error {
	if now, _ := r.life.Get(); now == state.Stopped || now == state.Failed || now == state.New {
		return nil
	}
	if !r.life.CompareAndSwap(state.Idle, state.Draining) {
		_, err := r.life.WaitFor(ctx, state.Stopped)
		return err
	}
	lanes := make(chan struct{})
	go func() {
		r.wg.Wait()
		close(lanes)
	}()
	select {
	case <-lanes:
	case <-ctx.Done():
		// Half a line that a busy handler printed is worth a moment, if the
		// GIL can be had at all.
		flushing, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
		defer cancel()
		return errors.Join(fmt.Errorf("stop Python: lanes still busy: %w", ctx.Err()), r.atEnd(flushing, "flush"))
	}
	if err := r.atEnd(ctx, "shutdown"); err != nil {
		return fmt.Errorf("stop Python: %w", err)
	}
	close(r.tasks)
	<-r.ended
	return r.life.Set(state.Stopped)
}

// atEnd calls one of the functions of taskerpy_host.boot for the end of the
// process.
func (r *Runtime) atEnd(ctx context.Context, function string) error {
	return r.onOwner(ctx, func(a *Attached) error {
		fn, err := a.Lookup("taskerpy_host.boot", function)
		if err != nil {
			return err
		}
		_, err = a.Call(fn, nil)
		return err
	})
}

// LaneState is what /debug/lanes and hang reports show of one lane.
type LaneState struct {
	ID    int           `json:"id"`
	Name  string        `json:"name"`
	State state.State   `json:"state"`
	For   time.Duration `json:"for_ns"`          // how long in this state
	Doing string        `json:"doing,omitempty"` // label of the running call
	Calls uint64        `json:"calls"`           // finished calls
}

// DebugState is a snapshot for people, taken without touching the GIL.
type DebugState struct {
	Runtime state.State `json:"runtime"`
	Python  Info        `json:"python"`
	Lanes   []LaneState `json:"lanes"`
}

// DebugState reports where every thread stands.
func (r *Runtime) DebugState() DebugState {
	now, _ := r.life.Get()
	out := DebugState{Runtime: now, Python: r.info}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lanes {
		out.Lanes = append(out.Lanes, l.debugState())
	}
	return out
}
