package fold

import (
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// unable makes a released one of a worker that cannot run the job.
func unable(code string) mod {
	return func(e *event.Event) {
		e.Error = &event.Failure{Error: job.Error{Code: code, Message: "this worker cannot", Retryable: true}}
	}
}

// handBack folds one hand-out that ends with a worker that cannot run the job, and returns the
// pause before the next.
func (l *log) handBack(mods ...mod) time.Duration {
	l.t.Helper()
	d := l.job.Dispatch
	l.took("", event.Claimed, dispatch(d))
	l.took("", event.Released, append([]mod{dispatch(d)}, mods...)...)
	if l.job.Doc.RetryAt == nil {
		return 0
	}
	return l.job.Doc.RetryAt.Sub(l.now)
}

func TestRuleWorkersInabilityCostsNoAttempt(t *testing.T) {
	l := newLog(t)
	l.took("", event.Accepted)
	for n := 1; n <= 40; n++ {
		pause := l.handBack(unable("no_handler"))
		ceiling := min(time.Second<<min(n-1, 20), 5*time.Minute)
		if pause < ceiling/2-time.Millisecond || pause > ceiling {
			t.Fatalf("pause %d is %v, want %v to %v", n, pause, ceiling/2, ceiling)
		}
		j := l.job
		if j.Doc.State != job.Retrying || j.Doc.Attempt != 1 || j.Dispatch != n+1 || j.Request != nil {
			t.Fatalf("after %d hand-outs: %+v", n, j)
		}
		if j.Doc.Error == nil || j.Doc.Error.Code != "no_handler" {
			t.Fatalf("the document does not say why: %+v", j.Doc.Error)
		}
		if d := NextDebt(j, l.now); d.Kind != HandOut || !d.At.Equal(l.now.Add(pause)) {
			t.Fatalf("it owes %+v, want a hand-out after the pause", d)
		}
	}
	if n := len(l.job.Doc.Attempts); n != 1 {
		t.Errorf("%d runs in the history, want the last of those that were handed back alike", n)
	}
	l.took("", event.Claimed, dispatch(l.job.Dispatch))
	l.took("a run that fails counts", event.Failed, dispatch(l.job.Dispatch))
	if l.job.Doc.Attempt != 2 || l.job.Unserved != nil {
		t.Fatalf("attempt %d, unserved %+v", l.job.Doc.Attempt, l.job.Unserved)
	}
	if pause := l.handBack(unable("no_handler")); pause > time.Second {
		t.Errorf("after a run the pause is %v, want the first one", pause)
	}
}

// TestRuleInabilityEnds: by the bound on its time, whatever the attempts, and not before.
func TestRuleInabilityEnds(t *testing.T) {
	l := newLog(t)
	l.took("", event.Accepted)
	l.handBack(unable("webhook_no_secret"))
	first := *l.job.Doc.Attempts[0].EndedAt
	for l.job.Doc.State == job.Retrying {
		l.now = *l.job.Doc.RetryAt
		l.handBack(unable("webhook_no_secret"))
		if l.job.Doc.State == job.Retrying && l.now.Sub(first) >= job.MaxUnserved {
			t.Fatal("it is handed out beyond the bound")
		}
	}
	j := l.job
	if j.Doc.State != job.Failed || j.Doc.Error.Code != job.CodeUnserved || !j.Doc.Error.Retryable || j.Doc.Attempt != 1 {
		t.Fatalf("ended as %s, %+v", j.Doc.State, j.Doc.Error)
	}
	if after := l.now.Sub(first); after < job.MaxUnserved || after > job.MaxUnserved+unservedMax+time.Minute {
		t.Errorf("ended after %v", after)
	}
	l.took("", event.RetryRequested)
	if l.job.Unserved != nil {
		t.Error("an explicit retry begins anew")
	}
}

func TestRuleInabilityAndOtherEnds(t *testing.T) {
	l := newLog(t)
	l.took("", event.Accepted)
	if pause := l.handBack(unable("webhook_endpoint_paused"), retryAfter(time.Hour)); pause != time.Hour {
		t.Errorf("pause %v, want the worker's own", pause)
	}
	if pause := l.handBack(unable("no_handler"), retryAfter(time.Millisecond)); pause < time.Second-time.Millisecond {
		t.Errorf("pause %v: the worker's own is the least, not the most", pause)
	}
	if n := len(l.job.Doc.Attempts); n != 2 {
		t.Errorf("%d runs in the history: other reasons are kept", n)
	}
	l.took("", event.Claimed, dispatch(3))
	l.took("a polite stop says nothing of ability", event.Released, dispatch(3))
	if d := NextDebt(l.job, l.now); !d.At.Equal(l.now) || l.job.Unserved == nil {
		t.Errorf("it owes %+v, unserved %+v", d, l.job.Unserved)
	}
	l.took("", event.Claimed, dispatch(4))
	l.took("", event.CancelRequested)
	l.took("", event.Released, dispatch(4), unable("no_handler"))
	l.wantState("who asked for a cancel gets it", job.Cancelled)
}
