package process

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafkatest"
	"github.com/ackwire/ackwire/internal/pause"
)

// TestRequestsGrow: on a real Kafka, `ackwire topics grow` adds partitions while jobs run and are retried. Workers take
// requests from the new partitions, and every job completes once.
func TestRequestsGrow(t *testing.T) {
	c := kafkatest.Start(t, 1)
	brokers := strings.Join(c.Brokers(), ",")
	f := startFleet(t, brokers, 1)
	ops := addrs(t, 1)[0]
	start(t, "processor", ops, "--kafka", brokers, "--lanes", "default,reports", "--demo", "--ops", ops, "--slots", "2000")
	ctx, _ := dial(t, f.url)
	mixture := func(i int) (jobType, payload string) {
		if i%5 == 0 {
			return "demo.flaky", `{"failures":2}`
		}
		return "demo.sleep", fmt.Sprintf(`{"seconds":%d,"steps":2}`, i%6)
	}
	w := &crowd{t: t}
	w.join(ctx, f.url, 40, mixture)
	out, err := exec.Command(filepath.Join(binaries, "ackwire"), "topics", "grow", "--kafka", brokers, "--requests", "20",
		"--lane", "default").CombinedOutput()
	if want := "had 12 partitions and now has 20; 2 workers share 20 of them\n"; err != nil ||
		!strings.HasSuffix(string(out), want) {
		t.Fatalf("topics grow: %v, printed %q, want %q", err, out, want)
	}
	w.join(ctx, f.url, 40, mixture)
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
		w.join(ctx, f.url, 10, mixture)
	}
	w.check(ctx, f.url)
	if fresh() == 0 {
		t.Error("no request lies in a new partition")
	}
}
