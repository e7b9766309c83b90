package e2e_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/tests/built"
	"github.com/tasker-systems/taskerpy/tests/cluster"
)

func TestAWorkerRegistersItsTemplatesAndQueuesAndIsReady(t *testing.T) {
	c := cluster.Start(t, cluster.Options{NoServer: true})
	w := c.StartWorker(t.Context(), program, filepath.Join(built.Root(), "examples", "linear"))
	var n int
	require.NoError(t, c.DB().QueryRow(t.Context(), `SELECT count(*) FROM tasker.named_tasks WHERE name = 'mathematical_sequence_py'`).Scan(&n))
	require.Equal(t, 1, n)
	require.NoError(t, c.DB().QueryRow(t.Context(), `SELECT count(*) FROM pgmq.meta WHERE queue_name LIKE '%linear%'`).Scan(&n))
	require.Equal(t, 3, n)
	code, err := w.Stop()
	require.NoError(t, err)
	require.Zero(t, code)
	require.NotContains(t, w.Log(), c.Password())
}
