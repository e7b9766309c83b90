// Package e2e_test runs workflows in a real deployment of Tasker: PostgreSQL with
// PGMQ, and the unmodified tasker-server.
package e2e_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/tests/built"
	"github.com/tasker-systems/taskerpy/tests/cluster"
)

// The deployment is the judge of everything else in this package; here it is
// seen to work with the worker that it was made for.
func TestDeploymentRunsTasksOfThePublishedWorker(t *testing.T) {
	ctx := t.Context()
	c := cluster.Start(t, cluster.Options{})
	require.NoError(t, c.REST.Health(ctx))

	linear := filepath.Join(built.Root(), "examples", "linear")
	c.StartReferenceWorker(ctx, linear, linear)
	templates, err := c.REST.Templates(ctx)
	require.NoError(t, err)
	require.Equal(t, []cluster.Template{
		{Name: "mathematical_sequence_py", Namespace: "linear_workflow_py", Version: "1.0.0"},
	}, templates)

	id := c.CreateTask(ctx, "mathematical_sequence_py", "linear_workflow_py", "1.0.0", map[string]any{"even_number": 6})
	task := c.WaitTask(ctx, id)
	require.Equal(t, "complete", task.Status)
	require.Equal(t, "all_complete", task.ExecutionStatus)
	results := map[string]any{}
	for name, step := range c.Steps(ctx, id) {
		require.Equal(t, "complete", step.State, name)
		require.Equal(t, 1, step.Attempts, name)
		result, err := step.Result()
		require.NoError(t, err)
		results[name] = result.(map[string]any)["result"]
	}
	require.Equal(t, map[string]any{
		"linear_step_1_py": 36.0, "linear_step_2_py": 46.0, "linear_step_3_py": 138.0, "linear_step_4_py": 69.0,
	}, results)
}

// sqlx notes the migrations that it has run in a table of the first schema of the
// search path, and looks for it there the next time: the migrations must not
// change which schema that is.
func TestTheDatabaseOfTheComposeFileCanBeMigratedAgain(t *testing.T) {
	p := newPatients(t)
	p.sql("template1", "CREATE DATABASE composed")
	script, err := os.ReadFile(filepath.Join(built.Root(), "deployment", "schema.sql"))
	require.NoError(t, err)
	p.sql("composed", string(script))
	first := func(database string) (schema string) {
		conn, err := pgx.Connect(t.Context(), p.at(database, "", ""))
		require.NoError(t, err)
		defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
		require.NoError(t, conn.QueryRow(t.Context(), "SELECT current_schema()").Scan(&schema))
		return schema
	}
	require.Equal(t, first(p.copy()), first("composed"), "after the migrations, and before")
}
