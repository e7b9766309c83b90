package postgres

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/tests/cluster"
)

// echo is a lane whose handlers take no time.
type echo struct{}

func (echo) Occupy(loop func(dispatch.Call)) {
	loop(func([]byte, *string) ([]byte, error) {
		return []byte(`S{"success":true,"status":"completed","result":{"ok":true},"metadata":{"execution_time_ms":0},"error":null,"orchestration_metadata":null}`), nil
	})
}

func (echo) Interrupt(context.Context) error { return nil }

// BenchmarkBacklog is how fast steps are claimed, hydrated and completed that
// wait in the queue, without handlers.
func BenchmarkBacklog(b *testing.B) {
	d := newDeployment(b, cluster.Options{})
	s := d.open(func(o *Options) { o.Visibility, o.Log = time.Minute, slog.New(slog.DiscardHandler) })
	d.enqueue(b.N, "check_order")
	dispatcher := dispatch.New(dispatch.Options{
		Source: s, NewExecutor: func(int) (dispatch.Executor, error) { return echo{}, nil },
	})
	b.ResetTimer()
	dispatcher.Start(b.Context())
	for s.Stats().Completed < uint64(b.N) {
		time.Sleep(time.Millisecond)
	}
	b.StopTimer()
	require.NoError(b, dispatcher.Drain(b.Context()))
	st := s.Stats()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "steps/s")
	b.ReportMetric(float64(st.ClaimBatches+st.CompleteBatches)/float64(b.N), "statements/step")
}
