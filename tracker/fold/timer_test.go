package fold

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// lost returns a job whose n-th attempt of the round is about to be lost.
func lost(id string, n, dispatch int, b job.Backoff) *Job {
	const attempts = 20
	return &Job{
		Doc: job.Document{JobID: id, Attempt: 7 + n, MaxAttempts: 7 + attempts}, Dispatch: dispatch,
		Policy: job.Policy{Attempts: attempts, Backoff: b},
	}
}

func TestBackoffIsFullJitterBelowItsCeiling(t *testing.T) {
	sec := func(d time.Duration) job.Seconds { return job.Seconds(d) }
	b := job.Backoff{Initial: sec(200 * time.Millisecond), Factor: 3, Cap: sec(20 * time.Second)}
	const jobs = 2000
	for n := 1; n <= 7; n++ {
		ceiling := time.Duration(min(0.2*math.Pow(3, float64(n-1)), 20) * float64(time.Second))
		var quarters [4]int
		for i := range jobs {
			id := fmt.Sprintf("job-%d", i)
			d := backoff(lost(id, n, n, b))
			if d != backoff(lost(id, n, n, b)) {
				t.Fatal("the same job and dispatch must always wait as long")
			}
			if d < 0 || d > ceiling {
				t.Fatalf("retry %d waits %s, want 0 to %s", n, d, ceiling)
			}
			quarters[min(int(4*d/ceiling), 3)]++
		}
		for q, have := range quarters {
			// 500 expected, standard deviation 19: ten of them are far beyond chance.
			if have < 310 || have > 690 {
				t.Errorf("retry %d: %d of %d waits lie in quarter %d of the range: %v", n, have, jobs, q, quarters)
			}
		}
	}
}

func TestBackoffDiffersByDispatch(t *testing.T) {
	b := job.Backoff{Initial: job.Seconds(time.Hour), Factor: 1, Cap: job.Seconds(time.Hour)}
	seen := map[time.Duration]bool{}
	for d := 1; d <= 100; d++ {
		seen[backoff(lost("one job", 1, d, b))] = true
	}
	if len(seen) < 99 {
		t.Fatalf("100 dispatches wait for %d different times", len(seen))
	}
}

func TestBackoffOfOddPolicies(t *testing.T) {
	century := time.Duration(job.MaxSeconds) * time.Second
	for _, b := range []job.Backoff{
		{},
		{Factor: 1e308},
		{Initial: job.Seconds(time.Second), Factor: 0},
		{Initial: job.Seconds(time.Second), Factor: 1e308},
		{Initial: job.Seconds(century), Factor: 1e308, Cap: job.Seconds(century)},
		{Initial: job.Seconds(century), Factor: -1},
	} {
		for n := 0; n <= 20; n++ {
			if d := backoff(lost("j", n, n, b)); d < 0 || d > century {
				t.Errorf("policy %+v, retry %d: waits %s", b, n, d)
			}
		}
	}
}

func TestBackoffStartsAnewWithEachRound(t *testing.T) {
	l := newLog(t)
	l.took("", event.Accepted)
	for d := 1; d <= 3; d++ {
		l.took("", event.Claimed, dispatch(d), run("r"), from(int64(6+d)))
		l.took("", event.Failed, dispatch(d), run("r"))
	}
	l.wantState("", job.Failed)
	l.took("", event.RetryRequested)
	l.took("", event.Claimed, dispatch(4), run("r"), from(4))
	l.took("", event.Failed, dispatch(4), run("r"))
	if wait := l.job.Doc.RetryAt.Sub(l.now); wait > time.Second {
		t.Fatalf("the first retry of a round waits %s, its initial backoff is 1s", wait)
	}
}

func TestRetryAfterReplacesBackoff(t *testing.T) {
	l := newLog(t)
	l.took("", event.Accepted)
	l.took("", event.Claimed)
	l.took("", event.Failed, retryAfter(42*time.Minute))
	if want := l.now.Add(42 * time.Minute); !l.job.Doc.RetryAt.Equal(want) {
		t.Fatalf("retry at %s, want %s", l.job.Doc.RetryAt, want)
	}
}

func TestNextDebt(t *testing.T) {
	seen := t0.Add(time.Minute)
	for _, c := range []struct {
		column string
		want   Debt
	}{
		{"pending", Debt{Deadline, t0.Add(time.Hour)}},
		{"queued", Debt{Deadline, t0.Add(time.Hour)}},
		{"scheduled", Debt{HandOut, t0.Add(2 * time.Minute)}},
		{"retrying", Debt{HandOut, t0.Add(2 * time.Minute)}},
		{"processing", Debt{Lease, seen.Add(30 * time.Second)}},
		{"cancelling", Debt{Force, seen.Add(15 * time.Second)}},
		{"completed", Debt{Expiry, t0.Add(2*time.Minute + 24*time.Hour)}},
	} {
		if got := NextDebt(tableJob(c.column), seen); got != c.want {
			t.Errorf("%s: owes %+v, want %+v", c.column, got, c.want)
		}
	}
	busy := tableJob("processing")
	if got, want := NextDebt(busy, seen.Add(time.Hour)), (Debt{Timeout, seen.Add(10 * time.Minute)}); got != want {
		t.Errorf("a run that is renewed owes %+v, want %+v", got, want)
	}
	busy.Policy.Timeout, busy.Policy.Deadline = 0, 0
	if got, want := NextDebt(busy, seen.Add(time.Hour)), (Debt{Lease, seen.Add(time.Hour + 30*time.Second)}); got != want {
		t.Errorf("without a timeout and a deadline it owes %+v, want %+v", got, want)
	}
	idle := tableJob("pending")
	idle.Policy.Deadline = 0
	if got := NextDebt(idle, seen); got.Kind != None {
		t.Errorf("a pending job without a deadline owes %+v", got)
	}
}
