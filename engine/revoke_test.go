package engine

import (
	"context"
	"testing"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

// enduring is a lane whose handlers run until they are interrupted.
type enduring struct{ entered, interrupted chan struct{} }

func (p *enduring) Occupy(loop func(dispatch.Call)) {
	loop(func([]byte, *string) ([]byte, error) {
		p.entered <- struct{}{}
		<-p.interrupted
		return []byte(`R{"success":false}`), nil
	})
}

func (p *enduring) Interrupt(context.Context) error {
	close(p.interrupted)
	return nil
}

func TestAHandlerIsAskedToEndWhenItsStepIsTakenAway(t *testing.T) {
	for name, take := range map[string]func(e *Engine, task, step uuid.UUID) error{
		"cancelled": func(e *Engine, task, _ uuid.UUID) error {
			_, err := e.Cancel(t.Context(), task)
			return err
		},
		"resolved": func(e *Engine, task, step uuid.UUID) error {
			_, err := e.ResolveStep(t.Context(), task, step, byHand)
			return err
		},
		"completed": func(e *Engine, task, step uuid.UUID) error {
			_, err := e.CompleteStep(t.Context(), task, step, byHand, Completion{Result: []byte(`{}`)})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := open(t, Options{}, chain)
			lane := &enduring{make(chan struct{}), make(chan struct{})}
			d := dispatch.New(dispatch.Options{
				Source: e, Concurrency: 1, NewExecutor: func(int) (dispatch.Executor, error) { return lane, nil },
			})
			ctx, stop := context.WithCancel(t.Context())
			d.Start(ctx)
			id := submit(t, e, asked("chain", 1))
			<-lane.entered
			stop() // the second step is for nobody
			require.NoError(t, take(e, id, stepNamed(t, e, id, "one").StepUUID))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			require.NoError(t, d.Drain(ctx))
			require.NotEqual(t, "waiting_for_retry", stepNamed(t, e, id, "one").CurrentState)
		})
	}
}
