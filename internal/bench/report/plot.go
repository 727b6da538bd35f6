package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The plot is drawn in pixels, with logarithmic axes: a power of ten is as wide or as high
// as any other.
const (
	plotWidth, plotHeight            = 760, 440
	left, right, top, bottom         = 70, 120, 30, 50
	fewest, powers                   = 1, 7 // keys: from 1 to 10⁷
	cheapest, dearest        float64 = 30, 6000
)

// colors are the lines' colors: they are told apart on white and on black.
var colors = []string{"#d6293e", "#3d7edb", "#1f9d6b", "#c77700", "#9a5bd0", "#0f9bb0", "#c2549d", "#7d8590"}

func x(keys float64) float64 {
	return left + math.Log10(keys/fewest)/powers*(plotWidth-left-right)
}

func y(ns float64) float64 {
	return plotHeight - bottom - math.Log10(ns/cheapest)/math.Log10(dearest/cheapest)*(plotHeight-top-bottom)
}

// plot returns an SVG of the cost of a decision against the number of live keys.
func (m measured) plot() (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">
<title>Cost of a decision against live keys</title>
<style>
text { fill: #1f2328 }
.grid { stroke: #d1d9e0; stroke-width: 1 }
.ground { fill: #ffffff }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .grid { stroke: #3d444d } .ground { fill: #0d1117 } }
</style>
<rect class="ground" width="%d" height="%d"/>
`, plotWidth, plotHeight, plotWidth, plotHeight)
	for p := range powers + 1 {
		at := x(math.Pow10(p))
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			at, top, at, plotHeight-bottom, at, plotHeight-bottom+18, []string{"1", "10", "100", "1,000", "10,000", "100,000", "1 million", "10 million"}[p])
	}
	for _, ns := range []float64{50, 100, 200, 500, 1000, 2000, 5000, 10_000} {
		fmt.Fprintf(&b, `<line class="grid" x1="%d" y1="%.1f" x2="%d" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%.0f ns</text>`+"\n",
			left, y(ns), plotWidth-right, y(ns), left-8, y(ns)+4, ns)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">live keys, asked for at random</text>`+"\n", (left+plotWidth-right)/2, plotHeight-10)
	names, err := m.lines(&b)
	if err != nil {
		return "", err
	}
	b.WriteString(names + "</svg>\n")
	return b.String(), nil
}

// lines draws a line for each contender, and returns the names at their ends.
func (m measured) lines(b *strings.Builder) (string, error) {
	type name struct{ x, y float64 }
	var placed []name
	var names strings.Builder
	for i, who := range limiters {
		var points []string
		var end name
		for p := range powers + 1 {
			keys := int(math.Pow10(p))
			of := "LimitCurve/" + who + "/" + strconv.Itoa(keys)
			if p == powers && len(m.curve[of]) == 0 {
				continue // not measured with as many
			}
			ns, err := m.curve.ns(of)
			if err != nil {
				return "", err
			}
			end = name{x(float64(keys)), y(min(max(ns.median(), cheapest), dearest))}
			points = append(points, fmt.Sprintf("%.1f,%.1f", end.x, end.y))
		}
		width := 1.5
		if i == 0 {
			width = 3
		}
		fmt.Fprintf(b, `<polyline fill="none" stroke="%s" stroke-width="%.1f" points="%s"/>`+"\n", colors[i], width, strings.Join(points, " "))
		for again := true; again; { // names do not cover each other
			again = false
			for _, other := range placed {
				if other.x == end.x && math.Abs(other.y-end.y) < 13 {
					end.y = other.y + 13
					again = true
				}
			}
		}
		placed = append(placed, end)
		fmt.Fprintf(&names, `<text x="%.1f" y="%.1f" style="fill:%s">%s</text>`+"\n", end.x+6, end.y+4, colors[i], who)
	}
	return names.String(), nil
}
