-- Times are microseconds since 1970 in UTC; uuids are 16-byte blobs.
--
-- A step's id is its task's id * 2^24 + its position in the task, and a
-- history row's id is its task's id * 2^24 + its number, so that what belongs
-- to one task lies together and needs no second index.

CREATE TABLE task_namespaces (
  id          INTEGER PRIMARY KEY,
  uuid        BLOB NOT NULL UNIQUE,
  name        TEXT NOT NULL UNIQUE,
  description TEXT,
  created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE named_tasks (
  id                INTEGER PRIMARY KEY,
  uuid              BLOB NOT NULL UNIQUE,
  namespace_id      INTEGER NOT NULL REFERENCES task_namespaces (id),
  name              TEXT NOT NULL,
  version           TEXT NOT NULL DEFAULT '0.1.0',
  description       TEXT,
  configuration     TEXT NOT NULL, -- the whole template
  identity_strategy TEXT NOT NULL DEFAULT 'strict'
                    CHECK (identity_strategy IN ('strict', 'caller_provided', 'always_unique')),
  created_at        INTEGER NOT NULL,
  updated_at        INTEGER NOT NULL,
  UNIQUE (namespace_id, name, version)
) STRICT;

CREATE TABLE named_steps (
  id         INTEGER PRIMARY KEY,
  uuid       BLOB NOT NULL UNIQUE,
  name       TEXT NOT NULL UNIQUE,
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE tasks (
  id                    INTEGER PRIMARY KEY,
  uuid                  BLOB NOT NULL UNIQUE,
  named_task_id         INTEGER NOT NULL REFERENCES named_tasks (id),
  state                 TEXT NOT NULL CHECK (state IN (
                          'pending', 'initializing', 'enqueuing_steps', 'steps_in_process',
                          'evaluating_results', 'waiting_for_dependencies', 'waiting_for_retry',
                          'blocked_by_failures', 'complete', 'error', 'cancelled', 'resolved_manually')),
  state_since           INTEGER NOT NULL,
  identity_hash         BLOB NOT NULL UNIQUE,
  priority              INTEGER NOT NULL DEFAULT 0,
  initiator             TEXT NOT NULL,
  source_system         TEXT NOT NULL,
  reason                TEXT NOT NULL,
  tags                  TEXT NOT NULL DEFAULT '[]',
  correlation_id        BLOB NOT NULL,
  parent_correlation_id BLOB,
  requested_at          INTEGER NOT NULL,
  created_at            INTEGER NOT NULL,
  updated_at            INTEGER NOT NULL,
  completed_at          INTEGER -- when it entered a terminal state
) STRICT;

CREATE INDEX tasks_open ON tasks (id) WHERE completed_at IS NULL;

-- Apart from tasks, because a context may be large and a task's state
-- changes often: SQLite rewrites whole rows.
CREATE TABLE task_contexts (
  task_id INTEGER PRIMARY KEY REFERENCES tasks (id),
  context TEXT NOT NULL
) STRICT;

-- processed and in_process of the specification follow from the state, see
-- the view task_steps.
CREATE TABLE workflow_steps (
  id                      INTEGER PRIMARY KEY,
  uuid                    BLOB NOT NULL,
  named_step_id           INTEGER NOT NULL REFERENCES named_steps (id),
  template_step           TEXT, -- when its definition has another name than the step
  state                   TEXT NOT NULL CHECK (state IN (
                            'pending', 'enqueued', 'in_progress', 'enqueued_for_orchestration',
                            'enqueued_as_error_for_orchestration', 'waiting_for_retry', 'complete',
                            'error', 'cancelled', 'resolved_manually')),
  retryable               INTEGER NOT NULL DEFAULT 1,
  max_attempts            INTEGER NOT NULL DEFAULT 3,
  attempts                INTEGER NOT NULL DEFAULT 0,
  last_attempted_at       INTEGER,
  backoff_request_seconds INTEGER,
  next_retry_at           INTEGER,
  last_failure_at         INTEGER, -- newest entry into state error
  processed_at            INTEGER,
  duration_us             INTEGER, -- inside the handler, of the last attempt
  created_at              INTEGER NOT NULL,
  updated_at              INTEGER NOT NULL,
  parents                 TEXT, -- JSON array of the positions it depends on
  inputs                  TEXT,
  checkpoint              TEXT,
  results                 TEXT  -- verbatim, as the handler side sent it
) STRICT;

-- One row for each commit that changed a task: JSON [[owner, state, state, ...], ...]
-- in the order of the changes, where owner is the position of a step, or null
-- for the task itself; the first state of an entry is the one that was left
-- (null when the owner is new). An entry may end with an object, {"reason": ...}.
CREATE TABLE history (
  id      INTEGER PRIMARY KEY,
  at      INTEGER NOT NULL,
  changes TEXT NOT NULL
) STRICT;

-- Results of attempts that failed; the step's own row keeps only the last.
CREATE TABLE failed_attempts (
  id          INTEGER PRIMARY KEY,
  step_id     INTEGER NOT NULL,
  attempt     INTEGER NOT NULL,
  recorded_at INTEGER NOT NULL,
  duration_us INTEGER,
  worker_id   TEXT,
  results     TEXT NOT NULL
) STRICT;

CREATE INDEX failed_attempts_step ON failed_attempts (step_id);

-- The same data in the specification's words, for people and their tools.

CREATE VIEW task_steps AS
SELECT t.uuid AS task_uuid, s.id & 16777215 AS position, n.name,
       s.state IN ('complete', 'cancelled', 'resolved_manually') AS processed,
       s.state = 'in_progress' AS in_process,
       s.*
FROM workflow_steps s
JOIN tasks t ON t.id = s.id >> 24
JOIN named_steps n ON n.id = s.named_step_id;

CREATE VIEW workflow_step_edges AS
SELECT p.uuid AS from_step, s.uuid AS to_step, 'provides' AS name
FROM workflow_steps s, json_each(s.parents) e
JOIN workflow_steps p ON p.id = (s.id & ~16777215) + e.value;

CREATE VIEW transitions AS
SELECT h.id >> 24 AS task_id,
       json_extract(e.value, '$[0]') AS position,
       json_extract(e.value, '$[' || (s.key - 1) || ']') AS from_state,
       s.value AS to_state,
       h.at AS created_at,
       ROW_NUMBER() OVER forward AS sort_key,
       ROW_NUMBER() OVER backward = 1 AS most_recent
FROM history h, json_each(h.changes) e, json_each(e.value) s
WHERE s.key >= 2 AND s.type = 'text'
WINDOW forward AS (PARTITION BY h.id >> 24, json_extract(e.value, '$[0]')
                   ORDER BY h.id, e.key, s.key),
       backward AS (PARTITION BY h.id >> 24, json_extract(e.value, '$[0]')
                    ORDER BY h.id DESC, e.key DESC, s.key DESC);

CREATE VIEW task_transitions AS
SELECT t.uuid AS task_uuid, v.from_state, v.to_state, v.sort_key, v.most_recent, v.created_at
FROM transitions v JOIN tasks t ON t.id = v.task_id
WHERE v.position IS NULL;

CREATE VIEW workflow_step_transitions AS
SELECT s.uuid AS workflow_step_uuid, v.from_state, v.to_state, v.sort_key, v.most_recent, v.created_at
FROM transitions v JOIN workflow_steps s ON s.id = (v.task_id << 24) + v.position
WHERE v.position IS NOT NULL;

-- Steps whose results are stored and whose domain events are not published
-- yet: what the handler was given, and what it answered.
CREATE TABLE publications (
  id      INTEGER PRIMARY KEY,
  step_id INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  event   TEXT NOT NULL,
  result  TEXT NOT NULL
) STRICT;

-- Durable domain events, in the order of their publication.
CREATE TABLE domain_events (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  event_id     BLOB NOT NULL UNIQUE,
  name         TEXT NOT NULL,
  event        TEXT NOT NULL, -- engine-semantics §8.4
  published_at INTEGER NOT NULL
) STRICT;

-- How far each subscriber has come in domain_events.
CREATE TABLE event_consumers (
  name       TEXT PRIMARY KEY,
  last_id    INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
