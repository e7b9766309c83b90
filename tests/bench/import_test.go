package bench_test

import (
	"math"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/tests/built"
)

// BenchmarkImport reports how long the import of tasker_core takes in a fresh
// embedded interpreter, and how much of that is pydantic's: the best of some
// rounds, for what else the machine does must not count.
func BenchmarkImport(b *testing.B) {
	const rounds = 5
	binary := built.Binary(b)
	best := map[string]float64{"tasker_core": math.Inf(1), "pydantic": math.Inf(1)}
	for b.Loop() {
		for range rounds {
			best["tasker_core"] = min(best["tasker_core"], milliseconds(b, binary, "import tasker_core"))
			best["pydantic"] = min(best["pydantic"], milliseconds(b, binary, "from pydantic import BaseModel, ConfigDict, Field, AliasChoices"))
		}
	}
	for name, took := range best {
		b.ReportMetric(took, name+"-ms")
	}
}

// milliseconds is the processor's time that a statement takes in a new process.
func milliseconds(b *testing.B, binary, statement string) float64 {
	b.Helper()
	program := "import time; started = time.process_time()\n" + statement + "\nprint((time.process_time() - started) * 1000)"
	command := exec.CommandContext(b.Context(), binary, "python", "-c", program)
	command.Env = built.Environ("PYTHONDONTWRITEBYTECODE=")
	out, err := command.Output()
	require.NoError(b, err)
	took, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	require.NoError(b, err)
	return took
}
