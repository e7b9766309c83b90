package cli

import (
	"bytes"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/embed"
	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/template"
	"github.com/tasker-systems/taskerpy/worker"
)

// coded is an error of another package that knows its exit code.
type coded int

func (c coded) Error() string { return "coded" }
func (c coded) ExitCode() int { return int(c) }

func TestErrorsHaveTheirExitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("anything"), 1},
		{usagef("wrong"), 2},
		{fmt.Errorf("run: %w", usagef("wrong")), 2},
		{&worker.ProblemsError{}, 2},
		{fmt.Errorf("create task: %w", engine.ErrInvalid), 2},
		{fmt.Errorf("start: %w", embed.ErrUnavailable), 3},
		{fmt.Errorf("open: %w", engine.ErrLocked), 3},
		{environment(errors.New("disk")), 3},
		{fmt.Errorf("task get: %w", coded(3)), 3},
		{fmt.Errorf("--python x: %w: %w", coded(127), embed.ErrUnavailable), 3},
		{silent(5), 5},
		{&exitError{code: signalled(syscall.SIGTERM)}, 143},
	} {
		require.Equal(t, c.want, codeOf(c.err), "%v", c.err)
	}
}

func told(err error) string {
	var b bytes.Buffer
	tell(&b, err)
	return b.String()
}

func TestAnErrorIsToldInOneLine(t *testing.T) {
	require.Equal(t, "taskerpy: one; two\n", told(errors.Join(errors.New("one"), errors.New("two"))))
	require.Empty(t, told(silent(2)))
}

func TestWhatIsToldHasNoControlCharacters(t *testing.T) {
	require.Equal(t, "taskerpy: step \"pay\": bad; more of it\n", told(errors.New("step \"pay\": \x07bad\r\n\n\x1b[2Jmore\tof\u009b it")))
	require.Equal(t, "/x/pay.py:2: error: bad more [A]\n", told(&worker.ProblemsError{Findings: []template.Finding{
		{Code: "A", Severity: template.SeverityError, Message: "bad\n\x1b]0;title\x07more", Pos: template.Position{File: "/x/pay.py", Line: 2}},
	}}))
}

func TestProblemsAreToldALineEach(t *testing.T) {
	err := &worker.ProblemsError{Findings: []template.Finding{
		{Code: "A", Severity: template.SeverityError, Message: "no handlers"},
		{Code: "B", Severity: template.SeverityWarning, Message: "odd"},
		{Code: "C", Severity: template.SeverityError, Message: "cycle", Pos: template.Position{File: "/x/t.yaml", Line: 3}},
	}}
	require.Equal(t, "taskerpy: error: no handlers [A]\n/x/t.yaml:3: error: cycle [C]\n", told(err))
}
