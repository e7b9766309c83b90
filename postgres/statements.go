package postgres

import "strings"

// statements are the SQL of the hot path (worker-protocol §9.6). The table of
// a queue is put in for {queue}; register has made sure that its name is
// harmless.
type statements struct {
	complete, release string
}

func prepareStatements(o Options) statements {
	acknowledge := "pgmq.archive"
	if o.DeleteMessages {
		acknowledge = "pgmq.delete"
	}
	return statements{
		complete: strings.ReplaceAll(completeSQL, "{acknowledge}", acknowledge),
		release:  releaseSQL,
	}
}

func (q *queue) sql(statement string) string {
	return strings.ReplaceAll(statement, "{queue}", q.table)
}

// hydrate reads what an event is made of, for the steps of a CTE ours(
// workflow_step_uuid). Rows are as they were before the statement. Ancestors
// are visited once, however many paths lead to them.
const (
	hydrateColumns = `
       to_jsonb(t), t.correlation_id, t.parent_correlation_id,
       s.task_uuid, to_jsonb(s) - 'checkpoint' - 'priority', s.checkpoint,
       n.name, COALESCE(s.inputs->>'__template_step_name', n.name),
       tn.name, nt.name, nt.version, nt.updated_at,
       dep.results`

	hydrateJoins = `
  LEFT JOIN tasker.workflow_steps s ON s.workflow_step_uuid = ours.workflow_step_uuid
  LEFT JOIN tasker.named_steps n ON n.named_step_uuid = s.named_step_uuid
  LEFT JOIN tasker.tasks t ON t.task_uuid = s.task_uuid
  LEFT JOIN tasker.named_tasks nt ON nt.named_task_uuid = t.named_task_uuid
  LEFT JOIN tasker.task_namespaces tn ON tn.task_namespace_uuid = nt.task_namespace_uuid
  LEFT JOIN LATERAL (
    WITH RECURSIVE anc(id) AS (
      SELECT e.from_step_uuid FROM tasker.workflow_step_edges e WHERE e.to_step_uuid = ours.workflow_step_uuid
      UNION
      SELECT e.from_step_uuid FROM anc JOIN tasker.workflow_step_edges e ON e.to_step_uuid = anc.id
    )
    SELECT jsonb_object_agg(an.name, a.results) AS results
      FROM anc JOIN tasker.workflow_steps a ON a.workflow_step_uuid = anc.id
      JOIN tasker.named_steps an ON an.named_step_uuid = a.named_step_uuid
     WHERE a.processed AND a.results IS NOT NULL
  ) dep ON ours.workflow_step_uuid IS NOT NULL`

	stamp = `to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')`
)

// claimSQL reads, claims and hydrates up to $2 messages. $1 is the visibility
// timeout in seconds, $3 this process. The queue's rows are locked here instead
// of by pgmq.read, which would see messages whose steps this statement does
// not see yet (§2.4).
const claimSQL = `
WITH c AS MATERIALIZED (
  SELECT msg_id FROM {queue}
   WHERE vt <= clock_timestamp() ORDER BY msg_id LIMIT $2 FOR UPDATE SKIP LOCKED
), m AS (
  UPDATE {queue} q
     SET vt = clock_timestamp() + make_interval(secs => $1), read_ct = q.read_ct + 1
    FROM c WHERE q.msg_id = c.msg_id
  RETURNING q.msg_id, q.read_ct,
            CASE WHEN q.message->>'step_uuid' ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                 THEN (q.message->>'step_uuid')::uuid END AS step_uuid
), first AS (
  SELECT DISTINCT ON (step_uuid) step_uuid, msg_id FROM m WHERE step_uuid IS NOT NULL ORDER BY step_uuid, msg_id
), flip AS (
  UPDATE tasker.workflow_step_transitions t
     SET most_recent = false, updated_at = now() AT TIME ZONE 'UTC'
    FROM first f
   WHERE t.workflow_step_uuid = f.step_uuid AND t.most_recent
     AND (t.to_state = 'enqueued'
          OR t.to_state = 'in_progress' AND t.updated_at < now() AT TIME ZONE 'UTC' - make_interval(secs => $1))
  RETURNING t.workflow_step_uuid, t.to_state, t.sort_key
), moved AS (
  INSERT INTO tasker.workflow_step_transitions
         (workflow_step_uuid, from_state, to_state, metadata, sort_key, most_recent, created_at, updated_at)
  SELECT workflow_step_uuid, to_state, 'in_progress',
         jsonb_build_object('event', '{"type":"Start"}', 'worker_uuid', $3::uuid, 'timestamp', ` + stamp + `),
         sort_key + 1, true, now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC'
    FROM flip
), ours AS (
  UPDATE tasker.workflow_steps s
     SET in_process = true, attempts = COALESCE(s.attempts, 0) + 1,
         last_attempted_at = now() AT TIME ZONE 'UTC', updated_at = now() AT TIME ZONE 'UTC'
    FROM flip WHERE s.workflow_step_uuid = flip.workflow_step_uuid
  RETURNING s.workflow_step_uuid, flip.sort_key + 1 AS sort_key, s.attempts, s.max_attempts, s.retryable
)
SELECT m.msg_id, m.read_ct, m.step_uuid, cur.to_state, ours.sort_key,
       ours.attempts, ours.max_attempts, ours.retryable,` + hydrateColumns + `
  FROM m
  LEFT JOIN tasker.workflow_step_transitions cur ON cur.workflow_step_uuid = m.step_uuid AND cur.most_recent
  LEFT JOIN first f ON f.msg_id = m.msg_id
  LEFT JOIN ours ON ours.workflow_step_uuid = f.step_uuid` + hydrateJoins + `
 ORDER BY m.msg_id`

// completeSQL stores results. $1 steps, $2 claim keys, $3 whether each
// succeeded, $4 results, $5 tasks, $6 their correlation ids, $7 messages, $8
// their queues, $9 whether each message is done with (those of steps with
// domain events stay until these are published), $10 this process, $11 the
// server's queue. It returns the steps that were still ours. No part joins
// another one: the planner knows nothing of their sizes, and what it does then
// grows with the square of the batch.
const completeSQL = `
WITH r AS (
  SELECT * FROM unnest($1::uuid[], $2::int[], $3::boolean[], $4::jsonb[], $5::uuid[], $6::uuid[], $7::bigint[], $8::text[], $9::boolean[])
           AS x(step_uuid, claim_sort_key, ok, result, task_uuid, correlation_id, msg_id, queue, done)
), flip AS (
  UPDATE tasker.workflow_step_transitions t
     SET most_recent = false, updated_at = now() AT TIME ZONE 'UTC'
    FROM r
   WHERE t.workflow_step_uuid = r.step_uuid AND t.most_recent
     AND t.to_state = 'in_progress' AND t.sort_key = r.claim_sort_key
  RETURNING r.*
), stored AS (
  UPDATE tasker.workflow_steps s
     SET in_process = false, results = flip.result, updated_at = now() AT TIME ZONE 'UTC'
    FROM flip WHERE s.workflow_step_uuid = flip.step_uuid
), moved AS (
  INSERT INTO tasker.workflow_step_transitions
         (workflow_step_uuid, from_state, to_state, metadata, sort_key, most_recent, created_at, updated_at)
  SELECT step_uuid, 'in_progress',
         CASE WHEN ok THEN 'enqueued_for_orchestration' ELSE 'enqueued_as_error_for_orchestration' END,
         jsonb_build_object(
           'event', jsonb_build_object('type', CASE WHEN ok THEN 'EnqueueForOrchestration' ELSE 'EnqueueAsErrorForOrchestration' END,
                                       'data', result)::text,
           'timestamp', ` + stamp + `,
           'worker_uuid', $10::uuid, 'correlation_id', correlation_id)
         || CASE WHEN done THEN '{}'::jsonb ELSE jsonb_build_object('events_of_message', msg_id) END,
         claim_sort_key + 1, true, now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC'
    FROM flip
), acked AS MATERIALIZED (
  SELECT count(*) AS n
    FROM (SELECT queue, array_agg(msg_id) AS mids FROM flip WHERE done GROUP BY queue) g,
         LATERAL {acknowledge}(g.queue, g.mids)
)
SELECT step_uuid,
       tasker.pgmq_send_with_notify($11::text,
         jsonb_build_object('task_uuid', task_uuid, 'step_uuid', step_uuid, 'correlation_id', correlation_id), 0),
       (SELECT n FROM acked)
  FROM flip`

// storedSQL finds which of the results ($1 steps, $2 claim keys) this process
// ($3) has stored already, when the connection was lost before the database
// said so.
const storedSQL = `
SELECT x.step_uuid
  FROM unnest($1::uuid[], $2::int[]) AS x(step_uuid, claim_sort_key)
  JOIN tasker.workflow_step_transitions t
    ON t.workflow_step_uuid = x.step_uuid AND t.sort_key = x.claim_sort_key + 1
 WHERE t.from_state = 'in_progress' AND t.metadata->>'worker_uuid' = $3::text`

// releaseSQL hands steps back, so that any worker can claim them at once. The
// server looks at current states only, and has sent the message already. $1
// steps, $2 claim keys, $3 messages, $4 their queues, $5 whether an attempt
// had begun, $6 this process.
const releaseSQL = `
WITH r AS (
  SELECT * FROM unnest($1::uuid[], $2::int[], $3::bigint[], $4::text[], $5::boolean[])
           AS x(step_uuid, claim_sort_key, msg_id, queue, began)
), flip AS (
  UPDATE tasker.workflow_step_transitions t
     SET most_recent = false, updated_at = now() AT TIME ZONE 'UTC'
    FROM r
   WHERE t.workflow_step_uuid = r.step_uuid AND t.most_recent
     AND t.to_state = 'in_progress' AND t.sort_key = r.claim_sort_key
  RETURNING r.*
), freed AS (
  UPDATE tasker.workflow_steps s
     SET in_process = false, attempts = CASE WHEN flip.began THEN s.attempts ELSE GREATEST(s.attempts - 1, 0) END,
         updated_at = now() AT TIME ZONE 'UTC'
    FROM flip WHERE s.workflow_step_uuid = flip.step_uuid
), moved AS (
  INSERT INTO tasker.workflow_step_transitions
         (workflow_step_uuid, from_state, to_state, metadata, sort_key, most_recent, created_at, updated_at)
  SELECT step_uuid, 'in_progress', 'enqueued',
         jsonb_build_object('event', '{"type":"Enqueue"}', 'worker_uuid', $6::uuid, 'timestamp', ` + stamp + `),
         claim_sort_key + 1, true, now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC'
    FROM flip
)
SELECT step_uuid,
       (SELECT count(*) FROM pgmq.set_vt(queue, msg_id, 0)),
       pg_notify('pgmq_message_ready.' || tasker.extract_queue_namespace(queue), json_build_object(
         'event_type', 'message_ready', 'msg_id', msg_id, 'queue_name', queue,
         'namespace', tasker.extract_queue_namespace(queue), 'ready_at', now(), 'delay_seconds', 0,
         'payload_omitted', true)::text)::text
  FROM flip`

// lostClaimsSQL finds steps that this process ($1) has claimed: all that it
// does not know of were claimed by a statement whose answer was lost.
const lostClaimsSQL = `
SELECT q.msg_id, t.workflow_step_uuid, t.sort_key
  FROM {queue} q
  JOIN tasker.workflow_step_transitions t
    ON t.workflow_step_uuid = CASE WHEN q.message->>'step_uuid' ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                                   THEN (q.message->>'step_uuid')::uuid END
   AND t.most_recent AND t.to_state = 'in_progress'
 WHERE t.metadata->>'worker_uuid' = $1::text`

// beatSQL keeps what is running ours: $1 the visibility timeout, $2 messages,
// $3 steps, $4 claim keys. It returns the steps that are still ours.
const beatSQL = `
WITH q AS (
  UPDATE {queue} SET vt = clock_timestamp() + make_interval(secs => $1) WHERE msg_id = ANY($2::bigint[]) RETURNING msg_id
)
UPDATE tasker.workflow_step_transitions t SET updated_at = now() AT TIME ZONE 'UTC'
  FROM unnest($3::uuid[], $4::int[]) AS x(step_uuid, sort_key)
 WHERE t.workflow_step_uuid = x.step_uuid AND t.most_recent AND t.to_state = 'in_progress' AND t.sort_key = x.sort_key
RETURNING t.workflow_step_uuid`

// checkpointSQL stores progress: $1 steps, $2 claim keys, $3 checkpoints
// without history. What is remembered of earlier ones is bounded by $4. It
// returns the steps that are still ours.
const checkpointSQL = `
WITH r AS (
  SELECT * FROM unnest($1::uuid[], $2::int[], $3::jsonb[]) AS x(step_uuid, claim_sort_key, progress)
), mine AS (
  UPDATE tasker.workflow_step_transitions t SET updated_at = now() AT TIME ZONE 'UTC'
    FROM r
   WHERE t.workflow_step_uuid = r.step_uuid AND t.most_recent AND t.to_state = 'in_progress' AND t.sort_key = r.claim_sort_key
  RETURNING t.workflow_step_uuid, r.progress
), earlier AS (
  SELECT m.workflow_step_uuid, m.progress,
         CASE WHEN jsonb_typeof(s.checkpoint->'history') = 'array' THEN s.checkpoint->'history' ELSE '[]'::jsonb END AS history
    FROM mine m JOIN tasker.workflow_steps s ON s.workflow_step_uuid = m.workflow_step_uuid
)
UPDATE tasker.workflow_steps s
   SET checkpoint = e.progress || jsonb_build_object('history',
         (CASE WHEN jsonb_array_length(e.history) >= $4 THEN e.history - 0 ELSE e.history END)
         || jsonb_build_array(jsonb_build_object('cursor', e.progress->'cursor', 'timestamp', now()))),
       updated_at = now() AT TIME ZONE 'UTC'
  FROM earlier e
 WHERE s.workflow_step_uuid = e.workflow_step_uuid
RETURNING s.workflow_step_uuid`
