package gateway

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// worker joins the group of a lane. It takes nothing by itself.
func (w *world) worker(lane string) *kgo.Client {
	w.t.Helper()
	cl, err := w.kafka().NewClient(w.env("worker", prometheus.NewRegistry()),
		"worker", kgo.ConsumerGroup(w.names.ProcessorGroup(lane)),
		kgo.ConsumeTopics(w.names.Requests(lane)), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(cl.CloseAllowingRebalance)
	return cl
}

func (w *world) why(id string) frame.Why {
	w.t.Helper()
	a := w.http("GET", "/v1/jobs/"+id+"/why", nil, nil)
	var why frame.Why
	if err := json.Unmarshal([]byte(a.body), &why); err != nil || a.status != 200 {
		w.t.Fatalf("why: %d %s", a.status, a.body)
	}
	return why
}

func TestWhyAJobWaits(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.asOf = 1_767_323_045_678
		c := w.dial("")
		var ids []string
		for range 12 {
			ids = append(ids, c.submit().JobID)
			c.want("its status", frame.Status)
		}
		requests := map[string]*kgo.Record{}
		for _, r := range w.produced(w.names.Requests("default")) {
			requests[string(r.Key)] = r
		}
		// Of two jobs in one partition the second is behind the first.
		var first, second string
		for _, id := range ids {
			for _, after := range ids {
				if a, b := requests[id], requests[after]; a.Partition == b.Partition && a.Offset == 0 && b.Offset == 1 {
					first, second = id, after
				}
			}
		}
		if first == "" {
			t.Fatal("no partition has two of twelve requests")
		}
		why := w.why(second)
		if why.Reason != frame.NoWorkers || *why.Workers != 0 || *why.Waiting != 12 || why.Ahead != 1 ||
			why.Lane != "default" ||
			why.Detail != "No worker is connected to lane default." || why.AsOf.UnixMilli() != 1_767_323_045_678 {
			t.Errorf("without workers: %+v", why)
		}
		worker := w.worker("default")
		w.eventually("the worker is a member", func() bool { return *w.why(second).Workers == 1 })
		why = w.why(second)
		if why.Reason != frame.BehindOthers || why.Ahead != 1 ||
			why.Detail != "1 request is before it in its partition of lane default, which has 1 worker." {
			t.Errorf("behind another: %+v", why)
		}
		if why := w.why(first); why.Reason != frame.AboutToStart || why.Ahead != 0 || *why.Waiting != 12 {
			t.Errorf("the first: %+v", why)
		}
		if err := worker.CommitRecords(t.Context(), requests[first]); err != nil {
			t.Fatal(err)
		}
		if why := w.why(second); why.Reason != frame.BehindOthers {
			t.Errorf("what Kafka said is remembered for a second: %+v", why)
		}
		time.Sleep(time.Second) // until what is known of lanes is too old
		if why := w.why(second); why.Reason != frame.AboutToStart || *why.Waiting != 11 {
			t.Errorf("it is next: %+v", why)
		}
		if a := w.http("HEAD", "/v1/jobs/"+first+"/why", nil, nil); a.status != 200 || a.body != "" {
			t.Errorf("HEAD: %d %q", a.status, a.body)
		}
	})
}

func TestWhyWhileKafkaIsAway(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		c := w.dial("")
		id := c.submit().JobID
		c.want("its status", frame.Status)
		w.tracker.put("local", 1, "default", "", job.Document{JobID: jobB, State: job.Completed})
		w.net.Host("broker").Hang()
		for _, path := range []string{"/v1/jobs/" + id + "/why", "/v1/stats"} {
			began := time.Now()
			a := w.http("GET", path, nil, nil)
			if took := time.Since(began); a.status != 503 || a.code != "unavailable" ||
				!strings.Contains(a.body, "Kafka does not answer") || took > w.gateway.cfg.Kafka.Bounds().Ask+time.Second {
				t.Errorf("%s after %s: %d %s", path, took, a.status, a.body)
			}
		}
		if why := w.why(jobB); why.Reason != frame.Ended || why.Workers != nil || why.Waiting != nil {
			t.Errorf("an ended job needs no Kafka: %+v", why)
		}
		w.net.Host("broker").Heal()
		w.eventually("Kafka is back", func() bool { return w.http("GET", "/v1/stats", nil, nil).status == 200 })
	})
}

func TestWhyOfNoJob(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.put("acme", 1, "default", "", job.Document{JobID: jobB, State: job.Completed})
		for _, id := range []string{"7", jobA, jobB} {
			a := w.http("GET", "/v1/jobs/"+id+"/why", w.header("local", testSubject), nil)
			if a.status != 404 || a.code != "not_found" {
				t.Errorf("%s: %d %s", id, a.status, a.body)
			}
		}
	})
}

// TestWhyInALaneThatIsGone: its job says so, as long as it is known.
func TestWhyInALaneThatIsGone(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.put("local", 1, "gone", "", job.Document{JobID: jobA, State: job.Pending})
		w.tracker.jobs[jobA].request = &trackerpb.Position{Topic: w.names.Requests("gone"), Partition: 1, Offset: 7}
		if why := w.why(jobA); why.Reason != frame.NoWorkers || *why.Waiting != 0 || why.Ahead != 0 || why.Lane != "gone" {
			t.Errorf("%+v", why)
		}
	})
}

func TestStats(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.asOf = 1_767_323_045_678
		c := w.dial("")
		for range 3 {
			c.submit()
			c.want("its status", frame.Status)
		}
		w.tracker.put("local", 1, "reports", "", job.Document{JobID: jobA, Type: "report.generate", State: job.Failed})
		w.tracker.put("acme", 1, "reports", "", job.Document{JobID: jobB, Type: "report.generate", State: job.Failed})
		w.worker("reports")
		w.eventually("the worker is a member", func() bool {
			return strings.Contains(w.http("GET", "/v1/stats", nil, nil).body, `"workers":1`)
		})
		const want = `{"counts":[{"type":"demo.echo","lane":"default","state":"pending","jobs":3},{"type":"report.generate","lane":"reports","state":"failed","jobs":1}],` +
			`"lanes":[{"lane":"default","workers":0,"waiting":3},{"lane":"reports","workers":1,"waiting":0},{"lane":"webhooks","workers":0,"waiting":0}],"asOf":"2026-01-02T03:04:05.678Z"}`
		if a := w.http("GET", "/v1/stats", nil, nil); a.body != want {
			t.Errorf("got %s", a.body)
		}
		if a := w.http("HEAD", "/v1/stats", nil, nil); a.status != 200 || a.body != "" {
			t.Errorf("HEAD: %d %q", a.status, a.body)
		}
	})
}

// TestStatsTellSinceWhenALaneWaits: exactly to who may operate, and its class to others. A lane in which nothing waits
// any more tells nothing, whatever a tracker measured before.
func TestStatsTellSinceWhenALaneWaits(t *testing.T) {
	inWorld(t, withGrants(t), func(t *testing.T, w *world) {
		since := time.Now().Add(-3 * time.Minute).Truncate(time.Millisecond).UTC()
		w.tracker.mu.Lock()
		w.tracker.waits = []*trackerpb.LaneWait{{Lane: "default", Since: since.UnixMilli()},
			{Lane: "reports", Since: since.UnixMilli()}, {Lane: "elsewhere", Since: 1}}
		w.tracker.mu.Unlock()
		body := strings.NewReader(`{"job":"demo.echo","payload":1}`)
		if a := w.http("POST", "/v1/jobs", w.named("r1", "local", "bob", "submit"), body); a.status != 202 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		for words, want := range map[string]time.Duration{"read operate": time.Since(since), "read": 100 * time.Second} {
			a := w.http("GET", "/v1/stats", w.named("r1", "local", "bob", strings.Fields(words)...), nil)
			var stats frame.Stats
			if err := json.Unmarshal([]byte(a.body), &stats); err != nil || len(stats.Lanes) != 3 {
				t.Fatalf("%s: %v %s", words, err, a.body)
			}
			for _, l := range stats.Lanes {
				if l.Lane != "default" {
					if l.OldestSince != nil {
						t.Errorf("%s: lane %s, in which nothing waits, since %s", words, l.Lane, l.OldestSince)
					}
					continue
				}
				if l.OldestSince == nil {
					t.Fatalf("%s: %s", words, a.body)
				}
				if got := time.Since(*l.OldestSince); got < want || got > want+time.Second {
					t.Errorf("%s: waits for %s, want %s", words, got, want)
				}
				if words != "read" && !l.OldestSince.Equal(since) {
					t.Errorf("since %s, want %s", l.OldestSince, since)
				}
			}
		}
	})
}

func TestAsOfHeader(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 7, job.Processing)
		if a := w.http("GET", "/v1/jobs/"+jobA, nil, nil); a.header.Get(frame.AsOfHeader) != "" {
			t.Errorf("a tracker that does not say: %v", a.header)
		}
		w.tracker.asOf = 1_767_323_045_670
		for _, header := range []http.Header{nil, {"If-None-Match": {`"7"`}}} {
			if a := w.http("GET", "/v1/jobs/"+jobA, header, nil); a.header.Get(frame.AsOfHeader) != "2026-01-02T03:04:05.670Z" {
				t.Errorf("%d %v", a.status, a.header)
			}
		}
	})
}
