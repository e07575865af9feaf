package broker

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/bubble"
)

func TestRecordsHaveTheBrokersTime(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var network kfake.VirtualNetwork
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"), kfake.ListenFn(network.Listen))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		UseAppendTime(c)
		cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumeTopics("t"),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.Dialer(func(ctx context.Context, n, a string) (net.Conn, error) { return network.DialContext(ctx, n, a) }))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		for _, off := range []time.Duration{-time.Hour, 0, time.Hour} {
			if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Value: []byte(off.String()),
				Timestamp: time.Now().Add(off)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		seen := 0
		for seen < 3 {
			fetches := cl.PollFetches(t.Context())
			if err := fetches.Err(); err != nil {
				t.Fatal(err)
			}
			fetches.EachRecord(func(r *kgo.Record) {
				seen++
				if d := time.Since(r.Timestamp); d < 0 || d > time.Minute {
					t.Errorf("a record of a clock that is %s off is %s old", r.Value, d)
				}
			})
		}
	})
}

// TestStampLeavesDamageAlone: the broker must still be able to see it.
func TestStampLeavesDamageAlone(t *testing.T) {
	for _, b := range [][]byte{nil, {1, 2, 3}, make([]byte, 200)} {
		before := string(b)
		stamp(b, time.Now())
		if string(b) != before {
			t.Errorf("%d bytes that are no batch were changed", len(b))
		}
	}
}
