package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tasker-systems/taskerpy/domainevent"
	"github.com/tasker-systems/taskerpy/embed"
	"github.com/tasker-systems/taskerpy/engine"
)

const paying = `
name: paying
namespace_name: shop
version: 1.0.0
steps:
  - name: pay
    handler: {callable: h}
    retry: {max_attempts: 3, backoff: none}
    publishes_events:
      - {name: order.paid, description: d, delivery_mode: fast, schema: {type: object}}
environments:
  test:
    steps:
      - {name: pay, retry: {max_attempts: 1}}
`

// newProgram is a program whose worker knows one template. The engine of each
// worker that is started arrives on the channel.
func newProgram(t *testing.T, change func(*ProgramConfig)) (*Program, chan *engine.Engine) {
	t.Helper()
	goleak.VerifyNone(t)
	t.Cleanup(func() { goleak.VerifyNone(t) })
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "paying.yaml"), []byte(paying), 0o600))
	engines := make(chan *engine.Engine, 1)
	c := ProgramConfig{
		Config: Config{Data: filepath.Join(t.TempDir(), "tasks.db"), Templates: []string{dir}},
		Serve: func(s Served) (string, func(context.Context) error, error) {
			engines <- s.Engine
			return "http://127.0.0.1:1", func(context.Context) error { return nil }, nil
		},
	}
	if change != nil {
		change(&c)
	}
	p := NewProgram(c)
	t.Cleanup(func() {
		_, err := p.stop()
		require.NoError(t, err)
	})
	return p, engines
}

// bootstrapped starts the program's worker.
func bootstrapped(t *testing.T, p *Program, engines chan *engine.Engine) *engine.Engine {
	t.Helper()
	var started struct {
		Status string
		Handle string `json:"handle_id"`
		Worker string `json:"worker_id"`
	}
	require.NoError(t, json.Unmarshal([]byte(answer(t, p.natives, "bootstrap_worker", `{"config":null}`)), &started))
	require.Equal(t, "started", started.Status)
	require.Equal(t, "python-worker-"+started.Handle, started.Worker)
	return <-engines
}

// pay creates a task, whose step can be polled then.
func pay(t *testing.T, e *engine.Engine) engine.Task {
	t.Helper()
	task, err := e.Submit(t.Context(), engine.TaskRequest{
		Namespace: "shop", Name: "paying", Version: "1.0.0", Context: fmt.Appendf(nil, `{"id":%q}`, uuid.Must(uuid.NewV4())),
	})
	require.NoError(t, err)
	return task
}

type polledEvent struct {
	ID   uuid.UUID `json:"event_id"`
	Step struct {
		Step struct {
			Attempts   int
			Max        int             `json:"max_attempts"`
			Checkpoint json.RawMessage `json:"checkpoint"`
		} `json:"workflow_step"`
	} `json:"task_sequence_step"`
}

// poll polls until there is a step.
func poll(t *testing.T, p *Program) polledEvent {
	t.Helper()
	for over := time.After(time.Minute); ; {
		if out := answer(t, p.natives, "poll_step_events", ""); out != "" {
			var e polledEvent
			require.NoError(t, json.Unmarshal([]byte(out), &e))
			return e
		}
		select {
		case <-time.After(time.Millisecond):
		case <-over:
			t.Fatal("no step to poll within a minute")
		}
	}
}

// complete answers an event and returns whether somebody waited for it.
func complete(t *testing.T, p *Program, event uuid.UUID, result string) string {
	t.Helper()
	return answer(t, p.natives, "complete_step_event", fmt.Sprintf(`{"event_id_str":%q,"completion_data":%s}`, event, result))
}

func TestAProgramsWorkerCanBeStartedAgainAfterItsStop(t *testing.T) {
	p, engines := newProgram(t, nil)
	for range 3 {
		e := bootstrapped(t, p, engines)
		require.Equal(t, "true", answer(t, p.natives, "is_worker_running", ""))
		var again map[string]string
		require.NoError(t, json.Unmarshal([]byte(answer(t, p.natives, "bootstrap_worker", "")), &again))
		require.Equal(t, "already_running", again["status"])
		require.NotContains(t, again, "worker_id")
		require.Equal(t, `"Worker system stopped"`, answer(t, p.natives, "stop_worker", ""))
		require.Equal(t, `"Worker system not running"`, answer(t, p.natives, "stop_worker", ""))
		require.ErrorIs(t, e.Health(), engine.ErrClosed)
	}
}

func TestAProgramsEnvironmentCountsWhenItHasChangedIt(t *testing.T) {
	var asked []string
	p, engines := newProgram(t, func(c *ProgramConfig) {
		began := *c
		c.WorkerID = "one"
		c.Reload = func(env func(string) string) (ProgramConfig, error) {
			if env("DATA") == "" {
				return ProgramConfig{}, errors.New("DATA is not set")
			}
			asked = append(asked, env("DATA"))
			again := began
			again.Data, again.Environment, again.Reload = env("DATA"), env("TASKER_ENV"), c.Reload
			return again, nil
		}
	})
	_, err := p.natives.native("bootstrap_worker", []byte(`{"environment":{}}`))
	require.EqualError(t, err, "Bootstrap failed: DATA is not set")

	data := filepath.Join(t.TempDir(), "other.db")
	request := fmt.Sprintf(`{"environment":{"DATA":%q,"TASKER_ENV":"staging"}}`, data)
	for range 2 { // unchanged since the first start, it is not asked for again
		require.Contains(t, answer(t, p.natives, "bootstrap_worker", request), "started")
		<-engines
		require.Contains(t, answer(t, p.natives, "get_worker_status", ""), `"environment":"staging"`)
		require.FileExists(t, data)
		answer(t, p.natives, "stop_worker", "")
	}
	require.Equal(t, []string{data}, asked)
	require.Equal(t, "one", p.c.WorkerID)
}

func TestAProgramThatChangedNothingKeepsItsConfiguration(t *testing.T) {
	p, engines := newProgram(t, func(c *ProgramConfig) {
		c.Reload = func(func(string) string) (ProgramConfig, error) { return ProgramConfig{}, errors.New("asked") }
	})
	same, err := json.Marshal(environment(os.Environ()))
	require.NoError(t, err)
	require.Contains(t, answer(t, p.natives, "bootstrap_worker", fmt.Sprintf(`{"environment":%s}`, same)), "started")
	<-engines
}

func TestManyThreadsMayStartAndStopTheWorkerAtOnce(t *testing.T) {
	p, _ := newProgram(t, func(c *ProgramConfig) { c.Serve = nil })
	var threads sync.WaitGroup
	for range 4 {
		threads.Go(func() {
			for range 5 {
				if _, err := p.natives.native("bootstrap_worker", nil); err != nil {
					t.Error(err)
				}
				_, _ = p.natives.native("poll_step_events", nil) // or there is no worker by now
				if _, err := p.natives.native("stop_worker", nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	threads.Wait()
	require.Equal(t, "false", answer(t, p.natives, "is_worker_running", ""))
}

func TestAPolledStepIsRetriedAndCompletedByItsEvents(t *testing.T) {
	p, engines := newProgram(t, nil)
	e := bootstrapped(t, p, engines)
	task := pay(t, e)
	first := poll(t, p)
	require.Zero(t, first.Step.Step.Attempts)
	require.Equal(t, "true", complete(t, p, first.ID, `{"success":false,"metadata":{"retryable":true},"error":{"message":"no"}}`))
	require.Equal(t, "false", complete(t, p, first.ID, `{"success":true}`))
	second := poll(t, p)
	require.Equal(t, 1, second.Step.Step.Attempts)
	require.Equal(t, "true", complete(t, p, second.ID, `{"success":true,"result":{"total":3}}`))
	done, err := e.Wait(t.Context(), task.TaskUUID)
	require.NoError(t, err)
	require.Equal(t, "complete", done.Status)
	var metrics struct {
		Succeeded int `json:"steps_succeeded"`
		Failed    int `json:"steps_failed"`
	}
	require.NoError(t, json.Unmarshal([]byte(answer(t, p.natives, "get_metrics", "")), &metrics))
	require.Equal(t, [2]int{1, 1}, [2]int{metrics.Succeeded, metrics.Failed})
}

func TestACheckpointBringsTheStepBack(t *testing.T) {
	p, engines := newProgram(t, nil)
	pay(t, bootstrapped(t, p, engines))
	first := poll(t, p)
	yield := fmt.Sprintf(`{"event_id_str":%q,"checkpoint_data":{"cursor":7,"items_processed":7}}`, first.ID)
	require.Equal(t, "true", answer(t, p.natives, "checkpoint_yield_step_event", yield))
	require.Equal(t, "false", answer(t, p.natives, "checkpoint_yield_step_event", yield))
	second := poll(t, p)
	require.NotEqual(t, first.ID, second.ID)
	require.Contains(t, string(second.Step.Step.Checkpoint), `"cursor":7`)
	require.Zero(t, second.Step.Step.Attempts)
}

func TestAnAnswerThatCannotBeReadIsAValueError(t *testing.T) {
	p, engines := newProgram(t, nil)
	pay(t, bootstrapped(t, p, engines))
	event := poll(t, p)
	var refusal embed.ValueError
	_, err := p.natives.native("complete_step_event", []byte(`{"event_id_str":"no uuid","completion_data":{}}`))
	require.ErrorAs(t, err, &refusal)
	require.Contains(t, refusal.Text, "Invalid event_id format: ")
	_, err = p.natives.native("complete_step_event", fmt.Appendf(nil, `{"event_id_str":%q,"completion_data":{"success":3}}`, event.ID))
	require.ErrorAs(t, err, &refusal)
	require.Contains(t, refusal.Text, "Conversion error: Failed to convert completion data: ")
	require.Equal(t, "true", complete(t, p, event.ID, `{"success":true}`), "it is still waited for")
}

func TestAGracefulWorkerTakesResultsButGivesNoSteps(t *testing.T) {
	p, engines := newProgram(t, nil)
	e := bootstrapped(t, p, engines)
	task := pay(t, e)
	event := poll(t, p)
	pay(t, e)
	require.Equal(t, `"Worker system transitioned to graceful shutdown"`, answer(t, p.natives, "transition_to_graceful_shutdown", ""))
	require.Empty(t, answer(t, p.natives, "poll_step_events", ""))
	var status struct {
		Running bool
		Core    string `json:"worker_core_status"`
	}
	require.NoError(t, json.Unmarshal([]byte(answer(t, p.natives, "get_worker_status", "")), &status))
	require.False(t, status.Running)
	require.Equal(t, "Stopped", status.Core)
	require.Equal(t, "true", answer(t, p.natives, "is_worker_running", ""))
	require.Equal(t, "true", complete(t, p, event.ID, `{"success":true}`))
	done, err := e.Wait(t.Context(), task.TaskUUID)
	require.NoError(t, err)
	require.Equal(t, "complete", done.Status)
}

func TestStoppingLetsTheProgramFinishItsStepWithinTheDrain(t *testing.T) {
	var draining context.Context
	engines := make(chan *engine.Engine, 1)
	p, _ := newProgram(t, func(c *ProgramConfig) {
		c.DrainTimeout = time.Minute
		c.Serve = func(s Served) (string, func(context.Context) error, error) {
			draining = s.Draining
			engines <- s.Engine
			return "", func(context.Context) error { return nil }, nil
		}
	})
	pay(t, bootstrapped(t, p, engines))
	event := poll(t, p)
	stopped := make(chan error, 1)
	go func() {
		_, err := p.natives.native("stop_worker", nil)
		stopped <- err
	}()
	<-draining.Done()
	require.Equal(t, "true", complete(t, p, event.ID, `{"success":true}`))
	require.NoError(t, <-stopped)
}

func TestAStepThatOutlastsTheDrainIsFailedByTheEmbeddedEngine(t *testing.T) {
	p, engines := newProgram(t, func(c *ProgramConfig) { c.DrainTimeout = time.Millisecond })
	pay(t, bootstrapped(t, p, engines))
	poll(t, p)
	answer(t, p.natives, "stop_worker", "")
	bootstrapped(t, p, engines)
	require.Equal(t, 1, poll(t, p).Step.Step.Attempts)
}

func TestStoppingPublishesTheEventsOfTheLastStep(t *testing.T) {
	var stats func() domainevent.Stats
	engines := make(chan *engine.Engine, 1)
	p, _ := newProgram(t, func(c *ProgramConfig) {
		c.Serve = func(s Served) (string, func(context.Context) error, error) {
			stats = s.Events
			engines <- s.Engine
			return "", func(context.Context) error { return nil }, nil
		}
	})
	pay(t, bootstrapped(t, p, engines))
	complete(t, p, poll(t, p).ID, `{"success":true,"result":{}}`)
	answer(t, p.natives, "stop_worker", "")
	require.EqualValues(t, 1, stats().Fast)
}

func TestAWorkerThatCannotServeIsNotStartedAndLeavesTheFile(t *testing.T) {
	engines := make(chan *engine.Engine, 1)
	taken := true
	p, _ := newProgram(t, func(c *ProgramConfig) {
		c.Serve = func(s Served) (string, func(context.Context) error, error) {
			if taken {
				return "", nil, errors.New("address in use")
			}
			engines <- s.Engine
			return "", func(context.Context) error { return nil }, nil
		}
	})
	_, err := p.natives.native("bootstrap_worker", nil)
	require.EqualError(t, err, "Bootstrap failed: address in use")
	require.Equal(t, "false", answer(t, p.natives, "is_worker_running", ""))
	taken = false
	bootstrapped(t, p, engines)
}

func TestTheEnvironmentsOverridesApplyToAProgramsTemplates(t *testing.T) {
	p, engines := newProgram(t, func(c *ProgramConfig) { c.Overrides = "test" })
	pay(t, bootstrapped(t, p, engines))
	require.Equal(t, 1, poll(t, p).Step.Step.Max)
}

func TestAWorkerThatCannotBeStoppedStays(t *testing.T) {
	stuck := true
	engines := make(chan *engine.Engine, 1)
	p, _ := newProgram(t, func(c *ProgramConfig) {
		c.Serve = func(s Served) (string, func(context.Context) error, error) {
			engines <- s.Engine
			return "", func(context.Context) error {
				if stuck {
					return errors.New("requests still under way")
				}
				return nil
			}, nil
		}
	})
	bootstrapped(t, p, engines)
	_, err := p.natives.native("stop_worker", nil)
	require.EqualError(t, err, "stop the worker: requests still under way")
	require.Equal(t, "true", answer(t, p.natives, "is_worker_running", ""))
	stuck = false
	require.Equal(t, `"Worker system stopped"`, answer(t, p.natives, "stop_worker", ""))
}
