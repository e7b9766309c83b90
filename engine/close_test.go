package engine

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/engine/store"
)

func TestAClosedEngineAnswersEverythingWithClosed(t *testing.T) {
	e := open(t, Options{}, linear)
	id := submit(t, e, asked("linear", 1))
	s := take(t, e)
	require.NoError(t, e.Close(t.Context()))
	ctx := t.Context()
	for what, call := range map[string]func() error{
		"Create":       func() error { _, err := e.Create(ctx, asked("linear", 2)); return err },
		"Submit":       func() error { _, err := e.Submit(ctx, asked("linear", 2)); return err },
		"Register":     func() error { return e.Register(ctx, parse(t, linear)) },
		"Cancel":       func() error { _, err := e.Cancel(ctx, id); return err },
		"ResetStep":    func() error { _, err := e.ResetStep(ctx, id, s.StepUUID, Operation{}); return err },
		"ResolveStep":  func() error { _, err := e.ResolveStep(ctx, id, s.StepUUID, Operation{}); return err },
		"CompleteStep": func() error { _, err := e.CompleteStep(ctx, id, s.StepUUID, Operation{}, Completion{}); return err },
		"Claim":        func() error { _, err := e.Claim(ctx, 1); return err },
		"Task":         func() error { _, err := e.Task(ctx, id); return err },
		"Tasks":        func() error { _, err := e.Tasks(ctx, TaskFilter{}); return err },
		"Steps":        func() error { _, err := e.Steps(ctx, id); return err },
		"Step":         func() error { _, err := e.Step(ctx, id, s.StepUUID); return err },
		"Wait":         func() error { _, err := e.Wait(ctx, id); return err },
		"Health":       e.Health,
	} {
		require.ErrorIs(t, call(), ErrClosed, what)
	}
	finish(t, e, s, dispatch.Success, 1) // too late, and harmless
}

func TestClosingTwiceIsFine(t *testing.T) {
	e := open(t, Options{}, linear)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := e.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.NoError(t, e.Close(t.Context()))
}

func TestWhatWasHandedInBeforeClosingIsDurable(t *testing.T) {
	e := open(t, Options{}, linear)
	id := submit(t, e, asked("linear", 1))
	finish(t, e, take(t, e), dispatch.Success, "kept")
	again := reopened(t, e, Options{}, linear)
	require.Contains(t, string(stepOf(t, again, id, "one").Results), "kept")
	require.Equal(t, "two", take(t, again).Name)
}

func TestClosingAnswersWhoeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, linear)
		id := submit(t, e, asked("linear", 1))
		take(t, e)
		answers := make(chan error, 3)
		for range 2 {
			go func() { _, err := e.Claim(t.Context(), 1); answers <- err }()
		}
		go func() { _, err := e.Wait(t.Context(), id); answers <- err }()
		synctest.Wait()
		require.NoError(t, e.Close(t.Context()))
		for range 3 {
			require.ErrorIs(t, <-answers, ErrClosed)
		}
	})
}

// gate holds commits up while it is shut.
type gate struct {
	shut    atomic.Bool
	reached chan struct{}
	open    chan struct{}
}

func newGate() *gate { return &gate{reached: make(chan struct{}), open: make(chan struct{})} }

func (g *gate) at(p store.Point) error {
	if p == store.BeforeCommit && g.shut.CompareAndSwap(true, false) {
		g.reached <- struct{}{}
		<-g.open
	}
	return nil
}

// A step handed out while the engine is being closed could not bring its
// result: it would count as a failed attempt at the next start.
func TestNoStepIsHandedOutWhileClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		e := open(t, Options{fault: g.at}, linear)
		id, other := submit(t, e, asked("linear", 1)), submit(t, e, asked("linear", 2))
		both, err := e.Claim(t.Context(), 2)
		require.NoError(t, err)
		claimed := make(chan error, 1)
		go func() { _, err := e.Claim(t.Context(), 1); claimed <- err }()
		synctest.Wait()

		g.shut.Store(true)
		go func() { _, _ = e.Cancel(t.Context(), other) }()
		<-g.reached // the writer is busy: what comes now is the last batch
		finish(t, e, both[0], dispatch.Success, 1)
		closed := make(chan error, 1)
		go func() { closed <- e.Close(t.Context()) }()
		synctest.Wait()
		g.open <- struct{}{}
		require.NoError(t, <-closed)
		require.ErrorIs(t, <-claimed, ErrClosed)

		again := open(t, Options{Path: e.o.Path}, linear)
		require.Equal(t, "enqueued", states(t, again, id)["two"])
		require.Zero(t, stepOf(t, again, id, "two").Attempts)
	})
}

func TestCloseReturnsWhenItsContextEnds(t *testing.T) {
	g := newGate()
	e := open(t, Options{fault: g.at}, linear)
	g.shut.Store(true)
	created := make(chan error, 1)
	go func() { _, err := e.Create(t.Context(), asked("linear", 1)); created <- err }()
	<-g.reached
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, e.Close(ctx), context.Canceled)
	g.open <- struct{}{}
	require.NoError(t, <-created, "it was handed in before")
	require.NoError(t, e.Close(t.Context()))
	require.ErrorIs(t, e.Health(), ErrClosed)
}

func TestReadersAndClosingDoNotCollide(t *testing.T) {
	for range 10 {
		e := open(t, Options{}, linear)
		id := submit(t, e, asked("linear", 1))
		var wg sync.WaitGroup
		started := make(chan struct{}, 4)
		for range 4 {
			wg.Go(func() {
				for first := true; ; first = false {
					task, err := e.Task(t.Context(), id)
					if first {
						started <- struct{}{}
					}
					if errors.Is(err, ErrClosed) {
						return
					}
					if err != nil || task.TotalSteps != 4 {
						t.Errorf("read beside closing: %v", err)
						return
					}
				}
			})
		}
		for range 4 {
			<-started
		}
		require.NoError(t, e.Close(t.Context()))
		wg.Wait()
	}
}

func TestAReadGivenUpDoesNotSpoilLaterReads(t *testing.T) {
	e := open(t, Options{}, dag("wide", "a", "b", "c"))
	id := submit(t, e, TaskRequest{Name: "wide", Namespace: "tests", Version: "1.0.0", Context: json.RawMessage(`{}`)})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 {
		_, err := e.Task(gone, id)
		require.ErrorIs(t, err, context.Canceled)
	}
	require.Equal(t, 3, taskOf(t, e, id).TotalSteps)
}
