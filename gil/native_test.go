package gil_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/embed"
	"github.com/tasker-systems/taskerpy/gil/state"
)

// execute runs Python code on a lane of its own and returns what it raised.
func execute(t *testing.T, code string) error {
	t.Helper()
	l := newLane(t)
	exec := lookup(t, "taskerpy_host.boot", "execute")
	var err error
	l.Run(func() { _, err = l.Call(exec, []byte(code), nil) })
	return err
}

func TestPythonCallsIntoGo(t *testing.T) {
	require.NoError(t, execute(t, `
import _taskerpy
assert _taskerpy.call("reverse", b"abc") == b"cba"
assert _taskerpy.call("anything else") is None
`))
}

func TestAnErrorOfGoIsAnException(t *testing.T) {
	require.NoError(t, execute(t, `
import _taskerpy
try:
    _taskerpy.call("refuse")
except ValueError as error:
    assert "bad thing" in str(error), error
else:
    raise AssertionError("nothing was raised")
`))
}

func TestAPanicOfGoIsAnException(t *testing.T) {
	require.NoError(t, execute(t, `
import _taskerpy
try:
    _taskerpy.call("panic")
except RuntimeError as error:
    assert "on purpose" in str(error), error
else:
    raise AssertionError("nothing was raised")
`))
}

func TestWrongArgumentsAreATypeError(t *testing.T) {
	for _, arguments := range []string{"", "1", "'reverse', 'text'", "'reverse', b'', 3"} {
		err := execute(t, "import _taskerpy\n_taskerpy.call("+arguments+")")
		var exception *embed.Exception
		require.ErrorAs(t, err, &exception)
		require.Equal(t, "TypeError", exception.Type, arguments)
	}
}

func TestEveryBlockOfTheBoundaryIsFreed(t *testing.T) {
	l := newLane(t)
	echo, exec := lookup(t, "taskerpy_host.boot", "echo"), lookup(t, "taskerpy_host.boot", "execute")
	before := embed.LiveBlocks()
	l.Run(func() {
		for range 100 {
			_, err := l.Call(echo, make([]byte, 10_000), nil)
			require.NoError(t, err)
			_, err = l.Call(exec, []byte("import _taskerpy; _taskerpy.call('reverse', b'abc')"), nil)
			require.NoError(t, err)
			_, err = l.Call(exec, []byte("1 / 0"), nil)
			require.Error(t, err)
		}
	})
	require.LessOrEqual(t, embed.LiveBlocks(), before+1) // the lane keeps one buffer for answers
}

func TestLanesThatSpinAreSeenWithoutTheGIL(t *testing.T) {
	spin := lookup(t, "taskerpy_host.boot", "execute")
	label := "spin"
	var lanes sync.WaitGroup
	for range 4 {
		l := newLane(t)
		lanes.Go(func() {
			_ = l.Run(func() {
				_, _ = l.Call(spin, []byte(`
import _taskerpy, time
_taskerpy.call("spinning")
while _taskerpy.call("go on?") is not None:
    sum(range(1000))
`), &label)
			})
		})
	}
	for range 4 {
		<-spinning
	}
	running := 0
	for _, l := range python.DebugState().Lanes {
		if l.State == state.Running && l.Doing == "spin" {
			running++
		}
	}
	for range 4 {
		stop <- struct{}{}
	}
	lanes.Wait()
	require.Equal(t, 4, running)
}

// What TestLanesThatSpinAreSeenWithoutTheGIL and its lanes tell each other, a
// lane at a time: a channel that was closed would end the lanes of the next run.
var (
	spinning = make(chan struct{})
	stop     = make(chan struct{})
)
