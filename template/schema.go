package template

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dlclark/regexp2"
	"github.com/santhosh-tekuri/jsonschema/v6"
	violation "github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// schemaURL is the base address of a schema while it is compiled. It is never
// fetched.
const schemaURL = "template:///schema"

// schemaProblem says why a schema cannot be compiled.
type schemaProblem struct {
	tokens  []string // where in the schema, as JSON pointer tokens
	message string
}

// compileSchema compiles a JSON Schema. Without "$schema" it is taken for
// draft 2020-12, as the reference does, then for the older drafts that
// templates in the wild are written in.
func compileSchema(raw json.RawMessage) (*jsonschema.Schema, *schemaProblem) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, &schemaProblem{message: fmt.Sprintf("is not JSON: %v", err)}
	}
	switch doc.(type) {
	case bool, map[string]any:
	default:
		return nil, &schemaProblem{message: "must be a map (a JSON Schema)"}
	}
	var first *schemaProblem
	for _, draft := range []*jsonschema.Draft{jsonschema.Draft2020, jsonschema.Draft7, jsonschema.Draft4} {
		schema, err := compileAs(draft, doc)
		if err == nil {
			return schema, nil
		}
		if first == nil {
			first = explainSchema(err)
		}
	}
	return nil, first
}

func compileAs(draft *jsonschema.Draft, doc any) (schema *jsonschema.Schema, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("compile schema: %v", r)
		}
	}()
	c := jsonschema.NewCompiler()
	c.DefaultDraft(draft)
	c.UseLoader(noLoader{})
	c.UseRegexpEngine(compilePattern)
	if err := c.AddResource(schemaURL, doc); err != nil {
		return nil, err
	}
	return c.Compile(schemaURL)
}

// noLoader keeps schemas from reading files or the network through "$ref".
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, errors.New("only references within the schema itself are followed")
}

// patternTimeout bounds one match of a pattern that backtracks.
const patternTimeout = time.Second

// compilePattern prefers Go's engine, whose matching time is linear, and turns
// to a backtracking one for what only ECMAScript's syntax has, lookaheads above
// all.
func compilePattern(pattern string) (jsonschema.Regexp, error) {
	if re, err := regexp.Compile(pattern); err == nil {
		return re, nil
	}
	re, err := regexp2.Compile(pattern, regexp2.ECMAScript)
	if err != nil {
		return nil, err
	}
	re.MatchTimeout = patternTimeout
	return ecmaPattern{re}, nil
}

type ecmaPattern struct{ re *regexp2.Regexp }

func (p ecmaPattern) String() string { return p.re.String() }

// MatchString takes a match that exceeds its time for none.
func (p ecmaPattern) MatchString(s string) bool {
	matched, err := p.re.MatchString(s)
	return err == nil && matched
}

func explainSchema(err error) *schemaProblem {
	var (
		invalid *jsonschema.SchemaValidationError
		detail  *jsonschema.ValidationError
		pattern *jsonschema.InvalidRegexError
		load    *jsonschema.LoadURLError
		pointer *jsonschema.JSONPointerNotFoundError
	)
	switch {
	case errors.As(err, &invalid) && errors.As(invalid.Err, &detail):
		problems := explainInput(detail)
		if len(problems) > 0 {
			return &schemaProblem{tokens: problems[0].tokens, message: problems[0].Message}
		}
	case errors.As(err, &pattern):
		return &schemaProblem{
			tokens:  pointerTokens(pattern.URL),
			message: fmt.Sprintf("pattern %s is not a regular expression: %v", abbreviated(pattern.Regex), pattern.Err),
		}
	case errors.As(err, &load):
		return &schemaProblem{message: fmt.Sprintf("cannot follow the reference to %s: %v", abbreviated(load.URL), load.Err)}
	case errors.As(err, &pointer):
		return &schemaProblem{message: fmt.Sprintf("refers to %s, which it does not contain",
			abbreviated(strings.TrimPrefix(pointer.URL, schemaURL)))}
	}
	return &schemaProblem{message: strings.ReplaceAll(err.Error(), schemaURL, "schema")}
}

// pointerTokens splits the JSON pointer in the fragment of a URL.
func pointerTokens(url string) []string {
	_, fragment, _ := strings.Cut(url, "#/")
	if fragment == "" {
		return nil
	}
	tokens := strings.Split(fragment, "/")
	for i, token := range tokens {
		tokens[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
	}
	return tokens
}

// InputError is one way in which a task's input does not fit the input_schema.
type InputError struct {
	// Path is a JSON pointer into the input, "" for the input as a whole.
	Path string `json:"path"`
	// Message completes the sentence that begins with the path.
	Message string `json:"message"`

	tokens []string
}

// String is one line, "/even_number is required".
func (e InputError) String() string {
	if e.Path == "" {
		return "the input " + e.Message
	}
	return e.Path + " " + e.Message
}

// inputCheck is a template's compiled input_schema.
type inputCheck struct {
	once    sync.Once
	schema  *jsonschema.Schema
	problem *schemaProblem
}

// CheckInput compares a task context with the input_schema and returns every
// difference, none when there is no schema (engine-semantics §1.7). The schema
// is compiled by the first call. Safe for concurrent use.
func (t *Template) CheckInput(context json.RawMessage) []InputError {
	if t.InputSchema == nil {
		return nil
	}
	t.input.once.Do(func() { t.input.schema, t.input.problem = compileSchema(t.InputSchema) })
	if p := t.input.problem; p != nil {
		return []InputError{{Message: "cannot be checked, input_schema of " + t.Key() + " is invalid: " + p.message}}
	}
	input, err := jsonschema.UnmarshalJSON(bytes.NewReader(context))
	if err != nil {
		return []InputError{{Message: fmt.Sprintf("is not valid JSON: %v", err)}}
	}
	return validate(t.input.schema, input)
}

// explainInput flattens a validation error into sentences about places,
// ordered by place.
func explainInput(e *jsonschema.ValidationError) []InputError {
	var found []InputError
	collect(e, &found)
	slices.SortStableFunc(found, func(a, b InputError) int {
		if c := slices.Compare(a.tokens, b.tokens); c != 0 {
			return c
		}
		return strings.Compare(a.Message, b.Message)
	})
	return slices.CompactFunc(found, func(a, b InputError) bool { return a.Path == b.Path && a.Message == b.Message })
}

func collect(e *jsonschema.ValidationError, found *[]InputError) {
	add := func(text string, more ...string) {
		tokens := slices.Concat(e.InstanceLocation, more)
		*found = append(*found, InputError{Path: pointer(tokens), Message: text, tokens: tokens})
	}
	switch k := e.ErrorKind.(type) {
	case *violation.Required:
		for _, name := range k.Missing {
			add("is required", name)
		}
	case *violation.AdditionalProperties:
		for _, name := range k.Properties {
			add("is not a key the schema knows", name)
		}
	case *violation.AnyOf:
		add(alternatives(e, "fits none of the allowed forms"))
	case *violation.OneOf:
		if len(k.Subschemas) > 0 {
			add("fits more than one of the forms of which only one is allowed")
		} else {
			add(alternatives(e, "fits none of the allowed forms"))
		}
	default:
		if len(e.Causes) == 0 {
			add(sentence(e.ErrorKind))
			return
		}
		for _, cause := range e.Causes {
			collect(cause, found)
		}
	}
}

// alternatives sums up why each branch of anyOf or oneOf was refused.
func alternatives(e *jsonschema.ValidationError, text string) string {
	var reasons []string
	for _, cause := range e.Causes {
		branch := explainInput(cause)
		if len(branch) == 0 {
			continue
		}
		reason := branch[0].Message
		if at := strings.TrimPrefix(branch[0].Path, pointer(e.InstanceLocation)); at != "" {
			reason = at + " " + reason
		}
		if !slices.Contains(reasons, reason) {
			reasons = append(reasons, reason)
		}
	}
	if len(reasons) == 0 {
		return text
	}
	return fmt.Sprintf("%s (%s)", text, strings.Join(reasons, " | "))
}

func pointer(tokens []string) string {
	var b strings.Builder
	for _, token := range tokens {
		b.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(token))
	}
	return b.String()
}

// sentence says what is wrong with a value, to follow its path.
func sentence(e jsonschema.ErrorKind) string {
	switch k := e.(type) {
	case *violation.Type:
		want := make([]string, len(k.Want))
		for i, name := range k.Want {
			want[i] = withArticle(name)
		}
		return fmt.Sprintf("must be %s, is %s", strings.Join(want, " or "), withArticle(k.Got))
	case *violation.Minimum:
		return fmt.Sprintf("must be at least %s, is %s", decimal(k.Want), decimal(k.Got))
	case *violation.Maximum:
		return fmt.Sprintf("must be at most %s, is %s", decimal(k.Want), decimal(k.Got))
	case *violation.ExclusiveMinimum:
		return fmt.Sprintf("must be greater than %s, is %s", decimal(k.Want), decimal(k.Got))
	case *violation.ExclusiveMaximum:
		return fmt.Sprintf("must be less than %s, is %s", decimal(k.Want), decimal(k.Got))
	case *violation.MultipleOf:
		return fmt.Sprintf("must be a multiple of %s, is %s", decimal(k.Want), decimal(k.Got))
	case *violation.MinLength:
		return fmt.Sprintf("must have at least %s, has %d", counted(k.Want, "character"), k.Got)
	case *violation.MaxLength:
		return fmt.Sprintf("must have at most %s, has %d", counted(k.Want, "character"), k.Got)
	case *violation.MinItems:
		return fmt.Sprintf("must have at least %s, has %d", counted(k.Want, "item"), k.Got)
	case *violation.MaxItems:
		return fmt.Sprintf("must have at most %s, has %d", counted(k.Want, "item"), k.Got)
	case *violation.MinProperties:
		return fmt.Sprintf("must have at least %s, has %d", counted(k.Want, "key"), k.Got)
	case *violation.MaxProperties:
		return fmt.Sprintf("must have at most %s, has %d", counted(k.Want, "key"), k.Got)
	case *violation.Enum:
		return "must be one of " + listed(k.Want)
	case *violation.Const:
		return "must be " + listed([]any{k.Want})
	case *violation.Pattern:
		return fmt.Sprintf("does not match the pattern %s", k.Want)
	case *violation.FalseSchema:
		return "is not allowed"
	case *violation.Not:
		return "has a form that is not allowed"
	}
	return e.LocalizedString(message.NewPrinter(language.English))
}

func withArticle(typeName string) string {
	switch typeName {
	case "null":
		return typeName
	case "integer", "object", "array":
		return "an " + typeName
	}
	return "a " + typeName
}

func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

func decimal(r *big.Rat) string {
	if r == nil {
		return "out of range"
	}
	if r.IsInt() {
		return r.Num().String()
	}
	return strings.TrimRight(r.FloatString(12), "0")
}

func listed(values []any) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = string(marshal(v))
	}
	return strings.Join(texts, ", ")
}

// schemaFields names the properties of an object schema in written order.
func schemaFields(schema json.RawMessage) []string {
	n, err := readJSON("", schema)
	if err != nil {
		return nil
	}
	properties := n.field("properties")
	if properties == nil {
		return nil
	}
	names := make([]string, len(properties.value.fields))
	for i, f := range properties.value.fields {
		names[i] = f.key
	}
	return names
}
