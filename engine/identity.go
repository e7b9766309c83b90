package engine

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/gofrs/uuid/v5"
)

// The limits of a task's context (engine-semantics §2.3). Lengths are in
// bytes of UTF-8.
const (
	maxContextBytes  = 1 << 20
	maxContextDepth  = 10
	maxContextItems  = 1000
	maxContextString = 10000
)

// taskContext is a context that keeps the rules.
type taskContext struct {
	compact   []byte // as given, without insignificant white space
	canonical []byte // keys sorted, numbers and strings in one spelling
}

// readContext checks a context. Its errors are ErrInvalid and name the place.
func readContext(raw json.RawMessage) (taskContext, error) {
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		return taskContext{}, fmt.Errorf("%w: context is not JSON: %w", ErrInvalid, err)
	}
	if compact.Len() == 0 || compact.Bytes()[0] != '{' {
		return taskContext{}, fmt.Errorf("%w: context must be a JSON object, as in {\"order_id\": 7}", ErrInvalid)
	}
	if !isUnicode(compact.Bytes()) {
		return taskContext{}, fmt.Errorf("%w: context has text that is not Unicode: bytes that are no UTF-8, or half of a surrogate pair", ErrInvalid)
	}
	if compact.Len() > maxContextBytes {
		return taskContext{}, fmt.Errorf("%w: context has %d bytes, at most %d are allowed; put large data elsewhere and pass its place",
			ErrInvalid, compact.Len(), maxContextBytes)
	}
	dec := json.NewDecoder(bytes.NewReader(compact.Bytes()))
	dec.UseNumber()
	var value any
	if err := dec.Decode(&value); err != nil {
		return taskContext{}, fmt.Errorf("%w: context is not JSON: %w", ErrInvalid, err)
	}
	w := canonicalWriter{out: make([]byte, 0, compact.Len())}
	if err := w.write(value, 0); err != nil {
		return taskContext{}, fmt.Errorf("%w: context%s: %w", ErrInvalid, strings.Join(w.path, ""), err)
	}
	return taskContext{compact: compact.Bytes(), canonical: w.out}, nil
}

// isUnicode tells whether all text in valid JSON is Unicode. The decoders of
// the handler side refuse anything else.
func isUnicode(compact []byte) bool {
	if !utf8.Valid(compact) {
		return false
	}
	for b := compact; ; {
		i := bytes.IndexByte(b, '\\')
		if i < 0 {
			return true
		}
		r := unescape(b[i:])
		switch {
		case r < 0:
			b = b[i+2:] // no \u
		case !utf16.IsSurrogate(r):
			b = b[i+6:]
		case utf16.DecodeRune(r, unescape(b[i+6:])) == utf8.RuneError:
			return false
		default:
			b = b[i+12:]
		}
	}
}

// unescape reads the \uXXXX that b begins with, -1 when it begins otherwise.
func unescape(b []byte) rune {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
}

// canonicalWriter writes a decoded value such that equal values give equal
// bytes, checking limits on the way.
type canonicalWriter struct {
	out  []byte
	path []string // of the value at fault, when there is an error
}

func (w *canonicalWriter) write(value any, depth int) error {
	switch v := value.(type) {
	case map[string]any:
		return w.writeObject(v, depth+1)
	case []any:
		return w.writeArray(v, depth+1)
	case json.Number:
		w.out = append(w.out, canonicalNumber(string(v))...)
	case string:
		return w.writeString(v, "string")
	case bool:
		w.out = strconv.AppendBool(w.out, v)
	default:
		w.out = append(w.out, "null"...)
	}
	return nil
}

func (w *canonicalWriter) writeObject(v map[string]any, depth int) error {
	if err := checkContainer(len(v), "keys", depth); err != nil {
		return err
	}
	w.out = append(w.out, '{')
	for _, key := range slices.Sorted(maps.Keys(v)) {
		if err := w.writeString(key, "key"); err != nil {
			return err
		}
		if err := w.write(v[key], depth); err != nil {
			w.path = slices.Insert(w.path, 0, "."+key)
			return err
		}
		w.out = append(w.out, ',')
	}
	w.out = append(w.out, '}')
	return nil
}

func (w *canonicalWriter) writeArray(v []any, depth int) error {
	if err := checkContainer(len(v), "items", depth); err != nil {
		return err
	}
	w.out = append(w.out, '[')
	for i, item := range v {
		if err := w.write(item, depth); err != nil {
			w.path = slices.Insert(w.path, 0, fmt.Sprintf("[%d]", i))
			return err
		}
		w.out = append(w.out, ',')
	}
	w.out = append(w.out, ']')
	return nil
}

func (w *canonicalWriter) writeString(s, what string) error {
	if len(s) > maxContextString {
		return fmt.Errorf("%s has %d bytes, at most %d are allowed", what, len(s), maxContextString)
	}
	w.out = strconv.AppendQuote(w.out, s)
	return nil
}

func checkContainer(n int, what string, depth int) error {
	if depth > maxContextDepth {
		return fmt.Errorf("nested more than %d deep", maxContextDepth)
	}
	if n > maxContextItems {
		return fmt.Errorf("%d %s, at most %d are allowed", n, what, maxContextItems)
	}
	return nil
}

// canonicalNumber gives numbers of one value one spelling, exactly. Integers
// stay as they are; a number with a fraction or an exponent is another
// identity than the integer of the same value, as in the reference.
func canonicalNumber(s string) string {
	if !strings.ContainsAny(s, ".eE") {
		return s
	}
	mantissa, exponent, _ := strings.Cut(strings.ToLower(s), "e")
	sign := ""
	if strings.HasPrefix(mantissa, "-") {
		sign, mantissa = "-", mantissa[1:]
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	power, err := strconv.ParseInt("0"+strings.TrimPrefix(exponent, "+"), 10, 64)
	if strings.HasPrefix(exponent, "-") {
		power, err = strconv.ParseInt(exponent, 10, 64)
	}
	if err != nil {
		return s // an exponent beyond 64 bits: its spelling is its identity
	}
	power -= int64(len(fraction))
	trimmed := strings.TrimRight(digits, "0")
	power += int64(len(digits) - len(trimmed))
	if trimmed == "" {
		trimmed, power = "0", 0
	}
	return sign + trimmed + "e" + strconv.FormatInt(power, 10)
}

// identityHash is what makes a task unique (engine-semantics §2.4): the
// template together with the caller's key, or else with the context.
func identityHash(namedTask uuid.UUID, key *string, canonical []byte) []byte {
	h := sha256.New()
	h.Write(namedTask[:])
	if key != nil {
		h.Write([]byte{'k'})
		h.Write([]byte(*key))
	} else {
		h.Write([]byte{'c'})
		h.Write(canonical)
	}
	return h.Sum(nil)[:16]
}
