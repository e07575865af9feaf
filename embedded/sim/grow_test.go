package sim

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

const (
	grownTo = 11 // partitions; not a multiple of those before, so that nearly all keys get another partition
	// noticed is the longest time until producers and workers use new partitions.
	noticed = 15 * time.Second
)

// grow adds partitions to the topics of requests, as `ackwire topics grow` does.
func (w *World) grow(topics ...string) {
	w.T.Helper()
	plan, err := kafka.PlanGrowth(w.ctx(), w.raw, grownTo, topics...)
	if err == nil {
		err = kafka.Grow(w.ctx(), w.raw, plan)
	}
	if err != nil {
		w.T.Fatal(err)
	}
}

// TestRequestsGrowWhileJobsRun: partitions are added to the topics of requests while jobs wait, run, are retried,
// scheduled and handed back. Every job ends once, none waits for longer than until the workers have the new partitions,
// and gateways and trackers write to those.
func TestRequestsGrowWhileJobsRun(t *testing.T) {
	duringRebalances(t)
	Run(t, func(w *World) {
		w.StartWorker(nil)
		w.StartWorker(nil)
		w.StartWorker(unable)
		c := w.Dial()
		keyed := w.Submit(c, "demo.echo", `"keyed"`, ackwire.Key("k"))
		type waits struct {
			what    string
			id      string
			attempt int
		}
		var jobs []waits
		add := func(what string, attempt int, j *ackwire.Job) { jobs = append(jobs, waits{what, j.ID, attempt}) }
		mixture := func(when string) {
			add(when+": runs", 1, w.Submit(c, "demo.sleep", `{"seconds":40,"steps":4}`))
			add(when+": is retried", 3, w.Submit(c, "demo.flaky", `{"failures":2}`))
			add(when+": is scheduled", 1, w.Submit(c, "demo.echo", `1`, ackwire.RunAt(time.Now().Add(2*time.Minute))))
			for range 10 {
				add(when+": may be handed back", 1, w.Submit(c, "demo.echo", `2`))
			}
		}
		mixture("before")
		grown := time.Now()
		w.grow(w.Names.Requests("default"), w.Names.Requests("reports"))
		mixture("at once")

		var submitting sync.WaitGroup
		var mu sync.Mutex // guards slowest
		var slowest time.Duration
		for time.Since(grown) < 2*noticed {
			submitting.Go(func() {
				doc := w.WantEnd("during growth", c, w.Submit(c, "demo.echo", `3`).ID, job.Completed, 1)
				mu.Lock()
				defer mu.Unlock()
				if len(doc.Attempts) == 1 { // else the waits after it was handed back count, too
					slowest = max(slowest, doc.Attempts[0].StartedAt.Sub(doc.CreatedAt))
				}
			})
			time.Sleep(100 * time.Millisecond)
		}
		submitting.Wait()
		if slowest > noticed {
			t.Errorf("a job waited for %s until a worker took it", slowest)
		}
		mixture("after")
		again, err := c.Submit(w.ctx(), "demo.echo", json.RawMessage(`"keyed"`), ackwire.Key("k"))
		if err != nil || again.ID != keyed.ID {
			t.Errorf("the same key: job %v, %v, want %s", again, err, keyed.ID)
		}
		for _, j := range jobs {
			w.WantEnd(j.what, c, j.id, job.Completed, j.attempt)
		}
		w.useAll(grown)
	})
}

// useAll checks that requests lie in new partitions, soon after the growth, and that workers have all partitions.
func (w *World) useAll(grown time.Time) {
	w.T.Helper()
	name := w.Names.Requests("default")
	used := map[int32]int{}
	first := time.Time{}
	for _, r := range w.records(name) {
		used[r.Partition]++
		if r.Partition >= partitions && first.IsZero() {
			first = r.Timestamp
		}
	}
	if len(used) != grownTo || first.Sub(grown) > noticed {
		w.T.Errorf("requests by partition: %v, in a new one after %s", used, first.Sub(grown))
	}
	shares, err := kafka.SharesOf(w.ctx(), w.raw, kafka.Consumed{Topic: name, Group: w.Names.ProcessorGroup("default")})
	if err != nil || shares.Members != 3 || shares.Assigned != grownTo {
		w.T.Errorf("the lane's group has %+v, %v", shares, err)
	}
}

// TestOneJobWithRequestsInTwoPartitions: after a growth two requests of one job may lie in two partitions, which two
// workers read at the same time and in any order. The job names one of them; the run of the other is refused.
func TestOneJobWithRequestsInTwoPartitions(t *testing.T) {
	duringRebalances(t)
	Run(t, func(w *World) {
		for range 3 {
			w.StartWorker(nil)
		}
		c := w.Dial()
		w.grow(w.Names.Requests("default"))
		time.Sleep(noticed)
		cl, err := w.kafka().NewClient(w.env("placing", prometheus.NewRegistry()), "placing", kafka.Placed())
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		produce := func(rec *kgo.Record) {
			if err := cl.ProduceSync(w.ctx(), rec).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 30 {
			j := w.Submit(c, "demo.sleep", `{"seconds":2,"steps":2}`)
			var request *kgo.Record
			for _, r := range w.records(w.Names.Requests("default")) {
				if string(r.Key) == j.ID {
					request = r
				}
			}
			to := (request.Partition + 1 + int32(i)%(grownTo-1)) % grownTo
			produce(&kgo.Record{Context: kafka.Place(w.ctx(), uint64(to), -1), Topic: request.Topic, Key: request.Key,
				Value: request.Value, Headers: request.Headers})
			w.WantEnd(fmt.Sprint("job ", i), c, j.ID, job.Completed, 1)
			ends := 0
			for _, e := range w.log(j.ID) {
				if e.Type == event.Completed {
					ends++
				}
			}
			if ends != 1 {
				t.Errorf("job %d: %d runs reported an end", i, ends)
			}
		}
	})
}
