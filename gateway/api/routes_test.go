package api

import (
	"slices"
	"testing"
)

// TestEachRouteHasItsName: the metrics of each endpoint begin at zero, and there are none of endpoints that are not.
func TestEachRouteHasItsName(t *testing.T) {
	d := quietDoor()
	d.cfg.Orders = struct{ Orders }{} // gives none here
	want := []string{otherRoute}
	for _, r := range routesOf(d) {
		for _, e := range r.methods {
			want = append(want, e.name)
		}
	}
	slices.Sort(want)
	want = slices.Compact(want)
	got := slices.Sorted(slices.Values(RouteNames))
	if !slices.Equal(got, want) {
		t.Errorf("names are\n%v, of the routes\n%v", got, want)
	}
}
