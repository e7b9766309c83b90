package template_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/template"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares a drawing with the file of that name.
func golden(t *testing.T, name string, draw func(io.Writer) error) {
	t.Helper()
	var got bytes.Buffer
	require.NoError(t, draw(&got))
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(file, got.Bytes(), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got.String())
}

func drawn(t *testing.T, draw func(io.Writer) error) string {
	t.Helper()
	var got strings.Builder
	require.NoError(t, draw(&got))
	return got.String()
}

// every has a step of each type.
func every(t *testing.T) *template.Template {
	t.Helper()
	return shape(t, "check_order", "choose_route:decision check_order", "book_small choose_route", "book_large choose_route",
		"split_rows:batchable check_order", "crunch_rows:batch_worker split_rows", "merge_rows:deferred_convergence crunch_rows",
		"close_order:deferred_convergence book_small book_large", "report close_order check_order merge_rows")
}

// midway are the states of a task of that template, of which some steps are
// done and others not.
func midway() map[string]string {
	return map[string]string{
		"check_order": "complete", "choose_route": "resolved_manually", "book_small": "in_progress", "split_rows": "complete",
		"crunch_rows_001": "complete", "crunch_rows_002": "waiting_for_retry", "merge_rows": "pending", "close_order": "error",
	}
}

func TestGraphs(t *testing.T) {
	t.Parallel()
	tpl := every(t)
	for format, draw := range map[string]func(io.Writer, map[string]string) error{
		"txt": tpl.Text, "mmd": tpl.Mermaid, "dot": tpl.DOT, "svg": tpl.SVG,
	} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			golden(t, "template."+format, func(w io.Writer) error { return draw(w, nil) })
			golden(t, "task."+format, func(w io.Writer) error { return draw(w, midway()) })
		})
	}
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	golden(t, "template.md", parse(t, strings.Replace(example, "    timeout_seconds: 20\n",
		"    timeout_seconds: 20\n    result_schema: {type: object, properties: {total: {}, \"a|b\": {}}}\n", 1)).Markdown)
}

func TestAnnotations(t *testing.T) {
	t.Parallel()
	tpl := shape(t, "a", "b a")
	v := template.View{Annotations: map[string]string{"b": `mind "the" <gap>`, "gone": "x"}}
	mermaid := drawn(t, func(w io.Writer) error { return tpl.MermaidView(w, v) })
	require.Contains(t, mermaid, "    b[\"b<br/>⚠ mind #quot;the#quot; #lt;gap#gt;\"]:::annotated\n")
	require.Contains(t, mermaid, "    a[\"a\"]:::default\n")
	require.NotContains(t, mermaid, "gone")
	require.Contains(t, drawn(t, func(w io.Writer) error { return tpl.MarkdownView(w, v) }), mermaid)
	svg := drawn(t, func(w io.Writer) error { return tpl.SVGView(w, v) })
	require.Contains(t, svg, `<g class="node annotated">`)
	require.Contains(t, svg, "⚠ mind &quot;the&quot; &lt;gap&gt;</text>")
}

func TestMermaidShapesAndClasses(t *testing.T) {
	t.Parallel()
	got := drawn(t, func(w io.Writer) error { return every(t).Mermaid(w, nil) })
	for _, line := range []string{
		`check_order["check_order"]:::default`, `choose_route{"choose_route"}:::default`, `close_order[/"close_order"/]:::default`,
		`split_rows[/"split_rows"/]:::default`, `crunch_rows[["crunch_rows"]]:::default`, `check_order --> choose_route`,
	} {
		require.Contains(t, got, "    "+line+"\n")
	}
	require.NotContains(t, got, "-.->", "a template has solid edges only")
}

func TestMermaidStateClasses(t *testing.T) {
	t.Parallel()
	tpl := shape(t, "a")
	for state, class := range map[string]string{
		"complete": "completed", "resolved_manually": "completed", "in_progress": "in_progress", "pending": "pending", "error": "error",
		"cancelled": "error", "waiting_for_retry": "retrying", "enqueued": "retrying", "enqueued_for_orchestration": "retrying",
		"enqueued_as_error_for_orchestration": "retrying", "something_new": "default",
	} {
		got := drawn(t, func(w io.Writer) error { return tpl.Mermaid(w, map[string]string{"a": state}) })
		require.Contains(t, got, `a["a"]:::`+class+"\n", state)
	}
}

func TestEdgesOfATaskAreSolidOnceTheirSourceIsFinished(t *testing.T) {
	t.Parallel()
	tpl := shape(t, "a", "b a", "d:decision b", "x d")
	got := drawn(t, func(w io.Writer) error {
		return tpl.Mermaid(w, map[string]string{"a": "complete", "b": "in_progress", "d": "complete"})
	})
	require.Contains(t, got, "    a --> b\n")
	require.Contains(t, got, "    b -.-> d\n")
	require.Contains(t, got, "    d -.-> x\n", "x was not traversed")
	require.Contains(t, got, `x["x (untraversed)"]:::untraversed`)
}

func TestMermaidEscapesNamesAndKeywords(t *testing.T) {
	t.Parallel()
	tpl := parse(t, steps(
		`{name: "end", handler: {callable: c}}`, `{name: "a-b", handler: {callable: c}, dependencies: ["end"]}`,
		`{name: "a.b", handler: {callable: c}, dependencies: ["end"]}`, `{name: 'say "<hi>" #1', handler: {callable: c}, dependencies: ["end"]}`))
	got := drawn(t, func(w io.Writer) error { return tpl.Mermaid(w, nil) })
	require.Contains(t, got, `    end_2["end"]:::default`)
	require.Contains(t, got, `    a_b["a-b"]:::default`)
	require.Contains(t, got, `    a_b_2["a.b"]:::default`)
	require.Contains(t, got, `["say #quot;#lt;hi#gt;#quot; #35;1"]:::default`)
}

func TestDOTQuotes(t *testing.T) {
	t.Parallel()
	tpl := parse(t, steps(`{name: 'a"b\c', handler: {callable: "x\ny"}}`))
	require.Contains(t, drawn(t, func(w io.Writer) error { return tpl.DOT(w, nil) }),
		`    "a\"b\\c" [label="a\"b\\c", shape=box, style="filled,rounded", fillcolor="#ffffff", color="#333333", tooltip="x\ny"];`)
}

func TestTextShowsEveryStepOnceBelowAllItDependsOn(t *testing.T) {
	t.Parallel()
	tpl := shape(t, "end b c d", "start", "b start", "c b start", "d start c", "alone")
	require.Equal(t, `n/t@1.0.0
start
└─ b
   └─ c, also after start
      └─ d, also after start
         └─ end, also after b, c
alone
`, drawn(t, func(w io.Writer) error { return tpl.Text(w, nil) }))
}

func TestTextOfACycle(t *testing.T) {
	t.Parallel()
	tpl := shape(t, "a", "b a d", "c b", "d c d")
	require.Equal(t, "n/t@1.0.0\na\n└─ b, also after d\n   └─ c\n      └─ d, also after d\n",
		drawn(t, func(w io.Writer) error { return tpl.Text(w, nil) }))
}

func TestTextDoesNotIndentForEver(t *testing.T) {
	t.Parallel()
	lines := []string{"s0"}
	for i := range 1000 {
		lines = append(lines, fmt.Sprintf("s%d s%d", i+1, i))
	}
	got := drawn(t, func(w io.Writer) error { return shape(t, lines...).Text(w, nil) })
	require.Contains(t, got, "\ns33, after s32\n└─ s34\n")
	require.Less(t, len(got), 100*len(lines))
}

func TestTextCannotControlTheTerminal(t *testing.T) {
	t.Parallel()
	tpl := parse(t, steps(`{name: "a\e[2Jb\x9b1m", handler: {callable: c}}`))
	got := drawn(t, func(w io.Writer) error { return tpl.Text(w, nil) })
	require.Equal(t, "n/t@1.0.0\na [2Jb 1m\n", got)
}

// svgElement is an element of a drawing.
type svgElement struct {
	XMLName  xml.Name
	Class    string       `xml:"class,attr"`
	Points   string       `xml:"points,attr"`
	D        string       `xml:"d,attr"`
	X        float64      `xml:"x,attr"`
	Y        float64      `xml:"y,attr"`
	Width    float64      `xml:"width,attr"`
	Height   float64      `xml:"height,attr"`
	Text     string       `xml:",chardata"`
	Children []svgElement `xml:",any"`
}

func readSVG(t *testing.T, tpl *template.Template, states map[string]string) (root svgElement, nodes, edges []svgElement) {
	t.Helper()
	require.NoError(t, xml.Unmarshal([]byte(drawn(t, func(w io.Writer) error { return tpl.SVG(w, states) })), &root))
	for _, e := range root.Children[len(root.Children)-1].Children {
		if strings.HasPrefix(e.Class, "node") {
			nodes = append(nodes, e)
		} else {
			edges = append(edges, e)
		}
	}
	return root, nodes, edges
}

func TestSVGHasANodeForEachStepAndALineForEachDependency(t *testing.T) {
	t.Parallel()
	_, nodes, edges := readSVG(t, every(t), nil)
	require.Len(t, nodes, 9)
	require.Len(t, edges, 11)
}

func TestSVGBoxesDoNotOverlapAndLieInTheImage(t *testing.T) {
	t.Parallel()
	lines := []string{"s0"}
	for i := 1; i < 80; i++ {
		lines = append(lines, fmt.Sprintf("step_%d_%s s0", i, strings.Repeat("x", i%30)))
		if i > 10 {
			lines[i] += " " + strings.Fields(lines[i-7])[0]
		}
	}
	root, nodes, _ := readSVG(t, shape(t, lines...), nil)
	var boxes []svgElement
	for _, n := range nodes {
		boxes = append(boxes, n.Children[1])
	}
	const margin = 24
	for i, a := range boxes {
		require.GreaterOrEqual(t, a.X, 0.0)
		require.LessOrEqual(t, a.X+a.Width, root.Width-2*margin)
		require.LessOrEqual(t, a.Y+a.Height, root.Height-2*margin)
		for _, b := range boxes[i+1:] {
			apart := a.X+a.Width <= b.X || b.X+b.Width <= a.X || a.Y+a.Height <= b.Y || b.Y+b.Height <= a.Y
			require.True(t, apart, "%v %v", a, b)
		}
	}
}

func TestSVGEscapesText(t *testing.T) {
	t.Parallel()
	tpl := parse(t, steps(`{name: "<b>&\"' \x01", handler: {callable: "</title><script>"}}`))
	_, nodes, _ := readSVG(t, tpl, nil)
	require.Equal(t, "<b>&\"' \ufffd\nstandard\n</title><script>", nodes[0].Children[0].Text)
	require.Equal(t, "<b>&\"' \ufffd", nodes[0].Children[2].Text)
}

func TestSVGOfACycleAndOfNothing(t *testing.T) {
	t.Parallel()
	_, nodes, edges := readSVG(t, shape(t, "a", "b a d", "c b", "d c d"), nil)
	require.Len(t, nodes, 4)
	require.Len(t, edges, 5)
	root, nodes, _ := readSVG(t, parse(t, heading), nil)
	require.Empty(t, nodes)
	require.Positive(t, root.Width)
}

func TestSVGOfALargeTemplateHasStraightLines(t *testing.T) {
	t.Parallel()
	lines := []string{"s0"}
	all := ""
	for i := range 300 {
		lines = append(lines, fmt.Sprintf("s%d s%d", i+1, i))
		all += fmt.Sprintf(" s%d", i)
	}
	_, nodes, edges := readSVG(t, shape(t, append(lines, "end"+all)...), nil) // edges over every layer
	require.Len(t, nodes, 302)
	require.Len(t, edges, 600)
}

func TestDrawingsAreAlwaysTheSame(t *testing.T) {
	t.Parallel()
	tpl, states := every(t), midway()
	for _, draw := range []func(io.Writer, map[string]string) error{tpl.Text, tpl.Mermaid, tpl.DOT, tpl.SVG} {
		first := drawn(t, func(w io.Writer) error { return draw(w, states) })
		for range 20 {
			require.Equal(t, first, drawn(t, func(w io.Writer) error { return draw(w, states) }))
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestDrawingsTellWhenTheyCannotBeWritten(t *testing.T) {
	t.Parallel()
	tpl := every(t)
	require.EqualError(t, tpl.SVG(full{}, nil), "write SVG graph: no space left")
	require.EqualError(t, tpl.Mermaid(full{}, nil), "write Mermaid graph: no space left")
	require.EqualError(t, tpl.DOT(full{}, nil), "write DOT graph: no space left")
	require.EqualError(t, tpl.Text(full{}, nil), "write graph: no space left")
	require.EqualError(t, tpl.Markdown(full{}), "write Markdown description: no space left")
}
