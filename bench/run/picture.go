package run

import (
	"bytes"
	"fmt"
	"html"
	"math"

	"github.com/ssegin/ssegin/bench/servers"
)

// A panel is one group of bars in the picture.
type panel struct {
	workload string
	measure  Measure
	title    string
	unit     string
}

var panels = []panel{
	{"broadcast-1000-64", Rate, "Broadcast to 1,000 streams, up to 64 events ahead", "deliveries/s, more is better"},
	{"fixed-1000-60", CPU, "Broadcast to 1,000 streams, 60 events/s", "µs of CPU a delivery, less is better"},
	{"fixed-1000-60", P99, "Broadcast to 1,000 streams, 60 events/s", "ms from publish to receipt, 99 %, less is better"},
	{"tokens", Rate, "One stream of tokens, each flushed", "events/s, more is better"},
	{"replay", Rate, "1,000 clients return for 1,000 events each", "deliveries/s, more is better"},
	{"idle-10000", Settled, "10,000 idle streams", "KB of memory for each, less is better"},
}

// The picture's measures, in pixels.
const (
	pictureWidth = 960
	margin       = 24
	panelWidth   = (pictureWidth - 3*margin) / 2
	labelWidth   = 136
	valueWidth   = 72
	barHeight    = 14
	barStep      = 21
	headHeight   = 48
	noteStep     = 18
)

// Colours that are told apart on white and on black; the text follows the reader's scheme.
const pictureStyle = `
text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #24292f; }
.title { font-weight: 600; font-size: 13px; }
.unit, .note { fill: #6e7781; }
.floor { fill: #9aa4af; } .own { fill: #2f81f7; } .peer { fill: #d29922; }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3; } .unit, .note { fill: #8d96a0; } }
`

// picture draws as SVG the panels for which there are values, two in a row.
func (r Results) picture() []byte {
	var body bytes.Buffer
	panelHeight := headHeight + len(r.Config.Servers)*barStep + margin
	drawn := 0
	for _, p := range panels {
		if bars := r.bars(p); len(bars) > 0 {
			p.draw(&body, margin+drawn%2*(panelWidth+margin), margin+drawn/2*panelHeight, bars)
			drawn++
		}
	}
	y := margin + (drawn+1)/2*panelHeight
	for _, note := range []string{
		"grey: floors, the least code that can do it · blue: ssegin · amber: other libraries",
		r.Machine.String(),
	} {
		fmt.Fprintf(&body, `<text class="note" x="%d" y="%d">%s</text>`+"\n", margin, y, html.EscapeString(note))
		y += noteStep
	}
	var svg bytes.Buffer
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img">`+"\n", pictureWidth, y)
	fmt.Fprintf(&svg, "<title>Event-stream servers side by side</title>\n<style>%s</style>\n%s</svg>\n", pictureStyle, &body)
	return svg.Bytes()
}

type bar struct {
	name  string
	kind  servers.Kind
	value float64
}

// bars are the servers that have a value for p.
func (r Results) bars(p panel) []bar {
	var bars []bar
	for _, e := range r.Config.Servers {
		if result, ok := r.Of[p.workload][e.Name]; ok && !math.IsNaN(result.Values[p.measure]) {
			bars = append(bars, bar{e.Name, e.Kind, result.Values[p.measure]})
		}
	}
	return bars
}

func (p panel) draw(b *bytes.Buffer, x, y int, bars []bar) {
	fmt.Fprintf(b, `<text class="title" x="%d" y="%d">%s</text>`+"\n", x, y+12, html.EscapeString(p.title))
	fmt.Fprintf(b, `<text class="unit" x="%d" y="%d">%s</text>`+"\n", x, y+29, html.EscapeString(p.unit))
	top := 0.0
	for _, bar := range bars {
		top = max(top, bar.value)
	}
	for i, bar := range bars {
		y := y + headHeight - 8 + i*barStep
		length := max(1, bar.value/max(top, math.SmallestNonzeroFloat64)*(panelWidth-labelWidth-valueWidth))
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, x+labelWidth-8, y+barHeight-3, html.EscapeString(bar.name))
		fmt.Fprintf(b, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>`, bar.kind, x+labelWidth, y, length, barHeight)
		fmt.Fprintf(b, `<text x="%.1f" y="%d">%s</text>`+"\n", float64(x+labelWidth)+length+6, y+barHeight-3, p.measure.format(bar.value))
	}
}
