package engine

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

func TestWaitReturnsAFinishedTaskAtOnce(t *testing.T) {
	e := open(t, Options{}, dag("single", "only"))
	work(t, e, succeed)
	id := submit(t, e, asked("single", 1))
	first := await(t, e, id)
	require.Equal(t, first, await(t, e, id))
}

func TestWaitReturnsWhenTheTaskIsFinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, dag("single", "only"))
		id := submit(t, e, asked("single", 1))
		ended := make(chan Task, 3)
		for range 3 {
			go func() { ended <- await(t, e, id) }()
		}
		s := take(t, e)
		time.Sleep(time.Hour)
		require.Empty(t, ended)
		finish(t, e, s, dispatch.Success, 1)
		for range 3 {
			require.Equal(t, "complete", (<-ended).Status)
		}
		require.Empty(t, e.waits.byTask)
	})
}

func TestWaitReturnsABlockedTaskOnceNothingOfItRunsAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, dag("pair", "a", "b"))
		id := submit(t, e, asked("pair", 1))
		running := takeAll(t, e, 2)
		ended := make(chan Task, 1)
		go func() { ended <- await(t, e, id) }()
		finish(t, e, running["a"], dispatch.PermanentFailure, "no")
		time.Sleep(time.Hour)
		require.Empty(t, ended, "b still runs")
		finish(t, e, running["b"], dispatch.Success, 1)
		task := <-ended
		require.Equal(t, "blocked_by_failures", task.Status)
		require.Equal(t, 1, task.CompletedSteps)
	})
}

func TestWaitReturnsACancelledTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, linear)
		id := submit(t, e, asked("linear", 1))
		ended := make(chan Task, 1)
		go func() { ended <- await(t, e, id) }()
		synctest.Wait()
		_, err := e.Cancel(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, "cancelled", (<-ended).Status)
	})
}

func TestWaitGoesOnThroughRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, retrying("max_attempts: 3"))
		id := submit(t, e, asked("retrying", 1))
		ended := make(chan Task, 1)
		go func() { ended <- await(t, e, id) }()
		finish(t, e, take(t, e), dispatch.RetryableFailure, "later")
		synctest.Wait()
		require.Empty(t, ended)
		work(t, e, succeed)
		require.Equal(t, "complete", (<-ended).Status)
	})
}

func TestWaitForAnUnknownTaskIsNotFound(t *testing.T) {
	e := open(t, Options{})
	_, err := e.Wait(t.Context(), newUUID())
	require.ErrorIs(t, err, ErrNotFound)
	require.Empty(t, e.waits.byTask)
}

func TestWaitEndsWithItsContext(t *testing.T) {
	e := open(t, Options{}, linear)
	id := submit(t, e, asked("linear", 1))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { cancel() })
	_, err := e.Wait(ctx, id)
	require.ErrorIs(t, err, context.Canceled)
	wg.Wait()
	require.Empty(t, e.waits.byTask)
}

func TestWaitForTheTaskOfAnEarlierProcess(t *testing.T) {
	e := open(t, Options{}, dag("single", "only"))
	blocked, open := submit(t, e, asked("single", 1)), submit(t, e, asked("single", 2))
	finish(t, e, take(t, e), dispatch.PermanentFailure, "no")
	await(t, e, blocked)
	again := reopened(t, e, Options{}, dag("single", "only"))
	require.Equal(t, "blocked_by_failures", await(t, again, blocked).Status)
	work(t, again, succeed)
	require.Equal(t, "complete", await(t, again, open).Status)
}
