package tracker

import (
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// TestErasedAfterRestores: a tracker that takes an erased job's partition over, from the view or from nothing but
// status, does not bring the job back, and forgets its marker when the retention is over.
func TestErasedAfterRestores(t *testing.T) {
	withView(t, func(t *testing.T, w *world) {
		i := w.start(8090, vfs.NewMem())
		gone := func(why string, version int64) {
			t.Helper()
			_, err := i.get(&trackerpb.GetRequest{JobId: "job-1", MinVersion: version})
			wantCode(t, why, err, connect.CodeNotFound)
			_, err = i.api.Reserve(t.Context(), connect.NewRequest(&trackerpb.ReserveRequest{
				JobId: "job-1", Tenant: tenant, Holder: "h",
			}))
			wantCode(t, why+", its key", err, connect.CodeNotFound)
		}
		w.submit("job-1")
		w.submit("job-2")
		w.append(&event.Event{Type: event.CancelRequested, JobID: "job-1"})
		time.Sleep(viewed)
		if _, ok := w.table()["job-1"]; !ok {
			t.Fatal("the job is not in the table")
		}
		v := w.append(&event.Event{Type: event.Erased, JobID: "job-1"})
		gone("erased", v)
		time.Sleep(viewed)
		if doc, ok := w.table()["job-1"]; ok {
			t.Errorf("the table has %s", doc)
		}
		i.stop()
		i = w.start(8090, vfs.NewMem())
		if n := i.restored(fromView, used); n != testPartitions {
			t.Errorf("%v partitions were restored from view, want all", n)
		}
		gone("from the view", v)
		i.stop()
		w.view = false
		i = w.start(8090, vfs.NewMem())
		if n := i.restored(fromStatus, used); n != testPartitions {
			t.Errorf("%v partitions were restored from status, want all", n)
		}
		gone("from status alone", v)
		w.submit("job-1") // by a gateway that did not ask, within the retention
		gone("submitted again", v)
		i.stop()
		w.view = true
		i = w.start(8090, vfs.NewMem())
		defer func() { i.stop() }()
		i.doc("job-2", 0)
		gone("with the view again", v)
		time.Sleep(90 * time.Minute) // its retention is over
		_, v = w.submit("job-1")
		i.doc("job-1", v)
	})
}
