package bulkjob

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Settings of the processor of bulk actions.
const (
	slots       = 2                      // bulk actions that a gateway runs at the same time
	grace       = 100 * time.Millisecond // another gateway takes over, so there is nothing to wait for
	reportRate  = 20                     // reports a second, each of which a page waits for
	streamBytes = 128 << 20              // enough to name every job of the largest bulk action
	streamRate  = 4 << 20                // bytes a second
)

// Policy is that of the jobs of bulk actions. An attempt is used up only by a gateway that was lost. The lease is
// short, since a run that is taken for lost though it is not does no harm: each order is taken once.
func Policy() job.Policy {
	return job.Policy{
		Attempts: job.MaxAttempts, Lease: job.Seconds(10 * time.Second), Grace: job.Seconds(30 * time.Second),
		Retention: job.Seconds(7 * 24 * time.Hour),
		Backoff:   job.Backoff{Initial: job.Seconds(time.Second), Factor: 2, Cap: job.Seconds(30 * time.Second)},
	}
}

// Touch is one job of a bulk action, and what is to be done to it.
type Touch struct {
	Action frame.BulkAction
	JobID  string
	Round  int64       // that of the plan
	States []job.State // in which the job must be
	Bulk   string      // the ID of the bulk action's job, by which its orders are known
	// Doubt says that the bulk action may have given the order before: then what it would have led to counts as done.
	Doubt bool
}

// Orders gives the orders; intake.Orders implements it. An error means that nothing is known, and that the order may be
// given again with Touch.Doubt.
type Orders interface {
	Touch(ctx context.Context, id auth.Identity, t Touch) (Outcome, error)
}

// Trackers answers questions about the bulk action's own job; upstream.Pair implements it.
type Trackers interface {
	Get(ctx context.Context, req *trackerpb.GetRequest) (*trackerpb.GetResponse, error)
	History(ctx context.Context, req *trackerpb.HistoryRequest) (*trackerpb.HistoryResponse, error)
}

// Blobs is the blob store; blobs.Store implements it.
type Blobs interface {
	Put(ctx context.Context, key, contentType, name string, content io.Reader) error
	Get(ctx context.Context, key string, limit int64) ([]byte, error)
}

// WorkerConfig holds what a Worker needs.
type WorkerConfig struct {
	Kafka      kafka.Config
	Topics     kafka.Topics
	Prefix     string // of the topics
	Partitions int32
	Dial       func(ctx context.Context, network, address string) (net.Conn, error)

	Rate     float64 // the most orders a second that one bulk action gives
	Orders   Orders
	Trackers Trackers
	Blobs    Blobs // nil if there is no blob store
	Metrics  *Metrics
	Log      *slog.Logger
}

// Worker runs the jobs of bulk actions.
type Worker struct {
	cfg  WorkerConfig
	proc *processor.Processor
}

// NewWorker returns a worker. It does no I/O.
func NewWorker(cfg WorkerConfig) (*Worker, error) {
	w := &Worker{cfg: cfg}
	opts := []processor.Option{processor.WithLogger(cfg.Log), processor.WithDialer(cfg.Dial)}
	if cfg.Blobs != nil {
		opts = append(opts, processor.WithBlobs(cfg.Blobs))
	}
	var err error
	w.proc, err = processor.New(processor.Config{
		Brokers: cfg.Kafka.Brokers, Security: processor.Security(cfg.Kafka.Security),
		Timeouts: processor.Timeouts(cfg.Kafka.Timeouts), Rack: cfg.Kafka.Rack, Compression: cfg.Kafka.Compression,
		TopicPrefix: cfg.Prefix, Partitions: cfg.Partitions, Topics: cfg.Topics.Mode, TopicSettings: cfg.Topics.Settings,
		Lanes: []string{topic.BulkLane}, Slots: slots, Grace: grace, ProgressRate: reportRate,
		StreamLimit: streamBytes, StreamRate: streamRate, ClaimsAlwaysWait: true,
	}, opts...)
	if err != nil {
		return nil, fmt.Errorf("worker of bulk actions: %w", err)
	}
	processor.HandleRaw(w.proc, topic.BulkType, w.run)
	return w, nil
}

// Run runs bulk actions until ctx ends. Those that run then are handed back, and another gateway goes on with them.
func (w *Worker) Run(ctx context.Context) error { return w.proc.Run(ctx) }
