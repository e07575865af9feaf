package tracker

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
)

// withView runs a test whose trackers keep the topic view.
func withView(t *testing.T, f func(*testing.T, *world)) {
	t.Helper()
	inWorld(t, func(t *testing.T, w *world) {
		w.view = true
		w.makeRequests()
		f(t, w)
	})
}

// viewed is longer than a change takes to be in the view.
const viewed = 4 * time.Second

// restored counts the partitions that were restored from somewhere.
func (i *instance) restored(from source, o outcome) float64 {
	return testutil.ToFloat64(i.tracker.restores.outcomes.WithLabelValues(string(from), string(o)))
}

// table reads view as any client may: the latest record of each key, without what is not a job.
func (w *world) table() map[string]string {
	w.t.Helper()
	cl, err := w.kafka().NewClient(w.env(nil), "table", kgo.ConsumeTopics(w.names.View()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	if err != nil {
		w.t.Fatal(err)
	}
	defer cl.Close()
	ends, err := kadm.NewClient(w.client).ListEndOffsets(w.t.Context(), w.names.View())
	if err != nil {
		w.t.Fatal(err)
	}
	missing := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			missing[o.Partition] = o.Offset
		}
	})
	table := map[string]string{}
	for len(missing) > 0 {
		cl.PollFetches(w.t.Context()).EachRecord(func(rec *kgo.Record) {
			if rec.Offset+1 >= missing[rec.Partition] {
				delete(missing, rec.Partition)
			}
			for _, h := range rec.Headers {
				if h.Key == topic.HeaderViewKind {
					return
				}
			}
			switch {
			case rec.Attrs.IsControl():
			case rec.Value == nil:
				delete(table, string(rec.Key))
			default:
				table[string(rec.Key)] = string(rec.Value)
			}
		})
	}
	return table
}

func TestViewIsATable(t *testing.T) {
	withView(t, func(t *testing.T, w *world) {
		i := w.start(8090, vfs.NewMem())
		defer i.stop()
		want := map[string]string{}
		for n := range 20 {
			id := fmt.Sprintf("job-%d", n)
			pos, v := w.submit(id)
			if n%2 == 0 {
				v = w.append(&event.Event{Type: event.Claimed, JobID: id, Dispatch: 1, Run: "r", Request: &pos})
			}
			doc, _ := i.doc(id, v)
			want[id] = string(doc.Document)
		}
		time.Sleep(viewed)
		got := w.table()
		if len(got) != len(want) {
			t.Fatalf("the table has %d jobs, want %d", len(got), len(want))
		}
		for id, doc := range want {
			if got[id] != doc {
				t.Errorf("%s in the table:\n%s\nand for clients:\n%s", id, got[id], doc)
			}
		}
		w.append(&event.Event{Type: event.CancelRequested, JobID: "job-1"})
		time.Sleep(90 * time.Minute) // its retention is over
		if got := w.table(); got["job-1"] != "" || len(got) != len(want)-1 {
			t.Errorf("an expired job is in the table, which has %d", len(got))
		}
	})
}

// A tracker with an empty disk takes all from the view, and needs nothing of status that was
// folded before.
func TestRestoreFromView(t *testing.T) {
	withView(t, func(t *testing.T, w *world) {
		i := w.start(8090, vfs.NewMem())
		pos, _ := w.submit("job-1")
		v := w.append(&event.Event{Type: event.Claimed, JobID: "job-1", Dispatch: 1, Run: "r", Request: &pos})
		_, accepted := w.submit("job-2")
		before, _ := i.doc("job-1", v)
		i.doc("job-2", accepted)
		i.stop() // writes what the view lacks
		w.drop()
		i = w.start(8090, vfs.NewMem())
		defer i.stop()
		if n := i.restored(fromView, used); n != testPartitions {
			t.Errorf("%v partitions were restored from view, want all", n)
		}
		after, d := i.doc("job-1", v)
		if string(after.Document) != string(before.Document) || d.State != job.Processing {
			t.Errorf("before\n%s\nafter\n%s", before.Document, after.Document)
		}
		i.doc("job-2", 0)
		// Its lease counts from now on.
		time.Sleep(15 * time.Second)
		if _, d := i.doc("job-1", 0); d.Attempt != 2 {
			t.Errorf("after the lease: %+v", d)
		}
	})
}

// A tracker that is no longer the owner, does not learn of it and goes on is fenced at its next
// transaction, and none of its later writes is in the view.
func TestATakenOverViewFences(t *testing.T) {
	withView(t, func(t *testing.T, w *world) {
		a := w.start(8090, vfs.NewMem())
		_, v := w.submit("job-1")
		doc, _ := a.doc("job-1", v)
		time.Sleep(viewed)
		// Another writer takes all partitions over without the group's knowledge, and leaves again.
		for p := range int32(testPartitions) {
			cl, err := w.kafka().NewTransactionalClient(w.env(nil), "other", fmt.Sprintf("%s-%d", w.names.View(), p))
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := cl.ProducerID(t.Context()); err != nil {
				t.Fatal(err)
			}
			cl.Close()
		}
		w.append(&event.Event{Type: event.CancelRequested, JobID: "job-1"})
		time.Sleep(30 * time.Second)
		a.wantReady()
		if n := testutil.ToFloat64(a.gauge("ackwire_tracker_view_transactions_total", "fenced")); n != 1 {
			t.Errorf("fenced %v times, want once: only one partition had something to write", n)
		}
		// The group says that it is still the owner: it has taken the partition back.
		if got, d := a.doc("job-1", 0); d.State != job.Cancelled || string(got.Document) == string(doc.Document) {
			t.Errorf("%s", got.Document)
		}
		time.Sleep(viewed)
		if got := w.table()["job-1"]; len(got) == 0 || got == string(doc.Document) {
			t.Errorf("the table has %q", got)
		}
		a.stop()
	})
}
