package engine

import (
	"bytes"
	"log/slog"
	"regexp"
	"sync"
	"testing"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

// failureLog is a log that a test reads.
type failureLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *failureLog) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(line)
}

// lines are those about attempts that failed, without their times.
func (w *failureLog) lines() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return regexp.MustCompile(`level=\w+ msg="step failed.*`).FindAllString(w.b.String(), -1)
}

func (w *failureLog) log() *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

const twoAttempts = "max_attempts: 2, backoff: none"

func TestEachFailedAttemptIsLoggedOnceAndTheLastOneAsAnError(t *testing.T) {
	var log failureLog
	e := open(t, Options{Log: log.log()}, retrying(twoAttempts))
	id := submit(t, e, asked("retrying", 1))
	finish(t, e, take(t, e), dispatch.RetryableFailure, "not yet")
	finish(t, e, take(t, e), dispatch.RetryableFailure, "never")
	task := await(t, e, id)
	settle(t, e)
	ids := " step=flaky task_uuid=" + id.String() + " correlation_id=" + task.CorrelationID.String()
	require.Equal(t, []string{
		`level=WARN msg="step failed, another attempt follows"` + ids + ` attempt=1 error_type=TestError error="not yet"`,
		`level=ERROR msg="step failed"` + ids + ` attempt=2 error_type=TestError error=never`,
	}, log.lines())
}

func TestAPermanentFailureIsLoggedAsAnErrorAtOnce(t *testing.T) {
	var log failureLog
	e := open(t, Options{Log: log.log()}, retrying(twoAttempts))
	id := submit(t, e, asked("retrying", 1))
	finish(t, e, take(t, e), dispatch.PermanentFailure, "declined")
	await(t, e, id)
	settle(t, e)
	require.Len(t, log.lines(), 1)
	require.Regexp(t, `^level=ERROR msg="step failed" .* attempt=1 error_type=TestError error=declined$`, log.lines()[0])
}

func TestAFailureIsLoggedWithItsPlace(t *testing.T) {
	var log failureLog
	e := open(t, Options{Log: log.log()}, retrying(twoAttempts))
	id := submit(t, e, asked("retrying", 1))
	e.Complete(take(t, e), dispatch.Result{Outcome: dispatch.PermanentFailure, JSON: []byte(`{"success": false, "metadata": {"retryable": false},
		"error": {"message": "'name'", "error_type": "handler_error", "context": {"exception_type": "KeyError"},
		"backtrace": ["Traceback (most recent call last):", "  File \"/srv/handlers.py\", line 17, in pay", "KeyError: 'name'"]}}`)})
	await(t, e, id)
	settle(t, e)
	require.Len(t, log.lines(), 1)
	require.Regexp(t, ` error_type=KeyError error='name' source=/srv/handlers\.py:17$`, log.lines()[0])
}

func TestADecisionThatCannotBeFollowedIsLogged(t *testing.T) {
	var log failureLog
	e := open(t, Options{Log: log.log()}, routing)
	id := submit(t, e, asked("routing", 1))
	finish(t, e, take(t, e), dispatch.Success, 1)
	finish(t, e, take(t, e), dispatch.SuccessDirective, choose("nowhere"))
	await(t, e, id)
	settle(t, e)
	require.Len(t, log.lines(), 1)
	require.Regexp(t, `^level=ERROR msg="step failed" step=route .*nowhere`, log.lines()[0])
}

func TestAFailureWhoseCommitFailsIsLoggedOnce(t *testing.T) {
	both(t, func(t *testing.T, fail func(*breaker, int32), _ bool) {
		var log failureLog
		e, b := breaking(t, Options{Log: log.log()}, retrying(twoAttempts))
		submit(t, e, asked("retrying", 1))
		s := take(t, e)
		fail(b, 3)
		finish(t, e, s, dispatch.PermanentFailure, "declined")
		healthy(t, e)
		settle(t, e)
		require.Len(t, log.lines(), 1)
	})
}

func TestTheFailuresOfATaskThatIsShownAreNotLogged(t *testing.T) {
	var log failureLog
	shown := uuid.Must(uuid.NewV7())
	e := open(t, Options{Log: log.log(), Shown: shown}, retrying(twoAttempts))
	r := asked("retrying", 1)
	r.CorrelationID = &shown
	id := submit(t, e, r)
	finish(t, e, take(t, e), dispatch.PermanentFailure, "seen")
	await(t, e, id)
	other := submit(t, e, asked("retrying", 2))
	finish(t, e, take(t, e), dispatch.PermanentFailure, "unseen")
	await(t, e, other)
	settle(t, e)
	require.Len(t, log.lines(), 1)
	require.Contains(t, log.lines()[0], "error=unseen")
}
