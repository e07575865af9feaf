package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/gateway"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

const reportTypes = "defaults: {lane: default, lease: 30s, retention: 24h, attempts: 1}\n" +
	"types:\n  report: {}\n  other: {}\n"

// reports is a handler that fails, and counts how often each job was run.
type reports struct {
	mu   sync.Mutex
	runs map[string]int
}

func (r *reports) handle(p *processor.Processor) {
	fails := func(_ context.Context, j *processor.Job, _ []byte) (json.RawMessage, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.runs[j.ID]++
		return nil, errors.New("the printer is on fire")
	}
	processor.HandleRaw(p, "report", fails)
	processor.HandleRaw(p, "other", fails)
}

// count returns how many jobs were run that often.
func (r *reports) count(runs int) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ran := range r.runs {
		if ran == runs {
			n++
		}
	}
	return n
}

func (r *reports) of(id string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.runs[id]
}

// bulkWorld starts gateways that run bulk actions, and returns them.
func bulkWorld(w *World, gateways int, rate float64) (all []*Process) {
	w.ConfigureGateway = func(c *gateway.Config) { c.Bulk.Mode, c.Bulk.Rate = gateway.BulkOn, rate }
	w.jobTypes(reportTypes)
	all = append(all, w.gateway)
	for n := 1; n < gateways; n++ {
		all = append(all, w.StartGatewayAt(n))
	}
	return all
}

// killBulk kills the gateway that runs a bulk action, in the middle of a page, and starts it anew.
func (w *World) killBulk(gateways []*Process) {
	w.T.Helper()
	running := -1
	w.eventually("a gateway runs the bulk action", func() bool {
		time.Sleep(time.Second) // a look at all metrics is slow
		running = slices.IndexFunc(gateways, func(g *Process) bool { return g.Count("ackwire_gateway_bulk_running") > 0 })
		return running >= 0
	})
	time.Sleep(700 * time.Millisecond)
	w.Kill(gateways[running])
	if gateways[running] = w.StartGatewayAt(running); running == 0 {
		w.gateway = gateways[0]
	}
}

// submitMany submits jobs and returns their IDs.
func (w *World) submitMany(c *ackwire.Client, jobType string, n int) (ids []string) {
	w.T.Helper()
	for from := 0; from < n; from += 500 {
		items := make([]ackwire.BatchItem, min(500, n-from))
		for i := range items {
			items[i] = ackwire.BatchItem{Type: jobType, Payload: from + i,
				Options: []ackwire.SubmitOption{ackwire.NoKey(), ackwire.NoWatch()}}
		}
		results, err := c.SubmitBatch(w.ctx(), items)
		if err != nil {
			w.T.Fatal(err)
		}
		for _, r := range results {
			if r.Err != nil {
				w.T.Fatal(r.Err)
			}
			ids = append(ids, r.Job.ID)
		}
	}
	return ids
}

func (w *World) previewed(c *ackwire.HTTPClient, o ackwire.BulkOrder) ackwire.BulkPreview {
	w.T.Helper()
	p, err := c.PreviewBulk(w.ctx(), o)
	if err != nil {
		w.T.Fatal(err)
	}
	return p
}

func (w *World) bulkEnd(c *ackwire.Client, id string) ackwire.BulkResult {
	w.T.Helper()
	st, err := c.Job(id).Wait(w.ctx())
	if err != nil {
		w.T.Fatal(err)
	}
	r, err := ackwire.BulkResultOf(st)
	if err != nil {
		w.T.Fatalf("%v: %s", err, st.Raw)
	}
	return r
}

var failedReports = ackwire.BulkOrder{Action: ackwire.BulkRetry,
	Filter: ackwire.ListOptions{States: []job.State{job.Failed}, Types: []string{"report"}}}

// TestABulkActionThatIsKilledTouchesNoJobTwice: the gateway that runs it is killed again and again, and the trackers
// crash. All jobs that match run once more, though they fail again; jobs that others have retried or erased meanwhile
// are skipped and named.
func TestABulkActionThatIsKilledTouchesNoJobTwice(t *testing.T) {
	Run(t, func(w *World) {
		const all = 1000
		gateways := bulkWorld(w, 2, 20)
		r := &reports{runs: map[string]int{}}
		w.StartWorker(r.handle)
		c := w.Dial()
		ids := w.submitMany(c, "report", all)
		w.submitMany(c, "other", 20)
		w.eventually("all have failed", func() bool {
			return w.previewed(w.NewHTTP(), failedReports).Count == all && r.count(1) == all+20
		})
		if p := w.previewed(w.NewHTTP(), failedReports); len(p.Examples) != frame.MaxBulkExamples {
			t.Errorf("examples %v", p.Examples)
		}
		_, err := c.Bulk(w.ctx(), failedReports, all-1)
		var e *ackwire.Error
		if !errors.As(err, &e) || e.Code != code.CountDiffers || e.Count == nil || *e.Count != all {
			t.Fatalf("another number: %v", err)
		}
		if r.count(1) != all+20 {
			t.Fatal("something ran")
		}
		b, err := c.Bulk(w.ctx(), failedReports, all)
		if err != nil {
			t.Fatal(err)
		}
		// The list has the newest first, so the oldest are the last that the bulk action comes to.
		if _, err := c.Job(ids[0]).Retry(w.ctx()); err != nil {
			t.Fatal(err)
		}
		if err := c.Job(ids[1]).Erase(w.ctx()); err != nil {
			t.Fatal(err)
		}
		h := w.NewHTTP()
		for n := range 3 {
			at := int64(250 * (n + 1))
			w.eventually(fmt.Sprintf("it has come to %d", at), func() bool {
				time.Sleep(time.Second)
				st, err := h.Job(b.ID).Get(w.ctx())
				return err == nil && st.Progress != nil && st.Progress.Current >= at
			})
			w.killBulk(gateways)
			if n == 1 {
				w.CrashTracker()
				w.StartTracker()
			}
		}
		got := w.bulkEnd(w.Dial(), b.ID)
		if got.Matched != all || got.Done != all-2 || got.Skipped[frame.BulkChanged] != 1 ||
			got.Skipped[frame.BulkGone] != 1 || got.Skipped[frame.BulkRefused] != 0 || len(got.Jobs) != 2 {
			t.Errorf("%+v", got)
		}
		for _, s := range got.Jobs {
			if s.JobID == ids[0] && s.Reason != frame.BulkChanged || s.JobID == ids[1] && s.Reason != frame.BulkGone ||
				s.JobID != ids[0] && s.JobID != ids[1] {
				t.Errorf("skipped %+v", s)
			}
		}
		w.eventually("all have run again", func() bool { return r.count(2) == all-1 })
		time.Sleep(time.Minute)
		if twice, more := r.count(2), r.count(3); twice != all-1 || more != 0 || r.of(ids[1]) != 1 {
			t.Errorf("%d ran twice, %d three times, the erased one %d times", twice, more, r.of(ids[1]))
		}
	})
}

// TestABulkActionIsStopped: its cancel leaves the other jobs as they are. A graceful stop of its gateway does not end
// it. A job that has begun to run is not cancelled when those that wait were meant.
func TestABulkActionIsStopped(t *testing.T) {
	Run(t, func(w *World) {
		const all = 600
		gateways := bulkWorld(w, 1, 20)
		c := w.Dial()
		ids := w.submitMany(c, "report", all)
		waiting := ackwire.BulkOrder{Action: ackwire.BulkCancel, Filter: ackwire.ListOptions{States: []job.State{job.Pending},
			Types: []string{"report"}}}
		b, err := c.Bulk(w.ctx(), waiting, w.previewed(w.NewHTTP(), waiting).Count)
		if err != nil {
			t.Fatal(err)
		}
		progress := func(at int64) func() bool {
			return func() bool {
				st, err := w.NewHTTP().Job(b.ID).Get(w.ctx())
				return err == nil && st.Progress != nil && st.Progress.Current >= at
			}
		}
		w.eventually("a page is done", progress(200))
		w.Stop(gateways[0])
		w.StartGateway()
		w.eventually("it goes on", progress(400))
		if _, err := w.NewHTTP().Job(b.ID).Cancel(w.ctx()); err != nil {
			t.Fatal(err)
		}
		st, err := w.NewHTTP().Job(b.ID).Wait(w.ctx())
		if st.State != job.Cancelled {
			t.Fatalf("%v, %s", err, st.Raw)
		}
		cancelled := ackwire.BulkOrder{Action: ackwire.BulkRetry, Filter: ackwire.ListOptions{
			States: []job.State{job.Cancelled}, Types: []string{"report"}}}
		n := w.previewed(w.NewHTTP(), cancelled).Count
		if st.Progress == nil || st.Progress.Current != n || n < 400 || n == all {
			t.Errorf("%d are cancelled: %s", n, st.Raw)
		}
		if _, err := w.NewHTTP().Job(b.ID).Retry(w.ctx()); ackwire.CodeOf(err) != code.InvalidState {
			t.Errorf("retry of a bulk action: %v", err)
		}
		if _, err := w.NewHTTP().Submit(w.ctx(), "ackwire.bulk", map[string]any{"v": 1}); ackwire.CodeOf(err) !=
			code.UnknownJobType {
			t.Errorf("a submit of the type: %v", err)
		}
		r := &reports{runs: map[string]int{}}
		w.StartWorker(r.handle)
		w.eventually("the others run", func() bool { return int64(r.count(1)) == all-n })

		// Erased: each has its record in the audit, beside the one of the order.
		ended := ackwire.BulkOrder{Action: ackwire.BulkErase, Filter: ackwire.ListOptions{Types: []string{"report"}}}
		w.eventually("all have ended", func() bool { return w.previewed(w.NewHTTP(), ended).Count == all })
		w.Stop(w.gateway)
		w.ConfigureGateway = func(c *gateway.Config) { c.Bulk.Mode, c.Bulk.Rate = gateway.BulkOn, 1000 }
		w.StartGateway()
		c = w.Dial()
		if b, err = c.Bulk(w.ctx(), ended, all); err != nil {
			t.Fatal(err)
		}
		if got := w.bulkEnd(c, b.ID); got.Done != all || len(got.Jobs) != 0 {
			t.Errorf("%+v", got)
		}
		records := map[string]int{}
		for _, line := range w.audited() {
			records[line]++
		}
		for _, id := range ids {
			if records["erase ok "+id] != 1 {
				t.Errorf("%d records of the erasure of %s", records["erase ok "+id], id)
			}
		}
		if records["bulk ok "+b.ID] != 1 {
			t.Errorf("no record of the order: %d records", len(records))
		}
		if n := w.previewed(w.NewHTTP(), ended).Count; n != 0 {
			t.Errorf("%d are left", n)
		}
	})
}
