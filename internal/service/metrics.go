package service

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/internal/service/version"
)

// Bounds of reading metrics.
const (
	maxScrapes    = 4 // at a time; more are answered 503
	scrapeTimeout = 10 * time.Second
)

// NewRegistry returns a registry that holds the Go runtime's and the process's metrics.
func NewRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector())
	return r
}

// metricsHandler serves a registry as text, as OpenMetrics or, with native histograms, as protobuf, as the
// client's Accept header asks for.
func metricsHandler(r Metrics) http.Handler {
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{
		Registry: r, EnableOpenMetrics: true, MaxRequestsInFlight: maxScrapes, Timeout: scrapeTimeout,
	})
}

// states has two metrics of each service in a process: its build, and whether it is ready when metrics are
// read.
type states struct {
	parts        map[string]Ready
	build, ready *prometheus.Desc
}

func newStates(m meter.Meter, parts map[string]Ready) *states {
	return &states{
		parts: parts,
		build: m.Desc("build_info", "Always 1: which build each service of this process is.", "service", "version",
			"revision", "goversion"),
		ready: m.Desc("ready", "1 while the service takes work, else 0; /readyz says why not.", "service"),
	}
}

// Describe implements prometheus.Collector.
func (s *states) Describe(c chan<- *prometheus.Desc) { c <- s.build; c <- s.ready }

// Collect implements prometheus.Collector.
func (s *states) Collect(c chan<- prometheus.Metric) {
	v := version.Get()
	for name, ready := range s.parts {
		value := 1.0
		if ready() != nil {
			value = 0
		}
		c <- prometheus.MustNewConstMetric(s.build, prometheus.GaugeValue, 1, name, v.Version, v.Revision, v.Go)
		c <- prometheus.MustNewConstMetric(s.ready, prometheus.GaugeValue, value, name)
	}
}
