package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/service"
)

func TestMain(m *testing.M) {
	// testcontainers caches a client whose idle connections stay open.
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"))
}

const testTimeout = 90 * time.Second

func newClient(t *testing.T, c *Cluster) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers()...), kgo.ProducerLinger(0), kgo.UnknownTopicRetries(-1),
		kgo.ConsumeTopics("t"), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func createTopic(ctx context.Context, t *testing.T, cl *kgo.Client) {
	t.Helper()
	for {
		_, err := kadm.NewClient(cl).CreateTopic(ctx, 3, -1, nil, "t")
		switch {
		case err == nil:
			return
		// The controller has lost sight of a broker for a moment, as it does on a busy machine.
		case errors.Is(err, kerr.InvalidReplicationFactor) && ctx.Err() == nil:
		default:
			t.Fatal(err)
		}
	}
}

func consume(ctx context.Context, t *testing.T, cl *kgo.Client, want map[string]bool) {
	t.Helper()
	for len(want) > 0 {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%d acked records are missing", len(want))
		}
		fetches.EachRecord(func(r *kgo.Record) { delete(want, string(r.Value)) })
	}
}

func TestOneBrokerKeepsWhatItAcked(t *testing.T) {
	c := Start(t, 1)
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	cl := newClient(t, c)
	createTopic(ctx, t, cl)
	acked := map[string]bool{}
	for i := range 200 {
		value := fmt.Sprint("before ", i)
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		acked[value] = true
	}
	c.Kill(t, 0)
	c.Restart(t, 0)
	c.WaitReady(t)
	if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte("after")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	acked["after"] = true
	consume(ctx, t, newClient(t, c), acked)
}

func TestThreeBrokersLoseNothingWithOneKilled(t *testing.T) {
	c := Start(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	cl := newClient(t, c)
	createTopic(ctx, t, cl)
	acked := map[string]bool{}
	for i := range 300 {
		if i == 100 {
			c.Kill(t, 1)
		}
		if i == 200 {
			c.Restart(t, 1)
		}
		value := fmt.Sprint("record ", i)
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		acked[value] = true
	}
	c.WaitReady(t)
	consume(ctx, t, newClient(t, c), maps.Clone(acked))
	for i := range 3 {
		readNearby(t, c, i, acked)
	}
}

// readers counts the batches of records that were read from each broker.
type readers struct {
	mu      sync.Mutex
	batches map[int32]int
}

// OnFetchBatchRead implements kgo.HookFetchBatchRead.
func (r *readers) OnFetchBatchRead(broker kgo.BrokerMetadata, _ string, _ int32, m kgo.FetchBatchMetrics) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.NumRecords > 0 {
		r.batches[broker.NodeID]++
	}
}

// readNearby reads all records in the rack of broker i until that broker alone has been read from, although others lead
// some of the partitions. A leader answers itself while a replica is behind.
func readNearby(t *testing.T, c *Cluster, i int, want map[string]bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	for {
		r := &readers{batches: map[int32]int{}}
		readIn(ctx, t, c, rack(i), r, maps.Clone(want))
		if own := r.batches[int32(i+1)]; own > 0 && len(r.batches) == 1 {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("in %s batches were read from the brokers %v, not only from %d", rack(i), r.batches, i+1)
		}
	}
}

func readIn(ctx context.Context, t *testing.T, c *Cluster, rack string, r *readers, want map[string]bool) {
	t.Helper()
	cfg := kafka.Config{Brokers: c.Brokers(), Rack: rack}
	env := service.Env{Log: slog.New(slog.DiscardHandler), Dial: new(net.Dialer).DialContext}
	cl, err := cfg.NewClient(env, "test", cfg.Nearest(), kgo.WithHooks(r), kgo.ConsumeTopics("t"),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for len(want) > 0 && ctx.Err() == nil {
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) { delete(want, string(r.Value)) })
	}
}
