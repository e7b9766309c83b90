package gil_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/embed"
	"github.com/tasker-systems/taskerpy/gil"
	"github.com/tasker-systems/taskerpy/gil/state"
)

// The interpreter of this test binary: there is one in a process.
var python *gil.Runtime

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	found, err := embed.FindPython(ctx, "", []string{".."})
	if err == nil {
		python, err = gil.Start(ctx, gil.Config{Python: found, Native: native})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	code := m.Run()
	if err := python.Stop(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// native is what Python reaches through _taskerpy.call in these tests.
func native(name string, payload []byte) ([]byte, error) {
	switch name {
	case "reverse":
		out := make([]byte, len(payload))
		for i, b := range payload {
			out[len(out)-1-i] = b
		}
		return out, nil
	case "refuse":
		return nil, fmt.Errorf("native: %w", embed.ValueError{Text: "bad thing"})
	case "panic":
		panic("on purpose")
	case "spinning":
		spinning <- struct{}{}
		return nil, nil
	case "go on?":
		select {
		case <-stop:
			return nil, nil
		default:
			return []byte("yes"), nil
		}
	default:
		return nil, nil
	}
}

func newLane(t testing.TB) *gil.Lane {
	l, err := python.NewLane(t.Name())
	require.NoError(t, err)
	t.Cleanup(l.Close)
	return l
}

func lookup(t testing.TB, module, name string) embed.Func {
	fn, err := python.Lookup(t.Context(), module, name)
	require.NoError(t, err)
	return fn
}

func TestCallGivesBytesInAndOut(t *testing.T) {
	echo := lookup(t, "taskerpy_host.boot", "echo")
	for _, size := range []int{0, 1, 4096, 3 << 20} {
		in := make([]byte, size)
		for i := range in {
			in[i] = byte(i)
		}
		l := newLane(t)
		l.Run(func() {
			out, err := l.Call(echo, in, nil)
			require.NoError(t, err)
			require.Equal(t, in, out)
		})
	}
}

func TestAnExceptionArrivesAsData(t *testing.T) {
	l := newLane(t)
	configure := lookup(t, "taskerpy_host.boot", "configure")
	l.Run(func() {
		_, err := l.Call(configure, []byte("not json"), nil)
		var exception *embed.Exception
		require.ErrorAs(t, err, &exception)
		require.Equal(t, "JSONDecodeError", exception.Type)
		require.Contains(t, exception.Traceback, "boot.py")
	})
}

func TestAnUnknownFunctionIsNamed(t *testing.T) {
	_, err := python.Lookup(t.Context(), "taskerpy_host.boot", "no_such_thing")
	require.ErrorContains(t, err, "look up taskerpy_host.boot.no_such_thing")
	require.ErrorContains(t, err, "AttributeError")
}

func TestOwnerIsPythonsMainThread(t *testing.T) {
	require.Equal(t, state.Idle, python.DebugState().Runtime)
	require.NotEmpty(t, python.Info().Version)
}

func TestStateMachineRefusesWhatIsNotAllowed(t *testing.T) {
	var m state.Machine
	require.Error(t, m.Set(state.Running))
	require.NoError(t, m.Set(state.Starting))
	require.True(t, m.CompareAndSwap(state.Starting, state.Idle))
	require.False(t, m.CompareAndSwap(state.Starting, state.Idle))
}

func TestWaitForReturnsWhenTheStateComes(t *testing.T) {
	var m state.Machine
	got := make(chan state.State)
	go func() {
		s, _ := m.WaitFor(t.Context(), state.Idle)
		got <- s
	}()
	require.NoError(t, m.Set(state.Starting))
	require.NoError(t, m.Set(state.Idle))
	require.Equal(t, state.Idle, <-got)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := m.WaitFor(ctx, state.Stopped)
	require.ErrorContains(t, err, "in state idle")
}

func BenchmarkCrossing(b *testing.B) {
	echo := lookup(b, "taskerpy_host.boot", "echo")
	l := newLane(b)
	in := []byte("x")
	l.Run(func() {
		for b.Loop() {
			if _, err := l.Call(echo, in, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}
