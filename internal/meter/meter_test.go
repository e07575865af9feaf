package meter

import (
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// definer notes what is defined in it.
type definer struct {
	*prometheus.Registry
	defined []Definition
}

func (d *definer) Define(def Definition) { d.defined = append(d.defined, def) }

// everything makes a metric of each kind.
func everything(m Meter) {
	m.Counter("things_total", "Things.")
	m.Counters("kinds_total", "Things by kind.", "kind", "a", "b")
	m.Gauge("rooms", "Rooms.")
	m.GaugeFunc("doors", "Doors.", func() float64 { return 2 })
	m.GaugeVec("windows", "Windows.", "room").WithLabelValues("kitchen").Set(1)
	m.Histogram("walk_seconds", "Walks.", Quick).Observe(1)
	m.HistogramVec("stay_seconds", "Stays.", Slow, "room").WithLabelValues("kitchen").Observe(1)
}

func TestWhatIsMadeIsFitToBeShown(t *testing.T) {
	r := &definer{Registry: prometheus.NewPedanticRegistry()}
	everything(New(r, "house"))
	problems, err := testutil.GatherAndLint(r)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if len(families) != len(r.defined) {
		t.Errorf("%d metrics are shown, %d defined", len(families), len(r.defined))
	}
	for _, f := range families {
		i := slices.IndexFunc(r.defined, func(d Definition) bool { return d.Name == f.GetName() })
		if i < 0 {
			t.Errorf("%s was not defined", f.GetName())
			continue
		}
		d := r.defined[i]
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		if d.Help != f.GetHelp() || !slices.Equal(d.Labels, labels) || map[string]string{"COUNTER": counter, "GAUGE": gauge,
			"HISTOGRAM": histogram}[f.GetType().String()] != d.Type {
			t.Errorf("%s is shown as %s %q %v, and was defined as %+v", f.GetName(), f.GetType(), f.GetHelp(), labels, d)
		}
	}
}

// TestHistogramsAreNativeToo: a histogram has both kinds of buckets, and a bounded number of
// either.
func TestHistogramsAreNativeToo(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	h := New(r, "house").Histogram("walk_seconds", "Walks.", Quick)
	for d := time.Microsecond; d < 1000*time.Hour; d += d/50 + 1 {
		h.Observe(d.Seconds())
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := families[0].GetMetric()[0].GetHistogram()
	native := 0
	for _, span := range got.GetPositiveSpan() {
		native += int(span.GetLength())
	}
	if got.Schema == nil || native == 0 || native > maxBuckets {
		t.Errorf("%d native buckets, schema %v", native, got.Schema)
	}
	if n := len(got.GetBucket()); n != len(Quick) {
		t.Errorf("%d classic buckets", n)
	}
}
