package embedded

import (
	"context"
	"log/slog"
	"net"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/ackwire/ackwire/internal/service"
)

// Option sets what Start takes from the program around it, such as a logger or a registry of metrics. Of two options of
// one kind the last counts.
type Option func(*options)

// options holds the values of Start's options.
type options struct {
	log     *slog.Logger
	metrics Registry
	traces  trace.TracerProvider
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	listen  func(ctx context.Context, network, address string) (net.Listener, error)
}

// Registry registers metrics and reads them, as a *prometheus.Registry does.
type Registry interface {
	prometheus.Registerer
	prometheus.Gatherer
}

// WithLogger sets the logger of all services, whose messages have the attribute service. Payloads and results are never
// logged. The default, also for nil, is slog.Default().
func WithLogger(log *slog.Logger) Option { return func(o *options) { o.log = log } }

// WithMetrics registers the metrics of all services, named ackwire_…, in r, and serves all metrics of r at /metrics of
// Config.OpsListen. Two servers cannot share one registry. The default, also for nil, is a new registry that has the
// metrics of the Go runtime and the process, too.
func WithMetrics(r Registry) Option { return func(o *options) { o.metrics = r } }

// WithTracerProvider makes all services create OpenTelemetry spans with p. By default, also for nil, they create none,
// even after otel.SetTracerProvider; a client's trace is still passed on to the job's handler.
func WithTracerProvider(p trace.TracerProvider) Option { return func(o *options) { o.traces = p } }

// WithNetwork sets the functions with which all services dial and listen, for tests with a network of their own.
// Webhooks are always sent over the operating system's network, which is the default for each function that is nil.
func WithNetwork(
	dial func(ctx context.Context, network, address string) (net.Conn, error),
	listen func(ctx context.Context, network, address string) (net.Listener, error),
) Option {
	return func(o *options) { o.dial, o.listen = dial, listen }
}

// chosen returns the services' environment by the options, with defaults for the others.
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
