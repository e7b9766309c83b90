package template_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// check gives the differences between an input and an input_schema.
func check(t *testing.T, schema, input string) []string {
	t.Helper()
	tpl := parse(t, heading+"input_schema: "+schema+"\n"+step)
	lines := []string{}
	for _, e := range tpl.CheckInput([]byte(input)) {
		lines = append(lines, e.String())
	}
	return lines
}

func TestInputThatFits(t *testing.T) {
	t.Parallel()
	require.Empty(t, check(t, "{type: object, required: [n], properties: {n: {type: integer}}}", `{"n": 1, "more": true}`))
	require.Empty(t, parse(t, heading+step).CheckInput([]byte(`{"anything": 1}`)), "without a schema everything fits")
}

func TestEveryDifferenceIsToldWithItsPath(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{
		"/extra is not a key the schema knows",
		"/items/1/price must be greater than 0, is -1.5",
		"/items/2/price must be a number, is a string",
		"/order_id is required",
		"/when/a~1b~0c must be at least 5, is 3",
	}, check(t, `
  type: object
  required: [order_id]
  additionalProperties: false
  properties:
    order_id: {type: string}
    items: {type: array, items: {properties: {price: {type: number, exclusiveMinimum: 0}}}}
    when: {properties: {a/b~c: {minimum: 5}}}
`, `{"items": [{"price": 1}, {"price": -1.5}, {"price": "x"}], "when": {"a/b~c": 3}, "extra": 1}`))
}

func TestWhatADifferenceSays(t *testing.T) {
	t.Parallel()
	for schema, test := range map[string][2]string{
		"{type: object}":                           {`[]`, "the input must be an object, is an array"},
		"{type: [object, 'null']}":                 {`1`, "the input must be null or an object, is a number"},
		"{properties: {v: {maximum: 5}}}":          {`{"v": 6}`, "/v must be at most 5, is 6"},
		"{properties: {v: {minimum: 0.5}}}":        {`{"v": 0}`, "/v must be at least 0.5, is 0"},
		"{properties: {v: {exclusiveMaximum: 5}}}": {`{"v": 5}`, "/v must be less than 5, is 5"},
		"{properties: {v: {multipleOf: 2}}}":       {`{"v": 123456789012345678901234567891}`, "/v must be a multiple of 2, is 123456789012345678901234567891"},
		"{properties: {v: {minLength: 2}}}":        {`{"v": "é"}`, "/v must have at least 2 characters, has 1"},
		"{properties: {v: {maxLength: 1}}}":        {`{"v": "ab"}`, "/v must have at most 1 character, has 2"},
		"{properties: {v: {minItems: 1}}}":         {`{"v": []}`, "/v must have at least 1 item, has 0"},
		"{properties: {v: {maxItems: 1}}}":         {`{"v": [1, 2]}`, "/v must have at most 1 item, has 2"},
		"{minProperties: 2}":                       {`{"v": 1}`, "the input must have at least 2 keys, has 1"},
		"{maxProperties: 0}":                       {`{"v": 1}`, "the input must have at most 0 keys, has 1"},
		"{properties: {v: {enum: [a, 1, null]}}}":  {`{"v": "b"}`, `/v must be one of "a", 1, null`},
		"{properties: {v: {const: {a: 1}}}}":       {`{"v": "b"}`, `/v must be {"a":1}`},
		"{properties: {v: {pattern: '^a+$'}}}":     {`{"v": "b"}`, `/v does not match the pattern ^a+$`},
		"{properties: {v: {pattern: '^(?!b)'}}}":   {`{"v": "b"}`, `/v does not match the pattern ^(?!b)`},
		"{properties: {v: false}}":                 {`{"v": 1}`, "/v is not allowed"},
		"{properties: {v: {not: {type: string}}}}": {`{"v": ""}`, "/v has a form that is not allowed"},
		"{properties: {v: {anyOf: [{type: string}, {type: object, required: [k]}]}}}": {
			`{"v": {}}`, "/v fits none of the allowed forms (must be a string, is an object | /k is required)",
		},
		"{properties: {v: {oneOf: [{type: integer}, {type: number}]}}}": {
			`{"v": 1}`, "/v fits more than one of the forms of which only one is allowed",
		},
	} {
		require.Equal(t, []string{test[1]}, check(t, schema, test[0]), schema)
	}
}

func TestInputThatIsNoJSON(t *testing.T) {
	t.Parallel()
	got := check(t, "{type: object}", `{"a": `)
	require.Len(t, got, 1)
	require.True(t, strings.HasPrefix(got[0], "the input is not valid JSON: "), got[0])
}

func TestAnInvalidSchemaIsToldWhenInputIsChecked(t *testing.T) {
	t.Parallel()
	got := check(t, "{type: 5}", `{}`)
	require.Len(t, got, 1)
	require.True(t, strings.HasPrefix(got[0], "the input cannot be checked, input_schema of n/t@1.0.0 is invalid: "), got[0])
}

func TestInputIsCheckedByManyAtOnce(t *testing.T) {
	t.Parallel()
	tpl := parse(t, heading+"input_schema: {required: [a]}\n"+step)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if len(tpl.CheckInput([]byte("{}"))) != 1 {
				t.Error("one difference expected")
			}
		})
	}
	wg.Wait()
}

func TestAPatternThatBacktracksForEverIsGivenUp(t *testing.T) {
	t.Parallel()
	got := check(t, `{properties: {v: {pattern: '^(?=(a+)+$)(a+)+$'}}}`, `{"v": "`+strings.Repeat("a", 40)+`!"}`)
	require.Len(t, got, 1)
}
