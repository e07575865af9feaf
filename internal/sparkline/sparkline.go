// Package sparkline draws figures as one line of text.
package sparkline

var levels = []rune("▁▂▃▄▅▆▇█")

// Draw returns one character for each value, as high as the value is beside the highest one, and none but
// those of zero and below at the bottom.
func Draw(values []float64) string {
	most := 0.0
	for _, v := range values {
		most = max(most, v)
	}
	out := make([]rune, len(values))
	for i, v := range values {
		level := 0
		if v > 0 {
			level = max(1, int(v/most*float64(len(levels)-1)))
		}
		out[i] = levels[level]
	}
	return string(out)
}
