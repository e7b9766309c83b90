package postgres

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/template"
	"github.com/tasker-systems/taskerpy/tests/cluster"
)

// apart has every test run on a deployment whose queues are in a database of
// their own: nothing else may differ.
var apart = flag.Bool("queue-database", false, "give the queues a database of their own")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const intake = `
name: order_intake
namespace_name: shop
version: 1.2.0
description: takes orders
steps:
  - name: check_order
    handler: {callable: shop.orders.CheckOrder, initialization: {limit: 5}}
    timeout_seconds: 20
    retry: {retryable: true, max_attempts: 3, backoff: linear, backoff_base_ms: 2000}
  - name: report
    dependencies: [check_order]
    handler: {callable: shop.orders.Report}
    publishes_events:
      - {name: shop.order.reported, description: tells of it, condition: success, schema: {type: object}, delivery_mode: durable}
`

func parsed(t testing.TB, source string) *template.Template {
	t.Helper()
	tmpl, findings := template.Parse("intake.yaml", []byte(source))
	require.False(t, template.HasErrors(findings), "%v", findings)
	return tmpl
}

// deployment is a database without a server: the tests are the server.
type deployment struct {
	*cluster.Cluster
	t testing.TB
}

func newDeployment(t testing.TB, o cluster.Options) *deployment {
	t.Helper()
	o.NoServer, o.NoSync, o.QueueDatabase = true, true, o.QueueDatabase || *apart
	return &deployment{cluster.Start(t, o), t}
}

// open makes a source, which is closed with the test.
func (d *deployment) open(change ...func(*Options)) *Source {
	d.t.Helper()
	o := Options{
		URL: d.URL(), QueueURL: d.QueueURL(), Templates: []*template.Template{parsed(d.t, intake)}, WorkerID: "w1", Visibility: 3 * time.Second,
		Log: slog.New(slog.NewTextHandler(d.t.Output(), nil)),
	}
	for _, f := range change {
		f(&o)
	}
	s, err := Open(d.t.Context(), o)
	require.NoError(d.t, err)
	d.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = s.Close(ctx) // again for those that a test has closed
	})
	return s
}

// enqueueSQL makes $1 tasks, each with a step that is enqueued as the server
// does it, in its two transactions.
const enqueueSQL = `
WITH named AS (
  INSERT INTO tasker.named_steps (name, created_at, updated_at) VALUES ($2, now(), now())
  ON CONFLICT (name) DO UPDATE SET name = EXCLUDED.name RETURNING named_step_uuid
), task AS (
  INSERT INTO tasker.tasks (named_task_uuid, requested_at, initiator, source_system, reason, tags, context, identity_hash, priority, correlation_id, created_at, updated_at)
  SELECT nt.named_task_uuid, now(), 'desk', 'crm', 'test', '[]', jsonb_build_object('n', n), gen_random_uuid()::text, 0, gen_random_uuid(), now(), now()
    FROM generate_series(1, $1) n, tasker.named_tasks nt WHERE nt.name = 'order_intake'
  RETURNING task_uuid, correlation_id
), step AS (
  INSERT INTO tasker.workflow_steps (task_uuid, named_step_uuid, retryable, max_attempts, inputs, created_at, updated_at)
  SELECT task_uuid, named_step_uuid, true, 3, '{"limit": 5}', now(), now() FROM task, named RETURNING workflow_step_uuid, task_uuid
), moved AS (
  INSERT INTO tasker.workflow_step_transitions (workflow_step_uuid, from_state, to_state, metadata, sort_key, most_recent, created_at, updated_at)
  SELECT workflow_step_uuid, 'pending', 'enqueued', '{}', 2, true, now(), now() FROM step
)
SELECT s.workflow_step_uuid, s.task_uuid, t.correlation_id FROM step s JOIN task t ON t.task_uuid = s.task_uuid`

// enqueue makes n tasks whose step named name is ready, and tells the worker.
func (d *deployment) enqueue(n int, name string) []uuid.UUID {
	d.t.Helper()
	rows, err := d.DB().Query(d.t.Context(), enqueueSQL, n, name)
	require.NoError(d.t, err)
	var steps []uuid.UUID
	var messages []string
	var step, task, correlation uuid.UUID
	_, err = pgx.ForEachRow(rows, []any{&step, &task, &correlation}, func() error {
		steps = append(steps, step)
		messages = append(messages, fmt.Sprintf(`{"task_uuid": "%s", "step_uuid": "%s", "correlation_id": "%s"}`, task, step, correlation))
		return nil
	})
	require.NoError(d.t, err)
	for _, m := range messages {
		d.send(m)
	}
	return steps
}

// send puts a message into the worker's queue and returns its id.
func (d *deployment) send(message string) (id int64) {
	d.t.Helper()
	require.NoError(d.t, d.QueueDB().QueryRow(d.t.Context(),
		`SELECT tasker.pgmq_send_with_notify('worker_shop_queue', $1::jsonb, 0)`, message).Scan(&id))
	return id
}

// state is the current state of a step.
func (d *deployment) state(step uuid.UUID) (state string) {
	d.t.Helper()
	require.NoError(d.t, d.DB().QueryRow(d.t.Context(),
		`SELECT to_state FROM tasker.workflow_step_transitions WHERE workflow_step_uuid = $1 AND most_recent`, step).Scan(&state))
	return state
}

// count runs a query for one number.
func (d *deployment) count(query string, args ...any) (n int) {
	d.t.Helper()
	require.NoError(d.t, d.DB().QueryRow(d.t.Context(), query, args...).Scan(&n))
	return n
}

// waiting is how many messages a queue holds.
func (d *deployment) waiting(queue string) int {
	return d.countMessages(`SELECT count(*) FROM pgmq.q_` + queue)
}

// told is how many results the server has been told of. Where the queues are in
// a database of their own, it may be told of one more than once.
func (d *deployment) told() int {
	d.t.Helper()
	if d.QueueURL() == "" {
		return d.waiting("orchestration_step_results")
	}
	return d.countMessages(`SELECT count(DISTINCT message->>'step_uuid') FROM pgmq.q_orchestration_step_results`)
}

// countMessages is count in the database of the queues.
func (d *deployment) countMessages(query string, args ...any) (n int) {
	d.t.Helper()
	require.NoError(d.t, d.QueueDB().QueryRow(d.t.Context(), query, args...).Scan(&n))
	return n
}

// claimed claims until there are n steps.
func claimed(t testing.TB, s *Source, n int) []*dispatch.Step {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var steps []*dispatch.Step
	for len(steps) < n {
		more, err := s.Claim(ctx, n-len(steps))
		require.NoError(t, err)
		steps = append(steps, more...)
	}
	return steps
}

func success(step *dispatch.Step, result string) dispatch.Result {
	return dispatch.Result{Outcome: dispatch.Success, JSON: fmt.Appendf(nil,
		`{"step_uuid":"%s","success":true,"status":"completed","result":%s,"metadata":{"execution_time_ms":1,"retryable":false},"error":null,"orchestration_metadata":null}`,
		step.StepUUID, result)}
}

// synced waits until what was handed in is stored.
func synced(t testing.TB, s *Source) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, s.Sync(ctx))
}

// stored is the result of a step as it is in the database.
func (d *deployment) stored(step uuid.UUID) (result object) {
	d.t.Helper()
	var text []byte
	require.NoError(d.t, d.DB().QueryRow(d.t.Context(),
		`SELECT results FROM tasker.workflow_steps WHERE workflow_step_uuid = $1`, step).Scan(&text))
	require.NoError(d.t, json.Unmarshal(text, &result))
	return result
}

// enqueueFor is enqueue before any worker has registered the template.
func (d *deployment) enqueueFor(t *testing.T, n int) uuid.UUID {
	t.Helper()
	s := d.open()
	require.NoError(t, s.Close(t.Context()))
	return d.enqueue(n, "check_order")[0]
}
