package postgres

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tasker-systems/taskerpy/dispatch"
)

// A claimant that waits lets the listener claim for it: a lone step is claimed by
// a statement for its message alone, on the connection that told of it, and
// without another goroutine or backend being woken first. From the notification
// to the claim that takes a sixth less time.

// offer is a claimant that waits, for one step.
type offer struct {
	accepted bool                  // under Source.mu
	steps    chan []*dispatch.Step // has room for one: what an offer that was accepted gave
}

// loneAfter is how long nothing else was told of before a message that is
// claimed by itself: what comes faster is claimed in batches.
const loneAfter = 2 * time.Millisecond

// await waits until there may be something to claim, at the latest at next. It
// returns what the listener has claimed meanwhile.
func (s *Source) await(ctx context.Context, next time.Time) []*dispatch.Step {
	o := &offer{steps: make(chan []*dispatch.Step, 1)}
	s.mu.Lock()
	s.offer = o
	s.mu.Unlock()
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	select {
	case steps := <-o.steps:
		return steps
	case <-s.wake:
	case <-timer.C:
	case <-ctx.Done():
	}
	s.mu.Lock()
	accepted := o.accepted
	s.offer = nil
	s.mu.Unlock()
	if accepted { // the listener is at it
		return <-o.steps
	}
	return nil
}

// accept takes the offer of the claimant that waits, if there is one, for a lone
// message of one of the queues that is not otherwise in need of a look. s.mu is
// held. The listener then stands for the claimant until it gives it something.
func (s *Source) accept(e *ear, queues []*queue, message int64) *offer {
	o := s.offer
	lone := time.Since(s.heard) > loneAfter
	s.heard = time.Now()
	if o == nil || !lone || message == 0 || len(queues) != 1 {
		return nil
	}
	if q := queues[0]; e.claims[q] == nil || q.due || !q.wellBehaved() {
		return nil
	}
	s.offer, o.accepted = nil, true
	return o
}

// wellBehaved tells that nothing was amiss with the last claim.
func (q *queue) wellBehaved() bool {
	return !q.suspect && q.few == 0 && q.bare == nil && !q.failing && q.retry == backoff{}
}

// ear is the connection that tells of messages, and the claims that are ready on
// it.
type ear struct {
	*pgx.Conn
	claims map[*queue]*toldClaim
}

// toldClaim is claimToldSQL for a queue, with the arguments that stay the same as
// they go to the database: what is to be done for a lone step by pgx takes longer
// than its way there.
type toldClaim struct {
	statement        *pgconn.StatementDescription
	visibility, uuid []byte
	results          []int16 // their formats
}

// prepareTold gets the claims of an ear ready, and planned. A queue with which
// that fails is claimed from by the claimant only. A connection to a database of
// queues sees no steps.
func (s *Source) prepareTold(ctx context.Context, e *ear) {
	if s.queuePool != s.pool {
		return
	}
	for i, q := range s.queues {
		c, err := s.prepareToldOf(ctx, e.Conn, q, fmt.Sprintf("told_%d", i))
		if err != nil {
			s.log.Debug("prepare claims of what is told of", "queue", q.name, "error", err)
			continue
		}
		e.claims[q] = c
	}
}

func (s *Source) prepareToldOf(ctx context.Context, conn *pgx.Conn, q *queue, name string) (c *toldClaim, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	c = &toldClaim{}
	if c.statement, err = conn.Prepare(ctx, name, q.sql(claimToldSQL)); err != nil {
		return nil, err
	}
	types := conn.TypeMap()
	if c.visibility, err = types.Encode(c.statement.ParamOIDs[0], pgx.BinaryFormatCode, s.o.Visibility.Seconds(), nil); err != nil {
		return nil, err
	}
	if c.uuid, err = types.Encode(c.statement.ParamOIDs[2], pgx.BinaryFormatCode, s.uuid, nil); err != nil {
		return nil, err
	}
	for _, f := range c.statement.Fields {
		c.results = append(c.results, types.FormatCodeForOID(f.DataTypeOID))
	}
	_, err = c.read(ctx, conn, 0)
	return c, err
}

func (c *toldClaim) read(ctx context.Context, conn *pgx.Conn, id int64) ([]message, error) {
	args := [][]byte{c.visibility, binary.BigEndian.AppendUint64(nil, uint64(id)), c.uuid}
	answer := conn.PgConn().ExecStatement(ctx, c.statement, args, []int16{pgx.BinaryFormatCode}, c.results)
	return collectMessages(pgx.RowsFromResultReader(conn.TypeMap(), answer))
}

// isStale tells that a statement must be prepared anew: its tables have changed,
// or somebody has dropped it.
func isStale(err error) bool {
	c := code(err)
	return c == "0A000" || c == "26000"
}

// claimTold claims the step of a message that was told of. When it cannot, or the
// message is not a new one, the queue is due: the claimant finds out why.
func (s *Source) claimTold(ctx context.Context, e *ear, q *queue, id int64) []*dispatch.Step {
	if s.beStillOurs(ctx, q) == nil {
		messages, took, err := s.readMessages(ctx, q, func(ctx context.Context) ([]message, error) {
			return e.claims[q].read(ctx, e.Conn, id)
		})
		switch {
		case isStale(err):
			delete(e.claims, q)
		case err == nil && (len(messages) == 0 || messages[0].key != nil):
			return dispatched(s.take(ctx, q, messages, nil, took))
		}
	}
	s.makeDue(q)
	return nil
}
