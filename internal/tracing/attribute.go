package tracing

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Attributes of spans, the same in all services.
const (
	JobID    = attribute.Key("ackwire.job.id")
	JobType  = attribute.Key("ackwire.job.type")
	Tenant   = attribute.Key("ackwire.tenant")
	Lane     = attribute.Key("ackwire.lane")
	Attempt  = attribute.Key("ackwire.attempt")
	Dispatch = attribute.Key("ackwire.dispatch")
	Run      = attribute.Key("ackwire.run")
	Worker   = attribute.Key("ackwire.worker")
	Event    = attribute.Key("ackwire.event")
	State    = attribute.Key("ackwire.state")
	Version  = attribute.Key("ackwire.version")
	Outcome  = attribute.Key("ackwire.outcome")
	Code     = attribute.Key("ackwire.code")
)

// Fail marks a span as failed. what is for operators: a code or a cause, never a payload.
func Fail(span trace.Span, what string) { span.SetStatus(codes.Error, what) }
