package engine

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/dispatch"
)

// trivialWorker answers every step at once, in batches as the dispatcher
// claims them.
func trivialWorker(b *testing.B, e *Engine) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			steps, err := e.Claim(ctx, 64)
			if err != nil {
				return
			}
			for _, s := range steps {
				e.Complete(s, dispatch.Result{Outcome: dispatch.Success,
					JSON: fmt.Appendf(nil, `{"step_uuid":"%s","success":true,"status":"completed","result":{"n":1},"metadata":{"retryable":false}}`, s.StepUUID)})
			}
		}
	})
	b.Cleanup(func() { cancel(); wg.Wait() })
}

// BenchmarkLinearTasks runs tasks of four steps in a chain, durably: many are
// under way at a time, as when a queue is worked off.
func BenchmarkLinearTasks(b *testing.B) {
	const submitters = 64
	e := open(b, Options{Path: filepath.Join(b.TempDir(), "test.db")}, linear)
	trivialWorker(b, e)
	var next atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for range submitters {
		wg.Go(func() {
			for {
				i := next.Add(1)
				if i > int64(b.N) {
					return
				}
				id, err := e.Create(context.Background(), asked("linear", int(i)))
				if err == nil {
					_, err = e.Wait(context.Background(), id)
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(4*float64(b.N)/b.Elapsed().Seconds(), "steps/s")
}

// BenchmarkOneLinearTask runs one task at a time: what a lone step costs.
func BenchmarkOneLinearTask(b *testing.B) {
	e := open(b, Options{Path: filepath.Join(b.TempDir(), "test.db")}, linear)
	trivialWorker(b, e)
	for i := 0; b.Loop(); i++ {
		id, err := e.Create(context.Background(), asked("linear", i))
		if err == nil {
			_, err = e.Wait(context.Background(), id)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(4*float64(b.N)/b.Elapsed().Seconds(), "steps/s")
}

// BenchmarkSubmit creates tasks, durably: from one caller, and from many at
// once.
func BenchmarkSubmit(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			e := open(b, Options{Path: filepath.Join(b.TempDir(), "test.db")}, linear)
			var next atomic.Int64
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						if _, err := e.Create(context.Background(), asked("linear", int(i))); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
		})
	}
}

// BenchmarkEvent builds the event of a step, which is done for each dispatch.
func BenchmarkEvent(b *testing.B) {
	e := open(b, Options{Path: memory}, linear)
	submit(b, e, asked("linear", 1))
	c := take(b, e).Handle.(*claim)
	id := uuid.Must(uuid.NewV7())
	b.ReportAllocs()
	for b.Loop() {
		c.event(id)
	}
}
