package tracker

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// What docs/kafka.md says under "Without transactions" is what these tests hold.

// logged is what services have logged.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), text)
}

// A cluster that refuses transactions stops the start, with one line that names the flag; with the flag the tracker
// starts and says once what may be lost.
func TestTransactionsAreRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.cluster.ControlKey(int16(kmsg.FindCoordinator), func(r kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			req := r.(*kmsg.FindCoordinatorRequest)
			if req.CoordinatorType != 1 {
				return nil, nil, false
			}
			resp := req.ResponseKind().(*kmsg.FindCoordinatorResponse)
			for _, key := range req.CoordinatorKeys {
				c := kmsg.NewFindCoordinatorResponseCoordinator()
				c.Key, c.ErrorCode = key, kerr.InvalidRequest.Code
				resp.Coordinators = append(resp.Coordinators, c)
			}
			return resp, nil, true
		})
		logs := &logged{}
		w.logs, w.view = logs, true
		i := w.run(8090, vfs.NewMem())
		select {
		case err := <-i.ended:
			text := ""
			if err != nil {
				text = err.Error()
			}
			for _, want := range []string{"ackwire.view is written in transactions", "has no transactions", "INVALID_REQUEST",
				"--tracker-no-view"} {
				if !strings.Contains(text, want) {
					t.Errorf("ended with %q, without %q", text, want)
				}
			}
			if strings.Contains(text, "\n") {
				t.Errorf("more than one line: %q", text)
			}
		case <-time.After(settled):
			t.Fatalf("still runs: %v", i.tracker.Ready())
		}
		i.http.CloseIdleConnections()

		w.view = false
		i = w.start(8190, vfs.NewMem())
		defer i.stop()
		w.makeRequests()
		w.submit("job-1")
		i.doc("job-1", 0)
		if n := logs.count("tracker-no-view: "); n != 1 {
			t.Errorf("what is lost is said %d times", n)
		}
		if n := logs.count("retention.ms=691200000"); n != 1 {
			t.Errorf("the retention is said %d times", n)
		}
	})
}

// Without the view, a tracker with an empty disk knows the jobs of which status still has the first event or the
// claim of the first dispatch, and no others, whatever is appended for them later.
func TestALostDiskWithoutView(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		i := w.start(8090, vfs.NewMem())
		w.makeRequests()
		old, v := w.submit("old")
		w.append(&event.Event{Type: event.Claimed, JobID: "old", Dispatch: 1, Run: "r", Request: &old})
		waiting, v2 := w.submit("waiting")
		i.doc("old", v)
		i.doc("waiting", v2)
		i.stop()
		w.drop() // retention
		w.append(&event.Event{Type: event.Completed, JobID: "old", Dispatch: 1, Run: "r"})
		w.append(&event.Event{Type: event.Claimed, JobID: "waiting", Dispatch: 1, Run: "r2", Request: &waiting})
		w.submit("new")

		i = w.start(8090, vfs.NewMem())
		defer i.stop()
		_, err := i.get(&trackerpb.GetRequest{JobId: "old"})
		wantCode(t, "an outcome makes no job", err, connect.CodeNotFound)
		if _, d := i.doc("waiting", 0); d.State != job.Processing {
			t.Errorf("the claim of the first dispatch has all that makes a job, and it is %s", d.State)
		}
		i.doc("new", 0)
		if n := i.restored(fromStatus, used); n != testPartitions {
			t.Errorf("%v partitions were restored from status, want all", n)
		}
	})
}

// Without the view, a data folder that is older than what status still has is used as it is: jobs that changed in
// between are as they were then, and the loss is counted.
func TestAnOldDiskWithoutView(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		fs := vfs.NewMem()
		i := w.start(8090, fs)
		w.makeRequests()
		pos, v := w.submit("job-1")
		i.doc("job-1", v)
		i.stop()
		w.append(&event.Event{Type: event.Claimed, JobID: "job-1", Dispatch: 1, Run: "r", Request: &pos})
		w.append(&event.Event{Type: event.Completed, JobID: "job-1", Dispatch: 1, Run: "r"})
		w.drop()
		i = w.start(8090, fs)
		defer i.stop()
		if _, d := i.doc("job-1", 0); d.State != job.Pending {
			t.Errorf("it is %s, want as it was on the disk", d.State)
		}
		if n := testutil.ToFloat64(i.gauge("ackwire_tracker_log_gaps_total")); n != 1 {
			t.Errorf("%v gaps are counted, want that of its partition", n)
		}
		if n := i.restored(fromLocal, refusedBehind); n == 0 {
			t.Error("that the folder is behind is not counted")
		}
	})
}
