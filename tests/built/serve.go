package built

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience bounds waiting for the program to start; a healthy one needs a
// small part of it.
const patience = 2 * time.Minute

// Serve runs `taskerpy run` with these arguments on a free port until the test
// ends, and returns the URL of its API. Its log is shown when the test failed.
func Serve(t testing.TB, binary string, args ...string) (url string) {
	t.Helper()
	command := exec.Command(binary, append([]string{"run", "--listen", "127.0.0.1:0", "--log-format", "json"}, args...)...)
	command.Dir = t.TempDir()
	command.Env = Environ()
	pipe, err := command.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	log := &serverLog{ready: make(chan string, 1)}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		log.read(pipe)
		_ = command.Wait() // it is told by its log
	}()
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM) // it may have gone
		select {
		case <-exited:
		case <-time.After(patience):
			_ = command.Process.Kill()
			<-exited
		}
		if t.Failed() {
			t.Logf("the program's log:\n%s", log)
		}
	})
	select {
	case url = <-log.ready:
	case <-exited:
		require.Fail(t, "the program ended at its start", log.String())
	case <-time.After(patience):
		require.Fail(t, "the program does not listen", log.String())
	}
	return url
}

// serverLog keeps what the program said and tells the URL that is among it.
type serverLog struct {
	mu    sync.Mutex
	all   bytes.Buffer
	ready chan string
}

func (l *serverLog) read(r io.Reader) {
	for s := bufio.NewScanner(r); s.Scan(); {
		l.mu.Lock()
		l.all.Write(append(s.Bytes(), '\n'))
		l.mu.Unlock()
		var record struct{ Msg, URL string }
		if json.Unmarshal(s.Bytes(), &record) == nil && record.Msg == "taskerpy is running" {
			l.ready <- record.URL
		}
	}
}

// String is the log so far.
func (l *serverLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}
