package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// format returns a number as Grafana would write it for the field's unit.
func (f field) format(v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	switch f.Unit {
	case "s":
		return seconds(v)
	case "percentunit":
		return digits(v*100, f.Decimals) + "%"
	case "bytes":
		return scaled(v, 1024, []string{" B", " KiB", " MiB", " GiB", " TiB"})
	case "Bps":
		return scaled(v, 1000, []string{" B/s", " kB/s", " MB/s", " GB/s"})
	case "ops":
		return digits(v, f.Decimals) + " ops/s"
	case "reqps":
		return digits(v, f.Decimals) + " req/s"
	}
	if math.Abs(v) >= 10_000 {
		return scaled(v, 1000, []string{"", " K", " Mil", " Bil"})
	}
	return digits(v, f.Decimals)
}

func seconds(v float64) string {
	switch a := math.Abs(v); {
	case v == 0:
		return "0 s"
	case a < 1e-3:
		return digits(v*1e6, nil) + " µs"
	case a < 1:
		return digits(v*1e3, nil) + " ms"
	case a < 120:
		return digits(v, nil) + " s"
	case a < 7200:
		return digits(v/60, nil) + " min"
	}
	return digits(v/3600, nil) + " h"
}

func scaled(v, base float64, units []string) string {
	i := 0
	for math.Abs(v) >= base && i < len(units)-1 {
		v /= base
		i++
	}
	return digits(v, nil) + units[i]
}

// digits returns a number with three significant digits, or with the given number of decimals.
func digits(v float64, decimals *float64) string {
	if decimals != nil {
		return strconv.FormatFloat(v, 'f', int(*decimals), 64)
	}
	places := 2
	switch a := math.Abs(v); {
	case a >= 100 || a == math.Trunc(a):
		places = 0
	case a >= 10:
		places = 1
	}
	s := fmt.Sprintf("%.*f", places, v)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// colour returns the colour of the last threshold that a value has reached.
func (f field) colour(v float64) string {
	c := "text"
	for _, s := range f.Thresholds.Steps {
		if s.Value == nil || v >= *s.Value {
			c = s.Color
		}
	}
	return c
}
