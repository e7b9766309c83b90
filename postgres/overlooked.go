package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/gofrs/uuid/v5"
)

// tasker-server goes on with a task when a result comes, unless it is enqueuing
// steps of that task at the moment: then it stores that the step is complete
// and does nothing else, counting on the results of the steps that it enqueues.
// When these are the ones that it disregards, no other will ever come. A worker
// that is quick enough meets that window. So a task whose steps were being
// enqueued when a result was stored is looked at a little later, and the server
// is told of a result once more if the task has stopped: of a step that it
// knows to have ended it does nothing with that but to look at the task.
const (
	// overlookedAfter is when a task is looked at for the first time. The server
	// takes some milliseconds from the last step's message to the task's state.
	overlookedAfter = 50 * time.Millisecond
	// overlookedRarely bounds the time between looks, which doubles.
	overlookedRarely = 5 * time.Second
	// maxLookedAt is how many tasks are looked at by one statement.
	maxLookedAt = 256
)

// unfinishedParent finds a step that the step s waits for.
const unfinishedParent = `
               SELECT 1 FROM tasker.workflow_step_edges e JOIN tasker.workflow_step_transitions p ON p.workflow_step_uuid = ANY (ARRAY[e.from_step_uuid])
                WHERE e.to_step_uuid = s.workflow_step_uuid AND p.most_recent IS NOT FALSE AND p.to_state NOT IN ('complete', 'resolved_manually')`

// goOnSQL sends the server ($1 its queue) a message about a step that has
// ended, for each of the candidates (task_uuid, stopped, busy) that is stopped
// and of which nothing is under way, or something is ready that nobody
// enqueues. It returns whether the server was told of a task, and whether the
// task is to be looked at again: it was busy with it, or a message is under way.
const goOnSQL = lookedParts + `, told AS MATERIALIZED (
  SELECT l.task_uuid, tasker.pgmq_send_with_notify($1::text,
           jsonb_build_object('task_uuid', l.task_uuid, 'step_uuid', l.ended, 'correlation_id', t.correlation_id), 0)
    FROM looked l JOIN tasker.tasks t ON t.task_uuid = ANY (ARRAY[l.task_uuid])
   WHERE l.stopped AND l.ended IS NOT NULL AND NOT l.coming
)
SELECT l.task_uuid, t.task_uuid IS NOT NULL, l.busy OR l.coming FROM looked l LEFT JOIN told t USING (task_uuid)`

// lookedParts look at the candidates.
const lookedParts = `
), looked AS MATERIALIZED (
  SELECT c.task_uuid, c.busy, c.stopped AND (s.active = 0 OR s.ready > 0) AS stopped, s.ended,
         {coming} AS coming
    FROM candidates c, LATERAL (
      SELECT count(*) FILTER (WHERE x.to_state IN ('enqueued', 'in_progress', 'enqueued_for_orchestration', 'enqueued_as_error_for_orchestration')) AS active,
             count(*) FILTER (WHERE x.to_state = 'pending' AND NOT EXISTS (` + unfinishedParent + `)) AS ready,
             (array_agg(s.workflow_step_uuid ORDER BY x.to_state <> 'complete', s.updated_at DESC)
               FILTER (WHERE s.results ? 'step_uuid' AND x.to_state IN ('complete', 'error', 'waiting_for_retry')))[1] AS ended
        FROM tasker.workflow_steps s JOIN tasker.workflow_step_transitions x ON x.workflow_step_uuid = ANY (ARRAY[s.workflow_step_uuid])
       WHERE s.task_uuid = c.task_uuid AND x.most_recent IS NOT FALSE) s
)`

// comingSQL tells whether there is a message about a candidate.
const comingSQL = `EXISTS (SELECT 1 FROM {queue} q WHERE q.message->>'task_uuid' = c.task_uuid::text)`

// overlookedTasks looks at the tasks $2.
const overlookedTasks = `
WITH candidates AS (
  SELECT k.task_uuid, k.state = 'steps_in_process' AS stopped, k.state IN ('enqueuing_steps', 'evaluating_results') AS busy
    FROM (SELECT its.task_uuid, ` + stateOfTask + ` AS state FROM unnest($2::uuid[]) AS its(task_uuid)) k`

// unchangedTasks looks at the tasks whose state has been the same for $2 seconds,
// and which the workers that should have looked at them did not: they died. A
// server that fails to evaluate a failure also leaves a task like that.
const unchangedTasks = `
WITH candidates AS (
  SELECT t.task_uuid, true AS stopped, false AS busy
    FROM tasker.tasks t JOIN tasker.task_transitions x ON x.task_uuid = t.task_uuid
   WHERE NOT t.complete AND x.most_recent AND x.to_state IN ('steps_in_process', 'evaluating_results')
     AND x.created_at < now() AT TIME ZONE 'UTC' - make_interval(secs => $2)
   ORDER BY x.created_at DESC LIMIT 10000`

// suspects are tasks that the server may have stopped to work on.
type suspects struct {
	mu      sync.Mutex
	tasks   map[uuid.UUID]suspicion
	arrived chan struct{} // has room for one
}

type suspicion struct {
	look time.Time
	wait time.Duration // until the look after that
	last time.Time     // from then on it is left to sweeps
}

// add has tasks looked at a little later.
func (s *suspects) add(tasks []uuid.UUID) {
	if len(tasks) == 0 {
		return
	}
	now := time.Now()
	s.mu.Lock()
	for _, task := range tasks {
		s.tasks[task] = suspicion{now.Add(overlookedAfter), 2 * overlookedAfter, now.Add(2 * sweepEvery)}
	}
	s.mu.Unlock()
	select {
	case s.arrived <- struct{}{}:
	default:
	}
}

// due returns what is to be looked at now, or else after what time there will
// be something; that is negative if there is no suspicion.
func (s *suspects) due() (tasks []uuid.UUID, after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	after = -1
	for task, its := range s.tasks {
		wait := max(its.look.Sub(now), 0)
		if wait == 0 && len(tasks) < maxLookedAt {
			tasks = append(tasks, task)
		} else if after < 0 || wait < after {
			after = wait
		}
	}
	return tasks, after
}

// looked notes which of the tasks are to be looked at again; of the others
// there is no suspicion any more.
func (s *suspects) looked(tasks []uuid.UUID, again func(task uuid.UUID) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, task := range tasks {
		its := s.tasks[task]
		switch {
		case its.look.After(now): // suspected anew meanwhile
		case again(task) && now.Before(its.last):
			s.tasks[task] = suspicion{now.Add(its.wait), min(2*its.wait, overlookedRarely), its.last}
		default:
			delete(s.tasks, task)
		}
	}
}

// watchServer looks at suspects until ctx ends.
func (s *Source) watchServer(ctx context.Context) {
	for ctx.Err() == nil {
		tasks, after := s.suspects.due()
		if len(tasks) == 0 {
			var timer <-chan time.Time
			if after >= 0 {
				timer = time.After(after)
			}
			select {
			case <-timer:
			case <-s.suspects.arrived:
			case <-ctx.Done():
			}
			continue
		}
		told, again, err := s.lookAtNow(ctx, tasks)
		if err != nil && ctx.Err() == nil {
			s.log.Warn("look at tasks that tasker-server may have stopped to work on", "error", err)
		}
		s.countOverlooked(told)
		s.suspects.looked(tasks, func(task uuid.UUID) bool { return err != nil || again[task] })
	}
}

// lookAtNow looks at suspects.
func (s *Source) lookAtNow(ctx context.Context, tasks []uuid.UUID) (told int, again map[uuid.UUID]bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	return s.coupling.lookAt(ctx, s.pool, overlookedTasks, tasks)
}

func (s *Source) countOverlooked(n int) {
	if n > 0 {
		s.counts.Overlooked.Add(uint64(n))
		s.log.Info("tasker-server was told again of results that it had disregarded", "tasks", n)
	}
}
