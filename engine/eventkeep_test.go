package engine

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/engine/store"
)

// storedEvents is how many durable events the file has.
func storedEvents(t testing.TB, e *Engine) (n int) {
	t.Helper()
	synctest.Wait()
	require.NoError(t, e.read(t.Context(), func(r *store.Reader) error {
		rows, err := r.DomainEvents(t.Context(), 0, 1_000_000)
		n = len(rows)
		return err
	}))
	return n
}

func TestEventsThatEverySubscriberHandledAreKeptForAWeek(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory})
		require.NoError(t, e.Subscribe(t.Context(), "mailer"))
		publishOne(t, e, "a.b")
		require.NoError(t, e.Consumed(t.Context(), "mailer", 1))
		time.Sleep(7*day - time.Hour)
		require.Equal(t, 1, storedEvents(t, e))
		time.Sleep(2 * time.Hour)
		require.Zero(t, storedEvents(t, e))
	})
}

func TestEventsThatNobodySubscribedToAreKeptForAWeek(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory})
		publishOne(t, e, "a.b")
		time.Sleep(6 * day)
		publishOne(t, e, "c.d")
		require.Equal(t, 2, storedEvents(t, e))
		time.Sleep(day + 2*time.Hour)
		require.Equal(t, 1, storedEvents(t, e))
	})
}

func TestEventsThatASubscriberDidNotHandleAreKeptForAMonthAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory})
		require.NoError(t, e.Subscribe(t.Context(), "mailer"))
		publishOne(t, e, "a.b")
		time.Sleep(30*day - time.Hour)
		require.Equal(t, 1, storedEvents(t, e))
		time.Sleep(2 * time.Hour)
		require.Zero(t, storedEvents(t, e))
	})
}

func TestASubscriberThatIsGoneForAMonthHoldsNoEventsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(quickDir(t), "test.db")
		e, err := Open(t.Context(), Options{Path: path})
		require.NoError(t, err)
		require.NoError(t, e.Subscribe(t.Context(), "gone"))
		require.NoError(t, e.Close(context.Background()))

		e = open(t, Options{Path: path})
		require.NoError(t, e.Subscribe(t.Context(), "mailer"))
		time.Sleep(25 * day)
		publishOne(t, e, "a.b")
		require.NoError(t, e.Consumed(t.Context(), "mailer", 1))
		time.Sleep(day)
		require.Equal(t, 1, storedEvents(t, e))
		time.Sleep(7 * day)
		require.Zero(t, storedEvents(t, e))
	})
}

func TestASubscriberThatIsThereCountsHoweverLongItHadNothingToDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory})
		require.NoError(t, e.Subscribe(t.Context(), "mailer"))
		time.Sleep(60 * day)
		publishOne(t, e, "a.b")
		time.Sleep(20 * day)
		require.Equal(t, 1, storedEvents(t, e))
		events, err := e.Consume(t.Context(), "mailer", 10)
		require.NoError(t, err)
		require.Len(t, events, 1)
	})
}

func TestManyOldEventsAreDeletedInSmallBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var commits atomic.Int32
		e := open(t, Options{Path: memory, CommitObserver: func(time.Duration, int) { commits.Add(1) }})
		events := make([]DomainEvent, 3*eventsAtOnce+1)
		for i := range events {
			events[i] = DomainEvent{Event: newUUID(), Name: "a.b", JSON: []byte(`{}`)}
		}
		require.NoError(t, e.Published(t.Context(), Publication{}, events))
		synctest.Wait()
		before := commits.Load()
		time.Sleep(8 * day)
		require.Zero(t, storedEvents(t, e))
		require.Equal(t, int32(4), commits.Load()-before)
	})
}
