package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/tests/cluster"
)

// apart is a cluster whose queues are in a database of their own: what belongs
// to the other one does not exist in either.
func apart(t *testing.T) *cluster.Cluster {
	t.Helper()
	c := cluster.Start(t, cluster.Options{QueueDatabase: true, Config: quickServer()})
	for _, there := range []struct {
		query string
		n     int
	}{
		{`SELECT count(*) FROM pg_namespace WHERE nspname = 'pgmq'`, 0},
		{`SELECT count(*) FROM pg_proc WHERE proname LIKE 'pgmq_%'`, 0},
	} {
		var n int
		require.NoError(t, c.DB().QueryRow(t.Context(), there.query).Scan(&n))
		require.Equal(t, there.n, n, there.query)
	}
	var tables int
	require.NoError(t, c.QueueDB().QueryRow(t.Context(), `SELECT count(*) FROM pg_tables WHERE schemaname = 'tasker'`).Scan(&tables))
	require.Zero(t, tables)
	return c
}

func TestWorkersOfADeploymentWhoseQueuesAreApart(t *testing.T) {
	c := apart(t)
	t.Run("chains complete", func(t *testing.T) {
		p := newProject(t, c, "apart", chain(4, "steps.Work")...)
		p.worker("--visibility-timeout", "1h", "--poll-interval", "10m") // what it does it has heard of
		ids := p.createMany(10, nil)
		p.requireDone(ids)
		for _, s := range p.steps(ids...) {
			require.Equal(t, 1, s.Attempts)
			require.Equal(t, 1, p.noted("ran")[s.ID])
		}
	})
	t.Run("failures are retried", func(t *testing.T) {
		p := newProject(t, c, "apart_retry", "{name: one, handler: {callable: steps.Failing}, retry: {retryable: true, max_attempts: 3, backoff: none}}")
		p.worker()
		retried := p.create("flow", map[string]any{"failures": 2, "permanent": false})
		failed := p.create("flow", map[string]any{"failures": 1, "permanent": true})
		require.Equal(t, "complete", p.WaitTask(t.Context(), retried).Status)
		require.Equal(t, 3, p.steps(retried)[0].Attempts)
		require.Equal(t, "blocked_by_failures", p.WaitTask(t.Context(), failed).Status)
		require.Equal(t, 1, p.steps(failed)[0].Attempts)
		p.requireNothingLeft()
	})
	t.Run("domain events are sent", func(t *testing.T) {
		p := newProject(t, c, "apart_events", "{name: one, handler: {callable: steps.Work}, publishes_events: [{name: work.done, description: done, condition: success, schema: {type: object}, delivery_mode: durable}]}")
		p.worker()
		ids := p.createMany(3, nil)
		p.requireDone(ids)
		require.Equal(t, 3, p.queued(`SELECT count(*) FROM pgmq.q_apart_events_domain_events WHERE message->>'event_name' = 'work.done'`))
	})
	t.Run("steps of killed workers are taken over", func(t *testing.T) {
		p := newProject(t, c, "apart_killed", chain(3, "steps.Work")...)
		options := []string{"--visibility-timeout", "3s", "--concurrency", "8"}
		w := p.worker(options...)
		p.worker(options...)
		var ids []string
		for range 4 {
			ids = append(ids, p.createMany(6, map[string]any{"ms": 200})...)
			p.awaitNumber(2, inProgress, p.uuid(w)) // it is in the middle of a batch
			w.Kill()
			w = p.worker(options...)
		}
		p.requireDone(ids)
	})
	t.Run("workers that stop hand their steps back", func(t *testing.T) {
		p := newProject(t, c, "apart_stopped", chain(1, "steps.Gate")...)
		options := []string{"--visibility-timeout", "1h", "--poll-interval", "10m"}
		first := p.worker(append(options, "--drain-timeout", "1s")...)
		id := p.create("flow", nil)
		p.awaitNotes("entered", 1)
		_, err := first.Stop()
		require.NoError(t, err)
		p.open()
		p.worker(options...)
		p.requireDone([]string{id})
		require.Equal(t, 1, p.steps(id)[0].History.count("in_progress", "enqueued"))
	})
}

func TestConnectionsThatEitherDatabaseEndsAreMadeAgain(t *testing.T) {
	p := newProject(t, apart(t), "cut", chain(3, "steps.Work")...)
	p.worker("--visibility-timeout", "5s")
	p.worker("--visibility-timeout", "5s")
	p.requireDoneThough(func(i int) int {
		if i%3 == 0 {
			return p.TerminateConnections(t.Context(), "taskerpy%")
		}
		return p.TerminateQueueConnections(t.Context(), "taskerpy%")
	})
}

// A crash undoes what did not wait for the disk, in each database for itself.
func TestTwoDatabasesThatCrashAgainAndAgainLoseNothing(t *testing.T) {
	t.Parallel() // it waits most of the time
	p := newProject(t, apart(t), "crashes", chain(3, "steps.Work")...)
	for range 2 {
		p.worker("--visibility-timeout", "5s")
	}
	var ids []string
	for range 3 {
		ids = append(ids, p.createMany(6, map[string]any{"ms": 150})...)
		p.awaitFinished(len(ids) * 3 / 2) // something is always under way
		p.StopPostgres(cluster.Immediate)
		p.StartPostgres(t.Context())
	}
	p.requireDone(ids)
}

// The queues are away while results are stored: the server is told of them
// afterwards, by the worker or, if that is killed meanwhile, by another.
func TestResultsThatTheServerCannotBeToldOfAreNotLost(t *testing.T) {
	for name, killed := range map[string]bool{"by the worker": false, "by another worker": true} {
		t.Run(name, func(t *testing.T) {
			p := newProject(t, apart(t), "untold", chain(2, "steps.Gate")...)
			options := []string{"--visibility-timeout", "3s", "--concurrency", "8"}
			w := p.worker(options...)
			ids := p.createMany(5, nil)
			p.awaitNotes("entered", 5)
			p.CutOffQueues(t.Context(), "taskerpy%")
			p.open()
			p.awaitNumber(5, `SELECT count(*) FROM tasker.workflow_step_transitions WHERE most_recent AND to_state = 'enqueued_for_orchestration'`)
			require.Zero(t, p.queued(`SELECT count(*) FROM pgmq.q_orchestration_step_results`))
			require.Error(t, w.REST.Get(t.Context(), "/health/ready", nil))
			if killed {
				w.Kill()
			}
			p.ReconnectQueues(t.Context())
			if killed {
				p.worker(options...)
			}
			p.requireDone(ids)
			for _, s := range p.steps(ids...) {
				require.Equal(t, 1, p.noted("entered")[s.ID], "it does not run again")
			}
		})
	}
}

// The death of a worker at every statement, in either database.
func TestAWorkerMayDieAtEveryStatementInEitherDatabase(t *testing.T) {
	p := newProject(t, apart(t), "statements", chain(2, "steps.Work")...)
	for _, database := range []string{"tasks", "queues"} {
		t.Run(database, func(t *testing.T) {
			p.in(t).requireSurvivesDeaths(database == "queues", 3)
		})
	}
}

func TestThePasswordOfTheQueuesDatabaseIsNotShown(t *testing.T) {
	c := cluster.Start(t, cluster.Options{NoServer: true, QueueDatabase: true})
	p := newProject(t, c, "secret", chain(1, "steps.Work")...)
	w := p.worker("--queue-database-url", strings.Replace(c.QueueURL(), "postgresql:", "postgres:", 1))
	var config any
	require.NoError(t, w.REST.Get(t.Context(), "/config", &config))
	require.NotContains(t, fmt.Sprint(config), c.Password())
	require.Contains(t, fmt.Sprint(config), "queue_database_url")
	code, err := w.Stop()
	require.NoError(t, err)
	require.Zero(t, code)
	require.NotContains(t, w.Log(), c.Password())
}
