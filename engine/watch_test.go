package engine

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

// drained reads a channel until it is closed.
func drained(changes <-chan Change) []Change {
	var all []Change
	for c := range changes {
		all = append(all, c)
	}
	return all
}

// told writes changes as "step: from → to".
func told(changes []Change) []string {
	var all []string
	for _, c := range changes {
		all = append(all, fmt.Sprintf("%s: %s → %s", c.Step, c.From, c.To))
	}
	return all
}

func TestAWatcherSeesTheWholeLifeOfATask(t *testing.T) {
	e := open(t, Options{}, dag("single", "only"))
	changes, stop := e.Watch(uuid.Nil)
	defer stop()
	id := submit(t, e, asked("single", 1))
	finish(t, e, take(t, e), dispatch.Success, 1)
	await(t, e, id)
	require.NoError(t, e.Close(t.Context()))
	all := drained(changes)
	require.Equal(t, []string{
		":  → pending", "only:  → pending", ": pending → initializing", ": initializing → enqueuing_steps", "only: pending → enqueued",
		": enqueuing_steps → steps_in_process", "only: enqueued → in_progress", "only: in_progress → enqueued_for_orchestration",
		"only: enqueued_for_orchestration → complete", ": steps_in_process → evaluating_results", ": evaluating_results → complete",
	}, told(all))
	for _, c := range all {
		require.Equal(t, id, c.TaskUUID)
		require.WithinDuration(t, time.Now(), c.At, time.Minute)
		if c.Step != "" {
			require.Equal(t, c.From == "enqueued" || c.From == "in_progress" || c.From == "enqueued_for_orchestration", c.Attempts == 1)
		}
	}
}

func TestAWatcherSeesTheHopsOfARetry(t *testing.T) {
	e := open(t, Options{ImmediateRetries: true}, dag("single", "only"))
	id := submit(t, e, asked("single", 1))
	s := take(t, e)
	changes, stop := e.Watch(id)
	defer stop()
	finish(t, e, s, dispatch.RetryableFailure, "again")
	finish(t, e, take(t, e), dispatch.Success, 1)
	await(t, e, id)
	require.NoError(t, e.Close(t.Context()))
	var only []Change
	for _, c := range drained(changes) {
		if c.Step != "" {
			only = append(only, c)
		}
	}
	require.Equal(t, []string{
		"only: in_progress → enqueued_as_error_for_orchestration", "only: enqueued_as_error_for_orchestration → waiting_for_retry",
		"only: waiting_for_retry → pending", "only: pending → enqueued", "only: enqueued → in_progress",
		"only: in_progress → enqueued_for_orchestration", "only: enqueued_for_orchestration → complete",
	}, told(only))
	require.Equal(t, "again - retryable", only[1].Message)
	require.Equal(t, 2, only[4].Attempts)
}

func TestAWatcherOfOneTaskSeesNoOther(t *testing.T) {
	e := open(t, Options{}, linear)
	work(t, e, succeed)
	id := submit(t, e, asked("linear", 1))
	changes, stop := e.Watch(id)
	defer stop()
	await(t, e, submit(t, e, asked("linear", 2)))
	await(t, e, id)
	require.NoError(t, e.Close(t.Context()))
	for _, c := range drained(changes) {
		require.Equal(t, id, c.TaskUUID)
	}
}

func TestEveryWatcherSeesTheSame(t *testing.T) {
	e := open(t, Options{}, linear)
	work(t, e, succeed)
	one, stopOne := e.Watch(uuid.Nil)
	two, stopTwo := e.Watch(uuid.Nil)
	defer stopOne()
	defer stopTwo()
	await(t, e, submit(t, e, asked("linear", 1)))
	require.NoError(t, e.Close(t.Context()))
	require.Equal(t, drained(one), drained(two))
}

func TestWhatAWatcherSeesIsDurable(t *testing.T) {
	e := open(t, Options{}, linear)
	changes, stop := e.Watch(uuid.Nil)
	defer stop()
	work(t, e, succeed)
	id := submit(t, e, asked("linear", 1))
	for c := range changes {
		if c.Step != "" && c.To == "complete" {
			require.Equal(t, "complete", states(t, e, id)[c.Step])
		}
		if c.Step == "" && c.To == "complete" {
			require.Equal(t, "complete", taskOf(t, e, id).Status)
			return
		}
	}
}

func TestWhatCouldNotBeStoredIsNotSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, b := breaking(t, Options{}, linear)
		changes, stop := e.Watch(uuid.Nil)
		defer stop()
		b.before.Store(1)
		_, err := e.Create(t.Context(), asked("linear", 1))
		require.ErrorIs(t, err, ErrUnavailable)
		healthy(t, e)
		require.NoError(t, e.Close(t.Context()))
		require.Empty(t, drained(changes))
	})
}

func TestAWatcherThatDoesNotReadHoldsNobodyUp(t *testing.T) {
	e := open(t, Options{}, linear)
	_, stop := e.Watch(uuid.Nil)
	defer stop()
	work(t, e, succeed)
	for i := range 20 {
		require.Equal(t, "complete", await(t, e, submit(t, e, asked("linear", i))).Status)
	}
}

func TestAWatcherThatLagsTooFarBehindIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory})
		changes, stop := e.Watch(uuid.Nil)
		defer stop()
		burst := make([]Change, maxWatchBacklog/2)
		for i := range burst {
			burst[i].Attempts = i
		}
		for range 5 {
			e.watchers.publish(burst)
			synctest.Wait()
		}
		all := drained(changes)
		require.GreaterOrEqual(t, len(all), maxWatchBacklog)
		require.Less(t, len(all), 5*len(burst))
		for i, c := range all {
			require.Equal(t, i%len(burst), c.Attempts, "what it gets has no gap")
		}
	})
}

func TestStoppingAWatchClosesItsChannel(t *testing.T) {
	e := open(t, Options{}, linear)
	changes, stop := e.Watch(uuid.Nil)
	submit(t, e, asked("linear", 1))
	stop()
	stop()
	_, ok := <-changes
	require.False(t, ok)
	require.False(t, e.watchers.any())
}

func TestClosingTheEngineEndsItsWatches(t *testing.T) {
	e := open(t, Options{}, linear)
	changes, stop := e.Watch(uuid.Nil)
	submit(t, e, asked("linear", 1))
	require.NoError(t, e.Close(t.Context()))
	require.NotEmpty(t, drained(changes), "what came before is still delivered")
	stop()

	changes, stop = e.Watch(uuid.Nil)
	require.Empty(t, drained(changes))
	stop()
}
