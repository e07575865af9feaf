package fold

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// FuzzLog makes a log of the input, three bytes an event, and checks what must hold for
// every log: see checkLog.
func FuzzLog(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0, 0, 3, 0, 0, 4, 0, 0})
	f.Add([]byte{1, 0, 0, 0, 0, 0, 5, 0, 0, 9, 0, 0, 1, 0, 1, 10, 0, 0, 2, 0, 0, 11, 0, 0})
	f.Add([]byte{0, 1, 0, 1, 0, 0, 6, 0, 0, 1, 0, 0, 7, 1, 0, 7, 0, 0, 12, 0, 0, 1, 1, 1, 13, 0, 0, 12, 0, 0, 14, 0, 255})
	f.Fuzz(checkLog)
}

// TestRandomLogs is FuzzLog on some hundred logs, the same each time.
func TestRandomLogs(t *testing.T) {
	for seed := range uint64(600) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		in := make([]byte, 3*(5+rnd.IntN(40)))
		for i := range in {
			in[i] = byte(rnd.UintN(256))
			if i%3 != 0 && rnd.IntN(3) > 0 {
				in[i] = 0 // the event fits
			}
		}
		checkLog(t, in)
		if t.Failed() {
			t.Fatalf("seed %d: %v", seed, in)
		}
	}
}

// record is an event with its place in the log.
type record struct {
	e  *event.Event
	at Meta
}

// checkLog builds a log, folds it, and checks after each event that
//   - neither the job nor the event given in was changed;
//   - the job that was stored and read again is the same, and owes something computable;
//   - versions strictly rise, by taken events only; dispatches never fall;
//   - an ended job changes by an explicit retry and by its expiry only, so that each round
//     has one outcome;
//   - one run at most wins a dispatch, and a run that was refused is never taken later;
//   - attempts stay within the budget, and progress does not fall within an attempt;
//
// and afterwards that folding any part of the log again, onto any checkpoint, ends alike.
func checkLog(t *testing.T, in []byte) {
	var (
		j           *Job
		log         []record
		checkpoints = []*Job{nil}
		clock       = t0
		winners     = map[int]string{} // of the job's dispatches
		refused     = map[string]bool{}
		outcomes    = map[int]job.State{} // of its rounds
	)
	for i := 0; i+2 < len(in) && len(log) < 100; i += 3 {
		clock = clock.Add(time.Duration(in[i+2]) * time.Second)
		if in[i+2] == 255 {
			clock = clock.Add(48 * time.Hour)
		}
		rec := record{fuzzEvent(j, in[i], in[i+1], in[i+2]), Meta{Offset: int64(2 * len(log)), Time: clock}}
		if err := rec.e.Validate(); err != nil {
			t.Fatalf("the generator made an event that is not valid: %v", err)
		}
		log = append(log, rec)
		was, said := clone(t, j), *rec.e
		r := Fold(j, rec.e, rec.at)
		where := fmt.Sprintf("event %d, %s", len(log)-1, rec.e.Type)

		if !reflect.DeepEqual(was, j) || !reflect.DeepEqual(&said, rec.e) {
			t.Fatalf("%s: the input has changed", where)
		}
		if !r.Changed && (r.Job != j || r.Reason == Taken) {
			t.Fatalf("%s: refused because of %q, and another job", where, r.Reason)
		}
		for _, o := range r.Orders {
			holds := r.Job != nil && r.Job.Doc.State == job.Processing && r.Job.Dispatch == o.Dispatch && r.Job.Run == o.Run
			if (o.Type == event.Stop) == holds {
				t.Fatalf("%s: %s to a run of which holding is %v", where, o.Type, holds)
			}
			if o.Type == event.Stop && rec.e.Type == event.Claimed && r.Reason != FutureDispatch && r.Reason != UnknownJob {
				refused[o.Run] = true
			}
		}
		next := r.Job
		if r.Changed && next == nil {
			if !j.Ended() || rec.e.Type != event.Expired {
				t.Fatalf("%s: removed a job that was %s", where, j.Doc.State)
			}
			clear(winners)
			clear(refused)
			clear(outcomes)
		}
		if r.Changed && next != nil {
			checkChange(t, where, j, next, rec)
			if next.Ended() && rec.e.Type != event.CallbackQueued && rec.e.Type != event.Erased {
				if was, twice := outcomes[next.Round]; twice {
					t.Fatalf("%s: round %d ended as %s and as %s", where, next.Round, was, next.Doc.State)
				}
				outcomes[next.Round] = next.Doc.State
			}
			if next.Run != "" {
				if w := winners[next.Dispatch]; w != "" && w != next.Run {
					t.Fatalf("%s: dispatch %d was won by %s and by %s", where, next.Dispatch, w, next.Run)
				}
				if refused[next.Run] {
					t.Fatalf("%s: %s was refused before", where, next.Run)
				}
				winners[next.Dispatch] = next.Run
			}
		}
		j = next
		checkpoints = append(checkpoints, clone(t, j))
	}
	checkReplays(t, j, log, checkpoints)
}

func checkChange(t *testing.T, where string, was, next *Job, rec record) {
	t.Helper()
	if !reflect.DeepEqual(clone(t, next), next) {
		a, _ := json.Marshal(next)
		b, _ := json.Marshal(clone(t, next))
		t.Fatalf("%s: stored and read again it is another job:\n%s\n%s", where, a, b)
	}
	NextDebt(next, rec.at.Time)
	if next.Version != rec.at.Offset+1 || was != nil && next.Version <= was.Version {
		t.Fatalf("%s: version %d after %d", where, next.Version, rec.at.Offset)
	}
	if next.Doc.Attempt > next.Doc.MaxAttempts {
		t.Fatalf("%s: attempt %d of %d", where, next.Doc.Attempt, next.Doc.MaxAttempts)
	}
	if (next.Run != "") != (next.Doc.State == job.Processing) {
		t.Fatalf("%s: run %q of a job that is %s", where, next.Run, next.Doc.State)
	}
	if began := was == nil || was.Doc.State != next.Doc.State; began && next.calls(next.Doc.State) &&
		next.CallbackDue != next.Version {
		t.Fatalf("%s: %s began and is not to be told", where, next.Doc.State)
	}
	if was == nil {
		return
	}
	if next.Erased() {
		if !was.Ended() || was.Erased() || rec.e.Type != event.Erased {
			t.Fatalf("%s: erased a job that was %s", where, was.Doc.State)
		}
		return
	}
	if next.CallbackDue == 0 && was.CallbackDue != 0 && rec.e.Type != event.CallbackQueued {
		t.Fatalf("%s: a webhook is not owed any more", where)
	}
	if rec.e.Type == event.CallbackQueued && string(next.Document()) != string(was.Document()) {
		t.Fatalf("%s: the document has changed", where)
	}
	if next.Dispatch < was.Dispatch || next.Doc.Attempt < was.Doc.Attempt || next.Round < was.Round {
		t.Fatalf("%s: dispatch %d→%d, attempt %d→%d, round %d→%d", where,
			was.Dispatch, next.Dispatch, was.Doc.Attempt, next.Doc.Attempt, was.Round, next.Round)
	}
	if was.Ended() && rec.e.Type != event.CallbackQueued && (rec.e.Type != event.RetryRequested ||
		next.Round != was.Round+1) {
		t.Fatalf("%s: opened a job that was %s", where, was.Doc.State)
	}
	if p, q := was.Doc.Progress, next.Doc.Progress; p != nil && q != nil && was.Run == next.Run && was.Run != "" &&
		q.Percent < p.Percent {
		t.Fatalf("%s: progress fell from %v to %v", where, p.Percent, q.Percent)
	}
}

// checkReplays folds the log once more onto checkpoints along it: from that checkpoint on, from
// the middle of what it reflects, and from the beginning.
func checkReplays(t *testing.T, want *Job, log []record, checkpoints []*Job) {
	t.Helper()
	for k := 0; k < len(checkpoints); k += 1 + len(checkpoints)/10 {
		from := checkpoints[k]
		starts := []int{k}
		if from != nil {
			// Nothing but the stored position tells that a job was removed.
			starts = append(starts, k/2, 0)
		}
		for _, start := range starts {
			j := clone(t, from)
			for i := start; i < len(log); i++ {
				r := Fold(j, log[i].e, log[i].at)
				if i < k && r.Changed {
					t.Fatalf("checkpoint %d: event %d was folded twice", k, i)
				}
				j = r.Job
			}
			if !reflect.DeepEqual(j, want) {
				t.Fatalf("checkpoint %d and the log from %d give\n%+v\nwant\n%+v", k, start, j, want)
			}
		}
	}
}

// fuzzData are what progress may have as data, whatever the fold makes of it.
var fuzzData = []json.RawMessage{
	nil, {}, json.RawMessage(`null`), json.RawMessage(` { "n" : [1, "\u00e9"] } `), json.RawMessage(`{"a":1,"a":2}`),
	json.RawMessage("\"\xff\""), json.RawMessage(`"` + strings.Repeat("x", job.MaxProgressData) + `"`),
	json.RawMessage(strings.Repeat("[", 100) + strings.Repeat("]", 100)),
}

// fuzzEvent makes an event that mostly fits the job. Its type comes from a; the low bits of
// b let it miss by dispatch, request, run, renewal or round; the bits of c are its content.
func fuzzEvent(j *Job, a, b, c byte) *event.Event {
	sec := func(n byte, unit time.Duration) job.Seconds { return job.Seconds(time.Duration(n) * unit / 3) }
	e := &event.Event{V: event.Version, Type: event.Types[int(a)%len(event.Types)], JobID: jobID}
	have := Job{Dispatch: 1, Request: request(7)}
	if j != nil {
		have = *j
	}
	miss := func(bit byte) int { return int(b>>bit) & 1 }
	e.Dispatch = max(have.Dispatch-miss(0)+2*miss(0)*miss(1), 1)
	e.Round = max(have.Round-miss(2), 0)
	renewed := have.Renewal - int64(miss(3))
	at := int64(e.Dispatch*2 + 5 + miss(4))
	if have.Request != nil && miss(4) == 0 {
		at = have.Request.Offset
	}
	// A run is one delivery of one request.
	e.Run = fmt.Sprintf("run-%d-%d-%d", e.Dispatch, at, miss(5))
	if have.Run != "" && e.Type != event.Claimed && miss(5) == 0 {
		e.Run = have.Run
	}
	e.Worker = "worker-of-" + e.Run
	if c%5 == 0 && e.Type != event.Claimed {
		e.Life = have.Life
		if miss(6) == 1 {
			e.Life = "another"
		}
	}
	switch e.Type {
	case event.Accepted, event.Claimed:
		e.Job = "report.generate"
		e.Tenant = "acme"
		e.Lane = "default"
		e.PayloadHash = fmt.Sprintf("sha256:%d", miss(6))
		e.Policy = &job.Policy{
			Attempts: 1 + int(c)%4,
			Backoff:  job.Backoff{Initial: sec(c, time.Second), Factor: float64(c) / 7, Cap: sec(b, time.Minute)},
			Lease:    sec(c|1, time.Second), Timeout: sec(b, time.Second), Deadline: sec(c, time.Hour),
			Grace: sec(b, time.Millisecond), Retention: sec(c, time.Hour),
		}
		e.Request = request(at)
		if c%2 == 1 {
			e.CallbackURL = "https://example.com/hook"
			for i, s := range job.States {
				if b>>i&1 == 1 {
					e.CallbackEvents = append(e.CallbackEvents, s)
				}
			}
		}
		if e.Type == event.Accepted && miss(7) == 1 {
			runAt := t0.Add(time.Duration(c) * time.Minute / 7).In(time.FixedZone("", 3600))
			e.RunAt = &runAt
		}
	case event.Requeued, event.RequestLost:
		e.Request = request(at)
	case event.PayloadLost:
		if have.Request != nil {
			e.Request = request(at)
		}
	case event.Progress:
		e.Progress = &job.Progress{
			Percent: float64(c) * 100 / 255, Message: "at <" + string(rune(c)) + ">", Current: int64(c), Total: 255,
		}
		if c%2 == 0 {
			e.Progress.Stage, e.Progress.Data = []string{"", "part-1", "Part 1"}[c%3], fuzzData[int(b)%len(fuzzData)]
		}
	case event.Completed:
		e.Result = json.RawMessage(fmt.Sprintf("{ \"c\": %d, \"s\": \"<\\u00%02x>\" }", c, c))
		if c%2 == 0 {
			e.Result, e.ResultURL = nil, "https://files.example/1"
		}
	case event.Failed:
		e.Error = &event.Failure{Error: job.Error{Code: "boom", Message: "at <here>", Retryable: c%4 != 0}}
		if c%3 == 0 {
			after := sec(c, time.Minute)
			e.Error.RetryAfter = &after
		}
	case event.LeaseExpired:
		e.Renewal = &renewed
	case event.CallbackQueued:
		e.Delivery = &event.Delivery{
			JobID: fmt.Sprint("d", c), State: job.Completed, Version: max(have.CallbackDue-int64(miss(3)), 1),
		}
	}
	return e
}
