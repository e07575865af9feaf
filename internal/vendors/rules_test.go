package vendors

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/service"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a cluster of the vendor and returns a client.
func start(t *testing.T, v Vendor, cfg kafka.Config) (*Rules, *kgo.Client) {
	t.Helper()
	network := &kfake.VirtualNetwork{}
	c, err := kfake.NewCluster(append(v.Options(), kfake.ListenFn(
		func(n, a string) (net.Listener, error) { return network.Listen(n, a) }))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cfg.Brokers = []string{"127.0.0.1:9092"}
	cl, err := cfg.NewClient(service.Env{Log: slog.New(slog.DiscardHandler), Dial: network.DialContext}, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return v.Apply(c), cl
}

// What each vendor refuses is refused, with its own error, and what it takes is taken.
func TestRules(t *testing.T) {
	compact := map[string]string{"cleanup.policy": "compact"}
	for _, c := range []struct {
		v        Vendor
		configs  map[string]string
		replicas int16
		err      error
		text     string
	}{
		{MSKServerless(), compact, -1, nil, ""},
		{MSKServerless(), map[string]string{"segment.ms": "1"}, -1, kerr.InvalidConfig, "can't alter"},
		{MSKServerless(), map[string]string{"max.message.bytes": "9000000"}, 3, kerr.InvalidConfig, "max.message.bytes"},
		{MSKServerless(), compact, 1, kerr.InvalidReplicationFactor, ""},
		{RedpandaServerless(), map[string]string{"retention.ms": "3600000"}, -1, kerr.InvalidConfig, "must be at least 24h"},
		{RedpandaServerless(), map[string]string{"segment.ms": "3600000"}, -1, kerr.InvalidConfig, `cannot set "segment.ms"`},
		{ConfluentCloud(), map[string]string{"segment.ms": "3600000"}, -1, kerr.PolicyViolation, "value of 14400000"},
		{ConfluentCloud(), map[string]string{"retention.ms": "-1"}, 3, nil, ""},
		{ConfluentCloud(), map[string]string{"min.cleanable.dirty.ratio": "0.2"}, -1, kerr.PolicyViolation, "disallowed"},
		{WarpStream(), map[string]string{"segment.ms": "1"}, 3, nil, ""},
		{EventHubsPremium(), nil, -1, kerr.PolicyViolation, "in the portal"},
	} {
		_, cl := start(t, c.v, kafka.Config{})
		configs := map[string]*string{}
		for k, v := range c.configs {
			configs[k] = &v
		}
		resp, err := kadm.NewClient(cl).CreateTopic(t.Context(), 1, c.replicas, configs, "topic")
		if !errors.Is(err, c.err) || !strings.Contains(resp.ErrMessage, c.text) {
			t.Errorf("%s, %v: %v %q, want %v with %q", c.v.Name, c.configs, err, resp.ErrMessage, c.err, c.text)
		}
	}
}

// A vendor without transactions refuses them, and one that has them does not.
func TestTransactionsOfVendors(t *testing.T) {
	for _, v := range All() {
		_, cl := start(t, v, kafka.Config{})
		err := kafka.Transactions(t.Context(), cl, "id")
		if needed := len(v.Tracker) == 0; needed != (err == nil) || !needed && !errors.Is(err, kafka.ErrNoTransactions) {
			t.Errorf("%s: %v", v.Name, err)
		}
	}
}

// Clients send no request that Event Hubs answers by closing the connection, however much they have to send; and a
// codec that it does not take is refused.
func TestRequestsToEventHubs(t *testing.T) {
	rules, cl := start(t, EventHubsPremium(), kafka.Config{Compression: "gzip"})
	if err := rules.Make(t.Context(), cl, kafka.Topic{Name: "topic", Partitions: 8}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	const records = 24
	ends := make(chan error, records)
	for i := range records {
		value := make([]byte, 400_000)
		_, _ = rand.Read(value) // gzip does not help
		rec := &kgo.Record{Topic: "topic", Key: fmt.Append(nil, i), Value: value}
		kafka.Produce(ctx, cl, rec, func(_ *kgo.Record, err error) { ends <- err })
	}
	for range records {
		if err := <-ends; err != nil {
			t.Error(err)
		}
	}
	rules, snappy := start(t, EventHubsPremium(), kafka.Config{})
	if err := rules.Make(t.Context(), snappy, kafka.Topic{Name: "topic", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	err := kafka.ProduceSync(ctx, snappy, &kgo.Record{Topic: "topic", Value: make([]byte, 1000)})
	if !errors.Is(err, kafka.ErrRefused) || !strings.Contains(err.Error(), "--kafka-compression") {
		t.Errorf("snappy: %v", err)
	}
}
