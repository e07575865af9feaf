package sim

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/internal/vendors"
	"github.com/ackwire/ackwire/schemas/job"
)

// The whole system runs on each managed Kafka, as far as its refusals are known, with the flags that docs/kafka.md
// names: jobs are submitted and end, attempts are repeated, jobs are retried, cancelled and scheduled, and a second
// tracker, whose disk is empty, takes over with all of them.
func TestVendors(t *testing.T) {
	for _, v := range vendors.All() {
		t.Run(v.Name, func(t *testing.T) {
			RunOn(t, v, func(w *World) {
				if v.Refused != "" {
					if err := w.TryTracker(time.Minute); err == nil || !strings.Contains(err.Error(), v.Refused) ||
						strings.Contains(err.Error(), "\n") {
						t.Errorf("the start is refused with %v, want one line with %q", err, v.Refused)
					}
					return
				}
				first := w.StartTracker()
				w.StartGateway()
				w.StartWorker(nil)
				w.spine(func() {
					w.StartAnotherTracker()
					w.Kill(first)
					time.Sleep(20 * time.Second)
				})
			})
		})
	}
}

// spine is what the system must do on any Kafka. In the middle the trackers change.
func (w *World) spine(takeover func()) {
	c := w.Dial()
	wants := func(what string, j *ackwire.Job, state job.State, attempt int) {
		w.T.Helper()
		w.WantEnd(what, c, j.ID, state, attempt)
	}
	echo := w.Submit(c, "demo.echo", `{"a":1}`)
	wants("a job", echo, job.Completed, 1)
	wants("an attempt is repeated", w.Submit(c, "demo.flaky", `{"failures":1}`), job.Completed, 2)
	failed := w.Submit(c, "demo.fail", `{}`)
	wants("a job that fails", failed, job.Failed, 1)
	ended, err := c.Job(failed.ID).Get(w.ctx())
	if err != nil {
		w.T.Errorf("a job that failed: %v", err)
	}
	if _, err := failed.Retry(w.ctx()); err != nil {
		w.T.Errorf("retry: %v", err)
	}
	time.Sleep(10 * time.Second)
	if st, err := c.Job(failed.ID).Get(w.ctx()); err != nil || st.Version <= ended.Version || st.State != job.Failed {
		w.T.Errorf("a retried job: %+v, %v", st, err)
	}
	sleeps := w.Submit(c, "demo.sleep", `{"seconds":300}`)
	time.Sleep(5 * time.Second)
	if _, err := sleeps.Cancel(w.ctx()); err != nil {
		w.T.Errorf("cancel: %v", err)
	}
	wants("a job that is cancelled", sleeps, job.Cancelled, 1)
	later := w.Submit(c, "demo.echo", `2`, ackwire.RunAt(time.Now().Add(2*time.Minute)))
	running := w.Submit(c, "demo.sleep", `{"seconds":60}`)
	time.Sleep(5 * time.Second)
	takeover()
	wants("a job that runs during the takeover", running, job.Completed, 1)
	wants("a job that is scheduled", later, job.Completed, 1)
	if st, err := c.Job(echo.ID).Get(w.ctx()); err != nil || st.State != job.Completed {
		w.T.Errorf("a job that ended before the takeover: %+v, %v", st, err)
	}
}

// Without its flags no process starts as if nothing were wrong: one line names what the vendor lacks, and the flag or
// setting that helps.
func TestVendorsNeedTheirFlags(t *testing.T) {
	without := func(v vendors.Vendor, flag string) vendors.Vendor {
		has := func(f string) bool { return strings.HasPrefix(f, flag) }
		v.Flags = slices.DeleteFunc(slices.Clone(v.Flags), has)
		v.Tracker = slices.DeleteFunc(slices.Clone(v.Tracker), has)
		return v
	}
	for _, c := range []struct {
		v     vendors.Vendor
		flag  string
		wants []string
	}{
		{vendors.WarpStream(), "--topic-settings", []string{"topic ackwire.status: replication is 1 and must be at least 3"}},
		{vendors.OldWarpStream(), "--tracker-no-view", []string{"does not know the request", "--tracker-no-view"}},
		{vendors.EventHubsPremium(), "--tracker-no-view", []string{"does not know the request", "--tracker-no-view"}},
		{vendors.EventHubsPremium(), "--topics", []string{"create topic ackwire.", "Topics are made in the portal",
			"--topics verify"}},
	} {
		t.Run(c.v.Name+" "+c.flag, func(t *testing.T) {
			RunOn(t, without(c.v, c.flag), func(w *World) {
				err := w.TryTracker(time.Minute)
				for _, want := range c.wants {
					if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
						t.Errorf("%v\nwant one line with %q", err, want)
					}
				}
			})
		})
	}
}
