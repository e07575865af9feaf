package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/command"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/processor/demo"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
)

func TestBadConfigurationSaysWhat(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "--demo"},
		{[]string{"--demo", "--slots=-1", "--lanes=X"}, "slots must be 1 to 4096\nlanes: "},
		{[]string{"--demo", "--nonsense"}, "nonsense"},
		{[]string{"--demo", "--config=missing.yaml"}, "missing.yaml"},
		{[]string{"--demo", "--ops=nowhere"}, "ops listener"},
		{[]string{"--demo", "--job-types=missing.yaml"}, "missing.yaml"},
	} {
		err := run(t.Context(), c.args, io.Discard, io.Discard)
		if err == nil {
			t.Errorf("%v: accepted", c.args)
			continue
		}
		if line := err.Error(); !strings.Contains(line, c.want) {
			t.Errorf("%v: %q", c.args, line)
		}
	}
}

// Settings of handlers with shell syntax are refused, and errors never show a secret.
func TestHandlersAreTakenAsTheyAreMeant(t *testing.T) {
	for _, c := range []struct{ handler, want string }{
		{"sh a | b", "--type T: | needs a shell"},
		{"sh > out", "--type T: > needs a shell"},
		{"http://bob:hunter2@exa mple.com", `"http://xxxxx@`},
		{"http://bob:hunter2@h:port/", `"http://xxxxx@h:port/"`},
	} {
		var log bytes.Buffer
		err := run(t.Context(), []string{"--ops=127.0.0.1:0", "--type=T=" + c.handler}, io.Discard, &log)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error()+log.String(), "hunter2") {
			t.Errorf("%s: %v\n%s", c.handler, err, &log)
		}
	}
	var log bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = run(ctx, []string{"--ops=127.0.0.1:0", "--kafka=127.0.0.1:1",
		"--type=T=http://bob:hunter2@127.0.0.1:1/x?token=hunter2&a=1"}, io.Discard, &log)
	if got := log.String(); strings.Contains(got, "hunter2") ||
		!strings.Contains(got, "http://xxxxx@127.0.0.1:1/x?token=xxxxx&a=1") {
		t.Errorf("logged %s", got)
	}
}

func TestHelp(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"--help"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, flag := range []string{"--kafka", "--lanes", "--slots", "--demo", "--ops", "--config", "--grace"} {
		if !strings.Contains(out.String(), flag) {
			t.Errorf("%s is not in the help", flag)
		}
	}
}

// The command takes a job from a Kafka on this machine and completes it.
func TestRunsDemoJobs(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	brokers := cluster.ListenAddrs()
	env := service.OS(command.Logging{LogFormat: "text"}.Logger(io.Discard))
	env.Metrics = prometheus.NewRegistry()
	names := topic.Names{Prefix: topic.DefaultPrefix}
	client, err := kafka.Config{Brokers: brokers}.NewClient(env, "test", kgo.ConsumeTopics(names.Status()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()

	runCtx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		done <- run(runCtx, []string{
			"--demo", "--ops=127.0.0.1:0", "--kafka=" + strings.Join(brokers, ","), "--claims-always-wait=false",
		},
			io.Discard, io.Discard)
	}()
	spec := names.RequestsSpec("default", topic.DefaultPartitions)
	status := names.StatusSpec(topic.DefaultPartitions)
	for _, s := range []topic.Spec{spec, status} {
		if _, err := kafka.EnsureTopics(ctx, client, kafka.Topic(s)); err != nil {
			t.Fatal(err)
		}
	}
	req := topic.Request{JobID: "a", Job: demo.Echo, Lane: "default", Dispatch: 1, Attempt: 1, Tenant: "acme",
		PayloadHash: "sha256:00",
		Policy:      job.Policy{Attempts: 1, Lease: job.Seconds(30 * time.Second)}}
	headers, err := req.Headers()
	if err != nil {
		t.Fatal(err)
	}
	rec := &kgo.Record{Topic: spec.Name, Key: []byte("a"), Value: []byte(`{"hello":1}`)}
	for _, h := range headers {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	if err := kafka.ProduceSync(ctx, client, rec); err != nil {
		t.Fatal(err)
	}
	for completed := false; !completed; {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatal("the job did not complete")
		}
		fetches.EachRecord(func(r *kgo.Record) {
			e, err := event.Decode(r.Value)
			if err != nil {
				t.Error(err)
			}
			switch e.Type {
			case event.Claimed: // as the tracker does
				order, err := event.EncodeOrder(event.Order{
					Type: event.Granted, JobID: e.JobID, Dispatch: e.Dispatch, Run: e.Run, Worker: e.Worker,
				})
				if err != nil {
					t.Error(err)
				}
				kafka.Produce(ctx, client, &kgo.Record{Topic: names.Control(), Key: []byte(e.Worker), Value: order},
					func(*kgo.Record, error) {})
			case event.Completed:
				completed = string(e.Result) == `{"hello":1}`
			}
		})
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
