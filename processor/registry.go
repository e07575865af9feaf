package processor

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/ackwire/ackwire/internal/meter"
)

// registry is where a processor's metrics are registered. Package meter panics where a metric cannot
// be, but a program that gives two processors one registry has an error of New for it.
type registry struct{ prometheus.Registerer }

// Gather implements prometheus.Gatherer for service.Env: only the program around reads its registry.
func (registry) Gather() ([]*dto.MetricFamily, error) { return nil, nil }

// Define implements meter.Definer for a registry that does.
func (r registry) Define(d meter.Definition) {
	if to, ok := r.Registerer.(meter.Definer); ok {
		to.Define(d)
	}
}

// all runs what registers metrics. After an error none of them are registered.
func (r registry) all(register func(prometheus.Registerer)) error {
	try := &attempt{registry: r}
	register(try)
	if try.err == nil {
		return nil
	}
	for _, c := range try.done {
		r.Unregister(c)
	}
	return fmt.Errorf("register metrics: %w", try.err)
}

// attempt is a registry that notes errors.
type attempt struct {
	registry
	done []prometheus.Collector
	err  error
}

// MustRegister implements prometheus.Registerer.
func (a *attempt) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		if err := a.Register(c); err != nil {
			a.err = errors.Join(a.err, err)
			continue
		}
		a.done = append(a.done, c)
	}
}
