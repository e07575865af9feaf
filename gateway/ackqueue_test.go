package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/gateway/queue"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// report has the tracker report the queue of the lane of demo.echo. It owns all partitions but those that are left out.
// The gateway has the report when report returns.
func (f *fakeTracker) report(waiting int64, pace float64, without ...int32) {
	q := &trackerpb.Queues{Total: testPartitions, Lanes: []*trackerpb.Queue{
		{Lane: "default", Waiting: waiting, Pace: pace, Served: true},
	}}
	for p := range int32(testPartitions) {
		if len(without) == 0 || without[0] != p {
			q.Partitions = append(q.Partitions, p)
		}
	}
	f.w.eventually("the gateway has asked for reports", func() bool { return f.reports(nil) == 1 })
	f.reports(q)
	time.Sleep(10 * time.Millisecond) // on a virtual network, so it has arrived
}

// reports sends a report, unless it is nil, to all streams that have asked, and returns how many there are.
func (f *fakeTracker) reports(q *trackerpb.Queues) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.streams {
		if s.queues {
			n++
			if q != nil {
				s.out <- &trackerpb.WatchResponse{Queues: q}
			}
		}
	}
	return n
}

// asked returns how many questions the tracker was asked.
func (f *fakeTracker) asked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return int(f.gets.Load()) + len(f.lists) + len(f.stats) + len(f.held) + f.adds
}

// place returns what an ack says of the queue.
func place(t *testing.T, ack string) string {
	t.Helper()
	var f frame.AckFrame
	if err := json.Unmarshal([]byte(ack), &f); err != nil {
		t.Fatal(err)
	}
	said := "nothing"
	if f.Ahead != nil {
		said = fmt.Sprint(*f.Ahead)
	}
	if f.Estimate != nil {
		said += fmt.Sprintf(" %vs", *f.Estimate)
	}
	return said
}

// unwatched submits a job without a key and a watch, over a socket, and returns what its ack says of the queue.
func (c *client) unwatched(more string) string {
	c.w.t.Helper()
	c.send(`{"type":"submit","id":"s","job":"demo.echo","payload":1,"watch":false%s}`, more)
	return place(c.w.t, c.want("a submit is acked", frame.Ack).raw)
}

// posted is unwatched over HTTP.
func (w *world) posted(who http.Header) string {
	w.t.Helper()
	h := http.Header{"Content-Type": {"application/json"}}
	for name, v := range who {
		h[name] = v
	}
	a := w.http("POST", "/v1/jobs", h, strings.NewReader(`{"job":"demo.echo","payload":1}`))
	if a.status != http.StatusAccepted {
		w.t.Fatalf("a submit over HTTP: %d %s", a.status, a.body)
	}
	return place(w.t, a.body)
}

// TestAcksSayWhatIsAhead as the trackers have reported it, and ask nobody: here no tracker answers.
func TestAcksSayWhatIsAhead(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		c := w.dial("")
		want := func(why, got, want string) {
			t.Helper()
			if got != want {
				t.Errorf("%s: the ack says %s, want %s", why, got, want)
			}
		}
		want("before any report", c.unwatched(""), "nothing")
		w.tracker.report(200, 4)
		w.tracker.hush()
		asked := w.tracker.asked()
		want("after a report", c.unwatched(""), "200 50s")
		want("the next", c.unwatched(""), "201 50.3s")
		want("over HTTP", w.posted(nil), "202 50.5s")
		want("a job that starts later", c.unwatched(
			fmt.Sprintf(`,"runAt":%q`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))), "nothing")
		if n := w.tracker.asked(); n != asked {
			t.Errorf("the tracker was asked %d times", n-asked)
		}
		time.Sleep(queue.MaxAge)
		want("when the report is old", c.unwatched(""), "nothing")
		w.tracker.report(200, 4, 1)
		want("when a partition is missing", c.unwatched(""), "nothing")
		w.tracker.report(0, 4)
		want("when nobody waits", c.unwatched(""), "0 0s")
		w.tracker.report(9, 0)
		want("when no pace is known", c.unwatched(""), "9")
		w.tracker.speak()
		said := w.gauge("ackwire_gateway_ack_places_total", "estimate")
		if n := w.gauge("ackwire_gateway_ack_places_total", "nothing"); said != 4 || n != 3 {
			t.Errorf("%v acks with an estimate and %v without anything are counted, want 4 and 3", said, n)
		}
	})
}

// TestAcksOfOrdersAndDuplicatesSayNothingOfAQueue, for the place of a job that was made before is another question.
func TestAcksOfOrdersAndDuplicatesSayNothingOfAQueue(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.orders("local")
		c := w.dial("")
		w.tracker.report(20, 2)
		if got := c.unwatched(`,"key":"k"`); got != "20 10s" {
			t.Errorf("the first submit of a key: %s", got)
		}
		c.send(`{"type":"submit","id":"s","job":"demo.echo","payload":1,"key":"k","watch":false}`)
		ack := c.want("the second submit of a key", frame.Ack)
		if got := place(t, ack.raw); got != "nothing" || !ack.Duplicate {
			t.Errorf("the second submit of a key: %s", ack.raw)
		}
		w.tracker.set("local", ack.JobID, 1000, job.Pending)
		c.send(`{"type":"cancel","id":"c","jobId":%q}`, ack.JobID)
		if got := c.want("a cancel", frame.Ack); place(t, got.raw) != "nothing" {
			t.Errorf("a cancel: %s", got.raw)
		}
	})
}

// TestWhoIsToldExactNumbers: of other tenants' jobs a tenant learns the magnitude, unless an operator has settled that.
func TestWhoIsToldExactNumbers(t *testing.T) {
	for setting, want := range map[string][2]string{
		AckQueueRounded: {"100 60s", "234 58.5s"},
		AckQueueExact:   {"234 58.5s", "235 58.8s"},
		AckQueueOff:     {"nothing", "nothing"},
	} {
		t.Run(setting, func(t *testing.T) {
			inWorld(t, func(c *Config) { tokensOnly(c); c.AckQueue = setting }, func(t *testing.T, w *world) {
				if setting == AckQueueOff {
					time.Sleep(settled)
					if n := w.tracker.reports(nil); n != 0 {
						t.Errorf("%d streams have asked for reports", n)
					}
				} else {
					w.tracker.report(234, 4)
				}
				got := w.posted(w.header("acme", "ann"))
				if setting == AckQueueRounded {
					w.tracker.report(234, 4)
				}
				got2 := w.posted(w.header("acme", "op", "submit", "operate"))
				if got != want[0] || got2 != want[1] {
					t.Errorf("a client is told %s and an operator %s, want %q", got, got2, want)
				}
			})
		})
	}
}
