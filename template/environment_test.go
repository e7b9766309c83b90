package template_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/template"
)

const overridden = heading + `steps:
  - name: a
    handler: {callable: c, initialization: {x: 1, y: {deep: 1}, z: 3}}
    retry: {max_attempts: 9, backoff: linear, backoff_base_ms: 500}
    timeout_seconds: 20
  - name: b
    handler: {callable: c}
environments:
  test:
    steps:
      - name: ALL
        timeout_seconds: 5
        handler: {initialization: {w: 0, y: {other: 2}}}
      - name: a
        timeout_seconds: 6
        retry: {retryable: false}
  last_all:
    steps:
      - {name: a, timeout_seconds: 6}
      - {name: ALL, timeout_seconds: 5}
`

func TestOverridesApplyInTheOrderTheyAreWritten(t *testing.T) {
	t.Parallel()
	tpl := parse(t, overridden)
	test := tpl.ForEnvironment("test")
	require.Equal(t, uint32(6), *test.Step("a").TimeoutSeconds)
	require.Equal(t, uint32(5), *test.Step("b").TimeoutSeconds)
	require.Equal(t, uint32(5), *tpl.ForEnvironment("last_all").Step("a").TimeoutSeconds)
}

func TestInitializationIsMergedKeyByKey(t *testing.T) {
	t.Parallel()
	test := parse(t, overridden).ForEnvironment("test")
	require.Equal(t, `{"x":1,"y":{"other":2},"z":3,"w":0}`, string(test.Step("a").Handler.Initialization))
	require.Equal(t, `{"w":0,"y":{"other":2}}`, string(test.Step("b").Handler.Initialization))
	require.Equal(t, "c", test.Step("a").Handler.Callable)
}

func TestARetryIsReplacedAsAWhole(t *testing.T) {
	t.Parallel()
	test := parse(t, overridden).ForEnvironment("test")
	require.Equal(t, template.Retry{Retryable: false, MaxAttempts: 3, Backoff: template.BackoffExponential}, test.Step("a").Retry)
	require.Equal(t, template.DefaultRetry(), test.Step("b").Retry)
}

func TestACopyForAnEnvironmentHasNoneOfItsOwn(t *testing.T) {
	t.Parallel()
	tpl := parse(t, overridden)
	before := string(tpl.JSON())
	require.Empty(t, tpl.ForEnvironment("test").Environments)
	require.Equal(t, before, string(tpl.JSON()), "the template itself is unchanged")
}

func TestAnUnknownEnvironmentChangesNothing(t *testing.T) {
	t.Parallel()
	tpl := parse(t, overridden)
	other := tpl.ForEnvironment("production")
	other.Environments = tpl.Environments
	require.True(t, tpl.Equal(other))
}
