package gil_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// holdGIL lets a lane of its own hold the GIL for a while, and returns when it does.
func holdGIL(t *testing.T, duration time.Duration) {
	t.Helper()
	read, write, err := os.Pipe()
	require.NoError(t, err)
	l, execute := newLane(t), lookup(t, "taskerpy_host.boot", "execute")
	// Calls of a PyDLL keep the GIL, and nobody may ask for it between the two.
	code := fmt.Sprintf(`
import ctypes, sys
c = ctypes.PyDLL(None)
interval = sys.getswitchinterval()
sys.setswitchinterval(60)
c.write(%d, b"x", 1)
c.usleep(%d)
sys.setswitchinterval(interval)
`, write.Fd(), duration.Microseconds())
	done := make(chan error, 1)
	go l.Run(func() {
		_, err := l.Call(execute, []byte(code), nil)
		done <- err
	})
	t.Cleanup(func() {
		require.NoError(t, <-done)
		require.NoError(t, read.Close())
		require.NoError(t, write.Close())
	})
	_, err = read.Read(make([]byte, 1))
	require.NoError(t, err)
}

func TestAnInterruptThatWasGivenUpHitsNoLaterCall(t *testing.T) {
	timeout := lookup(t, "taskerpy_host.context", "StepTimeout")
	execute := lookup(t, "taskerpy_host.boot", "execute")
	l := newLane(t)
	holdGIL(t, time.Second)

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, l.Interrupt(ctx, timeout), context.DeadlineExceeded)
	var err error
	l.Run(func() { _, err = l.Call(execute, []byte("for _ in range(300): sum(range(10_000))"), nil) })
	require.NoError(t, err)
}
