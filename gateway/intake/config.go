package intake

import (
	"context"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"

	"github.com/ackwire/ackwire/blobs"
	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/limits"
	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/gateway/upstream"
	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/schemas/jobtypes"
	"github.com/ackwire/ackwire/schemas/topic"
)

// Config holds the settings and parts of the intake.
type Config struct {
	Names         topic.Names
	Types         jobtypes.Set
	SubmitTimeout time.Duration // longest time for a submit or an order
	InlinePayload int           // largest payload that is stored in Kafka, in bytes
	Audit         bool          // records of the topic audit are written
	TraceClients  bool          // clients decide whether their traces are sampled
	ExactPlaces   bool          // all clients are told exactly how many jobs are ahead

	Kafka    *kgo.Client
	Trackers *upstream.Pair
	Blobs    *blobs.Store // nil if there is none
	Health   *Health
	IDKeys   IDKeys
	Verifier *auth.Verifier
	Limits   *limits.Limits
	Metrics  *Metrics
	Tracer   trace.Tracer // nil if no spans are made
	Log      *slog.Logger
}

// hold admits a submit of that many bytes before it is read and checked, so that a refusal costs almost nothing.
func (c *Config) hold(ctx context.Context, id auth.Identity, bytes int64) (limits.Submit, error) {
	if err := c.Health.err(); err != nil {
		return limits.Submit{}, problem.Unavailable(err.Error())
	}
	return c.Limits.BeginSubmit(ctx, id.Tenant, bytes)
}

// holdItem is hold for a submit of a batch, whose bytes are counted with the batch.
func (c *Config) holdItem(ctx context.Context, id auth.Identity, bytes int64) (limits.Submit, error) {
	if err := c.Health.err(); err != nil {
		return limits.Submit{}, problem.Unavailable(err.Error())
	}
	return c.Limits.BeginItem(ctx, id.Tenant, bytes)
}

// logOf returns the logger with the trace ID of ctx.
func (c *Config) logOf(ctx context.Context) *slog.Logger {
	return tracing.Log(c.Log, trace.SpanContextFromContext(ctx))
}
