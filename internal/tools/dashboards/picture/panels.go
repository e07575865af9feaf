package main

import (
	"context"
	"image/color"
	"math"
	"slices"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

const (
	legendLine  = 17
	legendLines = 3 // names that do not fit are left out
	timeTicks   = 5
)

// figure draws the last value as one number in its threshold's colour, above its course.
func figure(c canvas, f field, l line) {
	last, top := math.NaN(), 0.0
	for _, v := range l.values {
		if !math.IsNaN(v) {
			last, top = v, max(top, v)
		}
	}
	col := named[f.colour(last)]
	if top > 0 {
		course := canvas{draw.Crop(c.Canvas, -padding+1, padding-1, -padding+1, -(c.Max.Y-c.Min.Y)*0.55)}
		curve(course, l.values, nil, top*1.1, col, 50)
	}
	s := style(27, true, col)
	s.XAlign = draw.XCenter
	txt := f.format(last)
	for s.Width(txt) > c.Max.X-c.Min.X && s.Font.Size > 12 {
		s.Font.Size--
	}
	c.FillText(s, vg.Point{X: c.Center().X, Y: c.Min.Y + (c.Max.Y-c.Min.Y)*0.62}, txt)
}

// graph draws time series with axes, and a legend below. It first finds the highest value, for stacked series of
// their sum, then draws the axes, then the series.
func graph(c canvas, s source, f field, lines []line) {
	rows := legend(c, lines)
	c = c.inner(0, 0, vg.Length(rows*legendLine), 0)
	stacked := f.Custom.Stacking.Mode == "normal"
	top := 0.0
	base := make([]float64, len(lines[0].values))
	for _, l := range lines {
		for i, v := range l.values {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				continue
			}
			if stacked {
				base[i] += v
				v = base[i]
			}
			top = max(top, v)
		}
	}
	if top == 0 {
		top = 1
	}
	top *= 1.05

	// The axes: figures on the left, times below.
	var ticks []plot.Tick
	wide := vg.Length(0)
	small := style(11, false, faint)
	for _, t := range (plot.DefaultTicks{}).Ticks(0, top) {
		if !t.IsMinor() {
			ticks = append(ticks, t)
			wide = max(wide, small.Width(f.format(t.Value)))
		}
	}
	area := c.inner(wide+6, 4, 18, 4)
	small.XAlign = draw.XRight
	for _, t := range ticks {
		y := area.Min.Y + vg.Length(t.Value/top)*(area.Max.Y-area.Min.Y)
		area.StrokeLine2(draw.LineStyle{Color: grid, Width: 1}, area.Min.X, y, area.Max.X, y)
		c.FillText(small, vg.Point{X: area.Min.X - 5, Y: y}, f.format(t.Value))
	}
	small.XAlign = draw.XCenter
	for i := range timeTicks {
		part := (float64(i) + 0.5) / timeTicks
		x := area.Min.X + vg.Length(part)*(area.Max.X-area.Min.X)
		area.StrokeLine2(draw.LineStyle{Color: grid, Width: 1}, x, area.Min.Y, x, area.Max.Y)
		at := s.from.Add(time.Duration(part * float64(s.to.Sub(s.from))))
		c.FillText(small, vg.Point{X: x, Y: c.Min.Y + 7}, at.UTC().Format("15:04:05"))
	}

	base = make([]float64, len(lines[0].values))
	for i, l := range lines {
		col := series[i%len(series)]
		if !stacked {
			curve(area, l.values, nil, top, col, 20)
			continue
		}
		if !slices.ContainsFunc(l.values, func(v float64) bool { return v > 0 }) {
			continue // its line would cover the one below
		}
		values := make([]float64, len(l.values))
		for j, v := range l.values {
			if math.IsNaN(v) {
				v = 0
			}
			values[j] = base[j] + v
		}
		curve(area, values, base, top, col, 110)
		base = values
	}
}

// curve draws the known values as lines, filled down to base or to zero. A NaN makes a gap.
func curve(c canvas, values, base []float64, top float64, col color.NRGBA, fill uint8) {
	at := func(i int, v float64) vg.Point {
		return vg.Point{
			X: c.Min.X + vg.Length(float64(i)/float64(len(values)-1))*(c.Max.X-c.Min.X),
			Y: c.Min.Y + vg.Length(min(v/top, 1))*(c.Max.Y-c.Min.Y),
		}
	}
	for from := 0; from < len(values); from++ {
		if math.IsNaN(values[from]) {
			continue
		}
		to := from
		var points []vg.Point
		for ; to < len(values) && !math.IsNaN(values[to]); to++ {
			points = append(points, at(to, values[to]))
		}
		area := append([]vg.Point{}, points...)
		for i := to - 1; i >= from; i-- {
			low := 0.0
			if base != nil {
				low = base[i]
			}
			area = append(area, at(i, low))
		}
		c.FillPolygon(faded(col, fill), area)
		c.StrokeLines(draw.LineStyle{Color: col, Width: 1.4}, points)
		from = to
	}
}

// legend draws the names from left to right and returns the number of lines that they take.
func legend(c canvas, lines []line) (rows int) {
	s := style(11, false, words)
	type place struct {
		x   vg.Length
		row int
	}
	var places []place
	x, row := vg.Length(0), 0
	for _, l := range lines {
		w := s.Width(l.name) + 28
		if x > 0 && x+w > c.Max.X-c.Min.X {
			x, row = 0, row+1
		}
		if row == legendLines {
			break
		}
		places = append(places, place{x, row})
		x += w
	}
	rows = places[len(places)-1].row + 1
	for i, p := range places {
		at := vg.Point{X: c.Min.X + p.x, Y: c.Min.Y + vg.Length(rows-1-p.row)*legendLine + 4}
		c.StrokeLine2(draw.LineStyle{Color: series[i%len(series)], Width: 3}, at.X, at.Y, at.X+12, at.Y)
		c.label(s, vg.Point{X: at.X + 16, Y: at.Y}, lines[i].name, c.Max.X-at.X-16)
	}
	return rows
}

// table draws a table with one row for each value of a label.
func table(ctx context.Context, c canvas, s source, p panel) error {
	label, rows, cells, err := s.cells(ctx, p)
	if err != nil {
		return err
	}
	const lineHeight = 22
	first := (c.Max.X - c.Min.X) * 0.28
	each := (c.Max.X - c.Min.X - first) / vg.Length(len(p.Targets))
	right := func(size float64, bold bool, col color.Color) draw.TextStyle {
		s := style(size, bold, col)
		s.XAlign = draw.XRight
		return s
	}
	y := c.Max.Y - lineHeight/2
	c.label(style(12, true, named["text"]), vg.Point{X: c.Min.X, Y: y}, label, first)
	for i, q := range p.Targets {
		c.FillText(right(12, true, words), vg.Point{X: c.Min.X + first + each*vg.Length(i+1) - 4, Y: y}, q.LegendFormat)
	}
	for _, row := range rows {
		c.StrokeLine2(draw.LineStyle{Color: grid, Width: 1}, c.Min.X, y-lineHeight/2, c.Max.X, y-lineHeight/2)
		y -= lineHeight
		if y < c.Min.Y+lineHeight/2 {
			break
		}
		c.label(style(12, false, words), vg.Point{X: c.Min.X, Y: y}, row, first)
		for i, v := range cells[row] {
			f := p.column(p.Targets[i].LegendFormat)
			c.FillText(right(12, false, named[f.colour(v)]), vg.Point{X: c.Min.X + first + each*vg.Length(i+1) - 4, Y: y},
				f.format(v))
		}
	}
	return nil
}
