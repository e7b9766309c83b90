package cluster_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/tests/built"
	"github.com/tasker-systems/taskerpy/tests/cluster"
)

// connect opens a connection as a worker would.
func connect(t *testing.T, c *cluster.Cluster, application string) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(c.URL())
	require.NoError(t, err)
	config.RuntimeParams["application_name"] = application
	conn, err := pgx.ConnectConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func TestADatabaseIsMadeFromNothing(t *testing.T) {
	t.Setenv("DEPLOYMENT_CACHE", withCache(t, t.TempDir()))
	ctx := t.Context()
	c := cluster.Start(t, cluster.Options{NoServer: true, NoSync: true})

	var schema, pgmq string
	require.NoError(t, c.DB().QueryRow(ctx, `SELECT current_schema(), extversion FROM pg_extension WHERE extname = 'pgmq'`).
		Scan(&schema, &pgmq))
	require.Equal(t, "tasker", schema, "the role's search_path must find the schema")
	require.NotEmpty(t, pgmq)
	var migrations int
	require.NoError(t, c.DB().QueryRow(ctx, "SELECT count(*) FROM _sqlx_migrations WHERE success").Scan(&migrations))
	require.Equal(t, 8, migrations)
	var version, variant string
	require.NoError(t, c.DB().QueryRow(ctx, "SELECT substr(u, 15, 1), substr(u, 20, 1) FROM (SELECT uuidv7()::text) AS _(u)").
		Scan(&version, &variant))
	require.Equal(t, "7", version)
	require.Contains(t, "89ab", variant)
	var fsync string
	require.NoError(t, c.DB().QueryRow(ctx, "SHOW fsync").Scan(&fsync))
	require.Equal(t, "off", fsync)
}

// withCache skips the test without a deployment, before a folder hides that.
func withCache(t *testing.T, folder string) string {
	cluster.Find(t)
	return folder
}

func TestPostgresComesBackWithItsDataOnItsPort(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]cluster.StopMode{"fast": cluster.Fast, "immediate": cluster.Immediate} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			c := cluster.Start(t, cluster.Options{NoServer: true})
			_, err := c.DB().Exec(ctx, "SELECT pgmq.create('kept')")
			require.NoError(t, err)

			c.StopPostgres(mode)
			require.Error(t, c.DB().Ping(ctx))
			c.StartPostgres(ctx)

			var queues []string
			require.NoError(t, c.DB().QueryRow(ctx, "SELECT array_agg(queue_name) FROM pgmq.meta").Scan(&queues))
			require.Equal(t, []string{"kept"}, queues)
		})
	}
}

func TestConnectionsAreTerminatedByName(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c := cluster.Start(t, cluster.Options{NoServer: true})
	one, two := connect(t, c, "worker-one"), connect(t, c, "worker-two")

	require.Equal(t, 1, c.TerminateConnections(ctx, "%one"))

	require.Error(t, one.Ping(ctx))
	require.NoError(t, two.Ping(ctx))
	require.Equal(t, 1, c.TerminateConnections(ctx, "%"), "the tests' own connections stay")
	require.Error(t, two.Ping(ctx))
}

func TestStatementsAreCounted(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c := cluster.Start(t, cluster.Options{NoServer: true})
	conn := connect(t, c, "worker")
	other := connect(t, c, "other")
	run := func(conn *pgx.Conn, sql string, args ...any) {
		_, err := conn.Exec(ctx, sql, args...)
		require.NoError(t, err)
	}

	run(conn, "SELECT 1")
	require.Empty(t, c.Statements("worker"))
	c.LogStatements(ctx, true)
	run(conn, "SELECT 2")
	run(conn, "SELECT $1::int\n\t+ 1", 3)
	run(other, "SELECT 4")
	run(conn, "BEGIN")
	run(conn, "COMMIT")
	c.LogStatements(ctx, false)
	run(conn, "SELECT 5")

	require.Equal(t, []string{"SELECT 2", "SELECT $1::int + 1", "BEGIN", "COMMIT"}, c.Statements("worker"))
}

func TestSettingsReachPostgresAndTheConfiguration(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{
		NoServer:      true,
		LogStatements: true,
		Postgres:      map[string]string{"TimeZone": "Asia/Kolkata"},
		Config:        map[string]any{"common.backoff.default_backoff_seconds": []int{7}, "worker.grpc.enabled": false},
	})
	conn := connect(t, c, "worker")
	var zone string
	require.NoError(t, conn.QueryRow(t.Context(), "SHOW TimeZone").Scan(&zone))
	require.Equal(t, "Asia/Kolkata", zone)
	require.Contains(t, c.Statements("worker"), "SHOW TimeZone")
	config, err := os.ReadFile(c.ConfigFile())
	require.NoError(t, err)
	require.Contains(t, string(config), "default_backoff_seconds = [7]")
	require.Contains(t, string(config), "[worker.grpc]\nenabled = false")
}

// linear starts a deployment with a worker of the published package.
func linear(t *testing.T) *cluster.Cluster {
	c := cluster.Start(t, cluster.Options{})
	folder := filepath.Join(built.Root(), "examples", "linear")
	c.StartReferenceWorker(t.Context(), folder, folder)
	return c
}

func create(t *testing.T, c *cluster.Cluster, number int) string {
	return c.CreateTask(t.Context(), "mathematical_sequence_py", "linear_workflow_py", "1.0.0", map[string]any{"even_number": number})
}

func TestTheServerIsPausedKilledAndStartedAgain(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c := linear(t)

	c.PauseServer()
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, c.REST.Health(short), context.DeadlineExceeded)
	c.ResumeServer()
	require.NoError(t, c.REST.Health(ctx))

	require.Equal(t, "complete", c.WaitTask(ctx, create(t, c, 4)).Status)

	c.KillServer()
	require.Error(t, c.REST.Health(ctx))
	c.StartServer(ctx)
	require.Equal(t, "complete", c.WaitTask(ctx, create(t, c, 6)).Status)

	c.StopServer()
	require.Error(t, c.REST.Health(ctx))
	c.StartServer(ctx)
	require.Equal(t, "complete", c.WaitTask(ctx, create(t, c, 8)).Status)
}

func TestAFailedTaskIsWaitedForToo(t *testing.T) {
	t.Parallel()
	c := linear(t)
	task := c.WaitTask(t.Context(), create(t, c, 5))
	require.Equal(t, "blocked_by_failures", task.Status)
	require.Equal(t, "error", c.Steps(t.Context(), task.ID)["linear_step_1_py"].State)
}

func TestUnknownTasksAreErrorsOfTheClient(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	_, err := c.REST.Task(t.Context(), "01a2101d-522a-7ea1-9204-05ccba7c32ea")
	var status *cluster.StatusError
	require.ErrorAs(t, err, &status)
	require.Equal(t, 404, status.Status)
}

// A test that is killed leaves no programs behind.
func TestNothingOutlivesTheTests(t *testing.T) {
	t.Parallel()
	cluster.Find(t)
	output, err := os.Create(filepath.Join(t.TempDir(), "addresses"))
	require.NoError(t, err)
	defer output.Close()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestHelperKilled$")
	child.Env = append(os.Environ(), "CLUSTER_TEST_HELPER="+output.Name())
	require.ErrorContains(t, child.Run(), "signal: killed")

	text, err := os.ReadFile(output.Name())
	require.NoError(t, err)
	var postgres, server, folder string
	_, err = fmt.Sscan(string(text), &postgres, &server, &folder)
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	for _, address := range []string{postgres, server} {
		require.Eventually(t, func() bool {
			conn, err := net.Dial("tcp", address)
			if err == nil {
				_ = conn.Close()
			}
			return err != nil
		}, time.Minute, 10*time.Millisecond, address)
	}
}

// TestHelperKilled is what TestNothingOutlivesTheTests runs and what is killed.
func TestHelperKilled(t *testing.T) {
	output := os.Getenv("CLUSTER_TEST_HELPER")
	if output == "" {
		t.Skip("only run by another test")
	}
	c := cluster.Start(t, cluster.Options{})
	postgres, err := url.Parse(c.URL())
	require.NoError(t, err)
	server, err := url.Parse(c.ServerURL())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(output, []byte(postgres.Host+" "+server.Host+" "+c.Folder()), 0o600))
	self, err := os.FindProcess(os.Getpid())
	require.NoError(t, err)
	require.NoError(t, self.Kill())
	select {}
}

func TestWithoutADeploymentTestsAreSkippedUnlessItIsRequired(t *testing.T) {
	run := func(required string) (string, error) {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestUnknownTasksAreErrorsOfTheClient$", "-test.v")
		child.Env = append(os.Environ(), "DEPLOYMENT_SERVER=", "DEPLOYMENT_REQUIRED="+required)
		out, err := child.CombinedOutput()
		return string(out), err
	}
	out, err := run("")
	require.NoError(t, err)
	require.Contains(t, out, "--- SKIP: TestUnknownTasksAreErrorsOfTheClient")
	require.Contains(t, out, "DEPLOYMENT_SERVER")

	out, err = run("1")
	require.Error(t, err)
	require.Contains(t, out, "--- FAIL: TestUnknownTasksAreErrorsOfTheClient")
	require.Contains(t, out, "make e2e")
}
