package embedded

import (
	"context"
	"log/slog"
	"net"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/ackwire/ackwire/internal/service"
)

// Option gives Start what the program around it has: a logger, a registry of metrics and the like.
// Where one option is given twice, the last one holds.
type Option func(*options)

// options is what the options of Start say.
type options struct {
	log     *slog.Logger
	metrics Registry
	traces  trace.TracerProvider
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	listen  func(ctx context.Context, network, address string) (net.Listener, error)
}

// Registry is where metrics are registered and read; a *prometheus.Registry is one.
type Registry interface {
	prometheus.Registerer
	prometheus.Gatherer
}

// WithLogger sets the logger of all services, whose lines have the attribute service. Payloads and
// results are never logged. Default, and what nil means: slog.Default().
func WithLogger(log *slog.Logger) Option { return func(o *options) { o.log = log } }

// WithMetrics registers the metrics of all services, named ackwire_…, and shows all that r has at
// /metrics of Config.OpsListen. One registry takes one Ackwire. Default, and what nil means: a
// registry that has the Go runtime's and the process's metrics, too.
func WithMetrics(r Registry) Option { return func(o *options) { o.metrics = r } }

// WithTracerProvider has all services make OpenTelemetry spans. Default, and what nil means: none are
// made, also where otel.SetTracerProvider was called; a job's trace goes on all the same.
func WithTracerProvider(p trace.TracerProvider) Option { return func(o *options) { o.traces = p } }

// WithNetwork sets how all services dial and listen, as in a test's own network. Webhooks are sent
// over the system's network all the same. Default, and what nil means for each: the system's.
func WithNetwork(
	dial func(ctx context.Context, network, address string) (net.Conn, error),
	listen func(ctx context.Context, network, address string) (net.Listener, error),
) Option {
	return func(o *options) { o.dial, o.listen = dial, listen }
}

// chosen returns what the options say, and the default of what they do not.
func chosen(opts []Option) service.Env {
	var o options
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	if o.log == nil {
		o.log = slog.Default()
	}
	env := service.OS(o.log)
	if o.metrics != nil {
		env.Metrics = o.metrics
	}
	if o.dial != nil {
		env.Dial = o.dial
	}
	if o.listen != nil {
		env.Listen = o.listen
	}
	env.Traces = o.traces
	return env
}
