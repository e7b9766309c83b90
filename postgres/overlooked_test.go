package postgres

import (
	"strings"
	"testing"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/tests/cluster"
)

// begun is a deployment with a worker that has claimed the one step of a task.
func begun(t *testing.T) (*deployment, *Source, *dispatch.Step) {
	t.Helper()
	d := newDeployment(t, cluster.Options{})
	s := d.open()
	d.enqueue(1, "check_order")
	return d, s, claimed(t, s, 1)[0]
}

// taskMoves does what the server does when a task's state changes.
func (d *deployment) taskMoves(task uuid.UUID, state string) {
	d.moves("task", "task_uuid", task, state)
}

// stepMoves does what the server does when a step's state changes.
func (d *deployment) stepMoves(step uuid.UUID, state string) {
	d.moves("workflow_step", "workflow_step_uuid", step, state)
}

func (d *deployment) moves(what, column string, id uuid.UUID, state string) {
	d.t.Helper()
	_, err := d.DB().Exec(d.t.Context(), strings.NewReplacer("{table}", "tasker."+what+"_transitions", "{id}", column).Replace(`
		WITH before AS (UPDATE {table} SET most_recent = false WHERE {id} = $1 AND most_recent RETURNING sort_key)
		INSERT INTO {table} ({id}, to_state, metadata, sort_key, most_recent, created_at, updated_at)
		VALUES ($1, $2, '{}', coalesce((SELECT sort_key FROM before), 0) + 1, true, now(), now())`), id, state)
	require.NoError(d.t, err)
}

func (d *deployment) taskState(task uuid.UUID) (state string) {
	d.t.Helper()
	require.NoError(d.t, d.DB().QueryRow(d.t.Context(),
		`SELECT to_state FROM tasker.task_transitions WHERE task_uuid = $1 AND most_recent`, task).Scan(&state))
	return state
}

// addStep adds a step to a task, after others.
func (d *deployment) addStep(task uuid.UUID, name, state string, after ...uuid.UUID) (step uuid.UUID) {
	d.t.Helper()
	require.NoError(d.t, d.DB().QueryRow(d.t.Context(), `
		WITH named AS (INSERT INTO tasker.named_steps (name, created_at, updated_at) VALUES ($2, now(), now()) RETURNING named_step_uuid)
		INSERT INTO tasker.workflow_steps (task_uuid, named_step_uuid, retryable, max_attempts, created_at, updated_at)
		SELECT $1, named_step_uuid, true, 3, now(), now() FROM named RETURNING workflow_step_uuid`, task, name).Scan(&step))
	d.stepMoves(step, state)
	for _, parent := range after {
		_, err := d.DB().Exec(d.t.Context(), `INSERT INTO tasker.workflow_step_edges (from_step_uuid, to_step_uuid, name, created_at, updated_at)
			VALUES ($1, $2, 'provides', now(), now())`, parent, step)
		require.NoError(d.t, err)
	}
	return step
}

// The first step of the task has ended while the server was enqueuing steps,
// and it has noted that but nothing else.
func TestTheServerIsToldAgainOfATaskThatItHasStoppedToWorkOn(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile   func(d *deployment, task, step uuid.UUID)
		told, again bool
	}{
		"nothing is under way": {
			meanwhile: func(d *deployment, task, _ uuid.UUID) { d.taskMoves(task, "steps_in_process") },
			told:      true,
		},
		"a step is ready that nobody enqueues": {
			meanwhile: func(d *deployment, task, step uuid.UUID) {
				d.addStep(task, "slow", "in_progress")
				d.addStep(task, "next", "pending", step)
				d.taskMoves(task, "steps_in_process")
			},
			told: true,
		},
		"what is left waits for what is under way": {
			meanwhile: func(d *deployment, task, step uuid.UUID) {
				slow := d.addStep(task, "slow", "in_progress")
				d.addStep(task, "next", "pending", step, slow)
				d.taskMoves(task, "steps_in_process")
			},
		},
		"the server is still enqueuing": {
			meanwhile: func(*deployment, uuid.UUID, uuid.UUID) {},
			again:     true,
		},
		"a message is under way": {
			meanwhile: func(d *deployment, task, _ uuid.UUID) {
				_, err := d.QueueDB().Exec(d.t.Context(), `SELECT pgmq.send('orchestration_step_results', jsonb_build_object('task_uuid', $1::uuid))`, task)
				require.NoError(d.t, err)
				d.taskMoves(task, "steps_in_process")
			},
			again: true,
		},
		"the task has ended": {
			meanwhile: func(d *deployment, task, _ uuid.UUID) { d.taskMoves(task, "complete") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDeployment(t, cluster.Options{})
			s := d.open()
			id := d.enqueue(1, "check_order")[0]
			step := claimed(t, s, 1)[0]
			task := step.TaskUUID
			d.taskMoves(task, "enqueuing_steps")
			s.Complete(step, success(step, `{}`))
			synced(t, s)
			s.suspects.mu.Lock()
			require.Contains(t, s.suspects.tasks, task)
			s.suspects.mu.Unlock()
			require.NoError(t, s.Close(t.Context()))

			_, err := d.QueueDB().Exec(t.Context(), `DELETE FROM pgmq.q_orchestration_step_results`)
			require.NoError(t, err)
			d.stepMoves(id, "complete")
			c.meanwhile(d, task, id)
			before := d.waiting("orchestration_step_results")
			other := d.open()
			told, again, err := other.lookAtNow(t.Context(), []uuid.UUID{task})
			require.NoError(t, err)
			require.Equal(t, c.told, told == 1)
			require.Equal(t, c.again, again[task])
			if c.told {
				require.Equal(t, before+1, d.waiting("orchestration_step_results"))
				require.Equal(t, 1, d.countMessages(`SELECT count(*) FROM pgmq.q_orchestration_step_results WHERE message = jsonb_build_object(
					'task_uuid', $1::uuid, 'step_uuid', $2::uuid, 'correlation_id', $3::uuid)`, task, id, step.CorrelationID))
			}
		})
	}
}

func TestAResultOfATaskWithNothingToEnqueueRaisesNoSuspicion(t *testing.T) {
	d, s, step := begun(t)
	d.taskMoves(step.TaskUUID, "steps_in_process")
	s.Complete(step, success(step, `{}`))
	synced(t, s)
	s.suspects.mu.Lock()
	defer s.suspects.mu.Unlock()
	require.Empty(t, s.suspects.tasks)
}

func TestATaskThatTheServerDiedOverIsTakenUp(t *testing.T) {
	for name, c := range map[string]struct {
		left  func(d *deployment, task, step uuid.UUID)
		state string
	}{
		"nothing was enqueued yet": {
			left: func(d *deployment, task, _ uuid.UUID) {
				d.addStep(task, "first", "pending")
				d.taskMoves(task, "enqueuing_steps")
			},
			state: "waiting_for_dependencies",
		},
		"nothing was decided yet": {
			left: func(d *deployment, task, _ uuid.UUID) {
				d.addStep(task, "first", "pending")
				d.taskMoves(task, "initializing")
			},
			state: "waiting_for_dependencies",
		},
		"all was enqueued": {
			left:  func(d *deployment, task, _ uuid.UUID) { d.taskMoves(task, "enqueuing_steps") },
			state: "steps_in_process",
		},
		"what follows waits": {
			left: func(d *deployment, task, _ uuid.UUID) {
				first := d.addStep(task, "first", "in_progress")
				d.addStep(task, "second", "pending", first)
				d.taskMoves(task, "enqueuing_steps")
			},
			state: "steps_in_process",
		},
		"it was blocked though no step has failed": {
			left: func(d *deployment, task, step uuid.UUID) {
				d.stepMoves(step, "complete")
				d.addStep(task, "second", "pending", step)
				d.taskMoves(task, "blocked_by_failures")
			},
			state: "waiting_for_dependencies",
		},
		"it was blocked while a step ran": {
			left:  func(d *deployment, task, _ uuid.UUID) { d.taskMoves(task, "blocked_by_failures") },
			state: "steps_in_process",
		},
		"it was blocked though every step is complete": {
			left: func(d *deployment, task, step uuid.UUID) {
				d.stepMoves(step, "complete")
				_, err := d.DB().Exec(d.t.Context(), `UPDATE tasker.workflow_steps SET results = '{"step_uuid": "of the step"}' WHERE workflow_step_uuid = $1`, step)
				require.NoError(d.t, err)
				d.taskMoves(task, "blocked_by_failures")
			},
			state: "steps_in_process",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, s, step := begun(t)
			task := step.TaskUUID
			c.left(d, task, step.StepUUID)
			before := d.taskState(task)
			require.NoError(t, s.takeUpAbandoned(t.Context(), abandonedAge, misjudgedAge, misjudgedLately))
			require.Equal(t, before, d.taskState(task), "a server may be at work")
			require.NoError(t, s.takeUpAbandoned(t.Context(), 0, 0, misjudgedLately))
			require.Equal(t, c.state, d.taskState(task))
			require.NoError(t, s.takeUpAbandoned(t.Context(), 0, 0, misjudgedLately))
			require.EqualValues(t, 1, s.Stats().Abandoned)
		})
	}
}

func TestATaskThatAFailureHasBlockedStaysBlocked(t *testing.T) {
	for name, states := range map[string][]string{
		"a step has failed":          {"error"},
		"a step was cancelled":       {"cancelled"},
		"a failed step was resolved": {"error", "resolved_manually"},
		"a failed step was reset":    {"error", "pending"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, s, step := begun(t)
			d.stepMoves(step.StepUUID, "complete")
			second := d.addStep(step.TaskUUID, "second", "pending")
			for _, state := range states {
				d.stepMoves(second, state)
			}
			d.taskMoves(step.TaskUUID, "blocked_by_failures")
			require.NoError(t, s.takeUpAbandoned(t.Context(), 0, 0, misjudgedLately))
			require.Equal(t, "blocked_by_failures", d.taskState(step.TaskUUID))
			require.Zero(t, s.Stats().Abandoned)
		})
	}
}

func TestATaskThatTheServerBlocksAgainAndAgainStaysBlocked(t *testing.T) {
	d, s, step := begun(t)
	task := step.TaskUUID
	for range 5 {
		d.taskMoves(task, "blocked_by_failures")
		require.NoError(t, s.takeUpAbandoned(t.Context(), 0, 0, misjudgedLately))
	}
	require.Equal(t, "blocked_by_failures", d.taskState(task))
	require.EqualValues(t, 3, s.Stats().Abandoned)
}
