package sparkline

import "testing"

func TestDraw(t *testing.T) {
	for _, tc := range []struct {
		values []float64
		want   string
	}{
		{nil, ""},
		{[]float64{0, 0}, "▁▁"},
		{[]float64{0, 1, 2, 3, 4, 5, 6, 7}, "▁▂▃▄▅▆▇█"},
		{[]float64{-5, 1e300, 5e299, 1}, "▁█▄▂"},
	} {
		if got := Draw(tc.values); got != tc.want {
			t.Errorf("%v: %s, want %s", tc.values, got, tc.want)
		}
	}
}
