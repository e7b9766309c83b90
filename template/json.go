package template

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// jsonFinding is the error of a document that is JSON but not acceptable.
type jsonFinding Finding

func (f *jsonFinding) Error() string { return f.Message }

// readJSON reads one JSON document. Its error is a *jsonFinding when the
// document is JSON, and any other error when it is not.
func readJSON(name string, data []byte) (*node, error) {
	if !json.Valid(data) {
		return nil, errors.New("not JSON")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	r := jsonReader{file: name, data: data, dec: dec, line: 1, col: 1}
	return r.read(0)
}

type jsonReader struct {
	file string
	data []byte
	dec  *json.Decoder

	offset    int // how far line and col have come
	line, col int
}

// next returns the next token and where it begins.
func (r *jsonReader) next() (json.Token, Position, error) {
	start := int(r.dec.InputOffset())
	for start < len(r.data) && bytes.IndexByte([]byte(" \t\r\n,:"), r.data[start]) >= 0 {
		start++
	}
	for r.offset < start {
		c, size := utf8.DecodeRune(r.data[r.offset:])
		r.offset += size
		r.col++
		if c == '\n' {
			r.line, r.col = r.line+1, 1
		}
	}
	pos := Position{File: r.file, Line: r.line, Column: r.col}
	token, err := r.dec.Token()
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("read JSON at %s: %w", pos, err)
	}
	return token, pos, err
}

func (r *jsonReader) read(depth int) (*node, error) {
	token, pos, err := r.next()
	if err != nil {
		return nil, err
	}
	n := &node{pos: pos, size: 1, depth: 1}
	switch v := token.(type) {
	case nil:
		n.kind, n.text, n.raw = kindNull, "null", "null"
	case bool:
		n.kind, n.text = kindBool, fmt.Sprint(v)
		n.raw = n.text
	case json.Number:
		n.kind, n.text, n.raw = kindFloat, v.String(), v.String()
		if decimalPattern.MatchString(n.text) {
			n.kind = kindInt
		}
	case string:
		n.kind, n.text, n.raw, n.quoted = kindString, v, v, true
	case json.Delim:
		if depth >= maxDepth {
			return nil, &jsonFinding{
				Code: CodeSyntax, Severity: SeverityError, Pos: pos,
				Message: fmt.Sprintf("values are nested more than %d deep", maxDepth),
			}
		}
		if v == '[' {
			n.kind = kindSeq
			err = r.readItems(n, depth+1)
		} else {
			n.kind = kindMap
			err = r.readFields(n, depth+1)
		}
	}
	return n, err
}

func (r *jsonReader) readItems(n *node, depth int) error {
	for r.dec.More() {
		item, err := r.read(depth)
		if err != nil {
			return err
		}
		n.items = append(n.items, item)
		n.contain(item)
	}
	_, _, err := r.next() // the closing bracket
	return err
}

func (r *jsonReader) readFields(n *node, depth int) error {
	index := map[string]int{}
	for r.dec.More() {
		key, pos, err := r.next()
		if err != nil {
			return err
		}
		value, err := r.read(depth)
		if err != nil {
			return err
		}
		f := field{key: key.(string), pos: pos, value: value}
		if at, exists := index[f.key]; exists {
			return &jsonFinding{
				Code: CodeDuplicateKey, Severity: SeverityError, Pos: pos, Remedy: "keep one of them",
				Message: fmt.Sprintf("key %s appears twice in one map, first on line %d", abbreviated(f.key), n.fields[at].pos.Line),
			}
		}
		index[f.key] = len(n.fields)
		n.fields = append(n.fields, f)
		n.contain(value)
	}
	_, _, err := r.next() // the closing brace
	return err
}
