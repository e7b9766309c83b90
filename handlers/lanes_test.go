package handlers_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/embed/embedtest"
	"github.com/tasker-systems/taskerpy/gil"
)

func TestAnEventThatComesAfterTheEndOfItsLaneIsRefused(t *testing.T) {
	h := host(t)
	events, err := h.NewEvents()
	require.NoError(t, err)
	h.Close()
	require.ErrorIs(t, events.Handle("subscriber", []byte(`{}`)), gil.ErrStopped)
	_, err = events.Publish([]byte(`{}`), []byte(`{}`))
	require.ErrorIs(t, err, gil.ErrStopped)
}

func TestALaneThatIsLeftEnds(t *testing.T) {
	h := host(t)
	e, err := h.NewExecutor(1001)
	require.NoError(t, err)
	living := func() bool {
		return slices.ContainsFunc(embedtest.Runtime().DebugState().Lanes, func(l gil.LaneState) bool {
			return l.Name == "lane-1001"
		})
	}
	require.True(t, living())
	e.Occupy(func(func([]byte, *string) ([]byte, error)) {})
	require.Eventually(t, func() bool { return !living() }, 10*time.Second, time.Millisecond)
}
