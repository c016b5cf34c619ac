package checks

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/claimgate/claimgate/bench/internal/results"
)

// Picture writes an SVG: latency through Envoy at a fixed rate, by variant. It is
// readable on a light and on a dark ground.
func (f File) Picture(w io.Writer) error {
	type row struct {
		name          string
		p50, p90, p99 float64
	}
	var rows []row
	longest := 0.0
	for _, name := range f.variants(ProxyOpen) {
		r := row{name: name}
		r.p50, _, _ = f.median(ProxyOpen, name, p50Column.of)
		r.p90, _, _ = f.median(ProxyOpen, name, p90Column.of)
		r.p99, _, _ = f.median(ProxyOpen, name, p99Column.of)
		rows = append(rows, r)
		longest = max(longest, r.p99)
	}
	const width, left, right, top, height = 900, 280, 150, 64, 34
	scale := (width - left - right) / max(longest, 1e-9)
	step := tick(longest)
	bottom := top + height*len(rows)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="14" role="img" aria-label="Latency through Envoy by variant">
<style>
.ground { fill: #ffffff } text { fill: #1f2328 } .faint { fill: #59636e; font-size: 12px } .grid { stroke: #d1d9e0 }
.p50 { fill: #0969da } .p90 { fill: #54aeff } .p99 { fill: #b6e3ff }
@media (prefers-color-scheme: dark) {
.ground { fill: #0d1117 } text { fill: #f0f6fc } .faint { fill: #9198a1 } .grid { stroke: #3d444d }
.p50 { fill: #79c0ff } .p90 { fill: #388bfd } .p99 { fill: #0c4a8f }
}
</style>
<rect class="ground" width="100%%" height="100%%"/>
<text x="16" y="26" font-weight="600">Latency through Envoy, %.0f requests a second</text>
<text class="faint" x="16" y="46">from when a request was due, ms: p50, p90 and p99, medians of %d rounds</text>
`, width, bottom+36, f.Rate, f.Rounds)
	for v := 0.0; v <= longest+step/2; v += step {
		x := left + v*scale
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/><text class="faint" x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			x, top, x, bottom, x, bottom+20, results.Number(v))
	}
	for i, r := range rows {
		y := top + height*i
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">`, left-12, y+height/2+5)
		if err := xml.EscapeText(&b, []byte(r.name)); err != nil {
			return err
		}
		fmt.Fprint(&b, "</text>\n")
		for _, bar := range []struct {
			class  string
			value  float64
			margin int
		}{{"p99", r.p99, 12}, {"p90", r.p90, 9}, {"p50", r.p50, 6}} {
			fmt.Fprintf(&b, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d"/>`, bar.class, left, y+bar.margin, bar.value*scale, height-2*bar.margin)
		}
		fmt.Fprintf(&b, "\n"+`<text class="faint" x="%.1f" y="%d">%s / %s / %s</text>`+"\n", left+r.p99*scale+8, y+height/2+4,
			results.Number(r.p50), results.Number(r.p90), results.Number(r.p99))
	}
	fmt.Fprintln(&b, "</svg>")
	_, err := io.WriteString(w, b.String())
	return err
}

// tick is a round distance of which at most eight go into a length.
func tick(length float64) float64 {
	if length <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(length)))
	for _, part := range []float64{0.1, 0.2, 0.5, 1} {
		if length/(power*part) <= 8 {
			return power * part
		}
	}
	return power * 2
}
