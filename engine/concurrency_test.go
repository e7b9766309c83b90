package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/engine/store"
)

// running knows which steps are with a worker at the moment.
type running struct {
	t  testing.TB
	mu sync.Mutex
	by map[uuid.UUID]int
}

func (r *running) begin(s *dispatch.Step) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if attempt, ok := r.by[s.StepUUID]; ok {
		r.t.Errorf("step %s is handed out as attempt %d while attempt %d runs", s.Name, s.Attempt, attempt)
	}
	r.by[s.StepUUID] = s.Attempt
}

func (r *running) end(s *dispatch.Step) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.by, s.StepUUID)
}

func TestManySubmittersWorkersAndReadersAtOnce(t *testing.T) {
	const submitters, workers, each = 8, 4, 25
	e := open(t, Options{ImmediateRetries: true}, linear, diamond, tree, mixed)
	templates := []string{"linear", "diamond", "tree", "mixed"}
	now := &running{t: t, by: map[uuid.UUID]int{}}

	ctx, stop := context.WithCancel(context.Background())
	var helpers sync.WaitGroup
	for i := range workers {
		helpers.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			for {
				steps, err := e.Claim(ctx, 1+r.IntN(8))
				if err != nil {
					return
				}
				for _, s := range steps {
					now.begin(s)
				}
				for _, s := range steps {
					outcome, value := dispatch.Success, any(s.Name)
					if s.Attempt < 3 && r.IntN(5) == 0 {
						outcome, value = dispatch.RetryableFailure, "again"
					}
					now.end(s)
					e.Complete(s, resultOf(s, outcome, value))
				}
			}
		})
	}
	var reads atomic.Int64
	for range 2 {
		helpers.Go(func() {
			for ctx.Err() == nil {
				list, err := e.Tasks(ctx, TaskFilter{PerPage: 10})
				if errors.Is(err, context.Canceled) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				for _, task := range list.Tasks {
					if task.CompletedSteps > task.TotalSteps || task.Status == "complete" && task.CompletedSteps != task.TotalSteps {
						t.Errorf("task in state %s with %d of %d steps complete", task.Status, task.CompletedSteps, task.TotalSteps)
					}
				}
				reads.Add(1)
				_ = e.Stats()
				_ = e.Health()
			}
		})
	}
	changes, stopWatching := e.Watch(uuid.Nil)
	var completions atomic.Int64
	helpers.Go(func() {
		for c := range changes {
			if c.Step == "" && c.To == "complete" {
				completions.Add(1)
			}
		}
	})

	var complete, cancelled atomic.Int64
	var waits sync.WaitGroup
	for i := range submitters {
		waits.Go(func() {
			for k := range each {
				name := templates[(i+k)%len(templates)]
				id, err := e.Create(context.Background(), asked(name, each*i+k))
				if err != nil {
					t.Error(err)
					return
				}
				waits.Go(func() {
					if k%10 == 9 {
						if _, err := e.Cancel(context.Background(), id); err != nil && !errors.Is(err, ErrInvalidState) {
							t.Error(err)
						}
					}
					task, err := e.Wait(context.Background(), id)
					switch {
					case err != nil:
						t.Error(err)
					case task.Status == "complete":
						complete.Add(1)
					case task.Status == "cancelled":
						cancelled.Add(1)
					default:
						t.Errorf("task %s ended in state %s", id, task.Status)
					}
				})
			}
		})
	}
	waits.Wait()
	require.Equal(t, int64(submitters*each), complete.Load()+cancelled.Load())
	require.LessOrEqual(t, cancelled.Load(), int64(submitters*each/10))
	require.Positive(t, reads.Load())
	stop()
	require.NoError(t, e.Close(context.Background()))
	stopWatching()
	helpers.Wait()
	require.LessOrEqual(t, completions.Load(), complete.Load())
}

func TestManyRegistrationsAndSubmissionsAtOnce(t *testing.T) {
	e := open(t, Options{}, dag("single", "only"))
	work(t, e, succeed)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for k := range 10 {
				if err := e.Register(context.Background(), parse(t, dag(fmt.Sprint("other_", i), "only"))); err != nil {
					t.Error(err)
				}
				for _, r := range []TaskRequest{asked("single", 100*i+k), asked(fmt.Sprint("other_", i), k)} {
					if _, err := e.Create(context.Background(), r); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	require.Len(t, e.Templates(), 5)
	list, err := e.Tasks(t.Context(), TaskFilter{})
	require.NoError(t, err)
	require.Equal(t, 80, list.Pagination.TotalCount)
}

func TestSlowReadersDoNotHoldTheWriterUp(t *testing.T) {
	e := open(t, Options{}, dag("single", "only"))
	id := submit(t, e, asked("single", 1))
	finish(t, e, take(t, e), dispatch.PermanentFailure, "no")
	await(t, e, id)
	var slow sync.WaitGroup
	reading, over := make(chan struct{}), make(chan struct{})
	defer func() { close(over); slow.Wait() }()
	for range 4 { // as many as there are connections for reading
		slow.Go(func() {
			if err := e.read(context.Background(), func(*store.Reader) error {
				reading <- struct{}{}
				<-over
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
		<-reading
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c := &cancellation{task: id, done: make(chan error, 1)} // of a task that the writer has to look up
	require.NoError(t, e.ask(ctx, c, c.done))
}
