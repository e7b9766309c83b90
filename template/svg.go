package template

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"golang.org/x/text/width"
)

// SVG draws the template, or with states the task, as an image that browsers
// show, in the colours of the reader's light or dark theme. The same template
// always gives the same bytes. The error is that of writing.
func (t *Template) SVG(w io.Writer, states map[string]string) error {
	return t.SVGView(w, View{States: states})
}

// SVGView is SVG with annotations.
func (t *Template) SVGView(w io.Writer, v View) error {
	b := bufio.NewWriter(w)
	t.graph(v).svg(b)
	return flush(b, "SVG graph")
}

// Measures of the drawing, in pixels. The font is monospaced, so that the
// width of a text is known wherever the image is shown.
const (
	svgMargin     = 24
	svgFont       = 13
	svgSmallFont  = 11
	svgAdvance    = 0.61 // width of a character per font size, rounded up
	svgLine       = 16
	svgPadX       = 16
	svgPadY       = 12
	svgSlant      = 14 // of a parallelogram
	svgBar        = 7  // of a batch worker's double sides
	svgMaxText    = 44 // characters of a name or a remark
	svgArrow      = 7
	svgMinWidth   = 96
	svgLayerGap   = 46
	svgNodeGap    = 28
	svgEdgeGap    = 20
	svgBackOffset = 36 // how far to the side an edge of a cycle goes
)

// svgNode is a node with its texts and the room they take.
type svgNode struct {
	graphNode
	lines []string // the first is the name
	size  size
}

func (g *graph) svg(b *bufio.Writer) {
	nodes := make([]svgNode, len(g.nodes))
	sizes := make([]size, len(g.nodes))
	for i, n := range g.nodes {
		nodes[i] = newSVGNode(n)
		sizes[i] = nodes[i].size
	}
	l := g.arrange(sizes, gaps{node: svgNodeGap, edge: svgEdgeGap, layer: svgLayerGap})
	wide, high := l.width, l.height
	for i, e := range g.edges {
		if l.centres[e.to].y <= l.centres[e.from].y {
			wide = max(wide, sideOf(l, sizes, g.edges[i])+svgArrow)
		}
	}
	wide, high = max(wide, svgMinWidth)+2*svgMargin, high+2*svgMargin
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" width="%s" height="%s" viewBox="0 0 %s %s" role="img" aria-label="%s">`+"\n",
		px(wide), px(high), px(wide), px(high), xmlText("Steps of "+g.key))
	fmt.Fprintf(b, "<title>%s</title>\n", xmlText(g.key))
	b.WriteString(svgStyle())
	fmt.Fprintf(b, `<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="%d" markerHeight="%d" orient="auto">`+
		`<path class="head" d="M0 1 10 5 0 9Z"/></marker></defs>`+"\n", svgArrow, svgArrow)
	fmt.Fprintf(b, `<g transform="translate(%d %d)">`+"\n", svgMargin, svgMargin)
	for i, e := range g.edges {
		dash := ""
		if e.dashed {
			dash = " dashed"
		}
		fmt.Fprintf(b, `<path class="edge%s" marker-end="url(#arrow)" d="%s"/>`+"\n", dash, g.svgRoute(i, l, sizes))
	}
	for i, n := range nodes {
		n.draw(b, l.centres[i])
	}
	b.WriteString("</g>\n</svg>\n")
}

func newSVGNode(n graphNode) svgNode {
	s := svgNode{graphNode: n, lines: []string{shorten(n.name)}}
	switch {
	case n.note != "":
		s.lines = append(s.lines, shorten("⚠ "+n.note))
	case n.state != "":
		s.lines = append(s.lines, strings.ReplaceAll(n.state, "_", " "))
	case n.kind != Standard:
		s.lines = append(s.lines, strings.ReplaceAll(string(n.kind), "_", " "))
	}
	for i, line := range s.lines {
		font := float64(svgFont)
		if i > 0 {
			font = svgSmallFont
		}
		s.size.width = max(s.size.width, math.Ceil(float64(cells(line))*font*svgAdvance))
	}
	s.size.width = max(s.size.width+2*svgPadX, svgMinWidth)
	s.size.height = float64(len(s.lines)*svgLine + 2*svgPadY)
	switch n.kind {
	case Decision: // a rhombus has its full width in the middle only
		s.size.width += 2 * svgPadX * float64(1+len(s.lines))
		s.size.height += float64(svgLine * (1 + len(s.lines)))
	case DeferredConvergence, Batchable:
		s.size.width += 2 * svgSlant
	case BatchWorker:
		s.size.width += 2 * svgBar
	}
	return s
}

// draw writes shape and texts around a centre.
func (n *svgNode) draw(b *bufio.Writer, at point) {
	fmt.Fprintf(b, `<g class="node %s"><title>%s</title>`, n.class, xmlText(n.about()))
	left, top := at.x-n.size.width/2, at.y-n.size.height/2
	right, bottom := at.x+n.size.width/2, at.y+n.size.height/2
	polygon := func(points ...float64) {
		texts := make([]string, len(points))
		for i, p := range points {
			texts[i] = px(p)
		}
		fmt.Fprintf(b, `<polygon points="%s"/>`, strings.Join(texts, " "))
	}
	radius := 0
	switch n.kind {
	case Decision:
		polygon(at.x, top, right, at.y, at.x, bottom, left, at.y)
	case DeferredConvergence, Batchable:
		polygon(left+svgSlant, top, right, top, right-svgSlant, bottom, left, bottom)
	default:
		if n.kind == Standard {
			radius = 6
		}
		fmt.Fprintf(b, `<rect x="%s" y="%s" width="%s" height="%s" rx="%d"/>`,
			px(left), px(top), px(n.size.width), px(n.size.height), radius)
	}
	if n.kind == BatchWorker {
		fmt.Fprintf(b, `<path d="M%s %sV%sM%s %sV%s"/>`, px(left+svgBar), px(top), px(bottom), px(right-svgBar), px(top), px(bottom))
	}
	// The first baseline such that the lines are in the middle.
	y := at.y - float64(len(n.lines)-1)*svgLine/2 + svgFont*0.35
	for i, line := range n.lines {
		class := ""
		if i > 0 {
			class = ` class="small"`
		}
		fmt.Fprintf(b, `<text%s x="%s" y="%s">%s</text>`, class, px(at.x), px(y+float64(i*svgLine)), xmlText(line))
	}
	b.WriteString("</g>\n")
}

// about is what pointing at the node tells.
func (n *svgNode) about() string {
	lines := []string{n.name, strings.ReplaceAll(string(n.kind), "_", " ")}
	if n.state != "" {
		lines = append(lines, n.state)
	}
	if n.handler != "" {
		lines = append(lines, n.handler)
	}
	if n.note != "" {
		lines = append(lines, n.note)
	}
	return strings.Join(lines, "\n")
}

// svgRoute is the path of an edge: curves that leave and arrive vertically.
func (g *graph) svgRoute(i int, l layout, sizes []size) string {
	e, route := g.edges[i], l.routes[i]
	from, to := route[0], route[len(route)-1]
	if to.y <= from.y {
		return backRoute(e, l, sizes)
	}
	from.y += sizes[e.from].height / 2
	to.y -= sizes[e.to].height / 2
	inner := route[1 : len(route)-1]
	var b strings.Builder
	fmt.Fprintf(&b, "M%s %s", px(from.x), px(from.y))
	at := from
	curve := func(p point) {
		if px(at.x) == px(p.x) {
			fmt.Fprintf(&b, "V%s", px(p.y))
		} else {
			mid := (at.y + p.y) / 2
			fmt.Fprintf(&b, "C%s %s %s %s %s %s", px(at.x), px(mid), px(p.x), px(mid), px(p.x), px(p.y))
		}
		at = p
	}
	for j := 0; j < len(inner); j += 2 {
		curve(inner[j])
		curve(inner[j+1])
	}
	curve(to)
	return b.String()
}

// backRoute is the path of an edge that leads up: around the right of both.
func backRoute(e graphEdge, l layout, sizes []size) string {
	from, to := l.centres[e.from], l.centres[e.to]
	from.x += sizes[e.from].width / 2
	to.x += sizes[e.to].width / 2
	side := sideOf(l, sizes, e)
	if e.from == e.to {
		from.y += sizes[e.from].height / 4
		to.y -= sizes[e.to].height / 4
	}
	return fmt.Sprintf("M%s %sC%s %s %s %s %s %s", px(from.x), px(from.y), px(side), px(from.y), px(side), px(to.y), px(to.x), px(to.y))
}

func sideOf(l layout, sizes []size, e graphEdge) float64 {
	return max(l.centres[e.from].x+sizes[e.from].width/2, l.centres[e.to].x+sizes[e.to].width/2) + svgBackOffset
}

func svgStyle() string {
	var b, dark strings.Builder
	b.WriteString("<style>\n")
	fmt.Fprintf(&b, "text{font:%dpx ui-monospace,SFMono-Regular,Menlo,Consolas,\"DejaVu Sans Mono\",monospace;fill:#24292f;text-anchor:middle}\n", svgFont)
	fmt.Fprintf(&b, ".small{font-size:%dpx;fill:#57606a}\n", svgSmallFont)
	b.WriteString(".edge{fill:none;stroke:#8c959f;stroke-width:1.5}\n.dashed{stroke-dasharray:5 4}\n.head{fill:#8c959f}\n.node path{fill:none}\n")
	for _, p := range palettes() {
		dash := ""
		if p.class == classUntraversed {
			dash = ";stroke-dasharray:5"
		}
		fmt.Fprintf(&b, ".%s{fill:%s;stroke:%s;stroke-width:1.5%s}\n", p.class, p.fill, p.stroke, dash)
		fmt.Fprintf(&dark, ".%s{fill:%s}", p.class, p.dark)
	}
	b.WriteString("text{stroke:none}\n")
	fmt.Fprintf(&b, "@media (prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9da7b3}%s.default{stroke:#9da7b3}.untraversed{stroke:#444c56}}\n", dark.String())
	b.WriteString("</style>\n")
	return b.String()
}

// px is a length to a tenth of a pixel.
func px(v float64) string {
	return strconv.FormatFloat(math.Round(v*10)/10+0, 'f', -1, 64)
}

// cells is the width of text in characters of a monospaced font.
func cells(s string) int {
	n := 0
	for _, r := range s {
		switch width.LookupRune(r).Kind() {
		case width.EastAsianWide, width.EastAsianFullwidth:
			n += 2
		default:
			n++
		}
	}
	return n
}

func shorten(s string) string {
	s = oneLine(s)
	if runes := []rune(s); len(runes) > svgMaxText {
		return string(runes[:svgMaxText-1]) + "…"
	}
	return s
}

// xmlText writes text as XML content or as an attribute in double quotes.
// What no XML document may contain is replaced.
func xmlText(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || r >= ' ' && r < 0x7f || r >= 0xa0 && r <= 0xd7ff || r >= 0xe000 && r != 0xfffe && r != 0xffff {
			return r
		}
		return '\ufffd'
	}, s)
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "\n", "&#10;", "\t", "&#9;").Replace(s)
}
