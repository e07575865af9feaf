package tracker

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/fleet"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/tracker/workers"
)

// announcement returns the record with which a worker announces itself.
func (w *world) announcement(a fleet.Announcement) *kgo.Record {
	w.t.Helper()
	a.StartedAt = time.Now()
	value, err := fleet.Encode(&a)
	if err != nil {
		w.t.Fatal(err)
	}
	return &kgo.Record{Topic: w.names.Streams(), Key: []byte(a.Worker), Value: value,
		Headers: []kgo.RecordHeader{{Key: fleet.Header, Value: []byte("1")}}}
}

func (w *world) announce(a fleet.Announcement) {
	w.t.Helper()
	w.produce(w.announcement(a))
}

// workers returns what the tracker tells of the workers of all partitions, as soon as it is ready.
func (i *instance) workers() *trackerpb.WorkersResponse {
	i.w.t.Helper()
	partitions := []int32{0, 1, 2, 3}
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		r, err := i.api.Workers(context.Background(), connect.NewRequest(&trackerpb.WorkersRequest{Partitions: partitions}))
		if err == nil {
			return r.Msg
		}
		if time.Since(began) > settled {
			i.w.t.Fatal(err)
		}
	}
}

func (i *instance) wantWorkers(why string, want string) *trackerpb.WorkersResponse {
	i.w.t.Helper()
	var got string
	var all *trackerpb.WorkersResponse
	for began := time.Now(); time.Since(began) < settled; time.Sleep(100 * time.Millisecond) {
		all = i.workers()
		var names []string
		for _, w := range all.Workers {
			names = append(names, fmt.Sprintf("%s:%d:%t", w.Name, w.Running, len(w.Announced) > 0))
		}
		if got = strings.Join(names, " "); got == want {
			return all
		}
	}
	i.w.t.Fatalf("%s: %q, want %q", why, got, want)
	return nil
}

// TestWorkersAreKnown: a worker is known by what it announces, until it ends or has been silent for two minutes, and by
// the jobs that it holds. The other tracker that takes a partition over knows the same.
func TestWorkersAreKnown(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.makeRequests()
		i := w.start(8090, vfs.NewMem())
		w.announce(fleet.Announcement{Worker: "a"})
		w.announce(fleet.Announcement{Worker: "b"})
		w.begin("job-1", "run-1")
		claimed := time.Now()
		i.wantWorkers("two announce themselves, and one holds a job", "a:0:true b:0:true worker:1:false")
		time.Sleep(4 * time.Second)
		w.append(&event.Event{Type: event.Progress, JobID: "job-1", Dispatch: 1, Run: "run-1",
			Progress: &job.Progress{Percent: 40, Stage: "load"}})
		progressed := time.Now()
		time.Sleep(4 * time.Second)
		w.append(&event.Event{Type: event.Beat, JobID: "job-1", Dispatch: 1, Run: "run-1"})
		beat := time.Now()
		time.Sleep(time.Second)
		all := i.workers()
		if len(all.Workers) != 3 || len(all.Workers[2].Oldest) != 1 {
			t.Fatalf("workers %v", all)
		}
		near := func(what string, ms int64, want time.Time) {
			t.Helper()
			if d := time.UnixMilli(ms).Sub(want).Abs(); d > time.Second {
				t.Errorf("%s is %s off", what, d)
			}
		}
		h := all.Workers[2].Oldest[0]
		near("since", h.Since, claimed)
		near("progress", h.Progressed, progressed)
		near("the last sign", h.LastSign, beat)
		if h.JobId != "job-1" || h.Tenant != tenant || h.Type != "demo.echo" || h.Lane != "default" || h.Attempt != 1 ||
			h.Percent != 40 || h.Stage != "load" {
			t.Errorf("holds %v", h)
		}
		found := false
		for _, l := range all.Lanes {
			found = found || l.Lane == "default" && l.Running == 1 && l.Measured
		}
		if !found || all.Truncated {
			t.Errorf("lanes %v, truncated %t", all.Lanes, all.Truncated)
		}

		i.stop()
		i = w.start(8091, vfs.NewMem())
		defer i.stop()
		all = i.wantWorkers("another tracker took over", "a:0:true b:0:true worker:1:false")
		near("progress after the takeover", all.Workers[2].Oldest[0].Progressed, progressed)

		w.append(&event.Event{Type: event.Completed, JobID: "job-1", Dispatch: 1, Run: "run-1"})
		w.announce(fleet.Announcement{Worker: "b", Gone: true})
		i.wantWorkers("one ended, and the job did", "a:0:true")
		time.Sleep(fleet.GoneAfter)
		i.wantWorkers("the other one is silent", "")
		w.announce(fleet.Announcement{Worker: "a"})
		i.wantWorkers("it is back", "a:0:true")

		for _, partitions := range [][]int32{nil, {1, 1}} {
			_, err := i.api.Workers(t.Context(), connect.NewRequest(&trackerpb.WorkersRequest{Partitions: partitions}))
			wantCode(t, "partitions", err, connect.CodeInvalidArgument)
		}
	})
}

// TestHostileWorkers: whoever writes announcements of 10,000 workers, or what is none, changes nothing but the list,
// which is bounded: no dead letters, no worker that was there before is lost, and jobs go on.
func TestHostileWorkers(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.makeRequests()
		i := w.start(8090, vfs.NewMem())
		defer i.stop()
		w.announce(fleet.Announcement{Worker: "good"})
		i.wantWorkers("the good one", "good:0:true")
		ctx := t.Context()
		var hostile []*kgo.Record
		for n := range 10_000 {
			hostile = append(hostile, w.announcement(fleet.Announcement{Worker: fmt.Sprint("hostile-", n)}))
		}
		like := func(value string, key string, version string) {
			hostile = append(hostile, &kgo.Record{Topic: w.names.Streams(), Key: []byte(key), Value: []byte(value),
				Headers: []kgo.RecordHeader{{Key: fleet.Header, Value: []byte(version)}}})
		}
		like(`{`, "x", "1")
		like(`{"v":1,"worker":"good","lanes":[],"running":0,"startedAt":"2026-01-01T00:00:00Z","gone":true}`, "x", "1")
		like(`{"v":1,"worker":"good","lanes":[],"running":0,"startedAt":"2026-01-01T00:00:00Z","gone":true}`, "good", "2")
		like(`{"v":1,"worker":"`+strings.Repeat("x", 300)+`"}`, strings.Repeat("x", 300), "1")
		like(`{"v":1,"worker":"x","lanes":[`+strings.Repeat(`{"lane":"a","slots":1},`, 5000)+`{}]}`, "x", "1")
		like(strings.Repeat("[", 100_000), "x", "1")
		if err := w.client.ProduceSync(ctx, hostile...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		w.begin("job-1", "run-1")
		version := w.append(&event.Event{Type: event.Completed, JobID: "job-1", Dispatch: 1, Run: "run-1"})
		if _, d := i.doc("job-1", version); d.State != job.Completed {
			t.Errorf("the job is %s", d.State)
		}
		time.Sleep(10 * time.Second)
		all := i.workers()
		found := false
		for _, one := range all.Workers {
			found = found || one.Name == "good"
		}
		if !all.Truncated || len(all.Workers) != maxWorkers || !found {
			t.Errorf("%d workers, truncated %t, the good one %t", len(all.Workers), all.Truncated, found)
		}
		if n := testutil.ToFloat64(i.gauge("ackwire_tracker_workers")); n != testPartitions*workers.MaxWorkers {
			t.Errorf("%v workers are known", n)
		}
		if dead := w.read(w.names.Dead()); len(dead) > 0 {
			t.Errorf("%d dead letters, the first %s", len(dead), dead[0].Value)
		}
		time.Sleep(fleet.GoneAfter)
		i.wantWorkers("all are silent", "")
	})
}
