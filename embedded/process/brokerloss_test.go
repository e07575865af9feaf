package process

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/kafkatest"
	"github.com/ackwire/ackwire/internal/service"
)

const (
	writtenPartitions = 12
	writeEvery        = 50 * time.Millisecond
)

// writers write to every partition of a topic all the time, with the client that services have.
type writers struct {
	client *kgo.Client
	keys   [writtenPartitions]string // one for each partition
	wg     sync.WaitGroup

	mu       sync.Mutex // guards all below
	written  int
	answered int
	unknown  int
	acked    map[string]bool
	last     [writtenPartitions]time.Time     // of the last ack
	gap      [writtenPartitions]time.Duration // the longest time between two acks
}

func startWriters(ctx context.Context, t *testing.T, c *kafkatest.Cluster) *writers {
	t.Helper()
	env := service.Env{Log: slog.New(slog.DiscardHandler), Dial: new(net.Dialer).DialContext}
	cl, err := kafka.Config{Brokers: c.Brokers()}.NewClient(env, "writer")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, writtenPartitions, -1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	w := &writers{client: cl, acked: map[string]bool{}}
	for i, found := 0, 0; found < writtenPartitions; i++ {
		key := fmt.Sprint("key ", i)
		if p := kafka.Partition(key, writtenPartitions); w.keys[p] == "" {
			w.keys[p] = key
			found++
		}
	}
	for p := range writtenPartitions {
		w.wg.Go(func() { w.write(ctx, p) })
	}
	return w
}

func (w *writers) write(ctx context.Context, p int) {
	tick := time.NewTicker(writeEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		value := fmt.Sprintf("%d/%d", p, n)
		w.mu.Lock()
		w.written++
		w.mu.Unlock()
		// A submit's bound is its own, and does not end with the test's.
		kafka.Produce(context.WithoutCancel(ctx), w.client, &kgo.Record{Topic: "t", Key: []byte(w.keys[p]),
			Value: []byte(value)},
			func(_ *kgo.Record, err error) { w.answer(p, value, err) })
	}
}

func (w *writers) answer(p int, value string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answered++
	if err != nil {
		w.unknown++
		return
	}
	now := time.Now()
	if !w.last[p].IsZero() {
		w.gap[p] = max(w.gap[p], now.Sub(w.last[p]))
	}
	w.last[p], w.acked[value] = now, true
}

// waitAcks waits until every partition has acked something that was written after now.
func (w *writers) waitAcks(ctx context.Context, t *testing.T) {
	t.Helper()
	since := time.Now()
	tick := time.NewTicker(writeEvery)
	defer tick.Stop()
	for {
		missing := 0
		w.mu.Lock()
		for _, last := range w.last {
			if !last.After(since) {
				missing++
			}
		}
		w.mu.Unlock()
		if missing == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%d partitions take no writes any more", missing)
		}
	}
}

// longest returns the longest gap of any partition, and how many outcomes are unknown, since the
// last call.
func (w *writers) longest() (gap time.Duration, unknown int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for p := range w.gap {
		gap = max(gap, w.gap[p])
		w.gap[p] = 0
	}
	unknown, w.unknown = w.unknown, 0
	return gap, unknown
}

// TestWritesGoOnWithoutABroker kills one broker of three, and then the one that is the active
// controller, while all partitions are written to: every write is answered, writes go on without
// the broker, and what was acked is there. How long acks paused is logged: the bound that
// docs/failures.md gives is that of a machine that has time.
func TestWritesGoOnWithoutABroker(t *testing.T) {
	c := kafkatest.Start(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), testWithin)
	defer cancel()
	writing, stop := context.WithCancel(ctx)
	defer stop()
	w := startWriters(writing, t, c)
	w.waitAcks(ctx, t)
	for _, fault := range []struct {
		name   string
		victim func() int
	}{
		{"a broker", func() int { return (c.Controller(t) + 1) % 3 }},
		{"the active controller", func() int { return c.Controller(t) }},
	} {
		w.waitInSync(ctx, t)
		victim := fault.victim()
		w.longest()
		c.Kill(t, victim)
		w.waitAcks(ctx, t) // one that was on its way when the broker died
		w.waitAcks(ctx, t)
		w.waitShrunk(ctx, t, victim)
		w.waitAcks(ctx, t)
		gap, unknown := w.longest()
		t.Logf("%s is killed: acks pause for %s, %d writes without a known outcome", fault.name, gap.Round(time.Millisecond),
			unknown)
		c.Restart(t, victim)
		c.WaitReady(t)
	}
	w.waitAcks(ctx, t)
	stop()
	w.wg.Wait()
	if err := w.client.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	written, answered := w.written, w.answered
	w.mu.Unlock()
	if written != answered {
		t.Errorf("%d of %d writes were answered", answered, written)
	}
	w.wantAcked(ctx, t, c)
}

// wantAcked reads the topic until all that was acked has come.
func (w *writers) wantAcked(ctx context.Context, t *testing.T, c *kafkatest.Cluster) {
	t.Helper()
	reader, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers()...), kgo.ConsumeTopics("t"),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for len(w.acked) > 0 {
		fetches := reader.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%d acked records are missing", len(w.acked))
		}
		fetches.EachRecord(func(r *kgo.Record) { delete(w.acked, string(r.Value)) })
	}
}

// waitInSync waits until every partition has all its replicas in sync, and its first as leader.
func (w *writers) waitInSync(ctx context.Context, t *testing.T) {
	t.Helper()
	adm := kadm.NewClient(w.client)
	w.waitPartitions(ctx, t, func(p kadm.PartitionDetail) bool {
		if len(p.ISR) == 3 && p.Leader != p.Replicas[0] {
			_, _ = adm.ElectLeaders(ctx, kadm.ElectPreferredReplica, kadm.TopicsSet{"t": {p.Partition: {}}})
		}
		return len(p.ISR) == 3 && p.Leader == p.Replicas[0]
	})
}

// waitShrunk waits until no partition counts on the broker any more.
func (w *writers) waitShrunk(ctx context.Context, t *testing.T, broker int) {
	t.Helper()
	id := int32(broker + 1)
	w.waitPartitions(ctx, t, func(p kadm.PartitionDetail) bool {
		for _, in := range p.ISR {
			if in == id {
				return false
			}
		}
		return p.Leader != id
	})
}

func (w *writers) waitPartitions(ctx context.Context, t *testing.T, ok func(kadm.PartitionDetail) bool) {
	t.Helper()
	adm := kadm.NewClient(w.client)
	tick := time.NewTicker(4 * writeEvery)
	defer tick.Stop()
	for {
		topics, err := adm.ListTopics(ctx, "t")
		met := err == nil && len(topics["t"].Partitions) == writtenPartitions
		if met {
			for _, p := range topics["t"].Partitions {
				met = ok(p) && met
			}
		}
		if met {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("partitions are not as wanted: %v, %v", topics["t"].Partitions, err)
		}
	}
}
