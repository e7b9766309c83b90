package postgres

import "strings"

// statements are the SQL of the hot path (worker-protocol §9.6). The table of
// a queue is put in for {queue}; register has made sure that its name is
// harmless.
//
// They are planned once for a connection, when tables may be empty that grow
// to millions of rows, and nobody may have counted those. So they leave the
// planner no choice but to look up, for each row of a batch, what it names in
// an index: rows are found by key = ANY (ARRAY[value]), which cannot be the
// condition of a hash or a merge join nor be turned around, and of what is
// current by most_recent IS NOT FALSE, so that the index of all that is
// current does not seem to be of use. Sequential scans are turned off.
type statements struct {
	complete    string
	tell        string // for a queue database
	acknowledge string // $1 a queue, $2 messages that are done with
}

func prepareStatements(o Options) statements {
	acknowledge := "pgmq.archive"
	if o.DeleteMessages {
		acknowledge = "pgmq.delete"
	}
	complete := completeSQL
	if o.QueueURL != "" {
		complete = splitCompleteSQL
	}
	return statements{
		complete:    strings.NewReplacer("{acknowledge}", acknowledge, "{results}", "$11").Replace(complete),
		tell:        strings.NewReplacer("{acknowledge}", acknowledge, "{results}", "$7").Replace(tellSQL),
		acknowledge: "SELECT " + acknowledge + "($1, $2::bigint[])",
	}
}

func (q *queue) sql(statement string) string {
	return strings.ReplaceAll(statement, "{queue}", q.table)
}

// hydrate reads what an event is made of, for the steps of a CTE ours(
// workflow_step_uuid). Rows are as they were before the statement. Ancestors
// are visited once, however many paths lead to them. The server sets processed
// after it has committed that a step is complete: when it was killed, or its
// database was, in between, only the state tells.
const (
	hydrateColumns = `
       to_jsonb(t), t.correlation_id, t.parent_correlation_id,
       s.task_uuid, to_jsonb(s) - 'checkpoint' - 'priority', s.checkpoint,
       n.name, COALESCE(s.inputs->>'__template_step_name', n.name),
       tn.name, nt.name, nt.version, nt.updated_at,
       dep.results`

	hydrateJoins = rowJoins + dependencyJoin

	rowJoins = `
  LEFT JOIN tasker.workflow_steps s ON s.workflow_step_uuid = ANY (ARRAY[ours.workflow_step_uuid])
  LEFT JOIN tasker.named_steps n ON n.named_step_uuid = ANY (ARRAY[s.named_step_uuid])
  LEFT JOIN tasker.tasks t ON t.task_uuid = ANY (ARRAY[s.task_uuid])
  LEFT JOIN tasker.named_tasks nt ON nt.named_task_uuid = ANY (ARRAY[t.named_task_uuid])
  LEFT JOIN tasker.task_namespaces tn ON tn.task_namespace_uuid = ANY (ARRAY[nt.task_namespace_uuid])`

	dependencyJoin = `
  LEFT JOIN LATERAL (
    WITH RECURSIVE anc(id) AS (
      SELECT e.from_step_uuid FROM tasker.workflow_step_edges e WHERE e.to_step_uuid = ANY (ARRAY[ours.workflow_step_uuid])
      UNION
      SELECT e.from_step_uuid FROM anc JOIN tasker.workflow_step_edges e ON e.to_step_uuid = ANY (ARRAY[anc.id])
    )
    SELECT jsonb_object_agg(an.name, a.results) AS results
      FROM anc JOIN tasker.workflow_steps a ON a.workflow_step_uuid = ANY (ARRAY[anc.id])
      JOIN tasker.named_steps an ON an.named_step_uuid = ANY (ARRAY[a.named_step_uuid])
     WHERE a.results IS NOT NULL
       AND (a.processed OR (SELECT at.to_state FROM tasker.workflow_step_transitions at
                             WHERE at.workflow_step_uuid = a.workflow_step_uuid AND at.most_recent) IN ('complete', 'resolved_manually'))
  ) dep ON ours.workflow_step_uuid IS NOT NULL`

	stamp = `to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')`
)

// depending is a claim, or one without what steps depend on if that cannot be
// read.
func depending(claim string, bare bool) string {
	if !bare {
		return claim
	}
	return strings.NewReplacer(dependencyJoin, "", "dep.results", "NULL::jsonb").Replace(claim)
}

// putOffSQL hides the message that would be read first for $1 seconds.
const putOffSQL = `
UPDATE {queue} SET vt = clock_timestamp() + make_interval(secs => $1), read_ct = read_ct + 1
 WHERE msg_id = (SELECT msg_id FROM {queue} WHERE vt <= clock_timestamp() ORDER BY msg_id LIMIT 1 FOR UPDATE SKIP LOCKED)`

// claimSQL reads, claims and hydrates up to $2 messages. $1 is the visibility
// timeout in seconds, $3 this process. The queue's rows are locked here instead
// of by pgmq.read, which would see messages whose steps this statement does
// not see yet (§2.4). Messages that gave no step come with their step's state.
// As in completeSQL, each part passes on what the next one needs: none joins
// another one.
//
// Its commit does not wait for the disk. If the database crashes before the
// claim is there, the step is enqueued as before and anybody may claim it, under
// the same key; so the result of the lost claim, should it come, is fenced off
// by the claimant's name too.
const claimSQL = `
WITH ` + readParts + `, ` + claimParts

// lazily is true, and lets the commit of the statement not wait for the disk.
const lazily = `(SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL`

// stepOfMessage is the step that the message of a queue's row q names.
const stepOfMessage = `CASE WHEN q.message->>'step_uuid' ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                 THEN (q.message->>'step_uuid')::uuid END`

// ageOfMessage is how long ago it was sent, in seconds.
const ageOfMessage = `extract(epoch FROM clock_timestamp() - q.enqueued_at)::float8`

// briefly is true, and lets the statement wait two seconds at most for a row that
// somebody has locked: others are not to wait for that.
const briefly = `(SELECT set_config('lock_timeout', '2s', true)) IS NOT NULL`

// readParts reads messages, claimParts claims the steps of what was read; but not
// by a message that was kept for the events of an earlier attempt, which is for
// these only. takeParts are what is done with each step in flip.
const (
	readParts = `c AS MATERIALIZED (
  SELECT msg_id FROM {queue}
   WHERE vt <= clock_timestamp() AND ` + lazily + ` AND ` + briefly + `
   ORDER BY msg_id LIMIT $2 FOR UPDATE SKIP LOCKED
), m AS (
  UPDATE {queue} q
     SET vt = clock_timestamp() + make_interval(secs => $1), read_ct = q.read_ct + 1
    FROM c WHERE q.msg_id = ANY (ARRAY[c.msg_id])
  RETURNING q.msg_id, q.read_ct,
            ` + stepOfMessage + ` AS step_uuid, ` + ageOfMessage + ` AS age
)`

	claimParts = `first AS (
  SELECT DISTINCT ON (step_uuid) step_uuid, msg_id, read_ct, age FROM m
   WHERE step_uuid IS NOT NULL AND (read_ct = 1 OR NOT EXISTS (
           SELECT 1 FROM tasker.workflow_step_transitions e
            WHERE e.workflow_step_uuid = ANY (ARRAY[m.step_uuid]) AND e.metadata->>'events_of_message' = m.msg_id::text))
   ORDER BY step_uuid, msg_id
), flip AS (
  UPDATE tasker.workflow_step_transitions t
     SET most_recent = false, updated_at = now() AT TIME ZONE 'UTC'
    FROM first f
   WHERE t.workflow_step_uuid = ANY (ARRAY[f.step_uuid]) AND t.most_recent IS NOT FALSE
     AND (t.to_state = 'enqueued'
          OR t.to_state = 'in_progress' AND t.updated_at < now() AT TIME ZONE 'UTC' - make_interval(secs => $1))
  RETURNING f.msg_id, f.read_ct, f.age, t.workflow_step_uuid, t.to_state, t.sort_key
), ` + takeParts + `
SELECT ours.msg_id, ours.read_ct, ours.age, ours.workflow_step_uuid, ` + takenColumns + `
  FROM ours` + hydrateJoins + `
UNION ALL
SELECT m.msg_id, m.read_ct, m.age, m.step_uuid, cur.to_state, NULL, NULL, NULL, NULL,
       NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
  FROM m LEFT JOIN tasker.workflow_step_transitions cur ON cur.workflow_step_uuid = ANY (ARRAY[m.step_uuid]) AND cur.most_recent IS NOT FALSE
 WHERE m.msg_id NOT IN (SELECT msg_id FROM ours)
 ORDER BY 1`

	takeParts = `moved AS (
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
    FROM flip WHERE s.workflow_step_uuid = ANY (ARRAY[flip.workflow_step_uuid])
  RETURNING flip.msg_id, flip.read_ct, flip.age, s.workflow_step_uuid, flip.to_state, flip.sort_key + 1 AS sort_key,
            s.attempts, COALESCE(s.max_attempts, 3) AS max_attempts, COALESCE(s.retryable, true) AS retryable
)`

	takenColumns = `ours.to_state, ours.sort_key, ours.attempts, ours.max_attempts, ours.retryable,` + hydrateColumns
)

// claimToldSQL is claimSQL for the message $2, of which a notification has told:
// if it was not read before and its step is enqueued. Otherwise it is left as it
// is, and comes without a sort key; nothing comes when it is out of sight, for
// whoever has it.
const claimToldSQL = `
WITH c AS MATERIALIZED (
  SELECT q.msg_id, q.read_ct + 1 AS read_ct, ` + stepOfMessage + ` AS step_uuid, ` + ageOfMessage + ` AS age
    FROM {queue} q
   WHERE q.msg_id = $2 AND q.vt <= clock_timestamp() AND ` + lazily + ` AND ` + briefly + `
     FOR UPDATE SKIP LOCKED
), flip AS (
  UPDATE tasker.workflow_step_transitions t
     SET most_recent = false, updated_at = now() AT TIME ZONE 'UTC'
    FROM c
   WHERE t.workflow_step_uuid = ANY (ARRAY[c.step_uuid]) AND t.most_recent IS NOT FALSE
     AND t.to_state = 'enqueued' AND c.read_ct = 1
  RETURNING c.msg_id, c.read_ct, c.age, t.workflow_step_uuid, t.to_state, t.sort_key
), hidden AS (
  UPDATE {queue} q
     SET vt = clock_timestamp() + make_interval(secs => $1), read_ct = flip.read_ct
    FROM flip WHERE q.msg_id = ANY (ARRAY[flip.msg_id])
), ` + takeParts + `
SELECT c.msg_id, c.read_ct, c.age, c.step_uuid, ` + takenColumns + `
  FROM c LEFT JOIN ours ON ours.msg_id = ANY (ARRAY[c.msg_id])` + hydrateJoins

// completeSQL stores results. $1 steps, $2 claim keys, $3 whether each
// succeeded, $4 results, $5 tasks, $6 their correlation ids, $7 messages, $8
// their queues, $9 whether each message is done with (those of steps with
// domain events stay until these are published), $10 this process, $11 the
// server's queue. It returns the steps that were still ours, and the tasks of
// which the server was enqueuing steps (see overlooked.go). No part joins
// another one: the planner knows nothing of their sizes, and what it does then
// grows with the square of the batch. The server is notified of each result as
// tasker.pgmq_send_with_notify does it (§2.3), but they are sent all at once:
// that function takes longer for a row than everything else here together.
const completeSQL = storeParts + `, ` + tellParts + `
SELECT step_uuid, task_uuid,
       ` + enqueuing + `,
       ` + notify + `
  FROM notice AS its`

// enqueuing tells whether the server is enqueuing steps of a task.
const enqueuing = stateOfTask + ` IN ('enqueuing_steps', 'evaluating_results')`

// stateOfTask is the state of the task of a row called its. A task has as many
// transitions as its steps, and more.
const stateOfTask = `(SELECT k.to_state FROM tasker.task_transitions k WHERE k.task_uuid = its.task_uuid ORDER BY k.sort_key DESC LIMIT 1)`

// storeParts stores results, tellParts tells the server of those in flip, and
// puts their messages aside.
const (
	storeParts = `
WITH r AS (
  SELECT * FROM unnest($1::uuid[], $2::int[], $3::boolean[], $4::jsonb[], $5::uuid[], $6::uuid[], $7::bigint[], $8::text[], $9::boolean[])
           AS x(step_uuid, claim_sort_key, ok, result, task_uuid, correlation_id, msg_id, queue, done)
   WHERE ` + briefly + `
), flip AS (
  UPDATE tasker.workflow_step_transitions t
     SET most_recent = false, updated_at = now() AT TIME ZONE 'UTC'
    FROM r
   WHERE t.workflow_step_uuid = ANY (ARRAY[r.step_uuid]) AND t.most_recent IS NOT FALSE
     AND t.to_state = 'in_progress' AND t.sort_key = r.claim_sort_key AND t.metadata->>'worker_uuid' = $10::uuid::text
  RETURNING r.*
), stored AS (
  UPDATE tasker.workflow_steps s
     SET in_process = false, results = flip.result, updated_at = now() AT TIME ZONE 'UTC'
    FROM flip WHERE s.workflow_step_uuid = ANY (ARRAY[flip.step_uuid])
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
         || CASE WHEN done THEN '{}'::jsonb ELSE jsonb_build_object('events_of_message', msg_id, 'events_of_attempt',
              (SELECT s.attempts FROM tasker.workflow_steps s WHERE s.workflow_step_uuid = flip.step_uuid)) END,
         claim_sort_key + 1, true, now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC'
    FROM flip
)`

	tellParts = `acked AS MATERIALIZED (
  SELECT count(*) AS n
    FROM (SELECT queue, array_agg(msg_id) AS mids FROM flip WHERE done GROUP BY queue) g,
         LATERAL {acknowledge}(g.queue, g.mids)
), told AS (
  SELECT array_agg(step_uuid) AS steps, array_agg(message) AS messages, tasker.extract_queue_namespace({results}::text) AS namespace
    FROM (SELECT step_uuid, jsonb_build_object('task_uuid', task_uuid, 'step_uuid', step_uuid, 'correlation_id', correlation_id) AS message
            FROM flip) f
), sent AS (
  SELECT array_agg(id) AS ids FROM told, LATERAL pgmq.send_batch({results}::text, told.messages) id WHERE told.messages IS NOT NULL
), notice AS MATERIALIZED (
  SELECT x.step_uuid, (x.message->>'task_uuid')::uuid AS task_uuid, 'pgmq_message_ready.' || told.namespace AS channel,
         json_build_object('event_type', 'message_with_payload', 'msg_id', x.msg_id, 'queue_name', {results}::text,
           'namespace', told.namespace, 'message', x.message, 'ready_at', now(), 'delay_seconds', 0)::text AS payload
    FROM told, sent, unnest(told.steps, told.messages, sent.ids) AS x(step_uuid, message, msg_id)
)`

	notify = `pg_notify(channel, payload)::text, pg_notify('pgmq_message_ready', payload)::text, (SELECT n FROM acked)`
)

// storedSQL finds which of the steps ($1, $2 claim keys) this process ($3) has
// taken to one of the states $4 already, when the connection was lost before the
// database said so.
const storedSQL = `
SELECT x.step_uuid
  FROM unnest($1::uuid[], $2::int[]) AS x(step_uuid, claim_sort_key)
  JOIN tasker.workflow_step_transitions t
    ON t.workflow_step_uuid = ANY (ARRAY[x.step_uuid]) AND t.sort_key = x.claim_sort_key + 1
 WHERE t.from_state = 'in_progress' AND t.metadata->>'worker_uuid' = $3::text AND t.to_state = ANY ($4::text[])`

// releaseSQL hands steps back, so that any worker can claim them at once. The
// server looks at current states only, and has sent the message already. $1
// steps, $2 claim keys, $3 messages, $4 their queues, $5 whether an attempt
// had begun, $6 this process.
const releaseSQL = releaseParts + `
SELECT step_uuid,
       ` + showAgain

// releaseParts hands steps back, showAgain lets the messages of those in flip
// be seen.
const (
	releaseParts = `
WITH r AS (
  SELECT * FROM unnest($1::uuid[], $2::int[], $3::bigint[], $4::text[], $5::boolean[])
           AS x(step_uuid, claim_sort_key, msg_id, queue, began)
   WHERE ` + briefly + `
), flip AS (
  UPDATE tasker.workflow_step_transitions t
     SET most_recent = false, updated_at = now() AT TIME ZONE 'UTC'
    FROM r
   WHERE t.workflow_step_uuid = ANY (ARRAY[r.step_uuid]) AND t.most_recent IS NOT FALSE
     AND t.to_state = 'in_progress' AND t.sort_key = r.claim_sort_key AND t.metadata->>'worker_uuid' = $6::uuid::text
  RETURNING r.*
), freed AS (
  UPDATE tasker.workflow_steps s
     SET in_process = false, attempts = CASE WHEN flip.began THEN s.attempts ELSE GREATEST(s.attempts - 1, 0) END,
         updated_at = now() AT TIME ZONE 'UTC'
    FROM flip WHERE s.workflow_step_uuid = ANY (ARRAY[flip.step_uuid])
), moved AS (
  INSERT INTO tasker.workflow_step_transitions
         (workflow_step_uuid, from_state, to_state, metadata, sort_key, most_recent, created_at, updated_at)
  SELECT step_uuid, 'in_progress', 'enqueued',
         jsonb_build_object('event', '{"type":"Enqueue"}', 'worker_uuid', $6::uuid, 'timestamp', ` + stamp + `),
         claim_sort_key + 1, true, now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC'
    FROM flip
)`

	showAgain = `(SELECT count(*) FROM pgmq.set_vt(queue, msg_id, 0)),
       pg_notify('pgmq_message_ready.' || tasker.extract_queue_namespace(queue), json_build_object(
         'event_type', 'message_ready', 'msg_id', msg_id, 'queue_name', queue,
         'namespace', tasker.extract_queue_namespace(queue), 'ready_at', now(), 'delay_seconds', 0,
         'payload_omitted', true)::text)::text
  FROM flip`
)

// lostClaimsSQL finds steps that this process ($1) has claimed: all that it
// does not know of were claimed by a statement whose answer was lost.
const lostClaimsSQL = `
SELECT q.msg_id, t.workflow_step_uuid, t.sort_key
  FROM {queue} q
  JOIN tasker.workflow_step_transitions t
    ON t.workflow_step_uuid = ANY (ARRAY[` + stepOfMessage + `])
   AND t.most_recent IS NOT FALSE AND t.to_state = 'in_progress'
 WHERE t.metadata->>'worker_uuid' = $1::text`

// beatSQL keeps what is running ours: $1 the visibility timeout, $2 messages,
// $3 steps, $4 claim keys, $5 this process. It returns the steps that are still
// ours.
const beatSQL = `
WITH q AS (
  ` + beatMessages + ` RETURNING msg_id
)
` + beatSteps

const (
	beatMessages = `UPDATE {queue} SET vt = clock_timestamp() + make_interval(secs => $1) WHERE msg_id = ANY($2::bigint[]) AND ` + briefly

	beatSteps = `UPDATE tasker.workflow_step_transitions t SET updated_at = now() AT TIME ZONE 'UTC'
  FROM unnest($3::uuid[], $4::int[]) AS x(step_uuid, sort_key)
 WHERE t.workflow_step_uuid = ANY (ARRAY[x.step_uuid]) AND t.most_recent IS NOT FALSE AND t.to_state = 'in_progress' AND t.sort_key = x.sort_key
   AND t.metadata->>'worker_uuid' = $5::uuid::text AND ` + briefly + `
RETURNING t.workflow_step_uuid`
)

// checkpointSQL stores progress: $1 steps, $2 claim keys, $3 checkpoints
// without history. What is remembered of earlier ones is bounded by $4; $5 is
// this process. It returns the steps that are still ours.
const checkpointSQL = `
WITH r AS (
  SELECT * FROM unnest($1::uuid[], $2::int[], $3::jsonb[]) AS x(step_uuid, claim_sort_key, progress) WHERE ` + briefly + `
), mine AS (
  UPDATE tasker.workflow_step_transitions t SET updated_at = now() AT TIME ZONE 'UTC'
    FROM r
   WHERE t.workflow_step_uuid = ANY (ARRAY[r.step_uuid]) AND t.most_recent IS NOT FALSE AND t.to_state = 'in_progress' AND t.sort_key = r.claim_sort_key
     AND t.metadata->>'worker_uuid' = $5::uuid::text
  RETURNING t.workflow_step_uuid, r.progress
), earlier AS (
  SELECT m.workflow_step_uuid, m.progress,
         CASE WHEN jsonb_typeof(s.checkpoint->'history') = 'array' THEN s.checkpoint->'history' ELSE '[]'::jsonb END AS history
    FROM mine m JOIN tasker.workflow_steps s ON s.workflow_step_uuid = ANY (ARRAY[m.workflow_step_uuid])
)
UPDATE tasker.workflow_steps s
   SET checkpoint = e.progress || jsonb_build_object('history',
         (CASE WHEN jsonb_array_length(e.history) >= $4 THEN e.history - 0 ELSE e.history END)
         || jsonb_build_array(jsonb_build_object('cursor', e.progress->'cursor', 'timestamp', now()))),
       updated_at = now() AT TIME ZONE 'UTC'
  FROM earlier e
 WHERE s.workflow_step_uuid = ANY (ARRAY[e.workflow_step_uuid])
RETURNING s.workflow_step_uuid`
