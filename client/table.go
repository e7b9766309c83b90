package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// WriteJSON writes an answer as it came, indented.
func WriteJSON(w io.Writer, raw json.RawMessage) error {
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(raw), "", "  "); err != nil {
		return fmt.Errorf("indent the answer: %w", err)
	}
	b.WriteByte('\n')
	return write(w, b.String())
}

// ShowJSON writes a value as WriteJSON does.
func ShowJSON(w io.Writer, value any) error {
	data, err := encode(value)
	if err != nil {
		return fmt.Errorf("write as JSON: %w", err)
	}
	return WriteJSON(w, data)
}

func write(w io.Writer, text string) error {
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// table is text in columns, the first row of which is the header.
type table struct{ rows [][]string }

func (t *table) row(cells ...string) {
	for i := range cells {
		cells[i] = oneLine(cells[i])
	}
	t.rows = append(t.rows, cells)
}

func (t *table) write(w io.Writer) error {
	var widths []int
	for _, row := range t.rows {
		for i, text := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], ansi.StringWidth(text))
		}
	}
	var b strings.Builder
	for _, row := range t.rows {
		var line strings.Builder
		for i, text := range row {
			line.WriteString(text + strings.Repeat(" ", widths[i]-ansi.StringWidth(text)+2))
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return write(w, b.String())
}

// facts are lines of a name and a value.
type facts struct{ table }

func (f *facts) add(name, format string, args ...any) {
	f.row("  "+name, fmt.Sprintf(format, args...))
}

// row keeps the indentation that the table would take away.
func (f *facts) row(name, value string) {
	f.rows = append(f.rows, []string{name, oneLine(value)})
}
