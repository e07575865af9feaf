package sim

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/blobs"
	"github.com/ackwire/ackwire/schemas/audit"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// wantErased tries every door for an erased job.
func (w *World) wantErased(why string, c *ackwire.Client, id string) {
	w.T.Helper()
	for _, rest := range []string{"", "/why", "/result", "/deliveries", "/events", "/history", "/payload"} {
		if status, _, b := w.HTTP("GET", "/v1/jobs/"+id+rest, nil, nil); status != http.StatusNotFound {
			w.T.Errorf("%s: GET …%s: %d %s", why, rest, status, b)
		}
	}
	for _, order := range []string{"cancel", "retry"} {
		if status, _, b := w.HTTP("POST", "/v1/jobs/"+id+"/"+order, nil, nil); status != http.StatusNotFound {
			w.T.Errorf("%s: %s: %d %s", why, order, status, b)
		}
	}
	for _, path := range []string{"/v1/jobs", "/v1/jobs?state=completed", "/v1/stats"} {
		_, _, b := w.HTTP("GET", path, nil, nil)
		if text := string(b); strings.Contains(text, id) || strings.Contains(text, `"completed"`) {
			w.T.Errorf("%s: GET %s: %s", why, path, b)
		}
	}
	for s, err := range c.Job(id).Watch(w.ctx()) {
		if ackwire.CodeOf(err) != code.NotFound {
			w.T.Errorf("%s: a watch gives %s, %v", why, s.Raw, err)
		}
		break
	}
	if status, again := w.submitAgain("sales"); status != http.StatusNotFound {
		w.T.Errorf("%s: a submit with its key: %d %s", why, status, again)
	}
}

func (w *World) submitAgain(key string) (int, string) {
	w.T.Helper()
	status, _, b := w.HTTP("POST", "/v1/jobs", http.Header{"Content-Type": {"application/json"}, "Idempotency-Key": {key}},
		[]byte(`{"job":"demo.echo","payload":1}`))
	return status, string(b)
}

// TestErase: an erased job is answered as none at every door, its blobs are gone at once, and neither a crash, nor a
// tracker that has nothing but the log, nor a request that Kafka delivers again brings it back. When its retention is
// over, its key gives a new job.
func TestErase(t *testing.T) {
	Run(t, func(w *World) {
		w.jobTypes("defaults: {lane: default, lease: 30s, retention: 30m}\ntypes:\n  demo.echo: {maxPayload: 3000000}\n")
		var runs Counter
		w.forgetCommits(w.Names.ProcessorGroup("default"))
		worker := w.StartWorker(echoes(&runs, 0))
		c := w.Dial()
		large := fmt.Sprintf(`{"text":%q}`, strings.Repeat("x", 1_000_000))
		_, id := w.submitKeyed("sales", large)
		doc := w.WantEnd("it completes", c, id, job.Completed, 1)
		if doc.ResultURL == "" {
			t.Fatal("its result is not in the blob store")
		}
		if err := c.Job(id).Erase(w.ctx()); err != nil {
			t.Fatal(err)
		}
		w.wantErased("at once", c, id)
		store, err := blobs.Open(w.ctx(), w.blobs.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = store.Close() }()
		for _, prefix := range []string{event.ResultPrefix(id), event.PayloadPrefix(id)} {
			if left, err := store.RemoveAll(w.ctx(), prefix); left != 0 || err != nil {
				t.Errorf("%d blobs were left below %s, %v", left, prefix, err)
			}
		}
		if err := c.Job(id).Erase(w.ctx()); ackwire.CodeOf(err) != code.NotFound {
			t.Errorf("erased again: %v", err)
		}
		w.Stop(w.tracker)
		w.StartTracker()
		w.wantErased("after a restart", c, id)
		w.CrashTracker()
		w.StartTracker()
		w.wantErased("after a crash", c, id)
		w.Stop(w.tracker)
		w.fs = vfs.NewCrashableMem()
		w.StartTracker()
		w.wantErased("from the log alone", c, id)

		// The group of the lane loses its offsets, so the worker gets the request once more.
		w.Stop(worker)
		ran := runs.Load()
		w.StartWorker(echoes(&runs, 0))
		time.Sleep(5 * time.Minute)
		if runs.Load() != ran {
			t.Error("it ran again")
		}
		w.wantErased("after its request was delivered again", c, id)

		time.Sleep(30 * time.Minute)
		w.eventually("its key is free", func() bool {
			status, _ := w.submitAgain("sales")
			return status == http.StatusAccepted
		})
		w.WantEnd("a new job has its ID", c, id, job.Completed, 1)

		if got, want := w.audited(), []string{"erase ok " + id}; !slices.Equal(got, want) {
			t.Errorf("the audit has %q, want %q", got, want)
		}
	})
}

// audited returns deed, outcome and job of each record of the topic audit.
func (w *World) audited() (all []string) {
	w.T.Helper()
	for _, rec := range w.records(w.Names.Audit()) {
		r, err := audit.Decode(rec.Value)
		if err != nil {
			w.T.Errorf("%s: %v", rec.Value, err)
		}
		all = append(all, fmt.Sprintf("%s %s %s", r.Deed, r.Outcome, r.JobID))
	}
	return all
}
