package sim

import (
	"context"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/vendors"
)

// vendor is a managed Kafka, and the flags of the processes that use it. The zero value stands for a Kafka that refuses
// nothing.
type vendor struct {
	kit   *vendors.Vendor
	rules *vendors.Rules
	flags vendorFlags
}

// vendorFlags are the flags that the documentation names, parsed as the commands do.
type vendorFlags struct {
	Kafka  kafka.Config `embed:""`
	Topics kafka.Topics `embed:""`
	NoView bool         `name:"tracker-no-view"`
}

// RunOn runs a test in a bubble with a broker that refuses what a vendor refuses. All processes that the test starts
// have the vendor's flags; with --topics verify among them the vendor's portal has made the topics before.
func RunOn(t *testing.T, v vendors.Vendor, test func(*World)) {
	t.Helper()
	with := vendor{kit: &v}
	parser, err := kong.New(&with.flags)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(append(append([]string{}, v.Flags...), v.Tracker...)); err != nil {
		t.Fatalf("flags of %s: %v", v.Name, err)
	}
	runWorld(t, setting{vendor: with}, test)
}

// brokers returns the options of the cluster.
func (v vendor) brokers() []kfake.Opt {
	if v.kit == nil {
		return []kfake.Opt{kfake.NumBrokers(1), kfake.Ports(9092)}
	}
	return v.kit.Options()
}

// noView: without a vendor there is no view, since kfake's compaction loses records.
func (v vendor) noView() bool { return v.kit == nil || v.flags.NoView }

// apply begins to refuse. With --topics verify the portal makes the topics.
func (v *vendor) apply(w *World) {
	w.T.Helper()
	v.rules = v.kit.Apply(w.Cluster)
	if v.flags.Topics.Mode != kafka.TopicsVerify {
		return
	}
	var topics []kafka.Topic
	for _, s := range w.Names.Specs([]string{"default", "reports"}, partitions) {
		topics = append(topics, kafka.Topic(s))
	}
	if err := v.rules.Make(w.ctx(), w.raw, topics...); err != nil {
		w.T.Fatal(err)
	}
}

// StartAnotherTracker starts a second tracker, on a host and a disk of its own.
func (w *World) StartAnotherTracker() *Process {
	w.T.Helper()
	metrics := prometheus.NewRegistry()
	t := w.newTracker("tracker-2", trackerPort+1, vfs.NewMem(), metrics)
	return w.start("tracker-2", metrics, t.Run, t.Ready)
}

// TryTracker runs a tracker for at most so long and returns the error with which it ended, or else why it is not ready.
func (w *World) TryTracker(within time.Duration) error {
	w.T.Helper()
	t := w.newTracker("tracker", trackerPort, w.fs, prometheus.NewRegistry())
	ctx, cancel := context.WithTimeout(w.ctx(), within)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- t.Run(ctx) }()
	ready := time.NewTimer(within - time.Second)
	defer ready.Stop()
	select {
	case err := <-ended:
		return err
	case <-ready.C:
	}
	why := t.Ready()
	cancel()
	if err := <-ended; err != nil {
		return err
	}
	return why
}
