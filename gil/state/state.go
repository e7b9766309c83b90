// Package state is the life of a lane and of the runtime as plain Go state
// machines: no cgo, so that every transition can be tested without Python.
package state

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// State is where a thread that runs Python stands.
type State uint8

// The states of a lane, and of the runtime as a whole.
const (
	New      State = iota
	Starting       // the OS thread exists, the thread state does not yet
	Idle           // detached, waiting for work
	Running        // inside Python
	Stuck          // inside Python past its deadline; a replacement may run
	Draining       // takes no new work
	Stopped
	Failed // the interpreter did not start; nothing may attach any more
)

var names = [...]string{"new", "starting", "idle", "running", "stuck", "draining", "stopped", "failed"}

// String gives the word that logs and /debug/lanes show.
func (s State) String() string {
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// MarshalText makes a State show as its word in JSON.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// allowed lists where each state may go.
var allowed = map[State][]State{
	New:      {Starting, Stopped},
	Starting: {Idle, Failed, Stopped},
	Idle:     {Running, Draining, Stopped},
	Running:  {Idle, Stuck, Draining},
	Stuck:    {Idle, Draining, Stopped},
	Draining: {Stopped},
}

// Machine is one state with its transitions. The zero value is New and ready
// to use; all methods are safe for concurrent use.
type Machine struct {
	mu      sync.Mutex
	current State
	since   time.Time
	changed chan struct{} // closed and replaced at each transition, if somebody waits
}

// TransitionError tells of a transition that is not allowed.
type TransitionError struct{ From, To State }

func (e TransitionError) Error() string {
	return fmt.Sprintf("no transition from %s to %s", e.From, e.To)
}

// Get returns the state and since when it holds.
func (m *Machine) Get() (State, time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current, m.since
}

// Set goes to the state to, or returns a TransitionError.
func (m *Machine) Set(to State) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.set(to)
}

// CompareAndSwap goes from one state to another and tells whether it did.
func (m *Machine) CompareAndSwap(from, to State) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current == from && m.set(to) == nil
}

func (m *Machine) set(to State) error {
	if !slices.Contains(allowed[m.current], to) {
		return TransitionError{m.current, to}
	}
	m.current, m.since = to, time.Now()
	if m.changed != nil {
		close(m.changed)
		m.changed = nil
	}
	return nil
}

// WaitFor waits until the state is one of states and returns it, or ctx's error.
func (m *Machine) WaitFor(ctx context.Context, states ...State) (State, error) {
	for {
		m.mu.Lock()
		now := m.current
		if slices.Contains(states, now) {
			m.mu.Unlock()
			return now, nil
		}
		if m.changed == nil {
			m.changed = make(chan struct{})
		}
		changed := m.changed
		m.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return now, fmt.Errorf("wait for %v in state %s: %w", states, now, ctx.Err())
		}
	}
}
