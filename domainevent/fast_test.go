package domainevent_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/domainevent"
)

const ofATask = `{"task_uuid":"t","fired_by":"pay"}`

// announce publishes an event that no step declares.
func announce(t *testing.T, p *domainevent.Publisher, name string) event {
	t.Helper()
	var meta map[string]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(ofATask), &meta))
	id, err := p.PublishFast(name, json.RawMessage(`{"left":3}`), meta)
	require.NoError(t, err)
	return event{ID: id, Name: name}
}

func TestAnEventOfAProgramGoesToSubscribersAndTheBus(t *testing.T) {
	py := newPython(t, "stock")
	p := start(t, open(t, "", declaring("a.b success fast")), py)
	published := announce(t, p, "stock.low")
	for _, got := range []event{py.await("stock", 1)[0], polled(t, p)[0]} {
		require.Equal(t, published.ID, got.ID)
		require.Equal(t, "stock.low", got.Name)
		require.JSONEq(t, `{"left":3}`, string(got.Payload.Value))
		require.Equal(t, "pay", got.Meta["fired_by"])
		fired, err := time.Parse(time.RFC3339Nano, got.Meta["fired_at"])
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), fired, time.Minute)
	}
	require.EqualValues(t, 1, p.Stats().Fast)
}

func TestAnEventOfAProgramHasTheEnvelopeOfADeclaredOne(t *testing.T) {
	p := domainevent.New(domainevent.Options{})
	announce(t, p, "stock.low")
	var got struct {
		Version string `json:"event_version"`
		Payload map[string]json.RawMessage
	}
	require.NoError(t, json.Unmarshal(p.Bus().Poll(), &got))
	require.Equal(t, "1.0", got.Version)
	require.Equal(t, map[string]json.RawMessage{
		"task_sequence_step": []byte("null"), "execution_result": []byte("null"), "payload": []byte(`{"left":3}`),
	}, got.Payload)
}

func TestAnEventOfAProgramThatComesAfterTheDrainReachesNoSubscriber(t *testing.T) {
	py := newPython(t, "stock")
	p := start(t, open(t, "", declaring("a.b success fast")), py)
	drain(t, p)
	announce(t, p, "stock.low")
	require.Empty(t, py.got("stock"))
	require.Len(t, polled(t, p), 1)
}

func TestAProgramsMetadataWins(t *testing.T) {
	p := domainevent.New(domainevent.Options{})
	_, err := p.PublishFast("stock.low", json.RawMessage(`{}`), map[string]json.RawMessage{"fired_at": json.RawMessage(`"then"`)})
	require.NoError(t, err)
	require.Equal(t, "then", polled(t, p)[0].Meta["fired_at"])
}

func TestAnEventOfAProgramMustBeJSON(t *testing.T) {
	p := domainevent.New(domainevent.Options{})
	_, err := p.PublishFast("stock.low", json.RawMessage(`{`), nil)
	require.ErrorContains(t, err, "stock.low")
	require.Zero(t, p.Stats().Fast)
}
