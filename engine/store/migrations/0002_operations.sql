-- Investigation records of tasks that went wrong: they tell of a task and do
-- not change it. A task has at most one that is pending.
CREATE TABLE tasks_dlq (
  id                   INTEGER PRIMARY KEY,
  uuid                 BLOB NOT NULL UNIQUE,
  task_id              INTEGER NOT NULL REFERENCES tasks (id),
  original_state       TEXT NOT NULL, -- of the task, when the entry was made
  dlq_reason           TEXT NOT NULL CHECK (dlq_reason IN (
                         'staleness_timeout', 'max_retries_exceeded', 'dependency_cycle_detected',
                         'worker_unavailable', 'manual_dlq')),
  resolution_status    TEXT NOT NULL DEFAULT 'pending' CHECK (resolution_status IN (
                         'pending', 'manually_resolved', 'permanently_failed', 'cancelled')),
  resolution_timestamp INTEGER,
  resolution_notes     TEXT,
  resolved_by          TEXT,
  task_snapshot        TEXT NOT NULL, -- JSON
  metadata             TEXT,          -- JSON
  created_at           INTEGER NOT NULL,
  updated_at           INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX tasks_dlq_pending ON tasks_dlq (task_id) WHERE resolution_status = 'pending';
CREATE INDEX tasks_dlq_task ON tasks_dlq (task_id);

-- Tasks that retention has taken out of tasks, while rows of theirs remain in
-- workflow_steps, failed_attempts and history: a large one is deleted in
-- several transactions.
CREATE TABLE expired_tasks (task_id INTEGER PRIMARY KEY) STRICT;
