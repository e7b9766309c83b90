package postgres

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
)

// maxDepth is how deep JSON may be nested for tasker-server to read it. A row
// with deeper JSON cannot be read by it at all: its step would stay where it is
// for good (worker-protocol §9.2).
const maxDepth = 127

// unreadable says why tasker-server could not read JSON that PostgreSQL can
// store, "" if it can. within is how deep in its column the text will be.
func unreadable(text []byte, within int) string {
	depth := within
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			i += stringLength(text[i:]) - 1
		case c == '[' || c == '{':
			if depth++; depth > maxDepth {
				return fmt.Sprintf("it is nested more than %d deep", maxDepth-within)
			}
		case c == ']' || c == '}':
			depth--
		case c == '-' || c >= '0' && c <= '9':
			n := numberLength(text[i:])
			if tooLarge(text[i : i+n]) {
				return fmt.Sprintf("it has a number beyond ±%.1e", math.MaxFloat64)
			}
			i += n - 1
		}
	}
	return ""
}

// stringLength is the length of a string with its quotes.
func stringLength(text []byte) int {
	for i := 1; ; i++ {
		next := bytes.IndexAny(text[i:], `"\`)
		if next < 0 {
			return len(text)
		}
		i += next
		if text[i] == '"' {
			return i + 1
		}
		i++
		if i >= len(text) {
			return len(text)
		}
	}
}

func numberLength(text []byte) int {
	for i, c := range text {
		if (c < '0' || c > '9') && c != '-' && c != '+' && c != '.' && c != 'e' && c != 'E' {
			return i
		}
	}
	return len(text)
}

// tooLarge tells whether a number is none that a float can be.
func tooLarge(number []byte) bool {
	if len(number) < 300 && !bytes.ContainsAny(number, "eE") {
		return false
	}
	value, _ := strconv.ParseFloat(string(number), 64) // what is no number is refused by PostgreSQL
	return math.IsInf(value, 0)
}
