// Package report writes the results of a run as text and as one HTML file, and compares two runs.
package report

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strings"
)

// chart is a plot over points at equal distances: moments of a run, or percentiles.
type chart struct {
	Title, Unit string
	X           []string // text of each point
	Ticks       []int    // indices of the points whose X is written on the axis
	Lines       []line
	Bands       []band
	// Log makes the axis logarithmic. Values of 0 are not drawn then.
	Log bool
}

// line is one value per point; NaN is a gap.
type line struct {
	Name   string
	Values []float64
	Dashed bool
}

// band is a range of points with a name: a phase.
type band struct {
	From, To int
	Name     string
}

// Sizes of the plot, in SVG units.
const (
	chartWidth, chartHeight  = 760, 260
	marginLeft, marginRight  = 58, 12
	marginTop, marginBottom  = 44, 26
	plotWidth                = chartWidth - marginLeft - marginRight
	plotHeight               = chartHeight - marginTop - marginBottom
	legendStep, legendLetter = 26, 6.6
)

// axis maps values to heights.
type axis struct {
	low, high float64
	log       bool
	ticks     []float64
}

func (c chart) axis() axis {
	low, high := math.Inf(1), 0.0
	for _, l := range c.Lines {
		for _, v := range l.Values {
			if math.IsNaN(v) || c.Log && v <= 0 {
				continue
			}
			low, high = min(low, v), max(high, v)
		}
	}
	if math.IsInf(low, 1) || high <= 0 {
		return axis{low: 0, high: 1, ticks: []float64{0, 1}}
	}
	if c.Log {
		a := axis{log: true, low: math.Pow(10, math.Floor(math.Log10(low))), high: math.Pow(10, math.Ceil(math.Log10(high)))}
		if a.high <= a.low {
			a.high = a.low * 10
		}
		for v := a.low; v <= a.high*1.001; v *= 10 {
			a.ticks = append(a.ticks, v)
		}
		return a
	}
	const steps = 4
	step := math.Pow(10, math.Floor(math.Log10(high/steps)))
	for _, m := range []float64{1, 2, 5, 10} {
		if m*step*steps >= high {
			step *= m
			break
		}
	}
	a := axis{}
	for v := 0.0; ; v += step {
		a.ticks = append(a.ticks, v)
		a.high = v
		if v >= high {
			return a
		}
	}
}

// y returns the height of a value; false when it cannot be drawn.
func (a axis) y(v float64) (float64, bool) {
	if math.IsNaN(v) || a.log && v <= 0 {
		return 0, false
	}
	part := (v - a.low) / (a.high - a.low)
	if a.log {
		part = (math.Log10(v) - math.Log10(a.low)) / (math.Log10(a.high) - math.Log10(a.low))
	}
	return marginTop + plotHeight*(1-part), true
}

func (c chart) x(i int) float64 {
	if len(c.X) < 2 {
		return marginLeft + plotWidth/2
	}
	return marginLeft + plotWidth*float64(i)/float64(len(c.X)-1)
}

// SVG returns the chart as SVG, with its texts escaped.
func (c chart) SVG() template.HTML {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	a := c.axis()
	p(`<svg viewBox="0 0 %d %d" role="img" aria-label="%s">`, chartWidth, chartHeight, html.EscapeString(c.Title))
	p(`<text class="title" x="0" y="14">%s</text>`, html.EscapeString(c.Title))
	for i, band := range c.Bands {
		from, to := c.x(band.From), c.x(band.To)
		p(`<rect class="band%d" x="%.1f" y="%d" width="%.1f" height="%d"/>`, i%2, from, marginTop, max(0, to-from),
			plotHeight)
		if to-from > legendLetter*float64(len(band.Name)) {
			p(`<text class="bandname" x="%.1f" y="%d">%s</text>`, (from+to)/2, marginTop+11, html.EscapeString(band.Name))
		}
	}
	for _, v := range a.ticks {
		y, _ := a.y(v)
		p(`<line class="grid" x1="%d" y1="%.1f" x2="%d" y2="%.1f"/>`, marginLeft, y, chartWidth-marginRight, y)
		p(`<text class="ytick" x="%d" y="%.1f">%s</text>`, marginLeft-6, y+3.5, short(v))
	}
	p(`<text class="unit" x="%d" y="%d">%s</text>`, marginLeft-6, marginTop-8, html.EscapeString(c.Unit))
	for _, i := range c.Ticks {
		p(`<text class="xtick" x="%.1f" y="%d">%s</text>`, c.x(i), chartHeight-8, html.EscapeString(c.X[i]))
	}
	c.legend(p)
	for n, l := range c.Lines {
		c.draw(p, a, n, l)
	}
	c.hover(p)
	p(`</svg>`)
	return template.HTML(b.String()) // made of numbers and escaped texts
}

func (c chart) legend(p func(string, ...any)) {
	x := float64(chartWidth - marginRight)
	for n := len(c.Lines) - 1; n >= 0; n-- {
		x -= legendLetter * float64(len(c.Lines[n].Name))
		p(`<text class="legend" x="%.1f" y="14">%s</text>`, x, html.EscapeString(c.Lines[n].Name))
		p(`<line class="l%d%s" x1="%.1f" y1="10" x2="%.1f" y2="10"/>`, n, dashed(c.Lines[n]), x-18, x-4)
		x -= legendStep
	}
}

func dashed(l line) string {
	if l.Dashed {
		return " dashed"
	}
	return ""
}

// draw draws one line, with gaps at NaN. A single point becomes a dot.
func (c chart) draw(p func(string, ...any), a axis, n int, l line) {
	var piece []string
	end := func() {
		switch len(piece) {
		case 0:
		case 1:
			x, y, _ := strings.Cut(piece[0], ",")
			p(`<circle class="l%d" cx="%s" cy="%s" r="1.5"/>`, n, x, y)
		default:
			p(`<polyline class="l%d%s" points="%s"/>`, n, dashed(l), strings.Join(piece, " "))
		}
		piece = nil
	}
	for i, v := range l.Values {
		y, ok := a.y(v)
		if !ok {
			end()
			continue
		}
		piece = append(piece, fmt.Sprintf("%.1f,%.1f", c.x(i), y))
	}
	end()
}

// hover adds tooltips with a point's values, without a script.
func (c chart) hover(p func(string, ...any)) {
	width := plotWidth / float64(max(1, len(c.X)-1))
	for i, x := range c.X {
		text := x
		for _, l := range c.Lines {
			if i < len(l.Values) && !math.IsNaN(l.Values[i]) {
				text += fmt.Sprintf("\n%s: %s %s", l.Name, short(l.Values[i]), c.Unit)
			}
		}
		p(`<rect class="hover" x="%.1f" y="%d" width="%.1f" height="%d"><title>%s</title></rect>`,
			c.x(i)-width/2, marginTop, width, plotHeight, html.EscapeString(text))
	}
}

// short returns a number with about three digits.
func short(v float64) string {
	switch abs := math.Abs(v); {
	case math.IsNaN(v):
		return "–"
	case abs >= 1e6:
		return fmt.Sprintf("%.3gM", v/1e6)
	case abs >= 1e4:
		return fmt.Sprintf("%.3gk", v/1e3)
	case abs >= 100 || v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	case abs >= 10:
		return fmt.Sprintf("%.1f", v)
	case abs >= 0.1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.2g", v)
}
