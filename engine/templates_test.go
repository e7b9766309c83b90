package engine

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

// reopened closes an engine and opens its file again, with other templates.
func reopened(t testing.TB, e *Engine, o Options, yaml ...string) *Engine {
	t.Helper()
	require.NoError(t, e.Close(t.Context()))
	o.Path = e.o.Path
	return open(t, o, yaml...)
}

func TestStepsOfATemplateThatIsNotRegisteredWaitUntilItIs(t *testing.T) {
	e := open(t, Options{}, linear)
	id := submit(t, e, asked("linear", 1))

	again := reopened(t, e, Options{}, dag("other", "only"))
	require.Equal(t, Stats{OpenTasks: 1, ParkedSteps: 1}, again.Stats())
	submit(t, again, asked("other", 1))
	require.Equal(t, "only", take(t, again).Name, "steps of other templates go on")

	require.NoError(t, again.Register(t.Context(), parse(t, linear)))
	require.Equal(t, Stats{OpenTasks: 2, ReadySteps: 1, RunningSteps: 1}, again.Stats())
	work(t, again, succeed)
	require.Equal(t, "complete", await(t, again, id).Status)
}

func TestAStepThatFallsDueBeforeItsTemplateIsRegisteredWaits(t *testing.T) {
	e := open(t, Options{}, retrying("backoff: none"))
	submit(t, e, asked("retrying", 1))
	take(t, e) // and the process ends
	again := reopened(t, e, Options{})
	require.Equal(t, Stats{OpenTasks: 1, ParkedSteps: 1}, again.Stats())
	require.NoError(t, again.Register(t.Context(), parse(t, retrying("backoff: none"))))
	require.Equal(t, 2, take(t, again).Attempt)
}

func TestTasksOfATemplateThatIsNotRegisteredCanBeSeenAndCancelled(t *testing.T) {
	e := open(t, Options{}, linear)
	id := submit(t, e, asked("linear", 1))
	again := reopened(t, e, Options{})
	require.Equal(t, "linear", taskOf(t, again, id).Name)
	require.Empty(t, again.Templates())
	_, err := again.Create(t.Context(), asked("linear", 2))
	require.ErrorIs(t, err, ErrNotFound)
	_, err = again.Cancel(t.Context(), id)
	require.NoError(t, err)
	require.NoError(t, again.Register(t.Context(), parse(t, linear)))
	require.Equal(t, Stats{}, again.Stats())
}

func TestRegisteringTellsOfStepsThatStillWaitForTheirTemplate(t *testing.T) {
	e := open(t, Options{}, linear)
	submit(t, e, asked("linear", 1))
	var log bytes.Buffer
	again := reopened(t, e, Options{Log: slog.New(slog.NewTextHandler(&log, nil))}, dag("other", "only"))
	require.NoError(t, again.Close(t.Context()))
	require.Contains(t, log.String(), "tests/linear@1.0.0")
}

func TestAReplacedTemplateChangesTheNextStepsOfRunningTasks(t *testing.T) {
	e := open(t, Options{}, linear)
	submit(t, e, asked("linear", 1))
	first := take(t, e)
	require.NoError(t, e.Register(t.Context(), parse(t, strings.ReplaceAll(linear, "callable: h", "callable: newer"))))
	finish(t, e, first, dispatch.Success, 1)
	second := take(t, e)
	require.Equal(t, "h", eventOf(t, first).Sequence.Definition.Handler.Callable)
	require.Equal(t, "newer", eventOf(t, second).Sequence.Definition.Handler.Callable)
}

func TestAReplacedTemplateChangesTheDelaysOfRunningTasksButNotTheirAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, retrying("max_attempts: 2, backoff: linear, backoff_base_ms: 1000"))
		id := submit(t, e, asked("retrying", 1))
		s := take(t, e)
		require.NoError(t, e.Register(t.Context(), parse(t, retrying("max_attempts: 9, backoff: linear, backoff_base_ms: 3000"))))
		failed := time.Now()
		finish(t, e, s, dispatch.RetryableFailure, "later")
		s = take(t, e)
		require.Equal(t, 3*time.Second, time.Since(failed))
		require.Equal(t, 2, eventOf(t, s).Sequence.Step.MaxAttempts, "the row's value")
		finish(t, e, s, dispatch.RetryableFailure, "later")
		require.Equal(t, "blocked_by_failures", await(t, e, id).Status)
	})
}

func TestAReplacedTemplateKeepsItsIdentity(t *testing.T) {
	e := open(t, Options{}, linear)
	before := e.Templates()
	require.NoError(t, e.Register(t.Context(), parse(t, dag("linear", "one"))))
	after := e.Templates()
	require.Len(t, after, 1)
	require.Equal(t, before[0].UUID, after[0].UUID)
	require.Len(t, after[0].Template.Steps, 1)
	task, err := e.Submit(t.Context(), asked("linear", 1))
	require.NoError(t, err)
	require.Equal(t, 1, task.TotalSteps)

	again := reopened(t, e, Options{}, linear)
	require.Equal(t, before[0].UUID, again.Templates()[0].UUID, "and after a restart")
}

func TestAStepMissingFromAReplacedTemplateFailsClearly(t *testing.T) {
	e := open(t, Options{}, linear)
	id := submit(t, e, asked("linear", 1))
	first := take(t, e)
	require.NoError(t, e.Register(t.Context(), parse(t, dag("linear", "one"))))
	finish(t, e, first, dispatch.Success, 1)
	work(t, e, succeed)
	require.Equal(t, "blocked_by_failures", await(t, e, id).Status)
	s := stepOf(t, e, id, "two")
	require.Equal(t, "error", s.CurrentState)
	require.Contains(t, string(s.Results), `template tests/linear@1.0.0 has no step \"two\" any more`)
	require.Contains(t, string(s.Results), "step_definition_missing")
	settle(t, e)
	require.Equal(t, Stats{}, e.Stats())
}

func TestAStepMissingFromItsTemplateDoesNotKeepOthersFromBeingHandedOut(t *testing.T) {
	e := open(t, Options{}, dag("linear", "gone"))
	submit(t, e, asked("linear", 1))
	require.NoError(t, e.Register(t.Context(), parse(t, dag("linear", "one"))))
	submit(t, e, asked("linear", 2))
	require.Equal(t, "one", take(t, e).Name)
}

func TestStepsOfOneNameShareTheirIdentityAcrossTemplates(t *testing.T) {
	e := open(t, Options{}, linear, dag("other", "one"))
	one, two := taskOf(t, e, submit(t, e, asked("linear", 1))), taskOf(t, e, submit(t, e, asked("other", 1)))
	require.Equal(t, one.Steps[0].NamedStepUUID, two.Steps[0].NamedStepUUID)
	require.NotEqual(t, one.Steps[0].NamedStepUUID, one.Steps[1].NamedStepUUID)
	require.NotEqual(t, one.Steps[0].WorkflowStepUUID, two.Steps[0].WorkflowStepUUID)
}

func TestInitializationBecomesTheInputsOfAStep(t *testing.T) {
	e := open(t, Options{}, `
name: configured
namespace_name: tests
version: 1.0.0
steps:
  - {name: full, handler: {callable: h, initialization: {z: 1, a: 123456789012345678901234567890}}}
  - {name: bare, handler: {callable: h}}
  - {name: empty, handler: {callable: h, initialization: {}}}
`)
	submit(t, e, asked("configured", 1))
	steps := takeAll(t, e, 3)
	full := eventOf(t, steps["full"]).Sequence
	require.Equal(t, `{"z":1,"a":123456789012345678901234567890}`, string(full.Step.Inputs))
	require.Equal(t, string(full.Step.Inputs), string(full.Definition.Handler.Initialization))
	for _, name := range []string{"bare", "empty"} {
		s := eventOf(t, steps[name]).Sequence
		require.Equal(t, "null", string(s.Step.Inputs), name)
		require.Equal(t, "{}", string(s.Definition.Handler.Initialization), name)
	}
}

func TestRegisteringTwiceOrNothingIsFine(t *testing.T) {
	e := open(t, Options{}, linear, linear)
	require.NoError(t, e.Register(t.Context()))
	require.NoError(t, e.Register(t.Context(), parse(t, linear), parse(t, linear)))
	require.Len(t, e.Templates(), 1)
}

func TestATemplateWithoutStepsToBeginWithMakesNoTasks(t *testing.T) {
	for what, steps := range map[string]string{
		"no steps": "[]", "only a worker": "[{name: w, type: batch_worker, handler: {callable: h}}]",
	} {
		t.Run(what, func(t *testing.T) {
			e := open(t, Options{}, "name: empty\nnamespace_name: tests\nversion: 1.0.0\nsteps: "+steps+"\n")
			_, err := e.Create(t.Context(), asked("empty", 1))
			require.ErrorIs(t, err, ErrNotFound)
			require.ErrorContains(t, err, "task template tests/empty@1.0.0 has no steps to begin with")
		})
	}
}
