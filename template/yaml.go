package template

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// readDocument parses data, which must hold exactly one YAML or JSON document.
// The node is nil when a finding is an error that leaves nothing to look at.
func readDocument(name string, data []byte) (*node, []Finding) {
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		// Almost every JSON document is YAML too, but not those with surrogate
		// pairs or keys over 1024 characters.
		if n, err := readJSON(name, data); err == nil {
			return n, nil
		} else if f := new(jsonFinding); errors.As(err, &f) {
			return nil, []Finding{Finding(*f)}
		}
	}
	root, finding := loadYAML(name, data)
	if finding != nil {
		return nil, []Finding{*finding}
	}
	r := yamlReader{file: name, done: map[*yaml.Node]*node{}, open: map[*yaml.Node]bool{}}
	n := r.read(root)
	return n, r.findings
}

// loadYAML composes the one YAML document of data.
func loadYAML(name string, data []byte) (root *yaml.Node, finding *Finding) {
	fail := func(pos Position, format string, args ...any) (*yaml.Node, *Finding) {
		pos.File = name
		return nil, &Finding{
			Code: CodeSyntax, Severity: SeverityError, Message: fmt.Sprintf(format, args...), Pos: pos,
		}
	}
	defer func() {
		// The parser reports some impossible states by panicking.
		if r := recover(); r != nil {
			root, finding = fail(Position{Line: 1}, "the YAML parser failed: %v", r)
		}
	}()
	if line, col, bad := unprintable(data); bad != "" {
		return fail(Position{Line: line, Column: col}, "%s", bad)
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		return fail(Position{}, "read YAML: %v", err)
	}
	var first, second yaml.Node
	if err := loader.Load(&first); err != nil {
		if errors.Is(err, io.EOF) {
			return fail(Position{Line: 1, Column: 1}, "the file is empty")
		}
		pos, text := explainYAML(err)
		return fail(pos, "%s", text)
	}
	switch err := loader.Load(&second); {
	case errors.Is(err, io.EOF) && len(first.Content) == 1:
		return first.Content[0], nil
	case err != nil:
		pos, text := explainYAML(err)
		return fail(pos, "%s", text)
	default:
		return fail(Position{Line: second.Line, Column: second.Column},
			"a second document begins here; a file holds exactly one template")
	}
}

func explainYAML(err error) (Position, string) {
	var load *yaml.LoadError
	if !errors.As(err, &load) {
		return Position{}, err.Error()
	}
	text := load.Message
	if load.ContextMsg != "" {
		text += " " + load.ContextMsg
		if load.ContextMark.Line > 0 && load.ContextMark.Line != load.Mark.Line {
			text += fmt.Sprintf(" that begins on line %d", load.ContextMark.Line)
		}
	}
	return Position{Line: load.Mark.Line, Column: load.Mark.Column}, text
}

// unprintable finds what no YAML file may contain. The parser refuses it too,
// but cannot say where it is. UTF-16 files are left to the parser.
func unprintable(data []byte) (line, col int, what string) {
	if bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) {
		return 0, 0, ""
	}
	line, col = 1, 1
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return line, col, fmt.Sprintf("byte 0x%02x is not valid UTF-8", data[i])
		case r == '\n':
			line, col = line+1, 0
		case r < ' ' && r != '\t' && r != '\r', r >= 0x7f && r < 0xa0 && r != 0x85:
			return line, col, fmt.Sprintf("control character %U is not allowed", r)
		}
		i += size
		col++
	}
	return 0, 0, ""
}

// yamlReader turns composed YAML into nodes.
type yamlReader struct {
	file     string
	findings []Finding
	done     map[*yaml.Node]*node // anchored nodes already read
	open     map[*yaml.Node]bool  // anchored nodes being read
	level    int
}

func (r *yamlReader) pos(y *yaml.Node) Position {
	return Position{File: r.file, Line: y.Line, Column: y.Column}
}

func (r *yamlReader) report(severity Severity, code string, y *yaml.Node, remedy, format string, args ...any) {
	r.findings = append(r.findings, Finding{
		Code: code, Severity: severity, Message: fmt.Sprintf(format, args...), Remedy: remedy, Pos: r.pos(y),
	})
}

// read converts y. What cannot be converted is reported and becomes null, so
// that the rest of the document is still looked at.
func (r *yamlReader) read(y *yaml.Node) *node {
	if y.Kind == yaml.AliasNode {
		target := y.Alias
		if r.open[target] {
			r.report(SeverityError, CodeSyntax, y, "", "alias *%s stands inside the value it refers to", y.Value)
			return r.null(y)
		}
		if n := r.done[target]; n != nil {
			return n
		}
		return r.read(target)
	}
	if y.Anchor == "" {
		return r.convert(y)
	}
	r.open[y] = true
	n := r.convert(y)
	delete(r.open, y)
	r.done[y] = n
	return n
}

func (r *yamlReader) null(y *yaml.Node) *node {
	return &node{kind: kindNull, text: "null", raw: "null", pos: r.pos(y), size: 1, depth: 1}
}

func (r *yamlReader) convert(y *yaml.Node) *node {
	if r.level >= maxDepth {
		r.report(SeverityError, CodeSyntax, y, "", "values are nested more than %d deep", maxDepth)
		n := r.null(y)
		n.depth = 0 // or what contains it would be too deep once more
		return n
	}
	r.level++
	defer func() { r.level-- }()

	if tag := y.Tag; y.Style&yaml.TaggedStyle != 0 && !knownTag(y.Kind, tag) {
		r.report(SeverityError, CodeUnknownTag, y, "remove it or write the value out", "tag %s has no meaning here", tag)
		return r.null(y)
	}
	n := &node{pos: r.pos(y), size: 1, depth: 1}
	switch y.Kind {
	case yaml.MappingNode:
		n.kind = kindMap
		r.readMapping(n, y)
	case yaml.SequenceNode:
		n.kind = kindSeq
		for _, item := range y.Content {
			child := r.read(item)
			n.items = append(n.items, child)
			n.contain(child)
		}
	default:
		return r.readScalar(y)
	}
	if n.size > maxSize || n.depth > maxDepth {
		r.report(SeverityError, CodeSyntax, y, "", "aliases make this value too large")
		return r.null(y)
	}
	return n
}

func (n *node) contain(child *node) {
	n.size = min(n.size+child.size, maxSize+1)
	n.depth = max(n.depth, child.depth+1)
}

func knownTag(kind yaml.Kind, tag string) bool {
	switch kind {
	case yaml.MappingNode:
		return tag == "!!map"
	case yaml.SequenceNode:
		return tag == "!!seq"
	}
	switch tag {
	case "!!str", "!!int", "!!float", "!!bool", "!!null", "!!timestamp", "!!binary":
		return true
	}
	return false
}

func (r *yamlReader) readMapping(n *node, y *yaml.Node) {
	index := map[string]int{}
	for i := 0; i+1 < len(y.Content); i += 2 {
		k, v := y.Content[i], y.Content[i+1]
		if isMergeKey(k) {
			r.merge(n, v, index)
			continue
		}
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		if k.Kind != yaml.ScalarNode {
			r.report(SeverityError, CodeSyntax, k, "", "a key must be text, not a list or a map")
			continue
		}
		f := field{key: k.Value, pos: r.pos(y.Content[i]), value: r.read(v)}
		if at, exists := index[f.key]; !exists {
			index[f.key] = len(n.fields)
			n.fields = append(n.fields, f)
		} else if n.fields[at].merged {
			n.fields[at] = f
		} else {
			r.report(SeverityError, CodeDuplicateKey, y.Content[i], "keep one of them",
				"key %s appears twice in one map, first on line %d", abbreviated(f.key), n.fields[at].pos.Line)
			continue
		}
		n.contain(f.value)
	}
}

func isMergeKey(k *yaml.Node) bool {
	return k.Kind == yaml.ScalarNode && k.Style == 0 && k.Value == "<<"
}

// merge adds what a "<<" key names: one map, or a list of maps of which the
// earlier ones win.
func (r *yamlReader) merge(n *node, y *yaml.Node, index map[string]int) {
	value := r.read(y)
	sources := []*node{value}
	if value.kind == kindSeq {
		sources = value.items
	}
	for _, source := range sources {
		if source.kind != kindMap {
			r.report(SeverityError, CodeSyntax, y, "", "the merge key << needs a map or a list of maps, not %s", source.kind)
			return
		}
		for _, f := range source.fields {
			if _, exists := index[f.key]; !exists {
				index[f.key] = len(n.fields)
				f.merged = true
				n.fields = append(n.fields, f)
				n.contain(f.value)
			}
		}
	}
}

// readScalar resolves a scalar by the YAML 1.2 core schema, as the reference
// does: yes, on and 0777 are text, timestamps too.
func (r *yamlReader) readScalar(y *yaml.Node) *node {
	const quotes = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	n := &node{
		kind: kindString, text: y.Value, raw: y.Value, pos: r.pos(y), size: 1, depth: 1,
		quoted: y.Style&quotes != 0 || y.Tag == "!",
	}
	tag := ""
	if y.Style&yaml.TaggedStyle != 0 {
		tag = y.Tag
	}
	if tag == "!!str" || tag == "!!timestamp" || tag == "!!binary" || (tag == "" && n.quoted) {
		return n
	}
	if text, special := nonFinite[strings.TrimPrefix(y.Value, "+")]; special {
		r.report(SeverityWarning, CodeNotJSON, y, "", "%s is passed on as null: JSON has no such number", text)
		return r.null(y)
	}
	n.kind, n.text = resolvePlain(y.Value)
	want := map[string]kind{"!!int": kindInt, "!!float": kindFloat, "!!bool": kindBool, "!!null": kindNull}
	switch wanted, tagged := want[tag]; {
	case !tagged || n.kind == wanted:
	case wanted == kindFloat && n.kind == kindInt:
		n.kind = kindFloat
	default:
		r.report(SeverityError, CodeSyntax, y, "", "%s is not what its tag %s says", abbreviated(y.Value), tag)
	}
	return n
}

var (
	decimalPattern = regexp.MustCompile(`^[-+]?[0-9]+$`)
	radixPattern   = regexp.MustCompile(`^([-+]?)0(?:x([0-9a-fA-F]+)|o([0-7]+)|b([01]+))$`)
	floatPattern   = regexp.MustCompile(`^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$`)

	nonFinite = map[string]string{
		".inf": "infinity", ".Inf": "infinity", ".INF": "infinity",
		"-.inf": "infinity", "-.Inf": "infinity", "-.INF": "infinity",
		".nan": "not-a-number", ".NaN": "not-a-number", ".NAN": "not-a-number",
	}
)

// resolvePlain gives the kind of a plain scalar and its JSON text (the string
// itself for kindString).
func resolvePlain(s string) (kind, string) {
	switch s {
	case "", "~", "null", "Null", "NULL":
		return kindNull, "null"
	case "true", "True", "TRUE":
		return kindBool, "true"
	case "false", "False", "FALSE":
		return kindBool, "false"
	}
	digits := strings.TrimLeft(s, "+-")
	if decimalPattern.MatchString(s) {
		if len(digits) > 1 && digits[0] == '0' {
			return kindString, s // 007 is text, not octal
		}
		return kindInt, strings.TrimPrefix(s, "+")
	}
	if m := radixPattern.FindStringSubmatch(s); m != nil {
		base := map[byte]int{'x': 16, 'o': 8, 'b': 2}[digits[1]]
		if value, ok := new(big.Int).SetString(strings.TrimPrefix(m[1], "+")+digits[2:], base); ok {
			return kindInt, value.String()
		}
	}
	if floatPattern.MatchString(s) {
		// A number beyond the range of a double is text, as in the reference.
		if _, err := strconv.ParseFloat(s, 64); err == nil {
			return kindFloat, jsonFloat(s)
		}
	}
	return kindString, s
}

// jsonFloat rewrites a YAML float as a JSON number with the same digits.
func jsonFloat(s string) string {
	s = strings.TrimPrefix(s, "+")
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	mantissa, exponent := s, ""
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		mantissa, exponent = s[:i], s[i:]
	}
	whole, fraction, dotted := strings.Cut(mantissa, ".")
	if whole = strings.TrimLeft(whole, "0"); whole == "" {
		whole = "0"
	}
	if dotted && fraction == "" {
		fraction = "0"
	}
	if fraction != "" {
		fraction = "." + fraction
	}
	return sign + whole + fraction + exponent
}
