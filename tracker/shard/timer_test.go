package shard

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// faultOn fails the next n produces of events of a type; lost ones are not appended.
func (w *world) faultOn(typ event.Type, n int, lost bool) {
	w.set(func() {
		w.fault = func(rec *kgo.Record) (bool, error) {
			e, err := event.Decode(rec.Value)
			if rec.Topic != names.Status() || err != nil || e.Type != typ || n == 0 {
				return false, nil
			}
			n--
			return lost, errors.New("injected")
		}
	})
}

func TestLeaseExpiry(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		w.submit(id)
		w.claim(id, "r1")
		w.pass(lease - time.Second)
		renewed := w.append(id, event.Beat)
		w.pass(lease - time.Millisecond)
		w.wantState("the beat renewed the lease", id, job.Processing)
		w.pass(time.Millisecond)
		e := w.wantAppended("the run was not heard of for a lease", event.LeaseExpired, 1)[0]
		if *e.Renewal != renewed-1 || e.Run != "r1" || e.Dispatch != 1 {
			t.Fatalf("expiry %+v, want it to name the renewal at offset %d", e, renewed-1)
		}
		w.wantState("its next attempt waits", id, job.Retrying)
		w.wantOrders("it may live", "granted r1", "stop r1")
		w.pass(time.Minute)
		w.wantAppended("once is enough", event.LeaseExpired, 1)
	})
}

func TestExpiryAfterARenewalChangesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		w.submit(id)
		w.claim(id, "r1")
		w.pass(lease - time.Second)
		// The shard lags: the beat is in the log before the timer's event.
		w.set(func() { w.paused = true })
		w.append(id, event.Beat)
		w.pass(time.Second)
		w.wantAppended("the timer has not seen the beat", event.LeaseExpired, 1)
		w.set(func() { w.paused = false })
		synctest.Wait()
		w.wantState("the renewal saves the run", id, job.Processing)
		w.wantMetric("refused", w.metrics.refused["stale_renewal"], 1)
		w.pass(lease - time.Millisecond)
		w.wantAppended("the lease is counted from the beat", event.LeaseExpired, 1)
		w.pass(time.Millisecond)
		w.wantAppended("and armed again", event.LeaseExpired, 2)
		w.wantState("", id, job.Retrying)
	})
}

func TestTimersEventThatIsLostIsAppendedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		w.submit(id)
		w.claim(id, "r1")
		w.faultOn(event.LeaseExpired, 5, true)
		w.pass(lease)
		w.wantState("", id, job.Processing)
		w.pass(rearmMin + 2*rearmMin + 4*rearmMin + rearmMax - time.Millisecond)
		w.wantAppended("the wait doubles", event.LeaseExpired, 0)
		w.pass(rearmMax + time.Millisecond)
		w.wantAppended("up to a bound", event.LeaseExpired, 1)
		w.wantState("", id, job.Retrying)
	})
}

func TestAttemptTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		w.submit(id, with(func(p *job.Policy) { p.Timeout = job.Seconds(time.Minute) }))
		w.claim(id, "r1")
		for range 5 {
			w.pass(10 * time.Second)
			w.append(id, event.Beat)
		}
		w.pass(10*time.Second - time.Millisecond)
		w.wantAppended("", event.AttemptTimedOut, 0)
		w.pass(time.Millisecond)
		w.wantAppended("renewals do not save it", event.AttemptTimedOut, 1)
		if d := w.doc(id); d.State != job.Retrying || d.Error.Code != job.CodeTimeout || d.Attempt != 2 {
			t.Fatalf("%+v", d)
		}
	})
}

func TestDeadline(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ids := jobIDs(2)
		short := with(func(p *job.Policy) { p.Deadline = job.Seconds(time.Minute) })
		w.submit(ids[0], short)
		w.submit(ids[1], short)
		w.claim(ids[1], "r1")
		w.pass(20 * time.Second)
		w.append(ids[1], event.Beat)
		w.pass(20 * time.Second)
		w.append(ids[1], event.Beat)
		w.pass(20*time.Second - time.Millisecond)
		w.wantAppended("", event.DeadlineExceeded, 0)
		w.pass(time.Millisecond)
		w.wantAppended("whatever the jobs do", event.DeadlineExceeded, 2)
		for _, id := range ids {
			if d := w.doc(id); d.State != job.Failed || d.Error.Code != job.CodeDeadlineExceeded {
				t.Fatalf("%+v", d)
			}
		}
		w.wantOrders("the run is stopped", "granted r1", "stop r1")
	})
}

func TestCancelGrace(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		w.submit(id)
		w.claim(id, "r1")
		w.append(id, event.CancelRequested)
		w.pass(grace - time.Millisecond)
		w.append(id, event.Beat)
		w.wantState("the handler is asked to end", id, job.Processing)
		w.pass(time.Millisecond)
		w.wantAppended("it did not", event.CancelForced, 1)
		w.wantState("", id, job.Cancelled)
		w.wantOrders("asked twice, then stopped", "granted r1", "quit r1", "quit r1", "stop r1")
	})
}

func TestCancelIsObeyed(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		w.submit(id)
		w.claim(id, "r1")
		w.append(id, event.CancelRequested)
		w.append(id, event.Failed, func(e *event.Event) { e.Error.Code = job.CodeCancelled })
		w.wantState("", id, job.Cancelled)
		w.pass(2 * grace)
		w.wantAppended("nothing to force", event.CancelForced, 0)
	})
}

func TestEndedJobsExpire(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ids := jobIDs(3)
		for _, id := range ids {
			w.submit(id)
			w.append(id, event.CancelRequested)
		}
		w.pass(retention / 2)
		w.append(ids[1], event.RetryRequested)
		w.append(ids[1], event.CancelRequested, round(1))
		w.pass(retention/2 - 3*time.Second)
		w.wantAppended("", event.Expired, 0)
		w.pass(10 * time.Second)
		w.wantAppended("two have been kept for long enough", event.Expired, 2)
		if _, err := w.get(Query{JobID: ids[0], Scope: Scope{Tenant: tenant}}); !errors.Is(err, ErrNotFound) {
			t.Fatalf("got %v", err)
		}
		w.wantState("one ended a second time", ids[1], job.Cancelled)
		w.pass(retention / 2)
		w.wantAppended("now that one too", event.Expired, 3)
		w.inside(func(s *Shard) {
			if len(s.jobs.all) != 0 || len(s.debts.expiring) != 0 {
				t.Errorf("%d jobs and %d expiries are kept", len(s.jobs.all), len(s.debts.expiring))
			}
		})
		w.pass(time.Hour)
		w.wantAppended("and never again", event.Expired, 3)
	})
}

func TestExpiredThatIsLostIsAppendedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		w.submit(id)
		w.append(id, event.CancelRequested)
		w.faultOn(event.Expired, 1, true)
		w.pass(retention + expiredRearm - time.Second)
		w.wantState("", id, job.Cancelled)
		w.pass(5 * time.Second)
		w.wantAppended("", event.Expired, 1)
	})
}

// TestClocks has the broker's clock an hour behind and an hour ahead of the tracker's. What
// is due comes when it would with equal clocks, before a restart as after it.
func TestClocks(t *testing.T) {
	for name, skew := range map[string]time.Duration{"broker ahead": time.Hour, "broker behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.set(func() { w.skew = skew })
				ids := jobIDs(5)
				w.submit(ids[0])
				w.claim(ids[0], "r1")
				w.submit(ids[1], with(func(p *job.Policy) { p.Timeout = job.Seconds(20 * time.Second) }))
				w.claim(ids[1], "r2")
				w.submit(ids[2], with(func(p *job.Policy) { p.Deadline = job.Seconds(25 * time.Second) }))
				w.submit(ids[3])
				w.claim(ids[3], "r3")
				w.append(ids[3], event.Failed, run("r3"), func(e *event.Event) {
					after := job.Seconds(10 * time.Second)
					e.Error.RetryAfter = &after
				})
				if name == "broker ahead" {
					// Its records, newer than now, show it to a shard that has read no fresh one.
					w.crash(0, nil)
					synctest.Wait()
				}
				when := map[event.Type]time.Duration{}
				for s := time.Duration(0); s <= 40*time.Second; s += time.Second / 2 {
					for _, typ := range []event.Type{event.Requeued, event.AttemptTimedOut, event.DeadlineExceeded,
						event.LeaseExpired} {
						if _, seen := when[typ]; !seen && len(w.appended(typ)) > 0 {
							when[typ] = s
						}
					}
					w.pass(time.Second / 2)
				}
				want := map[event.Type]time.Duration{
					event.Requeued: 10 * time.Second, event.AttemptTimedOut: 20 * time.Second,
					event.DeadlineExceeded: 25 * time.Second, event.LeaseExpired: lease,
				}
				for typ, d := range want {
					if when[typ] != d {
						t.Errorf("%s came after %s, want %s", typ, when[typ], d)
					}
				}
				w.append(ids[4], event.Accepted)
				w.append(ids[4], event.CancelRequested)
				w.pass(retention - time.Minute)
				w.wantAppended("", event.Expired, 0)
				w.pass(2 * time.Minute)
				w.wantState("removed jobs are those that ended", ids[0], job.Pending)
				if n := len(w.appended(event.Expired)); n < 1 {
					t.Error("nothing has expired")
				}
			})
		})
	}
}

func TestAheadClock(t *testing.T) {
	var a aheadClock
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	see := func(why string, after, late, want time.Duration) {
		t.Helper()
		now = now.Add(after)
		if a.observe(now, now.Add(-time.Hour-late)); a.by != time.Hour+want {
			t.Fatalf("%s: an hour and %s ahead, want an hour and %s", why, a.by-time.Hour, want)
		}
	}
	const ms = time.Millisecond
	see("the first", 0, 9*ms, 9*ms)
	see("a record that was quicker", time.Second, 3*ms, 3*ms)
	see("one that was held up", time.Second, 5*time.Second, 3*ms)
	see("even as the first of its window", aheadWindow, 5*time.Second, 3*ms)
	see("the window before counts no more", aheadWindow+1, 7*ms, 7*ms)
}

// TestAWatchedJobStarts: one that comes from the store because somebody watches it, or waits
// for its end, long before it is due.
func TestAWatchedJobStarts(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ids := jobIDs(2)
		start := time.Now().Add(time.Minute)
		for _, id := range ids {
			w.append(id, event.Accepted, at(w.request(names.Deferred(), id)), func(e *event.Event) { e.RunAt = &start })
		}
		w.end()
		w.start()
		synctest.Wait()
		w.gateway().add(ids[0], 0)
		ended := make(chan error, 1)
		go func() {
			_, err := w.get(Query{JobID: ids[1], Scope: Scope{Tenant: tenant}, UntilTerminal: true})
			ended <- err
		}()
		w.pass(2 * time.Minute)
		if n := len(w.log(names.Requests("default"))); n != 2 {
			t.Errorf("%d of 2 were handed out", n)
		}
		w.end()
		if err := <-ended; err == nil {
			t.Error("the job has ended, says a shard that ends")
		}
		w.start()
	})
}

// TestALeaseGoesOnAfterATakeover: trackers that are killed in turn give a lost run no new lease.
func TestALeaseGoesOnAfterATakeover(t *testing.T) {
	for what, c := range map[string]struct {
		kills, every, other time.Duration // a kill after each, up to; and another job's events
		want                time.Duration // at most, after the last renewal
	}{
		"one takeover": {kills: 15 * time.Second, every: 15 * time.Second, want: lease},
		"one just before its end": {
			kills: 29 * time.Second, every: 29 * time.Second, want: 29*time.Second + leaseGrace(lease),
		},
		"one after its end": {
			kills: 29 * time.Second, every: 29 * time.Second, want: 29*time.Second + leaseGrace(lease),
		},
		"each ten seconds, on a quiet log": {
			kills: 20 * time.Second, every: 10 * time.Second, want: 20*time.Second + leaseGrace(lease),
		},
		"each ten seconds, on a log in motion": {
			kills: 5 * time.Minute, every: 10 * time.Second, other: time.Second, want: 33 * time.Second,
		},
	} {
		t.Run(what, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start()
				defer func() { w.end() }()
				synctest.Wait()
				ids := jobIDs(2)
				w.submit(ids[0])
				w.claim(ids[0], "r1")
				w.submit(ids[1])
				w.claim(ids[1], "r2")
				began := time.Now()
				for kill := c.every; len(w.appended(event.LeaseExpired)) == 0; {
					if d := time.Since(began); d > c.want {
						t.Fatalf("after %s it holds its job, want %s at most", d, c.want)
					}
					if kill <= c.kills && time.Since(began) >= kill {
						w.end()
						w.start()
						synctest.Wait()
						kill += c.every
					}
					if c.other > 0 || time.Since(began)%(10*time.Second) == 0 && time.Since(began) < c.want-lease {
						w.append(ids[1], event.Beat, run("r2"))
					}
					w.pass(time.Second)
				}
				if e := w.appended(event.LeaseExpired)[0]; e.Run != "r1" && c.other > 0 {
					t.Errorf("%s has lost its lease, which was renewed all the time", e.Run)
				}
				if d := time.Since(began); d < lease-time.Second {
					t.Errorf("the lease ended after %s", d)
				}
			})
		})
	}
}

// TestATakeoverLetsALiveRunSaySo: all was away for longer than a lease, and a run that lives says so
// at the next third of it.
func TestATakeoverLetsALiveRunSaySo(t *testing.T) {
	for _, skew := range []time.Duration{0, -2 * time.Hour, 2 * time.Hour} { // of the log's clock
		bubble.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.skew = skew
			w.start()
			synctest.Wait()
			id := jobIDs(1)[0]
			w.submit(id)
			w.claim(id, "r1")
			w.end()
			time.Sleep(5 * time.Minute)
			w.start()
			defer func() { w.end() }()
			w.pass(lease / 3)
			w.append(id, event.Beat)
			w.pass(lease - time.Second)
			w.wantAppended("it lives", event.LeaseExpired, 0)
			w.pass(time.Second)
			w.wantAppended("and its lease is watched", event.LeaseExpired, 1)
		})
	}
}
