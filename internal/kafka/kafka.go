// Package kafka is how every Ackwire service talks to Kafka: client options that make
// a produce's outcome known within a bound, topics made at start, and outcomes told apart.
// The figures come from measurements against brokers that hang, die and come back.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kslog"

	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/internal/tracing"
)

// Config is where Kafka is. A command that has a broker of its own sets the variable kafka, the
// flag's default, to nothing (`set:"kafka="`).
type Config struct {
	Brokers []string `name:"kafka" help:"Kafka bootstrap brokers, host:port.${kafka_help=}" default:"${kafka=127.0.0.1:9092}" placeholder:"${kafka_place=127.0.0.1:9092}" sep:","`
}

// Check checks the configuration. It is not called Validate, for kong would call that also where
// the brokers are filled in later.
func (c Config) Check() error {
	if len(c.Brokers) == 0 {
		return errors.New("kafka: at least one broker is needed")
	}
	for _, b := range c.Brokers {
		if strings.TrimSpace(b) == "" {
			return errors.New("kafka: an empty broker address")
		}
	}
	return nil
}

// Bounds of the client. With the library's defaults a record in flight to a hung broker
// ignores its context for over 28 s; with these its request is given up after 2.5 s and goes to
// the partition's next leader, also when the broker's machine is gone without a word.
const (
	dialTimeout            = time.Second
	requestTimeoutOverhead = 1500 * time.Millisecond
	produceRequestTimeout  = time.Second
	metadataMinAge         = 250 * time.Millisecond
	retryBackoffMin        = 50 * time.Millisecond
	retryBackoffMax        = 500 * time.Millisecond
	fetchMaxWait           = 500 * time.Millisecond

	// DeliveryTimeout bounds one produce: after it the outcome is unknown.
	DeliveryTimeout = 5 * time.Second

	// maxBufferedRecords and maxBufferedBytes bound what waits for brokers: a second or
	// two of load. Above it a produce is refused at once.
	maxBufferedRecords = 20_000
	maxBufferedBytes   = 64 << 20
)

// NewClient makes a client with the options that all services share, then opts.
func (c Config) NewClient(env service.Env, clientID string, opts ...kgo.Opt) (*kgo.Client, error) {
	return newClient(append(append(c.common(env, clientID), kgo.AllowIdempotentProduceCancellation()), opts...))
}

// NewTransactionalClient makes a client that produces in transactions only. One that was made
// with the same ID before is fenced as soon as this one has its producer ID (KIP-98).
func (c Config) NewTransactionalClient(
	env service.Env, clientID, transactionalID string, opts ...kgo.Opt,
) (*kgo.Client, error) {
	return newClient(append(append(c.common(env, clientID), kgo.TransactionalID(transactionalID)), opts...))
}

func newClient(opts []kgo.Opt) (*kgo.Client, error) {
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("kafka client: %w", err)
	}
	return cl, nil
}

func (c Config) common(env service.Env, clientID string) []kgo.Opt {
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID(clientID),
		kgo.Dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, dialTimeout)
			defer cancel()
			return env.Dial(ctx, network, address)
		}),
		kgo.WithLogger(kslog.New(quiet(env.Log.With("component", "kafka")))),
		kgo.RequestTimeoutOverhead(requestTimeoutOverhead),
		kgo.MetadataMinAge(metadataMinAge),
		// A proxy in front of a dead broker takes a connection and closes it at once. The library
		// takes that for wrong TLS settings, and would give up the broker's records.
		kgo.AlwaysRetryEOF(),
		kgo.RetryBackoffFn(func(tries int) time.Duration {
			return min(retryBackoffMin<<min(tries-1, 8), retryBackoffMax)
		}),
		// The library's defaults start a minute back and would skip the first records of a
		// partition that has no commit yet.
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),

		// A partition that is new to a broker's fetch joins the next one: until then the
		// first records of a fresh topic wait.
		kgo.FetchMaxWait(fetchMaxWait),

		kgo.ProducerLinger(0),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProduceRequestTimeout(produceRequestTimeout),
		kgo.RecordDeliveryTimeout(DeliveryTimeout),
		kgo.MaxBufferedRecords(maxBufferedRecords),
		kgo.MaxBufferedBytes(maxBufferedBytes),
		kgo.WithHooks(&writes{}),
	}
	if env.Traces != nil {
		opts = append(opts, kgo.WithHooks(tracing.Produced(env.Traces)))
	}
	if env.Metrics != nil {
		opts = append(opts, kgo.WithHooks(newTraffic(env.Metrics)))
	}
	return opts
}

// quiet returns a logger for the client library, whose informational messages tell of
// every rebalance step: they are there where debugging is asked for.
func quiet(log *slog.Logger) *slog.Logger {
	if log.Enabled(context.Background(), slog.LevelDebug) {
		return log
	}
	return slog.New(warnings{log.Handler()})
}

// warnings is a handler that drops what is below a warning.
type warnings struct{ slog.Handler }

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
