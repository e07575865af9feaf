package main

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/color/palette"
	imagedraw "image/draw"
	"image/png"
	"os"

	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/font/liberation"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// Lengths in pixels: points at 72 dots per inch.
const (
	column  = 66
	unit    = 34 // of the grid's height
	gap     = 8
	margin  = 12
	header  = 44
	padding = 10
)

// The dark theme's colours.
var (
	background = rgb(0x111217)
	surface    = rgb(0x181b1f)
	border     = rgb(0x2c3036)
	words      = rgb(0xd0d0da)
	faint      = rgb(0x8e8e99)
	grid       = rgb(0x282b31)
	named      = map[string]color.NRGBA{
		"green": rgb(0x73bf69), "orange": rgb(0xff9830), "red": rgb(0xf2495c), "text": words,
	}
	series = []color.NRGBA{
		rgb(0x73bf69), rgb(0xf2cc0c), rgb(0x8ab8ff), rgb(0xff780a), rgb(0xf2495c), rgb(0x5794f2), rgb(0xb877d9), rgb(
			0x705da0),
		rgb(0x37872d), rgb(0xfade2a), rgb(0x447ebc), rgb(0xc15c17), rgb(0x890f02), rgb(0x0a437c), rgb(0x6d1f62), rgb(
			0x56a64b),
	}
)

func rgb(c uint32) color.NRGBA {
	return color.NRGBA{R: uint8(c >> 16), G: uint8(c >> 8), B: uint8(c), A: 255}
}

func faded(c color.NRGBA, alpha uint8) color.NRGBA { c.A = alpha; return c }

var fonts = text.Plain{Fonts: font.NewCache(liberation.Collection())}

// style returns the style of a text.
func style(size float64, bold bool, c color.Color) draw.TextStyle {
	f := font.Font{Typeface: "Liberation", Variant: "Sans", Size: font.Length(size)}
	if bold {
		f.Weight = 3 // semi-bold and above selects the bold face
	}
	return draw.TextStyle{Font: f, Color: c, Handler: fonts, YAlign: draw.YCenter}
}

// canvas draws within a rectangle; y grows upwards.
type canvas struct{ draw.Canvas }

func (c canvas) box(fill, stroke color.Color) {
	corners := []vg.Point{c.Min, {X: c.Max.X, Y: c.Min.Y}, c.Max, {X: c.Min.X, Y: c.Max.Y}}
	c.FillPolygon(fill, corners)
	if stroke != nil {
		c.StrokeLines(draw.LineStyle{Color: stroke, Width: 1}, append(corners, c.Min))
	}
}

// inner returns the part within distances from the left, right, bottom and top.
func (c canvas) inner(left, right, bottom, top vg.Length) canvas {
	return canvas{draw.Crop(c.Canvas, left, -right, bottom, -top)}
}

// label writes a text, shortened to the room.
func (c canvas) label(s draw.TextStyle, at vg.Point, txt string, room vg.Length) {
	for runes := []rune(txt); s.Width(txt) > room && len(runes) > 1; {
		runes = runes[:len(runes)-1]
		txt = string(runes) + "…"
	}
	c.FillText(s, at, txt)
}

// drawBoard writes a dashboard's picture and returns the file's size.
func drawBoard(ctx context.Context, s source, d dashboard, file string) (int, error) {
	rows := 0
	for _, p := range d.Panels {
		rows = max(rows, p.GridPos.Y+p.GridPos.H)
	}
	width, height := vg.Length(24*column+2*margin), vg.Length(rows*unit+header+margin)
	img := vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(72), vgimg.UseBackgroundColor(background))
	page := canvas{draw.New(img)}
	page.FillText(style(20, true, words), vg.Point{X: margin + 4, Y: height - header/2}, d.Title)
	when := style(13, false, faint)
	when.XAlign = draw.XRight
	page.FillText(when, vg.Point{X: width - margin - 4, Y: height - header/2}, s.from.UTC().Format("15:04:05")+" to "+
		s.to.UTC().Format("15:04:05")+" UTC")
	for _, p := range d.Panels {
		g := p.GridPos
		left, top := vg.Length(margin+g.X*column), vg.Length(header+g.Y*unit)
		c := page.inner(left, width-left-vg.Length(g.W*column)+gap, height-top-vg.Length(g.H*unit)+gap, top)
		if err := drawPanel(ctx, c, s, p); err != nil {
			return 0, err
		}
	}
	return save(img.Image(), file)
}

func drawPanel(ctx context.Context, c canvas, s source, p panel) error {
	if p.Type == "row" {
		c.label(style(15, true, words), vg.Point{X: c.Min.X + 4, Y: (c.Min.Y + c.Max.Y) / 2}, p.Title, c.Max.X-c.Min.X)
		return nil
	}
	c.box(surface, border)
	c.label(style(13, true, words), vg.Point{X: c.Min.X + padding, Y: c.Max.Y - 16}, p.Title, c.Max.X-c.Min.X-2*padding)
	body := c.inner(padding, padding, padding, 30)
	if p.Type == "table" {
		return table(ctx, body, s, p)
	}
	found, err := s.lines(ctx, p)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		none := style(14, false, faint)
		none.XAlign = draw.XCenter
		body.FillText(none, body.Center(), "No data")
		return nil
	}
	if p.Type == "stat" {
		figure(body, p.FieldConfig.Defaults, found[0])
		return nil
	}
	graph(body, s, p.FieldConfig.Defaults, found)
	return nil
}

// save writes the picture with a palette, which makes the file small, and returns its size.
func save(img image.Image, file string) (int, error) {
	colours := color.Palette{background, surface, border, words, faint, grid}
	for _, c := range append(append([]color.NRGBA{}, series...), named["orange"], named["red"]) {
		for _, over := range []color.NRGBA{surface} {
			for _, alpha := range []float64{0.1, 0.25, 0.45, 0.7, 1} {
				colours = append(colours, blend(c, over, alpha))
			}
		}
	}
	for _, c := range []color.NRGBA{words, faint} { // the edges of letters
		for _, over := range []color.NRGBA{surface, background} {
			for alpha := 0.125; alpha < 1; alpha += 0.125 {
				colours = append(colours, blend(c, over, alpha))
			}
		}
	}
	for _, c := range palette.WebSafe {
		if len(colours) < 256 {
			colours = append(colours, c)
		}
	}
	flat := image.NewPaletted(img.Bounds(), colours)
	imagedraw.Draw(flat, img.Bounds(), img, image.Point{}, imagedraw.Src)
	var buf bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&buf, flat); err != nil {
		return 0, err
	}
	return buf.Len(), os.WriteFile(file, buf.Bytes(), 0o644)
}

func blend(c, over color.NRGBA, alpha float64) color.NRGBA {
	mix := func(a, b uint8) uint8 { return uint8(float64(a)*alpha + float64(b)*(1-alpha)) }
	return color.NRGBA{R: mix(c.R, over.R), G: mix(c.G, over.G), B: mix(c.B, over.B), A: 255}
}
