package engine

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/engine/store"
)

// manyFinished is how many finished tasks a file of the benchmarks holds.
const manyFinished = 1_000_000

// fileWithFinishedTasks makes a file with many finished tasks of the template
// linear that ended over the last year. They are copies of one that was really
// run, with ids, uuids and identities of their own.
func fileWithFinishedTasks(t testing.TB, path string, tasks int) {
	t.Helper()
	e := open(t, Options{Path: path}, linear)
	work(t, e, succeed)
	require.Equal(t, "complete", await(t, e, submit(t, e, asked("linear", -1))).Status)
	require.NoError(t, e.Close(context.Background()))
	copyTask(t, path, tasks, 365*24*time.Hour)
}

// copyTask makes as many tasks of the file's only one, spread over a time that
// ends now.
func copyTask(t testing.TB, path string, tasks int, over time.Duration) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+path)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	db.SetMaxOpenConns(1)
	const id = `unhex(printf('%012x7', abs(random()) & 0xffffffffffff) || substr(hex(randomblob(10)), 1, 19))`
	script := []string{
		"PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF", "PRAGMA cache_size = -1000000", "PRAGMA foreign_keys = OFF", "BEGIN",
		fmt.Sprintf(`CREATE TEMP TABLE copies AS WITH RECURSIVE c (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM c WHERE n < %d)
			SELECT n, -(%d - n) * %d AS shift FROM c`, tasks, tasks, over.Microseconds()/int64(tasks)),
	}
	copied := map[string]map[string]string{
		"tasks": {
			"id": "n", "uuid": id, "identity_hash": "randomblob(32)", "correlation_id": id,
			"state_since": "+shift", "requested_at": "+shift", "created_at": "+shift", "updated_at": "+shift", "completed_at": "+shift",
		},
		"task_contexts": {"task_id": "n"},
		"workflow_steps": {
			"id": "(n << 24) + (r.id & 16777215)", "uuid": id,
			"last_attempted_at": "+shift", "processed_at": "+shift", "created_at": "+shift", "updated_at": "+shift",
		},
		"history": {"id": "(n << 24) + (r.id & 16777215)", "at": "+shift"},
	}
	for _, table := range []string{"tasks", "task_contexts", "workflow_steps", "history"} {
		columns, values := columnsOf(t, db, table), []string{}
		for _, c := range columns {
			switch v := copied[table][c]; v {
			case "":
				values = append(values, "r."+c)
			case "+shift":
				values = append(values, "r."+c+" + shift")
			default:
				values = append(values, v)
			}
		}
		script = append(script, fmt.Sprintf(`INSERT INTO %s (%s) SELECT %s FROM copies CROSS JOIN (SELECT * FROM %s) r ORDER BY n`,
			table, strings.Join(columns, ", "), strings.Join(values, ", "), table))
	}
	script = append(script, "COMMIT", "PRAGMA journal_mode = WAL")
	for _, statement := range script {
		_, err := db.Exec(statement)
		require.NoError(t, err, statement)
	}
	// A page cache full of unwritten pages would be measured, not the engine.
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
}

func columnsOf(t testing.TB, db *sql.DB, table string) (columns []string) {
	t.Helper()
	r, err := db.Query("SELECT name FROM pragma_table_info(?)", table)
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	for r.Next() {
		var name string
		require.NoError(t, r.Scan(&name))
		columns = append(columns, name)
	}
	require.NoError(t, r.Err())
	return columns
}

// serial numbers requests, so that no two are equal.
var serial atomic.Int64

// throughput runs tasks of the template linear, many at a time, and returns
// steps per second.
func throughput(b *testing.B, e *Engine, tasks int) float64 {
	b.Helper()
	const submitters = 64
	var left atomic.Int64
	left.Store(int64(tasks))
	began := time.Now()
	var wg sync.WaitGroup
	for range submitters {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := runOne(e, "linear"); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return 4 * float64(tasks) / time.Since(began).Seconds()
}

// latencies runs tasks one after another and returns how long each took,
// shortest first.
func latencies(b *testing.B, e *Engine, tasks int) []time.Duration {
	b.Helper()
	all := make([]time.Duration, tasks)
	for i := range all {
		took, err := runOne(e, "linear")
		require.NoError(b, err)
		all[i] = took
	}
	slices.Sort(all)
	return all
}

func runOne(e *Engine, name string) (time.Duration, error) {
	began := time.Now()
	id, err := e.Create(context.Background(), asked(name, int(serial.Add(1))))
	if err == nil {
		_, err = e.Wait(context.Background(), id)
	}
	return time.Since(began), err
}

func percentile(sorted []time.Duration, p float64) float64 {
	return sorted[min(int(p*float64(len(sorted))), len(sorted)-1)].Seconds() * 1000
}

// median of some numbers.
func median(numbers []float64) float64 {
	slices.Sort(numbers)
	return numbers[len(numbers)/2]
}

// BenchmarkFinishedTasks shows what 1,000,000 finished tasks in the file cost:
// memory, the start, and new tasks beside them; and what deleting them costs.
func BenchmarkFinishedTasks(b *testing.B) {
	path := filepath.Join(b.TempDir(), "full.db")
	began := time.Now()
	fileWithFinishedTasks(b, path, manyFinished)
	info, err := os.Stat(path)
	require.NoError(b, err)
	b.Logf("made a file of %d MB with %d finished tasks in %s", info.Size()>>20, manyFinished, time.Since(began).Round(time.Second))
	b.Run("memory", func(b *testing.B) { benchmarkMemory(b, path) })
	b.Run("new", func(b *testing.B) { benchmarkNewTasks(b, path) })
	b.Run("retention", func(b *testing.B) { benchmarkRetention(b, path) })
}

// benchmarkNewTasks compares an empty file with the full one, by turns: what
// new tasks cost must not grow with what is finished (at most 1.2 times).
func benchmarkNewTasks(b *testing.B, path string) {
	began := time.Now()
	full := open(b, Options{Path: path}, linear)
	b.ReportMetric(float64(time.Since(began).Milliseconds()), "open-full-ms")
	empty := open(b, Options{Path: filepath.Join(b.TempDir(), "empty.db")}, linear)
	trivialWorker(b, full)
	trivialWorker(b, empty)
	engines := []*Engine{empty, full}
	for _, e := range engines {
		throughput(b, e, 2000) // caches filled, code compiled into the processor's
	}
	// Short turns, so that both meet the same noise of the machine.
	var speed [2][]float64
	var alone [2][]time.Duration
	for b.Loop() {
		for range 25 {
			for i, e := range engines {
				speed[i] = append(speed[i], throughput(b, e, 2000))
			}
		}
		for range 1000 {
			for i, e := range engines {
				alone[i] = append(alone[i], latencies(b, e, 1)...)
			}
		}
	}
	for i, name := range []string{"empty", "full"} {
		slices.Sort(alone[i])
		b.ReportMetric(median(speed[i]), "steps/s-"+name)
		b.ReportMetric(percentile(alone[i], 0.5), "p50-ms-"+name)
		b.ReportMetric(percentile(alone[i], 0.99), "p99-ms-"+name)
	}
	b.ReportMetric(median(speed[0])/median(speed[1]), "throughput-ratio")
	b.ReportMetric(percentile(alone[1], 0.5)/percentile(alone[0], 0.5), "latency-ratio")
	b.ReportMetric(0, "ns/op")
}

// benchmarkRetention measures lone tasks while expired ones are deleted beside
// them, and while nothing else goes on.
func benchmarkRetention(b *testing.B, path string) {
	e := open(b, Options{Path: path}, linear)
	trivialWorker(b, e)
	throughput(b, e, 2000)
	calm := latencies(b, e, 3000)
	quick := throughput(b, e, 10_000)

	e.o.Keep = 30 * 24 * time.Hour
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	before := countTasks(b, e)
	began := time.Now()
	wg.Go(func() {
		if err := e.expire(ctx); err != nil && ctx.Err() == nil {
			b.Error(err)
		}
	})
	var busy []time.Duration
	slow := 0.0
	for b.Loop() {
		busy = latencies(b, e, 3000)
		slow = throughput(b, e, 10_000)
	}
	took := time.Since(began)
	deleted := before + int64(b.N)*13_000 - countTasks(b, e)
	cancel()
	wg.Wait()
	b.ReportMetric(float64(deleted)/took.Seconds(), "deleted-tasks/s")
	for name, l := range map[string][]time.Duration{"calm": calm, "deleting": busy} {
		b.ReportMetric(percentile(l, 0.5), "p50-ms-"+name)
		b.ReportMetric(percentile(l, 0.99), "p99-ms-"+name)
		b.ReportMetric(percentile(l, 0.999), "p99.9-ms-"+name)
	}
	b.ReportMetric(quick/slow, "throughput-ratio")
	b.ReportMetric(0, "ns/op")
}

func countTasks(b *testing.B, e *Engine) (n int64) {
	b.Helper()
	require.NoError(b, e.read(context.Background(), func(r *store.Reader) error {
		counts, err := r.CountTasks(context.Background(), 0)
		for _, c := range counts {
			n += int64(c.Tasks)
		}
		return err
	}))
	return n
}

// BenchmarkShapes compares what a step costs in a task of four steps, of
// 10,000 steps that start at once after the first and meet in the last, and of
// 1,000 steps in a chain (at most twice as much).
func BenchmarkShapes(b *testing.B) {
	e := open(b, Options{Path: filepath.Join(b.TempDir(), "test.db")}, linear, fan("fan", 10_000), line("line", 1000))
	trivialWorker(b, e)
	throughput(b, e, 2000)
	perStep := func(name string, steps int) float64 {
		took, err := runOne(e, name)
		require.NoError(b, err)
		return took.Seconds() * 1e6 / float64(steps)
	}
	var lone, crowd, fanned, chained []float64
	for b.Loop() {
		for range 5 {
			// A chain has one step under way at a time, as a lone task; a fan has
			// many, as many tasks at once.
			l := latencies(b, e, 250)
			lone = append(lone, percentile(l, 0.5)*1000/4)
			crowd = append(crowd, 1e6/throughput(b, e, 2500))
			chained = append(chained, perStep("line", 1000))
			fanned = append(fanned, perStep("fan", 10_002))
		}
	}
	b.ReportMetric(median(lone), "µs/step-lone-task")
	b.ReportMetric(median(chained), "µs/step-chain")
	b.ReportMetric(median(chained)/median(lone), "chain-ratio")
	b.ReportMetric(median(crowd), "µs/step-many-tasks")
	b.ReportMetric(median(fanned), "µs/step-fan")
	b.ReportMetric(median(fanned)/median(crowd), "fan-ratio")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkExpansion compares what a worker of a batch costs when the batch is
// made, of 2,000 workers and of 20,000 (at most twice as much).
func BenchmarkExpansion(b *testing.B) {
	perWorker := func(n int) float64 {
		e := open(b, Options{Path: filepath.Join(b.TempDir(), "test.db")}, crunching)
		submit(b, e, asked("crunching", 1))
		ids := make([]string, n)
		for i := range ids {
			ids[i] = strconv.Itoa(i)
		}
		analyzed := take(b, e)
		began := time.Now()
		finish(b, e, analyzed, dispatch.Success, batches("crunch", ids...))
		settle(b, e)
		return time.Since(began).Seconds() * 1e6 / float64(n)
	}
	var few, many []float64
	for b.Loop() {
		for range 3 {
			few, many = append(few, perWorker(2000)), append(many, perWorker(20_000))
		}
	}
	b.ReportMetric(median(few), "µs/worker-of-2000")
	b.ReportMetric(median(many), "µs/worker-of-20000")
	b.ReportMetric(median(many)/median(few), "expansion-ratio")
	b.ReportMetric(0, "ns/op")
}

// benchmarkMemory tells how much memory the engine holds for finished tasks,
// and for each running one.
func benchmarkMemory(b *testing.B, path string) {
	before := heapInUse()
	e := open(b, Options{Path: path}, linear)
	for b.Loop() {
		const running = 2000
		opened := heapInUse()
		var ids []uuid.UUID
		for range running {
			id, err := e.Create(context.Background(), asked("linear", int(serial.Add(1))))
			require.NoError(b, err)
			ids = append(ids, id)
		}
		held := heapInUse()
		b.ReportMetric(float64(opened-before)/(1<<20), "MB-finished")
		b.ReportMetric(float64(held-opened)/running, "B/running-task")
		for _, id := range ids {
			_, err := e.Cancel(context.Background(), id)
			require.NoError(b, err)
		}
	}
	b.ReportMetric(0, "ns/op")
}

// heapInUse is how many bytes are in use after a collection.
func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
