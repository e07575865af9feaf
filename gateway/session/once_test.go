//go:build unix

package session

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/hub"
	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/gateway/subjects"
	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

const (
	onceDocument = 1000 // bytes of a job's document
	onceRoom     = 1800 // bytes that may wait for the session: room for one document
)

func (noUpstream) AddSubject(*trackerpb.SubjectAdd) {}
func (noUpstream) RemoveSubject(uint32)             {}
func (noUpstream) List(context.Context, *trackerpb.ListRequest) (*trackerpb.ListResponse, error) {
	return &trackerpb.ListResponse{}, nil
}

// bare is a session without a socket. The test plays the trackers, and reads the outbox itself.
type bare struct {
	t    *testing.T
	s    *Session
	hub  *hub.Hub
	jobs map[string]*trackerpb.Job // their current state
}

func newBare(t *testing.T) *bare {
	b := &bare{t: t, hub: hub.New(time.Minute), jobs: map[string]*trackerpb.Job{}}
	b.hub.Attach(noUpstream{})
	all := subjects.New(kafka.Timeouts{}.Bounds())
	all.Attach(noUpstream{})
	cfg := &Config{Hub: b.hub, Subjects: all, Limits: noLimits{}, Metrics: &tally{}, Log: slog.New(slog.DiscardHandler),
		Subscriptions: 10_000, Load: func(_ context.Context, _ *auth.Scope, jobID string) (*trackerpb.Job, error) {
			return b.jobs[jobID], nil
		}}
	// Nothing is written: the outbox is read by the test.
	b.s = &Session{cfg: cfg, watches: map[string]*watch{}, over: true, ctx: t.Context(), identity: b.identity()}
	b.s.out.MaxBytes = onceRoom
	return b
}

func (b *bare) identity() auth.Identity {
	return auth.Identity{Tenant: "acme", Subject: "alice", Permissions: auth.Client | auth.ReadTenant}
}

// now sets the job's current state and returns it.
func (b *bare) now(jobID string, version int64, ended bool) *trackerpb.Job {
	document := fmt.Sprintf(`{"jobId":%q,"x":%q}`, jobID, strings.Repeat("x", onceDocument))
	b.jobs[jobID] = &trackerpb.Job{
		JobId: jobID, Tenant: "acme", Subject: "alice", Version: version, Terminal: ended, Document: []byte(document),
	}
	return b.jobs[jobID]
}

func (b *bare) ask(err error) {
	b.t.Helper()
	if err != nil && err != errLater {
		b.t.Fatal(err)
	}
}

// watch subscribes to the job, and the tracker answers with its state.
func (b *bare) watch(jobID string) {
	b.t.Helper()
	b.ask(b.s.subscribe(&frame.ClientFrame{Jobs: []byte(`[{"jobId":"` + jobID + `"}]`)}, b.identity()))
	b.answer(jobID, false)
}

// answer is the tracker's answer to a watch; withheld leaves out the document.
func (b *bare) answer(jobID string, withheld bool) {
	j := b.jobs[jobID]
	w := &trackerpb.Watched{
		JobId: jobID, Who: b.identity().Scope(auth.Read).Key(),
		Outcome: trackerpb.Watched_WATCHING, Version: j.Version, Position: j.Version,
	}
	if withheld {
		w.Ended, w.Withheld = true, int64(len(j.Document))
	}
	b.hub.Watched(w)
	if !withheld {
		b.hub.Update(j)
	}
}

func (b *bare) unwatch(jobID string) {
	b.t.Helper()
	b.ask(b.s.unsubscribe(&frame.ClientFrame{Jobs: []byte(`["` + jobID + `"]`)}))
}

// follow subscribes to all jobs, and the trackers answer.
func (b *bare) follow(cursor string) *subjectWatch {
	b.t.Helper()
	b.ask(b.s.subscribe(&frame.ClientFrame{Mine: true, After: cursor}, b.identity()))
	b.s.subject.Subscribed("", false)
	return b.s.subject
}

// tell delivers the job's status to the watch of all jobs.
func (b *bare) tell(jobID string) {
	j := b.jobs[jobID]
	b.s.subject.SubjectStatus(jobID, outbox.NewFrame(wire.EncodeMineStatus(j.Version, j.Document), j))
}

// read returns all statuses that are to be sent, as job@version, and loads parked ones.
func (b *bare) read() (got []string) {
	for range 20 {
		frames, _, _ := b.s.out.Take(nil, nil, 1<<20)
		b.s.out.Wrote()
		for _, f := range frames {
			if f.JobID != "" {
				got = append(got, fmt.Sprintf("%s@%d", f.JobID, f.Version))
			}
		}
		b.s.loadDue()
	}
	return got
}

func (b *bare) want(what string, want ...string) {
	b.t.Helper()
	if got := b.read(); !slices.Equal(got, want) {
		b.t.Errorf("%s: %q was sent, want %q", what, got, want)
	}
}

// TestEachVersionIsSentOnce: a session watches a job by itself and with all jobs of its subject, in either
// order, with and without room in the outbox: each version is sent at most once, and the last one always.
func TestEachVersionIsSentOnce(t *testing.T) {
	const j = "j"
	// full fills the room with another job's status.
	full := func(b *bare) {
		b.now("full", 1, true)
		b.watch("full")
	}
	for what, do := range map[string]func(b *bare){
		"a watch that has ended, then mine brings it again": func(b *bare) {
			b.now(j, 5, true)
			b.watch(j)
			b.want("the watch", "j@5")
			b.follow("cursor")
			b.tell(j)
			b.want("mine")
		},
		"a watch that was given up, then mine brings its last": func(b *bare) {
			b.now(j, 4, false)
			b.watch(j)
			b.want("the watch", "j@4")
			b.unwatch(j)
			b.follow("cursor")
			b.tell(j)
			b.want("mine")
			b.now(j, 5, true)
			b.tell(j)
			b.want("what is new", "j@5")
		},
		"a watch that was given up before its status was sent": func(b *bare) {
			b.now(j, 4, false)
			b.watch(j)
			b.unwatch(j)
			b.follow("cursor")
			b.tell(j)
			b.want("mine", "j@4")
		},
		"a watch that was given up while its status was owed": func(b *bare) {
			full(b)
			b.now(j, 4, false)
			b.watch(j)
			b.unwatch(j)
			b.follow("cursor")
			b.tell(j)
			b.want("mine", "full@1", "j@4")
		},
		"a live watch, then mine, then the watch is given up": func(b *bare) {
			b.now(j, 4, false)
			b.watch(j)
			b.want("the watch", "j@4")
			b.follow("cursor")
			b.unwatch(j)
			b.tell(j)
			b.want("mine")
		},
		"mine is given up, and asked for with the old cursor": func(b *bare) {
			b.now(j, 4, false)
			b.follow("")
			b.tell(j)
			b.want("mine", "j@4")
			b.now("k", 6, true)
			b.tell("k")
			b.ask(b.s.unsubscribe(&frame.ClientFrame{Mine: true}))
			b.follow("cursor")
			b.tell(j)
			b.tell("k")
			b.want("mine again", "k@6")
		},
		"a parked end, asked for anew": func(b *bare) {
			b.follow("")
			full(b)
			b.now(j, 5, true)
			b.watch(j)
			b.watch(j)
			b.want("both", "full@1", "j@5")
		},
		"a withheld end whose watch was given up, asked for anew": func(b *bare) {
			b.follow("")
			full(b)
			b.now(j, 5, true)
			b.ask(b.s.subscribe(&frame.ClientFrame{Jobs: []byte(`[{"jobId":"j"}]`)}, b.identity()))
			b.answer(j, true)
			b.unwatch(j)
			b.ask(b.s.subscribe(&frame.ClientFrame{Jobs: []byte(`[{"jobId":"j"}]`)}, b.identity()))
			b.answer(j, true)
			b.want("both", "full@1", "j@5")
		},
		"the same, and the tracker does not answer": func(b *bare) {
			b.follow("")
			full(b)
			b.now(j, 5, true)
			b.ask(b.s.subscribe(&frame.ClientFrame{Jobs: []byte(`[{"jobId":"j"}]`)}, b.identity()))
			b.answer(j, true)
			b.unwatch(j)
			b.ask(b.s.subscribe(&frame.ClientFrame{Jobs: []byte(`[{"jobId":"j"}]`)}, b.identity()))
			b.s.watches[j].Subscribed(0, "unavailable")
			b.want("mine", "full@1", "j@5")
		},
		"a status that mine owes, then a watch that brings a later one": func(b *bare) {
			b.follow("")
			full(b)
			b.now(j, 4, false)
			b.tell(j)
			b.now(j, 5, true)
			b.watch(j)
			b.want("both", "full@1", "j@5")
		},
		"another user's job is given up while its status is owed, and asked for anew": func(b *bare) {
			b.follow("")
			full(b)
			b.now(j, 4, false).Subject = "bob"
			b.watch(j)
			b.unwatch(j)
			b.want("it is not mine", "full@1")
			b.watch(j)
			b.want("the watch", "j@4")
		},
	} {
		t.Run(what, func(t *testing.T) { do(newBare(t)) })
	}
}

// TestMineAfterManyJobs: a session remembers a bounded number of versions that it was sent before it watches all
// jobs. Above the bound a cursor is not accepted, and the client is reset.
func TestMineAfterManyJobs(t *testing.T) {
	for _, c := range []struct {
		jobs  int
		reset bool
	}{{100, false}, {1000, true}} {
		b := newBare(t)
		for i := range c.jobs {
			id := fmt.Sprint(i)
			b.now(id, 5, true)
			b.watch(id)
			b.read()
		}
		if w := b.follow("cursor"); (w.After == subjects.NoCursor) != c.reset {
			t.Errorf("after %d jobs the cursor is %q", c.jobs, w.After)
		}
	}
}
