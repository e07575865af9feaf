package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/gateway"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/cmd/flags"
	"github.com/ackwire/ackwire/processor/demo"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker"
)

const (
	movedTo         = "ackwire2."
	movedPartitions = 7
)

// startMoved starts a tracker and a worker of the new topic prefix beside those of the former one.
func (w *World) startMoved() (moved, worker *Process) {
	w.T.Helper()
	metrics := prometheus.NewRegistry()
	t, err := tracker.New(tracker.Config{
		Kafka: w.kafka(), TopicPrefix: movedTo, Partitions: movedPartitions,
		Settings: tracker.Settings{
			Listen: fmt.Sprintf("127.0.0.1:%d", trackerPort+5), Advertise: fmt.Sprintf("localhost:%d", trackerPort+5),
			SessionTimeout: 6 * time.Second, NoView: true,
		},
		Data: "tracker", FS: vfs.NewCrashableMem(), Blobs: w.blobs, BrokerTimes: true,
	}, w.env("tracker-2", metrics))
	if err != nil {
		w.T.Fatal(err)
	}
	moved = w.start("tracker-2", metrics, t.Run, t.Ready)
	metrics = prometheus.NewRegistry()
	p, err := processor.New(processor.Config{
		Brokers: w.kafka().Brokers, TopicPrefix: movedTo, Partitions: movedPartitions, Lanes: []string{"default", "reports"},
		WorkerID: "worker-of-2", Grace: 2 * time.Second,
	}, flags.Options(w.env("worker-of-2", metrics))...)
	if err != nil {
		w.T.Fatal(err)
	}
	demo.Register(p)
	return moved, w.start("worker-of-2", metrics, p.Run, p.Ready)
}

// closeFormer writes the mark after which the former topics take no new keys, as `ackwire topics grow --close` does.
func (w *World) closeFormer() {
	w.T.Helper()
	cl, err := w.kafka().NewClient(w.env("closing", prometheus.NewRegistry()), "closing",
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		w.T.Fatal(err)
	}
	defer cl.Close()
	for p := range int32(partitions) {
		mark := &kgo.Record{Topic: w.Names.Status(), Partition: p, Value: []byte(movedTo),
			Headers: []kgo.RecordHeader{{Key: topic.HeaderMark, Value: []byte(topic.MarkClosed)}}}
		if err := cl.ProduceSync(w.ctx(), mark).FirstErr(); err != nil {
			w.T.Fatal(err)
		}
	}
}

// movers submit jobs through all gateways for as long as the test lasts, and look at each through another gateway.
type movers struct {
	w      *World
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex // guards all below
	acked map[string]string
	keys  map[string]string // job IDs
	wrong []string
}

func (m *movers) fail(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wrong = append(m.wrong, fmt.Sprintf(format, args...))
}

// client returns a client of the n-th gateway for one call.
func (m *movers) client(n int) *ackwire.HTTPClient {
	transport := &http.Transport{DialContext: m.w.Net.Host(fmt.Sprint("mover-", n)).Dial, DisableKeepAlives: true}
	c, err := ackwire.NewHTTP(GatewayURL(n), ackwire.WithHTTPClient(&http.Client{Transport: transport}))
	if err != nil {
		m.fail("%v", err)
	}
	return c
}

// retryable reports whether a call is to be repeated: the gateway is being restarted, or says so.
func retryable(err error) bool {
	var e *ackwire.Error
	if errors.As(err, &e) {
		return e.Retryable
	}
	return err != nil
}

// submit submits a job, with a key or without, and then reads it through the other gateway.
func (m *movers) submit(n int, jobType, payload, key string, opts ...ackwire.SubmitOption) {
	if key == "" {
		opts = append(opts, ackwire.NoKey())
	} else {
		opts = append(opts, ackwire.Key(key))
	}
	var j *ackwire.Job
	var err error
	for {
		if j, err = m.client(n).Submit(m.ctx, jobType, json.RawMessage(payload), opts...); !retryable(err) {
			break
		}
		if key == "" || m.ctx.Err() != nil {
			return // without a key it is not repeated, and nothing was acked
		}
		time.Sleep(200 * time.Millisecond)
	}
	if err != nil {
		m.fail("submit %s: %v", key, err)
		return
	}
	m.mu.Lock()
	m.acked[j.ID] = payload
	if key != "" {
		if first := m.keys[key]; first != "" && first != j.ID {
			m.wrong = append(m.wrong, fmt.Sprintf("key %s has jobs %s and %s", key, first, j.ID))
		}
		m.keys[key] = j.ID
	}
	m.mu.Unlock()
	for {
		_, err := m.client(1 - n).Job(j.ID).Get(m.ctx)
		var e *ackwire.Error
		switch {
		case err == nil, m.ctx.Err() != nil:
			return
		case errors.As(err, &e) && !e.Retryable:
			m.fail("job %s (key %q) of gateway %d, read at %d: %v", j.ID, key, n, 1-n, err)
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// run submits until the context ends: jobs without a key, and each key twice, through both gateways at once.
func (m *movers) run() {
	for i := 0; m.ctx.Err() == nil; i++ {
		key := fmt.Sprint("key ", i)
		m.wg.Go(func() { m.submit(0, "demo.echo", `1`, key) })
		m.wg.Go(func() { m.submit(1, "demo.echo", `1`, key) })
		m.wg.Go(func() { m.submit(i%2, "demo.flaky", `{"failures":1}`, "") })
		time.Sleep(70 * time.Millisecond)
	}
}

// TestJobsMoveToAnotherPrefix moves a system to topics with more partitions while jobs run, are retried and scheduled,
// and while keys are used at all gateways at once: every acked job ends once, no GET after an ack answers 404 at any
// gateway, and no key has two jobs.
func TestJobsMoveToAnotherPrefix(t *testing.T) {
	duringRebalances(t)
	Run(t, func(w *World) {
		up := []*Process{w.gateway, w.StartGatewayAt(1)}
		w.StartWorker(nil)
		m := &movers{w: w, acked: map[string]string{}, keys: map[string]string{}}
		m.ctx, m.cancel = context.WithCancel(w.ctx())
		defer m.cancel()
		c := w.Dial()
		type waits struct {
			what, id string
			attempt  int
		}
		var jobs []waits
		mixture := func(when string) {
			jobs = append(jobs, waits{when + ": runs", w.Submit(c, "demo.sleep", `{"seconds":30,"steps":3}`).ID, 1},
				waits{when + ": is retried", w.Submit(c, "demo.flaky", `{"failures":2}`).ID, 3},
				waits{when + ": is scheduled", w.Submit(c, "demo.echo", `1`, ackwire.RunAt(time.Now().Add(3*time.Minute))).ID, 1})
		}
		mixture("before")
		keyed := w.Submit(c, "demo.echo", `"k"`, ackwire.Key("k"))
		again := w.Submit(c, "demo.echo", `"again"`)
		w.WantEnd("before", c, again.ID, job.Completed, 1)
		var running sync.WaitGroup
		running.Go(m.run)

		w.startMoved()
		w.ConfigureGateway = func(cfg *gateway.Config) {
			cfg.TopicPrefix, cfg.FormerPrefix, cfg.Partitions = movedTo, w.Names.Prefix, movedPartitions
		}
		for n := range up { // one after the other
			w.Stop(up[n])
			up[n] = w.StartGatewayAt(n)
			time.Sleep(3 * time.Second)
		}
		mixture("both prefixes")
		w.closeFormer()
		w.closeFormer() // it may be repeated
		mixture("at the mark")
		time.Sleep(10 * time.Second)
		w.CrashTracker() // the former tracker keeps that it is closed
		w.StartTracker()
		time.Sleep(5 * time.Second)
		mixture("after")
		m.cancel()
		running.Wait()
		m.wg.Wait()

		dup, err := c.Submit(w.ctx(), "demo.echo", json.RawMessage(`"k"`), ackwire.Key("k"))
		if err != nil || dup.ID != keyed.ID {
			t.Errorf("a former key: %v, %v", dup, err)
		}
		if _, err := c.Job(again.ID).Retry(w.ctx()); err != nil {
			t.Errorf("retry of a former job: %v", err)
		}
		w.WantEnd("after its retry", c, again.ID, job.Completed, 2)
		for _, j := range jobs {
			w.WantEnd(j.what, c, j.id, job.Completed, j.attempt)
		}
		m.check(t)
	})
}

// check wants that every acked job has completed, and exists under one prefix only.
func (m *movers) check(t *testing.T) {
	t.Helper()
	for _, f := range m.wrong[:min(10, len(m.wrong))] {
		t.Error(f)
	}
	prefixes := []string{m.w.Names.Prefix, movedTo}
	for i, prefix := range prefixes { // gateways that know one of them each
		m.w.ConfigureGateway = func(cfg *gateway.Config) {
			cfg.TopicPrefix, cfg.Partitions = prefix, []int32{partitions, movedPartitions}[i]
		}
		m.w.StartGatewayAt(2 + i)
	}
	m.ctx = m.w.ctx()
	c, moved := m.w.Dial(), 0
	for id, payload := range m.acked {
		m.w.WantEnd("in the end", c, id, job.Completed, 1+strings.Count(payload, "failures"))
		var at []string
		for i, prefix := range prefixes {
			_, err := m.client(2 + i).Job(id).Get(m.ctx)
			switch {
			case err == nil:
				at = append(at, prefix)
			case !errors.Is(err, ackwire.ErrNotFound):
				t.Errorf("job %s under %s: %v", id, prefix, err)
			}
		}
		if len(at) != 1 {
			t.Errorf("job %s is under the prefixes %v", id, at)
		} else if at[0] == movedTo {
			moved++
		}
	}
	t.Logf("%d jobs acked, %d of them under the new prefix", len(m.acked), moved)
	if moved == 0 || moved == len(m.acked) {
		t.Error("all jobs were made under one prefix: the test proves nothing")
	}
}

// TestAKeyIsReservedAndThenTheFormerPrefixIsClosed: the order of records in the log decides. A gateway has reserved a
// key, and its request is on its way, when the mark is written. Its accepted comes after it and is refused; the same
// submit then makes the job under the new prefix. A worker that has begun with the request is stopped, and what it
// reports is refused, as that of any run whose claim was not taken.
func TestAKeyIsReservedAndThenTheFormerPrefixIsClosed(t *testing.T) {
	duringRebalances(t)
	Run(t, func(w *World) {
		w.StartWorker(nil)
		w.startMoved()
		w.ConfigureGateway = func(cfg *gateway.Config) {
			cfg.TopicPrefix, cfg.FormerPrefix, cfg.Partitions = movedTo, w.Names.Prefix, movedPartitions
			cfg.SubmitTimeout = 15 * time.Second
		}
		w.Stop(w.gateway)
		w.StartGateway()
		c := w.Dial()
		first := w.Submit(c, "demo.echo", `1`, ackwire.Key("first"))
		w.WantEnd("before the mark", c, first.ID, job.Completed, 1)

		topics, err := kadm.NewClient(w.raw).ListTopics(w.ctx())
		if err != nil {
			t.Fatal(err)
		}
		requests := topics[w.Names.Requests("default")].ID
		stop := w.drop(kmsg.Produce, func(r kmsg.Request) bool {
			for _, of := range r.(*kmsg.ProduceRequest).Topics {
				if of.TopicID == requests || of.Topic == w.Names.Requests("default") {
					return true
				}
			}
			return false
		})
		var j *ackwire.Job
		done := make(chan error, 1)
		go func() {
			var err error
			j, err = c.Submit(w.ctx(), "demo.echo", json.RawMessage(`2`), ackwire.Key("k"))
			done <- err
		}()
		time.Sleep(time.Second)
		w.closeFormer()
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		w.WantEnd("after the mark", c, j.ID, job.Completed, 1)
		time.Sleep(10 * time.Second) // the request under the former prefix has been claimed
		var former, moved []event.Type
		for _, e := range w.log(j.ID) {
			former = append(former, e.Type)
		}
		for _, r := range w.records(topic.Names{Prefix: movedTo}.Status()) {
			if e, err := event.Decode(r.Value); err == nil && e.JobID == j.ID {
				moved = append(moved, e.Type)
			}
		}
		if n := w.refused("moved") + w.refused("unknown_job"); !slices.Contains(former, event.Accepted) ||
			!slices.Contains(former, event.Claimed) || n != float64(len(former)) || !slices.Contains(moved, event.Completed) {
			t.Errorf("under the former prefix %v, of which %v were refused; under the new one %v", former, n, moved)
		}
	})
}
