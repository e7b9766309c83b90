package bench_test

import (
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkAgainstDBOS runs the same workflow here and on DBOS, both on
// SQLite, in turns, and reports the ratio of their steps per second.
// DBOS_PYTHON names a Python that has dbos.
func BenchmarkAgainstDBOS(b *testing.B) {
	python := os.Getenv("DBOS_PYTHON")
	if python == "" {
		b.Skip("set DBOS_PYTHON to a Python with dbos installed, as `make bench` does")
	}
	const tasks, dbosTasks = 2000, 150
	var ours, theirs float64
	for b.Loop() {
		e := openEngine(b)
		started := time.Now()
		runTasks(b, e, 0, tasks)
		ours += 4 * tasks / time.Since(started).Seconds()
		theirs += dbos(b, python, dbosTasks)
	}
	b.ReportMetric(ours/float64(b.N), "taskerpy-steps/s")
	b.ReportMetric(theirs/float64(b.N), "dbos-steps/s")
	b.ReportMetric(ours/theirs, "ratio")
}

func dbos(b *testing.B, python string, tasks int) float64 {
	b.Helper()
	command := exec.CommandContext(b.Context(), python, "dbos_linear.py", b.TempDir(), strconv.Itoa(tasks))
	command.Stderr = os.Stderr
	out, err := command.Output()
	require.NoError(b, err)
	rate, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	require.NoError(b, err)
	return rate
}

// BenchmarkStepAgainstPublished runs the same step here, from dispatch through
// the handler to its result on one lane, and in the Python code of the
// published tasker-py, in turns, and reports the best time of each and their
// ratio: what else the machine does must not count. TASKER_PY_PYTHON names a
// Python that has tasker-py. What is measured of it leaves out its native half,
// so the ratio is the least that it can be.
func BenchmarkStepAgainstPublished(b *testing.B) {
	python := os.Getenv("TASKER_PY_PYTHON")
	if python == "" {
		b.Skip("set TASKER_PY_PYTHON to a Python with tasker-py installed, as `make bench` does")
	}
	const steps, rounds = 5_000, 5
	step := event(b)
	file := filepath.Join(b.TempDir(), "event.json")
	require.NoError(b, os.WriteFile(file, step.Event, 0o600))
	runSteps(b, step, steps/10) // imports and caches
	ours, theirs := math.Inf(1), math.Inf(1)
	for b.Loop() {
		for range rounds {
			ours = min(ours, float64(runSteps(b, step, steps).Nanoseconds())/1000/steps)
			theirs = min(theirs, published(b, python, file, steps))
		}
	}
	b.ReportMetric(ours, "taskerpy-us/step")
	b.ReportMetric(theirs, "published-us/step")
	b.ReportMetric(theirs/ours, "ratio")
}

// published returns the microseconds of one step in the published package.
func published(b *testing.B, python, event string, steps int) float64 {
	b.Helper()
	command := exec.CommandContext(b.Context(), python, "published_step.py", event, strconv.Itoa(steps))
	command.Env = append(os.Environ(), "RUST_LOG=error", "PYTHONDONTWRITEBYTECODE=1") // lines that are switched off cost least
	command.Stderr = os.Stderr
	out, err := command.Output()
	require.NoError(b, err, string(out))
	for line := range strings.Lines(string(out)) {
		if text, ok := strings.CutPrefix(line, "us per step: "); ok {
			took, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			require.NoError(b, err)
			return took
		}
	}
	require.Fail(b, "no time", string(out))
	return 0
}
