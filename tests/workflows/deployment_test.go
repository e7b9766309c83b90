package workflows_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/tests/cluster"
)

// deployed is a deployment whose workers run the projects; nil for the embedded
// engine. `make e2e` runs the same tests on it as `make test` on the engine.
var deployed *deployment

type deployment struct {
	*cluster.Cluster
	mu      sync.Mutex
	workers map[string]*sync.Once // by project

	creating sync.Mutex
}

// onDeployment says in the environment that the tests are to run on one.
const onDeployment = "WORKFLOWS_ON_DEPLOYMENT"

func newDeployment(c *cluster.Cluster) *deployment {
	return &deployment{Cluster: c, workers: map[string]*sync.Once{}}
}

// requireEngine skips a test of what only the embedded engine has.
func requireEngine(t *testing.T) {
	t.Helper()
	if deployed != nil {
		t.Skip("of the embedded engine; tests/e2e has the same for a deployment")
	}
}

// serve sees that a worker runs the project.
func (d *deployment) serve(t *testing.T, project string) {
	t.Helper()
	d.mu.Lock()
	once := d.workers[project]
	if once == nil {
		once = &sync.Once{}
		d.workers[project] = once
	}
	d.mu.Unlock()
	once.Do(func() {
		w := d.LaunchWorker(binary, filepath.Join(projects, project))
		require.NoError(t, w.Ready(t.Context()), w.Log())
	})
}

// runTask runs one task through tasker-server.
func (d *deployment) runTask(t *testing.T, project, name string, input map[string]any) outcome {
	t.Helper()
	d.serve(t, project)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	known, err := d.REST.Templates(ctx)
	require.NoError(t, err)
	var template cluster.Template
	for _, k := range known {
		if name == k.Name || name == k.Namespace+"/"+k.Name+"@"+k.Version {
			template = k
		}
	}
	require.NotEmpty(t, template.Name, "the worker has not registered %s", name)
	given := map[string]any{"_test_run_id": uuid.Must(uuid.NewV4()).String()}
	for key, value := range input {
		given[key] = value
	}
	// The first two tasks of a template at the same time make the server fail:
	// both want to name its steps.
	d.creating.Lock()
	id, err := d.REST.CreateTask(ctx, cluster.TaskRequest{
		Name: template.Name, Namespace: template.Namespace, Version: template.Version, Context: given,
		Initiator: "tests", SourceSystem: "tests", Reason: "tests",
	})
	d.creating.Unlock()
	require.NoError(t, err)
	task := d.WaitTask(ctx, id)
	o := outcome{Namespace: task.Namespace, Status: task.Status, Steps: map[string]step{}}
	if o.Status != "complete" {
		o.exitCode = 1
	}
	steps, err := d.REST.Steps(ctx, id)
	require.NoError(t, err)
	for _, s := range steps {
		out := step{State: s.State, Attempts: s.Attempts}
		if len(s.Results) > 0 && string(s.Results) != "null" {
			var stored struct {
				Result json.RawMessage
				Error  json.RawMessage
			}
			require.NoError(t, json.Unmarshal(s.Results, &stored))
			out.Result = stored.Result
			if len(stored.Error) > 0 && string(stored.Error) != "null" {
				require.NoError(t, json.Unmarshal(stored.Error, &out.Error))
			}
		}
		o.Steps[s.Name] = out
	}
	o.stderr = fmt.Sprintf("task %s on the deployment", id)
	return o
}
