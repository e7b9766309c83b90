package template

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// decoder collects what is wrong while a document is turned into a Template.
// A value that cannot be used is reported once and replaced by a placeholder,
// so that everything else is still looked at.
type decoder struct {
	findings []Finding
}

func (d *decoder) report(severity Severity, code string, step string, pos Position, remedy, format string, args ...any) {
	d.findings = append(d.findings, Finding{
		Code: code, Severity: severity, Message: fmt.Sprintf(format, args...),
		Remedy: remedy, Step: step, Pos: pos,
	})
}

// object reads the known keys of one map and then tells about the others.
type object struct {
	d    *decoder
	n    *node
	what string // names the map in messages: `retry of step "a"`
	step string
	// asked are the keys looked for so far, which are the known ones.
	asked []string
}

// object checks that n is a map. Nil means an empty one.
func (d *decoder) object(n *node, what, step string) *object {
	if n == nil {
		n = &node{kind: kindMap}
	}
	if n.kind != kindMap {
		d.report(SeverityError, CodeWrongType, step, n.pos, "", "%s must be a map, not %s", what, n.describe())
		return nil
	}
	return &object{d: d, n: n, what: what, step: step}
}

func (o *object) wrongType(key string, n *node, want, remedy string) {
	o.d.report(SeverityError, CodeWrongType, o.step, n.pos, remedy, "%s: %s must be %s, not %s", o.what, key, want, n.describe())
}

// get finds the value of key or of one of its aliases, nil if it is absent or
// null. Key and alias in one map are an error.
func (o *object) get(key string, aliases ...string) *node {
	var found *field
	for _, name := range append([]string{key}, aliases...) {
		o.asked = append(o.asked, name)
		f := o.n.field(name)
		switch {
		case f == nil:
		case found == nil:
			found = f
		default:
			second := f
			if found.pos.after(f.pos) {
				second = found
			}
			o.d.report(SeverityError, CodeDuplicateKey, o.step, second.pos, "keep one of them",
				"%s: %s and %s mean the same", o.what, found.key, name)
		}
	}
	if found == nil || found.value.kind == kindNull {
		return nil
	}
	return found.value
}

// need is get for a key that must be there.
func (o *object) need(key string) *node {
	n := o.get(key)
	if n == nil {
		o.d.report(SeverityError, CodeMissingKey, o.step, o.n.pos, "", "%s: key %s is missing", o.what, key)
	}
	return n
}

// text reads a scalar as text. Like the reference it takes a number or a
// boolean as it is written, and says so.
func (o *object) text(key string, n *node) (string, bool) {
	switch n.kind {
	case kindString:
		return n.text, true
	case kindBool, kindInt, kindFloat:
		o.d.report(SeverityWarning, CodeImplicitText, o.step, n.pos, "put it in quotes",
			"%s: %s is %s and is read as text", o.what, key, n.describe())
		return n.raw, true
	}
	o.wrongType(key, n, "text", "")
	return "", false
}

// unusable stands for required text that was reported as missing or wrong. A
// template with such a value is never handed out.
const unusable = "?"

func (o *object) needText(key string) string {
	n := o.need(key)
	if n == nil {
		return unusable
	}
	s, ok := o.text(key, n)
	if !ok {
		return unusable
	}
	return s
}

func (o *object) optText(key string) *string {
	n := o.get(key)
	if n == nil {
		return nil
	}
	if s, ok := o.text(key, n); ok {
		return &s
	}
	return nil
}

func (o *object) textOr(key, fallback string) string {
	if s := o.optText(key); s != nil {
		return *s
	}
	return fallback
}

func (o *object) optBool(key string) *bool {
	n := o.get(key)
	if n == nil {
		return nil
	}
	if n.kind != kindBool {
		remedy := ""
		if n.kind == kindString && !n.quoted {
			remedy = "write true or false"
		}
		o.wrongType(key, n, "true or false", remedy)
		return nil
	}
	value := n.text == "true"
	return &value
}

func (o *object) boolOr(key string, fallback bool) bool {
	if b := o.optBool(key); b != nil {
		return *b
	}
	return fallback
}

// number reads a whole number from 0 to limit.
func (o *object) number(key string, n *node, limit uint64) *uint64 {
	if n == nil {
		return nil
	}
	value, err := strconv.ParseUint(n.text, 10, 64)
	if n.kind != kindInt || err != nil || value > limit {
		o.wrongType(key, n, fmt.Sprintf("a whole number from 0 to %d", limit), "")
		return nil
	}
	return &value
}

func (o *object) optUint64(key string) *uint64 {
	return o.number(key, o.get(key), math.MaxUint64)
}

func (o *object) optUint32(key string) *uint32 {
	return narrow(o.number(key, o.get(key), math.MaxUint32))
}

func (o *object) needUint32(key string) uint32 {
	if v := narrow(o.number(key, o.need(key), math.MaxUint32)); v != nil {
		return *v
	}
	return 1
}

func narrow(v *uint64) *uint32 {
	if v == nil {
		return nil
	}
	small := uint32(*v)
	return &small
}

// list reads a list, empty when absent.
func (o *object) list(key string, aliases ...string) []*node {
	n := o.get(key, aliases...)
	if n == nil {
		return nil
	}
	if n.kind != kindSeq {
		remedy := ""
		if n.kind == kindString {
			remedy = fmt.Sprintf("write [%s]", n.text)
		}
		o.wrongType(key, n, "a list", remedy)
		return nil
	}
	return n.items
}

func (o *object) texts(key string, aliases ...string) []string {
	values := []string{}
	for i, item := range o.list(key, aliases...) {
		if s, ok := o.text(fmt.Sprintf("%s[%d]", key, i), item); ok {
			values = append(values, s)
		}
	}
	return values
}

// raw is any value as JSON, nil when absent.
func (o *object) raw(key string) json.RawMessage {
	if n := o.get(key); n != nil {
		return n.json()
	}
	return nil
}

// needSchema is a required JSON Schema. Whether it can be compiled is found
// out by Validate.
func (o *object) needSchema(key string) json.RawMessage {
	if n := o.need(key); n != nil {
		return n.json()
	}
	return json.RawMessage("true")
}

// enum reads one of the allowed words.
func enum[T ~string](o *object, n *node, key string, fallback T, allowed ...T) T {
	if n == nil {
		return fallback
	}
	words := make([]string, len(allowed))
	for i, word := range allowed {
		if words[i] = string(word); n.kind == kindString && n.text == words[i] {
			return word
		}
	}
	remedy := "use one of " + strings.Join(words, ", ")
	if near, ok := Nearest(n.text, words); ok && n.kind == kindString {
		remedy = fmt.Sprintf("did you mean %s?", near)
	}
	o.d.report(SeverityError, CodeUnknownValue, o.step, n.pos, remedy, "%s: %s cannot be %s", o.what, key, n.describe())
	return fallback
}

// synonyms are keys people write for a known one, beyond mere misspellings.
var synonyms = map[string]string{
	"limit":        "max_attempts",
	"attempts":     "max_attempts",
	"max_retries":  "max_attempts",
	"retries":      "max_attempts",
	"strategy":     "backoff",
	"backoff_type": "backoff",
	"base_ms":      "backoff_base_ms",
	"timeout":      "timeout_seconds",
	"needs":        "dependencies",
	"depends":      "dependencies",
	"requires":     "dependencies",
	"after":        "dependencies",
	"namespace":    "namespace_name",
	"schema":       "input_schema",
	"config":       "initialization",
	"init":         "initialization",
	"parameters":   "initialization",
	"class":        "callable",
	"handler_name": "callable",
	"publishes":    "publishes_events",
	"events":       "publishes_events",
	"retry_policy": "retry",
	"kind":         "type",
}

// finish warns about keys that are ignored but look like a known one.
func (o *object) finish() {
	known := map[string]bool{}
	for _, key := range o.asked {
		known[key] = true
	}
	for _, f := range o.n.fields {
		if known[f.key] {
			continue
		}
		meant := synonyms[f.key]
		if !known[meant] {
			var near bool
			if meant, near = Nearest(f.key, o.asked); !near {
				continue
			}
		}
		if o.n.field(meant) != nil {
			continue
		}
		o.d.report(SeverityWarning, CodeUnknownKey, o.step, f.pos, fmt.Sprintf("did you mean %s?", meant),
			"%s: key %s is ignored", o.what, abbreviated(f.key))
	}
}
