package progress

import (
	"fmt"
	"time"

	"github.com/tasker-systems/taskerpy/engine"
)

// plainLine is the line that a change of a step is worth, "" for most.
func plainLine(r *row, was kind, c engine.Change) string {
	if r == nil || r.kind == was {
		return ""
	}
	took := ""
	if !r.began.IsZero() {
		took = " after " + duration(r.took(c.At))
	}
	because := ""
	if r.message != "" {
		because = ": " + r.message
	}
	attempts := ""
	if r.attempts > 1 {
		attempts = fmt.Sprintf(" (%d attempts)", r.attempts)
	}
	switch r.kind {
	case complete:
		return fmt.Sprintf("%s: complete%s%s", r.label, took, attempts)
	case failed:
		return fmt.Sprintf("%s: error%s%s%s", r.label, took, attempts, because)
	case waitingForRetry:
		return fmt.Sprintf("%s: %s, waiting for retry%s", r.label, r.note(), because)
	case cancelled, resolvedManually:
		return fmt.Sprintf("%s: %s", r.label, kindNames[r.kind])
	}
	return ""
}

// plainSummary is the last line.
func plainSummary(b *board, now time.Time) string {
	_, state, counts := verdict(b)
	line := fmt.Sprintf("%s after %s%s", state, duration(b.elapsed(now)), counts)
	if title := OneLine(b.title); title != "" {
		line = title + ": " + line
	}
	return line
}
