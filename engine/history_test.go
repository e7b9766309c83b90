package engine

import (
	"strings"
	"testing"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/engine/store"
)

// history returns the history of a task as the file keeps it.
func history(t testing.TB, e *Engine, task uuid.UUID) string {
	t.Helper()
	var all strings.Builder
	require.NoError(t, e.read(t.Context(), func(r *store.Reader) error {
		row, _, err := r.Task(t.Context(), task)
		if err != nil {
			return err
		}
		rows, err := r.History(t.Context(), row.ID)
		for _, h := range rows {
			all.Write(h.Changes)
		}
		return err
	}))
	return all.String()
}
