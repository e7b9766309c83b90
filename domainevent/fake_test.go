package domainevent_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/domainevent"
	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/handlers"
	"github.com/tasker-systems/taskerpy/template"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// python shapes events as they are declared, unless a test tells it
// otherwise, and hands what its subscribers are given to the test.
type python struct {
	*domainevent.BuiltIn
	t           *testing.T
	subscribers []string
	publish     func(step, result json.RawMessage) (handlers.Shaped, error) // nil: as declared
	handle      func(subscriber string, event json.RawMessage) error        // nil: takes everything

	mu      sync.Mutex
	handled map[string][]event // by subscriber
	news    chan struct{}      // has room for one: something was handled
}

func newPython(t *testing.T, subscribers ...string) *python {
	return &python{
		BuiltIn: domainevent.NewBuiltIn(slog.New(slog.DiscardHandler)), t: t, subscribers: subscribers,
		handled: map[string][]event{}, news: make(chan struct{}, 1),
	}
}

func (p *python) Publish(step, result json.RawMessage) (handlers.Shaped, error) {
	if p.publish != nil {
		return p.publish(step, result)
	}
	return p.BuiltIn.Publish(step, result)
}

func (p *python) Subscribe() ([]string, error) { return p.subscribers, nil }

func (p *python) Handle(subscriber string, raw json.RawMessage) error {
	if p.handle != nil {
		if err := p.handle(subscriber, raw); err != nil {
			return err
		}
	}
	var e event
	if err := json.Unmarshal(raw, &e); err != nil {
		return err
	}
	p.mu.Lock()
	p.handled[subscriber] = append(p.handled[subscriber], e)
	p.mu.Unlock()
	select {
	case p.news <- struct{}{}:
	default:
	}
	return nil
}

// got returns the events that a subscriber has handled.
func (p *python) got(subscriber string) []event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]event(nil), p.handled[subscriber]...)
}

// await waits until a subscriber has handled n events.
func (p *python) await(subscriber string, n int) []event {
	p.t.Helper()
	patience := time.After(time.Minute)
	for {
		all := p.got(subscriber)
		if len(all) >= n {
			return all
		}
		select {
		case <-p.news:
		case <-patience:
			p.t.Fatalf("%s has handled %d events, not %d", subscriber, len(all), n)
		}
	}
}

// event is what tests look at of one (engine-semantics §8.4).
type event struct {
	ID      uuid.UUID `json:"event_id"`
	Name    string    `json:"event_name"`
	Lagged  int       `json:"lagged"`
	Payload struct {
		Value json.RawMessage `json:"payload"`
	} `json:"payload"`
	Meta map[string]string `json:"metadata"`
}

func names(events []event) []string {
	out := []string{}
	for _, e := range events {
		out = append(out, e.Name)
	}
	return out
}

// polled empties a publisher's bus.
func polled(t *testing.T, p *domainevent.Publisher) []event {
	t.Helper()
	var all []event
	for raw := p.Bus().Poll(); raw != nil; raw = p.Bus().Poll() {
		var e event
		require.NoError(t, json.Unmarshal(raw, &e))
		all = append(all, e)
	}
	return all
}

// declaring makes a template of one step that publishes events given as
// "name condition delivery_mode".
func declaring(events ...string) string {
	var b strings.Builder
	b.WriteString("name: declaring\nnamespace_name: shop\nversion: 1.0.0\nsteps:\n  - name: pay\n    handler: {callable: h}\n" +
		"    retry: {max_attempts: 100, backoff: none}\n    publishes_events:\n")
	for _, e := range events {
		f := strings.Fields(e)
		fmt.Fprintf(&b, "      - {name: %s, description: d, condition: %s, delivery_mode: %s, schema: {type: object}}\n", f[0], f[1], f[2])
	}
	return b.String()
}

// open opens an engine on path, "" for one in memory, that knows a template.
func open(t *testing.T, path, yaml string) *engine.Engine {
	t.Helper()
	if path == "" {
		path = ":memory:"
	}
	e, err := engine.Open(t.Context(), engine.Options{Path: path, ImmediateRetries: true, AlwaysUnique: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close(context.Background())) })
	parsed, findings := template.Parse("test.yaml", []byte(yaml))
	require.False(t, template.HasErrors(findings), "%v", findings)
	require.NoError(t, e.Register(t.Context(), parsed))
	return e
}

// file is the path of a database of the test's own.
func file(t *testing.T) string { return filepath.Join(t.TempDir(), "test.db") }

// start starts a publisher that is drained at the end of the test.
func start(t *testing.T, e domainevent.Source, p domainevent.Python) *domainevent.Publisher {
	t.Helper()
	publisher := domainevent.New(domainevent.Options{Source: e, Python: p})
	require.NoError(t, publisher.Start(t.Context()))
	t.Cleanup(func() { drain(t, publisher) })
	return publisher
}

func drain(t *testing.T, p *domainevent.Publisher) {
	t.Helper()
	require.NoError(t, p.Drain(context.Background()))
}

// submit creates a task and claims its step.
func submit(t *testing.T, e *engine.Engine) *dispatch.Step {
	t.Helper()
	_, err := e.Submit(t.Context(), engine.TaskRequest{Namespace: "shop", Name: "declaring", Version: "1.0.0", Context: json.RawMessage(`{}`)})
	require.NoError(t, err)
	return claim(t, e)
}

func claim(t *testing.T, e *engine.Engine) *dispatch.Step {
	t.Helper()
	steps, err := e.Claim(t.Context(), 1)
	require.NoError(t, err)
	return steps[0]
}

// succeed completes a step with a value.
func succeed(e *engine.Engine, s *dispatch.Step, value string) {
	e.Complete(s, dispatch.Result{Outcome: dispatch.Success, JSON: fmt.Appendf(nil, `{"step_uuid":%q,"success":true,"result":%s}`, s.StepUUID, value)})
}

// fail completes a step with a failure.
func fail(e *engine.Engine, s *dispatch.Step, retryable bool) {
	outcome := dispatch.PermanentFailure
	if retryable {
		outcome = dispatch.RetryableFailure
	}
	e.Complete(s, dispatch.Result{Outcome: outcome, JSON: dispatch.FailureResult(dispatch.Failure{
		Step: s, Message: "no funds", ErrorType: "PaymentError", Retryable: retryable,
	})})
}

// pay runs one task to its end.
func pay(t *testing.T, e *engine.Engine) {
	t.Helper()
	s := submit(t, e)
	succeed(e, s, `{"ok":true}`)
	_, err := e.Wait(t.Context(), s.TaskUUID)
	require.NoError(t, err)
}
