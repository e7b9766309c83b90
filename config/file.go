package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/tasker-systems/taskerpy/template"
)

const maxFileSize = 1 << 20

// document is a configuration file.
type document struct {
	path    string
	entries map[string]entry
}

// entry is one key of a file. place is "file:line".
type entry struct {
	place  string
	values []string
}

// readDocument reads the TOML file at path, relative to dir.
func readDocument(dir, path string) (*document, error) {
	f, err := os.Open(inDir(dir, path))
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err == nil && len(data) > maxFileSize {
		err = fmt.Errorf("more than %d bytes", maxFileSize)
	}
	if err != nil {
		return nil, fmt.Errorf("read the configuration %s: %w", path, err)
	}
	var values map[string]any
	if err := toml.Unmarshal(data, &values); err != nil {
		return nil, explain(path, err)
	}
	doc := &document{path: path, entries: map[string]entry{}}
	for key, line := range keyLines(data) {
		place := fmt.Sprintf("%s:%d", path, line)
		if setting(key) == nil {
			return nil, fmt.Errorf("%s: unknown key %q%s", place, key, suggestion(key))
		}
		texts, err := texts(values[key])
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", place, key, err)
		}
		doc.entries[key] = entry{place, texts}
	}
	return doc, nil
}

func suggestion(key string) string {
	if near, ok := template.Nearest(strings.ReplaceAll(key, "-", "_"), keys()); ok {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	if under := strings.ReplaceAll(key, "-", "_"); setting(under) != nil {
		return fmt.Sprintf("; did you mean %q?", under)
	}
	return "; there are " + strings.Join(keys(), ", ")
}

func explain(path string, err error) error {
	var at *toml.DecodeError
	if errors.As(err, &at) {
		line, column := at.Position()
		return fmt.Errorf("%s:%d:%d: %s", path, line, column, strings.TrimPrefix(at.Error(), "toml: "))
	}
	return fmt.Errorf("%s: %w", path, err)
}

// keyLines yields the top-level keys of a valid document in the order of
// their lines, which is the order in which mistakes should be told.
func keyLines(data []byte) func(yield func(key string, line int) bool) {
	return func(yield func(string, int) bool) {
		seen := map[string]bool{}
		inTable := false
		var p unstable.Parser
		p.Reset(data)
		for p.NextExpression() {
			e := p.Expression()
			switch e.Kind {
			case unstable.Table, unstable.ArrayTable:
				inTable = true
			case unstable.KeyValue:
				if inTable {
					continue
				}
			default:
				continue
			}
			parts := e.Key()
			if !parts.Next() {
				continue
			}
			node := parts.Node()
			key := string(node.Data)
			if seen[key] {
				continue
			}
			seen[key] = true
			if !yield(key, p.Shape(node.Raw).Start.Line) {
				return
			}
		}
	}
}

// texts turns a TOML value into the texts that a flag would have had.
func texts(value any) ([]string, error) {
	switch v := value.(type) {
	case string:
		return []string{v}, nil
	case int64:
		return []string{strconv.FormatInt(v, 10)}, nil
	case float64:
		return []string{strconv.FormatFloat(v, 'g', -1, 64)}, nil
	case bool:
		return []string{strconv.FormatBool(v)}, nil
	case []any:
		var all []string
		for _, item := range v {
			if _, nested := item.([]any); nested {
				return nil, errors.New("want a list of texts, not of lists")
			}
			one, err := texts(item)
			if err != nil {
				return nil, err
			}
			all = append(all, one...)
		}
		return all, nil
	case map[string]any:
		return nil, errors.New("want a value, not a table")
	default:
		return nil, fmt.Errorf("want a text or a number, not %v", value)
	}
}

// resolve makes paths relative to the file's folder. With modules, what is
// neither a file nor written as a path is a dotted module name and stays.
func (d *document) resolve(values []string, modules bool) []string {
	dir := filepath.Dir(d.path)
	out := make([]string, len(values))
	for i, value := range values {
		out[i] = value
		if dir == "." || value == "" || filepath.IsAbs(value) || value == ":memory:" {
			continue
		}
		joined := filepath.Join(dir, value)
		if modules && !strings.ContainsRune(value, filepath.Separator) {
			if _, err := os.Stat(joined); err != nil {
				continue
			}
		}
		out[i] = joined
	}
	return out
}
