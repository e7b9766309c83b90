package workflows_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// notice is an event as a subscriber of testdata/notices has written it down.
type notice struct {
	ID      string
	Name    string
	Payload json.RawMessage
	FiredBy string `json:"fired_by"`
}

// desk is a folder in which tasks of testdata/notices are run, one process
// after the other on the same file.
type desk struct {
	t   *testing.T
	dir string
}

func newDesk(t *testing.T) desk {
	t.Helper()
	t.Parallel()
	return desk{t, t.TempDir()}
}

// pay runs one task; it returns the exit code, -1 of a process that was killed.
func (d desk) pay(amount string) int {
	d.t.Helper()
	requireEngine(d.t)
	running <- struct{}{}
	defer func() { <-running }()
	project, err := filepath.Abs("testdata/notices")
	require.NoError(d.t, err)
	cmd := command("run", project, "--task", "notices", "--input", fmt.Sprintf(`{"amount":%s}`, amount), "--data", filepath.Join(d.dir, "tasks.db"))
	cmd.Env = append(cmd.Env, "NOTICES="+d.dir, "PYTHONDONTWRITEBYTECODE=1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	_ = cmd.Run() // its code tells
	d.t.Log(out.String())
	return cmd.ProcessState.ExitCode()
}

// written reads what a subscriber has written.
func (d desk) written(file string) (all []notice) {
	d.t.Helper()
	f, err := os.Open(filepath.Join(d.dir, file))
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(d.t, err)
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var n notice
		require.NoError(d.t, json.Unmarshal(lines.Bytes(), &n))
		all = append(all, n)
	}
	return all
}

func names(all []notice) []string {
	out := []string{}
	for _, n := range all {
		out = append(out, n.Name)
	}
	return out
}

func TestSubscribersGetWhatPublishersShaped(t *testing.T) {
	d := newDesk(t)
	require.Zero(t, d.pay("2000"))
	ledger := d.written("ledger")
	require.ElementsMatch(t, []string{"payment.made", "payment.seen", "payment.large"}, names(ledger))
	for _, n := range ledger {
		require.JSONEq(t, `{"amount": 2000}`, string(n.Payload), "without the card")
		require.Equal(t, "notices.PaymentPublisher", n.FiredBy)
	}
	require.Len(t, d.written("errors"), 3, "a subscriber that fails has had its turn with each")
}

func TestAnEventThatDoesNotFitItsSchemaKeepsToItself(t *testing.T) {
	d := newDesk(t)
	require.Zero(t, d.pay("999.5"))
	require.Equal(t, []string{"payment.seen"}, names(d.written("ledger")))
}

func TestAPublisherMayHoldEventsBack(t *testing.T) {
	d := newDesk(t)
	require.Zero(t, d.pay("0"))
	require.Empty(t, d.written("ledger"))
}

func TestAFailureIsPublishedOnItsOwnCondition(t *testing.T) {
	d := newDesk(t)
	require.Equal(t, 1, d.pay("-1"))
	ledger := d.written("ledger")
	require.Equal(t, []string{"payment.refused"}, names(ledger))
	require.JSONEq(t, `{"error_code": "PaymentError", "error_message": "no funds", "error_type": "PaymentError", "retryable": false}`,
		string(ledger[0].Payload))
}

func TestEachProcessHandlesOnlyWhatIsNew(t *testing.T) {
	d := newDesk(t)
	for range 3 {
		require.Zero(t, d.pay("5"))
	}
	ids := map[string]bool{}
	for _, n := range d.written("ledger") {
		ids[n.ID] = true
	}
	require.Len(t, d.written("ledger"), 6)
	require.Len(t, ids, 6)
}

func TestADurableEventWhoseSubscriberWasKilledIsHandledAgain(t *testing.T) {
	d := newDesk(t)
	require.Equal(t, -1, d.pay("13"))
	require.Zero(t, d.pay("7"))
	times := map[string]int{} // by event id
	for _, n := range d.written("ledger") {
		if n.Name == "payment.made" && string(n.Payload) == `{"amount": 13}` {
			times[n.ID]++
		}
	}
	require.Equal(t, []int{2}, slices.Collect(maps.Values(times)), "one event, twice")
}
