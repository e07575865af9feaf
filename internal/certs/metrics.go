package certs

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/internal/meter"
)

// watched is what the metrics show of a source.
type watched interface {
	Setting() string
	Files() []string
	Ends() time.Time
	Err() error
}

// collector has the metrics of all sources of one registry. Reading the metrics also looks at the files, so that they
// are right for files that are seldom used.
type collector struct {
	ends, unusable *prometheus.Desc

	mu      sync.Mutex // guards sources
	sources []watched
}

// Define registers the metrics of files. Sources do so themselves; it is for lists of all metrics.
func Define(r prometheus.Registerer) error {
	_, err := collectorOf(r)
	return err
}

// collectorOf returns the registry's collector, which it makes if there is none yet.
func collectorOf(r prometheus.Registerer) (*collector, error) {
	m := meter.New(r, "")
	c := &collector{
		ends: m.Desc("certificate_end_timestamp_seconds",
			"When the certificate that is in use ends, as Unix time, by the setting that names its file.", "setting"),
		unusable: m.Desc("file_unusable",
			"1 while the file of a setting cannot be used and its former content stays in use, else 0.", "setting"),
	}
	if err := r.Register(c); err != nil {
		have, ok := errors.AsType[prometheus.AlreadyRegisteredError](err)
		if !ok {
			return nil, fmt.Errorf("metrics of files: %w", err)
		}
		return have.ExistingCollector.(*collector), nil
	}
	return c, nil
}

// add makes the metrics show a source.
func (c *collector) add(s watched) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sources = append(c.sources, s)
}

// find returns the source of a setting's files that c has.
func find[T any](c *collector, setting string, files []string) (*Source[T], bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sources {
		if have, ok := s.(*Source[T]); ok && s.Setting() == setting && slices.Equal(s.Files(), files) {
			return have, true
		}
	}
	return nil, false
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(d chan<- *prometheus.Desc) { d <- c.ends; d <- c.unusable }

// Collect implements prometheus.Collector. A setting that several parts of a process have read is shown once: with the
// earliest end, and as unusable if it is for one of them.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ends, unusable := map[string]time.Time{}, map[string]float64{}
	for _, s := range c.sources {
		name := s.Setting()
		if at := s.Ends(); !at.IsZero() && (ends[name].IsZero() || at.Before(ends[name])) {
			ends[name] = at
		}
		if s.Err() != nil {
			unusable[name] = 1
		} else {
			unusable[name] += 0
		}
	}
	for name, at := range ends {
		out <- prometheus.MustNewConstMetric(c.ends, prometheus.GaugeValue, float64(at.Unix()), name)
	}
	for name, v := range unusable {
		out <- prometheus.MustNewConstMetric(c.unusable, prometheus.GaugeValue, v, name)
	}
}
