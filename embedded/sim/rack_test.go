package sim

import (
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ackwire/ackwire/schemas/job"
)

// TestWhoReadsTheNearestReplica: requests are read from the nearest replica, so Fetch tells the broker the rack. A
// follower is behind its leader, so status and control, for which clients and runs wait, and single requests, whose
// absence fails a job, are read without one.
func TestWhoReadsTheNearestReplica(t *testing.T) {
	Run(t, func(w *World) {
		topics, err := kadm.NewClient(w.raw).ListTopics(w.ctx())
		if err != nil {
			t.Fatal(err)
		}
		names := map[[16]byte]string{}
		var mu sync.Mutex // guards racks
		racks := map[string]map[string]bool{}
		w.Cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
			w.Cluster.KeepControl()
			mu.Lock()
			defer mu.Unlock()
			fetch := r.(*kmsg.FetchRequest)
			for _, of := range fetch.Topics {
				name := of.Topic
				if name == "" {
					name = names[of.TopicID]
				}
				if racks[name] == nil {
					racks[name] = map[string]bool{}
				}
				racks[name][fetch.Rack] = true
			}
			return nil, nil, false
		})
		for _, of := range topics {
			mu.Lock()
			names[of.ID] = of.Topic
			mu.Unlock()
		}
		w.StartWorker(nil)
		c := w.Dial()
		w.WantEnd("a second dispatch reads the first request", c, w.Submit(c, "demo.flaky", `{"failures":1}`).ID, job.Completed, 2)
		time.Sleep(time.Second)
		mu.Lock()
		defer mu.Unlock()
		for what, want := range map[string]map[string]bool{
			w.Names.Requests("reports"): {rack: true},
			w.Names.Status():            {"": true},
			w.Names.Control():           {"": true},
			w.Names.Requests("default"): {rack: true, "": true}, // a worker's, and the tracker's by offset
		} {
			if got := racks[what]; len(got) != len(want) || got[rack] != want[rack] || got[""] != want[""] {
				t.Errorf("%s is read with the racks %v, want %v", what, got, want)
			}
		}
	})
}
