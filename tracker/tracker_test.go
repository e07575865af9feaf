package tracker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/tracker/store"
)

func TestLifeThroughTheAPI(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		i := w.start(8090, vfs.NewMem())
		defer i.stop()
		w.makeRequests()

		_, err := i.get(&trackerpb.GetRequest{JobId: "job-1"})
		wantCode(t, "not there yet", err, connect.CodeNotFound)
		reserved, err := i.api.Reserve(t.Context(), connect.NewRequest(&trackerpb.ReserveRequest{JobId: "job-1",
			Tenant: tenant, PayloadHash: "sha256:1", Holder: "h"}))
		if err != nil || !reserved.Msg.Reserved {
			t.Fatalf("reserve: %v, %v", reserved, err)
		}
		pos, version := w.submit("job-1")
		r, err := i.get(&trackerpb.GetRequest{JobId: "job-1"})
		if err != nil {
			t.Fatalf("a GET after an ack: %v", err)
		}
		if r.Job.Version != version || r.Job.Terminal || r.PayloadHash != "sha256:1" ||
			r.Source.Topic != pos.Topic || r.Source.Partition != pos.Partition || r.Source.Offset != pos.Offset {
			t.Fatalf("got %v", r)
		}
		reserved, err = i.api.Reserve(t.Context(), connect.NewRequest(&trackerpb.ReserveRequest{JobId: "job-1",
			Tenant: tenant, Holder: "h2"}))
		if err != nil || reserved.Msg.Reserved || reserved.Msg.Job.JobId != "job-1" ||
			reserved.Msg.PayloadHash != "sha256:1" {
			t.Fatalf("reserve: %v, %v", reserved, err)
		}
		v := w.append(&event.Event{Type: event.Claimed, JobID: "job-1", Dispatch: 1, Run: "r1", Request: &pos})
		if _, d := i.doc("job-1", v); d.State != job.Processing {
			t.Fatalf("%+v", d)
		}
		// The worker dies. Its lease runs out, and the payload goes out again.
		time.Sleep(15 * time.Second)
		if _, d := i.doc("job-1", 0); d.State != job.Pending || d.Attempt != 2 {
			t.Fatalf("after the lease: %+v", d)
		}
		r, err = i.get(&trackerpb.GetRequest{JobId: "job-1", After: v})
		if err != nil || r.Source.Offset != pos.Offset {
			t.Fatalf("the source is the first request: %v, %v", r, err)
		}
		end := make(chan *trackerpb.GetResponse)
		go func() {
			r, err := i.get(&trackerpb.GetRequest{JobId: "job-1", UntilTerminal: true})
			if err != nil {
				t.Error(err)
			}
			end <- r
		}()
		synctest.Wait()
		w.append(&event.Event{Type: event.CancelRequested, JobID: "job-1"})
		if r := <-end; !r.Job.Terminal {
			t.Fatalf("a long poll: %v", r)
		}
	})
}

func TestLongPollAnswersAtItsDeadline(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		i := w.start(8090, vfs.NewMem())
		defer i.stop()
		w.makeRequests()
		_, version := w.submit("job-1")
		began := time.Now()
		r, err := i.get(&trackerpb.GetRequest{JobId: "job-1", UntilTerminal: true})
		if err != nil || r.Job.Version != version {
			t.Fatalf("%v, %v: want what there is by then", r, err)
		}
		if d := time.Since(began); d < 4*time.Second || d >= 5*time.Second {
			t.Fatalf("answered after %s, want a little before the deadline", d)
		}
		_, err = i.get(&trackerpb.GetRequest{JobId: "job-1", MinVersion: 1000})
		wantCode(t, "a version that does not come", err, connect.CodeDeadlineExceeded)
	})
}

func TestErrorsOfTheAPI(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		i := w.start(8090, vfs.NewMem())
		defer i.stop()
		w.makeRequests()
		w.submit("job-1")
		for why, m := range map[string]*trackerpb.GetRequest{
			"no job":    {Tenant: tenant},
			"a long ID": {Tenant: tenant, JobId: strings.Repeat("x", maxIDChars+1)},
		} {
			_, err := i.get(m)
			wantCode(t, why, err, connect.CodeInvalidArgument)
		}
		_, err := i.api.Get(t.Context(), connect.NewRequest(&trackerpb.GetRequest{JobId: "job-1"}))
		wantCode(t, "no tenant", err, connect.CodeInvalidArgument)
		_, err = i.api.Reserve(t.Context(), connect.NewRequest(&trackerpb.ReserveRequest{JobId: "job-1"}))
		wantCode(t, "no tenant", err, connect.CodeInvalidArgument)
		_, err = i.get(&trackerpb.GetRequest{JobId: "job-1", Tenant: "umbrella"})
		wantCode(t, "another tenant", err, connect.CodeNotFound)
	})
}

// TestALogThatDoesNotAnswer: while Kafka does not answer it is not known whether a job exists, so the
// answer is "unavailable", which callers retry. (It was an internal error once.)
func TestALogThatDoesNotAnswer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		i := w.start(8090, vfs.NewMem())
		defer i.stop()
		var cut atomic.Bool
		cut.Store(true)
		w.cluster.ControlKey(int16(kmsg.ListOffsets), func(kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			return nil, errors.New("cut"), cut.Load()
		})
		_, err := i.get(&trackerpb.GetRequest{JobId: "job-1"})
		wantCode(t, "a job that is not there", err, connect.CodeUnavailable)
		cut.Store(false)
		time.Sleep(5 * time.Second)
		_, err = i.get(&trackerpb.GetRequest{JobId: "job-1"})
		wantCode(t, "and then", err, connect.CodeNotFound)
	})
}

func TestRestart(t *testing.T) {
	for name, fresh := range map[string]bool{"from its store": false, "from the log": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				fs := vfs.NewMem()
				i := w.start(8090, fs)
				w.makeRequests()
				want := map[string]*trackerpb.Job{}
				for n := range 20 {
					id := fmt.Sprintf("job-%d", n)
					pos, v := w.submit(id)
					if n%2 == 0 {
						v = w.append(&event.Event{Type: event.Claimed, JobID: id, Dispatch: 1, Run: "r", Request: &pos})
					}
					if n%4 == 0 {
						v = w.append(&event.Event{Type: event.Completed, JobID: id, Dispatch: 1, Run: "r", Result: []byte(`{"a":"<>"}`)})
					}
					want[id], _ = i.doc(id, v)
				}
				i.stop()
				if fresh {
					fs = vfs.NewMem()
				}
				i = w.start(8090, fs)
				defer i.stop()
				for id, j := range want {
					got, _ := i.doc(id, 0)
					if got.Version != j.Version || string(got.Document) != string(j.Document) || got.Terminal != j.Terminal {
						t.Errorf("%s is %v, was %v", id, got, j)
					}
				}
			})
		})
	}
}

func TestKafkaComesLate(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := &world{t: t, net: newNetwork()}
		w.names.Prefix = "late."
		i := w.run(8090, vfs.NewMem())
		time.Sleep(time.Minute)
		if i.tracker.Ready() == nil {
			t.Fatal("ready without Kafka")
		}
		w.startKafka()
		i.wantReady()
		w.makeRequests()
		w.submit("job-1")
		i.doc("job-1", 0)
		i.stop()
	})
}

func TestStopWithoutKafka(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := &world{t: t, net: newNetwork()}
		w.names.Prefix = "never."
		i := w.run(8090, vfs.NewMem())
		time.Sleep(time.Minute)
		i.stop()
	})
}

// watcher reads one watch stream: what it was told, in order.
type watcher struct {
	stream *connect.BidiStreamForClient[trackerpb.WatchRequest, trackerpb.WatchResponse]
	said   chan string
	cancel context.CancelFunc
}

func (i *instance) watch() *watcher {
	i.w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{stream: i.api.Watch(ctx), said: make(chan string, 1000), cancel: cancel}
	go func() {
		defer close(w.said)
		for {
			r, err := w.stream.Receive()
			if err != nil {
				return
			}
			for _, a := range r.Watched {
				w.said <- fmt.Sprintf("%s %s", a.Outcome, a.JobId)
			}
			for _, u := range r.Updates {
				w.said <- fmt.Sprintf("%s@%d", u.JobId, u.Version)
			}
		}
	}()
	return w
}

func (w *watcher) add(t *testing.T, id string, after int64) {
	t.Helper()
	if err := w.stream.Send(&trackerpb.WatchRequest{
		Add: []*trackerpb.WatchAdd{{JobId: id, Tenant: tenant, After: after}}}); err != nil {
		t.Fatal(err)
	}
}

func (w *watcher) want(t *testing.T, why string, want ...string) {
	t.Helper()
	for _, one := range want {
		select {
		case got := <-w.said:
			if got != one {
				t.Fatalf("%s: told %q, want %q", why, got, one)
			}
		case <-time.After(settled):
			t.Fatalf("%s: not told %q", why, one)
		}
	}
}

func (w *watcher) close() {
	w.cancel()
	_ = w.stream.CloseRequest()
	_ = w.stream.CloseResponse()
	for range w.said {
	}
}

func TestWatch(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		i := w.start(8090, vfs.NewMem())
		defer i.stop()
		w.makeRequests()
		pos, v := w.submit("job-1")
		s := i.watch()
		s.add(t, "job-1", 0)
		s.want(t, "the state now", "WATCHING job-1", fmt.Sprintf("job-1@%d", v))
		v = w.append(&event.Event{Type: event.Claimed, JobID: "job-1", Dispatch: 1, Run: "r1", Request: &pos})
		s.want(t, "a change", fmt.Sprintf("job-1@%d", v))
		s.add(t, "job-2", 0)
		s.want(t, "no such job", "NOT_FOUND job-2")
		s.add(t, strings.Repeat("x", 100), 0)
		s.want(t, "no such ID", "NOT_FOUND "+strings.Repeat("x", 100))
		v = w.append(&event.Event{Type: event.Completed, JobID: "job-1", Dispatch: 1, Run: "r1"})
		s.want(t, "the end", fmt.Sprintf("job-1@%d", v))
		s.close()
		time.Sleep(time.Second)
		if n := testutil.ToFloat64(i.gauge("ackwire_tracker_watches")); n != 0 {
			t.Fatalf("%v watches are left", n)
		}
	})
}

func TestWatchEndsWithTheTracker(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		i := w.start(8090, vfs.NewMem())
		w.makeRequests()
		_, v := w.submit("job-1")
		s := i.watch()
		s.add(t, "job-1", 0)
		s.want(t, "", "WATCHING job-1", fmt.Sprintf("job-1@%d", v))
		began := time.Now()
		i.stop()
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("the stop took %s", d)
		}
		s.want(t, "told before the stream ends", "NOT_OWNER job-1")
		s.close()
	})
}

func TestTwoTrackersShareAndHandOver(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		one := w.start(8090, vfs.NewMem())
		w.makeRequests()
		two := w.start(8190, vfs.NewMem())
		defer two.stop()
		ids := make([]string, 16)
		for n := range ids {
			ids[n] = fmt.Sprintf("job-%d", n)
			w.submit(ids[n])
		}
		time.Sleep(settled)
		one.wantReady()
		two.wantReady()
		owners := map[*instance]int{}
		var ofOne string
		for _, id := range ids {
			_, errOne := one.get(&trackerpb.GetRequest{JobId: id})
			_, errTwo := two.get(&trackerpb.GetRequest{JobId: id})
			switch {
			case errOne == nil && errTwo != nil:
				wantCode(t, "the other one", errTwo, connect.CodeFailedPrecondition)
				owners[one]++
				ofOne = id
			case errTwo == nil && errOne != nil:
				wantCode(t, "the other one", errOne, connect.CodeFailedPrecondition)
				owners[two]++
			default:
				t.Fatalf("%s: %v, %v: want exactly one owner", id, errOne, errTwo)
			}
		}
		if owners[one] == 0 || owners[two] == 0 {
			t.Fatalf("%d and %d jobs: want them shared", owners[one], owners[two])
		}

		s := one.watch()
		now, err := one.get(&trackerpb.GetRequest{JobId: ofOne})
		if err != nil {
			t.Fatal(err)
		}
		s.add(t, ofOne, now.Job.Version)
		s.want(t, "", "WATCHING "+ofOne)
		stopped := make(chan struct{})
		go func() { one.stop(); close(stopped) }()
		s.want(t, "the watcher is sent elsewhere", "NOT_OWNER "+ofOne)
		<-stopped
		s.close()
		time.Sleep(settled)
		two.wantReady()
		for _, id := range ids {
			two.doc(id, 0)
		}
		other := two.watch()
		other.add(t, ofOne, 0)
		other.want(t, "and served there", "WATCHING "+ofOne)
		other.close()
	})
}

// With everything gone from status there is nothing to catch up with.
func TestReadyOnAnEmptiedLog(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		i := w.start(8090, vfs.NewMem())
		w.makeRequests()
		for n := range 20 {
			w.submit(fmt.Sprintf("job-%d", n))
		}
		i.stop()
		w.drop()
		i = w.start(8090, vfs.NewMem())
		defer i.stop()
		_, err := i.get(&trackerpb.GetRequest{JobId: "job-1"})
		wantCode(t, "nothing is known of it", err, connect.CodeNotFound)
		w.submit("job-x")
		i.doc("job-x", 0)
	})
}

// TestLogThatLostItsTail: the store has folded more than the log holds, so it is the better copy. Its
// jobs are still known, what the log got after its loss is folded, and the loss is counted.
func TestLogThatLostItsTail(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		fs := vfs.NewMem()
		i := w.start(8090, fs)
		w.makeRequests()
		want := map[string]*trackerpb.Job{}
		for n := range 5 {
			id := fmt.Sprintf("job-%d", n)
			_, v := w.submit(id)
			want[id], _ = i.doc(id, v)
		}
		time.Sleep(time.Second)
		i.stop()
		described, err := kafka.Describe(t.Context(), w.client, w.names.Status())
		if err != nil {
			t.Fatal(err)
		}
		st, err := store.Open(fs, "data/store", identity(w.names.Status(), described), store.Options{}, w.env(nil).Log)
		if err != nil {
			t.Fatal(err)
		}
		for p := range int32(testPartitions) {
			if err := st.Partition(p).Checkpoint(nil, 1500, 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		w.submit("later") // its events take offsets that count as folded
		i = w.start(8090, fs)
		defer i.stop()
		for id, was := range want {
			got, _ := i.doc(id, 0)
			if got.Version != was.Version || string(got.Document) != string(was.Document) {
				t.Errorf("%s is %v, was %v", id, got, was)
			}
		}
		i.doc("later", 0)
		if _, v := w.submit("last"); v <= 1500 {
			t.Errorf("version %d: what was lost is given anew", v)
		}
		i.doc("last", 0)
		if n := testutil.ToFloat64(i.gauge("ackwire_tracker_log_gaps_total")); n != testPartitions {
			t.Fatalf("%v gaps are counted", n)
		}
	})
}
