package shard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/fold"
)

// desk is the questions of a shard that has caught up, with all that they need.
type desk struct {
	questions
	aside pending
	end   int64
	away  error // Kafka's, instead of end
	said  []string
}

func newDesk(t *testing.T, stored ...*fold.Job) *desk {
	d := &desk{}
	jobs := newMemory(storeOf(t, stored...), func(*entry) {})
	pos, catching := &position{}, &catchUp{grants: map[string]event.Order{}}
	catching.ready.Store(true)
	d.questions = newQuestions(&jobs, pos, catching, NewMetrics(meter.New(prometheus.NewRegistry(), "tracker")),
		d.aside.aside, func(context.Context) (int64, error) { return d.end, d.away })
	return d
}

// question returns one whose answer is said by its name.
func (d *desk) question(ctx context.Context, name, id string, least int64) *ask {
	say := func(what any) { d.said = append(d.said, fmt.Sprintf("%s: %v", name, what)) }
	return &ask{
		ctx: ctx, id: id, min: least, scope: Scope{Tenant: tenant},
		found:   func(e *entry) { say(e.job.Doc.State) },
		missing: func() { say("missing") },
		fail:    func(err error) { say(err) },
	}
}

func (d *desk) want(t *testing.T, why string, said ...string) {
	t.Helper()
	if !slices.Equal(d.said, said) {
		t.Errorf("%s: said %q, want %q", why, d.said, said)
	}
	d.said = nil
}

func TestQuestionsAreAnsweredOrWait(t *testing.T) {
	d := newDesk(t, aJob("a", job.Pending))
	d.end = 5
	d.resolve(d.question(t.Context(), "at once", "a", 0))
	d.want(t, "what is known is said at once", "at once: pending")
	d.resolve(d.question(t.Context(), "later", "a", 3))
	d.resolve(d.question(t.Context(), "none", "b", 0))
	d.want(t, "one waits for the log, one for its end")
	d.aside.finish()
	d.want(t, "the log has more than is folded: a job may be in it")
	d.pos.next = 3
	d.unpark()
	d.want(t, "it is folded so far", "later: pending")
	d.pos.next = 5
	d.unpark()
	d.want(t, "all that the log held is folded", "none: missing")
	if len(d.parked)+len(d.endWanted)+len(d.endAsked) != 0 {
		t.Error("a question that was answered is kept")
	}
}

// TestQuestionsShareTheLogsEnd: those that come while it is asked are served by the next request.
func TestQuestionsShareTheLogsEnd(t *testing.T) {
	d := newDesk(t)
	for i := range 3 {
		d.resolve(d.question(t.Context(), fmt.Sprint(i), "b", 0))
	}
	if len(d.aside) != 1 {
		t.Fatalf("%d requests are under way, want one", len(d.aside))
	}
	d.away = errors.New("no broker")
	d.aside.finish()
	d.want(t, "the first came before it was sent", "0: "+ErrLogAway.Error()+": no broker")
	d.away = nil
	d.aside.finish()
	d.want(t, "the others share the next", "1: missing", "2: missing")
	if len(d.aside) != 0 || d.endAsking {
		t.Errorf("%d requests are under way", len(d.aside))
	}
}

func TestQuestionsAreRefused(t *testing.T) {
	d := newDesk(t, aJob("a", job.Pending))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d.catching.ready.Store(false)
	d.resolve(d.question(ctx, "q", "a", 0))
	d.want(t, "its asker has gone", "q: "+context.Canceled.Error())
	d.resolve(d.question(t.Context(), "q", "a", 0))
	d.want(t, "the shard is catching up", "q: "+ErrNotReady.Error())
	d.close()
	d.resolve(d.question(ctx, "q", "a", 0))
	d.want(t, "the shard has ended", "q: "+ErrNotOwner.Error())
}

// TestQuestionsThatPoll: they are asked again when their job changes, dropped when their asker has gone, and all are
// answered in the end.
func TestQuestionsThatPoll(t *testing.T) {
	d := newDesk(t)
	e := &entry{id: "a", job: aJob("a", job.Pending)}
	ctx, cancel := context.WithCancel(t.Context())
	d.poll(e, d.question(t.Context(), "stays", "a", 0))
	d.poll(e, d.question(ctx, "goes", "a", 0))
	cancel()
	d.sweep(time2000())
	d.want(t, "one asker has gone", "goes: context canceled")
	e.job = aJob("a", job.Completed)
	d.changed(e)
	d.want(t, "the job has changed", "stays: completed")
	d.changed(e)
	if d.polls != 0 || len(d.polled) != 0 || len(e.waits) != 0 {
		t.Errorf("%d polls of %d jobs are left", d.polls, len(d.polled))
	}
	d.poll(e, d.question(t.Context(), "polls", "a", 0))
	d.resolve(d.question(t.Context(), "waits", "a", 9))
	d.resolve(d.question(t.Context(), "asks", "b", 0))
	d.resolve(d.question(t.Context(), "wants", "b", 0))
	d.close()
	d.answerAll(ErrNotOwner)
	slices.Sort(d.said)
	over := ErrNotOwner.Error()
	d.want(t, "the shard has ended", "asks: "+over, "polls: "+over, "waits: "+over, "wants: "+over)
}

func TestReservations(t *testing.T) {
	d, now := newDesk(t), time2000()
	until := now.Add(time.Second)
	for _, c := range []struct {
		why, holder string
		now         time.Time
		want        claim
	}{
		{"the key is free", "a", now, claimHeld},
		{"its holder asks again", "a", now, claimHeld},
		{"another one waits", "b", until, claimWait},
		{"it is overdue", "b", until.Add(1), claimHeld},
	} {
		if got := d.keys.take("k", c.holder, until, c.now); got != c.want {
			t.Errorf("%s: %v, want %v", c.why, got, c.want)
		}
	}
	if !d.keys.wait("k", d.question(t.Context(), "waits", "k", 0)) || d.keys.waits != 1 {
		t.Fatal("there is no room to wait")
	}
	e := &entry{id: "k"}
	d.known(e)
	d.want(t, "its job is not known yet")
	e.job = aJob("k", job.Pending)
	d.jobs.keep(e)
	d.known(e)
	d.want(t, "its job is known", "waits: pending")
	if d.keys.take("k", "c", until, now); !slices.Equal(d.keys.overdue(until), []string{"k"}) {
		t.Error("a key that was held too long is not overdue")
	}
	d.sweep(until)
	if len(d.keys.held) != 0 || d.keys.waits != 0 {
		t.Errorf("%d keys are held and %d wait", len(d.keys.held), d.keys.waits)
	}
	for i := range maxReservations {
		d.keys.take(fmt.Sprint(i), "a", until, now)
	}
	if got := d.keys.take("more", "a", until, now); got != claimFull {
		t.Errorf("beyond the bound: %v", got)
	}
	d.keys.waits = maxReservations
	if d.keys.wait("7", nil) {
		t.Error("beyond the bound of those that wait there was room")
	}
}
