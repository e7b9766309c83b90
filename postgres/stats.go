package postgres

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// counts are what Stats shows.
type counts struct {
	Claimed, ClaimBatches, Completed, CompleteBatches atomic.Uint64
	Checkpoints, Released, Takeovers, Fenced          atomic.Uint64
	Lost, Duplicates, Undecodable, Swept              atomic.Uint64
	Overlooked, Abandoned                             atomic.Uint64
	Retries, Reconnects, Published                    atomic.Uint64
	Received, ReceiveFailures, Archived               atomic.Uint64
	SendFailures, EventSendFailures                   atomic.Uint64
}

// Stats count what happened since the start.
type Stats struct {
	Claimed         uint64 // steps claimed
	ClaimBatches    uint64 // statements that did it, those that found nothing included
	Completed       uint64 // results stored
	CompleteBatches uint64 // statements that did it
	Checkpoints     uint64 // stored
	Released        uint64 // steps handed back unfinished
	Takeovers       uint64 // steps of workers that were gone
	Fenced          uint64 // steps that were lost to others, or cancelled, while we had them
	Lost            uint64 // messages whose step another worker claimed first
	Duplicates      uint64 // messages of steps that were finished already
	Undecodable     uint64 // messages that name no step
	Swept           uint64 // messages that others had forgotten to send
	Overlooked      uint64 // tasks that the server had stopped to work on, and was told of
	Abandoned       uint64 // tasks that the server had died over, or blocked without a failure, and that were taken up
	Retries         uint64 // statements that had to be repeated
	Reconnects      uint64 // of the connection for notifications
	Published       uint64 // durable domain events sent
	Received        uint64 // messages read, whatever became of them
	ReceiveFailures uint64 // statements that should have read some
	Archived        uint64 // messages put aside: archived, or deleted
	SendFailures    uint64 // results that the server could not be told of, each time
	// EventSendFailures are durable events that could not be sent, each time.
	EventSendFailures uint64
	// Given are the ends of executions that were handed in, and Settled those of
	// them that nothing more is to be stored of.
	Given, Settled uint64
	// Publications are attempts that gave rise to domain events, and Unpublished
	// those of them that nobody has begun to publish.
	Publications uint64
	Unpublished  int
	Held         int // steps that are ours at the moment
	Unstored     int // results that wait to be stored, or for the server to be told of
}

// Stats reports what happened. It does no I/O.
func (s *Source) Stats() Stats {
	c := &s.counts
	st := Stats{
		Claimed: c.Claimed.Load(), ClaimBatches: c.ClaimBatches.Load(), Completed: c.Completed.Load(), CompleteBatches: c.CompleteBatches.Load(),
		Checkpoints: c.Checkpoints.Load(), Released: c.Released.Load(), Takeovers: c.Takeovers.Load(), Fenced: c.Fenced.Load(),
		Lost: c.Lost.Load(), Duplicates: c.Duplicates.Load(), Undecodable: c.Undecodable.Load(), Swept: c.Swept.Load(),
		Overlooked: c.Overlooked.Load(), Abandoned: c.Abandoned.Load(), Retries: c.Retries.Load(), Reconnects: c.Reconnects.Load(), Published: c.Published.Load(),
		Received: c.Received.Load(), ReceiveFailures: c.ReceiveFailures.Load(), Archived: c.Archived.Load(),
		SendFailures: c.SendFailures.Load(), EventSendFailures: c.EventSendFailures.Load(),
	}
	s.mu.Lock()
	st.Held = len(s.held)
	s.mu.Unlock()
	s.finished.mu.Lock()
	st.Unstored = int(s.finished.given - s.finished.settledTo)
	st.Given, st.Settled = s.finished.given, s.finished.settledTo
	s.finished.mu.Unlock()
	st.Publications, st.Unpublished = s.outbox.Counts()
	s.unsent.mu.Lock()
	st.Unstored += int(s.unsent.given - s.unsent.settledTo)
	s.unsent.mu.Unlock()
	return st
}

// PoolName tells pools apart.
type PoolName string

// The pools that there are. QueuePool is of a database with nothing but the
// queues.
const (
	MainPool  PoolName = "worker"
	QueuePool PoolName = "queues"
)

// Pool is the state of the connections to a database.
type Pool struct {
	Name            PoolName
	Size, Idle, Max int
	Acquires        int64
	AcquireWait     time.Duration // in total
	Waits           int64         // acquisitions that took Upkeep.SlowAcquire or longer
	LongestWait     time.Duration // for a connection
	Errors          int64         // acquisitions that were given up
	Unmade          int64         // connections that could not be made
}

// Pool reports on the connections to the deployment's database. It does no I/O.
func (s *Source) Pool() Pool { return poolOf(s.pool, &s.waits) }

// QueuePool reports on the connections to the database with the queues, which
// may be the same ones.
func (s *Source) QueuePool() Pool {
	if s.queuePool == s.pool {
		return s.Pool()
	}
	return poolOf(s.queuePool, &s.queueWaits)
}

func poolOf(pool *pgxpool.Pool, w *waits) Pool {
	p := pool.Stat()
	return Pool{
		Name: w.pool,
		Size: int(p.TotalConns()), Idle: int(p.IdleConns()), Max: int(p.MaxConns()),
		Acquires: p.AcquireCount(), AcquireWait: p.AcquireDuration(), Errors: p.CanceledAcquireCount(), Unmade: w.unmade.Load(),
		Waits: w.slow.Load(), LongestWait: time.Duration(w.longest.Load()),
	}
}

// QueueDepth is how much waits for a namespace's workers.
type QueueDepth struct {
	Namespace string
	Messages  int64
	Oldest    time.Duration // age of the oldest message; 0 without one
}

// QueueDepths asks the database how much waits.
func (s *Source) QueueDepths(ctx context.Context) ([]QueueDepth, error) {
	depths := make([]QueueDepth, 0, len(s.queues))
	var batch pgx.Batch
	for _, q := range s.queues {
		d := QueueDepth{Namespace: q.namespace}
		depths = append(depths, d)
		at := len(depths) - 1
		batch.Queue(`SELECT queue_length, COALESCE(oldest_msg_age_sec, 0) FROM pgmq.metrics($1)`, q.name).QueryRow(func(row pgx.Row) error {
			var age int64
			if err := row.Scan(&depths[at].Messages, &age); err != nil {
				return err
			}
			depths[at].Oldest = time.Duration(age) * time.Second
			return nil
		})
	}
	if err := s.queuePool.SendBatch(ctx, &batch).Close(); err != nil {
		return nil, fmt.Errorf("ask for the depth of queues: %w", err)
	}
	return depths, nil
}

// Ping asks the database, or both, whether it is there.
func (s *Source) Ping(ctx context.Context) error {
	if err := s.pool.Ping(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if s.queuePool == s.pool {
		return nil
	}
	if err := s.queuePool.Ping(ctx); err != nil {
		return fmt.Errorf("queue database: %w: %w", ErrUnavailable, err)
	}
	return nil
}
