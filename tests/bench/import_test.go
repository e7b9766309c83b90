package bench_test

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/tests/built"
)

// BenchmarkImport reports how long the import of tasker_core takes in a fresh
// embedded interpreter, how long that and the first use for a handler take
// together, and how much of this is pydantic's: the best of some rounds, for
// what else the machine does must not count.
func BenchmarkImport(b *testing.B) {
	const rounds = 5
	binary := built.Binary(b)
	statements := map[string]string{
		"tasker_core": "import tasker_core",
		"handler":     "from tasker_core import StepContext, StepHandler, StepHandlerResult",
		"pydantic":    "from pydantic import BaseModel, ConfigDict, Field, AliasChoices",
	}
	best := map[string]float64{}
	for b.Loop() {
		for range rounds {
			for name, statement := range statements {
				took := milliseconds(b, binary, statement)
				if before, ok := best[name]; !ok || took < before {
					best[name] = took
				}
			}
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
