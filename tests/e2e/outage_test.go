package e2e_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/tests/cluster"
)

// alone is a cluster for a test that takes it apart. What its server was doing
// at that moment it does again after a few seconds.
func alone(t *testing.T) *cluster.Cluster {
	t.Helper()
	return cluster.Start(t, cluster.Options{Config: quickServer()})
}

// quickServer configures a server for that.
func quickServer() map[string]any {
	return map[string]any{
		"common.queues.default_visibility_timeout_seconds":                             3,
		"orchestration.event_systems.orchestration.timing.visibility_timeout_seconds":  3,
		"orchestration.event_systems.task_readiness.timing.visibility_timeout_seconds": 3,
	}
}

func TestADatabaseThatCrashesAgainAndAgainLosesNothing(t *testing.T) {
	t.Parallel() // it waits most of the time
	p := newProject(t, alone(t), "crashes", chain(3, "steps.Work")...)
	for range 2 {
		p.worker("--visibility-timeout", "5s")
	}
	var ids []string
	for range 4 {
		ids = append(ids, p.createMany(6, map[string]any{"ms": 150})...)
		p.awaitFinished(len(ids) * 3 / 2) // something is always under way
		p.StopPostgres(cluster.Immediate)
		p.StartPostgres(t.Context())
	}
	p.requireDone(ids)
}

// The outage is longer than the visibility timeout, so each step that ran when
// it began may be taken over afterwards; one result counts.
func TestADatabaseThatIsAwayForHalfAMinuteLosesNothing(t *testing.T) {
	t.Parallel() // it waits most of the time
	p := newProject(t, alone(t), "outage", chain(3, "steps.Work")...)
	one, two := p.worker("--visibility-timeout", "5s"), p.worker("--visibility-timeout", "5s")
	ids := p.createMany(20, map[string]any{"ms": 300})
	p.awaitFinished(10)
	p.StopPostgres(cluster.Immediate)
	time.Sleep(30 * time.Second) // what the test is about
	for _, w := range []*cluster.Worker{one, two} {
		require.Error(t, w.REST.Get(t.Context(), "/health/ready", nil))
		require.NoError(t, w.REST.Get(t.Context(), "/health/live", nil))
	}
	p.StartPostgres(t.Context())
	p.requireDone(ids)
	require.NoError(t, one.Ready(t.Context()))
	require.NoError(t, two.Ready(t.Context()))
}

func TestConnectionsThatTheDatabaseEndsAreMadeAgain(t *testing.T) {
	p := newProject(t, alone(t), "cut", chain(3, "steps.Work")...)
	p.worker()
	p.worker()
	p.requireDoneThough(func(int) int { return p.TerminateConnections(t.Context(), "taskerpy%") })
}

// requireDoneThough requires that tasks are done although connections are ended
// thirty times, and that no handler runs again for that.
func (p *project) requireDoneThough(end func(i int) (ended int)) {
	p.t.Helper()
	ids := p.createMany(20, map[string]any{"ms": 50})
	ended := 0
	for i := range 30 {
		p.awaitFinished(2 * i) // they are spread over all of it
		ended += end(i)
	}
	require.Greater(p.t, ended, 30)
	p.requireDone(ids)
	for _, s := range p.steps(ids...) {
		require.Equal(p.t, 1, p.noted("ran")[s.ID], "no handler runs again for a connection")
	}
}

// Item 11 of the conformance checklist. The poll is ten minutes away, so whatever
// is claimed after the restart was heard of.
func TestNotificationsAreHeardAfterARestartOfTheDatabase(t *testing.T) {
	p := newProject(t, alone(t), "restart", chain(2, "steps.Gate")...)
	w := p.worker("--visibility-timeout", "1h", "--poll-interval", "10m")
	before := p.create("flow", nil)
	p.awaitNotes("entered", 1)
	p.StopPostgres(cluster.Fast)
	p.open() // the result is in flight
	require.Eventually(t, func() bool { return p.metric(w, "tasker_worker_database_up") == 0 }, patience, 10*time.Millisecond)
	p.StartPostgres(t.Context())
	p.requireDone([]string{before})
	require.Eventually(t, func() bool { return p.metric(w, "tasker_worker_listening") == 1 }, patience, 10*time.Millisecond)
	p.requireDone(p.createMany(3, nil))
	require.Len(t, p.noted("left"), 8)
}

// Item 12. Messages are sent, but nobody is told.
func TestMessagesWithoutANotificationAreFoundByPolling(t *testing.T) {
	p := newProject(t, alone(t), "silent", chain(2, "steps.Work")...)
	w := p.worker("--poll-interval", "200ms")
	_, err := p.DB().Exec(t.Context(), `CREATE OR REPLACE FUNCTION tasker.pgmq_send_with_notify(queue_name text, message jsonb, delay_seconds int DEFAULT 0)
		RETURNS bigint LANGUAGE sql AS $$ SELECT pgmq.send(queue_name, message, delay_seconds) $$`)
	require.NoError(t, err)
	ids := p.createMany(2, nil)
	p.TerminateConnections(t.Context(), "taskerpy%")
	ids = append(ids, p.createMany(2, nil)...)
	p.requireDone(ids)
	require.NoError(t, w.Ready(t.Context()))
}

func TestResultsWaitForAServerThatWasKilled(t *testing.T) {
	t.Parallel() // it waits most of the time
	p := newProject(t, alone(t), "headless", chain(3, "steps.Work")...)
	p.worker()
	p.worker()
	ids := p.createMany(15, map[string]any{"ms": 50})
	for i := range 3 {
		p.awaitFinished(10 * (i + 1))
		p.KillServer()
		// Workers finish what they can reach.
		p.awaitNumber(1, `SELECT (count(*) = 0)::int FROM `+p.queue())
		p.StartServer(t.Context())
	}
	p.requireDone(ids)
	for _, s := range p.steps(ids...) {
		require.LessOrEqual(t, p.noted("ran")[s.ID], 1)
	}
}
