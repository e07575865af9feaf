package processor

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
)

// Option gives a processor what the program around it has: a logger, a registry of metrics and the
// like. Where one option is given twice, the last one holds.
type Option func(*options)

// options is what the options of New say.
type options struct {
	log     *slog.Logger
	metrics prometheus.Registerer
	traces  trace.TracerProvider
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	blobs   Blobs
	check   func(jobType string, result json.RawMessage) error
}

// dialTimeout bounds a connection to a broker that is made without WithDialer.
const dialTimeout = 5 * time.Second

// chosen returns what the options say, and the default of what they do not.
func chosen(opts []Option) options {
	var o options
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	if o.log == nil {
		o.log = slog.Default()
	}
	if o.metrics == nil {
		o.metrics = prometheus.NewRegistry() // counted, and shown nowhere
	}
	if o.dial == nil {
		o.dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	return o
}

// WithLogger sets the logger of the processor and of its handlers (Job.Log). Its lines carry the
// attributes service and worker, a handler's also job, run and attempt; payloads and results are
// never logged. Default, and what nil means: slog.Default().
func WithLogger(log *slog.Logger) Option { return func(o *options) { o.log = log } }

// WithMetrics registers the processor's metrics, named ackwire_processor_…, and those of its Kafka
// clients, named ackwire_kafka_…. One registry takes one processor: New returns an error for the
// second, unless each has labels of its own (prometheus.WrapRegistererWith). Default, and what nil
// means: no metrics are registered.
func WithMetrics(r prometheus.Registerer) Option { return func(o *options) { o.metrics = r } }

// WithTracerProvider has the processor make OpenTelemetry spans of claims and runs; spans that a
// handler makes of its context are children of its run's. Default, and what nil means: no spans are
// made, also where otel.SetTracerProvider was called; give otel.GetTracerProvider() for that one.
// Either way a job's trace goes on: handlers and what they call are given its context.
func WithTracerProvider(p trace.TracerProvider) Option { return func(o *options) { o.traces = p } }

// WithDialer sets how connections to Kafka's brokers are made: over TLS, through a proxy, or in a
// test's own network. A connection that is not there after one second is given up and tried again.
// Default, and what nil means: a net.Dialer.
func WithDialer(dial func(ctx context.Context, network, address string) (net.Conn, error)) Option {
	return func(o *options) { o.dial = dial }
}

// WithBlobs sets the store for files, for results above Config.ResultLimit and for large payloads.
// It must be the store that gateways and trackers have, or clients cannot download what is in it.
// The processor does not close it. Default, and what nil means: there is none. Then a job with a
// large payload is handed back for another worker, a larger result is the permanent failure
// result_too_large, and Job.Attach returns ErrNoBlobStore.
func WithBlobs(store Blobs) Option { return func(o *options) { o.blobs = store } }

// WithResultCheck has check decide whether what a handler returned is a result of its job's type: an error fails the
// job for good with the code invalid_result and the error's text, which the job's owner sees, cut to 1024 bytes. It is
// called once for each run whose handler returned no error, from many goroutines; result is empty when the handler
// returned none, and then it is not called where the handler attached a file. CheckResult of package
// github.com/ackwire/ackwire/schemas/jobtypes checks by the result schemas in a file of job types. Default, and what
// nil means: every strict JSON is taken.
func WithResultCheck(check func(jobType string, result json.RawMessage) error) Option {
	return func(o *options) { o.check = check }
}

// Blobs stores what is too large for Kafka. Package github.com/ackwire/ackwire/blobs has
// directories and the clouds' buckets. It is used from many goroutines.
type Blobs interface {
	// Put stores what content gives under key, as a whole or not at all: when content returns
	// an error, nothing is stored and Put returns an error. contentType and name, which may be
	// empty, are for those who download it.
	Put(ctx context.Context, key, contentType, name string, content io.Reader) error
	// Get returns the blob at key; an error where it is above limit bytes, and one that is
	// fs.ErrNotExist where there is none.
	Get(ctx context.Context, key string, limit int64) ([]byte, error)
}
