package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/tests/built"
)

// ReferenceWorker is the published worker, tasker-py, as a process.
type ReferenceWorker struct {
	// REST is the API of the worker.
	REST Client

	process *process
}

// StartReferenceWorker starts tasker-py with a folder of handlers and one of
// templates, and returns when it takes steps. More are environment variables,
// as NAME=value.
func (c *Cluster) StartReferenceWorker(ctx context.Context, handlers, templates string, more ...string) *ReferenceWorker {
	c.t.Helper()
	port, err := freePort()
	require.NoError(c.t, err)
	handlers, err = filepath.Abs(handlers)
	require.NoError(c.t, err)
	templates, err = filepath.Abs(templates)
	require.NoError(c.t, err)

	c.mu.Lock()
	name := fmt.Sprintf("tasker-py-%d", len(c.workers)+1)
	c.mu.Unlock()
	address := fmt.Sprintf("127.0.0.1:%d", port)
	config := filepath.Join(c.folder, name+".toml")
	require.NoError(c.t, writeConfig(config, map[string]any{
		"worker.web.bind_address":              address,
		"worker.orchestration_client.base_url": c.ServerURL(),
	}, c.queueConfig(), c.options.Config))
	ready := filepath.Join(c.folder, name+".ready")

	command := exec.Command(c.parts.Reference, filepath.Join(built.Root(), "tests", "cluster", "reference_worker.py"), ready)
	command.Dir = c.folder
	command.Env = c.environment(append([]string{
		"TASKER_CONFIG_PATH=" + config, "PYTHON_HANDLER_PATH=" + handlers, "TASKER_TEMPLATE_PATH=" + templates,
		"RUST_LOG=info", "PYTHONDONTWRITEBYTECODE=1",
	}, more...)...)
	process, err := launch(name, command, filepath.Join(c.folder, name+".log"), nil)
	require.NoError(c.t, err)
	worker := &ReferenceWorker{REST: Client{URL: "http://" + address}, process: process}
	c.mu.Lock()
	c.workers = append(c.workers, worker)
	c.mu.Unlock()
	require.NoError(c.t, until(ctx, process, func(context.Context) error {
		_, err := os.Stat(ready)
		return err
	}))
	return worker
}

// PID is the id of the worker's process.
func (w *ReferenceWorker) PID() int { return w.process.pid }

// Stop asks the worker to end, and waits until it has: ten seconds, for it waits
// twice for something of its own that does not end.
func (w *ReferenceWorker) Stop() error {
	if err := w.process.stop(syscall.SIGTERM, patience); err != nil {
		return err
	}
	return w.process.err
}

// Kill ends the worker without warning.
func (w *ReferenceWorker) Kill() { w.process.kill() }
