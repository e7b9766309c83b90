package postgres

import (
	"context"
	"fmt"
	"time"
)

const (
	// sweepAge is how long something must have been left before a sweep takes
	// it for forgotten, in seconds.
	sweepAge = 60.0
	// bootAge is the same at the start: tasks that were made before there was
	// a queue wait for nothing else.
	bootAge = 5.0
	// afterOutage is when a sweep follows on an outage: the server too was cut
	// off in the middle of something. It is longer than bootAge.
	afterOutage = 10 * time.Second
	// sweepLock is the advisory lock under which one worker sweeps.
	sweepLock = 0x7461736b65727079
)

// Both sweeps begin with the steps that are not processed, of which there is an
// index: of what is current there is one of every step that there ever was.

// resultsSweep tells the server again of results that it was not told of, by
// workers that died between the two (worker-protocol §9.3, S1).
const resultsSweep = `
SELECT count(tasker.pgmq_send_with_notify($2::text,
         jsonb_build_object('task_uuid', w.task_uuid, 'step_uuid', w.step_uuid, 'correlation_id', w.correlation_id), 0))
  FROM (SELECT k.task_uuid, s.workflow_step_uuid AS step_uuid, k.correlation_id
          FROM tasker.workflow_steps s
          JOIN tasker.workflow_step_transitions t ON t.workflow_step_uuid = ANY (ARRAY[s.workflow_step_uuid])
          JOIN tasker.tasks k ON k.task_uuid = ANY (ARRAY[s.task_uuid])
         WHERE NOT s.processed AND t.most_recent IS NOT FALSE AND t.to_state IN ('enqueued_for_orchestration', 'enqueued_as_error_for_orchestration')
           AND t.created_at < now() AT TIME ZONE 'UTC' - make_interval(secs => $1)
           AND NOT EXISTS (SELECT 1 FROM {queue} q WHERE q.message->>'step_uuid' = s.workflow_step_uuid::text)
         LIMIT 100) w`

// stepsSweep tells ourselves of steps whose message was never sent, because
// their queue did not exist (S2).
const stepsSweep = `
SELECT count(tasker.pgmq_send_with_notify($2::text,
         jsonb_build_object('task_uuid', w.task_uuid, 'step_uuid', w.step_uuid, 'correlation_id', w.correlation_id), 0))
  FROM (SELECT k.task_uuid, s.workflow_step_uuid AS step_uuid, k.correlation_id
          FROM tasker.workflow_steps s
          JOIN tasker.workflow_step_transitions t ON t.workflow_step_uuid = ANY (ARRAY[s.workflow_step_uuid])
          JOIN tasker.tasks k ON k.task_uuid = ANY (ARRAY[s.task_uuid])
          JOIN tasker.named_tasks nt ON nt.named_task_uuid = k.named_task_uuid
          JOIN tasker.task_namespaces tn ON tn.task_namespace_uuid = nt.task_namespace_uuid
         WHERE NOT s.processed AND t.most_recent IS NOT FALSE AND t.to_state = 'enqueued' AND tn.name = $3
           AND t.created_at < now() AT TIME ZONE 'UTC' - make_interval(secs => $1)
           AND NOT EXISTS (SELECT 1 FROM {queue} q WHERE q.message->>'step_uuid' = s.workflow_step_uuid::text)
         LIMIT 100) w`

// sweepOn repairs from time to time what others left half done.
func (s *Source) sweepOn(ctx context.Context) {
	age := bootAge
	for {
		if err := s.sweep(ctx, age); err != nil && ctx.Err() == nil {
			s.log.Warn("look for forgotten steps", "error", err)
		}
		age = sweepAge
		select {
		case <-time.After(jittered(sweepEvery)):
		case <-s.reconnected:
			age = bootAge
			select {
			case <-time.After(jittered(afterOutage)):
			case <-ctx.Done():
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// sweep runs both sweeps, unless another worker does at the moment.
func (s *Source) sweep(ctx context.Context, age float64) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // a no-op after the commit
	var mine bool
	if err := tx.QueryRow(ctx, `SELECT pg_try_advisory_xact_lock($1)`, int64(sweepLock)).Scan(&mine); err != nil || !mine {
		return err
	}
	var results int64
	server := queue{name: s.o.ResultsQueue, table: tableOf(s.o.ResultsQueue)}
	if err := tx.QueryRow(ctx, server.sql(resultsSweep), age, server.name).Scan(&results); err != nil {
		return fmt.Errorf("results: %w", err)
	}
	var steps int64
	for _, q := range s.queues {
		var n int64
		if err := tx.QueryRow(ctx, q.sql(stepsSweep), age, q.name, q.namespace).Scan(&n); err != nil {
			return fmt.Errorf("namespace %s: %w", q.namespace, err)
		}
		steps += n
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	if results+steps > 0 {
		s.counts.Swept.Add(uint64(results + steps))
		s.log.Warn("forgotten messages were sent again", "results", results, "steps", steps)
	}
	return nil
}
