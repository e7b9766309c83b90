package cli

import (
	"bytes"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/config"
	"github.com/tasker-systems/taskerpy/worker"
)

// loggingTo sets logs up as a command does whose standard error is a pipe.
func loggingTo(t *testing.T, long bool, flags ...string) (*logging, *bytes.Buffer) {
	t.Helper()
	var f config.Flags
	for i := 0; i < len(flags); i += 2 {
		f.Set(flags[i], flags[i+1])
	}
	c, err := config.Load(config.Sources{Flags: &f, Env: func(string) string { return "" }, Dir: t.TempDir()})
	require.NoError(t, err)
	var b bytes.Buffer
	return (&app{err: &b}).newLogging(c, long), &b
}

// timeless takes the time off each line.
func timeless(b *bytes.Buffer) string {
	return regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d) `).ReplaceAllString(b.String(), "")
}

func TestLogRecordsAreLinesOfText(t *testing.T) {
	l, b := loggingTo(t, true, "log_format", "text")
	l.log.With("worker", "w 1").WithGroup("engine").Warn("slow disk", "took", time.Second, slog.Group("file", "path", "/a=b"))
	l.log.Info("ready")
	require.Equal(t, "WARN  slow disk  worker=\"w 1\" engine.took=1s engine.file.path=\"/a=b\"\nINFO  ready\n", timeless(b))
}

func TestOutputCarriesStepTaskAndCorrelationID(t *testing.T) {
	l, b := loggingTo(t, true, "log_format", "text")
	l.output(worker.OutputLine{Stream: "stdout", Text: "half = 1/2", Step: "pay", TaskUUID: "t-1", CorrelationID: "c-1"})
	l.output(worker.OutputLine{Text: "declined", Level: slog.LevelError, Logger: "bank", Source: "pay.py:7", Step: "pay", TaskUUID: "t-1", CorrelationID: "c-1"})
	l.output(worker.OutputLine{Stream: "stderr", Text: "while importing"})
	require.Equal(t, "pay: half = 1/2  task=t-1 correlation_id=c-1\n"+
		"ERROR pay: declined  task=t-1 correlation_id=c-1 logger=bank source=pay.py:7\n"+
		"while importing\n", timeless(b))
}

func TestATracebackStandsBelowItsLine(t *testing.T) {
	l, b := loggingTo(t, true, "log_format", "text")
	l.output(worker.OutputLine{Text: "failed", Level: slog.LevelError, Exception: "Traceback:\n  File \"pay.py\"\nValueError\n"})
	require.Equal(t, "ERROR failed\n    Traceback:\n      File \"pay.py\"\n    ValueError\n", timeless(b))
}

func TestTheTaskShownAboveIsNotRepeated(t *testing.T) {
	l, b := loggingTo(t, false)
	l.text.isShown("t-1")
	l.output(worker.OutputLine{Stream: "stdout", Text: "mine", Step: "pay", TaskUUID: "t-1", CorrelationID: "c-1"})
	l.output(worker.OutputLine{Stream: "stdout", Text: "another's", Step: "pay", TaskUUID: "t-2", CorrelationID: "c-2"})
	require.Equal(t, "pay: mine\npay: another's  task=t-2 correlation_id=c-2\n", timeless(b))
}

func TestOneTaskIsQuietUnlessALevelIsAskedFor(t *testing.T) {
	l, b := loggingTo(t, false)
	l.log.Info("hidden")
	l.log.Warn("shown")
	require.Equal(t, "WARN  shown\n", timeless(b))
	l, b = loggingTo(t, false, "log_level", "debug")
	l.log.Debug("shown too")
	require.Equal(t, "DEBUG shown too\n", timeless(b))
}

func TestALongRunWithoutATerminalLogsJSON(t *testing.T) {
	l, b := loggingTo(t, true)
	l.log.Info("ready")
	require.Nil(t, l.text)
	require.Regexp(t, `^\{"time":"[^"]+","level":"INFO","msg":"ready"\}\n$`, b.String())
}

func TestJSONShowsWhatIsPrintedAtEveryLevel(t *testing.T) {
	l, b := loggingTo(t, true, "log_level", "error")
	l.log.Warn("hidden")
	l.output(worker.OutputLine{Stream: "stdout", Text: "printed", Step: "pay", TaskUUID: "t-1", CorrelationID: "c-1"})
	l.output(worker.OutputLine{Text: "traced", Level: slog.LevelDebug - 4, Logger: "bank"})
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	require.Len(t, lines, 2)
	require.Contains(t, lines[0], `"msg":"printed","stream":"stdout","step":"pay","task_uuid":"t-1","correlation_id":"c-1"`)
	require.Contains(t, lines[1], `"level":"TRACE"`)
}

func TestALineGoesWhereTheConsoleWasDiverted(t *testing.T) {
	l, b := loggingTo(t, true, "log_format", "text")
	var above bytes.Buffer
	l.console.divert(&above)
	l.log.Info("ready")
	require.Empty(t, b.String())
	require.Equal(t, "INFO  ready\n", timeless(&above))
}
