package template

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// node is a value of a document, YAML or JSON, with aliases and merge keys
// resolved and map keys known to be unique. Nodes are immutable once built and
// may be shared between places of one document.
type node struct {
	kind kind
	// text is the value of a string, the JSON text of any other scalar.
	text string
	// raw is a scalar as it was written, without quotes.
	raw    string
	quoted bool
	items  []*node
	fields []field
	pos    Position
	// size counts the values this node expands to.
	size int
	// depth is 1 for scalars and empty collections.
	depth int
}

type field struct {
	key   string
	pos   Position
	value *node
	// merged marks a field that came in through a merge key; the mapping's own
	// fields win over it.
	merged bool
}

type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindInt
	kindFloat
	kindString
	kindSeq
	kindMap
)

// String is the kind with its article, as messages need it.
func (k kind) String() string {
	switch k {
	case kindNull:
		return "null"
	case kindBool:
		return "a boolean"
	case kindInt:
		return "a whole number"
	case kindFloat:
		return "a decimal number"
	case kindString:
		return "text"
	case kindSeq:
		return "a list"
	default:
		return "a map"
	}
}

const (
	// maxDepth is how deep values may nest, as in the reference's YAML reader.
	// It also keeps every recursive walk over nodes shallow.
	maxDepth = 128
	// maxSize bounds what aliases may expand to: a few lines of nested aliases
	// can stand for billions of values.
	maxSize = 1_000_000
)

// describe names the node's value for a message: `the text "soon"`.
func (n *node) describe() string {
	switch n.kind {
	case kindString:
		return fmt.Sprintf("the text %s", abbreviated(n.text))
	case kindBool, kindInt, kindFloat:
		return fmt.Sprintf("%s (%s)", n.kind, n.raw)
	default:
		return n.kind.String()
	}
}

// abbreviated quotes text that may be long or hold control characters.
func abbreviated(text string) string {
	const limit = 60
	if runes := []rune(text); len(runes) > limit {
		text = string(runes[:limit]) + "…"
	}
	return strconv.Quote(text)
}

// field finds a field of a map, nil if there is none.
func (n *node) field(key string) *field {
	if n == nil {
		return nil
	}
	for i := range n.fields {
		if n.fields[i].key == key {
			return &n.fields[i]
		}
	}
	return nil
}

// descend is the value at path (string keys, int indexes), nil if there is
// none.
func (n *node) descend(path ...any) *node {
	for _, step := range path {
		if n == nil {
			return nil
		}
		n = n.child(step)
	}
	return n
}

func (n *node) child(step any) *node {
	switch step := step.(type) {
	case string:
		if f := n.field(step); f != nil {
			return f.value
		}
	case int:
		if step < len(n.items) {
			return n.items[step]
		}
	}
	return nil
}

// at is the position of the value at path, or of the deepest value on the way
// that exists.
func (n *node) at(path ...any) (Position, bool) {
	if n == nil {
		return Position{}, false
	}
	for _, step := range path {
		next := n.child(step)
		if next == nil {
			break
		}
		n = next
	}
	return n.pos, true
}

// follow is at for the tokens of a JSON pointer.
func (n *node) follow(tokens []string) Position {
	for _, token := range tokens {
		var next *node
		if f := n.field(token); f != nil {
			next = f.value
		} else if i, err := strconv.Atoi(token); err == nil && i >= 0 && i < len(n.items) {
			next = n.items[i]
		}
		if next == nil {
			break
		}
		n = next
	}
	return n.pos
}

// json is the node as compact JSON with keys in written order.
func (n *node) json() json.RawMessage {
	return n.appendJSON(nil)
}

func (n *node) appendJSON(b []byte) []byte {
	switch n.kind {
	case kindString:
		return appendQuoted(b, n.text)
	case kindSeq:
		b = append(b, '[')
		for i, item := range n.items {
			if i > 0 {
				b = append(b, ',')
			}
			b = item.appendJSON(b)
		}
		return append(b, ']')
	case kindMap:
		b = append(b, '{')
		for i, f := range n.fields {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendQuoted(b, f.key), ':')
			b = f.value.appendJSON(b)
		}
		return append(b, '}')
	default:
		return append(b, n.text...)
	}
}

func appendQuoted(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return append(b, marshal(s)...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// marshal is json.Marshal without the escaping of HTML characters, for values
// that always have a JSON form.
func marshal(v any) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		// Only a RawMessage that is not JSON can get here: a template built by
		// hand with a malformed schema or initialization.
		panic(fmt.Sprintf("template: encode %T: %v", v, err))
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}
