package template

import (
	"container/heap"
	"slices"
)

// links are the edges between the steps of a template, by index. Names that
// are no step are left out; of steps with one name the first counts.
type links struct {
	dependencies [][]int
	dependents   [][]int
}

func (t *Template) links() links {
	index := make(map[string]int, len(t.Steps))
	for i := range t.Steps {
		if _, exists := index[t.Steps[i].Name]; !exists {
			index[t.Steps[i].Name] = i
		}
	}
	l := links{dependencies: make([][]int, len(t.Steps)), dependents: make([][]int, len(t.Steps))}
	for i := range t.Steps {
		for _, name := range t.Steps[i].Dependencies {
			if j, ok := index[name]; ok && !slices.Contains(l.dependencies[i], j) {
				l.dependencies[i] = append(l.dependencies[i], j)
				l.dependents[j] = append(l.dependents[j], i)
			}
		}
	}
	return l
}

// belowDecisions marks every step that is reached from a decision step.
func (t *Template) belowDecisions(l links) []bool {
	below := make([]bool, len(t.Steps))
	var queue []int
	for i := range t.Steps {
		if t.Steps[i].Type == Decision {
			queue = append(queue, i)
		}
	}
	for len(queue) > 0 {
		i := queue[0]
		queue = queue[1:]
		for _, j := range l.dependents[i] {
			if !below[j] {
				below[j] = true
				queue = append(queue, j)
			}
		}
	}
	return below
}

// InitialSteps lists, as indexes into Steps in template order, the steps that
// a new task begins with (engine-semantics §2.5). Decisions and batches create
// the others later. A step that waits for a step not created yet is not
// created yet either.
func (t *Template) InitialSteps() []int {
	l := t.links()
	below := t.belowDecisions(l)
	hasDecision := slices.ContainsFunc(t.Steps, func(s Step) bool { return s.Type == Decision })
	absent := make([]bool, len(t.Steps))
	var queue []int
	for i := range t.Steps {
		kind := t.Steps[i].Type
		absent[i] = kind == BatchWorker || below[i] || (kind == DeferredConvergence && !hasDecision)
		if absent[i] {
			queue = append(queue, i)
		}
	}
	for len(queue) > 0 {
		i := queue[0]
		queue = queue[1:]
		for _, j := range l.dependents[i] {
			if !absent[j] {
				absent[j] = true
				queue = append(queue, j)
			}
		}
	}
	initial := []int{}
	for i := range absent {
		if !absent[i] {
			initial = append(initial, i)
		}
	}
	return initial
}

// TopoOrder lists the indexes of all steps so that each comes after its
// dependencies; among steps that could come next the alphabetically first one
// does. Steps on a cycle, and what waits for them, come last in template order.
func (t *Template) TopoOrder() []int {
	l := t.links()
	missing := make([]int, len(t.Steps))
	ready := &nameHeap{t: t}
	for i := range t.Steps {
		if missing[i] = len(l.dependencies[i]); missing[i] == 0 {
			ready.indexes = append(ready.indexes, i)
		}
	}
	heap.Init(ready)
	order := make([]int, 0, len(t.Steps))
	for ready.Len() > 0 {
		i := heap.Pop(ready).(int)
		order = append(order, i)
		for _, j := range l.dependents[i] {
			if missing[j]--; missing[j] == 0 {
				heap.Push(ready, j)
			}
		}
	}
	for i := range t.Steps {
		if missing[i] > 0 {
			order = append(order, i)
		}
	}
	return order
}

// nameHeap yields step indexes in the order of step names.
type nameHeap struct {
	t       *Template
	indexes []int
}

func (h *nameHeap) Len() int { return len(h.indexes) }

func (h *nameHeap) Less(a, b int) bool {
	a, b = h.indexes[a], h.indexes[b]
	if x, y := h.t.Steps[a].Name, h.t.Steps[b].Name; x != y {
		return x < y
	}
	return a < b
}

func (h *nameHeap) Swap(a, b int) { h.indexes[a], h.indexes[b] = h.indexes[b], h.indexes[a] }

func (h *nameHeap) Push(x any) { h.indexes = append(h.indexes, x.(int)) }

func (h *nameHeap) Pop() any {
	last := len(h.indexes) - 1
	i := h.indexes[last]
	h.indexes = h.indexes[:last]
	return i
}

// cycles finds one shortest cycle, as step indexes each of which depends on
// the next, for every group of steps that wait for each other. Steps that
// depend on themselves are not among them.
func (l links) cycles() [][]int {
	var found [][]int
	group := l.groups()
	reported := map[int]bool{}
	for start := range l.dependencies {
		g := group[start]
		if reported[g] {
			continue
		}
		if cycle := l.cycleThrough(start, group); cycle != nil {
			reported[g] = true
			found = append(found, cycle)
		}
	}
	return found
}

// cycleThrough searches breadth first for the way from start back to start
// within its group.
func (l links) cycleThrough(start int, group []int) []int {
	cameFrom := map[int]int{}
	queue := []int{start}
	for len(queue) > 0 {
		i := queue[0]
		queue = queue[1:]
		for _, j := range l.dependencies[i] {
			if i == j || group[j] != group[start] {
				continue
			}
			if j == start {
				cycle := []int{i}
				for i != start {
					i = cameFrom[i]
					cycle = append(cycle, i)
				}
				slices.Reverse(cycle)
				return cycle
			}
			if _, seen := cameFrom[j]; !seen {
				cameFrom[j] = i
				queue = append(queue, j)
			}
		}
	}
	return nil
}

// groups numbers the strongly connected components of the graph (Tarjan's
// algorithm): steps that wait for each other share a number.
func (l links) groups() []int {
	n := len(l.dependencies)
	s := &componentSearch{
		links: l, group: make([]int, n), number: make([]int, n), low: make([]int, n), onStack: make([]bool, n),
	}
	for i := range n {
		if s.number[i] == 0 {
			s.visit(i)
		}
	}
	return s.group
}

type componentSearch struct {
	links
	group, number, low []int
	onStack            []bool
	stack              []int
	counter            int
	groupCount         int
}

func (s *componentSearch) visit(i int) {
	s.counter++
	s.number[i], s.low[i] = s.counter, s.counter
	s.stack = append(s.stack, i)
	s.onStack[i] = true
	for _, j := range s.dependencies[i] {
		if s.number[j] == 0 {
			s.visit(j)
			s.low[i] = min(s.low[i], s.low[j])
		} else if s.onStack[j] {
			s.low[i] = min(s.low[i], s.number[j])
		}
	}
	if s.low[i] != s.number[i] {
		return
	}
	for {
		last := len(s.stack) - 1
		j := s.stack[last]
		s.stack = s.stack[:last]
		s.onStack[j] = false
		s.group[j] = s.groupCount
		if j == i {
			break
		}
	}
	s.groupCount++
}
