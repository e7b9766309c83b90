package postgres

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/template"
	"github.com/tasker-systems/taskerpy/tests/cluster"
)

// otherIntake is the template of a second namespace, books.
var otherIntake = strings.NewReplacer("order_intake", "book_intake", "namespace_name: shop", "namespace_name: books").Replace(intake)

// ofBoth has a source claim from two namespaces.
func ofBoth(t testing.TB) func(*Options) {
	return func(o *Options) { o.Templates = []*template.Template{parsed(t, intake), parsed(t, otherIntake)} }
}

// steps makes n tasks of a template, each with an enqueued step of which no
// message tells.
func (d *deployment) steps(template, name string, n int) (messages map[uuid.UUID]string) {
	d.t.Helper()
	rows, err := d.DB().Query(d.t.Context(), strings.ReplaceAll(enqueueSQL, "order_intake", template), n, name)
	require.NoError(d.t, err)
	messages = map[uuid.UUID]string{}
	var step, task, correlation uuid.UUID
	_, err = pgx.ForEachRow(rows, []any{&step, &task, &correlation}, func() error {
		messages[step] = fmt.Sprintf(`{"task_uuid": "%s", "step_uuid": "%s", "correlation_id": "%s"}`, task, step, correlation)
		return nil
	})
	require.NoError(d.t, err)
	return messages
}

// silent is one step that is enqueued without a message, and the message.
func (d *deployment) silent() (id uuid.UUID, message string) {
	d.t.Helper()
	for id, message = range d.steps("order_intake", "check_order", 1) {
	}
	return id, message
}

// enqueueBook is enqueue for one step of the namespace books.
func (d *deployment) enqueueBook() (id uuid.UUID) {
	d.t.Helper()
	for step, message := range d.steps("book_intake", "check_order", 1) {
		id = step
		_, err := d.QueueDB().Exec(d.t.Context(), `SELECT tasker.pgmq_send_with_notify('worker_books_queue', $1::jsonb, 0)`, message)
		require.NoError(d.t, err)
	}
	return id
}

// enqueueChanged is enqueue for one step whose rows are changed before anybody
// is told of it.
func (d *deployment) enqueueChanged(name, change string) (id uuid.UUID) {
	d.t.Helper()
	for step, message := range d.steps("order_intake", name, 1) {
		id = step
		_, err := d.DB().Exec(d.t.Context(), change, step)
		require.NoError(d.t, err)
		d.send(message)
	}
	return id
}

// run runs statements in the database of the queues.
func (d *deployment) run(statements ...string) {
	d.t.Helper()
	for _, s := range statements {
		_, err := d.QueueDB().Exec(d.t.Context(), s)
		require.NoError(d.t, err, s)
	}
}

func TestABusyNamespaceDoesNotKeepStepsOfAnotherFromBeingTakenOver(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	dead := d.open(ofBoth(t), func(o *Options) { o.Visibility = time.Second })
	id := d.enqueue(1, "check_order")[0]
	claimed(t, dead, 1)
	die(dead)
	s := d.open(ofBoth(t), func(o *Options) { o.Visibility, o.Poll = time.Second, 100*time.Millisecond })
	require.Eventually(t, s.Listening, time.Minute, time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for d.enqueueBook(); ; d.enqueueBook() { // there always is one
		steps, err := s.Claim(ctx, 16)
		require.NoError(t, err, "the dead worker's step is %s", d.state(id))
		for _, step := range steps {
			if step.StepUUID == id {
				return
			}
			s.Complete(step, success(step, `{}`))
		}
	}
}

func TestAQueueThatIsGoneDoesNotKeepOthersWaiting(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open(ofBoth(t))
	d.run(`SELECT pgmq.drop_queue('worker_books_queue')`)
	for range 3 {
		id := d.enqueue(1, "check_order")[0]
		require.Equal(t, id, claimed(t, s, 1)[0].StepUUID)
		s.allDue()
		s.queues[0].retry.at = time.Now().Add(time.Hour)
	}
	require.NoError(t, s.Health())
	require.True(t, s.queues[0].failing)
	require.False(t, s.queues[1].failing)
}

func TestWhatIsClaimedIsHandedOutAlthoughTheClaimantIsStoppedMeanwhile(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open()
	id, message := d.silent()
	blocker := d.lock(id)
	d.send(message)
	ctx, cancel := context.WithCancel(t.Context())
	var stopping sync.WaitGroup
	stopping.Go(func() {
		d.awaitLocked()
		cancel()
		assert.NoError(t, blocker.Rollback(t.Context()))
	})
	steps, err := s.Claim(ctx, 1)
	stopping.Wait()
	require.NoError(t, err)
	require.Equal(t, id, steps[0].StepUUID)
}

// lock locks the row of a step until the transaction ends.
func (d *deployment) lock(step uuid.UUID) pgx.Tx {
	d.t.Helper()
	tx, err := d.DB().Begin(d.t.Context())
	require.NoError(d.t, err)
	d.t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	_, err = tx.Exec(d.t.Context(), `SELECT 1 FROM tasker.workflow_steps WHERE workflow_step_uuid = $1 FOR UPDATE`, step)
	require.NoError(d.t, err)
	return tx
}

// awaitLocked waits until a worker waits for a lock.
func (d *deployment) awaitLocked() {
	const waiting = `SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name LIKE 'taskerpy%' AND wait_event_type = 'Lock'`
	assert.Eventually(d.t, func() (yes bool) {
		return d.DB().QueryRow(d.t.Context(), waiting).Scan(&yes) == nil && yes
	}, time.Minute, time.Millisecond)
}

func TestAStepIsHandedBackWhoseTemplateCannotBeReadAtTheMoment(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	via, cut := d.through("SELECT nt.configuration")
	s := d.open(func(o *Options) { o.URL = via })
	cut.Store(1)
	id := d.enqueueChanged("check_order", `UPDATE tasker.workflow_steps SET max_attempts = 1, retryable = false WHERE workflow_step_uuid = $1`)
	step := claimed(t, s, 1)[0]
	require.Equal(t, id, step.StepUUID)
	require.Equal(t, 1, step.Attempt)
	require.Zero(t, cut.Load())
}

func TestEventsOfADeadWorkerSurviveATemplateThatCannotBeReadAtTheMoment(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	dead := d.open(func(o *Options) { o.Visibility = time.Second })
	d.enqueue(1, "report") // declares a durable event
	step := claimed(t, dead, 1)[0]
	dead.Complete(step, success(step, `{"total":12}`))
	synced(t, dead)
	die(dead) // before it published
	via, cut := d.through("SELECT nt.configuration")
	s := d.open(func(o *Options) { o.URL, o.Visibility, o.Poll = via, time.Second, 100*time.Millisecond })
	cut.Store(1)
	claiming(t, s)
	publications, err := s.Publications(t.Context())
	require.NoError(t, err)
	require.Equal(t, step.StepUUID, publications[0].StepUUID)
	require.Zero(t, cut.Load())
}

// through is the deployment's URL by a way that is cut as often as one says
// when a text comes by.
func (d *deployment) through(text string) (via string, cuts *atomic.Int32) {
	u, err := url.Parse(d.URL())
	require.NoError(d.t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(d.t, err)
	target := u.Host
	u.Host = listener.Addr().String()
	cuts = &atomic.Int32{}
	var serving sync.WaitGroup
	d.t.Cleanup(func() {
		require.NoError(d.t, listener.Close())
		serving.Wait()
	})
	serving.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				_ = client.Close()
				continue
			}
			forward := func(from, to net.Conn, text string) {
				defer func() { _, _ = client.Close(), server.Close() }()
				buffer := make([]byte, 1<<20)
				for {
					n, err := from.Read(buffer)
					if err != nil || text != "" && cuts.Load() > 0 && bytes.Contains(buffer[:n], []byte(text)) && cuts.Add(-1) >= 0 {
						return
					}
					if _, err := to.Write(buffer[:n]); err != nil {
						return
					}
				}
			}
			serving.Go(func() { forward(client, server, text) })
			serving.Go(func() { forward(server, client, "") })
		}
	})
	return u.String(), cuts
}

func TestAStepWithoutMaxAttemptsIsRun(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open()
	id := d.enqueueChanged("check_order", `UPDATE tasker.workflow_steps SET max_attempts = NULL WHERE workflow_step_uuid = $1`)
	step := claimed(t, s, 1)[0]
	require.Equal(t, id, step.StepUUID)
	s.Complete(step, success(step, `{}`))
	synced(t, s)
	require.Equal(t, "enqueued_for_orchestration", d.state(id))
}

func TestAResultThatCannotBeStoredAtTheMomentKeepsNoOtherWaiting(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open(ofBoth(t), func(o *Options) { o.Visibility = time.Minute })
	book := d.enqueueBook()
	first := claimed(t, s, 1)[0]
	id := d.enqueue(1, "check_order")[0]
	second := claimed(t, s, 1)[0]
	d.run(`SELECT pgmq.drop_queue('worker_books_queue')`)
	s.Complete(first, success(first, `{}`))
	s.Complete(second, success(second, `{}`))
	d.awaitCount(1, `SELECT count(*) FROM pgmq.q_orchestration_step_results WHERE message->>'step_uuid' = $1`, id.String())
	require.Eventually(t, func() bool { return s.Stats().Unstored == 1 }, time.Minute, time.Millisecond)
	d.run(`SELECT pgmq.create('worker_books_queue')`)
	d.awaitCount(1, `SELECT count(*) FROM pgmq.q_orchestration_step_results WHERE message->>'step_uuid' = $1`, book.String())
	synced(t, s)
}

// awaitCount waits until a query counts n in the database of the queues.
func (d *deployment) awaitCount(n int, query string, args ...any) {
	d.t.Helper()
	require.Eventually(d.t, func() bool { return d.countMessages(query, args...) == n }, time.Minute, 5*time.Millisecond)
}

func TestAStepThatSomebodyHasLockedKeepsNoOtherWaiting(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open(func(o *Options) { o.Visibility = time.Minute })
	d.enqueue(2, "check_order")
	steps := claimed(t, s, 2)
	blocker := d.lock(steps[0].StepUUID)
	for _, step := range steps {
		s.Complete(step, success(step, `{}`))
	}
	require.Eventually(t, func() bool { return d.state(steps[1].StepUUID) == "enqueued_for_orchestration" }, time.Minute, 5*time.Millisecond)
	require.Equal(t, "in_progress", d.state(steps[0].StepUUID))
	require.NoError(t, s.beatOnce(t.Context()))
	require.NoError(t, blocker.Rollback(t.Context()))
	synced(t, s)
	require.Equal(t, "enqueued_for_orchestration", d.state(steps[0].StepUUID))
}

func TestALockedStepIsPutOffAndThoseBehindItAreClaimed(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open(func(o *Options) { o.Visibility = time.Minute })
	id, message := d.silent()
	blocker := d.lock(id)
	d.send(message)
	next := d.enqueue(1, "check_order")[0]
	require.Equal(t, next, claimed(t, s, 1)[0].StepUUID)
	require.NoError(t, blocker.Rollback(t.Context()))
}

func TestABeatKeepsWhatItCan(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open(ofBoth(t), func(o *Options) { o.Visibility = time.Hour })
	d.enqueueBook()
	d.enqueue(1, "check_order")
	claimed(t, s, 2)
	d.run(`SELECT pgmq.drop_queue('worker_books_queue')`)
	before := d.countMessages(`SELECT extract(epoch FROM max(vt))::int FROM pgmq.q_worker_shop_queue`)
	d.run(`UPDATE pgmq.q_worker_shop_queue SET vt = now()`)
	require.ErrorContains(t, s.beatOnce(t.Context()), "worker_books_queue")
	require.GreaterOrEqual(t, d.countMessages(`SELECT extract(epoch FROM max(vt))::int FROM pgmq.q_worker_shop_queue`), before)
	d.run(`SELECT pgmq.create('worker_books_queue')`) // for what is handed back at the end
}

// Nobody may be blamed for it: somebody listens without reading.
func TestResultsWaitWhileThereIsNoRoomForNotifications(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open(func(o *Options) { o.Visibility = time.Minute })
	id := d.enqueue(1, "check_order")[0]
	step := claimed(t, s, 1)[0]
	d.run(`CREATE FUNCTION public.full() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN
		RAISE EXCEPTION USING ERRCODE = '54000', MESSAGE = 'too many notifications in the NOTIFY queue'; END $f$`,
		`CREATE TRIGGER full_queue BEFORE INSERT ON pgmq.q_orchestration_step_results FOR EACH ROW EXECUTE FUNCTION public.full()`)
	s.Complete(step, success(step, `{"kept":true}`))
	require.Eventually(t, func() bool { return s.Stats().Retries > 1 }, time.Minute, time.Millisecond)
	d.run(`DROP TRIGGER full_queue ON pgmq.q_orchestration_step_results`)
	synced(t, s)
	require.Equal(t, object{"kept": true}, d.stored(id)["result"])
}

func TestAStepWhoseDependenciesCannotBePutTogetherFailsAlone(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open(func(o *Options) { o.Visibility = time.Minute })
	large := d.enqueueChanged("check_order", `
WITH named AS (
  INSERT INTO tasker.named_steps (name, created_at, updated_at) SELECT 'part_' || n, now(), now() FROM generate_series(1, 10) n RETURNING named_step_uuid
), parent AS (
  INSERT INTO tasker.workflow_steps (task_uuid, named_step_uuid, retryable, max_attempts, processed, results, created_at, updated_at)
  SELECT (SELECT task_uuid FROM tasker.workflow_steps WHERE workflow_step_uuid = $1), named_step_uuid, true, 3, true,
         jsonb_build_object('success', true, 'result', repeat('x', 30000000)), now(), now() FROM named RETURNING workflow_step_uuid
)
INSERT INTO tasker.workflow_step_edges (from_step_uuid, to_step_uuid, name, created_at, updated_at)
SELECT workflow_step_uuid, $1, 'provides', now(), now() FROM parent`)
	next := d.enqueue(1, "check_order")[0]
	require.Equal(t, next, claimed(t, s, 1)[0].StepUUID)
	synced(t, s)
	require.Equal(t, "enqueued_as_error_for_orchestration", d.state(large))
	why := d.stored(large)["error"].(object)
	require.Equal(t, "hydration_error", why["error_type"])
	require.Contains(t, why["message"], "the results of the steps before cannot be put together")
}

func TestEventsAreMeasuredAsPostgreSQLWritesThem(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open(func(o *Options) { o.Visibility = time.Minute })
	d.enqueue(1, "report")
	step := claimed(t, s, 1)[0]
	s.Complete(step, success(step, `{"ok":true}`))
	publications, err := s.Publications(t.Context())
	require.NoError(t, err)
	// Below 7,000 bytes as it is, beyond 8,000 with a space after each comma.
	event := fmt.Sprintf(`{"text":"%s","numbers":[%s1]}`, strings.Repeat("注文", 650), strings.Repeat("1,", 1450))
	small := `{"text":"small"}`
	require.NoError(t, s.Published(t.Context(), publications[0], []dispatch.DomainEvent{{Name: "x", JSON: []byte(event)}, {Name: "y", JSON: []byte(small)}}))
	require.Equal(t, 2, d.waiting("shop_domain_events"))
}

// The database's clock has jumped, after a fail-over or a pause of its machine.
func TestAResultOnItsWayIsStoredAlthoughTheStepWasTakenFromOurselvesMeanwhile(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open(func(o *Options) { o.Visibility = time.Minute })
	id := d.enqueueChanged("report", `UPDATE tasker.workflow_steps SET max_attempts = 1 WHERE workflow_step_uuid = $1`)
	step := claimed(t, s, 1)[0]
	require.NoError(t, s.writing.enter(t.Context())) // the result cannot be stored yet
	s.Complete(step, success(step, `{"kept":true}`))
	_, err := d.DB().Exec(t.Context(), `UPDATE tasker.workflow_step_transitions SET updated_at = updated_at - interval '1 hour' WHERE to_state = 'in_progress' AND most_recent`)
	require.NoError(t, err)
	d.run(`UPDATE pgmq.q_worker_shop_queue SET vt = now() - interval '1 second'`)
	s.allDue()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		assert.Eventually(t, func() bool { return s.Stats().Claimed == 2 }, time.Minute, time.Millisecond)
	}()
	_, err = s.Claim(ctx, 1)
	require.ErrorIs(t, err, context.Canceled)
	s.writing.leave()
	synced(t, s)
	require.Equal(t, "enqueued_for_orchestration", d.state(id))
	require.Equal(t, object{"kept": true}, d.stored(id)["result"])
}

// A commit of a claim does not wait for the disk: a crash may have undone it.
func TestAWorkerWhoseClaimWasUndoneHandsNothingBack(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	late := d.open(func(o *Options) { o.Visibility = time.Hour })
	id := d.enqueue(1, "check_order")[0]
	claimed(t, late, 1)
	d.undoClaims()
	s := d.open(func(o *Options) { o.Visibility = time.Hour })
	step := claimed(t, s, 1)[0]
	require.NoError(t, late.beatOnce(t.Context()))
	require.EqualValues(t, 1, late.Stats().Fenced, "it is told by its next beat")
	require.NoError(t, late.Close(t.Context()))
	require.Equal(t, "in_progress", d.state(id))
	s.Complete(step, success(step, `{}`))
	synced(t, s)
	require.Equal(t, "enqueued_for_orchestration", d.state(id))
}
