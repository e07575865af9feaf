// Package kafka makes the Kafka clients of all Ackwire services, with options that bound how long a produce
// takes, and has functions to produce, to create topics and to measure backlogs. The timeouts come from
// measurements against brokers that hang, die and come back.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kslog"

	"github.com/ackwire/ackwire/internal/certs"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/internal/tracing"
)

// Config has the addresses of Kafka, and how to connect to them. A command with an embedded broker sets the variable
// kafka, which is the flag's default, to nothing (`set:"kafka="`).
type Config struct {
	Brokers []string `name:"kafka" help:"Kafka bootstrap brokers, host:port.${kafka_help=}" default:"${kafka=127.0.0.1:9092}" placeholder:"${kafka_place=127.0.0.1:9092}" sep:","`
	Rack    string   `name:"kafka-rack" help:"Rack or zone of this process, as in broker.rack of Kafka's brokers. Requests of jobs, and the topic view, are then read from the nearest replica (KIP-392), if the brokers have a replica.selector.class that is aware of racks." placeholder:"RACK"`

	Compression string `name:"kafka-compression" help:"Compression of the records that this process writes to Kafka. Event Hubs takes only gzip and none." enum:"snappy,gzip,lz4,zstd,none" default:"snappy"`

	Security Security `embed:""`
	Timeouts Timeouts `embed:""`
}

// codecs are the values of Config.Compression; an empty one stands for snappy.
var codecs = map[string]kgo.CompressionCodec{
	"": kgo.SnappyCompression(), "snappy": kgo.SnappyCompression(), "gzip": kgo.GzipCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(), "none": kgo.NoCompression(),
}

// Nearest returns the option of a client that reads from the nearest replica, if the configuration names a rack. A
// follower has records a little later than the leader, so it is not for readers that others wait for.
func (c Config) Nearest() kgo.Opt { return kgo.Rack(c.Rack) }

// Check returns what is wrong with the configuration, and with the files that it names, or nil. It is not named
// Validate, because kong would call it even where the brokers are filled in later.
func (c Config) Check() error {
	if len(c.Brokers) == 0 {
		return errors.New("kafka: at least one broker is needed")
	}
	for _, b := range c.Brokers {
		if strings.TrimSpace(b) == "" {
			return errors.New("kafka: an empty broker address")
		}
	}
	if _, ok := codecs[c.Compression]; !ok {
		return fmt.Errorf("kafka-compression: %q is not snappy, gzip, lz4, zstd or none", c.Compression)
	}
	return errors.Join(c.Security.check(), c.Timeouts.check())
}

// Bounds of the client; Bounds has those that depend on how quickly Kafka answers.
const (
	metadataMinAge  = 250 * time.Millisecond
	retryBackoffMin = 50 * time.Millisecond
	retryBackoffMax = 500 * time.Millisecond
	fetchMaxWait    = 500 * time.Millisecond

	// maxBufferedRecords and maxBufferedBytes bound the records that wait for brokers to one or two
	// seconds of load. Above them a produce is refused at once.
	maxBufferedRecords = 20_000
	maxBufferedBytes   = 64 << 20

	// eventHubsRequest is the largest request that Azure Event Hubs takes, in bytes: it closes the connection of who
	// sends a larger one. Elsewhere larger ones would gain nothing, for several are in flight at the same time.
	eventHubsRequest = 1_046_528
)

// NewClient returns a client with the options that all services share, followed by opts.
func (c Config) NewClient(env service.Env, clientID string, opts ...kgo.Opt) (*kgo.Client, error) {
	return c.newClient(env, clientID, append([]kgo.Opt{kgo.AllowIdempotentProduceCancellation()}, opts...))
}

// NewTransactionalClient returns a client that produces only in transactions. An earlier client with the same
// transactional ID is fenced as soon as this one has its producer ID (KIP-98).
func (c Config) NewTransactionalClient(
	env service.Env, clientID, transactionalID string, opts ...kgo.Opt,
) (*kgo.Client, error) {
	return c.newClient(env, clientID, append([]kgo.Opt{kgo.TransactionalID(transactionalID)}, opts...))
}

// NewAdminClient returns a client for commands that people run: it has no options but those that connect.
func (c Config) NewAdminClient(env service.Env, opts ...kgo.Opt) (*kgo.Client, error) {
	connect, err := c.connect(env)
	if err != nil {
		return nil, err
	}
	return newClient(append(connect, opts...))
}

func (c Config) newClient(env service.Env, clientID string, opts []kgo.Opt) (*kgo.Client, error) {
	connect, err := c.connect(env)
	if err != nil {
		return nil, err
	}
	return newClient(append(append(connect, c.common(env, clientID)...), opts...))
}

// connect returns the options by which every client connects: the brokers' addresses and how to secure connections.
func (c Config) connect(env service.Env) ([]kgo.Opt, error) {
	st := &standing{security: c.Security, bounds: c.Bounds(), log: env.Log.With("component", "kafka")}
	var metrics prometheus.Registerer // a nil Registerer, not one of a nil Metrics
	if env.Metrics != nil {
		metrics = env.Metrics
	}
	var err error
	st.problems = newProblems(metrics)
	st.problems.warn(st.log, c.Security.SASL, c.inClear())
	if st.files, err = c.Security.open(certs.Env{Log: st.log, Metrics: metrics}); err != nil {
		return nil, err
	}
	mechanism, err := st.mechanism(env)
	if err != nil {
		return nil, err
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.Dialer(st.dial(env)),
		kgo.WithHooks(st),
		kgo.WithLogger(kslog.New(quiet(st.log))),
		// A proxy in front of a dead broker accepts a connection and closes it at once. The library
		// would take that for wrong TLS settings and fail the broker's records.
		kgo.AlwaysRetryEOF(),
	}
	if mechanism != nil {
		opts = append(opts, kgo.SASL(mechanism))
	}
	return opts, nil
}

func newClient(opts []kgo.Opt) (*kgo.Client, error) {
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("kafka client: %w", err)
	}
	return cl, nil
}

// common returns the options that all services share, beside those of connect.
func (c Config) common(env service.Env, clientID string) []kgo.Opt {
	bounds := c.Bounds()
	opts := []kgo.Opt{
		kgo.ClientID(clientID),
		kgo.RequestTimeoutOverhead(bounds.Request),
		kgo.MetadataMinAge(metadataMinAge),
		kgo.MetadataMaxAge(metadataMaxAge),
		kgo.RetryBackoffFn(func(tries int) time.Duration {
			return min(retryBackoffMin<<min(tries-1, 8), retryBackoffMax)
		}),
		// The library's defaults start one minute before now and would skip the first records of a
		// partition that has no commit yet.
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),

		// A partition that is new to the client is fetched with the broker's next fetch only, so the
		// first records of a new topic wait for so long.
		kgo.FetchMaxWait(fetchMaxWait),

		kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(codecs[c.Compression], kgo.NoCompression()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProduceRequestTimeout(bounds.Produce),
		kgo.RecordDeliveryTimeout(bounds.Delivery),
		kgo.MaxBufferedRecords(maxBufferedRecords),
		kgo.MaxBufferedBytes(maxBufferedBytes),
		kgo.BrokerMaxWriteBytes(eventHubsRequest),
		kgo.WithHooks(&writes{}),
		kgo.WithHooks(newPace(c.Timeouts, env.Log.With("component", "kafka"))),
	}
	if env.Traces != nil {
		opts = append(opts, kgo.WithHooks(tracing.Produced(env.Traces)))
	}
	if env.Metrics != nil {
		opts = append(opts, kgo.WithHooks(newTraffic(env.Metrics)))
	}
	return opts
}

// quiet returns a logger for the client library. It drops informational messages, of which there is one for
// every step of a rebalance, unless log is at level debug.
func quiet(log *slog.Logger) *slog.Logger {
	if log.Enabled(context.Background(), slog.LevelDebug) {
		return log
	}
	return slog.New(warnings{log.Handler()})
}

// warnings is a handler that drops messages below level warn, and those about a Problem, which is logged where it is
// found.
type warnings struct{ slog.Handler }

// Handle implements slog.Handler.
func (w warnings) Handle(ctx context.Context, r slog.Record) error {
	said := false
	r.Attrs(func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok {
			_, said = errors.AsType[*Problem](err)
		}
		return !said
	})
	if said {
		return nil
	}
	return w.Handler.Handle(ctx, r)
}

// Enabled implements slog.Handler.
func (w warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && w.Handler.Enabled(ctx, l)
}

// WithAttrs implements slog.Handler.
func (w warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	return warnings{w.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (w warnings) WithGroup(name string) slog.Handler { return warnings{w.Handler.WithGroup(name)} }
