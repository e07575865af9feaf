// Package meter makes a service's metrics. They are named ackwire_<service>_<what>_<unit> and registered at
// once. Labels have a fixed set of values that start at 0, so that rates count the first event. Durations are
// in seconds; histograms have classic buckets, and native ones for servers that ask for them.
package meter

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Namespace begins the name of every metric of Ackwire.
const Namespace = "ackwire"

// Types of metrics.
const (
	counter   = "counter"
	gauge     = "gauge"
	histogram = "histogram"
)

// Bounds of native histograms: each bucket is a tenth wider than the one before. A histogram that needs more
// than maxBuckets starts again from nothing, at most once per reset.
const (
	bucketFactor = 1.1
	maxBuckets   = 160
	reset        = time.Hour
)

// Definition describes a metric.
type Definition struct {
	Name, Type, Help string
	Labels           []string
}

// Definer is a registry that is told of each metric that is defined, even before that has a value.
type Definer interface{ Define(Definition) }

// Meter makes the metrics of one service. Each metric may be made only once per registry.
type Meter struct {
	r       prometheus.Registerer
	service string
}

// New returns the meter of a service.
func New(r prometheus.Registerer, service string) Meter { return Meter{r, service} }

func (m Meter) opts(kind, name, help string, labels ...string) prometheus.Opts {
	m.define(kind, name, help, labels)
	return prometheus.Opts{Namespace: Namespace, Subsystem: m.service, Name: name, Help: help}
}

func (m Meter) define(kind, name, help string, labels []string) {
	if d, ok := m.r.(Definer); ok {
		d.Define(Definition{prometheus.BuildFQName(Namespace, m.service, name), kind, help, labels})
	}
}

// Register adds a collector.
func (m Meter) Register(c prometheus.Collector) { m.r.MustRegister(c) }

// Desc returns the description of a gauge for a collector that Register adds.
func (m Meter) Desc(name, help string, labels ...string) *prometheus.Desc {
	m.define(gauge, name, help, labels)
	return prometheus.NewDesc(prometheus.BuildFQName(Namespace, m.service, name), help, labels, nil)
}

// Counter makes a counter.
func (m Meter) Counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts(m.opts(counter, name, help)))
	m.r.MustRegister(c)
	return c
}

// Counters makes counters with one label, one for each of its values.
func (m Meter) Counters(name, help, label string, values ...string) *prometheus.CounterVec {
	v := m.CounterVec(name, help, label)
	for _, value := range values {
		v.WithLabelValues(value)
	}
	return v
}

// CounterVec makes counters with labels. The caller must initialise all label values.
func (m Meter) CounterVec(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts(m.opts(counter, name, help, labels...)), labels)
	m.r.MustRegister(v)
	return v
}

// Gauge makes a gauge.
func (m Meter) Gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts(m.opts(gauge, name, help)))
	m.r.MustRegister(g)
	return g
}

// GaugeFunc makes a gauge whose value is f's result when metrics are read; f must not block.
func (m Meter) GaugeFunc(name, help string, f func() float64) {
	m.r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts(m.opts(gauge, name, help)), f))
}

// GaugeVec makes gauges with labels. The caller must initialise all label values.
func (m Meter) GaugeVec(name, help string, labels ...string) *prometheus.GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts(m.opts(gauge, name, help, labels...)), labels)
	m.r.MustRegister(v)
	return v
}

// Histogram makes a histogram of seconds.
func (m Meter) Histogram(name, help string, buckets []float64) prometheus.Histogram {
	h := prometheus.NewHistogram(m.histogram(name, help, buckets))
	m.r.MustRegister(h)
	return h
}

// HistogramVec makes histograms of seconds with labels. The caller must initialise all label values.
func (m Meter) HistogramVec(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(m.histogram(name, help, buckets, labels...), labels)
	m.r.MustRegister(v)
	return v
}

func (m Meter) histogram(name, help string, buckets []float64, labels ...string) prometheus.HistogramOpts {
	m.define(histogram, name, help, labels)
	return Native(prometheus.HistogramOpts{
		Namespace: Namespace, Subsystem: m.service, Name: name, Help: help, Buckets: buckets,
	})
}

// Native adds native buckets, of a bounded number, to a histogram's options.
func Native(o prometheus.HistogramOpts) prometheus.HistogramOpts {
	o.NativeHistogramBucketFactor, o.NativeHistogramMaxBucketNumber, o.NativeHistogramMinResetDuration = bucketFactor,
		maxBuckets, reset
	return o
}

// Classic buckets, in seconds.
var (
	// Quick is for what should take milliseconds: 0.5 ms to 16 s.
	Quick = prometheus.ExponentialBuckets(0.0005, 2, 16)
	// Slow is for what may take hours: 1 ms to 2 h.
	Slow = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200}
)

// Words returns an enumeration's values as strings, for a label.
func Words[T ~string](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}
