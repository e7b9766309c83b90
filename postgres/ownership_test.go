package postgres

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/tests/cluster"
)

// die takes a worker away without a goodbye: it stops beating and claiming.
func die(s *Source) {
	s.stop()
	s.running.Wait()
}

func TestAStepOfADeadWorkerIsTakenOver(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	dead := d.open(func(o *Options) { o.Visibility = time.Second })
	id := d.enqueue(1, "check_order")[0]
	abandoned := claimed(t, dead, 1)[0]
	die(dead)

	s := d.open(func(o *Options) { o.Visibility, o.Poll = time.Second, 100*time.Millisecond })
	step := claimed(t, s, 1)[0]
	require.Equal(t, id, step.StepUUID)
	require.Equal(t, 2, step.Attempt)
	require.EqualValues(t, 1, s.Stats().Takeovers)

	// It was not dead after all.
	dead.Complete(abandoned, success(abandoned, `{"by":"the dead"}`))
	synced(t, dead)
	require.EqualValues(t, 1, dead.Stats().Fenced)
	require.Equal(t, "in_progress", d.state(id))
	s.Complete(step, success(step, `{"by":"the living"}`))
	synced(t, s)
	require.Equal(t, object{"by": "the living"}, d.stored(id)["result"])
	require.Equal(t, 1, d.waiting("orchestration_step_results"))
}

// undoClaims takes all claims back, as a crash of the database does that comes
// before they are on the disk.
func (d *deployment) undoClaims() {
	d.t.Helper()
	for _, statement := range []string{
		`DELETE FROM tasker.workflow_step_transitions WHERE to_state = 'in_progress'`,
		`UPDATE tasker.workflow_step_transitions SET most_recent = true WHERE to_state = 'enqueued'`,
		`UPDATE tasker.workflow_steps SET in_process = false, attempts = NULL`,
	} {
		_, err := d.DB().Exec(d.t.Context(), statement)
		require.NoError(d.t, err, statement)
	}
	d.run(`UPDATE pgmq.q_worker_shop_queue SET vt = now(), read_ct = 0`)
}

// Claims do not wait for the disk. One that a crash has undone, and somebody
// else has made again, has the same key.
func TestTheResultOfAClaimThatACrashHasUndoneIsRefused(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	late := d.open(func(o *Options) { o.Visibility = time.Hour })
	id := d.enqueue(1, "check_order")[0]
	undone := claimed(t, late, 1)[0]
	die(late)
	d.undoClaims()
	s := d.open()
	step := claimed(t, s, 1)[0]
	require.Equal(t, undone.Handle.(*claim).key.Load(), step.Handle.(*claim).key.Load())
	late.Complete(undone, success(undone, `{"by":"the late"}`))
	synced(t, late)
	require.EqualValues(t, 1, late.Stats().Fenced)
	require.Equal(t, "in_progress", d.state(id))
	s.Complete(step, success(step, `{"by":"the living"}`))
	synced(t, s)
	require.Equal(t, object{"by": "the living"}, d.stored(id)["result"])
}

func TestAStepThatRunsForLongIsNotTakenOver(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open(func(o *Options) { o.Visibility = time.Second })
	id := d.enqueue(1, "check_order")[0]
	step := claimed(t, s, 1)[0]
	other := d.open(func(o *Options) { o.Visibility, o.Poll = time.Second, 50*time.Millisecond })
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	_, err := other.Claim(ctx, 1)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	s.Complete(step, success(step, `{}`))
	synced(t, s)
	require.Equal(t, "enqueued_for_orchestration", d.state(id))
	require.Zero(t, s.Stats().Fenced)
}

func TestAStepThatLosesEveryWorkerFailsInTheEnd(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	id := d.enqueueFor(t, 1)
	for attempt := 1; attempt <= 3; attempt++ {
		dead := d.open(func(o *Options) { o.Visibility, o.Poll = time.Second, 50*time.Millisecond })
		require.Equal(t, attempt, claimed(t, dead, 1)[0].Attempt)
		die(dead)
	}
	s := d.open(func(o *Options) { o.Visibility, o.Poll = time.Second, 50*time.Millisecond })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _, _ = s.Claim(ctx, 1) }()
	require.Eventually(t, func() bool { return d.state(id) == "enqueued_as_error_for_orchestration" }, time.Minute, 10*time.Millisecond)
	require.Equal(t, "worker_lost", d.stored(id)["error"].(object)["error_type"])
}

func TestACancelledStepsHandlerIsAskedToEnd(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open(func(o *Options) { o.Visibility = 300 * time.Millisecond })
	id := d.enqueue(1, "check_order")[0]
	executor := &waiting{interrupted: make(chan struct{})}
	dispatcher := dispatch.New(dispatch.Options{
		Source: s, Concurrency: 1, NewExecutor: func(int) (dispatch.Executor, error) { return executor, nil },
	})
	dispatcher.Start(t.Context())
	require.Eventually(t, func() bool { return d.state(id) == "in_progress" }, time.Minute, time.Millisecond)
	_, err := d.DB().Exec(t.Context(), `
		WITH old AS (UPDATE tasker.workflow_step_transitions SET most_recent = false WHERE workflow_step_uuid = $1 AND most_recent RETURNING sort_key)
		INSERT INTO tasker.workflow_step_transitions (workflow_step_uuid, from_state, to_state, metadata, sort_key, most_recent, created_at, updated_at)
		SELECT $1, 'in_progress', 'cancelled', '{}', sort_key + 1, true, now(), now() FROM old`, id)
	require.NoError(t, err)
	<-executor.interrupted
	require.NoError(t, dispatcher.Drain(t.Context()))
	synced(t, s)
	require.Equal(t, "cancelled", d.state(id))
	require.Zero(t, d.waiting("orchestration_step_results"))
}

// waiting is a lane whose handlers run until they are interrupted.
type waiting struct{ interrupted chan struct{} }

func (w *waiting) Occupy(loop func(dispatch.Call)) {
	loop(func([]byte, *string) ([]byte, error) {
		<-w.interrupted
		return []byte(`R{"success":false}`), nil
	})
}

func (w *waiting) Interrupt(context.Context) error {
	close(w.interrupted)
	return nil
}

func TestAClosingWorkerHandsBackWhatItHolds(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open(func(o *Options) { o.Visibility = time.Hour })
	ids := d.enqueue(3, "check_order")
	steps := claimed(t, s, 3)
	s.Complete(steps[0], success(steps[0], `{}`))
	s.Complete(steps[1], dispatch.Result{Outcome: dispatch.Unstarted})
	require.NoError(t, s.Close(t.Context()))
	require.Equal(t, "enqueued_for_orchestration", d.state(ids[0]))
	require.Equal(t, "enqueued", d.state(ids[1]))
	require.Equal(t, "enqueued", d.state(ids[2]))

	other := d.open(func(o *Options) { o.Visibility, o.Poll = time.Hour, time.Hour })
	attempts := map[string]int{}
	for _, step := range claimed(t, other, 2) {
		attempts[step.StepUUID.String()] = step.Attempt
	}
	require.Equal(t, 1, attempts[ids[1].String()], "no handler was entered")
	require.Equal(t, 2, attempts[ids[2].String()], "its handler had begun")
}

func TestResultsSurviveARestartOfTheDatabase(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open(func(o *Options) { o.Visibility = time.Minute })
	ids := d.enqueue(5, "check_order")
	steps := claimed(t, s, 5)
	d.StopPostgres(cluster.Fast) // a crash might undo the claims, which do not wait for the disk
	for _, step := range steps {
		s.Complete(step, success(step, `{"kept":true}`))
	}
	require.Eventually(t, func() bool { return s.Health() != nil }, time.Minute, time.Millisecond)
	require.ErrorIs(t, s.Health(), ErrUnavailable)
	d.StartPostgres(t.Context())
	synced(t, s)
	require.Eventually(t, func() bool { return d.DB().Ping(t.Context()) == nil && d.QueueDB().Ping(t.Context()) == nil }, time.Minute, time.Millisecond)
	for _, id := range ids {
		require.Equal(t, "enqueued_for_orchestration", d.state(id))
	}
	require.NoError(t, s.Health())
	d.enqueue(1, "check_order")
	claimed(t, s, 1)
}

func TestTheSameResultTwiceIsStoredOnce(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open()
	id := d.enqueue(1, "check_order")[0]
	step := claimed(t, s, 1)[0]
	c := step.Handle.(*claim)
	s.Complete(step, success(step, `{"first":true}`))
	synced(t, s)
	// The same statement again, as after a connection that broke in the commit.
	f := &finished{claim: c, outcome: dispatch.Success, json: success(step, `{"second":true}`).JSON}
	require.NoError(t, s.store(t.Context(), []*finished{f}, true))
	require.Zero(t, s.Stats().Fenced)
	require.Equal(t, object{"first": true}, d.stored(id)["result"])
	require.Equal(t, 1, d.told())
}

func TestAClaimWhoseAnswerWasLostIsHandedBack(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open(func(o *Options) { o.Visibility = time.Hour })
	id := d.enqueue(1, "check_order")[0]
	// The claim, without anybody to hear its answer.
	messages, err := s.coupling.claim(t.Context(), s.queues[0], 1, false)
	require.NoError(t, err)
	require.Len(t, messages, 1)
	s.queues[0].suspect = true
	if p, ok := s.coupling.(*split); ok {
		p.unclaimed[s.queues[0]] = []read{{id: messages[0].id, reads: messages[0].reads, step: messages[0].stepUUID}}
	}
	step := claimed(t, s, 1)[0]
	require.Equal(t, id, step.StepUUID)
	require.Equal(t, 1, step.Attempt)
}

func TestSeveralWorkersShareAQueueWithoutDoubles(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	var workers []*Source
	for range 3 {
		workers = append(workers, d.open(func(o *Options) { o.Visibility, o.Poll = time.Minute, 20*time.Millisecond }))
	}
	const n = 600
	d.enqueue(n, "check_order")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int)
	for _, s := range workers {
		go func() {
			count := 0
			for {
				steps, err := s.Claim(ctx, 7)
				if err != nil {
					done <- count
					return
				}
				for _, step := range steps {
					s.Complete(step, success(step, `{}`))
				}
				count += len(steps)
			}
		}()
	}
	require.Eventually(t, func() bool { return d.waiting("orchestration_step_results") == n }, time.Minute, 10*time.Millisecond)
	cancel()
	total := 0
	for range workers {
		total += <-done
	}
	require.Equal(t, n, total)
	require.Equal(t, n, d.count(`SELECT count(*) FROM tasker.workflow_step_transitions WHERE to_state = 'in_progress'`))
	require.Zero(t, d.waiting("worker_shop_queue"))
}

// sweepUntil sweeps until something is done: a sweep does nothing while another
// one is under way, such as that of the start.
func sweepUntil(t *testing.T, s *Source, done func() bool) {
	t.Helper()
	require.Eventually(t, func() bool { return s.sweep(t.Context(), 0, misjudgedLately) == nil && done() }, time.Minute, time.Millisecond)
}

func TestStepsWhoseMessageWasNeverSentAreFound(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open(func(o *Options) { o.Poll = time.Hour })
	id := d.enqueue(1, "check_order")[0]
	_, err := d.QueueDB().Exec(t.Context(), `DELETE FROM pgmq.q_worker_shop_queue`)
	require.NoError(t, err)
	sweepUntil(t, s, func() bool { return s.Stats().Swept > 0 })
	require.Equal(t, id, claimed(t, s, 1)[0].StepUUID)
	require.NoError(t, s.sweep(t.Context(), 0, misjudgedLately))
	require.EqualValues(t, 1, s.Stats().Swept)
}

func TestResultsThatTheServerWasNotToldOfAreFound(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open()
	d.enqueue(1, "check_order")
	step := claimed(t, s, 1)[0]
	s.Complete(step, success(step, `{}`))
	synced(t, s)
	_, err := d.QueueDB().Exec(t.Context(), `DELETE FROM pgmq.q_orchestration_step_results`)
	require.NoError(t, err)
	sweepUntil(t, s, func() bool { return d.waiting("orchestration_step_results") > 0 })
	require.Equal(t, 1, d.waiting("orchestration_step_results"))
}
