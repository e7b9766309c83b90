package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/stretchr/testify/require"
)

// prepareServer chooses the server's port, which it keeps when it is started again.
func (c *Cluster) prepareServer() error {
	port, err := freePort()
	if err != nil {
		return err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	c.REST = Client{URL: "http://" + address}
	return writeConfig(c.ConfigFile(), map[string]any{
		"orchestration.web.bind_address":       address,
		"worker.orchestration_client.base_url": c.REST.URL,
	}, c.queueConfig(), c.options.Config)
}

// ConfigFile is the TOML file of the deployment: what TASKER_CONFIG_PATH of its
// workers names.
func (c *Cluster) ConfigFile() string { return filepath.Join(c.folder, "tasker.toml") }

// ServerURL is the root of tasker-server's REST API.
func (c *Cluster) ServerURL() string { return c.REST.URL }

// environment is what programs of the reference are run with.
func (c *Cluster) environment(more ...string) []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + c.folder, "TZ=UTC", "LC_ALL=C.UTF-8",
		"TASKER_ENV=test", "TASKER_CONFIG_PATH=" + c.ConfigFile(), "DATABASE_URL=" + c.URL(),
	}, append(c.queueEnvironment(), more...)...)
}

// StartServer returns when tasker-server answers.
func (c *Cluster) StartServer(ctx context.Context) {
	c.t.Helper()
	level := c.options.ServerLogLevel
	if level == "" {
		level = "info"
	}
	command := exec.Command(c.parts.Server)
	command.Dir = c.folder // a .env file anywhere else is not ours
	command.Env = c.environment("RUST_LOG=" + level)
	process, err := launch("tasker-server", command, c.serverLog(), nil)
	require.NoError(c.t, err)
	c.server = process
	require.NoError(c.t, until(ctx, process, func(ctx context.Context) error {
		return c.REST.Health(ctx)
	}))
}

func (c *Cluster) serverLog() string { return filepath.Join(c.folder, "tasker-server.log") }

// ServerLog is all that tasker-server has written.
func (c *Cluster) ServerLog() string {
	c.t.Helper()
	text, err := os.ReadFile(c.serverLog())
	require.NoError(c.t, err)
	return string(text)
}

// StopServer asks tasker-server to end, and waits until it has.
func (c *Cluster) StopServer() {
	c.t.Helper()
	require.NoError(c.t, c.server.stop(syscall.SIGTERM, patience))
}

// KillServer ends tasker-server without warning.
func (c *Cluster) KillServer() {
	c.t.Helper()
	require.NoError(c.t, c.server.signal(syscall.SIGKILL, true))
	<-c.server.exited
}

// PauseServer halts tasker-server, which then neither does nor loses anything.
func (c *Cluster) PauseServer() {
	c.t.Helper()
	require.NoError(c.t, c.server.pause())
}

// ResumeServer lets a paused tasker-server go on.
func (c *Cluster) ResumeServer() {
	c.t.Helper()
	require.NoError(c.t, c.server.signal(syscall.SIGCONT, true))
}
