package shard

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
)

// pending collects what is to run aside, and runs it when it is told to.
type pending []func()

func (p *pending) aside(work func(context.Context) error, done func(error)) {
	*p = append(*p, func() { done(work(context.Background())) })
}

// finish runs the oldest work and what follows it.
func (p *pending) finish() {
	first := (*p)[0]
	*p = (*p)[1:]
	first()
}

func TestTurns(t *testing.T) {
	var story []string
	say := func(format string, args ...any) { story = append(story, fmt.Sprintf(format, args...)) }
	want := func(why, text string) {
		t.Helper()
		if got := strings.Join(story, ", "); got != text {
			t.Errorf("%s: %s; want %s", why, got, text)
		}
		story = nil
	}
	var p pending
	ts := turnstile{most: 2, aside: p.aside}
	gone, again := map[string]bool{}, map[string]bool{}
	ts.begin = func(e *entry) (func(context.Context) error, func(error)) {
		if gone[e.id] {
			say("skip %s", e.id)
			return nil, nil
		}
		say("begin %s", e.id)
		return func(context.Context) error { return errors.New(e.id) }, func(err error) {
			say("end %s", err)
			if again[e.id] {
				again[e.id] = false
				ts.join(e)
			}
		}
	}
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		ts.join(&entry{id: id})
	}
	want("no more than two at a time", "begin a, begin b")
	gone["c"], again["a"] = true, true
	p.finish()
	want("the next one that needs its turn has it; who comes again is the last", "end a, skip c, begin d")
	p.finish()
	want("and so on", "end b, begin e")
	p.finish()
	want("the one that came again", "end d, begin a")
	ts.close()
	ts.join(&entry{id: "f"})
	p.finish()
	p.finish()
	want("a closed turnstile lets nobody in", "end e, end a")
	if ts.running != 0 || len(ts.line) != 1 {
		t.Errorf("%d run and %d wait", ts.running, len(ts.line))
	}
}

// TestHandOutsProduceTheRequestFirst: of a job that still owes it, and never another job's payload.
func TestHandOutsProduceTheRequestFirst(t *testing.T) {
	owes := func() *entry {
		j := aJob("a", job.Retrying)
		j.Dispatch, j.Doc.RetryAt = 2, &j.RoundAt
		return &entry{id: "a", job: j, index: -1}
	}
	for _, c := range []struct {
		why       string
		key       string // of the record at the job's source; empty is none
		change    func(*entry)
		said      string
		tries     int
		scheduled int
	}{
		{"it is handed out", "a", func(*entry) {}, "t.requests.default a, t.status a", 1, 1},
		{"it has ended meanwhile", "a", func(e *entry) { e.job = aJob("a", job.Cancelled) }, "", 0, 1},
		{"it was removed meanwhile", "a", func(e *entry) { e.job = nil }, "", 0, 1},
		{"another job's payload is there", "b", func(*entry) {}, "", 1, 1},
		{"the payload cannot be read", "", func(*entry) {}, "", 1, 1},
	} {
		var p pending
		log := &paper{}
		if c.key != "" {
			log.source = &kgo.Record{Key: []byte(c.key), Value: []byte("{}")}
		}
		out, jobs, scheduled := senderTo(log), newMemory(nil, func(*entry) {}), 0
		var h handOuts
		h.open(&jobs, &out, nil, local.Steps, func(*entry) { scheduled++ }, p.aside)
		h.most = 1
		first, e := owes(), owes()
		h.add(first)
		h.add(e)
		log.records = nil
		c.change(e)
		h.running-- // the first one's turn is over
		h.next()
		if e.paying != (len(p) == 2) {
			t.Errorf("%s: paying is %v", c.why, e.paying)
		}
		if len(p) == 2 {
			p = p[1:]
			p.finish()
		}
		if got := log.said(); got != c.said || e.paying || e.tries != c.tries || scheduled != c.scheduled {
			t.Errorf("%s: wrote %q, want %q; %d tries, scheduled %d times", c.why, got, c.said, e.tries, scheduled)
		}
	}
}

// TestWebhooksAreQueuedOnce: the job of a webhook comes before what says so, and a state that began meanwhile has one
// of its own.
func TestWebhooksAreQueuedOnce(t *testing.T) {
	var p pending
	log := &paper{}
	out, jobs := senderTo(log), newMemory(nil, func(*entry) {})
	var w webhooks
	w.open(&jobs, &out, local.Steps, p.aside)
	e := &entry{id: "a", job: aJob("a", job.Completed), index: -1}
	e.job.CallbackURL, e.job.CallbackState, e.job.CallbackDue = "https://example.com", job.Completed, 1
	jobs.keep(e)
	if w.changed(e); len(p) != 0 {
		t.Fatal("a webhook is queued while the shard catches up")
	}
	w.begin()
	w.changed(e)
	if len(p) != 1 {
		t.Fatalf("%d are queued", len(p))
	}
	newer := *e.job
	newer.CallbackDue = 7
	e.job = &newer
	p.finish()
	first := webhookID("a", 1)
	said := fmt.Sprintf("%s %s, %s %s, %s a", names.Requests(topic.WebhookLane), first, names.Status(), first,
		names.Status())
	if got := log.said(); got != said {
		t.Errorf("it wrote %q, want %q", got, said)
	}
	last, err := event.Decode(log.records[2].Value)
	if err != nil || last.Type != event.CallbackQueued || last.Delivery.Version != 1 {
		t.Errorf("it said %+v, %v", last, err)
	}
	if len(p) != 1 || !e.calling {
		t.Fatalf("%d are queued after another state began", len(p))
	}
	p.finish()
	if e.calling || len(p) != 0 || len(log.records) != 6 {
		t.Errorf("calling is %v, %d are queued, %d records", e.calling, len(p), len(log.records))
	}
}
