package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/engine/store"
)

// quickDir is a folder in memory where the system has one: what is tested
// there is what was written, not what the disk kept.
func quickDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "engine-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// copied is a copy of an engine's files as they are now: what a process that
// is killed at this moment leaves behind. No commit may be going on.
func copied(t testing.TB, e *Engine) string {
	t.Helper()
	return copyFiles(t, e.o.Path, filepath.Join(quickDir(t), "copy.db"))
}

func copyFiles(t testing.TB, from, to string) string {
	t.Helper()
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(from + suffix)
		if os.IsNotExist(err) {
			continue
		}
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(to+suffix, data, 0o644))
	}
	return to
}

// seenTask is all that can be seen of a task.
type seenTask struct {
	Task  Task
	Steps []Step
}

func everything(t testing.TB, e *Engine, ids ...uuid.UUID) (all []seenTask) {
	t.Helper()
	for _, id := range ids {
		steps, err := e.Steps(t.Context(), id)
		require.NoError(t, err)
		all = append(all, seenTask{taskOf(t, e, id), steps})
	}
	return all
}

// variety makes tasks in many conditions, and returns them with the steps
// that are running.
func variety(t testing.TB, e *Engine) (ids []uuid.UUID, running map[string]*dispatch.Step) {
	t.Helper()
	running = map[string]*dispatch.Step{}
	add := func(name string) uuid.UUID {
		id := submit(t, e, asked(name, len(ids)))
		ids = append(ids, id)
		return id
	}
	add("linear") // complete
	for range 4 {
		finish(t, e, take(t, e), dispatch.Success, "kept")
	}
	add("linear") // blocked
	finish(t, e, take(t, e), dispatch.PermanentFailure, "no")
	id := add("linear") // cancelled
	_, err := e.Cancel(t.Context(), id)
	require.NoError(t, err)
	add("linear") // delayed
	finish(t, e, take(t, e), dispatch.RetryableFailure, "later")
	add("linear") // running, after a step
	finish(t, e, take(t, e), dispatch.Success, "kept")
	s := take(t, e)
	running[s.Name] = s
	add("diamond") // just submitted
	settle(t, e)
	return ids, running
}

func TestEverythingIsTheSameAfterACleanRestart(t *testing.T) {
	e := open(t, Options{}, linear, diamond)
	ids, running := variety(t, e)
	for _, s := range running {
		finish(t, e, s, dispatch.Success, "kept")
	}
	settle(t, e)
	before := everything(t, e, ids...)
	list, err := e.Tasks(t.Context(), TaskFilter{})
	require.NoError(t, err)
	again := reopened(t, e, Options{}, linear, diamond)
	require.Equal(t, before, everything(t, again, ids...))
	after, err := again.Tasks(t.Context(), TaskFilter{})
	require.NoError(t, err)
	require.Equal(t, list, after)
}

func TestOnlyRunningStepsChangeWhenTheProcessIsKilled(t *testing.T) {
	e := open(t, Options{}, linear, diamond)
	ids, _ := variety(t, e)
	before := everything(t, e, ids...)
	again := open(t, Options{Path: copied(t, e)}, linear, diamond)
	after := everything(t, again, ids...)
	for i := range before {
		if i != 4 {
			require.Equal(t, before[i], after[i])
		}
	}
	require.Equal(t, before[4].Steps[0], after[4].Steps[0])
	lost := after[4].Steps[1]
	require.Equal(t, "enqueued", lost.CurrentState)
	require.Equal(t, 1, lost.Attempts)
	require.Contains(t, string(lost.Results), `"error_type":"worker_lost"`)
	require.Contains(t, string(lost.Results), "the process that ran this step ended before the step did")
}

// killedRunning is an engine that finds a step of the given policy running.
func killedRunning(t *testing.T, policy string) (*Engine, uuid.UUID) {
	e := open(t, Options{}, retrying(policy))
	id := submit(t, e, asked("retrying", 1))
	take(t, e)
	return open(t, Options{Path: copied(t, e), WorkerID: "second"}, retrying(policy)), id
}

func TestAStepThatWasRunningCountsAsAFailedAttemptAndRunsAgainWithoutDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		again, id := killedRunning(t, "max_attempts: 2, backoff_base_ms: 600000, max_backoff_ms: 600000")
		opened := time.Now()
		s := take(t, again)
		require.Equal(t, opened, time.Now())
		require.Equal(t, 2, s.Attempt)
		before := eventOf(t, s).Sequence.Step
		require.Equal(t, 1, before.Attempts)
		require.Contains(t, string(before.Results), "worker_lost")
		finish(t, again, s, dispatch.Success, 1)
		take(t, again)
		require.NoError(t, again.read(t.Context(), func(r *store.Reader) error {
			row, _, err := r.Task(t.Context(), id)
			require.NoError(t, err)
			attempts, err := r.FailedAttempts(t.Context(), store.ID(row.ID, 0))
			require.NoError(t, err)
			require.Len(t, attempts, 1)
			require.Equal(t, int32(1), attempts[0].Attempt)
			require.Contains(t, string(attempts[0].Results), "worker_lost")
			return nil
		}))
	})
}

func TestARunningStepWithoutAttemptsLeftFailsWhenTheProcessIsKilled(t *testing.T) {
	for _, policy := range []string{"max_attempts: 1", "max_attempts: 3, retryable: false"} {
		t.Run(policy, func(t *testing.T) {
			again, id := killedRunning(t, policy)
			require.Equal(t, "blocked_by_failures", await(t, again, id).Status)
			s := stepOf(t, again, id, "flaky")
			require.Equal(t, "error", s.CurrentState)
			require.Contains(t, string(s.Results), "worker_lost")
			require.NotNil(t, s.LastFailureAt)
		})
	}
}

func TestABlockedTaskWithARunningStepRestsAfterTheProcessIsKilled(t *testing.T) {
	e := open(t, Options{}, dag("pair", "a", "b"))
	id := submit(t, e, asked("pair", 1))
	running := takeAll(t, e, 2)
	finish(t, e, running["a"], dispatch.PermanentFailure, "no")
	settle(t, e)
	again := open(t, Options{Path: copied(t, e)}, dag("pair", "a", "b"))
	task := await(t, again, id)
	require.Equal(t, "blocked_by_failures", task.Status)
	require.Equal(t, map[string]string{"a": "error", "b": "waiting_for_retry"}, states(t, again, id))
	require.Equal(t, Stats{}, again.Stats())
}

func TestADelayIsNeitherLongerNorShorterAfterTheProcessIsKilled(t *testing.T) {
	for _, down := range []time.Duration{0, 40 * time.Second, time.Hour} {
		t.Run(down.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				yaml := retrying("backoff: linear, backoff_base_ms: 60000, max_backoff_ms: 60000")
				e := open(t, Options{}, yaml)
				submit(t, e, asked("retrying", 1))
				failed := time.Now()
				finish(t, e, take(t, e), dispatch.RetryableFailure, "later")
				synctest.Wait()
				path := copied(t, e)
				time.Sleep(down)
				again := open(t, Options{Path: path}, yaml)
				require.Equal(t, 2, take(t, again).Attempt)
				require.Equal(t, max(down, time.Minute), time.Since(failed))
			})
		})
	}
}

func TestTasksGoOnInTheirOrderAfterARestart(t *testing.T) {
	e := open(t, Options{}, dag("single", "only"))
	var ids []uuid.UUID
	for i := range 10 {
		ids = append(ids, submit(t, e, asked("single", i)))
	}
	again := open(t, Options{Path: copied(t, e)}, dag("single", "only"))
	for _, id := range ids {
		require.Equal(t, id, take(t, again).TaskUUID)
	}
}

func TestNewTasksAfterARestartDoNotCollideWithOldOnes(t *testing.T) {
	e := open(t, Options{}, linear)
	old := submit(t, e, asked("linear", 1))
	again := open(t, Options{Path: copied(t, e)}, linear, diamond)
	fresh := submit(t, again, asked("linear", 2))
	work(t, again, succeed)
	for _, id := range []uuid.UUID{old, fresh, submit(t, again, asked("diamond", 1))} {
		require.Equal(t, "complete", await(t, again, id).Status)
	}
}

func TestAFileOpenedAndKilledManyTimesLosesNothing(t *testing.T) {
	e := open(t, Options{Path: filepath.Join(quickDir(t), "test.db")}, retrying("max_attempts: 20"))
	id := submit(t, e, asked("retrying", 1))
	for n := range 10 {
		require.Equal(t, n+1, take(t, e).Attempt)
		e = open(t, Options{Path: copied(t, e)}, retrying("max_attempts: 20"))
	}
	work(t, e, succeed)
	require.Equal(t, "complete", await(t, e, id).Status)
	require.Equal(t, 11, stepOf(t, e, id, "flaky").Attempts)
}

// kills records what the files look like at each commit, just before and just
// after it, with what was promised by then.
type kills struct {
	t    testing.TB
	path string
	dir  string

	mu       sync.Mutex
	created  []uuid.UUID          // tasks that were accepted
	finished map[uuid.UUID]string // results of steps that were seen to be complete
	moments  []moment
}

type moment struct {
	path     string
	created  []uuid.UUID
	finished map[uuid.UUID]string
}

func (k *kills) at(p store.Point) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	m := moment{
		path:    copyFiles(k.t, k.path, filepath.Join(k.dir, fmt.Sprintf("%d.db", len(k.moments)))),
		created: append([]uuid.UUID{}, k.created...), finished: map[uuid.UUID]string{},
	}
	for step, result := range k.finished {
		m.finished[step] = result
	}
	k.moments = append(k.moments, m)
	return nil
}

func TestKilledAtAnyCommitNothingAcceptedIsLost(t *testing.T) {
	dir := quickDir(t)
	k := &kills{t: t, path: filepath.Join(dir, "test.db"), dir: dir, finished: map[uuid.UUID]string{}}
	e := open(t, Options{Path: k.path, fault: k.at, ImmediateRetries: true}, linear, diamond)

	changes, stop := e.Watch(uuid.Nil)
	var seen sync.WaitGroup
	seen.Go(func() {
		for c := range changes {
			if c.Step != "" && c.To == "complete" {
				s := stepOf(t, e, c.TaskUUID, c.Step)
				k.mu.Lock()
				k.finished[s.StepUUID] = string(s.Results)
				k.mu.Unlock()
			}
		}
	})
	runs := 0
	work(t, e, func(s *dispatch.Step) (dispatch.Outcome, any) {
		if runs++; s.Attempt == 1 && runs%3 == 0 {
			return dispatch.RetryableFailure, "again"
		}
		return dispatch.Success, s.StepUUID
	})
	for i := range 3 {
		for _, name := range []string{"linear", "diamond"} {
			id := submit(t, e, asked(name, i))
			k.mu.Lock()
			k.created = append(k.created, id)
			k.mu.Unlock()
		}
	}
	for _, id := range k.created {
		require.Equal(t, "complete", await(t, e, id).Status)
	}
	stop()
	seen.Wait()

	require.Greater(t, len(k.moments), 20)
	for i, m := range k.moments {
		m.revive(t, i)
	}
}

// revive opens the files of a moment and lets all tasks come to their end.
func (m moment) revive(t *testing.T, number int) {
	e, err := Open(t.Context(), Options{Path: m.path})
	require.NoError(t, err, "moment %d", number)
	defer func() { require.NoError(t, e.Close(t.Context())) }()
	require.NoError(t, e.Register(t.Context(), parse(t, linear), parse(t, diamond)))
	list, err := e.Tasks(t.Context(), TaskFilter{PerPage: 100})
	require.NoError(t, err)
	require.LessOrEqual(t, len(m.created), len(list.Tasks))
	require.LessOrEqual(t, len(list.Tasks), len(m.created)+1, "at most the one that was being stored")

	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			steps, err := e.Claim(ctx, 4)
			if err != nil {
				return
			}
			for _, s := range steps {
				if _, ok := m.finished[s.StepUUID]; ok {
					t.Errorf("moment %d: step %s had finished and runs again", number, s.Name)
				}
				e.Complete(s, resultOf(s, dispatch.Success, "revived"))
			}
		}
	})
	defer wg.Wait()
	defer cancel()
	for _, id := range m.created {
		require.Equal(t, "complete", await(t, e, id).Status, "moment %d", number)
		steps, err := e.Steps(t.Context(), id)
		require.NoError(t, err)
		for _, s := range steps {
			if result, ok := m.finished[s.StepUUID]; ok {
				require.Equal(t, result, string(s.Results), "moment %d", number)
			}
		}
	}
}
