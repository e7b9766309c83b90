package cluster

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
)

// Options are what a cluster is started with. The zero value is a deployment
// with its server running.
type Options struct {
	// NoServer leaves tasker-server to StartServer.
	NoServer bool
	// NoSync turns fsync off: what is measured is not the disk then.
	NoSync bool
	// LogStatements writes every statement to PostgreSQL's log, for Statements.
	LogStatements bool
	// Postgres are settings of PostgreSQL, such as TimeZone.
	Postgres map[string]string
	// Config changes the TOML file of server and workers: dotted keys, such as
	// common.backoff.default_backoff_seconds, with the value that each gets.
	Config map[string]any
	// ServerLogLevel is the RUST_LOG of tasker-server, info if empty.
	ServerLogLevel string
	// QueueDatabase gives the queues a database of their own, in the same
	// PostgreSQL. The one with the tasks then has nothing of them.
	QueueDatabase bool
	// ClockSkew is how much PostgreSQL's clock is ahead of everybody else's;
	// behind if it is negative. It needs Debian's package libfaketime.
	ClockSkew time.Duration
}

// Cluster is a deployment of Tasker that is gone when its test ends. Its methods
// fail the test when they cannot do what they are for; those of Client and the
// pool return errors.
type Cluster struct {
	// REST is the API of tasker-server.
	REST Client

	t testing.TB
	*running
}

// running is what the views of a cluster have in common.
type running struct {
	parts   Parts
	options Options
	folder  string
	as      *owner

	postgres *postgres
	server   *process
	pool     *pgxpool.Pool
	// queuePool is pool where the queues are in that database.
	queuePool *pgxpool.Pool

	mu       sync.Mutex
	workers  []*ReferenceWorker
	ours     []*Worker
	launched int // of ours
}

// Start makes a fresh cluster. It skips the test when scripts/deployment has not
// prepared the environment.
func Start(t testing.TB, options Options) *Cluster {
	t.Helper()
	parts := Find(t)
	as, err := findOwner()
	require.NoError(t, err)
	folder, err := as.folder("")
	require.NoError(t, err, "make a folder for PostgreSQL")
	c := &Cluster{t: t, running: &running{parts: parts, options: options, folder: folder, as: as}}
	t.Cleanup(c.close)

	ctx := t.Context()
	original, err := template(ctx, parts, as)
	require.NoError(t, err)
	require.NoError(t, as.copyTree(original, filepath.Join(folder, "data")))
	c.postgres = &postgres{program: parts.program("postgres"), folder: folder, as: as, database: database}
	if options.ClockSkew != 0 {
		c.postgres.environment, err = skewed(options.ClockSkew)
		require.NoError(t, err)
	}
	c.postgres.port, err = freePort()
	require.NoError(t, err)
	require.NoError(t, c.postgres.configure(options))
	require.NoError(t, c.postgres.start(ctx))
	if options.QueueDatabase {
		require.NoError(t, c.separateQueues(ctx))
		c.queuePool = c.observe(ctx, c.QueueURL())
	}
	c.pool = c.observe(ctx, c.URL())
	if c.queuePool == nil {
		c.queuePool = c.pool
	}
	require.NoError(t, c.prepareServer())
	if !options.NoServer {
		c.StartServer(ctx)
	}
	return c
}

// For gives another test, or a part of one, the same cluster: failures are that
// test's, and the workers of ours that it starts end with it.
func (c *Cluster) For(t testing.TB) *Cluster {
	t.Helper()
	view := &Cluster{REST: c.REST, t: t, running: c.running}
	c.mu.Lock()
	before := len(c.ours)
	c.mu.Unlock()
	since := time.Now()
	t.Cleanup(func() {
		if t.Failed() && c.options.ClockSkew == 0 {
			t.Logf("what has not ended:\n%s", c.history(since))
		}
		c.mu.Lock()
		mine := c.ours[before:]
		c.mu.Unlock()
		for _, w := range mine {
			w.Kill()
			if t.Failed() {
				t.Logf("%s:\n%s", filepath.Base(w.log), tail(w.log))
			}
		}
	})
	return view
}

// observe makes a pool for tests to look with.
func (c *Cluster) observe(ctx context.Context, url string) *pgxpool.Pool {
	c.t.Helper()
	config, err := pgxpool.ParseConfig(url)
	require.NoError(c.t, err)
	config.ConnConfig.RuntimeParams["application_name"] = observer
	config.ConnConfig.RuntimeParams["TimeZone"] = "UTC"
	pool, err := pgxpool.NewWithConfig(ctx, config)
	require.NoError(c.t, err)
	return pool
}

// observer is the application_name of the connections that tests look with.
const observer = "tests"

// URL is where a worker connects to. The role owns everything, as in the
// deployments that the reference describes.
func (c *Cluster) URL() string { return c.postgres.url(database) }

// Password is the role's, which must not be seen anywhere.
func (c *Cluster) Password() string { return password }

// DB is a pool for looking at the database. It survives PostgreSQL's restarts.
func (c *Cluster) DB() *pgxpool.Pool { return c.pool }

// Folder is a folder for files of the test, gone afterwards.
func (c *Cluster) Folder() string { return c.folder }

// StartPostgres starts PostgreSQL again, on the same port.
func (c *Cluster) StartPostgres(ctx context.Context) {
	c.t.Helper()
	require.NoError(c.t, c.postgres.start(ctx))
	// What they have is of before.
	c.pool.Reset()
	c.queuePool.Reset()
}

// StopPostgres returns when PostgreSQL has ended.
func (c *Cluster) StopPostgres(mode StopMode) {
	c.t.Helper()
	require.NoError(c.t, c.postgres.stop(mode))
}

// TerminateConnections ends the connections whose application_name is like the
// pattern (as in SQL: % is any text), except those of DB. It returns how many.
func (c *Cluster) TerminateConnections(ctx context.Context, pattern string) int {
	c.t.Helper()
	return c.terminate(ctx, c.pool, pattern)
}

// terminate is TerminateConnections for the database of a pool.
func (c *Cluster) terminate(ctx context.Context, pool *pgxpool.Pool, pattern string) int {
	c.t.Helper()
	var ended int
	require.NoError(c.t, pool.QueryRow(ctx, `
		SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
		WHERE datname = current_database() AND backend_type = 'client backend'
		  AND application_name LIKE $1 AND application_name <> $2`, pattern, observer).Scan(&ended))
	return ended
}

// PostgresLog is all that PostgreSQL has written to its log.
func (c *Cluster) PostgresLog() string {
	c.t.Helper()
	text, err := os.ReadFile(c.postgres.log())
	require.NoError(c.t, err)
	return string(text)
}

var statement = regexp.MustCompile(`^\S+ \S+ \S+ \[\d+\] (.*?): LOG:  (?:statement|execute [^:]*): (.*)$`)

// Statements are the statements that connections of this application_name have
// sent since LogStatements was turned on, in order and each on one line. Those
// that begin and end a transaction are among them.
func (c *Cluster) Statements(application string) []string {
	c.t.Helper()
	var all []string
	mine := false
	for line := range strings.Lines(c.PostgresLog()) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "\t"): // goes on
			if mine {
				all[len(all)-1] += " " + strings.TrimSpace(line)
			}
		default:
			found := statement.FindStringSubmatch(line)
			if mine = found != nil && found[1] == application; mine {
				all = append(all, strings.TrimSpace(found[2]))
			}
		}
	}
	return all
}

// LogStatements turns the log of statements on or off; the option of the same
// name has it on from the start.
func (c *Cluster) LogStatements(ctx context.Context, on bool) {
	c.t.Helper()
	value := "none"
	if on {
		value = "all"
	}
	_, err := c.pool.Exec(ctx, "ALTER SYSTEM SET log_statement = '"+value+"'")
	require.NoError(c.t, err)
	_, err = c.pool.Exec(ctx, "SELECT pg_reload_conf()")
	require.NoError(c.t, err)
	// PostgreSQL tells all connections before it makes another one.
	for {
		conn, err := c.postgres.connect(ctx, database)
		require.NoError(c.t, err)
		var now string
		err = conn.QueryRow(ctx, "SHOW log_statement").Scan(&now)
		require.NoError(c.t, errors.Join(err, conn.Close(ctx)))
		if now == value {
			return
		}
	}
}

// close ends everything, the youngest first, and shows the logs if the test failed.
func (c *Cluster) close() {
	c.mu.Lock()
	workers, ours := c.workers, c.ours
	c.mu.Unlock()
	for _, worker := range workers {
		worker.process.kill()
	}
	for _, worker := range ours {
		worker.Kill()
	}
	if c.server != nil {
		c.server.kill()
	}
	for _, pool := range []*pgxpool.Pool{c.pool, c.queuePool} {
		if pool != nil {
			pool.Close()
		}
	}
	if c.postgres != nil && c.postgres.process != nil {
		c.postgres.process.kill()
	}
	if c.t.Failed() {
		logs, _ := filepath.Glob(filepath.Join(c.folder, "*.log"))
		for _, log := range logs {
			c.t.Logf("%s:\n%s", filepath.Base(log), tail(log))
		}
	}
	if err := os.RemoveAll(c.folder); err != nil {
		c.t.Errorf("remove the cluster's folder: %v", err)
	}
}
