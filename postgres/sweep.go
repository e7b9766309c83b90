package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/jackc/pgx/v5"
)

const (
	// sweepAge is how long something must have been left before a sweep takes
	// it for forgotten, in seconds.
	sweepAge = 60.0
	// bootAge is the same at the start: tasks that were made before there was
	// a queue wait for nothing else.
	bootAge = 5.0
	// abandonedAge is how long nothing must have become of a task before its
	// server is taken for dead.
	abandonedAge = 45.0
	// misjudgedAge is how long a task must have been blocked without a failure
	// before it is taken for misjudged. Those that have been for longer than
	// misjudgedLately are looked at by the first sweep only, and none beyond
	// misjudgedEver: tasks that have failed stay for good.
	misjudgedAge    = 5.0
	misjudgedLately = 3600.0
	misjudgedEver   = 24 * 3600.0
	// afterOutage is when a sweep follows on an outage: the server too was cut
	// off in the middle of something. It is longer than bootAge.
	afterOutage = 10 * time.Second
	// sweepLock is the advisory lock under which one worker sweeps.
	sweepLock = 0x7461736b65727079
)

// The first two sweeps begin with the steps that are not processed, of which there is an
// index: of what is current there is one of every step that there ever was.

// resultsSweep tells the server again of results that it was not told of, by
// workers that died between the two (worker-protocol §9.3, S1).
const resultsSweep = sendEach + unprocessedResults + withoutMessage

// sendEach sends the queue $2 a message about each of the steps w.
const sendEach = `
SELECT count(tasker.pgmq_send_with_notify($2::text,
         jsonb_build_object('task_uuid', w.task_uuid, 'step_uuid', w.step_uuid, 'correlation_id', w.correlation_id), 0))
  FROM (`

// withoutMessage leaves those of which there is no message in the queue. NOT IN
// makes one table of the queue's to look them up in, however few messages the
// planner believes in.
const withoutMessage = `
           AND s.workflow_step_uuid::text NOT IN (SELECT q.message->>'step_uuid' FROM {queue} q WHERE q.message->>'step_uuid' IS NOT NULL)
         LIMIT 100) w`

// unprocessedResults are results that the server has not looked at for $1
// seconds.
const unprocessedResults = `SELECT k.task_uuid, s.workflow_step_uuid AS step_uuid, k.correlation_id
          FROM tasker.workflow_steps s
          JOIN tasker.workflow_step_transitions t ON t.workflow_step_uuid = ANY (ARRAY[s.workflow_step_uuid])
          JOIN tasker.tasks k ON k.task_uuid = ANY (ARRAY[s.task_uuid])
         WHERE NOT s.processed AND t.most_recent IS NOT FALSE AND t.to_state IN ('enqueued_for_orchestration', 'enqueued_as_error_for_orchestration')
           AND t.created_at < now() AT TIME ZONE 'UTC' - make_interval(secs => $1)`

// stepsSweep tells ourselves of steps whose message was never sent, because
// their queue did not exist (S2).
const stepsSweep = sendEach + unclaimedSteps + withoutMessage

// unclaimedSteps are steps of the namespace $3 that nobody has claimed for $1
// seconds.
const unclaimedSteps = `SELECT k.task_uuid, s.workflow_step_uuid AS step_uuid, k.correlation_id
          FROM tasker.workflow_steps s
          JOIN tasker.workflow_step_transitions t ON t.workflow_step_uuid = ANY (ARRAY[s.workflow_step_uuid])
          JOIN tasker.tasks k ON k.task_uuid = ANY (ARRAY[s.task_uuid])
          JOIN tasker.named_tasks nt ON nt.named_task_uuid = ANY (ARRAY[k.named_task_uuid])
          JOIN tasker.task_namespaces tn ON tn.task_namespace_uuid = ANY (ARRAY[nt.task_namespace_uuid])
         WHERE NOT s.processed AND t.most_recent IS NOT FALSE AND t.to_state = 'enqueued' AND tn.name = $3
           AND t.created_at < now() AT TIME ZONE 'UTC' - make_interval(secs => $1)`

// abandonedSweep takes up tasks that the server itself never will: those that it,
// or its database, died over while it was enqueuing their steps, of which nothing
// has become for $1 seconds, nor of any of their steps; and those that it has
// blocked although no step has ever failed, or every one is complete, which
// happens when its database dies while it evaluates a result: of those that were
// blocked between $3 and $4 seconds ago, but not what was taken up often already.
// It is the one transition of tasks that a worker makes, and it leaves it to the
// server to enqueue what is ready: that is what it does with tasks that wait for
// dependencies. Where there is nothing to enqueue, results make it go on. $2 is
// this process.
const abandonedSweep = `
WITH abandoned AS (
  SELECT x.task_transition_uuid, s.ready > 0 AS ready
    FROM tasker.tasks t JOIN tasker.task_transitions x ON x.task_uuid = t.task_uuid, LATERAL (
      SELECT max(w.created_at) AS latest, bool_and(w.to_state = 'complete') AND bool_or(s.results ? 'step_uuid') AS complete,
             count(*) FILTER (WHERE w.to_state = 'pending' AND NOT EXISTS (` + unfinishedParent + `)) AS ready
        FROM tasker.workflow_steps s JOIN tasker.workflow_step_transitions w ON w.workflow_step_uuid = ANY (ARRAY[s.workflow_step_uuid])
       WHERE s.task_uuid = t.task_uuid AND w.most_recent IS NOT FALSE) s
   WHERE NOT t.complete AND x.most_recent
     AND (x.to_state IN ('initializing', 'enqueuing_steps') OR x.to_state = 'blocked_by_failures'
          AND x.created_at < now() AT TIME ZONE 'UTC' - make_interval(secs => $3) AND x.created_at > now() AT TIME ZONE 'UTC' - make_interval(secs => $4))
     AND s.latest IS NOT NULL
     AND CASE x.to_state WHEN 'blocked_by_failures' THEN
           (s.complete OR NOT EXISTS (
              SELECT 1 FROM tasker.workflow_steps f JOIN tasker.workflow_step_transitions w ON w.workflow_step_uuid = ANY (ARRAY[f.workflow_step_uuid])
               WHERE f.task_uuid = t.task_uuid AND w.to_state IN ('error', 'cancelled', 'resolved_manually')))
           AND (SELECT count(*) FROM tasker.task_transitions b WHERE b.task_uuid = t.task_uuid AND b.from_state = 'blocked_by_failures') < 3
         ELSE greatest(x.created_at, s.latest) < now() AT TIME ZONE 'UTC' - make_interval(secs => $1) END
   LIMIT 100
), flip AS (
  UPDATE tasker.task_transitions x SET most_recent = false, updated_at = now() AT TIME ZONE 'UTC'
    FROM abandoned a WHERE x.task_transition_uuid = a.task_transition_uuid AND x.most_recent
  RETURNING x.task_uuid, x.to_state, x.sort_key, a.ready
)
INSERT INTO tasker.task_transitions (task_uuid, from_state, to_state, metadata, sort_key, most_recent, created_at, updated_at)
SELECT task_uuid, to_state, CASE WHEN ready THEN 'waiting_for_dependencies' ELSE 'steps_in_process' END,
       jsonb_build_object('event', CASE to_state WHEN 'blocked_by_failures' THEN 'taken up since nothing blocks it'
                                             ELSE 'taken up after tasker-server was gone' END, 'worker_uuid', $2::uuid, 'timestamp', ` + stamp + `),
       sort_key + 1, true, now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC'
  FROM flip
RETURNING task_uuid`

// sweepOn repairs from time to time what others left half done.
func (s *Source) sweepOn(ctx context.Context) {
	age, blocked, again := bootAge, misjudgedEver, afterOutage
	for {
		every := sweepEvery
		if err := s.sweep(ctx, age, blocked); err == nil {
			age, blocked, again = sweepAge, misjudgedLately, afterOutage
		} else if ctx.Err() == nil {
			s.log.Warn("look for forgotten steps", "error", err)
			every, again = again, min(2*again, sweepEvery)
		}
		select {
		case <-time.After(jittered(every)):
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

// sweepSoon has a sweep follow on an outage.
func (s *Source) sweepSoon() {
	select {
	case s.reconnected <- struct{}{}:
	default:
	}
}

// sweep runs all sweeps, unless another worker does at the moment.
func (s *Source) sweep(ctx context.Context, age, blocked float64) error {
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
	var failed []error
	// What fails takes nothing with it of what the others have done.
	part := func(what string, do func(tx pgx.Tx) error) {
		if err := pgx.BeginFunc(ctx, tx, do); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", what, err))
		}
	}
	var results, steps int64
	var told int
	part("results", func(tx pgx.Tx) (err error) {
		results, err = s.coupling.resendResults(ctx, tx, age)
		return err
	})
	for _, q := range s.queues {
		part("namespace "+q.namespace, func(tx pgx.Tx) error {
			n, err := s.coupling.resendSteps(ctx, tx, q, age)
			steps += n
			return err
		})
	}
	part("tasks", func(tx pgx.Tx) (err error) {
		told, _, err = s.coupling.lookAt(ctx, tx, unchangedTasks, age)
		return err
	})
	if err := tx.Commit(ctx); err != nil {
		return errors.Join(append(failed, err)...)
	}
	s.countOverlooked(told)
	if results+steps > 0 {
		s.counts.Swept.Add(uint64(results + steps))
		s.log.Warn("forgotten messages were sent again", "results", results, "steps", steps)
	}
	return errors.Join(append(failed, s.takeUpAbandoned(ctx, abandonedAge, misjudgedAge, blocked))...)
}

// takeUpAbandoned does not need to be alone.
func (s *Source) takeUpAbandoned(ctx context.Context, abandoned, blockedAfter, blockedUntil float64) error {
	rows, err := s.pool.Query(ctx, abandonedSweep, abandoned, s.uuid, blockedAfter, blockedUntil)
	if err != nil {
		return fmt.Errorf("abandoned tasks: %w", err)
	}
	tasks, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return fmt.Errorf("abandoned tasks: %w", err)
	}
	if len(tasks) > 0 {
		s.counts.Abandoned.Add(uint64(len(tasks)))
		s.log.Warn("tasks were taken up that tasker-server had left while it was enqueuing their steps, or had blocked without a failure", "tasks", len(tasks))
		s.suspects.add(tasks) // of those without a step to enqueue
	}
	return nil
}
