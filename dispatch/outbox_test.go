package dispatch_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

func TestAnOutboxGivesWhatWaitsOldestFirst(t *testing.T) {
	var o dispatch.Outbox
	o.Put(dispatch.Publication{Attempt: 1}, dispatch.Publication{Attempt: 2})
	o.Put(dispatch.Publication{Attempt: 3})
	given, waiting := o.Counts()
	require.EqualValues(t, 3, given)
	require.Equal(t, 3, waiting)
	all, err := o.Take(t.Context())
	require.NoError(t, err)
	require.Equal(t, []dispatch.Publication{{Attempt: 1}, {Attempt: 2}, {Attempt: 3}}, all)
	_, waiting = o.Counts()
	require.Zero(t, waiting)
}

func TestAnOutboxThatIsClosedGivesWhatIsLeft(t *testing.T) {
	var o dispatch.Outbox
	o.Put(dispatch.Publication{Attempt: 1})
	o.Close()
	all, err := o.Take(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
	_, err = o.Take(t.Context())
	require.ErrorIs(t, err, dispatch.ErrClosed)
}

func TestAnOutboxGivesWhatThereIsAtTheEndOfTheWait(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var o dispatch.Outbox
	_, err := o.Take(ctx)
	require.ErrorIs(t, err, context.Canceled)
	o.Put(dispatch.Publication{Attempt: 1})
	all, err := o.Take(ctx)
	require.NoError(t, err)
	require.Len(t, all, 1)
}
