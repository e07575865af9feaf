package processor

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/ackwire/ackwire/internal/meter"
)

// registry is the registry for a processor's metrics. Package meter panics if a metric cannot be registered; with
// registry.all, New returns an error instead, such as for a second processor in the same registry.
type registry struct{ prometheus.Registerer }

// Gather implements prometheus.Gatherer, which service.Env requires. It returns nothing: only the program that owns the
// registry gathers its metrics.
func (registry) Gather() ([]*dto.MetricFamily, error) { return nil, nil }

// Define implements meter.Definer if the registry does.
func (r registry) Define(d meter.Definition) {
	if to, ok := r.Registerer.(meter.Definer); ok {
		to.Define(d)
	}
}

// all calls register with a registry that collects errors. After an error none of its metrics are registered.
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

// attempt is a registry that collects errors instead of panicking.
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
