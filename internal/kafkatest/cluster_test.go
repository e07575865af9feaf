package kafkatest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
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
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers()...), kgo.ProducerLinger(0), kgo.ConsumeTopics("t"),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func createTopic(ctx context.Context, t *testing.T, cl *kgo.Client) {
	t.Helper()
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, 3, -1, nil, "t"); err != nil {
		t.Fatal(err)
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
	consume(ctx, t, newClient(t, c), acked)
}
