package e2e_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/tests/cluster"
)

// inProgress counts the steps that a worker has.
const inProgress = `SELECT count(*) FROM tasker.workflow_step_transitions WHERE most_recent AND to_state = 'in_progress' AND metadata->>'worker_uuid' = $1`

func TestWorkersThatAreKilledLoseAndDoubleNothing(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	p := newProject(t, shared, "killed", chain(3, "steps.Work")...)
	const kills = 20
	killed := 0
	options := []string{"--visibility-timeout", "3s", "--concurrency", "8"}
	workers := []*cluster.Worker{p.worker(options...), p.worker(options...)}
	names := []string{p.uuid(workers[0]).String(), p.uuid(workers[1]).String()}
	var ids []string
	for deadline := time.Now().Add(3 * time.Minute); killed < kills; time.Sleep(time.Millisecond) {
		require.True(t, time.Now().Before(deadline), "%d were killed", killed)
		if len(ids) <= 5*killed || p.number(finishedSteps, p.notes) == 3*len(ids) {
			ids = append(ids, p.createMany(5, map[string]any{"ms": 100 + random.IntN(300)})...)
		}
		i := random.IntN(len(workers))
		// It is in the middle of a batch, and some of the batch may be done.
		if p.number(inProgress, names[i]) < 2 {
			continue
		}
		time.Sleep(time.Duration(random.IntN(100)) * time.Millisecond) // the moment is meant to be any
		workers[i].Kill()
		killed++
		workers[i] = p.worker(options...)
		names[i] = p.uuid(workers[i]).String()
	}
	p.requireDone(ids)
	takeovers := 0
	for _, s := range p.steps(ids...) {
		takeovers += s.History.count("in_progress", "in_progress")
	}
	require.NotZero(t, takeovers, "nobody was killed at work")
	t.Logf("%d steps were taken over", takeovers)
}

// Item 9 of the conformance checklist.
func TestAStepWhoseWorkerIsKilledIsFinishedByAnother(t *testing.T) {
	p := newProject(t, shared, "murder", chain(1, "steps.Gate")...)
	first := p.worker("--visibility-timeout", "3s")
	id := p.create("flow", nil)
	p.awaitNotes("entered", 1)
	first.Kill()
	p.open()
	p.worker("--visibility-timeout", "3s")
	p.requireDone([]string{id})
	require.EqualValues(t, 2, p.steps(id)[0].Results.Result["attempt"])
}

// Item 9: what a worker returns that was only thought to be dead.
func TestTheLateResultOfAWorkerThatLostItsStepIsRefused(t *testing.T) {
	p := newProject(t, shared, "late", chain(1, "steps.Gate")...)
	late := p.worker("--visibility-timeout", "3s")
	id := p.create("flow", nil)
	p.awaitNotes("entered", 1)
	require.NoError(t, late.Pause())
	p.worker("--visibility-timeout", "3s")
	p.awaitNumber(1, `SELECT count(*) FROM tasker.workflow_steps WHERE task_uuid = $1 AND attempts = 2`, id)
	p.open()
	p.requireDone([]string{id})
	require.NoError(t, late.Resume())
	require.Eventually(t, func() bool { return p.metric(late, "tasker_worker_fenced_total") == 1 }, patience, 10*time.Millisecond)
	p.requireDone([]string{id})
	require.EqualValues(t, 2, p.steps(id)[0].Results.Result["attempt"])
}

func TestAStepThatKillsEveryWorkerFailsInTheEnd(t *testing.T) {
	p := newProject(t, shared, "deadly",
		"{name: one, handler: {callable: steps.Deadly}, retry: {retryable: true, max_attempts: 2, backoff: none}}")
	id := ""
	for attempt := range 2 {
		w := p.worker("--visibility-timeout", "3s")
		if attempt == 0 {
			id = p.create("flow", map[string]any{"deaths": 100})
		}
		code, err := w.Wait()
		require.NoError(t, err)
		require.Equal(t, -1, code, "it did not end by a signal")
	}
	p.worker("--visibility-timeout", "3s")
	require.Equal(t, "blocked_by_failures", p.WaitTask(t.Context(), id).Status)
	s := p.steps(id)[0]
	require.Equal(t, "worker_lost", s.Results.Error.ErrorType)
	require.False(t, s.Results.Error.Retryable)
	require.Len(t, p.noted("ran"), 1)
	require.Equal(t, 2, p.noted("ran")[s.ID])
}
