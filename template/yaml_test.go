package template_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/template"
)

// initialization is what becomes of YAML values in a handler's initialization.
func initialization(t *testing.T, flow string) string {
	t.Helper()
	tpl := parse(t, steps("{name: a, handler: {callable: c, initialization: {v: "+flow+"}}}"))
	return strings.TrimSuffix(strings.TrimPrefix(string(tpl.Steps[0].Handler.Initialization), `{"v":`), "}")
}

func TestScalarsFollowTheCoreSchema(t *testing.T) {
	t.Parallel()
	for yaml, want := range map[string]string{
		"1": `1`, "-7": `-7`, "+7": `7`, "0": `0`, "007": `"007"`, "0777": `"0777"`, "0o17": `15`, "0x1F": `31`, "0b101": `5`, "-0x10": `-16`,
		"1_000": `"1_000"`, "1.5": `1.5`, "1.50": `1.50`, ".5": `0.5`, "5.": `5.0`, "1e3": `1e3`, "-1.5E-3": `-1.5E-3`, "+.5": `0.5`, "00.5": `0.5`,
		"true": `true`, "True": `true`, "FALSE": `false`, "yes": `"yes"`, "on": `"on"`, "y": `"y"`, "off": `"off"`,
		"null": `null`, "~": `null`, "Null": `null`, "": `null`, "nil": `"nil"`,
		"2026-01-31": `"2026-01-31"`, "12:30:00": `"12:30:00"`, "1.2.3": `"1.2.3"`, "=": `"="`,
		`"1"`: `"1"`, `'true'`: `"true"`, `"null"`: `"null"`, `"\u00e9\n"`: `"é\n"`, `'it''s'`: `"it's"`,
		"!!str 1": `"1"`, "!!int '1'": `1`, "!!float 1": `1`, "! 1": `"1"`, "1e999": `"1e999"`,
		"[]": `[]`, "{}": `{}`, "[1, [2, {a: b}]]": `[1,[2,{"a":"b"}]]`, "{1: x, true: y}": `{"1":"x","true":"y"}`,
	} {
		require.Equal(t, want, initialization(t, yaml), "%q", yaml)
	}
}

func TestBlockTexts(t *testing.T) {
	t.Parallel()
	tpl := parse(t, "name: t\nnamespace_name: n\nversion: 1.0.0\ndescription: >-\n  folded\n  text\n\n  twice\nsteps:\n"+
		"  - name: a\n    description: |\n      line\n        indented\n    handler: {callable: c}\n")
	require.Equal(t, "folded text\ntwice", tpl.Description)
	require.Equal(t, "line\n  indented\n", tpl.Steps[0].Description)
}

func TestAnchorsAndAliases(t *testing.T) {
	t.Parallel()
	tpl := parse(t, heading+`steps:
  - name: a
    handler: &h {callable: c, initialization: &i {x: 1}}
    retry: &r {max_attempts: 7}
  - name: b
    handler: *h
    retry: *r
    dependencies: [&first a]
  - name: c
    handler: {callable: d, initialization: *i}
    dependencies: [*first]
`)
	require.Equal(t, tpl.Steps[0].Handler, tpl.Steps[1].Handler)
	require.Equal(t, uint32(7), tpl.Steps[1].Retry.MaxAttempts)
	require.JSONEq(t, `{"x":1}`, string(tpl.Steps[2].Handler.Initialization))
	require.Equal(t, []string{"a"}, tpl.Steps[2].Dependencies)
}

func TestMergeKeys(t *testing.T) {
	t.Parallel()
	tpl := parse(t, heading+`x-base: &base {max_attempts: 7, backoff: linear}
x-fast: &fast {backoff: none, backoff_base_ms: 100}
steps:
  - {name: a, handler: {callable: c}, retry: {<<: *base}}
  - {name: b, handler: {callable: c}, retry: {max_attempts: 2, <<: *base}}
  - {name: c, handler: {callable: c}, retry: {<<: *base, max_attempts: 2}}
  - {name: d, handler: {callable: c}, retry: {<<: [*fast, *base]}}
`)
	require.Equal(t, template.BackoffLinear, tpl.Step("a").Retry.Backoff)
	require.Equal(t, uint32(7), tpl.Step("a").Retry.MaxAttempts)
	require.Equal(t, uint32(2), tpl.Step("b").Retry.MaxAttempts, "its own key wins, also when it comes first")
	require.Equal(t, uint32(2), tpl.Step("c").Retry.MaxAttempts)
	require.Equal(t, template.BackoffNone, tpl.Step("d").Retry.Backoff, "the earlier of several maps wins")
	require.Equal(t, uint32(7), tpl.Step("d").Retry.MaxAttempts)
}

func TestAQuotedMergeKeyIsAKey(t *testing.T) {
	t.Parallel()
	require.Equal(t, `{"<<":{"a":1}}`, initialization(t, `{"<<": {a: 1}}`))
}

func TestYAMLThatIsRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ yaml, want string }{
		"nothing":             {"", "t.yaml:1:1: error: the file is empty [SYNTAX]"},
		"comments only":       {"# nothing\n", "t.yaml:1:1: error: the file is empty [SYNTAX]"},
		"tab as indentation":  {heading + "steps:\n\t- name: a\n", "t.yaml:5:1: error: found character that cannot start any token"},
		"two documents":       {heading + step + "---\nname: u\n", "t.yaml:7:1: error: a second document begins here; a file holds exactly one template [SYNTAX]"},
		"repeated key":        {heading + "version: 2.0.0\n" + step, `t.yaml:4:1: error: key "version" appears twice in one map, first on line 3; keep one of them [DUPLICATE_KEY]`},
		"repeated inner key":  {steps("{name: a, handler: {callable: c, callable: d}}"), `t.yaml:5:38: error: key "callable" appears twice in one map, first on line 5; keep one of them [DUPLICATE_KEY]`},
		"unclosed list":       {heading + "steps: [\n", "t.yaml:"},
		"unknown alias":       {heading + "description: *gone\n" + step, "t.yaml:4:14: error: "},
		"alias within itself": {heading + "metadata: &m {tags: [*m]}\n" + step, "t.yaml:4:22: error: alias *m stands inside the value it refers to [SYNTAX]"},
		"unknown tag":         {heading + "description: !vault x\n" + step, "t.yaml:4:14: error: tag !vault has no meaning here; remove it or write the value out [UNKNOWN_TAG]"},
		"tag that lies":       {heading + "metadata: {author: !!int x}\n" + step, `t.yaml:4:20: error: "x" is not what its tag !!int says [SYNTAX]`},
		"list as key":         {heading + "? [a]\n: b\n" + step, "t.yaml:4:3: error: a key must be text, not a list or a map [SYNTAX]"},
		"merge of text":       {heading + "metadata: {<<: x}\n" + step, "t.yaml:4:16: error: the merge key << needs a map or a list of maps, not text [SYNTAX]"},
		"control character":   {heading + "description: a\x07b\n" + step, "t.yaml:4:15: error: control character U+0007 is not allowed [SYNTAX]"},
		"not UTF-8":           {heading + "description: \xff\n" + step, "t.yaml:4:14: error: byte 0xff is not valid UTF-8 [SYNTAX]"},
		"broken JSON":         {`{"name": "t", `, "t.yaml:"},
		"repeated JSON key":   {`{"name": "t", "name": "u"}`, `t.yaml:1:15: error: key "name" appears twice in one map, first on line 1; keep one of them [DUPLICATE_KEY]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := errorsIn(test.yaml)
			require.NotEmpty(t, got)
			require.True(t, strings.HasPrefix(got[0], test.want), got[0])
			for _, line := range got {
				require.NotContains(t, line, "\n")
			}
		})
	}
}

func TestAliasesCannotGrowWithoutBound(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(heading + "x0: &x0 [" + strings.Repeat("z,", 9) + "z]\n")
	for i := range 12 {
		b.WriteString(strings.ReplaceAll("xN: &xN [*xM,*xM,*xM,*xM,*xM,*xM,*xM,*xM,*xM,*xM]\n", "N", string(rune('a'+i))))
	}
	yaml := b.String()
	yaml = strings.ReplaceAll(yaml, "*xM", "*x0")
	for i := 1; i < 12; i++ {
		name, before := "x"+string(rune('a'+i)), "x"+string(rune('a'+i-1))
		yaml = strings.Replace(yaml, name+": &"+name+" ["+strings.TrimSuffix(strings.Repeat("*x0,", 10), ",")+"]",
			name+": &"+name+" ["+strings.TrimSuffix(strings.Repeat("*"+before+",", 10), ",")+"]", 1)
	}
	got := errorsIn(yaml + step)
	require.NotEmpty(t, got)
	require.Contains(t, got[0], "aliases make this value too large [SYNTAX]")
}

func TestNestingHasALimit(t *testing.T) {
	t.Parallel()
	nested := func(n int) string {
		return steps("{name: a, handler: {callable: c, initialization: {v: " + strings.Repeat("[", n) + strings.Repeat("]", n) + "}}}")
	}
	require.Empty(t, errorsIn(nested(100)))
	got := errorsIn(nested(2000))
	require.Len(t, got, 1)
	require.Contains(t, got[0], "error: values are nested more than 128 deep [SYNTAX]")
}

func TestATemplateMayBeJSON(t *testing.T) {
	t.Parallel()
	tpl := parse(t, "\n {\"name\": \"t\", \"namespace_name\": \"n\", \"version\": \"1.0.0\",\n \"steps\": [{\"name\": \"\\ud83d\\ude00\", \"handler\": {\"callable\": \"c\"}}]}")
	require.Equal(t, "😀", tpl.Steps[0].Name)
	require.Equal(t, template.Position{File: "t.yaml", Line: 3, Column: 12}, tpl.Steps[0].Pos)
}

func TestByteOrderMarksAndLineEnds(t *testing.T) {
	t.Parallel()
	windows := "\ufeff" + strings.ReplaceAll(heading+step, "\n", "\r\n")
	require.True(t, parse(t, windows).Equal(parse(t, heading+step)))
}

func TestColumnsCountCharacters(t *testing.T) {
	t.Parallel()
	require.Equal(t,
		[]string{`t.yaml:4:30: error: handler of step "日本語" must be a map, not a list [WRONG_TYPE]`},
		errorsIn(heading+"steps: [{name: 日本語, handler: []}]\n"))
}
