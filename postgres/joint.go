package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/gofrs/uuid/v5"
	"github.com/jackc/pgx/v5"
)

// coupling is how steps and the messages about them change together: in one
// transaction where they share a database (joint), or else in one after the
// other (split).
type coupling interface {
	// prepare runs the statements of the hot path without anything to do, on
	// connections of the pool that is meant, so that they are planned.
	prepare(ctx context.Context)
	// run does what goes on in the background until close, or the end of ctx.
	run(ctx context.Context)
	// close returns when all that was handed in is done.
	close()

	// claim reads up to n messages and claims their steps; bare: without what
	// these depend on.
	claim(ctx context.Context, q *queue, n int, bare bool) ([]message, error)
	// putOff lets the message that would be read first be read later.
	putOff(ctx context.Context, q *queue) error
	// lost finds steps of a queue that this process has claimed; known ones are
	// among them.
	lost(ctx context.Context, q *queue) ([]lostClaim, error)
	// stored is told of results that are stored, and calls Source.told for each
	// of them when the server's queue has it.
	stored(batch []*finished)
	// release hands steps back; again as for a writer.
	release(ctx context.Context, batch []*finished, again bool) error
	// beat keeps claims and their messages. It returns the steps that are still
	// ours; these may be known although there is an error.
	beat(ctx context.Context, q *queue, claims []*claim) (map[uuid.UUID]bool, error)

	// resendResults and resendSteps send messages about results, or about a
	// queue's steps, that are in no queue although they should have been for age
	// seconds.
	resendResults(ctx context.Context, tx pgx.Tx, age float64) (int64, error)
	resendSteps(ctx context.Context, tx pgx.Tx, q *queue, age float64) (int64, error)
	// lookAt carries out overlookedTasks or unchangedTasks; see overlooked.go.
	lookAt(ctx context.Context, db querier, candidates string, arg any) (told int, again map[uuid.UUID]bool, err error)
}

// lostClaim is a claim of which nobody here may know.
type lostClaim struct {
	msgID int64
	step  uuid.UUID
	key   int32
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// joint is the coupling for one database.
type joint struct{ *Source }

func (j joint) prepare(ctx context.Context) {
	j.warm(ctx, j.pool, func(batch *pgx.Batch) {
		for _, q := range j.queues {
			batch.Queue(q.sql(claimSQL), j.o.Visibility.Seconds(), 0, j.uuid)
		}
		j.queueEmptyCompletion(batch)
	})
}

func (j joint) run(context.Context) {}

func (j joint) close() {}

func (j joint) claim(ctx context.Context, q *queue, n int, bare bool) ([]message, error) {
	rows, err := j.pool.Query(ctx, q.sql(depending(claimSQL, bare)), j.o.Visibility.Seconds(), n, j.uuid)
	if err != nil {
		return nil, err
	}
	return collectMessages(rows)
}

func (j joint) putOff(ctx context.Context, q *queue) error {
	_, err := j.pool.Exec(ctx, q.sql(putOffSQL), j.o.Visibility.Seconds())
	return err
}

func (j joint) lost(ctx context.Context, q *queue) ([]lostClaim, error) {
	rows, err := j.pool.Query(ctx, q.sql(lostClaimsSQL), j.uuid)
	if err != nil {
		return nil, err
	}
	return collectLost(rows)
}

func (j joint) stored(batch []*finished) {
	for _, f := range batch {
		j.told(f)
	}
}

func (j joint) release(ctx context.Context, batch []*finished, _ bool) error {
	_, err := j.pool.Exec(ctx, releaseSQL, j.releaseArgs(batch)...)
	return err
}

func (j joint) beat(ctx context.Context, q *queue, claims []*claim) (map[uuid.UUID]bool, error) {
	messages, steps, keys := namesOf(claims)
	rows, err := j.pool.Query(ctx, q.sql(beatSQL), j.o.Visibility.Seconds(), messages, steps, keys, j.uuid)
	if err != nil {
		return nil, err
	}
	ours, err := collectSet(rows)
	if err != nil {
		return nil, err
	}
	return ours, nil
}

func (j joint) resendResults(ctx context.Context, tx pgx.Tx, age float64) (n int64, err error) {
	err = tx.QueryRow(ctx, j.server.sql(resultsSweep), age, j.server.name).Scan(&n)
	return n, err
}

func (j joint) resendSteps(ctx context.Context, tx pgx.Tx, q *queue, age float64) (n int64, err error) {
	err = tx.QueryRow(ctx, q.sql(stepsSweep), age, q.name, q.namespace).Scan(&n)
	return n, err
}

func (j joint) lookAt(ctx context.Context, db querier, candidates string, arg any) (told int, again map[uuid.UUID]bool, err error) {
	rows, err := db.Query(ctx, j.server.sql(strings.ReplaceAll(candidates+goOnSQL, "{coming}", comingSQL)), j.o.ResultsQueue, arg)
	if err != nil {
		return 0, nil, err
	}
	again = map[uuid.UUID]bool{}
	told, err = collectLooked(rows, again)
	return told, again, err
}

// collectLooked reads which tasks the server was told of, and adds those that
// are to be looked at again.
func collectLooked(rows pgx.Rows, again map[uuid.UUID]bool) (told int, err error) {
	var task uuid.UUID
	var tells, busy bool
	_, err = pgx.ForEachRow(rows, []any{&task, &tells, &busy}, func() error {
		if tells {
			told++
		}
		if busy {
			again[task] = true
		}
		return nil
	})
	return told, err
}

// collectMessages reads the answer to a claim.
func collectMessages(rows pgx.Rows) ([]message, error) {
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (message, error) {
		var m message
		targets := append([]any{&m.id, &m.reads, &m.age, &m.stepUUID, &m.state, &m.key, &m.attempts, &m.maxAttempts, &m.retryable}, m.targets()...)
		return m, row.Scan(targets...)
	})
}

func collectLost(rows pgx.Rows) ([]lostClaim, error) {
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (l lostClaim, err error) {
		return l, row.Scan(&l.msgID, &l.step, &l.key)
	})
}

// namesOf are what statements know claims by.
func namesOf(claims []*claim) (messages []int64, steps []uuid.UUID, keys []int32) {
	messages, steps, keys = make([]int64, len(claims)), make([]uuid.UUID, len(claims)), make([]int32, len(claims))
	for i, c := range claims {
		messages[i], steps[i], keys[i] = c.msgID, c.stepUUID, c.key.Load()
	}
	return messages, steps, keys
}

// queueError is an error of a database that has nothing but the queues.
type queueError struct{ error }

func (e queueError) Unwrap() error { return e.error }

func inQueues(what string, err error) error {
	if err == nil {
		return nil
	}
	return queueError{fmt.Errorf("%s in the queue database: %w", what, err)}
}
