package template

import (
	"slices"
	"strings"
)

// View is what a drawing shows beyond the template itself.
type View struct {
	// States maps steps to their states in one task. Names that are no step of
	// the template are instances of its batch workers. Nil draws the template,
	// anything else the task.
	States map[string]string
	// Annotations maps steps to a remark to show on them (engine-semantics
	// §10.1). Names that are no step are ignored.
	Annotations map[string]string
}

// class is how a node looks.
type class string

const (
	classDefault     class = "default"
	classCompleted   class = "completed"
	classInProgress  class = "in_progress"
	classPending     class = "pending"
	classError       class = "error"
	classRetrying    class = "retrying"
	classAnnotated   class = "annotated"
	classUntraversed class = "untraversed"
)

// palette gives the colours of a class (engine-semantics §10.1).
type palette struct {
	class        class
	fill, stroke string
	dark         string // fill on a dark background
}

// palettes lists the classes in the order in which they are defined in output.
func palettes() []palette {
	return []palette{
		{classCompleted, "#d4edda", "#28a745", "#16341f"},
		{classInProgress, "#cce5ff", "#007bff", "#10294a"},
		{classPending, "#e2e3e5", "#6c757d", "#2a2e33"},
		{classError, "#f8d7da", "#dc3545", "#42181d"},
		{classRetrying, "#fff3cd", "#ffc107", "#3d320c"},
		{classAnnotated, "#fff3cd", "#ffc107", "#3d320c"},
		{classUntraversed, "#f8f9fa", "#dee2e6", "#15191f"},
		{classDefault, "#ffffff", "#333333", "#1d232b"},
	}
}

// classOf gives the class of a step state.
func classOf(state string) class {
	switch strings.ToLower(state) {
	case "complete", "resolved_manually":
		return classCompleted
	case "in_progress":
		return classInProgress
	case "pending":
		return classPending
	case "error", "cancelled":
		return classError
	case "waiting_for_retry", "enqueued", "enqueued_for_orchestration", "enqueued_as_error_for_orchestration":
		return classRetrying
	case "untraversed":
		return classUntraversed
	}
	return classDefault
}

// graph is a template or a task as nodes and edges, ready to be drawn.
type graph struct {
	title    string
	key      string // namespace/name@version
	nodes    []graphNode
	edges    []graphEdge
	taskView bool
}

type graphNode struct {
	name    string
	kind    StepType
	class   class
	state   string // "" in a template view
	note    string // annotation
	handler string // callable, with the method
	// dynamic marks an instance of a batch worker.
	dynamic bool
}

// graphEdge leads from a dependency to its dependent, by node index.
type graphEdge struct {
	from, to int
	dashed   bool
}

func (t *Template) graph(v View) *graph {
	g := &graph{title: t.Name, key: t.Key(), taskView: v.States != nil}
	l := t.links()
	below := t.belowDecisions(l)
	instances := t.instances(v.States)
	at := make([]int, len(t.Steps)) // step index to node index, -1 for none
	for i := range t.Steps {
		s := &t.Steps[i]
		if len(instances[s.Name]) > 0 {
			at[i] = -1 // its instances are drawn in its place
			continue
		}
		at[i] = len(g.nodes)
		n := graphNode{name: s.Name, kind: s.Type.orStandard(), class: classDefault, handler: s.Handler.Callable}
		if m := s.Handler.Method; m != nil {
			n.handler += "." + *m
		}
		if g.taskView {
			state, exists := v.States[s.Name]
			switch {
			case exists:
				n.state, n.class = state, classOf(state)
			case below[i]:
				n.state, n.class = "untraversed", classUntraversed
			default:
				n.state, n.class = "not created", classPending
			}
		}
		g.annotate(&n, v)
		g.nodes = append(g.nodes, n)
	}
	for i := range t.Steps {
		for _, j := range l.dependencies[i] {
			if at[i] >= 0 && at[j] >= 0 {
				g.connect(at[j], at[i])
			}
		}
	}
	for i := range t.Steps {
		for _, name := range instances[t.Steps[i].Name] {
			n := graphNode{
				name: name, kind: BatchWorker, state: v.States[name], class: classOf(v.States[name]),
				handler: t.Steps[i].Handler.Callable, dynamic: true,
			}
			g.annotate(&n, v)
			g.nodes = append(g.nodes, n)
			for _, j := range l.dependencies[i] {
				if at[j] >= 0 {
					g.connect(at[j], len(g.nodes)-1)
				}
			}
			for _, j := range l.dependents[i] {
				if at[j] >= 0 {
					g.connect(len(g.nodes)-1, at[j])
				}
			}
		}
	}
	for _, name := range instances[""] {
		n := graphNode{name: name, kind: BatchWorker, state: v.States[name], class: classOf(v.States[name]), dynamic: true}
		g.annotate(&n, v)
		g.nodes = append(g.nodes, n)
	}
	slices.SortStableFunc(g.edges, func(a, b graphEdge) int {
		if c := strings.Compare(g.nodes[a.from].name, g.nodes[b.from].name); c != 0 {
			return c
		}
		return strings.Compare(g.nodes[a.to].name, g.nodes[b.to].name)
	})
	return g
}

func (g *graph) annotate(n *graphNode, v View) {
	if note := v.Annotations[n.name]; note != "" {
		n.note, n.class = note, classAnnotated
	}
}

// connect adds an edge. In a task view an edge is solid once its source is
// finished, unless the target is on a way not taken.
func (g *graph) connect(from, to int) {
	dashed := g.taskView && (classOf(g.nodes[from].state) != classCompleted || g.nodes[to].state == "untraversed")
	g.edges = append(g.edges, graphEdge{from: from, to: to, dashed: dashed})
}

// instances groups the states' names that are no step of the template by the
// batch worker they were made from, in alphabetical order; "" has the others.
// An instance is named after its worker and a batch id (engine-semantics §5.4).
func (t *Template) instances(states map[string]string) map[string][]string {
	found := map[string][]string{}
	for name := range states {
		if t.Step(name) != nil {
			continue
		}
		worker := ""
		for i := range t.Steps {
			s := &t.Steps[i]
			if s.Type == BatchWorker && strings.HasPrefix(name, s.Name+"_") && len(s.Name) > len(worker) {
				worker = s.Name
			}
		}
		found[worker] = append(found[worker], name)
	}
	for _, names := range found {
		slices.Sort(names)
	}
	return found
}

// ranks gives every node its layer: the length of the longest way that leads
// to it. order lists the nodes so that edges lead forward; edges of a cycle
// that lead backward in it do not count.
func (g *graph) ranks() (rank, order []int) {
	n := len(g.nodes)
	out := make([][]int, n)
	missing := make([]int, n)
	for _, e := range g.edges {
		if e.from != e.to {
			out[e.from] = append(out[e.from], e.to)
			missing[e.to]++
		}
	}
	rank = make([]int, n)
	placed := make([]bool, n)
	var queue []int
	place := func(i int) {
		placed[i] = true
		queue = append(queue, i)
	}
	for i := range n {
		if missing[i] == 0 {
			place(i)
		}
	}
	for next := 0; len(order) < n; {
		if len(queue) == 0 {
			// Only cycles are left: break one open at its first node.
			for placed[next] {
				next++
			}
			place(next)
		}
		i := queue[0]
		queue = queue[1:]
		order = append(order, i)
		for _, j := range out[i] {
			if missing[j]--; !placed[j] {
				rank[j] = max(rank[j], rank[i]+1)
				if missing[j] == 0 {
					place(j)
				}
			}
		}
	}
	return rank, order
}
