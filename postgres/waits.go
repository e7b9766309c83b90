package postgres

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// waits measures how long one waits for a connection of a pool, and counts
// those that cannot be made. It is a pgx.QueryTracer because a pool takes its
// tracers from there.
type waits struct {
	long          time.Duration // a wait that is slow
	slow, longest atomic.Int64
	unmade        atomic.Int64
	pool          PoolName
	observer      Observer
}

type waitStart struct{}

// TraceAcquireStart implements pgxpool.AcquireTracer.
func (*waits) TraceAcquireStart(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireStartData) context.Context {
	return context.WithValue(ctx, waitStart{}, time.Now())
}

// TraceAcquireEnd implements pgxpool.AcquireTracer.
func (w *waits) TraceAcquireEnd(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireEndData) {
	since, ok := ctx.Value(waitStart{}).(time.Time)
	if !ok {
		return
	}
	wait := time.Since(since)
	w.observer.ConnectionTaken(w.pool, wait)
	if wait >= w.long {
		w.slow.Add(1)
	}
	for longest := w.longest.Load(); int64(wait) > longest && !w.longest.CompareAndSwap(longest, int64(wait)); {
		longest = w.longest.Load()
	}
}

// TraceConnectStart implements pgx.ConnectTracer.
func (*waits) TraceConnectStart(ctx context.Context, _ pgx.TraceConnectStartData) context.Context {
	return ctx
}

// TraceConnectEnd implements pgx.ConnectTracer.
func (w *waits) TraceConnectEnd(ctx context.Context, made pgx.TraceConnectEndData) {
	if made.Err != nil && !errors.Is(ctx.Err(), context.Canceled) {
		w.unmade.Add(1)
	}
}

// TraceQueryStart implements pgx.QueryTracer.
func (*waits) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

// TraceQueryEnd implements pgx.QueryTracer.
func (*waits) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
