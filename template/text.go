package template

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Text draws the template, or with states the task, as a tree for terminals.
// Every step is there once: below the last of the steps that it depends on,
// naming the others. The error is that of writing.
func (t *Template) Text(w io.Writer, states map[string]string) error {
	return t.TextPainted(w, states, func(_, text string) string { return text })
}

// TextPainted is Text with what paint makes of each step: of its name, type
// and state, which is "" in a template.
func (t *Template) TextPainted(w io.Writer, states map[string]string, paint func(state, text string) string) error {
	b := bufio.NewWriter(w)
	t.graph(View{States: states}).text(b, paint)
	return flush(b, "graph")
}

func (g *graph) text(b *bufio.Writer, paint func(state, text string) string) {
	b.WriteString(printable(g.key) + "\n")
	f := g.forest()
	// A stack instead of recursion: chains may be long.
	type branch struct {
		node   int
		indent string
		last   bool
	}
	var stack []branch
	push := func(nodes []int, indent string) {
		for i, n := range slices.Backward(nodes) {
			stack = append(stack, branch{n, indent, i == len(nodes)-1})
		}
	}
	push(f.roots, "")
	for len(stack) > 0 {
		at := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		tip, below, after := "├─ ", "│  ", "also after"
		if at.last {
			tip, below = "└─ ", "   "
		}
		if f.parent[at.node] < 0 {
			tip, below, after = "", "", "after"
		}
		n := g.nodes[at.node]
		about := printable(n.name)
		if n.kind != Standard {
			about += fmt.Sprintf(" (%s)", strings.ReplaceAll(string(n.kind), "_", " "))
		}
		if n.state != "" {
			about += ": " + strings.ReplaceAll(printable(n.state), "_", " ")
		}
		line := at.indent + tip + paint(n.state, about)
		if others := f.others[at.node]; len(others) > 0 {
			names := make([]string, len(others))
			for i, other := range others {
				names[i] = printable(g.nodes[other].name)
			}
			line += fmt.Sprintf(", %s %s", after, strings.Join(names, ", "))
		}
		b.WriteString(line + "\n")
		push(f.children[at.node], at.indent+below)
	}
}

// maxIndent is how many steps in a row are indented. What follows starts at
// the margin again, naming what it comes after.
const maxIndent = 32

// forest is a graph as trees that hold every node once.
type forest struct {
	roots    []int
	parent   []int // -1 for a root
	depth    []int
	place    []int // among the children of its parent, or the roots
	children [][]int
	others   [][]int // dependencies other than the parent
}

// forest makes the parent of each node the dependency that is shown last, so
// that all dependencies stand above it.
func (g *graph) forest() *forest {
	n := len(g.nodes)
	f := &forest{
		parent: make([]int, n), depth: make([]int, n), place: make([]int, n), children: make([][]int, n), others: make([][]int, n),
	}
	dependencies := make([][]int, n)
	for _, e := range g.edges {
		dependencies[e.to] = append(dependencies[e.to], e.from)
	}
	rank, order := g.ranks()
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(rank[a], rank[b]), cmp.Compare(a, b)) })
	grown := make([]bool, n)
	for _, i := range order {
		slices.Sort(dependencies[i])
		parent := -1
		for _, d := range dependencies[i] {
			// One that is not there yet is on a cycle with i.
			if grown[d] && (parent < 0 || f.before(parent, d)) {
				parent = d
			}
		}
		if parent >= 0 && f.depth[parent] >= maxIndent {
			parent = -1
		}
		for _, d := range dependencies[i] {
			if d != parent {
				f.others[i] = append(f.others[i], d)
			}
		}
		siblings := &f.roots
		if parent >= 0 {
			siblings = &f.children[parent]
			f.depth[i] = f.depth[parent] + 1
		}
		f.parent[i], f.place[i] = parent, len(*siblings)
		*siblings = append(*siblings, i)
		grown[i] = true
	}
	return f
}

// before tells whether a is shown above b.
func (f *forest) before(a, b int) bool {
	for f.depth[a] > f.depth[b] {
		if a = f.parent[a]; a == b {
			return false
		}
	}
	for f.depth[b] > f.depth[a] {
		if b = f.parent[b]; a == b {
			return true
		}
	}
	for f.parent[a] != f.parent[b] {
		a, b = f.parent[a], f.parent[b]
	}
	return f.place[a] < f.place[b]
}

// printable makes names fit for a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}
