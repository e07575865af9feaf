package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
)

func TestDeadLetters(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "ackwire.dead"),
		kfake.SeedTopics(3, "ackwire.requests.default"), kfake.SeedTopics(2, "ackwire.status"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	brokers := strings.Join(c.ListenAddrs(), ",")
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumeTopics("ackwire.requests.default"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dead := func(from, reason string, value []byte) {
		t.Helper()
		r := &kgo.Record{Topic: "ackwire.dead", Key: []byte("job-1"), Value: value, Headers: []kgo.RecordHeader{
			{Key: "ce_id", Value: []byte("job-1")},
			{Key: topic.HeaderDeadReason, Value: []byte(reason)}, {
				Key: topic.HeaderDeadDetail, Value: []byte("header x is missing\x1b[2J"),
			},
			{Key: topic.HeaderDeadTopic, Value: []byte(from)}, {Key: topic.HeaderDeadPartition, Value: []byte("2")},
			{Key: topic.HeaderDeadOffset, Value: []byte("7")}}}
		if err := cl.ProduceSync(ctx, r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	dead("ackwire.requests.default", "bad_request", []byte(`{"n":1}`))
	dead("somewhere.else", "undecodable", []byte{0xff, 0x00})

	run := func(args ...string) (code int, stdout, stderr string) {
		t.Helper()
		var out, errs bytes.Buffer
		env := &Env{Context: ctx, Stdout: &out, Stderr: &errs}
		var cmds struct {
			Dead DeadCmd `cmd:""`
		}
		parser, err := kong.New(&cmds, kong.Name("ackwire"))
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parser.Parse(append([]string{"dead"}, append(args, "--kafka", brokers)...))
		if err != nil {
			t.Fatal(err)
		}
		code = Report(env, parsed.Run(env))
		return code, out.String(), errs.String()
	}
	if code, out, _ := run("list"); code != 0 || strings.Count(out, "\n") != 2 || !strings.Contains(out, "bad_request") ||
		strings.Contains(out, "\x1b") {
		t.Errorf("list: %d %q", code, out)
	}
	if code, out, _ := run("list", "--json"); code != 0 || strings.Count(out, "\n") != 2 ||
		!strings.Contains(out, `"id":"0/1"`) {
		t.Errorf("list --json: %d %q", code, out)
	}
	if code, out, _ := run("show", "0/0"); code != 0 || !strings.Contains(out, `"ce_id": "job-1"`) {
		t.Errorf("show: %d %q", code, out)
	}
	if code, _, errs := run("show", "0/9"); code != ExitRefused || !strings.Contains(errs, "no dead letter 0/9") {
		t.Errorf("show of none: %d %q", code, errs)
	}
	if code, _, errs := run("requeue", "0/1"); code != ExitRefused || !strings.Contains(errs, "does not name a topic") {
		t.Errorf("requeue to a strange topic: %d %q", code, errs)
	}
	if code, _, errs := run("requeue", "0/0"); code != 0 || !strings.Contains(errs, "ackwire.requests.default") {
		t.Fatalf("requeue: %d %q", code, errs)
	}
	fetches := cl.PollFetches(ctx)
	for r := range fetches.RecordsAll() {
		if string(r.Key) != "job-1" || string(r.Value) != `{"n":1}` || len(r.Headers) != 1 || r.Headers[0].Key != "ce_id" {
			t.Errorf("it went back as %q %q %v", r.Key, r.Value, r.Headers)
		}
	}
	if n := fetches.NumRecords(); n != 1 {
		t.Errorf("%d records went back: %v", n, fetches.Err())
	}
}

// TestDeadRequests: a request whose job waits for it is handed out again, not written back; what was
// wrong with it may be any of its headers.
func TestDeadRequests(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "ackwire.dead"),
		kfake.SeedTopics(3, "ackwire.requests.default"), kfake.SeedTopics(2, "ackwire.status"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	put := func(r *kgo.Record) {
		t.Helper()
		if err := cl.ProduceSync(ctx, r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	policy := job.Policy{Attempts: 1, Lease: job.Seconds(time.Minute), Retention: job.Seconds(time.Hour)}
	policyJSON, err := json.Marshal(policy)
	if err != nil {
		t.Fatal(err)
	}
	at := event.Position{Topic: "ackwire.requests.default", Partition: 2, Offset: 7}
	say := func(e event.Event) {
		t.Helper()
		value, err := event.Encode(&e)
		if err != nil {
			t.Fatal(err)
		}
		put(&kgo.Record{Topic: "ackwire.status", Key: []byte(e.JobID), Value: value})
	}
	for _, id := range []string{"waits", "ended", "unreadable"} {
		say(event.Event{
			Type: event.Accepted, JobID: id, Job: "t", Tenant: "acme", PayloadHash: "sha256:00", Policy: &policy,
			Request: &at,
		})
	}
	say(event.Event{Type: event.CancelRequested, JobID: "ended"})
	age := map[string]time.Duration{"old": 2 * time.Hour}
	letters := []string{"waits", "ended", "unreadable", "young", "old"}
	for _, id := range letters {
		r := &kgo.Record{Topic: "ackwire.dead", Key: []byte(id), Value: []byte("1"), Timestamp: time.Now().Add(-age[id]),
			Headers: []kgo.RecordHeader{
				{Key: topic.HeaderLife, Value: []byte("\xff")}, {Key: topic.HeaderDispatch, Value: []byte("x")},
				{Key: topic.HeaderPolicy, Value: policyJSON},
				{Key: topic.HeaderDeadTopic, Value: []byte(at.Topic)}, {Key: topic.HeaderDeadPartition, Value: []byte("2")},
				{Key: topic.HeaderDeadOffset, Value: []byte("7")}}}
		if id == "unreadable" {
			r.Headers = r.Headers[3:]
		}
		put(r)
	}
	written := func(name string) (n int64) {
		ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
		return n
	}
	for _, test := range []struct {
		id, says string
		code     int
		back     int64 // records that have been written back in all
	}{
		{"waits", "job waits gets a new request, as dispatch 2", 0, 0},
		{"waits", "invalid_state: job waits is retrying", ExitRefused, 0},
		{"ended", "invalid_state: job ended has ended: it is cancelled", ExitRefused, 0},
		{"unreadable", "job unreadable gets a new request, as dispatch 2", 0, 0},
		{"old", "not_found: job old is not known", ExitRefused, 0},
		{"young", "is written to ackwire.requests.default", 0, 1},
	} {
		var errs bytes.Buffer
		env := &Env{Context: ctx, Stderr: &errs}
		cmd := DeadRequeueCmd{
			EitherFlags: EitherFlags{Kafka: kafka.Config{Brokers: c.ListenAddrs()}, TopicPrefix: "ackwire.", direct: true},
			ID:          fmt.Sprintf("0/%d", slices.Index(letters, test.id)),
		}
		code := Report(env, cmd.Run(env))
		if code != test.code || !strings.Contains(errs.String(), test.says) || written(at.Topic) != test.back {
			t.Errorf("requeue of %s: %d %q, %d written back", test.id, code, errs.String(), written(at.Topic))
		}
	}
}
