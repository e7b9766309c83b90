package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/tests/built"
)

// Worker is a taskerpy that works for the cluster, as a process.
type Worker struct {
	// REST is the API of the worker.
	REST Client

	process *process
	log     string
}

// StartWorker starts a taskerpy on handlers, and returns when it is ready. More
// are further arguments of its command. A worker whose fallback poll is not
// given polls twice a second.
func (c *Cluster) StartWorker(ctx context.Context, binary, handlers string, more ...string) *Worker {
	c.t.Helper()
	w := c.LaunchWorker(binary, handlers, more...)
	require.NoError(c.t, w.Ready(ctx))
	return w
}

// LaunchWorker is StartWorker that does not wait until the worker is ready.
func (c *Cluster) LaunchWorker(binary, handlers string, more ...string) *Worker {
	c.t.Helper()
	port, err := freePort()
	require.NoError(c.t, err)
	handlers, err = filepath.Abs(handlers)
	require.NoError(c.t, err)
	c.mu.Lock()
	c.launched++
	name := fmt.Sprintf("taskerpy-%d", c.launched)
	c.mu.Unlock()
	address := fmt.Sprintf("127.0.0.1:%d", port)
	command := exec.Command(binary, append([]string{
		"run", handlers, "--listen", address, "--log-format", "json", "--worker-id", name, "--poll-interval", "500ms",
		"--orchestration-url", c.ServerURL(),
	}, more...)...)
	command.Dir = c.folder
	command.Env = built.Environ(append(c.queueEnvironment(), "DATABASE_URL="+c.URL())...)
	w := &Worker{REST: Client{URL: "http://" + address}, log: filepath.Join(c.folder, name+".log")}
	w.process, err = launch(name, command, w.log, nil)
	require.NoError(c.t, err)
	c.mu.Lock()
	c.ours = append(c.ours, w)
	c.mu.Unlock()
	return w
}

// Ready waits until the worker takes steps.
func (w *Worker) Ready(ctx context.Context) error {
	return until(ctx, w.process, func(ctx context.Context) error {
		return w.REST.Get(ctx, "/health/ready", nil)
	})
}

// PID is the id of the worker's process.
func (w *Worker) PID() int { return w.process.pid }

// Stop asks the worker to end, waits until it has, and returns its exit code.
func (w *Worker) Stop() (int, error) {
	if err := w.process.stop(syscall.SIGTERM, patience); err != nil {
		return -1, err
	}
	return w.exitCode()
}

func (w *Worker) exitCode() (int, error) {
	var exit *exec.ExitError
	switch err := w.process.err; {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit):
		return exit.ExitCode(), nil
	default:
		return -1, err
	}
}

// Signal sends a signal to the worker.
func (w *Worker) Signal(signal syscall.Signal) error { return w.process.signal(signal, false) }

// Pause halts the worker, which then neither does nor loses anything.
func (w *Worker) Pause() error { return w.process.pause() }

// Resume lets a paused worker go on.
func (w *Worker) Resume() error { return w.process.signal(syscall.SIGCONT, true) }

// Ended tells whether the worker has.
func (w *Worker) Ended() bool {
	select {
	case <-w.process.exited:
		return true
	default:
		return false
	}
}

// Wait waits until the worker has ended by itself, and returns its exit code.
func (w *Worker) Wait() (int, error) {
	<-w.process.exited
	return w.exitCode()
}

// Kill ends the worker and what it has started, without warning.
func (w *Worker) Kill() { w.process.kill() }

// Log is what the worker has written.
func (w *Worker) Log() string {
	text, err := os.ReadFile(w.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
