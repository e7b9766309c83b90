package postgres

import (
	"context"
	"testing"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/tests/cluster"
)

// newSplitDeployment has its queues in a database of their own, whatever the
// flag says.
func newSplitDeployment(t *testing.T) *deployment {
	t.Helper()
	return newDeployment(t, cluster.Options{QueueDatabase: true})
}

// crash takes a worker away: what it has not done it will never do.
func crash(s *Source) {
	die(s)
	s.giveUp()
	<-s.flushed
}

// storedOnly has a worker store a result of which the server cannot be told.
func (d *deployment) storedOnly(s *Source, step *dispatch.Step) {
	d.t.Helper()
	d.CutOffQueues(d.t.Context(), "taskerpy%")
	s.Complete(step, success(step, `{"kept":true}`))
	require.Eventually(d.t, func() bool { return d.state(step.StepUUID) == "enqueued_for_orchestration" }, time.Minute, time.Millisecond)
	require.Zero(d.t, d.waiting("orchestration_step_results"))
	require.Equal(d.t, 1, d.waiting("worker_shop_queue"), "the message stays until the server is told")
}

func quick(o *Options) { o.Visibility, o.Poll = time.Second, 50*time.Millisecond }

func patient(o *Options) { o.Visibility, o.Poll = time.Hour, time.Hour }

// claiming claims in the background, for what a claim does besides.
func claiming(t *testing.T, s *Source) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := s.Claim(ctx, 1); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

func TestTheServerIsToldOfResultsWhenItsQueueIsBack(t *testing.T) {
	d := newSplitDeployment(t)
	s := d.open(patient)
	d.enqueue(1, "check_order")
	d.storedOnly(s, claimed(t, s, 1)[0])
	require.Eventually(t, func() bool { return s.Health() != nil }, time.Minute, time.Millisecond)
	require.ErrorIs(t, s.Health(), ErrUnavailable)
	require.ErrorIs(t, s.Ping(t.Context()), ErrUnavailable)
	require.Equal(t, 1, s.Stats().Unstored)

	d.ReconnectQueues(t.Context())
	synced(t, s)
	require.Equal(t, 1, d.told())
	require.Zero(t, d.waiting("worker_shop_queue"))
	require.Zero(t, s.Stats().Unstored)
	require.Zero(t, s.Stats().Held)
	d.enqueue(1, "check_order")
	claimed(t, s, 1)
	require.NoError(t, s.Health())
}

func TestTheServerIsToldOfResultsOfAWorkerThatDiedBeforeIt(t *testing.T) {
	d := newSplitDeployment(t)
	dead := d.open(quick)
	d.enqueue(1, "check_order")
	step := claimed(t, dead, 1)[0]
	d.storedOnly(dead, step)
	crash(dead)
	d.ReconnectQueues(t.Context())

	s := d.open(quick)
	claiming(t, s)
	require.Eventually(t, func() bool { return d.waiting("worker_shop_queue") == 0 }, time.Minute, 5*time.Millisecond)
	require.Equal(t, 1, d.told())
	require.Equal(t, 1, d.countMessages(`SELECT count(*) FROM pgmq.q_orchestration_step_results WHERE message = jsonb_build_object(
		'task_uuid', $1::uuid, 'step_uuid', $2::uuid, 'correlation_id', $3::uuid)`, step.TaskUUID, step.StepUUID, step.CorrelationID))
	require.Equal(t, object{"kept": true}, d.stored(step.StepUUID)["result"])
	require.Equal(t, 1, d.count(`SELECT count(*) FROM tasker.workflow_step_transitions WHERE to_state = 'in_progress'`), "it does not run again")
}

func TestASweepFindsResultsOfAWorkerThatDiedBeforeTheServerWasTold(t *testing.T) {
	d := newSplitDeployment(t)
	dead := d.open(patient)
	d.enqueue(1, "check_order")
	d.storedOnly(dead, claimed(t, dead, 1)[0])
	crash(dead)
	d.ReconnectQueues(t.Context())

	s := d.open(patient) // the step's message does not come again
	sweepUntil(t, s, func() bool { return d.waiting("orchestration_step_results") > 0 })
	require.NoError(t, s.sweep(t.Context(), 0, misjudgedLately))
	require.Equal(t, 1, d.waiting("orchestration_step_results"))
}

func TestEventsOfAWorkerThatDiedBeforeTheServerWasToldArePublished(t *testing.T) {
	d := newSplitDeployment(t)
	dead := d.open(quick)
	d.enqueue(1, "report")
	step := claimed(t, dead, 1)[0]
	d.storedOnly(dead, step)
	crash(dead)
	d.ReconnectQueues(t.Context())

	s := d.open(quick)
	claiming(t, s)
	all, err := s.Publications(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, 1, d.told(), "the server is told first")
	require.Equal(t, 1, d.waiting("worker_shop_queue"))
	require.NoError(t, s.Published(t.Context(), all[0], []dispatch.DomainEvent{{JSON: []byte(`{"event_name": "shop.order.reported"}`)}}))
	require.Equal(t, 1, d.waiting("shop_domain_events"))
	require.Zero(t, d.waiting("worker_shop_queue"))
}

func TestStepsThatWereHandedBackAreShownWhenTheirQueueIsBack(t *testing.T) {
	d := newSplitDeployment(t)
	s := d.open(patient)
	id := d.enqueue(1, "check_order")[0]
	step := claimed(t, s, 1)[0]
	d.CutOffQueues(t.Context(), "taskerpy%")
	s.Complete(step, dispatch.Result{Outcome: dispatch.Unstarted})
	require.Eventually(t, func() bool { return d.state(id) == "enqueued" }, time.Minute, time.Millisecond)
	d.ReconnectQueues(t.Context())
	require.NoError(t, s.Close(t.Context()))

	other := d.open(patient)
	require.Equal(t, 1, claimed(t, other, 1)[0].Attempt)
}

// The visibility timeout is an hour, so what was read is remembered.
func TestMessagesThatWereReadAreClaimedWhenTheDatabaseIsBack(t *testing.T) {
	d := newSplitDeployment(t)
	s := d.open(patient)
	ids := d.enqueue(3, "check_order")
	tx, err := d.DB().Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `LOCK TABLE tasker.workflow_step_transitions`)
	require.NoError(t, err)
	got := make(chan []*dispatch.Step, 1)
	go func() {
		steps, _ := s.Claim(t.Context(), 3)
		got <- steps
	}()
	require.Eventually(t, func() bool {
		return d.countMessages(`SELECT count(*) FROM pgmq.q_worker_shop_queue WHERE read_ct = 1`) == 3 &&
			d.count(`SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'taskerpy%' AND wait_event_type = 'Lock' AND query LIKE '%unnest($2::bigint[], $4%'`) == 1
	}, time.Minute, time.Millisecond)
	require.Positive(t, d.TerminateConnections(t.Context(), "taskerpy%"))
	require.Eventually(t, func() bool { return s.Health() != nil }, time.Minute, time.Millisecond)
	require.NoError(t, tx.Rollback(t.Context()))

	var found []uuid.UUID
	for _, step := range <-got {
		found = append(found, step.StepUUID)
		require.Equal(t, 1, step.Attempt)
	}
	require.ElementsMatch(t, ids, found)
	require.Equal(t, 3, d.countMessages(`SELECT count(*) FROM pgmq.q_worker_shop_queue WHERE read_ct = 1`))
}

// While the queues are away their messages cannot be kept out of sight.
func TestRunningStepsStayOursWhileTheQueuesAreAway(t *testing.T) {
	d := newSplitDeployment(t)
	s := d.open(quick)
	id := d.enqueue(1, "check_order")[0]
	step := claimed(t, s, 1)[0]
	d.CutOffQueues(t.Context(), "taskerpy%")
	began := d.clock()
	require.Eventually(t, func() bool {
		return d.count(`SELECT count(*) FROM tasker.workflow_step_transitions WHERE to_state = 'in_progress' AND updated_at > $1::timestamp + interval '2 seconds'`, began) == 1
	}, time.Minute, 10*time.Millisecond)
	d.ReconnectQueues(t.Context())
	other := d.open(quick)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err := other.Claim(ctx, 1)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	s.Complete(step, success(step, `{}`))
	synced(t, s)
	require.Equal(t, "enqueued_for_orchestration", d.state(id))
	require.Zero(t, other.Stats().Takeovers)
	require.Equal(t, 1, d.told())
}

// clock is the database's, as its columns have it.
func (d *deployment) clock() (now time.Time) {
	d.t.Helper()
	require.NoError(d.t, d.DB().QueryRow(d.t.Context(), `SELECT now() AT TIME ZONE 'UTC'`).Scan(&now))
	return now
}

func TestABatchIsTwoStatementsEachWayWhereTheQueuesAreApart(t *testing.T) {
	newSplitDeployment(t).requireBatches(30)
}

func TestEitherDatabaseMustHaveWhatIsLookedForInIt(t *testing.T) {
	d := newSplitDeployment(t)
	o := Options{URL: d.QueueURL(), QueueURL: d.URL()}
	_, err := Open(t.Context(), o)
	require.ErrorContains(t, err, "queues lacks the table tasker.workflow_step_transitions: run the migrations")
	o.URL = d.URL()
	_, err = Open(t.Context(), o)
	require.ErrorContains(t, err, "queue database: database is not available: tasker lacks the extension pgmq, the function tasker.pgmq_send_with_notify")
}

func TestAQueueDatabaseIsConnectedToAsOftenAsItMay(t *testing.T) {
	d := newSplitDeployment(t)
	s := d.open(func(o *Options) { o.MaxConnections, o.QueueMaxConnections = 7, 4 })
	require.Equal(t, 7, s.Pool().Max)
	require.Equal(t, 3, s.QueuePool().Max, "one listens")
	s = d.open(func(o *Options) { o.MaxConnections = 7 })
	require.Equal(t, 6, s.QueuePool().Max)
}
