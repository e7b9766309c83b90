package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/tests/cluster"
)

func TestAStepIsClaimedRunAndHandedToTheServer(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open()
	id := d.enqueue(1, "check_order")[0]
	step := claimed(t, s, 1)[0]
	require.Equal(t, id, step.StepUUID)
	require.Equal(t, 1, step.Attempt)
	require.Equal(t, 20*time.Second, step.Timeout)
	require.Equal(t, "in_progress", d.state(id))
	require.Equal(t, 1, d.waiting("worker_shop_queue"), "the message stays until the result is stored")

	s.Complete(step, success(step, `{"ok":true}`))
	synced(t, s)
	require.Equal(t, "enqueued_for_orchestration", d.state(id))
	require.Equal(t, object{"ok": true}, d.stored(id)["result"])
	require.Zero(t, d.waiting("worker_shop_queue"))
	require.Equal(t, 1, d.waiting("orchestration_step_results"))
	require.Equal(t, 1, d.count(`SELECT count(*) FROM tasker.workflow_steps WHERE workflow_step_uuid = $1 AND NOT in_process AND attempts = 1`, id))
	require.Equal(t, 1, d.count(`SELECT count(*) FROM tasker.workflow_step_result_audit WHERE workflow_step_uuid = $1 AND worker_uuid = $2 AND correlation_id = $3`,
		id, s.UUID(), step.CorrelationID))
}

func TestTheEventIsWhatHandlersOfTheReferenceGet(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open()
	id := d.enqueue(1, "check_order")[0]
	step := claimed(t, s, 1)[0]
	var event object
	require.NoError(t, json.Unmarshal(step.Event, &event))
	require.Equal(t, step.EventID.String(), event["event_id"])
	require.Equal(t, step.CorrelationID.String(), event["correlation_id"])
	require.NotContains(t, event, "parent_correlation_id")
	payload := event["task_sequence_step"].(object)
	task := payload["task"].(object)
	require.Equal(t, "order_intake", task["task_name"])
	require.Equal(t, "1.2.0", task["task_version"])
	require.Equal(t, "shop", task["namespace_name"])
	require.Equal(t, object{"n": 1.0}, task["task"].(object)["context"])
	row := payload["workflow_step"].(object)
	require.Equal(t, id.String(), row["workflow_step_uuid"])
	require.Equal(t, "check_order", row["name"])
	require.Equal(t, "check_order", row["template_step_name"])
	require.Nil(t, row["attempts"], "as it was before the claim")
	require.Equal(t, false, row["in_process"])
	require.Equal(t, object{"limit": 5.0}, row["inputs"])
	require.Nil(t, row["checkpoint"])
	require.Equal(t, object{}, payload["dependency_results"])
	definition := payload["step_definition"].(object)
	require.Equal(t, "shop.orders.CheckOrder", definition["handler"].(object)["callable"])
	require.Equal(t, "standard", definition["type"])
}

func TestABatchIsOneStatementEachWay(t *testing.T) {
	newDeployment(t, cluster.Options{}).requireBatches(20)
}

// requireBatches requires that a hundred steps take at most so many statements.
func (d *deployment) requireBatches(statements int) {
	d.t.Helper()
	s := d.open(func(o *Options) { o.Visibility = time.Hour })
	d.enqueue(100, "check_order")
	d.LogStatements(d.t.Context(), true)
	steps := claimed(d.t, s, 100)
	for _, step := range steps {
		s.Complete(step, success(step, `{}`))
	}
	synced(d.t, s)
	d.LogStatements(d.t.Context(), false)
	require.LessOrEqual(d.t, len(d.Statements("taskerpy-worker")), statements)
	require.Equal(d.t, 100, d.waiting("orchestration_step_results"))
}

func TestANewMessageIsClaimedOnItsNotification(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open(func(o *Options) { o.Poll = time.Hour })
	require.Eventually(t, s.Listening, time.Minute, time.Millisecond)
	got := make(chan []*dispatch.Step)
	go func() {
		steps, _ := s.Claim(t.Context(), 1)
		got <- steps
	}()
	id := d.enqueue(1, "check_order")[0]
	require.Equal(t, id, (<-got)[0].StepUUID)
}

func TestConnectionsAreKeptAsOneAsksFor(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open(func(o *Options) {
		o.Upkeep = Upkeep{Min: 3, IdleTimeout: time.Minute, Lifetime: time.Hour / 2, SlowAcquire: time.Nanosecond}
	})
	for _, pool := range []*pgxpool.Pool{s.pool, s.queuePool} {
		c := pool.Config()
		require.Equal(t, []any{time.Minute, time.Hour / 2}, []any{c.MaxConnIdleTime, c.MaxConnLifetime})
		require.Eventually(t, func() bool { return pool.Stat().TotalConns() >= 3 }, time.Minute, time.Millisecond)
	}
	require.Positive(t, s.Pool().Waits, "every wait counts as slow")
	require.Positive(t, s.QueuePool().Waits)
}

func TestConnectionsAreNotMoreThanTheyMayBe(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open(func(o *Options) { o.MaxConnections, o.Upkeep = 3, Upkeep{Min: 9} })
	require.LessOrEqual(t, int(s.pool.Config().MinConns), 3)
	require.LessOrEqual(t, int(s.queuePool.Config().MinConns), 2)
}

func TestALostNotificationIsMadeUpForByPolling(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open(func(o *Options) { o.Poll = 50 * time.Millisecond })
	steps := d.enqueue(1, "check_order")
	claim := claimed(t, s, 1)
	s.Complete(claim[0], success(claim[0], `{}`))
	// A message without notification.
	_, err := d.QueueDB().Exec(t.Context(), `SELECT pgmq.send('worker_shop_queue', jsonb_build_object('task_uuid', gen_random_uuid(), 'step_uuid', $1::uuid, 'correlation_id', gen_random_uuid()))`, steps[0])
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { _, _ = s.Claim(ctx, 1) }()
	require.Eventually(t, func() bool { return d.waiting("worker_shop_queue") == 0 }, time.Minute, 10*time.Millisecond)
	cancel()
}

func TestNotificationsAreHeardAgainAfterTheConnectionBroke(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open(func(o *Options) { o.Poll = time.Hour })
	require.Eventually(t, s.Listening, time.Minute, time.Millisecond)
	before := s.Stats().Reconnects
	require.Positive(t, d.TerminateQueueConnections(t.Context(), "taskerpy%"))
	require.Eventually(t, func() bool { return s.Stats().Reconnects > before && s.Listening() }, time.Minute, time.Millisecond)
	d.enqueue(1, "check_order")
	claimed(t, s, 1)
}

func TestACancelledClaimLeavesNothingClaimed(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d.enqueue(1, "check_order")
	_, err := s.Claim(ctx, 1)
	require.ErrorIs(t, err, context.Canceled)
	claimed(t, s, 1)
}

func TestARetryableFailureAsksForTheTemplatesBackoff(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open()
	id := d.enqueue(1, "check_order")[0]
	step := claimed(t, s, 1)[0]
	failure := dispatch.FailureResult(dispatch.Failure{Step: step, Message: "no line", ErrorType: "ConnectionError", Retryable: true})
	s.Complete(step, dispatch.Result{Outcome: dispatch.RetryableFailure, JSON: failure})
	synced(t, s)
	require.Equal(t, "enqueued_as_error_for_orchestration", d.state(id))
	result := d.stored(id)
	require.Equal(t, "failed", result["status"])
	require.Equal(t, "retryable_error", result["metadata"].(object)["custom"].(object)["original_status"])
	require.Equal(t, true, result["metadata"].(object)["retryable"])
	require.Equal(t, "2", result["orchestration_metadata"].(object)["headers"].(object)["retry-after"])
}

func TestAFailureOfAStepThatMayNotBeRetriedIsPermanent(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open()
	id := d.enqueue(1, "check_order")[0]
	_, err := d.DB().Exec(t.Context(), `UPDATE tasker.workflow_steps SET retryable = false WHERE workflow_step_uuid = $1`, id)
	require.NoError(t, err)
	step := claimed(t, s, 1)[0]
	failure := dispatch.FailureResult(dispatch.Failure{Step: step, Message: "no line", ErrorType: "ConnectionError", Retryable: true})
	s.Complete(step, dispatch.Result{Outcome: dispatch.RetryableFailure, JSON: failure})
	synced(t, s)
	result := d.stored(id)
	require.Equal(t, false, result["metadata"].(object)["retryable"])
	require.Equal(t, false, result["error"].(object)["retryable"])
	require.Nil(t, result["orchestration_metadata"])
}

func TestMessagesThatNothingCanBeDoneWithArePutAside(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open()
	d.send(`{"hello": "world"}`)
	d.send(`{"step_uuid": "not one"}`)
	d.send(`{"step_uuid": "00000000-0000-7000-8000-000000000001", "task_uuid": "00000000-0000-7000-8000-000000000001"}`)
	id := d.enqueue(1, "check_order")[0]
	d.send(`{"step_uuid": "` + id.String() + `"}`)
	step := claimed(t, s, 1)[0]
	s.Complete(step, success(step, `{}`))
	synced(t, s)
	require.Eventually(t, func() bool {
		s.allDue()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_, _ = s.Claim(ctx, 10)
		return d.waiting("worker_shop_queue") == 0
	}, time.Minute, time.Millisecond)
	require.EqualValues(t, 2, s.Stats().Undecodable)
	require.Equal(t, 1, d.told())
}

func TestAStepThatTheTemplateDoesNotHaveFailsForGood(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open()
	id := d.enqueue(1, "no_such_step")[0]
	ctx, cancel := context.WithCancel(t.Context())
	go func() { _, _ = s.Claim(ctx, 1) }()
	require.Eventually(t, func() bool { return d.state(id) == "enqueued_as_error_for_orchestration" }, time.Minute, 5*time.Millisecond)
	cancel()
	result := d.stored(id)
	require.Equal(t, "template_not_found", result["error"].(object)["error_type"])
	require.Equal(t, false, result["metadata"].(object)["retryable"])
}

func TestACheckpointIsStoredAndTheStepGoesOn(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open()
	id := d.enqueue(1, "check_order")[0]
	first := claimed(t, s, 1)[0]
	for cursor := range 3 {
		yield, err := json.Marshal(object{"step_uuid": id, "cursor": cursor, "items_processed": 10 * cursor, "accumulated_results": object{"sum": cursor}})
		require.NoError(t, err)
		s.Complete(first, dispatch.Result{Outcome: dispatch.CheckpointYield, JSON: yield})
		next := claimed(t, s, 1)[0]
		require.Equal(t, id, next.StepUUID)
		require.NotEqual(t, first.EventID, next.EventID)
		require.Equal(t, 1, next.Attempt)
		var event object
		require.NoError(t, json.Unmarshal(next.Event, &event))
		seen := event["task_sequence_step"].(object)["workflow_step"].(object)["checkpoint"].(object)
		require.EqualValues(t, cursor, seen["cursor"])
		require.NotContains(t, seen, "history")
		first = next
	}
	var checkpoint object
	var text []byte
	require.NoError(t, d.DB().QueryRow(t.Context(), `SELECT checkpoint FROM tasker.workflow_steps WHERE workflow_step_uuid = $1`, id).Scan(&text))
	require.NoError(t, json.Unmarshal(text, &checkpoint))
	require.EqualValues(t, 2, checkpoint["cursor"])
	require.EqualValues(t, 20, checkpoint["items_processed"])
	require.Len(t, checkpoint["history"], 3)
	require.Contains(t, checkpoint, "timestamp")
	require.NotContains(t, checkpoint, "step_uuid")
	s.Complete(first, success(first, `{}`))
	synced(t, s)
	require.Equal(t, "enqueued_for_orchestration", d.state(id))
	require.Equal(t, 1, d.count(`SELECT count(*) FROM tasker.workflow_steps WHERE checkpoint IS NOT NULL AND attempts = 1`))
}

func TestResultsThatPostgreSQLCannotHoldHaveADefinedEnd(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open(func(o *Options) { o.MaxResultBytes = 1 << 20 })
	ids := d.enqueue(4, "check_order")
	steps := claimed(t, s, 4)
	s.Complete(steps[0], success(steps[0], `{"text":"a\u0000b","half":"\ud800","kept":"\\u0000"}`))
	s.Complete(steps[1], success(steps[1], `{"n":NaN}`))
	s.Complete(steps[2], success(steps[2], `"`+string(make([]byte, 2<<20))+`"`))
	s.Complete(steps[3], success(steps[3], `{"ok":true}`))
	synced(t, s)
	require.Equal(t, object{"text": "a\ufffdb", "half": "\ufffd", "kept": `\u0000`}, d.stored(ids[0])["result"])
	require.Equal(t, "result_not_storable", d.stored(ids[1])["error"].(object)["error_type"])
	require.Equal(t, "result_too_large", d.stored(ids[2])["error"].(object)["error_type"])
	require.Equal(t, object{"ok": true}, d.stored(ids[3])["result"], "the others of the batch are not affected")
	for _, id := range ids[1:3] {
		require.Equal(t, "enqueued_as_error_for_orchestration", d.state(id))
	}
}

func TestEachFailedAttemptIsLoggedOnceItIsStored(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	var log bytes.Buffer
	s := d.open(func(o *Options) { o.Log, o.MaxResultBytes = slog.New(slog.NewTextHandler(&log, nil)), 10_000 })
	d.enqueue(3, "check_order")
	steps := claimed(t, s, 3)
	for i, outcome := range []dispatch.Outcome{dispatch.RetryableFailure, dispatch.PermanentFailure} {
		s.Complete(steps[i], dispatch.Result{Outcome: outcome, JSON: dispatch.FailureResult(dispatch.Failure{
			Step: steps[i], Message: "no line", ErrorType: "ConnectionError", Retryable: outcome == dispatch.RetryableFailure,
		})})
	}
	s.Complete(steps[2], success(steps[2], `"`+strings.Repeat("x", 10_001)+`"`))
	synced(t, s)
	require.NoError(t, s.Close(t.Context())) // nobody else writes to the log now
	for i, want := range []string{
		`level=WARN msg="step failed, another attempt follows" step=check_order task_uuid=%s correlation_id=%s attempt=1 error_type=ConnectionError error="no line"`,
		`level=ERROR msg="step failed" step=check_order task_uuid=%s correlation_id=%s attempt=1 error_type=ConnectionError error="no line"`,
		`level=ERROR msg="step failed" step=check_order task_uuid=%s correlation_id=%s attempt=1 error_type=result_too_large error="the step's result has`,
	} {
		require.Contains(t, log.String(), fmt.Sprintf(want, steps[i].TaskUUID, steps[i].CorrelationID))
	}
	require.Equal(t, 3, strings.Count(log.String(), "step failed"))
}
