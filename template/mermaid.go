package template

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Mermaid draws the template, or with states the task, as a Mermaid flow chart
// (engine-semantics §10.1). The error is that of writing.
func (t *Template) Mermaid(w io.Writer, states map[string]string) error {
	return t.MermaidView(w, View{States: states})
}

// MermaidView is Mermaid with annotations.
func (t *Template) MermaidView(w io.Writer, v View) error {
	b := bufio.NewWriter(w)
	t.graph(v).mermaid(b)
	return flush(b, "Mermaid graph")
}

func flush(b *bufio.Writer, what string) error {
	if err := b.Flush(); err != nil {
		return fmt.Errorf("write %s: %w", what, err)
	}
	return nil
}

// mermaidShapes are the brackets around a label.
func mermaidShape(k StepType) (before, after string) {
	switch k {
	case Decision:
		return "{", "}"
	case DeferredConvergence, Batchable:
		return "[/", "/]"
	case BatchWorker:
		return "[[", "]]"
	}
	return "[", "]"
}

func (g *graph) mermaid(b *bufio.Writer) {
	b.WriteString("graph TD\n")
	for _, p := range palettes() {
		dash := ""
		if p.class == classUntraversed {
			dash = ",stroke-dasharray:5"
		}
		// The text colour keeps labels readable on pages with a dark theme.
		fmt.Fprintf(b, "    classDef %s fill:%s,stroke:%s,color:#333333%s\n", p.class, p.fill, p.stroke, dash)
	}
	b.WriteString("\n")
	ids := g.mermaidIDs()
	for i, n := range g.nodes {
		label := mermaidText(n.name)
		if n.class == classUntraversed {
			label += " (untraversed)"
		}
		if n.note != "" {
			label += "<br/>⚠ " + mermaidText(n.note)
		}
		before, after := mermaidShape(n.kind)
		fmt.Fprintf(b, "    %s%s\"%s\"%s:::%s\n", ids[i], before, label, after, n.class)
	}
	if len(g.edges) > 0 {
		b.WriteString("\n")
	}
	for _, e := range g.edges {
		arrow := "-->"
		if e.dashed {
			arrow = "-.->"
		}
		fmt.Fprintf(b, "    %s %s %s\n", ids[e.from], arrow, ids[e.to])
	}
}

// mermaidIDs gives every node an identifier that Mermaid accepts: its name
// where that is possible.
func (g *graph) mermaidIDs() []string {
	used := map[string]bool{}
	// Words of the language; "end" breaks a chart wherever it stands.
	for _, word := range []string{"end", "graph", "subgraph", "flowchart", "style", "class", "classdef", "click", "linkstyle", "default", "direction"} {
		used[word] = true
	}
	ids := make([]string, len(g.nodes))
	for i, n := range g.nodes {
		id := strings.Map(func(r rune) rune {
			if r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
				return r
			}
			return '_'
		}, n.name)
		if id == "" {
			id = "_"
		}
		unique := id
		for k := 2; used[strings.ToLower(unique)]; k++ {
			unique = fmt.Sprintf("%s_%d", id, k)
		}
		used[strings.ToLower(unique)] = true
		ids[i] = unique
	}
	return ids
}

// mermaidText writes text inside a quoted label.
func mermaidText(s string) string {
	return strings.NewReplacer(
		"#", "#35;", `"`, "#quot;", "<", "#lt;", ">", "#gt;", "`", "#96;", "\n", " ", "\r", " ",
	).Replace(s)
}
