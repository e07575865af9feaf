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

// Option gives a processor something that the program around it owns, such as a logger or a metrics registry. If an
// option is given twice, the last one counts.
type Option func(*options)

// options holds the values of the options of New.
type options struct {
	log     *slog.Logger
	metrics prometheus.Registerer
	traces  trace.TracerProvider
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	blobs   Blobs
	check   func(jobType string, result json.RawMessage) error
	streams func(jobType string) (total, perSecond int64)
}

// dialTimeout bounds connecting to a broker without WithDialer.
const dialTimeout = 5 * time.Second

// chosen returns the values of the options, with defaults for those that are not given.
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
		o.metrics = prometheus.NewRegistry() // never read
	}
	if o.dial == nil {
		o.dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	return o
}

// WithLogger sets the logger of the processor and of its handlers (Job.Log). Its lines carry the
// attributes service and worker, a handler's also job, run and attempt; payloads and results are
// never logged. The default, also for nil, is slog.Default().
func WithLogger(log *slog.Logger) Option { return func(o *options) { o.log = log } }

// WithMetrics registers the processor's metrics, named ackwire_processor_…, and those of its Kafka
// clients, named ackwire_kafka_…. One registry takes one processor: New returns an error for the
// second, unless each has labels of its own (prometheus.WrapRegistererWith). By default, and for nil,
// no metrics are registered.
func WithMetrics(r prometheus.Registerer) Option { return func(o *options) { o.metrics = r } }

// WithTracerProvider makes the processor create OpenTelemetry spans for claims and runs. A span that a handler starts
// from its context is a child of the run's span. By default, and for nil, no spans are made, even if
// otel.SetTracerProvider was called: pass otel.GetTracerProvider() to use that provider. Either way the job's trace
// context is in the handler's context, and so reaches the programs that the handler calls.
func WithTracerProvider(p trace.TracerProvider) Option { return func(o *options) { o.traces = p } }

// WithDialer sets how connections to Kafka's brokers are made, such as over TLS, through a proxy, or in a test's own
// network. A connection that takes longer than one second is given up and tried again. The default, also for nil, is a
// net.Dialer.
func WithDialer(dial func(ctx context.Context, network, address string) (net.Conn, error)) Option {
	return func(o *options) { o.dial = dial }
}

// WithBlobs sets the store for files, for results above Config.ResultLimit and for large payloads.
// It must be the store of the gateways and trackers, or clients cannot download what is in it.
// The processor does not close it. By default, and for nil, there is no store: then a job with a
// large payload is handed back for another worker, a larger result is the permanent failure
// result_too_large, and Job.Attach returns ErrNoBlobStore.
func WithBlobs(store Blobs) Option { return func(o *options) { o.blobs = store } }

// WithResultCheck sets a function that checks the results of handlers. An error fails the job permanently with the
// code invalid_result and the error's text, which the job's owner sees, cut to 1024 bytes. check is called once for
// each run whose handler returned no error, and must be safe for concurrent use. result is empty if the handler
// returned none; if it attached a file instead, check is not called. CheckResult of package
// github.com/ackwire/ackwire/schemas/jobtypes checks results against the schemas in a file of job types. By default,
// and for nil, all strict JSON is accepted.
func WithResultCheck(check func(jobType string, result json.RawMessage) error) Option {
	return func(o *options) { o.check = check }
}

// WithStreamLimits sets a function that returns the limits of a job type's streams in place of those in Config: the
// bytes of all streams of a run, and the bytes per second; 0 means that of Config. It must be safe for concurrent use.
// A limit out of Config's bounds counts as the nearest one within. StreamLimits of package
// github.com/ackwire/ackwire/schemas/jobtypes returns those in a file of job types. By default, and for nil, the limits
// of Config apply to all job types.
func WithStreamLimits(limits func(jobType string) (total, perSecond int64)) Option {
	return func(o *options) { o.streams = limits }
}

// Blobs is a store for data that is too large for Kafka. Package github.com/ackwire/ackwire/blobs
// implements it with directories and cloud buckets. It must be safe for concurrent use.
type Blobs interface {
	// Put stores the bytes of content under key, atomically: if content returns an error, nothing is
	// stored and Put returns an error. contentType and name, which may be empty, are the media type and
	// the file name that a download is given.
	Put(ctx context.Context, key, contentType, name string, content io.Reader) error
	// Get returns the blob at key. It fails if the blob has more than limit bytes, and with an error that
	// matches fs.ErrNotExist if there is no blob.
	Get(ctx context.Context, key string, limit int64) ([]byte, error)
}
