package sim

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/gateway"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/job"
)

// inWorldOfGrants is Run with a gateway that makes grants, and a worker. Jobs are kept for ten minutes.
func inWorldOfGrants(t *testing.T, test func(*World)) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "grant.key")
	if err := os.WriteFile(file, []byte(strings.Repeat("g", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	Run(t, func(w *World) {
		w.ConfigureGateway = func(c *gateway.Config) { c.Auth.GrantKeyFile = file }
		w.jobTypes("defaults: {lane: default, lease: 30s, retention: 10m}\ntypes:\n  demo.echo: {}\n  demo.sleep: {}\n")
		w.StartWorker(nil)
		test(w)
	})
}

// page returns a client that has nothing but a grant, over a socket or over HTTP.
func (w *World) page(g ackwire.Grant) *ackwire.Client {
	w.T.Helper()
	w.clients++
	transport := &http.Transport{DialContext: w.Net.Host(fmt.Sprintf("client-%d", w.clients)).Dial}
	c, err := ackwire.Dial(w.ctx(), GatewayURL(0), ackwire.WithToken(g.Token),
		ackwire.WithHTTPClient(&http.Client{Transport: transport}))
	if err != nil {
		w.T.Fatal(err)
	}
	w.T.Cleanup(func() {
		_ = c.Close()
		transport.CloseIdleConnections()
	})
	return c
}

func (w *World) grantFor(c *ackwire.Client, r ackwire.GrantRequest) ackwire.Grant {
	w.T.Helper()
	if r.TTL == 0 {
		r.TTL = time.Hour
	}
	g, err := c.Grant(w.ctx(), r)
	if err != nil {
		w.T.Fatal(err)
	}
	return g
}

// opens checks which of two jobs a page sees, by each of its doors.
func (w *World) opens(what string, page *ackwire.Client, seen, hidden string) {
	w.T.Helper()
	if _, err := page.Job(seen).Get(w.ctx()); err != nil {
		w.T.Errorf("%s: get: %v", what, err)
	}
	for door, ask := range map[string]func(*ackwire.Job) error{
		"get": func(j *ackwire.Job) error { _, err := j.Get(w.ctx()); return err },
		"why": func(j *ackwire.Job) error { _, err := j.Why(w.ctx()); return err },
		"watch": func(j *ackwire.Job) error {
			for _, err := range j.Watch(w.ctx()) {
				return err
			}
			return nil
		},
	} {
		if err := ask(page.Job(hidden)); !errors.Is(err, ackwire.ErrNotFound) {
			w.T.Errorf("%s: %s of another job: %v", what, door, err)
		}
	}
	list, err := page.List(w.ctx(), ackwire.ListOptions{Limit: 500})
	if err != nil || len(list.Jobs) == 0 {
		w.T.Errorf("%s: a list of %d jobs, %v", what, len(list.Jobs), err)
	}
	for _, st := range list.Jobs {
		if st.JobID == hidden {
			w.T.Errorf("%s: its list shows another job", what)
		}
	}
}

// TestAPageFollowsItsJob follows a job by a grant through a crash of the tracker, its end, a retry, and its expiry.
func TestAPageFollowsItsJob(t *testing.T) {
	inWorldOfGrants(t, func(w *World) {
		backend := w.Dial()
		j := w.Submit(backend, "demo.sleep", `{"seconds":60,"steps":60}`, ackwire.WithGrant(time.Hour))
		other := w.Submit(backend, "demo.echo", `1`)
		page := w.page(j.Grant)
		w.opens("while it runs", page, j.ID, other.ID)
		w.CrashTracker()
		w.StartTracker()
		w.WantEnd("by its grant", page, j.ID, job.Completed, 1)
		w.opens("at its end", page, j.ID, other.ID)
		for what, try := range map[string]func() error{
			"submit": func() error { _, err := page.Submit(w.ctx(), "demo.echo", 1); return err },
			"cancel": func() error { _, err := page.Job(j.ID).Cancel(w.ctx()); return err },
			"retry":  func() error { _, err := page.Job(j.ID).Retry(w.ctx()); return err },
			"a wider grant": func() error {
				_, err := page.Grant(w.ctx(), ackwire.GrantRequest{Jobs: []string{j.ID, other.ID}, TTL: time.Minute})
				return err
			},
		} {
			if err := try(); ackwire.CodeOf(err) != code.Forbidden {
				t.Errorf("%s by a grant to read: %v", what, err)
			}
		}
		if _, err := j.Retry(w.ctx()); err != nil {
			t.Fatal(err)
		}
		w.WantEnd("once more, after a retry", page, j.ID, job.Completed, 2)
		orders := w.page(w.grantFor(backend, ackwire.GrantRequest{
			Jobs: []string{j.ID}, Permissions: []string{"read", "submit", "cancel"},
		}))
		if _, err := orders.Job(j.ID).Retry(w.ctx()); err != nil {
			t.Errorf("retry by a grant for it: %v", err)
		}
		if _, err := orders.Job(j.ID).Cancel(w.ctx()); err != nil {
			t.Errorf("cancel by a grant for it: %v", err)
		}
		w.WantEnd("cancelled by a grant", page, j.ID, job.Cancelled, 3)
		for what, order := range map[string]func(*ackwire.Job) error{
			"retry":  func(j *ackwire.Job) error { _, err := j.Retry(w.ctx()); return err },
			"cancel": func(j *ackwire.Job) error { _, err := j.Cancel(w.ctx()); return err },
		} {
			if err := order(orders.Job(other.ID)); !errors.Is(err, ackwire.ErrNotFound) {
				t.Errorf("%s of another job: %v", what, err)
			}
		}
		if _, err := orders.Submit(w.ctx(), "demo.echo", 1); ackwire.CodeOf(err) != code.Forbidden {
			t.Errorf("a new job by a grant for one that is there: %v", err)
		}
		time.Sleep(10 * time.Minute)
		w.expire(backend, j.ID)
		if _, err := page.Job(j.ID).Get(w.ctx()); !errors.Is(err, ackwire.ErrNotFound) {
			t.Errorf("after its expiry: %v", err)
		}
	})
}

// TestGrantsForManyJobs opens a hundred jobs, and the jobs of a type, and no others.
func TestGrantsForManyJobs(t *testing.T) {
	inWorldOfGrants(t, func(w *World) {
		backend := w.Dial()
		var ids []string
		for i := range 100 {
			ids = append(ids, w.Submit(backend, "demo.echo", fmt.Sprint(i)).ID)
		}
		other := w.Submit(backend, "demo.sleep", `{"seconds":1}`).ID
		all := w.page(w.grantFor(backend, ackwire.GrantRequest{Jobs: ids}))
		for _, id := range ids {
			w.WantEnd("one of a hundred", all, id, job.Completed, 1)
		}
		w.opens("a hundred", all, ids[99], other)
		w.opens("a type", w.page(w.grantFor(backend, ackwire.GrantRequest{Types: []string{"demo.echo"}})), ids[0], other)
		both := w.grantFor(backend, ackwire.GrantRequest{Jobs: []string{ids[0], other}, Types: []string{"demo.echo"}})
		w.opens("jobs of a type", w.page(both), ids[0], other)

		// By a grant of a grant, of a grant: it opens what the first does at most.
		by := w.page(w.grantFor(backend, ackwire.GrantRequest{
			Types: []string{"demo.echo"}, Permissions: []string{"submit", "read"},
		}))
		mine, err := by.Submit(w.ctx(), "demo.echo", 7, ackwire.WithGrant(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		w.opens("a job of its own", w.page(mine.Grant), mine.ID, ids[0])
		if _, err := by.Submit(w.ctx(), "demo.sleep", 7); ackwire.CodeOf(err) != code.Forbidden {
			t.Errorf("a submit of another type: %v", err)
		}
	})
}
