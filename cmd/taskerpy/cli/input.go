package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxInput bounds what is read as a task's input. The engine takes 1 MiB
// without white space (engine-semantics §2.3).
const maxInput = 16 << 20

// readInput gives the input that --input means: JSON, @FILE or - for standard
// input.
func (a *app) readInput(argument string) (json.RawMessage, error) {
	name, data := "--input", []byte(argument)
	switch {
	case argument == "-":
		var err error
		name = "standard input"
		if data, err = readBounded(a.in); err != nil {
			return nil, usagef("--input -: %w", err)
		}
	case strings.HasPrefix(argument, "@"):
		name = argument[1:]
		f, err := os.Open(name)
		if err != nil {
			return nil, usagef("--input: %w", err)
		}
		defer func() { _ = f.Close() }()
		if data, err = readBounded(f); err != nil {
			return nil, usagef("--input @%s: %w", name, err)
		}
	}
	return data, checkObject(name, data)
}

func readBounded(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err == nil && len(data) > maxInput {
		err = fmt.Errorf("more than %d bytes", maxInput)
	}
	return data, err
}

// checkObject refuses what is not one JSON object, and says where.
func checkObject(name string, data []byte) error {
	var value json.RawMessage
	err := json.Unmarshal(data, &value)
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		// The offset counts the byte that was wrong, or the whole when it ended early.
		line, column := position(data, int(syntax.Offset)-1)
		if strings.HasPrefix(syntax.Error(), "unexpected end") {
			line, column = position(data, len(data))
		}
		return usagef("%s:%d:%d: not JSON: %w", name, line, column, err)
	case err != nil:
		return usagef("%s: not JSON: %w", name, err)
	case len(bytes.TrimSpace(value)) == 0 || bytes.TrimSpace(value)[0] != '{':
		return usagef("%s: the input of a task must be a JSON object, as in {\"name\": \"Ada\"}", name)
	}
	return nil
}

// position gives line and column, counted from 1 in characters, of a byte.
func position(data []byte, offset int) (line, column int) {
	before := data[:min(max(offset, 0), len(data))]
	start := bytes.LastIndexByte(before, '\n') + 1
	return bytes.Count(before, []byte("\n")) + 1, len([]rune(string(before[start:]))) + 1
}
