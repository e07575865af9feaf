// Package export sends a process's trace spans to an OpenTelemetry collector. Only commands use it; services
// get a tracer provider, or none, in their service.Env.
package export

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/internal/tracing"
)

// Config says where spans are sent and how many are sampled. A command embeds it.
type Config struct {
	TraceEndpoint string  `help:"Collector to send trace spans to, by OTLP over HTTP, such as http://127.0.0.1:4318. Without it no spans are made. The variables OTEL_EXPORTER_OTLP_… work, too." placeholder:"URL"`
	TraceRatio    float64 `help:"Share of traces to sample, from 0 to 1: of those that begin here or at a client. A trace that comes with a Kafka record is sampled if the record says so." default:"0.01"`
}

// Validate joins all problems of the configuration.
func (c Config) Validate() error {
	var problems []error
	if c.TraceEndpoint != "" {
		if _, err := service.HTTPURL(c.TraceEndpoint); err != nil {
			problems = append(problems, fmt.Errorf("trace-endpoint must be an http(s) URL, not %q",
				service.Redact(c.TraceEndpoint)))
		}
	}
	if !(c.TraceRatio >= 0 && c.TraceRatio <= 1) {
		problems = append(problems, fmt.Errorf("trace-ratio must be between 0 and 1, not %v", c.TraceRatio))
	}
	return errors.Join(problems...)
}

// Bounds of the spans that wait to be sent. Spans above them are dropped, so that nothing waits for the
// collector.
const (
	maxQueue      = 8192 // spans
	maxBatch      = 512
	batchEvery    = 2 * time.Second
	exportTimeout = 10 * time.Second // of one batch
	flushTimeout  = 3 * time.Second  // of all spans that wait when the process ends
)

// Start makes the process's tracer provider, if an endpoint is configured, and puts it into env. The function
// that it returns must be called at the end: it sends the spans that wait, within flushTimeout.
func (c Config) Start(name string, env *service.Env) (flush func(), err error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.TraceEndpoint == "" {
		return func() {}, nil
	}
	exporter, err := otlptracehttp.New(context.Background(), otlptracehttp.WithEndpointURL(endpoint(c.TraceEndpoint)))
	if err != nil {
		return nil, fmt.Errorf("trace exporter: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(logged(env.Log)))
	p := sdk.NewTracerProvider(
		sdk.WithBatcher(exporter, sdk.WithMaxQueueSize(maxQueue), sdk.WithMaxExportBatchSize(maxBatch),
			sdk.WithBatchTimeout(batchEvery), sdk.WithExportTimeout(exportTimeout)),
		sdk.WithSampler(Sampler(c.TraceRatio)),
		sdk.WithResource(described(name)),
	)
	env.Traces = p
	log := env.Log
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
		defer cancel()
		if err := p.Shutdown(ctx); err != nil {
			log.Warn("spans not sent", "err", err)
		}
	}, nil
}

// Sampler returns a sampler that samples the share ratio of the traces that begin here or at a client. Other
// traces are sampled if their parent is.
func Sampler(ratio float64) sdk.Sampler {
	return sampler{Sampler: sdk.ParentBased(sdk.TraceIDRatioBased(ratio)), ratio: ratio}
}

type sampler struct {
	sdk.Sampler
	ratio float64
}

// ShouldSample implements sdk.Sampler. For a client's trace it draws a random number: the trace's ID, by which
// samplers decide otherwise, is chosen by the client.
func (s sampler) ShouldSample(p sdk.SamplingParameters) sdk.SamplingResult {
	parent := trace.SpanContextFromContext(p.ParentContext)
	if !parent.IsRemote() || !tracing.FromClient(p.ParentContext) {
		return s.Sampler.ShouldSample(p)
	}
	decision := sdk.Drop
	if rand.Float64() < s.ratio {
		decision = sdk.RecordAndSample
	}
	return sdk.SamplingResult{Decision: decision, Tracestate: parent.TraceState()}
}

// endpoint returns the URL for traces at a collector whose address may have no path (OTLP specification,
// "OTLP/HTTP Request").
func endpoint(address string) string {
	u, err := url.Parse(address)
	if err == nil && (u.Path == "" || u.Path == "/") {
		u.Path = "/v1/traces"
		return u.String()
	}
	return address
}

// described returns the attributes of the process that makes the spans. OTEL_RESOURCE_ATTRIBUTES and
// OTEL_SERVICE_NAME override them.
func described(name string) *resource.Resource {
	own := resource.NewSchemaless(attribute.String("service.name", name), attribute.String("service.namespace", "ackwire"))
	found, err := resource.New(context.Background(), resource.WithFromEnv(), resource.WithHost(),
		resource.WithTelemetrySDK())
	if err != nil && found == nil {
		return own
	}
	merged, err := resource.Merge(own, found)
	if err != nil {
		return own
	}
	return merged
}

// logged returns an error handler that logs that spans could not be sent.
func logged(log *slog.Logger) func(error) {
	return func(err error) { log.Warn("spans not sent", "err", err) }
}
