package postgres

import (
	"encoding/json"
	"testing"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/tests/cluster"
)

// inherit makes a step, in a state and with a result, one that another depends on.
func (d *deployment) inherit(step uuid.UUID, name, state string, processed bool) {
	d.t.Helper()
	_, err := d.DB().Exec(d.t.Context(), `
WITH named AS (
  INSERT INTO tasker.named_steps (name, created_at, updated_at) VALUES ($2, now(), now()) RETURNING named_step_uuid
), step AS (
  INSERT INTO tasker.workflow_steps (task_uuid, named_step_uuid, retryable, max_attempts, processed, results, created_at, updated_at)
  SELECT s.task_uuid, n.named_step_uuid, true, 3, $4, jsonb_build_object('success', true, 'result', $2::text), now(), now()
    FROM tasker.workflow_steps s, named n WHERE s.workflow_step_uuid = $1 RETURNING workflow_step_uuid
), moved AS (
  INSERT INTO tasker.workflow_step_transitions (workflow_step_uuid, from_state, to_state, metadata, sort_key, most_recent, created_at, updated_at)
  SELECT workflow_step_uuid, 'enqueued_for_orchestration', $3, '{}', 5, true, now(), now() FROM step
)
INSERT INTO tasker.workflow_step_edges (from_step_uuid, to_step_uuid, name, created_at, updated_at)
SELECT workflow_step_uuid, $1, 'provides', now(), now() FROM step`, step, name, state, processed)
	require.NoError(d.t, err)
}

func dependenciesOf(t *testing.T, step *dispatch.Step) object {
	t.Helper()
	var event struct {
		Sequence struct {
			Dependencies object `json:"dependency_results"`
		} `json:"task_sequence_step"`
	}
	require.NoError(t, json.Unmarshal(step.Event, &event))
	return event.Sequence.Dependencies
}

// The server commits that a step is complete before it notes that it has
// processed it, and may be killed in between.
func TestResultsOfStepsThatAreCompleteAreHandedOn(t *testing.T) {
	d := newDeployment(t, cluster.Options{})
	s := d.open()
	id := d.enqueue(1, "check_order")[0] // nobody claims yet
	d.inherit(id, "processed", "complete", true)
	d.inherit(id, "complete_only", "complete", false)
	d.inherit(id, "resolved", "resolved_manually", true)
	d.inherit(id, "failed_before", "waiting_for_retry", false)
	found := map[string]any{}
	for name, result := range dependenciesOf(t, claimed(t, s, 1)[0]) {
		found[name] = result.(object)["result"]
	}
	require.Equal(t, map[string]any{"processed": "processed", "complete_only": "complete_only", "resolved": "resolved"}, found)
}
