package handlers_test

import (
	"testing"

	"github.com/stretchr/testify/require"

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
