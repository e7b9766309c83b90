package template

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// DOT draws the template, or with states the task, in the language of
// Graphviz. The error is that of writing.
func (t *Template) DOT(w io.Writer, states map[string]string) error {
	b := bufio.NewWriter(w)
	g := t.graph(View{States: states})
	colours := map[class]palette{}
	for _, p := range palettes() {
		colours[p.class] = p
	}
	fmt.Fprintf(b, "digraph %s {\n", dotQuote(g.key))
	b.WriteString("    rankdir=TB;\n    bgcolor=transparent;\n" +
		"    node [fontname=\"Helvetica,Arial,sans-serif\", fontsize=12, style=filled, margin=\"0.18,0.09\"];\n" +
		"    edge [color=\"#6c757d\", arrowsize=0.7];\n")
	for _, n := range g.nodes {
		p := colours[n.class]
		label := n.name
		if n.state != "" {
			label += "\n" + n.state
		}
		shape, style := dotShape(n.kind)
		if n.class == classUntraversed {
			style += ",dashed"
		}
		fmt.Fprintf(b, "    %s [label=%s, shape=%s, style=%s, fillcolor=%s, color=%s, tooltip=%s];\n",
			dotQuote(n.name), dotQuote(label), shape, dotQuote(style), dotQuote(p.fill), dotQuote(p.stroke), dotQuote(n.handler))
	}
	for _, e := range g.edges {
		style := ""
		if e.dashed {
			style = " [style=dashed]"
		}
		fmt.Fprintf(b, "    %s -> %s%s;\n", dotQuote(g.nodes[e.from].name), dotQuote(g.nodes[e.to].name), style)
	}
	b.WriteString("}\n")
	return flush(b, "DOT graph")
}

func dotShape(k StepType) (shape, style string) {
	switch k {
	case Decision:
		return "diamond", "filled"
	case DeferredConvergence:
		return "invtrapezium", "filled"
	case Batchable:
		return "parallelogram", "filled"
	case BatchWorker:
		return "component", "filled"
	}
	return "box", "filled,rounded"
}

func dotQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", " ", "\n", `\n`).Replace(s) + `"`
}
