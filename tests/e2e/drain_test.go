package e2e_test

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWorkersThatAreStoppedUnderLoadFinishWhatTheyRun(t *testing.T) {
	p := newProject(t, shared, "stopped", chain(2, "steps.Work")...)
	leaving := p.worker("--concurrency", "4", "--visibility-timeout", "1h")
	p.worker("--concurrency", "4", "--visibility-timeout", "1h")
	ids := p.createMany(20, map[string]any{"ms": 200})
	p.awaitNumber(1, inProgress, p.uuid(leaving))
	code, err := leaving.Stop()
	require.NoError(t, err)
	require.Zero(t, code, leaving.Log())
	p.requireDone(ids)
	for _, s := range p.steps(ids...) {
		require.Equal(t, 1, s.Attempts)
		require.Equal(t, 1, p.noted("ran")[s.ID])
	}
}

// The other worker hears of them: its poll is ten minutes away, the visibility
// timeout an hour.
func TestClaimedStepsThatWereNotBegunGoBackAtOnce(t *testing.T) {
	p := newProject(t, shared, "unbegun", chain(1, "steps.Work")...)
	p.template("blocking", chain(1, "steps.Gate")...)
	options := []string{"--concurrency", "1", "--visibility-timeout", "1h", "--poll-interval", "10m"}
	first := p.worker(options...)
	// Short steps teach it to claim ahead.
	p.requireDone(p.createMany(3, nil))
	blocking := p.create("blocking", nil)
	p.awaitNotes("entered", 1)
	ids := p.createMany(5, nil)
	p.awaitNumber(2, inProgress, p.uuid(first))
	require.NoError(t, first.Signal(syscall.SIGTERM))
	p.awaitNumber(1, `SELECT (count(*) = 1)::int FROM tasker.workflow_step_transitions WHERE most_recent AND to_state = 'in_progress' AND metadata->>'worker_uuid' = $1`, p.uuid(first))
	p.worker(options...)
	p.requireDoneSteps(ids)
	released := 0
	for _, s := range p.steps(ids...) {
		require.Equal(t, 1, s.Attempts, "no handler was entered before")
		released += s.History.count("in_progress", "enqueued")
	}
	require.Positive(t, released)
	p.open()
	code, err := first.Wait()
	require.NoError(t, err)
	require.Zero(t, code, first.Log())
	p.requireDone([]string{blocking})
	require.Equal(t, 1, p.steps(blocking)[0].Attempts)
}

func TestAStepThatOutlastsTheDrainIsRunByAnotherWorker(t *testing.T) {
	p := newProject(t, shared, "outlasting", chain(1, "steps.Gate")...)
	options := []string{"--visibility-timeout", "1h", "--poll-interval", "10m"}
	first := p.worker(append(options, "--drain-timeout", "1s")...)
	id := p.create("flow", nil)
	p.awaitNotes("entered", 1)
	code, err := first.Stop()
	require.NoError(t, err)
	require.Equal(t, 1, code, "it says that it was not done")
	require.Contains(t, first.Log(), "not drained within 1s")
	p.open()
	p.worker(options...)
	p.requireDone([]string{id})
	s := p.steps(id)[0]
	require.EqualValues(t, 2, s.Results.Result["attempt"])
	require.Equal(t, 1, s.History.count("in_progress", "enqueued"))
}
