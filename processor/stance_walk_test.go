package processor

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// walk takes a run through one random course: answers of Kafka in the order in which events were sent, orders of the
// tracker, a handler that returns once, and a processor that stops. It checks that the run keeps the rules for workers.
type walk struct {
	t   *testing.T
	rng *rand.Rand
	now time.Time
	run stance

	unanswered []sent
	durable    time.Time // when the last claim, beat or progress that is durable was sent
	claimed    bool      // a claim is durable, or a stop order proves it
	granted    bool
	doubted    bool   // another run may hold the job: the handler needs a grant
	said       string // the stage of the handler's last progress
	did        map[deed]int
}

type sent struct {
	deed deed
	at   time.Time
}

func (w *walk) take(in input) {
	was := w.run
	next, acts := w.run.next(in, w.now)
	w.run = next
	for _, a := range acts {
		w.check(was, in, a)
		w.did[a.deed]++
	}
	if was.phase == running && w.run.phase == reporting && w.run.unsent {
		w.t.Error("the last progress before the end was not sent")
	}
	if is := w.run.phase; is == running && in.kind == onPulse && w.now.Sub(w.durable) >= w.run.terms.lease {
		w.t.Errorf("it runs %v after its last renewal", w.now.Sub(w.durable))
	}
}

// check checks one act against the rules.
func (w *walk) check(was stance, in input, a act) {
	t := w.t
	want := func(ok bool, rule string) {
		if !ok {
			t.Errorf("%s in %s, broken rule: %s", a.deed, was.phase, rule)
		}
	}
	want(was.phase != ended, "a run that has ended does nothing")
	switch a.deed {
	case sendClaim, askAgain, sendBeat, sendProgress, makeReport, repeatReport:
		want(was.phase != silent, "a silent run sends nothing")
		want(a.deed == sendClaim || w.claimed, "only claims are sent before one is durable")
		want(was.phase == running || a.deed != sendBeat && a.deed != sendProgress, "a run that waits sends claims, no beats")
		want(w.did[makeReport] == 0 || a.deed == makeReport || a.deed == repeatReport, "nothing comes after the report")
		flying := func(of ...deed) bool {
			return slices.ContainsFunc(w.unanswered, func(s sent) bool { return slices.Contains(of, s.deed) })
		}
		if a.deed == makeReport || a.deed == repeatReport {
			want(!flying(makeReport, repeatReport), "one report at a time")
		} else if w.run.phase != reporting { // the last progress may follow what is in flight
			want(!flying(sendClaim, askAgain, sendBeat, sendProgress), "one renewal at a time")
		}
		want(a.deed != sendProgress || w.run.latest.Stage == w.said, "what is sent is what was said last")
		w.unanswered = append(w.unanswered, sent{a.deed, w.now})
	case markRequest:
		want(w.claimed && w.did[markRequest] == 0, "the request is marked once, after a claim is durable")
	case settleClaim:
		want(w.did[settleClaim] == 0, "a claim is settled once")
	case beginHandler:
		want(w.did[beginHandler] == 0, "the handler begins once")
		want(w.claimed && w.did[markRequest] == 1, "the handler begins after the claim")
		want(w.granted || !w.doubted && !w.run.mustWait, "a run that may not hold the job begins after a grant")
		want(w.now.Sub(w.durable) < w.run.terms.lease, "the handler begins within the lease")
		want(!w.run.quit && !w.run.leaving && w.run.terms.lacks == nil, "it is not begun in vain")
	case endContext:
		want(was.handling, "only a handler's context ends")
	case finishRun:
		want(w.did[finishRun] == 0 && w.did[markRequest] == 1 && w.did[settleClaim] == 1, "a run ends once, and settled")
		want(!w.run.handling || w.did[noteStuck] == 1 && in.kind == onReported, "a run ends after its handler")
	}
}

// answer answers the first event that is not answered yet.
func (w *walk) answer(fails bool) {
	if len(w.unanswered) == 0 {
		return
	}
	s := w.unanswered[0]
	w.unanswered = w.unanswered[1:]
	pick := func(kinds ...inputKind) inputKind {
		if !fails {
			return kinds[0]
		}
		return kinds[1+w.rng.IntN(len(kinds)-1)]
	}
	in := input{sentAt: s.at, redelivered: w.rng.IntN(2) == 0}
	switch s.deed {
	case sendClaim, askAgain:
		in.kind = pick(onClaimDurable, onClaimFailed, onClaimInDoubt)
		if w.run.phase == claiming {
			w.doubted = w.doubted || in.kind == onClaimInDoubt || in.kind == onClaimDurable && in.redelivered
		}
	case sendBeat:
		in.kind = pick(onRenewed, onBeatFailed)
	case sendProgress:
		in.kind = pick(onRenewed, onProgressFailed)
	default:
		in.kind = pick(onReported, onReportFailed, onResultTooLarge)
	}
	if (in.kind == onClaimDurable || in.kind == onRenewed) && s.at.After(w.durable) {
		w.claimed, w.durable = true, s.at
	}
	w.take(in)
}

// step lets something happen.
func (w *walk) step() {
	w.now = w.now.Add(time.Duration(w.rng.IntN(3000)) * time.Millisecond)
	switch n := w.rng.IntN(40); {
	case n < 12:
		w.answer(w.rng.IntN(3) == 0)
	case n < 24:
		w.take(input{kind: onPulse})
	case n < 27:
		w.granted = true
		w.take(input{kind: onGrant})
	case n < 32:
		if w.run.handling {
			w.said += "x"
			w.take(input{kind: onProgress, progress: job.Progress{Percent: float64(n), Stage: w.said}})
		}
	case n < 36:
		if w.run.handling {
			w.take(input{kind: onReturn, ending: ending{event: event.Completed, outcome: ranCompleted}})
		}
	case n == 36:
		w.take(input{kind: onQuit})
	case n == 37:
		if w.did[sendClaim] > 0 { // a stop proves that a claim is in the log
			w.claimed = true
			w.take(input{kind: onStop})
		}
	case n == 38:
		w.take(input{kind: onLeave})
	case w.run.leaving:
		w.take(input{kind: []inputKind{onCut, onGiveUp}[w.rng.IntN(2)]})
	}
}

// settle lets everything go well, until the run has ended.
func (w *walk) settle() {
	for range 100 {
		w.now = w.now.Add(time.Second)
		w.take(input{kind: onPulse})
		w.answer(false)
		if w.run.phase == waiting {
			w.granted = true
			w.take(input{kind: onGrant})
		}
		if w.run.handling {
			w.take(input{kind: onReturn, ending: ending{event: event.Completed, outcome: ranCompleted}})
		}
	}
}

// TestEveryCourseKeepsTheRules: whatever happens to a run, in any order, it keeps the rules for workers, and ends once
// all goes well.
func TestEveryCourseKeepsTheRules(t *testing.T) {
	rng := rand.New(rand.NewPCG(19, 1))
	reached := map[phase]int{}
	for course := range 20_000 {
		w := &walk{t: t, rng: rng, now: tableNow, did: map[deed]int{}}
		w.run = stance{
			terms: terms{lease: tableLease, renewal: tableRenewal, progress: tableProgress},
			phase: claiming, mustWait: rng.IntN(2) == 0,
		}
		if rng.IntN(20) == 0 {
			w.run.terms.lacks = Unable(errors.New("no handler"))
		}
		for range rng.IntN(60) {
			w.step()
			reached[w.run.phase]++
		}
		w.settle()
		if w.run.phase != ended || w.did[finishRun] != 1 {
			t.Errorf("it has not ended: %+v", w.run)
		}
		if t.Failed() {
			t.Fatalf("course %d: %v", course, w.did)
		}
	}
	for _, p := range phases {
		if reached[p] < 1000 {
			t.Errorf("%s was reached %d times: the test shows little", p, reached[p])
		}
	}
}

// TestStanceIsPure: the file with the rules has no clock, no lock, no Kafka and no goroutine, and its lists of phases
// and inputs, by which other tests go, are complete.
func TestStanceIsPure(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "stance.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range file.Imports {
		path, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains([]string{"time", "github.com/ackwire/ackwire/schemas/event",
			"github.com/ackwire/ackwire/schemas/job"}, path) {
			t.Errorf("it imports %s", path)
		}
	}
	declared := map[string]int{}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt, *ast.ChanType, *ast.SelectStmt:
			t.Errorf("it has a %T", n)
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" &&
				!slices.Contains([]string{"Time", "Duration", "Millisecond"}, n.Sel.Name) {
				t.Errorf("it uses time.%s", n.Sel.Name)
			}
		case *ast.ValueSpec:
			if typ, ok := n.Type.(*ast.Ident); ok {
				declared[typ.Name] += len(n.Names)
			}
		}
		return true
	})
	if declared["phase"] != len(phases) || declared["inputKind"] != len(inputKinds) {
		t.Errorf("declared are %v, listed %d phases and %d inputs", declared, len(phases), len(inputKinds))
	}
	// The fields that changes shows: a new one belongs there, too.
	if n := reflect.TypeFor[stance]().NumField(); n != 16 {
		t.Errorf("a stance has %d fields", n)
	}
}
