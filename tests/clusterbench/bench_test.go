// Package clusterbench_test measures a worker of a deployment beside the
// published one, tasker-py, in the same run, on the same database and in turn.
// `make bench-cluster` runs it.
//
// Both run the same handlers with what they come with: taskerpy 16 lanes,
// tasker-py the thread of its poller. PostgreSQL syncs to the disk. Each value
// is the median of the rounds; ratio-X is taskerpy's divided by tasker-py's.
package clusterbench_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/tests/built"
	"github.com/tasker-systems/taskerpy/tests/cluster"
)

const (
	patience = 5 * time.Minute
	handlers = "handlers"
)

// worker is one of the two.
type worker interface {
	PID() int
	Kill()
}

// kind is one of the two workers.
type kind struct {
	name  string
	start func(c *cluster.Cluster) worker // returns when it is ready
}

func kinds(b *testing.B) []kind {
	binary := built.Binary(b)
	return []kind{
		{"taskerpy", func(c *cluster.Cluster) worker { return c.StartWorker(b.Context(), binary, handlers) }},
		{"tasker-py", func(c *cluster.Cluster) worker { return c.StartReferenceWorker(b.Context(), handlers, handlers) }},
	}
}

// values are measured, by their names and units.
type values map[string]float64

// each measures both kinds, rounds times in turn, and reports the medians and
// how they compare. Before that, taskerpy registers the templates: neither
// worker finds an empty database.
func each(b *testing.B, c *cluster.Cluster, rounds int, measure func(k kind) values) {
	both := kinds(b)
	both[0].start(c).Kill()
	all := map[string]map[string][]float64{}
	for range rounds {
		for _, k := range both {
			if all[k.name] == nil {
				all[k.name] = map[string][]float64{}
			}
			for what, value := range measure(k) {
				all[k.name][what] = append(all[k.name][what], value)
				b.Logf("%s %s: %.4g", k.name, what, value)
			}
		}
	}
	b.ReportMetric(0, "ns/op") // the operations are counted below
	for what := range all["taskerpy"] {
		ours, theirs := median(all["taskerpy"][what]), median(all["tasker-py"][what])
		b.ReportMetric(ours, "taskerpy-"+what)
		b.ReportMetric(theirs, "tasker-py-"+what)
		b.ReportMetric(ours/theirs, "ratio-"+what)
	}
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

// enqueueSQL makes $2 tasks of the template $1, each with its only step
// enqueued, in the states and with the messages that the server leaves. They
// become visible all at once.
const enqueueSQL = `
WITH named AS (
  INSERT INTO tasker.named_steps (name, created_at, updated_at) VALUES ($1, now(), now())
  ON CONFLICT (name) DO UPDATE SET name = EXCLUDED.name RETURNING named_step_uuid
), task AS (
  INSERT INTO tasker.tasks (named_task_uuid, requested_at, initiator, source_system, reason, tags, context, identity_hash, priority, correlation_id, created_at, updated_at)
  SELECT nt.named_task_uuid, now(), 'bench', 'bench', 'bench', '[]', jsonb_build_object('n', n), gen_random_uuid()::text, 0, gen_random_uuid(), now(), now()
    FROM generate_series(1, $2::int) n, tasker.named_tasks nt WHERE nt.name = $1
  RETURNING task_uuid, correlation_id
), step AS (
  INSERT INTO tasker.workflow_steps (task_uuid, named_step_uuid, retryable, max_attempts, created_at, updated_at)
  SELECT task_uuid, named_step_uuid, true, 3, now(), now() FROM task, named RETURNING workflow_step_uuid, task_uuid
), moved AS (
  INSERT INTO tasker.workflow_step_transitions (workflow_step_uuid, from_state, to_state, metadata, sort_key, most_recent, created_at, updated_at)
  SELECT workflow_step_uuid, 'pending', 'enqueued', '{}', 2, true, now(), now() FROM step
)
SELECT count(tasker.pgmq_send_with_notify('worker_measured_queue', jsonb_build_object(
         'task_uuid', s.task_uuid, 'step_uuid', s.workflow_step_uuid, 'correlation_id', t.correlation_id), 0))
  FROM step s JOIN task t ON t.task_uuid = s.task_uuid`

// backlog lets a worker run n steps of a template that come all at once, and
// returns how long that took from the moment when they could be seen until the
// last result could.
func backlog(b *testing.B, c *cluster.Cluster, template string, n int) time.Duration {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	// What was sent to the server, counted without reading what is measured.
	const sent = `SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM pgmq.q_orchestration_step_results_msg_id_seq`
	const stored = `SELECT count(*) FROM pgmq.q_orchestration_step_results`
	var before, storedBefore int
	require.NoError(b, c.DB().QueryRow(ctx, sent).Scan(&before))
	require.NoError(b, c.DB().QueryRow(ctx, stored).Scan(&storedBefore))
	_, err := c.DB().Exec(ctx, enqueueSQL, template, n)
	require.NoError(b, err)
	began := time.Now()
	wait := func(query string, goal int) {
		for now := 0; now < goal; {
			require.NoError(b, c.DB().QueryRow(ctx, query).Scan(&now))
			if now < goal {
				time.Sleep(5 * time.Millisecond)
			}
		}
	}
	wait(sent, before+n)
	wait(stored, storedBefore+n) // committed too
	return time.Since(began)
}

// processorTime is what a process has used of it.
func processorTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(b, err)
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, err := strconv.Atoi(fields[11])
	require.NoError(b, err)
	system, err := strconv.Atoi(fields[12])
	require.NoError(b, err)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// paused is a deployment whose server was there and now does nothing, so that
// nobody but the worker is measured.
func paused(b *testing.B) *cluster.Cluster {
	c := cluster.Start(b, cluster.Options{})
	c.PauseServer()
	return c
}

// BenchmarkBacklog is a backlog of one-step tasks whose handler does nothing.
func BenchmarkBacklog(b *testing.B) {
	c := paused(b)
	// Of such a number of steps that each is busy for some seconds.
	steps := map[string]int{"taskerpy": 10_000, "tasker-py": 500}
	each(b, c, 3, func(k kind) values {
		w := k.start(c)
		defer w.Kill()
		backlog(b, c, "echo", 50)
		used := -processorTime(b, w.PID())
		took := backlog(b, c, "echo", steps[k.name])
		used += processorTime(b, w.PID())
		n := float64(steps[k.name])
		return values{"steps/s": n / took.Seconds(), "cpu-ms/step": used.Seconds() * 1000 / n}
	})
}

// BenchmarkWaitingHandlers is 200 steps that wait for 100 ms each.
func BenchmarkWaitingHandlers(b *testing.B) {
	c := paused(b)
	each(b, c, 1, func(k kind) values {
		w := k.start(c)
		defer w.Kill()
		backlog(b, c, "wait", 1)
		return values{"s": backlog(b, c, "wait", 200).Seconds()}
	})
}

// loneSQL is how long a step took from the state enqueued to in_progress, and
// from there to its result, in milliseconds: first by the times that its
// transitions say, as everybody sees them who looks at the deployment. They are
// those at which transactions began. Then by the time stamps of the commits, and
// the last of these for the claim itself. A commit is stamped before it waits for
// the disk, which the server's and tasker-py's do and taskerpy's claim does not,
// so others see the state enqueued later than its stamp says; the row of a
// state is written for the last time by the transaction that ends the state.
const loneSQL = `
SELECT extract(epoch FROM began - queued)::float8 * 1000, extract(epoch FROM ended - began)::float8 * 1000,
       extract(epoch FROM claimed - enqueued)::float8 * 1000, extract(epoch FROM stored - claimed)::float8 * 1000, claimed
  FROM (SELECT max(t.created_at) FILTER (WHERE t.to_state = 'enqueued') AS queued,
               max(t.created_at) FILTER (WHERE t.to_state = 'in_progress') AS began,
               max(t.created_at) FILTER (WHERE t.to_state = 'enqueued_for_orchestration') AS ended,
               max(pg_xact_commit_timestamp(t.xmin)) FILTER (WHERE t.to_state = 'pending') AS enqueued,
               max(pg_xact_commit_timestamp(t.xmin)) FILTER (WHERE t.to_state = 'enqueued') AS claimed,
               max(pg_xact_commit_timestamp(t.xmin)) FILTER (WHERE t.to_state = 'in_progress') AS stored
          FROM tasker.workflow_steps s JOIN tasker.workflow_step_transitions t ON t.workflow_step_uuid = s.workflow_step_uuid
         WHERE s.task_uuid = $1) states`

// told is what a notification tells of a message.
type told struct {
	Task string `json:"task_uuid"`
	Step string `json:"step_uuid"`
}

// listener hears when workers are told of messages.
type listener struct {
	stop  context.CancelFunc
	ended chan struct{}
	mu    sync.Mutex
	heard map[string]time.Time // by task
}

// listening calls heard, if it is not nil, for every message.
func listening(b *testing.B, c *cluster.Cluster, heard func(told)) *listener {
	ctx, cancel := context.WithCancel(b.Context())
	l := &listener{stop: cancel, ended: make(chan struct{}), heard: map[string]time.Time{}}
	conn, err := pgx.Connect(ctx, c.URL())
	require.NoError(b, err)
	_, err = conn.Exec(ctx, `LISTEN "pgmq_message_ready.measured"`)
	require.NoError(b, err)
	go func() {
		defer close(l.ended)
		defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
		for {
			n, err := conn.WaitForNotification(ctx)
			if err != nil {
				return
			}
			at := time.Now()
			var event struct {
				Message told `json:"message"`
			}
			if json.Unmarshal([]byte(n.Payload), &event) != nil {
				continue
			}
			if heard != nil {
				heard(event.Message)
			}
			l.mu.Lock()
			l.heard[event.Message.Task] = at
			l.mu.Unlock()
		}
	}()
	return l
}

func (l *listener) of(task string) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heard[task]
}

func (l *listener) close() {
	l.stop()
	<-l.ended
}

// BenchmarkLoneStep is how long steps take that come one by one, through the
// server that orchestrates them. Of the time to the claim, told-to-claim is the
// worker's own: from when whoever listens is told of the message. What is before
// that are two commits of the server's, which both workers wait for.
func BenchmarkLoneStep(b *testing.B) {
	const tasks = 60
	c := cluster.Start(b, cluster.Options{Postgres: map[string]string{"track_commit_timestamp": "on"}})
	run := 0
	each(b, c, 5, func(k kind) values {
		run++
		w := k.start(c)
		defer w.Kill()
		h := listening(b, c, nil)
		defer h.close()
		took := map[string][]float64{}
		for n := range tasks {
			id := c.CreateTask(b.Context(), "echo", "measured", "1.0.0", map[string]any{"n": n, "run": run})
			c.WaitTask(b.Context(), id)
			var toClaim, toResult, claimCommits, resultCommits float64
			var claimed time.Time
			require.NoError(b, c.DB().QueryRow(b.Context(), loneSQL, id).Scan(&toClaim, &toResult, &claimCommits, &resultCommits, &claimed))
			step := values{
				"to-claim-ms": toClaim, "to-result-ms": toResult, "commit-to-claim-ms": claimCommits, "commit-to-result-ms": resultCommits,
				"told-to-claim-ms": float64(claimed.Sub(h.of(id)).Microseconds()) / 1000,
			}
			for what, ms := range step {
				took[what] = append(took[what], ms)
			}
		}
		medians := values{}
		for what, all := range took {
			medians[what] = median(all)
		}
		return medians
	})
}

// bareClaimSQL is the transition alone of the step $1, which the notification
// named: no message is read or kept, the step's row stays, nothing is hydrated.
const bareClaimSQL = `
WITH flip AS (
  UPDATE tasker.workflow_step_transitions SET most_recent = false, updated_at = now()
   WHERE workflow_step_uuid = $1::uuid AND most_recent AND to_state = 'enqueued'
     AND set_config('synchronous_commit', 'off', true) IS NOT NULL
  RETURNING workflow_step_uuid, to_state, sort_key
)
INSERT INTO tasker.workflow_step_transitions (workflow_step_uuid, from_state, to_state, metadata, sort_key, most_recent, created_at, updated_at)
SELECT workflow_step_uuid, to_state, 'in_progress', '{}', sort_key + 1, true, now(), now() FROM flip`

// BenchmarkLoneStepAtLeast is the time to the claim of a worker that would do
// nothing else, which no worker can beat: most of it is the server's.
func BenchmarkLoneStepAtLeast(b *testing.B) {
	c := cluster.Start(b, cluster.Options{Postgres: map[string]string{"track_commit_timestamp": "on"}})
	kinds(b)[0].start(c).Kill() // has registered the template
	conn, err := pgx.Connect(b.Context(), c.URL())
	require.NoError(b, err)
	defer func() { _ = conn.Close(context.WithoutCancel(b.Context())) }()
	var took []float64
	l := listening(b, c, func(n told) {
		_, err := conn.Exec(b.Context(), bareClaimSQL, n.Step)
		assert.NoError(b, err)
	})
	for n := range 60 {
		id := c.CreateTask(b.Context(), "echo", "measured", "1.0.0", map[string]any{"n": n})
		var claimed float64
		require.Eventually(b, func() bool {
			var toClaim *float64
			err := c.DB().QueryRow(b.Context(), `SELECT to_claim FROM (`+loneSQL+`) x(to_claim, a, b, c, d)`, id).Scan(&toClaim)
			if err != nil || toClaim == nil {
				return false
			}
			claimed = *toClaim
			return true
		}, patience, 5*time.Millisecond)
		took = append(took, claimed)
	}
	l.close()
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(took), "to-claim-ms")
}

// BenchmarkReady is the time from the start of the process until it takes
// steps, with a database that knows its templates and has its queues.
func BenchmarkReady(b *testing.B) {
	c := cluster.Start(b, cluster.Options{})
	each(b, c, 5, func(k kind) values {
		began := time.Now()
		w := k.start(c)
		took := time.Since(began)
		w.Kill()
		return values{"s": took.Seconds()}
	})
}
