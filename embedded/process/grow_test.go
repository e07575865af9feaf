package process

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafkatest"
	"github.com/ackwire/ackwire/internal/pause"
)

// TestTopicsGrow runs `ackwire topics grow` on a real Kafka while jobs run and are retried. First the topics of requests
// get more partitions, from which workers take requests. Then the system moves to topics of another prefix, with more
// partitions of status. Every job completes once.
func TestTopicsGrow(t *testing.T) {
	c := kafkatest.Start(t, 1)
	brokers := strings.Join(c.Brokers(), ",")
	f := startFleet(t, brokers, 1)
	t.Run("requests", func(t *testing.T) { f.requestsGrow(t, c) })
	t.Run("status", func(t *testing.T) { f.moves(t, brokers) })
}

func growMixture(i int) (jobType, payload string) {
	if i%5 == 0 {
		return "demo.flaky", `{"failures":2}`
	}
	return "demo.sleep", fmt.Sprintf(`{"seconds":%d,"steps":2}`, i%6)
}

// topicsGrow runs the command and wants an exit code and a text.
func topicsGrow(t *testing.T, brokers string, code int, want string, args ...string) {
	t.Helper()
	got, out := one(t, append([]string{"ackwire", "topics", "grow", "--kafka", brokers}, args...)...)
	if got != code || !strings.Contains(out, want) {
		t.Fatalf("topics grow %q: exit code %d, printed %q, want %d and %q", args, got, out, code, want)
	}
}

func (f *fleet) requestsGrow(t *testing.T, c *kafkatest.Cluster) {
	brokers := strings.Join(c.Brokers(), ",")
	ops := addrs(t, 1)[0]
	start(t, "processor", ops, "--kafka", brokers, "--lanes", "default,reports", "--demo", "--ops", ops, "--slots", "2000")
	ctx, _ := dial(t, f.url)
	w := &crowd{t: t}
	w.join(ctx, f.url, 40, growMixture)
	topicsGrow(t, brokers, 0, "had 12 partitions and now has 20; 2 workers share 20 of them\n", "--requests", "20",
		"--lane", "default")
	w.join(ctx, f.url, 40, growMixture)
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	fresh := func() (records int64) {
		ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, "ackwire.requests.default")
		if err != nil {
			t.Fatal(err)
		}
		ends.Each(func(o kadm.ListedOffset) {
			if o.Partition >= 12 {
				records += o.Offset
			}
		})
		return records
	}
	for began := time.Now(); fresh() == 0 && time.Since(began) < 20*time.Second; pause.For(ctx, 200*time.Millisecond) {
		w.join(ctx, f.url, 10, growMixture)
	}
	w.check(ctx, f.url)
	if fresh() == 0 {
		t.Error("no request lies in a new partition")
	}
}

func (f *fleet) moves(t *testing.T, brokers string) {
	ctx, cancel := context.WithTimeout(t.Context(), testWithin)
	defer cancel()
	before := &crowd{t: t}
	before.join(ctx, f.url, 20, growMixture)
	grow := []string{"--status", "15", "--to", "ackwire2."}
	topicsGrow(t, brokers, 0, "topic ackwire2.status: made\n", grow...)
	topicsGrow(t, brokers, 2, "trackers own 0 of 15 partitions of ackwire2.status", append(grow, "--close")...)

	a := addrs(t, 5)
	start(t, "tracker", a[1], "--kafka", brokers, "--topic-prefix", "ackwire2.", "--partitions", "15", "--data",
		t.TempDir(), "--tracker-listen", a[0], "--ops-listen", a[1], "--tracker-session-timeout", "6s")
	start(t, "processor", a[2], "--kafka", brokers, "--topic-prefix", "ackwire2.", "--partitions", "15", "--lanes",
		"default,reports", "--demo", "--ops", a[2], "--slots", "2000")
	start(t, "gateway", a[4], "--kafka", brokers, "--topic-prefix", "ackwire2.", "--partitions", "15",
		"--former-topic-prefix", "ackwire.", "--listen", a[3], "--ops-listen", a[4], "--anonymous-tenant", "local")
	both := "http://" + a[3]
	between := &crowd{t: t}
	between.join(ctx, both, 20, growMixture)
	topicsGrow(t, brokers, 0, "ackwire. is closed: new jobs are made under ackwire2.\n", append(grow, "--close")...)
	after := &crowd{t: t}
	after.join(ctx, both, 40, growMixture)
	for _, w := range []*crowd{before, between, after} {
		w.check(ctx, both)
	}
	within(t, startWithin, "the view says that all former jobs have ended", func() bool {
		_, out := one(t, append([]string{"ackwire", "topics", "grow", "--kafka", brokers, "--json"}, grow...)...)
		return strings.Contains(out, `"closed":true`) && strings.Contains(out, `"open":0,"behind":0`)
	})
	topicsGrow(t, brokers, 0, "all jobs of ackwire. have ended", grow...)
}
