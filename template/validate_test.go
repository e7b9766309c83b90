package template_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/template"
)

// steps is a template with these steps, each one line.
func steps(lines ...string) string {
	return heading + "steps:\n  - " + strings.Join(lines, "\n  - ") + "\n"
}

func TestTemplatesThatCannotWorkAreRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		yaml string
		want []string
	}{
		"empty names": {
			"name: ''\nnamespace_name: ' '\nversion: \"\\t\"\n" + step,
			[]string{
				`t.yaml:1:7: error: the template's name is empty [EMPTY_NAME]`,
				`t.yaml:2:17: error: the template's namespace_name is empty [EMPTY_NAME]`,
				`t.yaml:3:10: error: the template's version is empty [EMPTY_NAME]`,
			},
		},
		"empty step name": {
			steps("{name: '', handler: {callable: c}}"),
			[]string{`t.yaml:5:12: error: a step has an empty name [EMPTY_NAME]`},
		},
		"blank callable": {
			steps("{name: a, handler: {callable: ' '}}"),
			[]string{`t.yaml:5:35: error: step "a" has an empty handler.callable; name the class or function that runs it [EMPTY_CALLABLE]`},
		},
		"duplicate names": {
			steps("{name: a, handler: {callable: c}}", "{name: b, handler: {callable: c}, dependencies: [a]}", "{name: a, handler: {callable: c}}"),
			[]string{`t.yaml:7:12: error: two steps are named "a", first on line 5; rename one of them [DUPLICATE_STEP_NAME]`},
		},
		"unknown dependency": {
			steps("{name: check_order, handler: {callable: c}}", "{name: b, handler: {callable: c}, dependencies: [chek_order]}"),
			[]string{`t.yaml:6:54: error: step "b" depends on "chek_order", which is no step of this template; did you mean "check_order"? [MISSING_DEP_REF]`},
		},
		"dependency on itself": {
			steps("{name: a, handler: {callable: c}, dependencies: [a]}"),
			[]string{`t.yaml:5:54: error: step "a" depends on itself; remove it [SELF_DEPENDENCY]`},
		},
		"cycles, each with its shortest way": {
			steps("{name: a, handler: {callable: c}, dependencies: [c]}", "{name: b, handler: {callable: c}, dependencies: [a]}",
				"{name: c, handler: {callable: c}, dependencies: [b, a]}", "{name: d, handler: {callable: c}, dependencies: [e, c]}",
				"{name: e, handler: {callable: c}, dependencies: [d]}"),
			[]string{
				`t.yaml:5:54: error: steps wait for each other: a → c → a; remove one of these dependencies [CYCLE_DETECTED]`,
				`t.yaml:8:54: error: steps wait for each other: d → e → d; remove one of these dependencies [CYCLE_DETECTED]`,
			},
		},
		"decision that judges nothing": {
			steps("{name: a, type: decision, handler: {callable: c}}"),
			[]string{`t.yaml:5:12: error: decision step "a" has no dependencies; let it depend on the step whose result it judges [DECISION_WITHOUT_DEPENDENCY]`},
		},
		"batch worker without batch_config": {
			steps("{name: a, type: batchable, handler: {callable: c}}", "{name: b, type: batch_worker, dependencies: [a], handler: {callable: c}}"),
			[]string{`t.yaml:6:12: error: batch worker "b" has no batch_config, so no batch can be created from it; add one [BATCH_CONFIG_MISSING]`},
		},
		"schemas that cannot be compiled": {
			heading + `input_schema: {type: objct}
domain_events: [{name: a.b, schema: {minimum: x}}]
steps:
  - name: a
    handler: {callable: c}
    result_schema: {type: object, properties: {p: {pattern: "(" }}}
    publishes_events:
      - {name: a.b, description: d, schema: {$ref: "#/definitions/gone"}}
      - {name: c.d, description: d, schema: 5}
`,
			[]string{
				`t.yaml:4:22: error: input_schema is not a valid JSON Schema: /type`,
				`t.yaml:5:47: error: schema of domain event "a.b" is not a valid JSON Schema: /minimum must be a number, is a string`,
				`t.yaml:9:61: error: result_schema of step "a" is not a valid JSON Schema: /properties/p/pattern`,
				`t.yaml:11:45: error: schema of event "a.b" of step "a" is not a valid JSON Schema: refers to "#/definitions/gone"`,
				`t.yaml:12:45: error: schema of event "c.d" of step "a" is not a valid JSON Schema: must be a map (a JSON Schema)`,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := errorsIn(test.yaml)
			require.Len(t, got, len(test.want), got)
			for i := range test.want {
				require.True(t, strings.HasPrefix(got[i], test.want[i]), "%s\n%s", test.want[i], got[i])
			}
		})
	}
}

func TestABatchWorkerOnItsOwnNeedsNoBatchConfig(t *testing.T) {
	t.Parallel()
	require.Empty(t, errorsIn(steps("{name: a, type: batch_worker, handler: {callable: c}}")))
}

func TestWhatATaskerDeploymentWouldNotTakeIsWarnedOf(t *testing.T) {
	t.Parallel()
	long := func(n int) string { return strings.Repeat("x", n) }
	for name, test := range map[string]struct {
		yaml string
		want []string
	}{
		"long namespace": {
			"name: t\nnamespace_name: " + long(30) + "\nversion: 1.0.0\n" + step,
			[]string{`t.yaml:2:17: warning: namespace "` + long(30) + `" has 30 characters; a Tasker deployment allows 29 [NAMESPACE_TOO_LONG]`},
		},
		"namespace with a dash": {
			"name: t\nnamespace_name: my-shop\nversion: 1.0.0\n" + step,
			[]string{`t.yaml:2:17: warning: namespace "my-shop" is not a name that a Tasker deployment allows; use letters, digits and _ only, no digit first [NAMESPACE_INVALID]`},
		},
		"version": {
			"name: t\nnamespace_name: n\nversion: v1\n" + step,
			[]string{`t.yaml:3:10: warning: version "v1" is not a semantic version; write it as MAJOR.MINOR.PATCH [VERSION_NOT_SEMVER]`},
		},
		"long texts": {
			"name: " + long(65) + "\nnamespace_name: n\nversion: 1.0.0-" + long(11) + "\ndescription: " + long(256) + "\n" +
				"steps: [{name: " + long(129) + ", handler: {callable: " + long(501) + "}}]\n",
			[]string{
				`t.yaml:1:7: warning: the template's name has 65 characters; a Tasker deployment stores 64 [TOO_LONG]`,
				`t.yaml:3:10: warning: the template's version has 17 characters; a Tasker deployment stores 16 [TOO_LONG]`,
				`t.yaml:4:14: warning: the template's description has 256 characters; a Tasker deployment stores 255 [TOO_LONG]`,
				`t.yaml:5:16: warning: step name "` + long(60) + `…" has 129 characters; a Tasker deployment stores 128 [TOO_LONG]`,
				`t.yaml:5:167: warning: handler.callable of step "` + long(60) + `…" has 501 characters; a Tasker deployment stores 500 [TOO_LONG]`,
			},
		},
		"ranges": {
			heading + `lifecycle:
  max_duration_minutes: 43201
  max_waiting_for_dependencies_minutes: 0
  max_waiting_for_retry_minutes: 10081
  max_steps_in_process_minutes: 10081
  staleness_action: explode
steps:
  - name: a
    handler: {callable: c}
    retry: {max_attempts: 0, backoff_base_ms: 99, max_backoff_ms: 3600001}
    batch_config: {batch_size: 100001, parallelism: 0, cursor_field: f, worker_template: w, failure_strategy: isolate}
`,
			[]string{
				`t.yaml:5:25: warning: lifecycle: max_duration_minutes is 43201, outside of 1 to 43200 [OUT_OF_RANGE]`,
				`t.yaml:6:41: warning: lifecycle: max_waiting_for_dependencies_minutes is 0, outside of 1 to 10080 [OUT_OF_RANGE]`,
				`t.yaml:7:34: warning: lifecycle: max_waiting_for_retry_minutes is 10081, outside of 1 to 10080 [OUT_OF_RANGE]`,
				`t.yaml:8:33: warning: lifecycle: max_steps_in_process_minutes is 10081, outside of 1 to 10080 [OUT_OF_RANGE]`,
				`t.yaml:9:21: warning: lifecycle: staleness_action "explode" is unknown; use one of dlq, error, none [UNKNOWN_STALENESS_ACTION]`,
				`t.yaml:13:27: warning: retry of step "a": max_attempts is 0, outside of 1 to 100 [OUT_OF_RANGE]`,
				`t.yaml:13:47: warning: retry of step "a": backoff_base_ms is 99, outside of 100 to 3600000 [OUT_OF_RANGE]`,
				`t.yaml:13:67: warning: retry of step "a": max_backoff_ms is 3600001, outside of 1000 to 3600000 [OUT_OF_RANGE]`,
				`t.yaml:14:32: warning: batch_config of step "a": batch_size is 100001, outside of 1 to 100000 [OUT_OF_RANGE]`,
				`t.yaml:14:53: warning: batch_config of step "a": parallelism is 0, outside of 1 to 1000 [OUT_OF_RANGE]`,
			},
		},
		"no steps": {
			heading, []string{`t.yaml:1:1: warning: the template has no steps, so no task can be made from it [NO_STEPS]`},
		},
		"events": {
			heading + step + `    publishes_events:
      - {name: OrderDone, description: d, schema: {}}
      - {name: a..b, description: d, schema: {}}
      - {name: a.b, description: d, schema: {}, publisher: "not a name"}
      - {name: a.b, description: d, schema: {}, publisher: "Mod::Name.x"}
`,
			[]string{
				`t.yaml:8:16: warning: event "OrderDone" of step "a": the name should be lower-case words joined by dots; write it as area.thing.happened [EVENT_NAME_INVALID]`,
				`t.yaml:9:16: warning: event "a..b" of step "a": the name should be lower-case words joined by dots; write it as area.thing.happened [EVENT_NAME_INVALID]`,
				`t.yaml:10:60: warning: event "a.b" of step "a": publisher "not a name" is not a class name [PUBLISHER_INVALID]`,
				`t.yaml:11:16: warning: event "a.b" of step "a" is declared twice [DUPLICATE_EVENT]`,
			},
		},
		"result that is no object": {
			steps("{name: a, handler: {callable: c}, result_schema: {type: array}}"),
			[]string{`t.yaml:5:54: warning: result_schema of step "a" does not have the type object [SCHEMA_NOT_OBJECT]`},
		},
		"orphans": {
			steps("{name: a, handler: {callable: c}}", "{name: b, handler: {callable: c}, dependencies: [a]}", "{name: alone, handler: {callable: c}}"),
			[]string{`t.yaml:7:12: warning: step "alone" depends on nothing and nothing depends on it [ORPHAN_STEP]`},
		},
		"steps that nothing creates": {
			steps("{name: a, handler: {callable: c}}", "{name: b, type: deferred_convergence, handler: {callable: c}, dependencies: [a]}",
				"{name: d, type: batch_worker, handler: {callable: c}, dependencies: [a]}"),
			[]string{
				`t.yaml:6:12: warning: deferred_convergence step "b" is never created: the template has neither a decision nor a batchable step [NEVER_CREATED]`,
				`t.yaml:7:12: warning: batch_worker step "d" is never created: the template has neither a decision nor a batchable step [NEVER_CREATED]`,
			},
		},
		"dependency listed twice": {
			steps("{name: a, handler: {callable: c}}", "{name: b, handler: {callable: c}, dependencies: [a, a]}"),
			[]string{`t.yaml:6:57: warning: step "b" lists dependency "a" twice; remove one of them [DUPLICATE_DEPENDENCY]`},
		},
		"worker that is none": {
			steps("{name: a, type: batchable, handler: {callable: c, initialization: {worker_template_name: b}}}",
				"{name: b, handler: {callable: c}, dependencies: [a]}"),
			[]string{`t.yaml:5:94: warning: step "a" names "b" as its worker, which is no batch_worker step of this template [UNKNOWN_BATCH_WORKER]`},
		},
		"override of no step": {
			heading + step + "environments: {test: {steps: [{name: all}, {name: zzz}, {name: ALL}, {name: a}]}}\n",
			[]string{
				`t.yaml:7:31: warning: environment "test" overrides "all", which is no step of this template; did you mean "ALL"? [UNUSED_OVERRIDE]`,
				`t.yaml:7:44: warning: environment "test" overrides "zzz", which is no step of this template [UNUSED_OVERRIDE]`,
			},
		},
		"numbers that JSON lacks": {
			steps("{name: a, handler: {callable: c, initialization: {x: .inf, y: -.INF, z: .nan}}}"),
			[]string{
				`t.yaml:5:58: warning: infinity is passed on as null: JSON has no such number [NOT_JSON]`,
				`t.yaml:5:67: warning: infinity is passed on as null: JSON has no such number [NOT_JSON]`,
				`t.yaml:5:77: warning: not-a-number is passed on as null: JSON has no such number [NOT_JSON]`,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.want, warningsIn(test.yaml))
			require.Empty(t, errorsIn(test.yaml))
		})
	}
}

func TestAStepWithoutResultSchemaIsWorthAWord(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{`t.yaml:5:11: info: step "a" has no result_schema [NO_RESULT_SCHEMA]`}, findings(heading+step, template.SeverityInfo))
	require.Empty(t, findings(heading+step+"    result_schema: {type: object}\n", template.SeverityInfo))
}

func TestARepeatedDependencyIsOne(t *testing.T) {
	t.Parallel()
	tpl := parse(t, steps("{name: a, handler: {callable: c}}", "{name: b, handler: {callable: c}, dependencies: [a, a]}"))
	require.Equal(t, []string{"a"}, tpl.Steps[1].Dependencies)
}

func TestSchemasOfOlderDraftsCompile(t *testing.T) {
	t.Parallel()
	for _, schema := range []string{
		`{$schema: "http://json-schema.org/draft-07/schema#", definitions: {a: {type: string}}, $ref: "#/definitions/a"}`,
		`{minimum: 0, exclusiveMinimum: true}`, // draft 4
		`{items: [{type: string}, {type: number}]}`,
		`{pattern: "^(?!x).*$"}`, // ECMAScript's lookahead
		`true`, `{}`,
	} {
		require.Empty(t, errorsIn(heading+"input_schema: "+schema+"\n"+step), schema)
	}
}

func TestSchemasReadNoFilesAndNoNetwork(t *testing.T) {
	t.Parallel()
	for _, ref := range []string{"file:///etc/passwd", "http://127.0.0.1:1/schema.json", "other.json"} {
		got := errorsIn(heading + "input_schema: {$ref: \"" + ref + "\"}\n" + step)
		require.Len(t, got, 1)
		require.Contains(t, got[0], "only references within the schema itself are followed")
	}
}

func TestTheReport(t *testing.T) {
	t.Parallel()
	yaml := steps("{name: a, handler: {callable: c}, dependencies: [b]}", "{name: b, handler: {callable: c}, dependencies: [a]}")
	tpl, found := template.Parse("t.yaml", []byte(yaml))
	report := template.NewReport(tpl, append(found, tpl.Validate()...))
	require.False(t, report.Valid)
	require.True(t, report.HasCycles)
	require.Equal(t, 2, report.StepCount)
	require.Equal(t, template.ReportFinding{
		Code: "CYCLE_DETECTED", Severity: "error", Step: new("a"), Place: "t.yaml:5:54",
		Message: "steps wait for each other: a → b → a; remove one of these dependencies",
	}, report.Findings[1])

	require.Equal(t, template.Report{Valid: true, StepCount: 1, Findings: []template.ReportFinding{{
		Code: "NO_RESULT_SCHEMA", Severity: "info", Step: new("a"), Place: "t.yaml:5:11", Message: `step "a" has no result_schema`,
	}}}, template.NewReport(parse(t, heading+step), parse(t, heading+step).Validate()))
	require.Equal(t, template.Report{Valid: true, Findings: []template.ReportFinding{}}, template.NewReport(nil, nil))
}

func TestAFindingIsOneLine(t *testing.T) {
	t.Parallel()
	f := template.Finding{Code: "X", Severity: template.SeverityError, Message: "a\nb\r\nc", Pos: template.Position{File: "f", Line: 3}}
	require.Equal(t, "f:3: error: a b  c [X]", f.String())
	f.Pos = template.Position{File: "f"}
	require.Equal(t, "f: error: a b  c [X]", f.String())
	f.Pos = template.Position{}
	require.Equal(t, "error: a b  c [X]", f.String())
}
