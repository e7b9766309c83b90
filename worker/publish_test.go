package worker

import (
	"encoding/json"
	"testing"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/domainevent"
)

const lowStock = `{"event_name": "stock.low", "payload": {"left": 3}, "metadata": {"fired_by": "pay"}}`

func requirePublished(t *testing.T, n *natives) {
	t.Helper()
	var id uuid.UUID
	require.NoError(t, json.Unmarshal([]byte(answer(t, n, "publish_domain_event", lowStock)), &id))
	var event struct {
		ID   uuid.UUID `json:"event_id"`
		Name string    `json:"event_name"`
	}
	require.NoError(t, json.Unmarshal([]byte(answer(t, n, "poll_in_process_events", "")), &event))
	require.Equal(t, id, event.ID)
	require.Equal(t, "stock.low", event.Name)
}

func TestHandlersPublishEventsOfTheirOwn(t *testing.T) {
	w := &Worker{dispatcher: dispatch.New(dispatch.Options{}), publisher: domainevent.New(domainevent.Options{})}
	w.status = newStatus(Config{}, nil)
	w.status.core, w.status.pending, w.status.bus = func() string { return "Running" }, w.pending, w.publisher.Bus()
	n := &natives{}
	n.serve(w)
	requirePublished(t, n)
	_, err := n.native("publish_domain_event", []byte(`no JSON`))
	require.ErrorContains(t, err, "publish domain event")
}

func TestProgramsPublishEventsOfTheirOwn(t *testing.T) {
	p, engines := newProgram(t, nil)
	_, err := p.natives.native("publish_domain_event", []byte(lowStock))
	require.ErrorIs(t, err, errNoWorker)
	bootstrapped(t, p, engines)
	requirePublished(t, p.natives)
}
