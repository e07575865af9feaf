package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/topic"
)

// TestAMoveToAnotherPrefix follows the steps of a move, and refuses those that are not safe yet.
func TestAMoveToAnotherPrefix(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	ctx := t.Context()
	retention := "1209600000"
	for name, n := range map[string]int32{"status": 2, "view": 2, "deferred": 2, "control": 2, "dead": 1,
		"requests.default": 5, "requests.slow": 2} {
		configs := map[string]*string{}
		if name == "status" {
			configs["retention.ms"] = &retention
		}
		if _, err := adm.CreateTopic(ctx, n, 1, configs, "ackwire."+name); err != nil {
			t.Fatal(err)
		}
	}
	produce := func(r *kgo.Record) {
		t.Helper()
		if err := cl.ProduceSync(ctx, r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	// view writes a job, or removes it, and a checkpoint that has all events of the partition.
	view := func(p int32, id, doc string) {
		t.Helper()
		rec := &kgo.Record{Topic: "ackwire.view", Partition: p, Key: []byte(id)}
		if doc != "" {
			rec.Value = []byte(doc)
		}
		produce(rec)
		ends, err := adm.ListEndOffsets(ctx, "ackwire.status")
		if err != nil {
			t.Fatal(err)
		}
		end, _ := ends.Lookup("ackwire.status", p)
		checkpoint := map[string]any{"v": 1, "next": end.Offset, "sum": "0"}
		if end.Offset > 0 {
			checkpoint["closedAt"] = 1
		}
		b, _ := json.Marshal(checkpoint)
		produce(&kgo.Record{Topic: "ackwire.view", Partition: p, Key: []byte(fmt.Sprint("checkpoint/", p)), Value: b,
			Headers: []kgo.RecordHeader{{Key: topic.HeaderViewKind, Value: []byte(topic.ViewCheckpoint)}}})
	}
	view(0, "a", `{"state":"processing"}`)
	view(0, "b", `{"state":"completed"}`)
	view(1, "c", `{"state":"scheduled"}`)

	step := func(want string, code int, args ...string) {
		t.Helper()
		got, out, errs := runTopics(t, c.ListenAddrs(), append([]string{"grow", "--status", "6", "--to", "new."}, args...)...)
		if got != code || !strings.Contains(out+errs, want) {
			t.Errorf("%q: exit code %d, want %d and %q:\n%s%s", args, got, code, want, out, errs)
		}
	}
	member := func(group string, topics ...string) {
		t.Helper()
		joined := make(chan struct{}, 10)
		m, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topics...),
			kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, _ map[string][]int32) { joined <- struct{}{} }))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Close)
		select {
		case <-joined:
		case <-time.After(20 * time.Second):
			t.Fatalf("group %s has no member", group)
		}
	}

	step("must be another prefix", 2, "--to", "ackwire.")
	step("give either --requests or --status", 2, "--requests", "9")
	step("has 2 partitions already", 2, "--status", "2")
	step("there is no topic nobody.status", 2, "--topic-prefix", "nobody.")
	step("topic new.status: to be made", 0, "--dry-run")
	step("before --close", 2, "--dry-run", "--close")
	if have, err := adm.ListTopics(ctx); err != nil || have.Has("new.status") {
		t.Fatalf("a dry run made topics: %v", err)
	}
	step("topic new.status: made", 0)
	step("jobs left under ackwire.: 1 scheduled, 1 processing, 1 completed\n", 0)
	step("restart all gateways, one after the other, with --topic-prefix new. --partitions 6 --former-topic-prefix "+
		"ackwire.; then", 0)
	step("exists with 6 partitions, not 7", 2, "--status", "7")
	fresh, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	have, err := kadm.NewClient(fresh).ListTopics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]int{"status": 6, "view": 6, "deferred": 6, "control": 6, "dead": 1,
		"requests.default": 6, "requests.slow": 6} {
		if len(have["new."+name].Partitions) != n {
			t.Errorf("new.%s has %d partitions, want %d", name, len(have["new."+name].Partitions), n)
		}
	}
	if own, err := settingsOf(ctx, adm, "new.status"); err != nil || own["retention.ms"] == nil ||
		*own["retention.ms"] != retention {
		t.Errorf("the settings of new.status are %v, %v", own, err)
	}

	step("trackers own 0 of 6 partitions", 2, "--close")
	member("new.tracker", "new.status")
	member("ackwire.processor.slow", "ackwire.requests.slow")
	step("no worker takes requests of lane slow", 2, "--close")
	member("new.processor.slow", "new.requests.slow")
	step("ackwire. is not closed", 0)
	step("ackwire. is closed: new jobs are made under new.\n", 0, "--close")
	step("ackwire. is not closed, by what its trackers have written to view so far", 0)
	view(0, "a", `{"state":"completed"}`)
	view(1, "c", `{"state":"retrying"}`)
	step("ackwire. is closed", 0)
	step("let trackers and workers of ackwire. run until its jobs have ended", 0)
	step("ackwire. is closed", 0, "--close") // it may be repeated
	view(0, "a", "")
	view(1, "c", `{"state":"failed"}`)
	step("all jobs of ackwire. have ended", 0)
	view(0, "b", "")
	view(1, "c", "")
	step("no job is left under ackwire.: restart gateways without --former-topic-prefix", 0)
	step(`"closed":true,"jobs":{},"open":0,"behind":0,"next":"no job is left`, 0, "--json")
}
