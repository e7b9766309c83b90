package template

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Markdown describes the template: its graph as a Mermaid block and a table of
// its steps (engine-semantics §10.1, template view). The error is that of
// writing.
func (t *Template) Markdown(w io.Writer) error {
	return t.MarkdownView(w, View{})
}

// MarkdownView is Markdown with states or annotations in the graph.
func (t *Template) MarkdownView(w io.Writer, v View) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "# %s\n\n```mermaid\n", oneLine(t.Name))
	t.graph(v).mermaid(b)
	b.WriteString("```\n\n## Step Details\n\n" +
		"| Step | Type | Handler | Dependencies | Schema Fields | Retry |\n" +
		"|---|---|---|---|---|---|\n")
	for _, i := range t.TopoOrder() {
		s := &t.Steps[i]
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n",
			cell(s.Name), s.Type.Title(), cell(s.Handler.Callable), cell(strings.Join(s.Dependencies, ", ")),
			cell(strings.Join(schemaFields(s.ResultSchema), ", ")), s.Retry.cell())
	}
	return flush(b, "Markdown description")
}

// cell is a table cell's text, an em dash when there is none.
func cell(s string) string {
	if s == "" {
		return "—"
	}
	return strings.ReplaceAll(oneLine(s), "|", `\|`)
}

func oneLine(s string) string {
	return strings.Join(strings.Fields(s), " ")
}

// cell is the policy as "5x linear", an em dash for the default one and for
// none.
func (r Retry) cell() string {
	if !r.Retryable || r.MaxAttempts == 3 && r.Backoff == BackoffExponential {
		return "—"
	}
	return fmt.Sprintf("%dx %s", r.MaxAttempts, r.Backoff)
}
