package bench_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/tests/built"
)

// BenchmarkOneTaskProcess is `taskerpy run … --task`, from start to exit.
func BenchmarkOneTaskProcess(b *testing.B) {
	binary, data := built.Binary(b), filepath.Join(b.TempDir(), "bench.db")
	for b.Loop() {
		command := exec.CommandContext(b.Context(), binary, "run", "handlers.py", "--task", "linear", "--input", `{"n": 6}`, "--data", data, "--quiet")
		command.Env = built.Environ()
		out, err := command.CombinedOutput()
		require.NoError(b, err, string(out))
	}
}

// serving starts `taskerpy run PATHS…` and returns its process and URL.
func serving(b *testing.B, paths ...string) (*exec.Cmd, string) {
	b.Helper()
	args := append([]string{"run"}, paths...)
	command := exec.CommandContext(b.Context(), built.Binary(b), append(args,
		"--data", filepath.Join(b.TempDir(), "bench.db"), "--listen", "127.0.0.1:0", "--log-format", "text")...)
	command.Env = built.Environ()
	stderr, err := command.StderrPipe()
	require.NoError(b, err)
	require.NoError(b, command.Start())
	b.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGKILL)
		_ = command.Wait()
	})
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if _, rest, ok := strings.Cut(lines.Text(), "url="); ok {
			url, _, _ := strings.Cut(rest, " ")
			go func() { _, _ = io.Copy(io.Discard, stderr) }() // ends with the process
			return command, strings.Trim(url, `"`)
		}
	}
	require.Fail(b, "the program did not start")
	return nil, ""
}

// BenchmarkIdleMemory reports the resident memory of a worker that waits.
func BenchmarkIdleMemory(b *testing.B) {
	command, _ := serving(b, "handlers.py")
	for b.Loop() {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", command.Process.Pid))
		require.NoError(b, err)
		for line := range strings.Lines(string(status)) {
			if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmRSS:" {
				kib, err := strconv.ParseFloat(fields[1], 64)
				require.NoError(b, err)
				b.ReportMetric(kib/1024, "MiB")
			}
		}
	}
}

// BenchmarkHealthWhileLanesSpin asks for health and metrics while four lanes
// are inside Python code that never waits.
func BenchmarkHealthWhileLanesSpin(b *testing.B) {
	_, url := serving(b, "spinning")
	for n := range 4 {
		post(b, url, fmt.Sprintf(`{"namespace":"default","name":"spinning","version":"1.0.0","context":{"n":%d},
			"initiator":"bench","source_system":"bench","reason":"spin"}`, n))
	}
	for !strings.Contains(get(b, url+"/metrics"), `tasker_lanes{state="running"} 4`) {
		time.Sleep(10 * time.Millisecond)
	}
	for _, path := range []string{"/health", "/health/ready", "/metrics"} {
		b.Run(path[1:], func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				started := time.Now()
				get(b, url+path)
				took = append(took, time.Since(started))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
			b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "max-ms")
		})
	}
}

func get(b *testing.B, url string) string {
	b.Helper()
	response, err := http.Get(url) //nolint:noctx // the benchmark ends it
	require.NoError(b, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(b, err)
	require.Equal(b, http.StatusOK, response.StatusCode, string(body))
	return string(body)
}

func post(b *testing.B, url, body string) {
	b.Helper()
	response, err := http.Post(url+"/v1/tasks", "application/json", strings.NewReader(body)) //nolint:noctx // ditto
	require.NoError(b, err)
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	require.NoError(b, err)
	require.Equal(b, http.StatusOK, response.StatusCode, string(text))
}
