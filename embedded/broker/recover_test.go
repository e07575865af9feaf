package broker

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/embedded/broker/audit"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/service"
)

// TestADiskThatWasFull: the broker is not ready while it cannot write, and goes on by itself once the
// disk has room. What was acked is there, its state logs have no torn entry, and offsets that were
// committed afterwards are there after a restart.
func TestADiskThatWasFull(t *testing.T) {
	disk := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=8m",
		"tmpfs", disk).CombinedOutput(); err != nil {
		t.Skipf("no small disk can be made here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "umount", disk).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	data := filepath.Join(disk, "data")
	start := func() (b *Broker, cl *kgo.Client, stop func()) {
		env := service.OS(slog.New(slog.DiscardHandler))
		env.Metrics = prometheus.NewRegistry()
		b, err := Start(t.Context(), Config{Data: data, Listen: "127.0.0.1:0"}, env)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx) }()
		cl, err = kafka.Config{Brokers: []string{b.Addr()}}.NewClient(service.OS(slog.New(slog.DiscardHandler)), "test")
		if err != nil {
			t.Fatal(err)
		}
		return b, cl, func() {
			cl.Close()
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	b, cl, stop := start()
	if _, err := kafka.EnsureTopics(t.Context(), cl, kafka.Topic{Name: "status", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	admin := kadm.NewClient(cl)
	commit := func(at int64) error {
		offsets := kadm.Offsets{}
		offsets.AddOffset("status", 0, at, -1)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := admin.CommitOffsets(ctx, "workers", offsets)
		return err
	}
	acked := int64(0)
	produce := func() error {
		err := kafka.ProduceSync(t.Context(), cl, &kgo.Record{Topic: "status", Value: make([]byte, 1000)})
		if err == nil {
			acked++
		}
		return err
	}
	wait := func(what string, holds func() bool) {
		t.Helper()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.Now().Add(time.Minute); !holds(); <-tick.C {
			if time.Now().After(deadline) {
				t.Fatalf("%s: not within a minute; %v", what, b.Ready())
			}
		}
	}
	if err := errors.Join(produce(), commit(1)); err != nil {
		t.Fatal(err)
	}
	hog, err := os.Create(filepath.Join(disk, "hog"))
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 4096); ; {
		if _, err := hog.Write(block); err != nil {
			break
		}
	}
	_ = hog.Close()
	wait("a full disk is seen", func() bool {
		_ = produce()
		for range 50 {
			_ = commit(acked)
		}
		return b.Ready() != nil
	})
	if err := os.Remove(hog.Name()); err != nil {
		t.Fatal(err)
	}
	wait("the broker goes on", func() bool { return b.Ready() == nil })
	wait("a produce is acked", func() bool { return produce() == nil })
	wait("an offset is committed", func() bool { return commit(acked) == nil })
	stop()
	for _, name := range []string{"groups.log", "pids.log"} {
		raw, err := os.ReadFile(filepath.Join(folder(data), name))
		if _, skipped := audit.Entries(raw); err != nil || skipped > 0 {
			t.Errorf("%s: %d bytes of it are damaged, %v", name, skipped, err)
		}
	}
	_, cl, stop = start()
	defer stop()
	admin = kadm.NewClient(cl)
	ends, err := admin.ListEndOffsets(t.Context(), "status")
	if end, _ := ends.Lookup("status", 0); err != nil || end.Offset < acked {
		t.Errorf("%d records are there, %d were acked: %v", end.Offset, acked, err)
	}
	committed, err := admin.FetchOffsets(t.Context(), "workers")
	if at, _ := committed.Lookup("status", 0); err != nil || at.At != acked {
		t.Errorf("committed is %d, want %d: %v", at.At, acked, err)
	}
}
