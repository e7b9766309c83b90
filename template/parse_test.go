package template_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/template"
)

// heading is the least that a template has besides steps.
const heading = "name: t\nnamespace_name: n\nversion: 1.0.0\n"

// step is a step that has nothing wrong with it.
const step = "steps:\n  - name: a\n    handler: {callable: c}\n"

// parse reads a template in which nothing is wrong.
func parse(t *testing.T, yaml string) *template.Template {
	t.Helper()
	tpl, findings := template.Parse("t.yaml", []byte(yaml))
	require.NotNil(t, tpl, findings)
	return tpl
}

// findings is what reading and validating a template says, of the severities
// wanted.
func findings(yaml string, severities ...template.Severity) []string {
	tpl, all := template.Parse("t.yaml", []byte(yaml))
	if tpl != nil {
		all = append(all, tpl.Validate()...)
	}
	lines := []string{}
	for _, f := range all {
		for _, s := range severities {
			if f.Severity == s {
				lines = append(lines, f.String())
			}
		}
	}
	return lines
}

func errorsIn(yaml string) []string   { return findings(yaml, template.SeverityError) }
func warningsIn(yaml string) []string { return findings(yaml, template.SeverityWarning) }

// example is the example of engine-semantics §1.3.
const example = `name: order_intake
namespace_name: shop
version: 1.2.0
description: Takes an order and books it
input_schema:
  type: object
  required: [order_id]
  properties:
    order_id: {type: string}
steps:
  - name: check_order
    handler:
      callable: shop.handlers.CheckOrder
      initialization: {strict_mode: true}
    retry: {retryable: true, max_attempts: 4, backoff: linear, backoff_base_ms: 500, max_backoff_ms: 5000}
    timeout_seconds: 20
    publishes_events:
      - name: shop.order.checked
        description: The order passed its checks
        condition: success
        delivery_mode: fast
        schema: {type: object}
  - name: choose_route
    type: decision
    dependencies: [check_order]
    handler: {callable: shop.handlers.ChooseRoute}
  - name: book_small
    dependencies: [choose_route]
    handler: {callable: shop.handlers.Book, method: small}
  - name: book_large
    dependencies: [choose_route]
    handler: {callable: shop.handlers.Book, method: large}
  - name: close_order
    type: deferred_convergence
    dependencies: [book_small, book_large]
    handler: {callable: shop.handlers.CloseOrder}
lifecycle:
  max_steps_in_process_minutes: 10
environments:
  test:
    steps:
      - name: ALL
        timeout_seconds: 5
      - name: check_order
        handler: {initialization: {strict_mode: false}}
`

func TestTheExampleOfTheSpecificationIsReadWhole(t *testing.T) {
	t.Parallel()
	tpl := parse(t, example)
	require.Equal(t, "shop/order_intake@1.2.0", tpl.Key())
	require.Equal(t, "Takes an order and books it", tpl.Description)
	require.JSONEq(t, `{"type":"object","required":["order_id"],"properties":{"order_id":{"type":"string"}}}`, string(tpl.InputSchema))
	require.Equal(t, []string{"check_order", "choose_route", "book_small", "book_large", "close_order"}, tpl.StepNames())

	check := tpl.Step("check_order")
	require.JSONEq(t, `{"strict_mode":true}`, string(check.Handler.Initialization))
	require.Equal(t, template.Retry{
		Retryable: true, MaxAttempts: 4, Backoff: template.BackoffLinear, BackoffBaseMS: new(uint64(500)), MaxBackoffMS: new(uint64(5000)),
	}, check.Retry)
	require.Equal(t, uint32(20), *check.TimeoutSeconds)
	require.Equal(t, []template.EventDeclaration{{
		Name: "shop.order.checked", Description: "The order passed its checks", Condition: template.OnSuccess,
		Schema: json.RawMessage(`{"type":"object"}`), Delivery: template.DeliverFast,
	}}, check.PublishesEvents)
	require.Equal(t, template.Position{File: "t.yaml", Line: 11, Column: 5}, check.Pos)

	require.Equal(t, template.Decision, tpl.Step("choose_route").Type)
	require.Equal(t, "small", *tpl.Step("book_small").Handler.Method)
	require.Equal(t, []string{"book_small", "book_large"}, tpl.Step("close_order").Dependencies)
	require.Equal(t, uint32(10), *tpl.Lifecycle.MaxStepsInProcessMinutes)
	require.Len(t, tpl.Environments["test"].Steps, 2)
	require.Empty(t, errorsIn(example))
	require.Empty(t, warningsIn(example))
}

func TestWhatIsLeftOutGetsItsDefault(t *testing.T) {
	t.Parallel()
	tpl := parse(t, heading+step)
	require.Empty(t, tpl.Description)
	require.Nil(t, tpl.Metadata)
	require.Equal(t, template.SystemDependencies{Primary: "default", Secondary: []string{}}, tpl.SystemDependencies)
	require.Empty(t, tpl.DomainEvents)
	require.Nil(t, tpl.InputSchema)
	require.Empty(t, tpl.Environments)
	require.Nil(t, tpl.Lifecycle)
	s := tpl.Steps[0]
	require.Empty(t, s.Description)
	require.Equal(t, template.Standard, s.Type)
	require.Nil(t, s.Handler.Method)
	require.Nil(t, s.Handler.Resolver)
	require.JSONEq(t, `{}`, string(s.Handler.Initialization))
	require.Nil(t, s.SystemDependency)
	require.Empty(t, s.Dependencies)
	require.Nil(t, s.TimeoutSeconds)
	require.Empty(t, s.PublishesEvents)
	require.Nil(t, s.BatchConfig)
	require.Nil(t, s.ResultSchema)
	require.Nil(t, s.Composition)
}

func TestAnAbsentRetryAndAnEmptyOneDiffer(t *testing.T) {
	t.Parallel()
	absent := parse(t, heading+step).Steps[0].Retry
	require.Equal(t, template.Retry{
		Retryable: true, MaxAttempts: 3, Backoff: template.BackoffExponential,
		BackoffBaseMS: new(uint64(1000)), MaxBackoffMS: new(uint64(30000)),
	}, absent)
	require.Equal(t, absent, template.DefaultRetry())
	for _, written := range []string{"{}", "{retryable: true}", "{max_attempts: 3}"} {
		empty := parse(t, heading+step+"    retry: "+written+"\n").Steps[0].Retry
		require.Equal(t, template.Retry{Retryable: true, MaxAttempts: 3, Backoff: template.BackoffExponential}, empty, written)
	}
}

func TestNullIsAsGoodAsAbsent(t *testing.T) {
	t.Parallel()
	with := heading + "description: null\nmetadata: ~\nsystem_dependencies:\ninput_schema: null\nlifecycle: null\nenvironments: null\n" +
		step + "    retry: null\n    timeout_seconds: ~\n    dependencies: null\n    type: null\n"
	require.True(t, parse(t, with).Equal(parse(t, heading+step)))
}

func TestAliasesOfKeys(t *testing.T) {
	t.Parallel()
	tpl := parse(t, heading+step+"  - {name: b, step_type: decision, depends_on: [a], handler: {callable: c}}\n")
	require.Equal(t, template.Decision, tpl.Steps[1].Type)
	require.Equal(t, []string{"a"}, tpl.Steps[1].Dependencies)
}

func TestEveryEnumHasItsWords(t *testing.T) {
	t.Parallel()
	for key, words := range map[string][]string{
		"type":            {"standard", "decision", "deferred_convergence", "batchable", "batch_worker"},
		"retry: {backoff": {"none", "linear", "exponential", "fibonacci"},
		"publishes_events: [{name: e, description: d, schema: {}, condition":     {"success", "failure", "retryable_failure", "permanent_failure", "always"},
		"publishes_events: [{name: e, description: d, schema: {}, delivery_mode": {"durable", "fast", "broadcast"},
		"batch_config: {batch_size: 1, parallelism: 1, cursor_field: f, worker_template: w, failure_strategy": {
			"continue_on_failure", "fail_fast", "isolate",
		},
	} {
		closing := strings.Repeat("}", strings.Count(key, "{")-2*strings.Count(key, "{}"))
		if strings.Contains(key, "{}") {
			closing = "}"
		}
		if strings.Contains(key, "[") {
			closing += "]"
		}
		for _, word := range words {
			yaml := heading + step + "    " + key + ": " + word + closing + "\n"
			_, found := template.Parse("t.yaml", []byte(yaml))
			require.Empty(t, found, yaml)
		}
		yaml := heading + step + "    " + key + ": sometimes" + closing + "\n"
		require.Len(t, errorsIn(yaml), 1, yaml)
		require.Contains(t, errorsIn(yaml)[0], "cannot be the text \"sometimes\"; use one of "+strings.Join(words, ", ")+" [UNKNOWN_VALUE]")
	}
}

func TestEverythingOfTheTopLevelIsRead(t *testing.T) {
	t.Parallel()
	tpl := parse(t, heading+`metadata:
  author: Ada
  tags: [x, y]
  documentation_url: https://example.org
  created_at: 2026-01-31T08:30:00Z
  updated_at: "2026-01-31T08:30:00+01:00"
system_dependencies: {primary: erp, secondary: [crm]}
domain_events:
  - {name: a.b, description: d, schema: {type: object}}
  - {name: c.d}
lifecycle:
  max_duration_minutes: 1
  max_waiting_for_dependencies_minutes: 2
  max_waiting_for_retry_minutes: 3
  max_steps_in_process_minutes: 4
  staleness_action: error
  auto_fail_on_timeout: true
  auto_dlq_on_timeout: false
`+step)
	require.Equal(t, &template.Metadata{
		Author: new("Ada"), Tags: []string{"x", "y"}, DocumentationURL: new("https://example.org"),
		CreatedAt: new("2026-01-31T08:30:00Z"), UpdatedAt: new("2026-01-31T08:30:00+01:00"),
	}, tpl.Metadata)
	require.Equal(t, template.SystemDependencies{Primary: "erp", Secondary: []string{"crm"}}, tpl.SystemDependencies)
	require.Equal(t, []template.DomainEvent{
		{Name: "a.b", Description: new("d"), Schema: json.RawMessage(`{"type":"object"}`)}, {Name: "c.d"},
	}, tpl.DomainEvents)
	require.Equal(t, &template.Lifecycle{
		MaxDurationMinutes: new(uint32(1)), MaxWaitingForDependenciesMinutes: new(uint32(2)),
		MaxWaitingForRetryMinutes: new(uint32(3)), MaxStepsInProcessMinutes: new(uint32(4)),
		StalenessAction: "error", AutoFailOnTimeout: new(true), AutoDLQOnTimeout: new(false),
	}, tpl.Lifecycle)
}

func TestTheStalenessActionIsDLQByDefault(t *testing.T) {
	t.Parallel()
	require.Equal(t, "dlq", parse(t, heading+"lifecycle: {}\n"+step).Lifecycle.StalenessAction)
}

func TestEverythingOfAStepIsRead(t *testing.T) {
	t.Parallel()
	s := parse(t, heading+`steps:
  - name: a
    description: d
    type: batchable
    system_dependency: crm
    handler: {callable: pkg.Class, method: m, resolver: r, initialization: {k: v}}
    dependencies: [b]
    timeout_seconds: 0
    result_schema: {type: object}
    composition: [any, {thing: 1}]
    batch_config: {batch_size: 10, parallelism: 2, cursor_field: id, worker_template: w, failure_strategy: isolate}
    publishes_events:
      - {name: a.b, description: d, schema: true, condition: always, delivery_mode: broadcast, publisher: p.Q}
  - {name: b, handler: {callable: c}}
`).Steps[0]
	require.Equal(t, "d", s.Description)
	require.Equal(t, template.Batchable, s.Type)
	require.Equal(t, "crm", *s.SystemDependency)
	require.Equal(t, template.Handler{
		Callable: "pkg.Class", Method: new("m"), Resolver: new("r"), Initialization: json.RawMessage(`{"k":"v"}`),
	}, s.Handler)
	require.Equal(t, []string{"b"}, s.Dependencies)
	require.Equal(t, uint32(0), *s.TimeoutSeconds)
	require.JSONEq(t, `{"type":"object"}`, string(s.ResultSchema))
	require.JSONEq(t, `["any",{"thing":1}]`, string(s.Composition))
	require.Equal(t, &template.BatchConfig{
		BatchSize: 10, Parallelism: 2, CursorField: "id", WorkerTemplate: "w", FailureStrategy: template.Isolate,
	}, s.BatchConfig)
	require.Equal(t, []template.EventDeclaration{{
		Name: "a.b", Description: "d", Condition: template.OnAlways, Schema: json.RawMessage("true"),
		Delivery: template.DeliverBroadcast, Publisher: new("p.Q"),
	}}, s.PublishesEvents)
}

func TestAnEventIsDurableAndForSuccessByDefault(t *testing.T) {
	t.Parallel()
	e := parse(t, heading+step+"    publishes_events: [{name: a.b, description: d, schema: {}}]\n").Steps[0].PublishesEvents[0]
	require.Equal(t, template.OnSuccess, e.Condition)
	require.Equal(t, template.DeliverDurable, e.Delivery)
	require.Nil(t, e.Publisher)
}

func TestRequiredKeys(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ yaml, want string }{
		"name":              {"namespace_name: n\nversion: 1.0.0\n" + step, "t.yaml:1:1: error: template: key name is missing [MISSING_KEY]"},
		"namespace_name":    {"name: t\nversion: 1.0.0\n" + step, "t.yaml:1:1: error: template: key namespace_name is missing [MISSING_KEY]"},
		"version":           {"name: t\nnamespace_name: n\n" + step, "t.yaml:1:1: error: template: key version is missing [MISSING_KEY]"},
		"step name":         {heading + "steps:\n  - handler: {callable: c}\n", "t.yaml:5:5: error: steps[0]: key name is missing [MISSING_KEY]"},
		"handler":           {heading + "steps:\n  - name: a\n", `t.yaml:5:5: error: step "a": key handler is missing [MISSING_KEY]`},
		"callable":          {heading + "steps:\n  - name: a\n    handler: {method: m}\n", `t.yaml:6:14: error: handler of step "a": key callable is missing [MISSING_KEY]`},
		"null":              {heading + "steps:\n  - name: a\n    handler: {callable: null}\n", `t.yaml:6:14: error: handler of step "a": key callable is missing [MISSING_KEY]`},
		"event name":        {heading + step + "    publishes_events: [{description: d, schema: {}}]\n", `t.yaml:7:24: error: publishes_events[0] of step "a": key name is missing [MISSING_KEY]`},
		"event description": {heading + step + "    publishes_events: [{name: a.b, schema: {}}]\n", `t.yaml:7:24: error: publishes_events[0] of step "a": key description is missing [MISSING_KEY]`},
		"event schema":      {heading + step + "    publishes_events: [{name: a.b, description: d}]\n", `t.yaml:7:24: error: publishes_events[0] of step "a": key schema is missing [MISSING_KEY]`},
		"domain event name": {heading + "domain_events: [{description: d}]\n" + step, "t.yaml:4:17: error: domain_events[0]: key name is missing [MISSING_KEY]"},
		"override name":     {heading + step + "environments: {test: {steps: [{timeout_seconds: 1}]}}\n", `t.yaml:7:31: error: steps[0] of environment "test": key name is missing [MISSING_KEY]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, []string{test.want}, errorsIn(test.yaml))
		})
	}
}

func TestABatchConfigNeedsAllItsKeys(t *testing.T) {
	t.Parallel()
	keys := []string{"batch_size: 10", "parallelism: 2", "cursor_field: id", "worker_template: w", "failure_strategy: isolate"}
	for i := range keys {
		others := append(append([]string{}, keys[:i]...), keys[i+1:]...)
		key, _, _ := strings.Cut(keys[i], ":")
		require.Equal(t,
			[]string{`t.yaml:7:19: error: batch_config of step "a": key ` + key + ` is missing [MISSING_KEY]`},
			errorsIn(heading+step+"    batch_config: {"+strings.Join(others, ", ")+"}\n"))
	}
}

func TestWrongTypesAreToldWithTheirPlace(t *testing.T) {
	t.Parallel()
	top := func(line string) string { return heading + line + "\n" + step }
	in := func(line string) string { return heading + step + "    " + line + "\n" }
	for name, test := range map[string]struct{ yaml, want string }{
		"list for name":           {"name: [t]\nnamespace_name: n\nversion: 1.0.0\n" + step, `t.yaml:1:7: error: template: name must be text, not a list [WRONG_TYPE]`},
		"map for description":     {top("description: {}"), `t.yaml:4:14: error: template: description must be text, not a map [WRONG_TYPE]`},
		"list for metadata":       {top("metadata: []"), `t.yaml:4:11: error: metadata must be a map, not a list [WRONG_TYPE]`},
		"text for tags":           {top("metadata: {tags: x}"), `t.yaml:4:18: error: metadata: tags must be a list, not the text "x"; write [x] [WRONG_TYPE]`},
		"date without time":       {top("metadata: {created_at: 2026-01-31}"), `t.yaml:4:24: error: metadata: created_at must be an RFC 3339 time such as 2026-01-31T08:30:00Z, not the text "2026-01-31" [WRONG_TYPE]`},
		"text for secondary":      {top("system_dependencies: {secondary: x}"), `t.yaml:4:34: error: system_dependencies: secondary must be a list, not the text "x"; write [x] [WRONG_TYPE]`},
		"map for domain_events":   {top("domain_events: {}"), `t.yaml:4:16: error: template: domain_events must be a list, not a map [WRONG_TYPE]`},
		"text for a domain event": {top("domain_events: [x]"), `t.yaml:4:17: error: domain_events[0] must be a map, not the text "x" [WRONG_TYPE]`},
		"map for steps":           {heading + "steps: {a: 1}\n", `t.yaml:4:8: error: template: steps must be a list, not a map [WRONG_TYPE]`},
		"text for a step":         {heading + "steps: [a]\n", `t.yaml:4:9: error: steps[0] must be a map, not the text "a" [WRONG_TYPE]`},
		"list for environments":   {top("environments: []"), `t.yaml:4:15: error: environments must be a map, not a list [WRONG_TYPE]`},
		"list for an environment": {top("environments: {test: []}"), `t.yaml:4:22: error: environment "test" must be a map, not a list [WRONG_TYPE]`},
		"text for lifecycle":      {top("lifecycle: x"), `t.yaml:4:12: error: lifecycle must be a map, not the text "x" [WRONG_TYPE]`},
		"minus for minutes":       {top("lifecycle: {max_duration_minutes: -1}"), `t.yaml:4:35: error: lifecycle: max_duration_minutes must be a whole number from 0 to 4294967295, not a whole number (-1) [WRONG_TYPE]`},
		"yes for a boolean":       {top("lifecycle: {auto_fail_on_timeout: yes}"), `t.yaml:4:35: error: lifecycle: auto_fail_on_timeout must be true or false, not the text "yes"; write true or false [WRONG_TYPE]`},
		"text for handler":        {heading + "steps: [{name: a, handler: pkg.Class}]\n", `t.yaml:4:28: error: step "a": handler must be a map, not the text "pkg.Class"; write {callable: pkg.Class} [WRONG_TYPE]`},
		"list for initialization": {heading + "steps: [{name: a, handler: {callable: c, initialization: []}}]\n", `t.yaml:4:58: error: handler of step "a": initialization must be a map, not a list [WRONG_TYPE]`},
		"text for dependencies":   {in("dependencies: b"), `t.yaml:7:19: error: step "a": dependencies must be a list, not the text "b"; write [b] [WRONG_TYPE]`},
		"map in dependencies":     {in("dependencies: [{}]"), `t.yaml:7:20: error: step "a": dependencies[0] must be text, not a map [WRONG_TYPE]`},
		"text for retry":          {in("retry: often"), `t.yaml:7:12: error: retry of step "a" must be a map, not the text "often" [WRONG_TYPE]`},
		"text for attempts":       {in("retry: {max_attempts: '3'}"), `t.yaml:7:27: error: retry of step "a": max_attempts must be a whole number from 0 to 4294967295, not the text "3" [WRONG_TYPE]`},
		"fraction of attempts":    {in("retry: {max_attempts: 1.5}"), `t.yaml:7:27: error: retry of step "a": max_attempts must be a whole number from 0 to 4294967295, not a decimal number (1.5) [WRONG_TYPE]`},
		"too many attempts":       {in("retry: {max_attempts: 4294967296}"), `t.yaml:7:27: error: retry of step "a": max_attempts must be a whole number from 0 to 4294967295, not a whole number (4294967296) [WRONG_TYPE]`},
		"text for retryable":      {in("retry: {retryable: on}"), `t.yaml:7:24: error: retry of step "a": retryable must be true or false, not the text "on"; write true or false [WRONG_TYPE]`},
		"text for timeout":        {in("timeout_seconds: soon"), `t.yaml:7:22: error: step "a": timeout_seconds must be a whole number from 0 to 4294967295, not the text "soon" [WRONG_TYPE]`},
		"old form of an event":    {in("publishes_events: [a.b]"), `t.yaml:7:24: error: publishes_events[0] of step "a" must be a map, not the text "a.b"; write it as {name, description, schema} [WRONG_TYPE]`},
		"list for batch_config":   {in("batch_config: []"), `t.yaml:7:19: error: batch_config of step "a" must be a map, not a list [WRONG_TYPE]`},
		"a list as template":      {"- a\n", `t.yaml:1:1: error: a template must be a map with the keys name, namespace_name, version and steps, not a list [WRONG_TYPE]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, []string{test.want}, errorsIn(test.yaml))
		})
	}
}

func TestKeyAndAliasInOneMapAreAnError(t *testing.T) {
	t.Parallel()
	require.Equal(t,
		[]string{`t.yaml:8:5: error: step "a": type and step_type mean the same; keep one of them [DUPLICATE_KEY]`},
		errorsIn(heading+step+"    type: standard\n    step_type: standard\n"))
	require.Equal(t,
		[]string{`t.yaml:8:5: error: step "a": dependencies and depends_on mean the same; keep one of them [DUPLICATE_KEY]`},
		errorsIn(heading+step+"    depends_on: []\n    dependencies: []\n"))
}

func TestNumbersAndBooleansAsTextAreTakenAndTold(t *testing.T) {
	t.Parallel()
	yaml := "name: 007\nnamespace_name: true\nversion: 1.10\n" + step
	tpl := parse(t, yaml)
	require.Equal(t, "true/007@1.10", tpl.Key(), "as it is written")
	require.Contains(t, warningsIn(yaml), `t.yaml:3:10: warning: template: version is a decimal number (1.10) and is read as text; put it in quotes [IMPLICIT_TEXT]`)
	require.Contains(t, warningsIn(yaml), `t.yaml:2:17: warning: template: namespace_name is a boolean (true) and is read as text; put it in quotes [IMPLICIT_TEXT]`)
}

func TestUnknownKeysAreIgnored(t *testing.T) {
	t.Parallel()
	yaml := heading + "task_handler: {x: 1}\nnotes: [1]\nmetadata: {notes: x}\n" + step +
		"    lifecycle: {max_steps_in_process_minutes: 1}\n    metadata: {}\n    custom_events: []\n    handler: {callable: c, flavour: x}\n"
	yaml = strings.Replace(yaml, "    handler: {callable: c}\n", "", 1)
	require.Empty(t, errorsIn(yaml))
	require.Empty(t, warningsIn(yaml))
}

func TestKeysThatMeanAKnownOneAreToldOf(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"    retry: {limit: 3}\n":       `t.yaml:7:13: warning: retry of step "a": key "limit" is ignored; did you mean max_attempts? [UNKNOWN_KEY]`,
		"    retry: {max_atempts: 3}\n": `t.yaml:7:13: warning: retry of step "a": key "max_atempts" is ignored; did you mean max_attempts? [UNKNOWN_KEY]`,
		"    dependancies: [b]\n":       `t.yaml:7:5: warning: step "a": key "dependancies" is ignored; did you mean dependencies? [UNKNOWN_KEY]`,
		"    timeout: 3\n":              `t.yaml:7:5: warning: step "a": key "timeout" is ignored; did you mean timeout_seconds? [UNKNOWN_KEY]`,
		"lifecycel: {}\n":               `t.yaml:7:1: warning: template: key "lifecycel" is ignored; did you mean lifecycle? [UNKNOWN_KEY]`,
	} {
		require.Equal(t, []string{want}, warningsIn(heading+step+line))
	}
}

func TestEverythingWrongIsToldAtOnce(t *testing.T) {
	t.Parallel()
	got := errorsIn(`name: [t]
namespace_name: n
version: 1.0.0
steps:
  - name: a
    type: desicion
    handler: {callable: ""}
    dependencies: [b, zzz]
  - name: b
    handler: {callable: c}
    dependencies: [a]
    timeout_seconds: soon
  - name: a
    handler: {}
`)
	require.Equal(t, []string{
		`t.yaml:1:7: error: template: name must be text, not a list [WRONG_TYPE]`,
		`t.yaml:6:11: error: step "a": type cannot be the text "desicion"; did you mean decision? [UNKNOWN_VALUE]`,
		`t.yaml:7:25: error: step "a" has an empty handler.callable; name the class or function that runs it [EMPTY_CALLABLE]`,
		`t.yaml:8:20: error: steps wait for each other: a → b → a; remove one of these dependencies [CYCLE_DETECTED]`,
		`t.yaml:8:23: error: step "a" depends on "zzz", which is no step of this template [MISSING_DEP_REF]`,
		`t.yaml:12:22: error: step "b": timeout_seconds must be a whole number from 0 to 4294967295, not the text "soon" [WRONG_TYPE]`,
		`t.yaml:13:11: error: two steps are named "a", first on line 5; rename one of them [DUPLICATE_STEP_NAME]`,
		`t.yaml:14:14: error: handler of step "a": key callable is missing [MISSING_KEY]`,
	}, got)
}

func TestATemplateIsStoredAsJSONAndReadBackEqual(t *testing.T) {
	t.Parallel()
	tpl := parse(t, example)
	back, found := template.Parse("stored", tpl.JSON())
	require.Empty(t, found)
	require.True(t, tpl.Equal(back))
	require.Equal(t, string(tpl.JSON()), string(back.JSON()))
	require.False(t, tpl.Equal(parse(t, heading+step)))
}

func TestAStepsDefinitionHasAllDefaults(t *testing.T) {
	t.Parallel()
	tpl := parse(t, heading+step)
	require.JSONEq(t, `{
		"name": "a", "description": null, "type": "standard", "system_dependency": null, "dependencies": [],
		"handler": {"callable": "c", "method": null, "resolver": null, "initialization": {}},
		"retry": {"retryable": true, "max_attempts": 3, "backoff": "exponential", "backoff_base_ms": 1000, "max_backoff_ms": 30000},
		"timeout_seconds": null, "publishes_events": [], "batch_config": null
	}`, string(tpl.Steps[0].DefinitionJSON()))
}

func TestInitializationKeepsOrderAndExactNumbers(t *testing.T) {
	t.Parallel()
	tpl := parse(t, heading+`steps:
  - name: a
    handler:
      callable: c
      initialization: {z: 123456789012345678901234567890, a: 1.10, m: 0x10, "<": "</script>", n: null, e: 1e400}
`)
	require.Equal(t, `{"z":123456789012345678901234567890,"a":1.10,"m":16,"<":"</script>","n":null,"e":"1e400"}`,
		string(tpl.Steps[0].Handler.Initialization))
	require.Equal(t, tpl.Steps[0].Handler.Initialization, tpl.Steps[0].Inputs())
}

func TestAnEmptyInitializationIsNoInput(t *testing.T) {
	t.Parallel()
	require.Nil(t, parse(t, heading+step).Steps[0].Inputs())
	require.Nil(t, parse(t, heading+"steps: [{name: a, handler: {callable: c, initialization: {}}}]").Steps[0].Inputs())
}

func TestUnreadableFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing.yaml")
	_, found := template.ParseFile(missing)
	require.Equal(t, missing+": error: cannot be read: no such file or directory [UNREADABLE]", found[0].String())
	_, found = template.ParseFile(dir)
	require.Equal(t, dir+": error: is a directory, not a template file [UNREADABLE]", found[0].String())
	large := filepath.Join(dir, "large.yaml")
	require.NoError(t, os.WriteFile(large, []byte(heading+strings.Repeat("# comment\n", 1<<19)), 0o600))
	_, found = template.ParseFile(large)
	require.Equal(t, large+": error: is larger than 4 MiB, which no template is [UNREADABLE]", found[0].String())
}
