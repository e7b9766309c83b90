package template

import (
	"cmp"
	"slices"
)

// size is how much room a node takes.
type size struct{ width, height float64 }

// point is a place in a drawing, y growing downwards.
type point struct{ x, y float64 }

// layout is a graph in layers, every step below those it depends on.
type layout struct {
	width, height float64
	centres       []point   // of the nodes
	routes        [][]point // of the edges: from the source's centre through the layers between to the target's
}

// gaps are the distances that a layout keeps.
type gaps struct {
	node  float64 // between neighbours in a layer
	edge  float64 // between an edge that passes a layer and its neighbours
	layer float64 // between layers
}

// maxBends bounds how many places edges take up in the layers they pass. A
// graph that needs more is drawn with straight edges: nobody can follow its
// lines anyway.
const maxBends = 20_000

// slot is a place in a layer: a node, or an edge that passes.
type slot struct {
	node  int // -1 for an edge
	width float64
	up    []int // slots of the layer above that lead here
	down  []int
	x     float64 // of the centre
	order int     // in its layer
}

type layering struct {
	slots  []slot
	layers [][]int // slots from left to right
	gaps   gaps
}

// arrange places nodes of these sizes.
func (g *graph) arrange(sizes []size, gap gaps) layout {
	rank, _ := g.ranks()
	l := &layering{gaps: gap}
	bends := 0
	for _, e := range g.edges {
		bends += max(0, rank[e.to]-rank[e.from]-1)
	}
	direct := bends > maxBends
	at := make([]int, len(g.nodes)) // node to slot
	for i := range g.nodes {
		at[i] = l.add(rank[i], slot{node: i, width: sizes[i].width})
	}
	through := make([][]int, len(g.edges))
	for i, e := range g.edges {
		last, span := at[e.from], rank[e.to]-rank[e.from]
		if span < 1 || span > 1 && direct { // part of a cycle, or drawn straight
			continue
		}
		for r := rank[e.from] + 1; r < rank[e.to]; r++ {
			bend := l.add(r, slot{node: -1})
			l.link(last, bend)
			through[i] = append(through[i], bend)
			last = bend
		}
		l.link(last, at[e.to])
	}
	l.uncross()
	l.spread()

	out := layout{centres: make([]point, len(g.nodes)), routes: make([][]point, len(g.edges))}
	tops := make([]float64, len(l.layers))
	heights := make([]float64, len(l.layers))
	for r, layer := range l.layers {
		tops[r] = out.height
		for _, s := range layer {
			slot := l.slots[s]
			if slot.node >= 0 {
				heights[r] = max(heights[r], sizes[slot.node].height)
			}
			out.width = max(out.width, slot.x+slot.width/2)
		}
		out.height += heights[r] + gap.layer
	}
	out.height = max(0, out.height-gap.layer)
	for i := range g.nodes {
		out.centres[i] = point{l.slots[at[i]].x, tops[rank[i]] + heights[rank[i]]/2}
	}
	for i, e := range g.edges {
		route := []point{out.centres[e.from]}
		for j, s := range through[i] {
			r := rank[e.from] + 1 + j
			// Straight down through the layer, so that it cannot cut a corner of it.
			route = append(route, point{l.slots[s].x, tops[r]}, point{l.slots[s].x, tops[r] + heights[r]})
		}
		out.routes[i] = append(route, out.centres[e.to])
	}
	return out
}

func (l *layering) add(layer int, s slot) int {
	for len(l.layers) <= layer {
		l.layers = append(l.layers, nil)
	}
	s.order = len(l.layers[layer])
	l.slots = append(l.slots, s)
	l.layers[layer] = append(l.layers[layer], len(l.slots)-1)
	return len(l.slots) - 1
}

func (l *layering) link(from, to int) {
	l.slots[from].down = append(l.slots[from].down, to)
	l.slots[to].up = append(l.slots[to].up, from)
}

// sweeps is how often order and places are improved.
const sweeps = 8

// uncross orders each layer so that edges cross as little as sweeping up and
// down brings about: every slot goes where its neighbours are on average.
func (l *layering) uncross() {
	best, fewest := l.snapshot(), l.crossings()
	for sweep := 0; sweep < sweeps && fewest > 0; sweep++ {
		if sweep%2 == 0 {
			for r := 1; r < len(l.layers); r++ {
				l.sort(r, func(s *slot) []int { return s.up })
			}
		} else {
			for r := len(l.layers) - 2; r >= 0; r-- {
				l.sort(r, func(s *slot) []int { return s.down })
			}
		}
		if n := l.crossings(); n < fewest {
			best, fewest = l.snapshot(), n
		}
	}
	l.layers = best
	for _, layer := range l.layers {
		for i, s := range layer {
			l.slots[s].order = i
		}
	}
}

func (l *layering) snapshot() [][]int {
	layers := make([][]int, len(l.layers))
	for r := range l.layers {
		layers[r] = slices.Clone(l.layers[r])
	}
	return layers
}

func (l *layering) sort(r int, neighbours func(*slot) []int) {
	wanted := make(map[int]float64, len(l.layers[r]))
	for _, s := range l.layers[r] {
		slot := &l.slots[s]
		wanted[s] = float64(slot.order)
		if near := neighbours(slot); len(near) > 0 {
			sum := 0
			for _, n := range near {
				sum += l.slots[n].order
			}
			wanted[s] = float64(sum) / float64(len(near))
		}
	}
	slices.SortStableFunc(l.layers[r], func(a, b int) int { return cmp.Compare(wanted[a], wanted[b]) })
	for i, s := range l.layers[r] {
		l.slots[s].order = i
	}
}

// crossings counts how often edges between neighbouring layers cross, in
// n log n with a Fenwick tree.
func (l *layering) crossings() int {
	total := 0
	for r := 0; r+1 < len(l.layers); r++ {
		tree := make([]int, len(l.layers[r+1])+1)
		seen := 0
		for _, s := range l.layers[r] {
			ends := make([]int, 0, len(l.slots[s].down))
			for _, d := range l.slots[s].down {
				ends = append(ends, l.slots[d].order)
			}
			for _, end := range ends {
				before := 0
				for i := end + 1; i > 0; i -= i & -i {
					before += tree[i]
				}
				total += seen - before
			}
			for _, end := range ends {
				for i := end + 1; i < len(tree); i += i & -i {
					tree[i]++
				}
				seen++
			}
		}
	}
	return total
}

// spread gives every slot its x: near its neighbours, in the order of its
// layer, and apart from the others. The leftmost edge is at 0.
func (l *layering) spread() {
	for _, layer := range l.layers {
		l.place(layer, make([]float64, len(layer)))
	}
	for sweep := range sweeps {
		if sweep%2 == 0 {
			for r := 1; r < len(l.layers); r++ {
				l.pull(r, func(s *slot) [][]int { return [][]int{s.up} })
			}
		} else {
			for r := len(l.layers) - 2; r >= 0; r-- {
				l.pull(r, func(s *slot) [][]int { return [][]int{s.down} })
			}
		}
	}
	for r := range l.layers {
		l.pull(r, func(s *slot) [][]int { return [][]int{s.up, s.down} })
	}
	left := 0.0
	for i, s := range l.slots {
		if edge := s.x - s.width/2; i == 0 || edge < left {
			left = edge
		}
	}
	for i := range l.slots {
		l.slots[i].x -= left
	}
}

// pull moves the slots of a layer to the middle of their neighbours, as far
// as they let each other.
func (l *layering) pull(r int, neighbours func(*slot) [][]int) {
	wanted := make([]float64, len(l.layers[r]))
	for i, s := range l.layers[r] {
		slot := &l.slots[s]
		sum, n := 0.0, 0
		for _, side := range neighbours(slot) {
			for _, other := range side {
				sum += l.slots[other].x
				n++
			}
		}
		wanted[i] = slot.x
		if n > 0 {
			wanted[i] = sum / float64(n)
		}
	}
	l.place(l.layers[r], wanted)
}

// place puts the slots of a layer as close to the wanted places as their order
// and the gaps allow, by least squares: neighbours that want to overlap form a
// block that goes to its average (pool adjacent violators).
func (l *layering) place(layer []int, wanted []float64) {
	type block struct {
		first, count int
		sum          float64
	}
	offset := make([]float64, len(layer)) // where a slot is when all are packed
	for i := 1; i < len(layer); i++ {
		offset[i] = offset[i-1] + l.distance(layer[i-1], layer[i])
	}
	var blocks []block
	for i := range layer {
		b := block{first: i, count: 1, sum: wanted[i] - offset[i]}
		for len(blocks) > 0 {
			last := blocks[len(blocks)-1]
			if last.sum/float64(last.count) <= b.sum/float64(b.count) {
				break
			}
			b = block{first: last.first, count: last.count + b.count, sum: last.sum + b.sum}
			blocks = blocks[:len(blocks)-1]
		}
		blocks = append(blocks, b)
	}
	for _, b := range blocks {
		for i := b.first; i < b.first+b.count; i++ {
			l.slots[layer[i]].x = b.sum/float64(b.count) + offset[i]
		}
	}
}

// distance is how far apart the centres of two neighbours must be.
func (l *layering) distance(a, b int) float64 {
	gap := l.gaps.node
	if l.slots[a].node < 0 || l.slots[b].node < 0 {
		gap = l.gaps.edge
	}
	return (l.slots[a].width+l.slots[b].width)/2 + gap
}
