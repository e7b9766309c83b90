package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/jackc/pgx/v5"

	"github.com/tasker-systems/taskerpy/dispatch"
)

// publication is what became of a claim.
func (s *Source) publication(c *claim, result []byte) dispatch.Publication {
	return dispatch.Publication{
		StepUUID: c.stepUUID, Attempt: c.attempt, Event: c.event.bytes(uuid.Must(uuid.NewV4())), Result: result, Handle: c,
	}
}

// Publications waits for finished attempts whose events are to be published.
// The message of such a step stays in its queue until Published: if this
// worker dies before, another one publishes them. The error is
// dispatch.ErrClosed or ctx.Err().
func (s *Source) Publications(ctx context.Context) ([]dispatch.Publication, error) {
	return s.outbox.Take(ctx)
}

// sendEvent sends the durable event $2 to the queue $1. A notification may have
// 8,000 bytes, but the wrapper, which repeats the event in it, counts characters
// (worker-protocol §2.3). How many bytes there are is seen once the event is
// jsonb: that writes spaces, and numbers, in a way of its own.
const sendEvent = `
WITH e AS MATERIALIZED (SELECT $2::jsonb AS event),
     large AS (SELECT pgmq.send($1::text, event) AS msg_id FROM e WHERE octet_length(event::text) > 7000),
     notice AS (SELECT json_build_object('event_type', 'message_ready', 'msg_id', msg_id, 'queue_name', $1::text,
                  'namespace', tasker.extract_queue_namespace($1), 'ready_at', now(), 'delay_seconds', 0, 'payload_omitted', true)::text AS text FROM large)
SELECT tasker.pgmq_send_with_notify($1, event, 0)::text, NULL FROM e WHERE octet_length(event::text) <= 7000
 UNION ALL
SELECT pg_notify('pgmq_message_ready.' || tasker.extract_queue_namespace($1), text)::text, pg_notify('pgmq_message_ready', text)::text FROM notice`

// Published sends the durable events of a publication and acknowledges the
// message of its step, in one transaction. If the events cannot be stored, the
// message is acknowledged without them.
func (s *Source) Published(ctx context.Context, p dispatch.Publication, durable []dispatch.DomainEvent) error {
	c, ok := p.Handle.(*claim)
	if !ok {
		return fmt.Errorf("publish events of step %s: this source does not know it", p.StepUUID)
	}
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	started := time.Now()
	err := pgx.BeginFunc(ctx, s.queuePool, func(tx pgx.Tx) error {
		var batch pgx.Batch
		for _, e := range durable {
			event, _ := storable(e.JSON)
			batch.Queue(sendEvent, eventsQueue(c.queue.namespace), event)
		}
		batch.Queue(s.statements.acknowledge, c.queue.name, []int64{c.msgID})
		return tx.SendBatch(ctx, &batch).Close()
	})
	took := time.Since(started)
	s.o.Observer.TransactionDone(DomainEvents, took, err == nil)
	if err != nil {
		s.counts.EventSendFailures.Add(uint64(len(durable)))
	}
	switch {
	case err == nil:
		s.counts.Published.Add(uint64(len(durable)))
		s.messageDone(c)
		if len(durable) > 0 {
			s.o.Observer.EventsSent(len(durable), took)
		}
	case isOfData(err) && len(durable) > 0:
		s.log.Error("domain events cannot be stored", "step", c.name, "step_uuid", c.stepUUID, "error", err)
		if err := s.Published(ctx, p, nil); err != nil {
			return err
		}
		return fmt.Errorf("publish events of step %s: %w: %w", p.StepUUID, dispatch.ErrUnstorable, err)
	case errors.Is(err, context.Canceled):
		return dispatch.ErrClosed
	default:
		return fmt.Errorf("publish events of step %s: %w", p.StepUUID, err)
	}
	s.drop(c)
	return nil
}

// unpublishedSQL hydrates a step ($1) whose message ($2) was kept for the events
// of an attempt by a worker that died before it published them. The step may
// have been attempted again since.
const unpublishedSQL = `
WITH ours AS (
  SELECT t.workflow_step_uuid, (t.metadata->>'events_of_attempt')::int AS attempt, (t.metadata->>'event')::jsonb->'data' AS result
    FROM tasker.workflow_step_transitions t
   WHERE t.workflow_step_uuid = $1 AND t.metadata->>'events_of_message' = $2::text
   ORDER BY t.sort_key DESC LIMIT 1
)
SELECT COALESCE(ours.attempt, s.attempts), ours.result,` + hydrateColumns + `
  FROM ours` + hydrateJoins

// publishAgain takes over the publication of a step's events; false when the
// message is not kept for one.
func (s *Source) publishAgain(ctx context.Context, q *queue, m *message) bool {
	s.mu.Lock()
	ours := s.held[*m.stepUUID]
	s.mu.Unlock()
	if ours != nil && ours.msgID == m.id {
		return true // we have it still
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statementTimeout)
	defer cancel()
	var h hydrated
	var attempts *int32
	var results []byte
	err := s.pool.QueryRow(ctx, unpublishedSQL, *m.stepUUID, fmt.Sprint(m.id)).Scan(append([]any{&attempts, &results}, h.targets()...)...)
	if errors.Is(err, pgx.ErrNoRows) {
		return false
	}
	if err != nil {
		s.log.Warn("look for unpublished domain events", "step_uuid", m.stepUUID, "error", err)
		return true // it comes again
	}
	c := &claim{queue: q, msgID: m.id, stepUUID: *m.stepUUID, sent: m.sent()}
	if attempts != nil {
		c.attempt = int(*attempts)
	}
	c.finish()
	unfit, err := s.hydrate(ctx, c, &h)
	if err != nil {
		s.log.Warn("look for unpublished domain events", "step_uuid", m.stepUUID, "error", err)
		return true // it comes again
	}
	if unfit != nil {
		return false
	}
	s.mu.Lock()
	s.held[c.stepUUID] = c
	s.mu.Unlock()
	s.log.Warn("domain events of a worker that is gone are published", "step", c.name, "task_uuid", c.taskUUID, "step_uuid", c.stepUUID)
	s.outbox.Put(s.publication(c, results))
	return true
}

// Sync waits until the results that were handed in before are stored, and the
// server is told of them.
func (s *Source) Sync(ctx context.Context) error {
	if err := s.finished.settled(ctx); err != nil {
		return err
	}
	return s.unsent.settled(ctx)
}

// Subscribe, Consume and Consumed: durable events of a deployment are for
// whoever reads their queue. Subscribers in this process get fast events only
// (worker-protocol §3.12).

// Subscribe does nothing.
func (s *Source) Subscribe(context.Context, string) error { return nil }

// Consume waits for the end of ctx.
func (s *Source) Consume(ctx context.Context, _ string, _ int) ([]dispatch.DomainEvent, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// Consumed does nothing.
func (s *Source) Consumed(context.Context, string, int64) error { return nil }
