package worker

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// taken is what next_host_records answers.
type taken struct {
	Records []hostRecord
	Lost    int
}

func take(t *testing.T, n *natives) taken {
	t.Helper()
	var batch taken
	require.NoError(t, json.Unmarshal([]byte(answer(t, n, "next_host_records", "")), &batch))
	return batch
}

// recorded is a log whose records a program can ask for.
func recorded(out io.Writer) (*slog.Logger, *natives) {
	r := NewRecords()
	text := slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelWarn})
	return slog.New(r.Handler(text)), &natives{records: r}
}

func TestRecordsAreKeptOnlyWhileAProgramReceivesThem(t *testing.T) {
	var out strings.Builder
	log, n := recorded(&out)
	require.False(t, log.Enabled(t.Context(), slog.LevelInfo), "nobody asks for it, and it would not be written")
	log.Warn("before")
	answer(t, n, "receive_host_records", `{"level": 20}`)
	log.Debug("too low")
	log.Info("begun")
	log.Error("gone", "tries", 3)
	require.Equal(t, []string{"begun", "gone"}, messages(take(t, n)))
	answer(t, n, "stop_host_records", "")
	log.Warn("after")
	require.Empty(t, answer(t, n, "next_host_records", ""), "it has stopped")
	require.NotContains(t, out.String(), "begun", "what is received is not written where it was not before")
	require.Contains(t, out.String(), "gone")
}

func messages(batch taken) []string {
	out := []string{}
	for _, r := range batch.Records {
		out = append(out, r.Message)
	}
	return out
}

func TestWhatCameLastIsTakenAfterTheStop(t *testing.T) {
	log, n := recorded(io.Discard)
	answer(t, n, "receive_host_records", `{"level": 20}`)
	log.Info("last")
	answer(t, n, "stop_host_records", "")
	require.Equal(t, []string{"last"}, messages(take(t, n)))
	require.Empty(t, answer(t, n, "next_host_records", ""))
}

func TestWhoeverWaitsForRecordsIsWoken(t *testing.T) {
	for name, wake := range map[string]func(*slog.Logger, *natives){
		"a record": func(log *slog.Logger, _ *natives) { log.Info("news") },
		"a stop":   func(_ *slog.Logger, n *natives) { answer(t, n, "stop_host_records", "") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, n := recorded(io.Discard)
				answer(t, n, "receive_host_records", `{"level": 20}`)
				got := make(chan string)
				go func() { got <- answer(t, n, "next_host_records", "") }()
				synctest.Wait() // it waits
				wake(log, n)
				if name == "a stop" {
					require.Empty(t, <-got)
				} else {
					require.Contains(t, <-got, "news")
				}
			})
		})
	}
}

func TestThereIsOneReceiverOfRecords(t *testing.T) {
	_, n := recorded(io.Discard)
	answer(t, n, "receive_host_records", `{"level": 20}`)
	_, err := n.native("receive_host_records", []byte(`{"level": 20}`))
	require.EqualError(t, err, "records of the host are received already: stop that first")
	answer(t, n, "stop_host_records", "")
	answer(t, n, "receive_host_records", `{"level": 20}`)
	_, err = n.native("receive_host_records", []byte(`no JSON`))
	require.ErrorContains(t, err, "receive_host_records")
}

func TestASlowReceiverLosesTheNewestRecordsAndIsToldHowMany(t *testing.T) {
	log, n := recorded(io.Discard)
	answer(t, n, "receive_host_records", `{"level": 20}`)
	for i := range recordsBacklog + 3 {
		log.Info("line", "n", i)
	}
	batch := take(t, n)
	require.Len(t, batch.Records, recordsBacklog)
	require.EqualValues(t, 0, batch.Records[0].Fields["n"])
	require.Equal(t, 3, batch.Lost)
	log.Info("line")
	require.Equal(t, 0, take(t, n).Lost)
}

func TestRecordsCarryLevelTimeAndFields(t *testing.T) {
	log, n := recorded(io.Discard)
	answer(t, n, "receive_host_records", `{"level": 5}`)
	log = log.With("worker", "w").WithGroup("step").With("name", "pay")
	before := time.Now()
	log.Warn("late", "tries", 3, "ok", true, "took", 2*time.Second, "error", errors.New("down"),
		slog.Group("task", "uuid", "t"), "share", 0.5, "none", math.NaN(), "at", time.Unix(0, 0))
	for _, level := range []slog.Level{slog.LevelError, slog.LevelInfo, slog.LevelDebug, slog.LevelDebug - 4} {
		log.Log(t.Context(), level, level.String())
	}
	batch := take(t, n)
	late := batch.Records[0]
	require.WithinDuration(t, before, time.UnixMicro(int64(late.Time*1e6)), time.Minute)
	require.Equal(t, map[string]any{
		"worker": "w", "step.name": "pay", "step.tries": 3.0, "step.ok": true, "step.took": "2s", "step.error": "down",
		"step.task.uuid": "t", "step.share": 0.5, "step.none": "NaN", "step.at": "1970-01-01T00:00:00Z",
	}, late.Fields)
	levels := []int{}
	for _, r := range batch.Records {
		levels = append(levels, r.Level)
	}
	require.Equal(t, []int{30, 40, 20, 10, 5}, levels)
}

func TestWhatPythonHasLoggedIsNoRecordOfTheHost(t *testing.T) {
	c := Config{Log: slog.New(slog.DiscardHandler)}
	c.fill()
	n := newNatives(c)
	answer(t, n, "receive_host_records", `{"level": 5}`)
	answer(t, n, "log", `{"level": 40, "message": "of a handler"}`)
	c.Log.Info("of the host")
	require.Equal(t, []string{"of the host"}, messages(take(t, n)))
}
