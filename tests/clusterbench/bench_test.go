// Package clusterbench_test measures a worker of a deployment beside the
// published one, tasker-py, in the same run and on the same database. `make
// bench-cluster` runs it.
package clusterbench_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

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

// kinds start the workers that are compared.
func kinds(b *testing.B) map[string]func(c *cluster.Cluster) worker {
	binary := built.Binary(b)
	return map[string]func(c *cluster.Cluster) worker{
		"taskerpy":  func(c *cluster.Cluster) worker { return c.StartWorker(b.Context(), binary, handlers) },
		"tasker-py": func(c *cluster.Cluster) worker { return c.StartReferenceWorker(b.Context(), handlers, handlers) },
	}
}

// each measures both kinds, rounds times in turn, and reports the medians and
// how they compare.
func each(b *testing.B, rounds int, unit string, measure func(name string, start func(*cluster.Cluster) worker) map[string]float64) {
	all := map[string]map[string][]float64{}
	for range rounds {
		for name, start := range kinds(b) {
			if all[name] == nil {
				all[name] = map[string][]float64{}
			}
			for what, value := range measure(name, start) {
				all[name][what] = append(all[name][what], value)
			}
		}
	}
	b.ReportMetric(0, "ns/op") // the operations are counted below
	for what := range all["taskerpy"] {
		ours, theirs := median(all["taskerpy"][what]), median(all["tasker-py"][what])
		b.ReportMetric(ours, "taskerpy-"+what+unit)
		b.ReportMetric(theirs, "tasker-py-"+what+unit)
		b.ReportMetric(ours/theirs, "ratio-"+what)
	}
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
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
// returns how long that took from the first claim to the last result.
func backlog(b *testing.B, c *cluster.Cluster, template string, n int) time.Duration {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	var before time.Time
	require.NoError(b, c.DB().QueryRow(ctx, `SELECT clock_timestamp() AT TIME ZONE 'UTC'`).Scan(&before))
	_, err := c.DB().Exec(ctx, enqueueSQL, template, n)
	require.NoError(b, err)
	const results = `FROM tasker.workflow_step_transitions WHERE from_state = 'in_progress' AND created_at >= $1`
	for done := 0; done < n; {
		require.NoError(b, c.DB().QueryRow(ctx, `SELECT count(*) `+results, before).Scan(&done))
		time.Sleep(20 * time.Millisecond)
	}
	var first, last time.Time
	require.NoError(b, c.DB().QueryRow(ctx, `SELECT min(created_at) FROM tasker.workflow_step_transitions
		WHERE from_state = 'enqueued' AND created_at >= $1`, before).Scan(&first))
	require.NoError(b, c.DB().QueryRow(ctx, `SELECT max(created_at) `+results, before).Scan(&last))
	return last.Sub(first)
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

// register makes the templates and queues known.
func register(b *testing.B, c *cluster.Cluster) {
	w := c.StartWorker(b.Context(), built.Binary(b), handlers)
	_, err := w.Stop()
	require.NoError(b, err)
}

// BenchmarkBacklog is the worker alone: nobody looks at its results.
func BenchmarkBacklog(b *testing.B) {
	c := cluster.Start(b, cluster.Options{NoServer: true})
	register(b, c)
	steps := map[string]int{"taskerpy": 5000, "tasker-py": 500}
	each(b, 1, "", func(name string, start func(*cluster.Cluster) worker) map[string]float64 {
		w := start(c)
		defer w.Kill()
		backlog(b, c, "echo", 50)
		before := processorTime(b, w.PID())
		took := backlog(b, c, "echo", steps[name])
		used := processorTime(b, w.PID()) - before
		n := float64(steps[name])
		return map[string]float64{"steps/s": n / took.Seconds(), "cpu-ms/step": used.Seconds() * 1000 / n}
	})
}

// BenchmarkWaitingHandlers is 200 steps that wait for 100 ms each.
func BenchmarkWaitingHandlers(b *testing.B) {
	c := cluster.Start(b, cluster.Options{NoServer: true})
	register(b, c)
	each(b, 1, "", func(_ string, start func(*cluster.Cluster) worker) map[string]float64 {
		w := start(c)
		defer w.Kill()
		return map[string]float64{"s": backlog(b, c, "wait", 200).Seconds()}
	})
}

// BenchmarkLoneStep is how long steps that come one by one take, with the
// server that orchestrates them.
func BenchmarkLoneStep(b *testing.B) {
	const tasks = 60
	c := cluster.Start(b, cluster.Options{})
	register(b, c)
	run := 0
	each(b, 1, "", func(_ string, start func(*cluster.Cluster) worker) map[string]float64 {
		run++
		w := start(c)
		defer w.Kill()
		var claimed, stored []float64
		for n := range tasks {
			id := c.CreateTask(b.Context(), "echo", "measured", "1.0.0", map[string]any{"n": n, "run": run})
			c.WaitTask(b.Context(), id)
			var a, z float64
			require.NoError(b, c.DB().QueryRow(b.Context(), `
				SELECT extract(epoch FROM p.created_at - e.created_at) * 1000, extract(epoch FROM r.created_at - p.created_at) * 1000
				  FROM tasker.workflow_steps s
				  JOIN tasker.workflow_step_transitions e ON e.workflow_step_uuid = s.workflow_step_uuid AND e.to_state = 'enqueued'
				  JOIN tasker.workflow_step_transitions p ON p.workflow_step_uuid = s.workflow_step_uuid AND p.to_state = 'in_progress'
				  JOIN tasker.workflow_step_transitions r ON r.workflow_step_uuid = s.workflow_step_uuid AND r.from_state = 'in_progress'
				 WHERE s.task_uuid = $1`, id).Scan(&a, &z))
			claimed, stored = append(claimed, a), append(stored, z)
		}
		return map[string]float64{"to-claim-ms": median(claimed), "to-result-ms": median(stored)}
	})
}

// BenchmarkReady is the time from the start of the process to its readiness.
func BenchmarkReady(b *testing.B) {
	c := cluster.Start(b, cluster.Options{NoServer: true})
	register(b, c)
	each(b, 3, "", func(_ string, start func(*cluster.Cluster) worker) map[string]float64 {
		began := time.Now()
		w := start(c)
		took := time.Since(began)
		w.Kill()
		return map[string]float64{"s": took.Seconds()}
	})
}
