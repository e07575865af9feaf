package fold

import (
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// One test for each rule that the model checker needed (▲ in the rule book) and that lives
// in the fold. Without its rule each of them fails.

func TestRuleClaimCreatesTheJobThatItOvertook(t *testing.T) {
	l := newLog(t)
	l.took("the claim is the job's first event", event.Claimed)
	l.wantState("accepted may be lost", job.Processing)
	l.wantOrders("the run may go on", "granted r1")
	if j := l.job; j.Tenant != "acme" || j.Doc.Subject != "alice" || j.Doc.Lane != "default" ||
		j.PayloadHash != "sha256:1" || j.Source != *request(7) || j.Policy != *policy() {
		t.Fatalf("claims carry the job's identity, got %+v", j)
	}
	l.took("it comes late", event.Accepted)
	l.wantState("accepted only fills in what was missing", job.Processing)
	l.refused("a second one", Duplicate, event.Accepted)
	l.took("the run goes on", event.Completed)
}

func TestRuleClaimMustNameTheJobsRequest(t *testing.T) {
	l := newLog(t)
	l.took("", event.Accepted, from(7))
	l.took("", event.Claimed, from(7))
	l.took("", event.Failed)
	l.took("the hand-out was done twice, this is the second request", event.Requeued, dispatch(2), from(21))
	l.refused("the first request's claim", WrongRequest, event.Claimed, dispatch(2), run("r2"), from(20))
	l.wantOrders("it must not run beside the other", "stop r2")
	l.took("the one that the job names", event.Claimed, dispatch(2), run("r3"), from(21))
	l.refused("the first comes again", WrongRun, event.Claimed, dispatch(2), run("r2"), from(20))
}

func TestRuleClaimOfEitherRequestWhileRetrying(t *testing.T) {
	l := newLog(t)
	l.took("", event.Accepted)
	l.took("", event.Claimed)
	l.took("", event.Failed)
	l.took("the claim overtook requeued", event.Claimed, dispatch(2), run("r2"), from(20))
	l.refused("requeued comes late", NotHeld, event.Requeued, dispatch(2), from(20))
	l.took("the run holds", event.Beat, dispatch(2), run("r2"))
}

// A scheduled job is handed out like a retry: between its request and requeued a worker may
// be quicker. Refused, it would never run: its request is spent, and requeued names it.
func TestRuleClaimOfScheduledOvertakesRequeued(t *testing.T) {
	l := newLog(t)
	l.took("", event.Accepted, runAt(t0.Add(time.Minute)))
	l.wantState("it waits", job.Scheduled)
	l.now = l.now.Add(time.Minute)
	l.took("the claim overtook requeued", event.Claimed, dispatch(2), run("r1"), from(20))
	l.wantOrders("it may run", "granted r1")
	l.refused("requeued comes late", NotHeld, event.Requeued, dispatch(2), from(20))
	l.took("the run holds", event.Completed, dispatch(2))
}

// A reservation that was lost lets another submit with the same key write a request of its own,
// straight into the lane. A scheduled job names no request, so only the dispatch can tell.
func TestRuleAStrayRequestIsNoScheduledJobs(t *testing.T) {
	l := newLog(t)
	l.took("", event.Accepted, runAt(t0.Add(time.Hour)))
	l.refused("its payload is another's, and its time has not come", OldDispatch, event.Claimed, run("r9"), from(3),
		hash("sha256:2"))
	l.wantOrders("it must not run", "stop r9")
	l.wantState("it waits on", job.Scheduled)
}

// A request may be delivered again for as long as Kafka keeps it. A request that may have been a job that
// has expired does not become one again. One that cannot have been a job becomes one by its claim, however
// long it waited.
func TestRuleAClaimMakesNoJobThatMayHaveExpired(t *testing.T) {
	short := func(e *event.Event) { e.Policy.Retention = job.Seconds(time.Second) }
	for what, c := range map[string]struct {
		age  time.Duration
		mods []mod
		made bool
	}{
		"it overtook accepted":                              {age: 0, made: true},
		"accepted was lost, and no worker came for hours":   {age: 23 * time.Hour, made: true},
		"a job of it may have expired":                      {age: 24 * time.Hour},
		"the group has lost its offsets":                    {age: 7 * 24 * time.Hour},
		"clocks of two brokers differ":                      {age: -time.Hour, made: true},
		"jobs are kept for a second, accepted is under way": {age: 10 * time.Second, mods: []mod{short}, made: true},
		"jobs are kept for a second, accepted was lost":     {age: 31 * time.Second, mods: []mod{short}},
	} {
		t.Run(what, func(t *testing.T) {
			l := newLog(t)
			l.now = t0.Add(c.age).Add(-time.Second)
			mods := append(c.mods, requestedAt(t0))
			if c.made {
				l.took(what, event.Claimed, mods...)
				return
			}
			l.refused(what, StaleRequest, event.Claimed, mods...)
			l.wantOrders("it must not run", "stop r1")
			l.took("accepted makes it all the same", event.Accepted)
		})
	}
}

// No worker reads the topic deferred. If the job became pending because its start has passed by the
// broker's clock, no worker would ever see it.
func TestRuleScheduledWhateverTheClocksSay(t *testing.T) {
	l := newLog(t)
	l.took("", event.Accepted, runAt(t0.Add(-time.Hour)))
	l.wantState("a gateway's clock was behind", job.Scheduled)
	if d := NextDebt(l.job, t0); d.Kind != HandOut || d.At.After(l.now) {
		t.Fatalf("it owes %+v, want a hand-out at once", d)
	}
}

func TestRuleClaimSaidAgainIsGrantedAgain(t *testing.T) {
	l := newLog(t)
	l.took("", event.Accepted)
	l.took("", event.Claimed)
	l.took("granted was lost, or its ack", event.Claimed)
	l.wantOrders("the run waits for it", "granted r1")
	l.wantState("nothing else changes", job.Processing)
	if l.job.Renewal != l.next-1 {
		t.Fatalf("renewal %d, want the claim to renew the lease", l.job.Renewal)
	}
	if started := *l.job.Doc.StartedAt; !started.Equal(t0.Add(2 * time.Second)) {
		t.Fatalf("started at %s: the attempt began with the first claim", started)
	}
}

func TestRuleReleaseRaisesDispatch(t *testing.T) {
	l := newLog(t)
	l.took("", event.Accepted)
	l.took("", event.Claimed)
	l.took("the worker stops politely", event.Released)
	if l.job.Dispatch != 2 || l.job.Doc.Attempt != 1 || l.job.Request != nil {
		t.Fatalf("released job %+v, want dispatch 2, attempt 1 and no request", l.job)
	}
	if d := NextDebt(l.job, l.now); d.Kind != HandOut || !d.At.Equal(l.now) {
		t.Fatalf("it owes %+v, want a hand-out at once", d)
	}
	l.refused("a redelivery of the first request", OldDispatch, event.Claimed, run("r2"))
	l.wantOrders("it must not run", "stop r2")
}

func TestRuleLeaseExpiryNamesTheCurrentRenewal(t *testing.T) {
	l := newLog(t)
	l.took("", event.Accepted)
	l.took("", event.Claimed)
	seen := l.job.Renewal
	l.took("", event.Beat)
	l.refused("the timer has not seen the beat", StaleRenewal, event.LeaseExpired, renewal(seen))
	l.took("", event.Progress)
	l.refused("progress renews as well", StaleRenewal, event.LeaseExpired, renewal(seen+1))
	l.took("", event.LeaseExpired, renewal(l.job.Renewal))
	l.wantState("nothing was heard since", job.Retrying)
	l.wantOrders("it may live", "stop r1")
	if e := l.job.Doc.Error; e == nil || e.Code != job.CodeWorkerLost || !e.Retryable {
		t.Fatalf("error %+v", e)
	}
}

func TestRuleCancelNamesItsRound(t *testing.T) {
	l := newLog(t)
	l.took("", event.Accepted)
	l.took("", event.CancelRequested)
	l.wantState("it had not started", job.Cancelled)
	l.took("its owner wants it after all", event.RetryRequested)
	l.refused("the first cancel was sent twice", WrongRound, event.CancelRequested)
	l.took("a cancel of this round", event.CancelRequested, round(1))
	l.wantState("", job.Cancelled)
}

func TestRuleRetryNamesItsRound(t *testing.T) {
	l := newLog(t)
	l.took("", event.Accepted)
	l.took("", event.CancelRequested)
	l.took("", event.RetryRequested)
	l.took("", event.Claimed, dispatch(2), run("r2"), from(20))
	l.took("", event.Completed, dispatch(2), run("r2"))
	l.refused("the first retry was sent twice", WrongRound, event.RetryRequested)
	l.took("a retry of this round", event.RetryRequested, round(1))
}

func TestRuleRetryRaisesDispatch(t *testing.T) {
	l := newLog(t)
	l.took("", event.Accepted)
	l.took("the request still lies in its topic", event.CancelRequested)
	l.took("", event.RetryRequested)
	l.refused("a worker reads the first request", OldDispatch, event.Claimed)
	l.wantOrders("the tracker hands out another", "stop r1")
	l.took("", event.Claimed, dispatch(2), run("r2"), from(20))
}

func TestRuleEndedAbsorbsALateAccepted(t *testing.T) {
	l := newLog(t)
	l.took("the claim overtook accepted", event.Claimed)
	l.took("", event.Completed)
	l.refused("a watcher has seen the last version", Duplicate, event.Accepted)
}

// The rest is not marked in the rule book, and holds all the same.

func TestRetryIsANewBudget(t *testing.T) {
	l := newLog(t)
	l.took("", event.Accepted, attempts(2))
	fail := func(n int) {
		t.Helper()
		l.took("", event.Claimed, dispatch(n), run("r"), from(int64(6+n)))
		l.took("", event.Failed, dispatch(n), run("r"))
	}
	fail(1)
	fail(2)
	l.wantState("two attempts are spent", job.Failed)
	if d := l.job.Doc; d.Attempt != 2 || d.MaxAttempts != 2 {
		t.Fatalf("attempt %d of %d", d.Attempt, d.MaxAttempts)
	}
	l.took("", event.RetryRequested)
	if d := l.job.Doc; d.Attempt != 3 || d.MaxAttempts != 4 || d.Error != nil || d.FinishedAt != nil ||
		d.StartedAt != nil {
		t.Fatalf("after the retry: %+v", d)
	}
	fail(3)
	l.wantState("one of two is spent", job.Retrying)
	fail(4)
	l.wantState("both are", job.Failed)
}

func TestRetryForgetsWhatWas(t *testing.T) {
	l := newLog(t)
	l.took("", event.Accepted)
	l.took("", event.Claimed)
	l.took("", event.Progress, percent(90))
	l.took("", event.CancelRequested)
	l.took("it was quicker", event.Completed)
	l.took("", event.RetryRequested)
	if d := l.job.Doc; d.Result != nil || d.Progress != nil || d.CancelRequested || l.job.CancelAt != nil {
		t.Fatalf("after the retry: %+v", d)
	}
	l.took("", event.Claimed, dispatch(2), run("r2"), from(20))
	if d := NextDebt(l.job, l.now); d.Kind != Lease {
		t.Fatalf("it owes %+v, want no forced cancel", d)
	}
}

func TestDeadlineIsPerRound(t *testing.T) {
	l := newLog(t)
	l.took("", event.Accepted)
	if d := NextDebt(l.job, l.now); d != (Debt{Deadline, t0.Add(time.Second + time.Hour)}) {
		t.Fatalf("it owes %+v, want the deadline an hour after its acceptance", d)
	}
	l.now = l.now.Add(time.Hour)
	l.took("", event.DeadlineExceeded)
	l.wantState("", job.Failed)
	if e := l.job.Doc.Error; e.Code != job.CodeDeadlineExceeded || e.Retryable {
		t.Fatalf("error %+v", e)
	}
	l.took("", event.RetryRequested)
	l.refused("the first round's timer fires late", WrongRound, event.DeadlineExceeded)
	l.took("", event.Requeued, dispatch(2))
	if d := NextDebt(l.job, l.now); d != (Debt{Deadline, l.job.RoundAt.Add(time.Hour)}) ||
		!l.job.RoundAt.After(t0.Add(time.Hour)) {
		t.Fatalf("it owes %+v, want a deadline from the retry on", d)
	}
}

func TestPercentNeverFallsWithinAnAttempt(t *testing.T) {
	l := newLog(t)
	l.took("", event.Accepted)
	l.took("", event.Claimed)
	for _, step := range []struct{ said, want float64 }{{10, 10}, {60, 60}, {30, 60}, {61, 61}, {0, 61}} {
		l.took("", event.Progress, percent(step.said))
		if got := l.job.Doc.Progress.Percent; got != step.want {
			t.Fatalf("after %v%%: %v%%, want %v%%", step.said, got, step.want)
		}
	}
	l.took("a beat says nothing of it", event.Beat)
	if got := l.job.Doc.Progress.Percent; got != 61 {
		t.Fatalf("after a beat: %v%%", got)
	}
	l.took("", event.Failed)
	l.took("", event.Claimed, dispatch(2), run("r2"), from(20))
	if l.job.Doc.Progress != nil {
		t.Fatal("the next attempt begins without progress")
	}
	l.took("", event.Progress, dispatch(2), run("r2"), percent(5))
	if got := l.job.Doc.Progress.Percent; got != 5 {
		t.Fatalf("in the next attempt: %v%%", got)
	}
}

func TestCancelOfARunningJob(t *testing.T) {
	l := newLog(t)
	l.took("", event.Accepted)
	l.took("", event.Claimed)
	l.took("", event.CancelRequested)
	asked := l.now
	if !l.job.Doc.CancelRequested {
		t.Fatal("it must be visible")
	}
	l.took("quit may be lost", event.Beat)
	l.wantOrders("so it is said again", "quit r1")
	l.took("asked again", event.CancelRequested)
	if d := NextDebt(l.job, l.now); d != (Debt{Force, asked.Add(15 * time.Second)}) {
		t.Fatalf("it owes %+v, want the grace to be counted from the first request", d)
	}
	l.took("", event.CancelForced)
	l.wantState("", job.Cancelled)
	l.refused("too late", Ended, event.Completed)
}

func TestReopenedJobIsNotForcedByAnOldGrace(t *testing.T) {
	l := newLog(t)
	l.took("", event.Accepted)
	l.took("", event.Claimed)
	l.took("", event.CancelRequested)
	l.took("", event.Failed)
	l.wantState("it obeyed", job.Cancelled)
	l.took("", event.RetryRequested)
	l.took("", event.Claimed, dispatch(2), run("r2"), from(20))
	l.refused("a stale owner's timer", OldDispatch, event.CancelForced)
	l.refused("one that is mistaken", NotRequested, event.CancelForced, dispatch(2))
}

func TestRemovedJobIsUnknown(t *testing.T) {
	l := newLog(t)
	l.took("", event.Accepted)
	l.took("", event.CancelRequested)
	l.refused("retention is a day", NotDue, event.Expired)
	l.now = l.now.Add(24 * time.Hour)
	l.took("", event.Expired)
	if l.job != nil {
		t.Fatal("a removed job must be nil")
	}
	l.refused("a later dispatch of it", UnknownJob, event.Claimed, dispatch(2))
	l.took("the same key may be used again", event.Accepted, from(99))
}

func TestResultHasTheBytesOfTheDocument(t *testing.T) {
	for _, c := range []struct{ said, want string }{
		{` { "a" : 1 } `, `{"a":1}`},
		{`"<b>"`, `"<b>"`},
		{`"\u003cb\u003e"`, `"\u003cb\u003e"`},
		{"\"\xff\"", "\"\uFFFD\""},
		{`null`, `null`},
		{``, ``},
	} {
		l := newLog(t)
		l.took("", event.Accepted)
		l.took("", event.Claimed)
		l.took("", event.Completed, result(c.said))
		if got := string(l.job.Doc.Result); got != c.want {
			t.Errorf("result %q became %q, want %q", c.said, got, c.want)
		}
		if got := string(clone(t, l.job).Doc.Result); got != c.want {
			t.Errorf("result %q was stored as %q, want %q", c.said, got, c.want)
		}
	}
}

// A worker put the job's request among the dead letters. A copy in its lane would not be the request that
// the job names. So requestLost hands the job out again, once and without spending an attempt.
func TestRuleADeadRequestIsHandedOutAgain(t *testing.T) {
	l := newLog(t)
	l.took("", event.Accepted)
	l.refused("the copy in the lane", WrongRequest, event.Claimed, run("r0"), from(9))
	l.refused("the loss of that copy", WrongRequest, event.RequestLost, from(9))
	l.took("the job's own", event.RequestLost, from(7))
	l.wantState("it is due", job.Retrying)
	if j := l.job; j.Dispatch != 2 || j.Doc.Attempt != 1 || j.Request != nil || !j.Doc.RetryAt.Equal(l.now) ||
		len(j.Doc.Attempts) != 0 {
		t.Fatalf("handed out as %+v", j)
	}
	l.refused("said twice", NotHeld, event.RequestLost, from(7))
	l.refused("the dead request is taken after all", OldDispatch, event.Claimed, run("r1"), from(7))
	l.took("", event.Requeued, dispatch(2), from(20))
	l.refused("said a third time", WrongRequest, event.RequestLost, from(7))
	l.took("that one is dead, too", event.RequestLost, from(20))
	l.took("", event.Requeued, dispatch(3), from(21))
	l.took("a worker that can read it", event.Claimed, dispatch(3), run("r2"), from(21))
	l.refused("it runs", NotHeld, event.RequestLost, from(21))
	l.took("", event.Completed, dispatch(3), run("r2"))
	l.refused("it has ended", Ended, event.RequestLost, from(21))
}
