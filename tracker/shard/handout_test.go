package shard

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker/fetch"
	"github.com/ackwire/ackwire/tracker/fold"
)

func parse(t *testing.T, rec *kgo.Record) topic.Request {
	t.Helper()
	var headers []topic.Header
	for _, h := range rec.Headers {
		headers = append(headers, topic.Header{Key: h.Key, Value: h.Value})
	}
	r, err := topic.ParseRequest(string(rec.Key), headers)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// retryOf makes a job whose second attempt is due in five seconds.
func (w *world) retryOf(id string, mods ...mod) {
	w.submit(id, mods...)
	w.claim(id, "r1")
	w.append(id, event.Failed, func(e *event.Event) {
		after := job.Seconds(5 * time.Second)
		e.Error.RetryAfter = &after
	})
}

func TestRetryIsHandedOut(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		w.retryOf(id)
		w.pass(5*time.Second - time.Millisecond)
		w.wantState("", id, job.Retrying)
		w.pass(time.Millisecond)
		requests := w.log(names.Requests("default"))
		if len(requests) != 2 {
			t.Fatalf("%d requests, want the first and the next attempt's", len(requests))
		}
		if string(requests[1].Value) != string(requests[0].Value) {
			t.Fatal("the payload has changed")
		}
		first, next := parse(t, requests[0]), parse(t, requests[1])
		first.Dispatch, first.Attempt = 2, 2
		if !reflect.DeepEqual(next, first) {
			t.Fatalf("headers say %+v, want %+v", next, first)
		}
		requeued := w.wantAppended("", event.Requeued, 1)[0]
		if requeued.Dispatch != 2 || *requeued.Request != (event.Position{Topic: names.Requests("default"), Offset: 1}) {
			t.Fatalf("%+v does not name the request", requeued)
		}
		w.wantState("it waits for a worker", id, job.Pending)
		w.claim(id, "r2")
		w.append(id, event.Released, dispatch(2), run("r2"))
		w.wantAppended("what was released is handed out at once", event.Requeued, 2)
		last := parse(t, w.log(names.Requests("default"))[2])
		if last.Dispatch != 3 || last.Attempt != 2 {
			t.Fatalf("dispatch %d, attempt %d: a release costs no attempt", last.Dispatch, last.Attempt)
		}
	})
}

func TestScheduledIsHandedOut(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		start := time.Now().Add(time.Minute)
		w.append(id, event.Accepted, at(w.request(names.Deferred(), id)), func(e *event.Event) { e.RunAt = &start })
		w.wantState("", id, job.Scheduled)
		w.pass(time.Minute - time.Millisecond)
		w.wantAppended("not yet", event.Requeued, 0)
		w.pass(time.Millisecond)
		w.wantState("now", id, job.Pending)
		requests := w.log(names.Requests("default"))
		if len(requests) != 1 {
			t.Fatalf("%d requests", len(requests))
		}
		r := parse(t, requests[0])
		if r.Dispatch != 2 || r.Attempt != 1 || r.RunAt != nil {
			t.Fatalf("%+v: want the first dispatch that a worker reads, without the start", r)
		}
		if got := string(requests[0].Value); got != `{"for":"`+id+`"}` {
			t.Fatalf("payload %s", got)
		}
	})
}

// The request first, then the fact: after a crash between the two the job is still due.
func TestHandOutIsRepeatedUntilRequeuedIsFolded(t *testing.T) {
	for _, lost := range []bool{true, false} {
		inBubble(t, func(t *testing.T, w *world) {
			id := jobIDs(1)[0]
			w.retryOf(id)
			w.faultOn(event.Requeued, 1, lost)
			w.pass(5 * time.Second)
			if n := len(w.log(names.Requests("default"))); n != 2 {
				t.Fatalf("%d requests", n)
			}
			if lost {
				w.wantState("requeued was lost", id, job.Retrying)
				w.pass(handOutBackoff)
				if n := len(w.log(names.Requests("default"))); n != 3 {
					t.Fatalf("%d requests, want the hand-out to be repeated", n)
				}
			}
			w.wantState("", id, job.Pending)
			r := w.peek(id).Request.Offset
			if want := int64(len(w.log(names.Requests("default"))) - 1); r != want {
				t.Fatalf("the job names the request at %d, want %d", r, want)
			}
			w.pass(time.Minute)
			w.wantAppended("that is all", event.Requeued, 1)
		})
	}
}

func TestFactIsNeverAppendedWithoutItsRequest(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		w.retryOf(id)
		w.set(func() {
			w.fault = func(rec *kgo.Record) (bool, error) {
				if rec.Topic == names.Requests("default") {
					return true, errors.New("injected")
				}
				return false, nil
			}
		})
		w.pass(time.Minute)
		w.wantAppended("no request was durable", event.Requeued, 0)
		w.wantState("", id, job.Retrying)
		w.set(func() { w.fault = nil })
		w.pass(handOutMax)
		w.wantAppended("it was tried again", event.Requeued, 1)
	})
}

// A worker may be quicker than requeued, and the shard may crash before it is appended.
func TestClaimOvertakesRequeued(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		w.retryOf(id)
		w.faultOn(event.Requeued, 1, true)
		w.pass(5 * time.Second)
		w.append(id, event.Claimed, dispatch(2), run("r2"), at(event.Position{Topic: names.Requests("default"), Offset: 1}))
		w.pass(10 * time.Second)
		w.wantAppended("the hand-out is done", event.Requeued, 0)
		if n := len(w.log(names.Requests("default"))); n != 2 {
			t.Fatalf("%d requests", n)
		}
		w.wantState("", id, job.Processing)
		w.pass(lease)
		w.wantAppended("its lease is watched", event.LeaseExpired, 1)
	})
}

func TestRequeuedThatIsNotFoldedInTimeIsHarmless(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		w.retryOf(id)
		w.set(func() { w.paused = true })
		w.pass(5*time.Second + handOutRearm)
		w.wantAppended("handed out, and in doubt again", event.Requeued, 2)
		w.set(func() { w.paused = false })
		synctest.Wait()
		w.wantState("", id, job.Pending)
		w.append(id, event.Claimed, dispatch(2), run("r3"), at(event.Position{Topic: names.Requests("default"), Offset: 2}))
		w.append(id, event.Claimed, dispatch(2), run("r2"), at(event.Position{Topic: names.Requests("default"), Offset: 1}))
		w.wantOrders("one run only", "granted r1", "stop r3", "granted r2")
	})
}

func TestPayloadIsGone(t *testing.T) {
	for name, breakIt := range map[string]func(*world){
		"retention was too short": func(w *world) { w.logs[names.Requests("default")] = nil },
		"another job's record lies there": func(w *world) {
			other := *w.logs[names.Requests("default")][0]
			other.Key = []byte("another job")
			w.logs[names.Requests("default")][0] = &other
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				id := jobIDs(1)[0]
				w.retryOf(id, with(func(p *job.Policy) { p.Deadline = job.Seconds(10 * time.Minute) }))
				w.set(func() { breakIt(w) })
				w.pass(5*time.Second + 3*handOutMax)
				w.wantMetric("counted each time", w.metrics.payloadGone, 4)
				if n := len(w.log(names.Requests("default"))); n > 1 {
					t.Fatalf("%d requests: a payload went out", n)
				}
				w.pass(10 * time.Minute)
				if d := w.doc(id); d.State != job.Failed || d.Error.Code != job.CodeDeadlineExceeded {
					t.Fatalf("%+v: a job that cannot be handed out still has its deadline", d)
				}
			})
		})
	}
}

// TestALostPayloadEndsTheJob: a retry whose payload is not there any more does not wait for ever. What
// was removed ends it at once, what only seems to be away after a time.
func TestALostPayloadEndsTheJob(t *testing.T) {
	for name, c := range map[string]struct {
		breakIt func(*world)
		within  time.Duration
	}{
		"removed": {func(w *world) { w.gone = fetch.ErrRemoved }, 0},
		"away":    {func(w *world) { w.gone = fetch.ErrGone }, goneFor},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				id := jobIDs(1)[0]
				w.retryOf(id)
				w.set(func() { c.breakIt(w) })
				w.pass(5*time.Second + c.within - time.Millisecond)
				w.wantState("not yet", id, job.Retrying)
				w.pass(handOutMax)
				if d := w.doc(id); d.State != job.Failed || d.Error == nil || d.Error.Code != job.CodePayloadMissing ||
					d.Error.Retryable {
					t.Fatalf("%+v", d)
				}
				e := w.wantAppended("said once", event.PayloadLost, 1)[0]
				if e.Dispatch != 2 || e.Request != nil || e.Life == "" {
					t.Errorf("said %+v", e)
				}
			})
		})
	}
	t.Run("it comes back", func(t *testing.T) {
		inBubble(t, func(t *testing.T, w *world) {
			id := jobIDs(1)[0]
			w.retryOf(id)
			w.set(func() { w.gone = fetch.ErrGone })
			w.pass(goneFor - time.Minute)
			w.set(func() { w.gone = nil })
			w.pass(2 * time.Minute)
			w.wantState("", id, job.Pending)
			w.wantAppended("nothing was lost", event.PayloadLost, 0)
		})
	})
}

// TestARequestThatWasRemoved: a job that waits for a worker fails once its request is gone, and only
// then.
func TestARequestThatWasRemoved(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ids := jobIDs(5)
		for _, id := range ids {
			w.submit(id)
		}
		w.claim(ids[1], "r1")
		w.append(ids[2], event.CancelRequested)
		removed := func(p event.Position) bool { return p.Offset < 4 }
		n, err := w.shard.FailLost(t.Context(), append(ids, "no such job"), removed)
		if err != nil || n != 2 {
			t.Fatalf("%d jobs have lost their requests, %v", n, err)
		}
		synctest.Wait()
		for i, want := range []job.State{job.Failed, job.Processing, job.Cancelled, job.Failed, job.Pending} {
			w.wantState("", ids[i], want)
		}
		if d := w.doc(ids[0]); d.Error.Code != job.CodePayloadMissing || d.Error.Retryable {
			t.Errorf("%+v", d)
		}
		if n, err = w.shard.FailLost(t.Context(), ids, removed); err != nil || n != 0 {
			t.Errorf("again: %d, %v", n, err)
		}
	})
}

func TestHandOutsAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ids := jobIDs(5 * maxHandOuts)
		for _, id := range ids {
			w.retryOf(id)
		}
		w.set(func() { w.slow = time.Second })
		w.pass(6 * time.Second)
		var cancelled string
		w.inside(func(s *Shard) { cancelled = s.handOuts.line[len(s.handOuts.line)-1].id })
		w.append(cancelled, event.CancelRequested)
		w.pass(10 * time.Second)
		if w.mostFetching != maxHandOuts {
			t.Errorf("%d hand-outs at a time, want %d", w.mostFetching, maxHandOuts)
		}
		w.wantAppended("all but the one that was cancelled meanwhile", event.Requeued, len(ids)-1)
		w.wantState("", cancelled, job.Cancelled)
		w.inside(func(s *Shard) {
			if s.handOuts.running != 0 || len(s.handOuts.line) != 0 {
				t.Errorf("%d hand-outs run and %d wait", s.handOuts.running, len(s.handOuts.line))
			}
		})
	})
}

func TestEndDuringHandOuts(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		synctest.Wait()
		for _, id := range jobIDs(2 * maxHandOuts) {
			w.retryOf(id)
		}
		w.set(func() { w.slow = time.Hour })
		w.pass(6 * time.Second)
		began := time.Now()
		w.end()
		if d := time.Since(began); d != 0 {
			t.Errorf("the shard took %s to end", d)
		}
		w.set(func() { w.slow = 0 })
		w.start()
		defer w.end()
		w.pass(time.Second)
		w.wantAppended("the next owner owes the same", event.Requeued, 2*maxHandOuts)
	})
}

func TestNextHeaders(t *testing.T) {
	h := func(key, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: key, Value: []byte(value)} }
	old := []kgo.RecordHeader{
		h("ackwire-dispatch", "1"), h("traceparent", "x"), h("ackwire-dispatch", "7"), h("ackwire-run-at", "y"),
	}
	before := slices.Clone(old)
	got := nextHeaders(old, &fold.Job{Dispatch: 3, Doc: job.Document{Attempt: 2}})
	want := []kgo.RecordHeader{h("traceparent", "x"), h("ackwire-dispatch", "3"), h("ackwire-attempt", "2")}
	same := func(a, b kgo.RecordHeader) bool { return a.Key == b.Key && string(a.Value) == string(b.Value) }
	if !slices.EqualFunc(got, want, same) {
		t.Errorf("headers %s, want %s", got, want)
	}
	if !slices.EqualFunc(old, before, same) {
		t.Error("the original record's headers have changed")
	}
}
