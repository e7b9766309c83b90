package cluster

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
)

// queues is the database with the queues, where that is one of its own.
const queues = "queues"

// only leaves in a database that was copied from another one what belongs into
// it: the queues with the functions for them, or everything else.
var only = map[string][]string{
	queues: {
		`DO $$ DECLARE name text; BEGIN
		   FOR name IN SELECT format('%I.%I', schemaname, viewname) FROM pg_views WHERE schemaname = 'tasker' LOOP EXECUTE 'DROP VIEW IF EXISTS ' || name || ' CASCADE'; END LOOP;
		   FOR name IN SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'tasker' LOOP EXECUTE 'DROP TABLE IF EXISTS ' || name || ' CASCADE'; END LOOP;
		   FOR name IN SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = 'tasker'::regnamespace AND proname NOT LIKE '%pgmq%' AND proname <> 'extract_queue_namespace'
		   LOOP EXECUTE 'DROP FUNCTION ' || name || ' CASCADE'; END LOOP;
		 END $$`,
		`DELETE FROM public._sqlx_migrations WHERE version NOT IN (20250810140001, 20250826180921)`,
	},
	database: {
		`DROP EVENT TRIGGER pgmq_headers_compatibility_trigger`,
		`DROP EXTENSION pgmq CASCADE`,
		`DROP SCHEMA IF EXISTS pgmq CASCADE`,
		`DO $$ DECLARE name text; BEGIN
		   FOR name IN SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = 'tasker'::regnamespace AND (proname LIKE '%pgmq%' OR proname = 'extract_queue_namespace')
		   LOOP EXECUTE 'DROP FUNCTION ' || name || ' CASCADE'; END LOOP;
		 END $$`,
		`DELETE FROM public._sqlx_migrations WHERE version IN (20250810140001, 20250826180921)`,
	},
}

// separateQueues gives the queues a database of their own, and leaves the
// deployment's without anything of them.
func (c *Cluster) separateQueues(ctx context.Context) error {
	conn, err := c.postgres.connect(ctx, "template1")
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", queues, database))
	if err := conn.Close(ctx); err != nil {
		return err
	}
	if err != nil {
		return fmt.Errorf("create the database of the queues: %w", err)
	}
	for name, statements := range only {
		if err := c.in(ctx, name, statements); err != nil {
			return fmt.Errorf("separate queues and tasks: %w", err)
		}
	}
	return nil
}

func (c *Cluster) in(ctx context.Context, database string, statements []string) error {
	conn, err := c.postgres.connect(ctx, database)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }() // nothing is lost with it
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// QueueURL is where a worker finds the queues; "" if that is at URL.
func (c *Cluster) QueueURL() string {
	if !c.options.QueueDatabase {
		return ""
	}
	return c.postgres.url(queues)
}

// QueueDB is a pool for looking at the queues. It is DB where they are there.
func (c *Cluster) QueueDB() *pgxpool.Pool { return c.queuePool }

// queueEnvironment tells programs where the queues are.
func (c *Cluster) queueEnvironment() []string {
	if !c.options.QueueDatabase {
		return nil
	}
	return []string{"PGMQ_DATABASE_URL=" + c.QueueURL()}
}

// queueConfig tells tasker-server to look for the variable.
func (c *Cluster) queueConfig() map[string]any {
	if !c.options.QueueDatabase {
		return nil
	}
	return map[string]any{
		"common.pgmq_database.url": "${PGMQ_DATABASE_URL}", "common.pgmq_database.enabled": true,
		"common.pgmq_database.pool.max_connections": 25, "common.pgmq_database.pool.min_connections": 5,
		"common.pgmq_database.pool.acquire_timeout_seconds": 10, "common.pgmq_database.pool.idle_timeout_seconds": 300,
		"common.pgmq_database.pool.max_lifetime_seconds": 1800, "common.pgmq_database.pool.slow_acquire_threshold_ms": 100,
	}
}

// TerminateQueueConnections is TerminateConnections for the database of the
// queues.
func (c *Cluster) TerminateQueueConnections(ctx context.Context, pattern string) int {
	c.t.Helper()
	return c.terminate(ctx, c.queuePool, pattern)
}

// CutOffQueues makes the database of the queues refuse connections, and ends
// those whose application_name is like the pattern. A pool that is open goes on
// to work with it, such as QueueDB, if it has made its connections.
func (c *Cluster) CutOffQueues(ctx context.Context, pattern string) {
	c.t.Helper()
	require.NoError(c.t, c.queuePool.Ping(ctx))
	_, err := c.pool.Exec(ctx, "ALTER DATABASE "+queues+" ALLOW_CONNECTIONS false")
	require.NoError(c.t, err)
	c.TerminateQueueConnections(ctx, pattern)
}

// ReconnectQueues ends what CutOffQueues began.
func (c *Cluster) ReconnectQueues(ctx context.Context) {
	c.t.Helper()
	_, err := c.pool.Exec(ctx, "ALTER DATABASE "+queues+" ALLOW_CONNECTIONS true")
	require.NoError(c.t, err)
}
