package engine

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// The table of engine-semantics §4.6.
func TestComputedPriority(t *testing.T) {
	for _, c := range []struct {
		priority     int32
		age, inState time.Duration
		want         float64
	}{
		{5, 0, 0, 5},
		{5, 10 * time.Hour, 0, 6},
		{5, 10 * time.Hour, 59 * time.Minute, 6},
		{0, 30 * time.Minute, 30 * time.Minute, 0.05},
		{12, time.Hour, time.Hour, 12 * math.Exp(-1.0/12)},
		{12, 100 * time.Hour, 12 * time.Hour, 12 * math.Exp(-1)},
		{12, 24 * time.Hour, 24 * time.Hour, 12 * math.Exp(-2)},
		{100, 25 * time.Hour, 24*time.Hour + time.Second, 0.1},
		{-100, 25 * time.Hour, 24*time.Hour + time.Second, 0.1},
	} {
		require.InDelta(t, c.want, computedPriority(c.priority, c.age, c.inState), 1e-12, "%+v", c)
	}
}

func TestComputedPriorityIsAlwaysPositive(t *testing.T) {
	for _, priority := range []int32{math.MinInt32, -100, -1, 0} {
		for _, inState := range []time.Duration{0, 90 * time.Minute, 23 * time.Hour} {
			require.Positive(t, computedPriority(priority, inState, inState))
		}
	}
}

// inOrder submits single-step tasks with the priorities and returns the
// priorities in the order in which the steps are handed out.
func inOrder(t *testing.T, priorities ...int32) (order []int32) {
	e := open(t, Options{Path: memory}, dag("single", "only"))
	for i, p := range priorities {
		r := asked("single", i)
		r.Priority = p
		submit(t, e, r)
	}
	for range priorities {
		order = append(order, taskOf(t, e, take(t, e).TaskUUID).Priority)
	}
	return order
}

func TestStepsOfTasksWithHigherPriorityAreHandedOutFirst(t *testing.T) {
	require.Equal(t, []int32{100, 7, 1, 0, -1, -50}, inOrder(t, 0, 7, -50, 100, -1, 1))
}

func TestAmongEqualPrioritiesTheOlderTaskComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, dag("single", "only"))
		for i := range 20 {
			submit(t, e, asked("single", i))
			if i%3 == 0 {
				time.Sleep(time.Second) // some are made within the same instant
			}
		}
		last := ""
		for range 20 {
			id := take(t, e).TaskUUID.String() // version 7: in order of creation
			require.Greater(t, id, last)
			last = id
		}
	})
}

func TestAgeMakesUpForPriority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, dag("single", "only"), linear)
		// An old task that has just changed its state: age counts, state is fresh.
		old := submit(t, e, asked("linear", 1))
		first := take(t, e)
		time.Sleep(30 * time.Hour)
		finish(t, e, first, 'S', 1)
		r := asked("single", 1)
		r.Priority = 2 // 2 + 0 against 0 + 0.1·30
		submit(t, e, r)
		require.Equal(t, old, take(t, e).TaskUUID)
	})
}

func TestPriorityDecaysWhileATaskWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, dag("single", "only"))
		r := asked("single", 1)
		r.Priority = 10
		waited := submit(t, e, r)
		time.Sleep(23 * time.Hour) // 10·exp(-23/12) is about 1.5
		r = asked("single", 2)
		r.Priority = 3
		fresh := submit(t, e, r)
		require.Equal(t, fresh, take(t, e).TaskUUID)
		require.Equal(t, waited, take(t, e).TaskUUID)
	})
}

func TestStepsOfOneTaskAreHandedOutInTheirOrder(t *testing.T) {
	e := open(t, Options{Path: memory}, dag("wide", "a", "b", "c", "d"))
	submit(t, e, asked("wide", 1))
	for _, want := range []string{"a", "b", "c", "d"} {
		require.Equal(t, want, take(t, e).Name)
	}
}
