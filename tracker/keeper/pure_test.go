package keeper

import (
	"bytes"
	"fmt"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A keeper knows neither the shard nor the fold: it is told facts.
func TestAKeeperDoesNotKnowTheShard(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			if strings.Contains(i.Path.Value, "/tracker/shard") || strings.Contains(i.Path.Value, "/tracker/fold") {
				t.Errorf("%s imports %s", name, i.Path.Value)
			}
		}
	}
	if n := reflect.TypeFor[Keeper]().NumField(); n >= 30 {
		t.Errorf("the keeper has %d fields: look for a part", n)
	}
}

func TestWhichRecordsCount(t *testing.T) {
	known := Facts{Found: true, Dispatch: 2, Run: "r2"}
	for _, c := range []struct {
		what     string
		facts    Facts
		dispatch int
		run      string
		want     outcome
	}{
		{"the run that counts", known, 2, "r2", taken},
		{"an earlier dispatch", known, 1, "r1", oldDispatch},
		{"an earlier dispatch by the same name", known, 1, "r2", oldDispatch},
		{"another run of the dispatch", known, 2, "zombie", otherRun},
		{"a later dispatch", known, 3, "r3", waits},
		{"an unknown job", Facts{}, 1, "r1", waits},
		{"a job that no run has begun", Facts{Found: true}, 1, "r1", waits},
		{"after the end", Facts{Found: true, Dispatch: 2, Run: "r2", Ended: true}, 2, "r2", taken},
	} {
		if got := judge(&c.facts, &stream.Chunk{Dispatch: c.dispatch, Run: c.run}); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
}

func TestWhichRecordsGoOnWhereTheirStreamEnds(t *testing.T) {
	ten := &streamState{Kind: job.StreamText, End: 10}
	gone := &streamState{Kind: job.StreamText, End: 10, Gone: true}
	for _, c := range []struct {
		what       string
		s          *streamState
		others     int
		closed     bool
		from, long int64
		kind       job.StreamKind
		want       outcome
	}{
		{"the first", nil, 0, false, 0, 5, job.StreamText, taken},
		{"the first, and it is not the first", nil, 0, false, 3, 5, job.StreamText, gap},
		{"the last stream", nil, job.MaxStreams - 1, false, 0, 5, job.StreamText, taken},
		{"one too many", nil, job.MaxStreams, false, 0, 5, job.StreamText, tooMany},
		{"a new stream after the end", nil, 0, true, 0, 5, job.StreamText, late},
		{"the next", ten, 1, false, 10, 5, job.StreamText, taken},
		{"an overlap", ten, 1, false, 8, 5, job.StreamText, taken},
		{"doubled", ten, 1, false, 5, 5, job.StreamText, doubled},
		{"doubled, after the end", ten, 1, true, 5, 5, job.StreamText, doubled},
		{"a gap", ten, 1, false, 11, 5, job.StreamText, gap},
		{"another kind", ten, 1, false, 10, 5, job.StreamJSON, wrongKind},
		{"after the end", ten, 1, true, 10, 5, job.StreamText, late},
		{"behind a gap", gone, 1, false, 10, 5, job.StreamText, gap},
	} {
		got := fit(c.s, c.others, c.closed, &stream.Chunk{Kind: c.kind, From: c.from, Length: c.long})
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
}

// Each position is found at or before its record, however many records there are, and the marks stay few.
func TestMarks(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var m marks
	if _, ok := m.find(0); ok {
		t.Fatal("no marks, and one is found")
	}
	type record struct{ at, offset int64 }
	var all []record
	at, offset := int64(0), int64(100)
	for range 200_000 {
		all = append(all, record{at, offset})
		before := m.List
		m.add(at, offset)
		if len(before) > 0 && before[0] != m.List[0] {
			t.Fatal("the first mark is dropped")
		}
		at += 1 + rnd.Int64N(50)
		offset += 1 + rnd.Int64N(5)
	}
	if len(m.List) > maxMarks || len(m.List) < maxMarks/4 {
		t.Fatalf("%d marks", len(m.List))
	}
	for range 10_000 {
		i := rnd.IntN(len(all))
		got, ok := m.find(all[i].at)
		if !ok || got > all[i].offset || all[i].offset-got > 2*m.Stride {
			t.Fatalf("%+v is looked for at %d with the stride %d", all[i], got, m.Stride)
		}
	}
}

func TestPiecesAreCut(t *testing.T) {
	text, list := piece{10, 17, []byte("aä€z")}, piece{3, 6, []byte(` [1, {"a": 2} ,"x"] `)}
	for _, c := range []struct {
		kind job.StreamKind
		p    piece
		at   int64
		want string
	}{
		{job.StreamText, text, 10, `10 aä€z`},
		{job.StreamText, text, 11, `11 ä€z`},
		{job.StreamText, text, 12, `11 ä€z`},
		{job.StreamText, text, 13, `13 €z`},
		{job.StreamText, text, 15, `13 €z`},
		{job.StreamText, text, 16, `16 z`},
		{job.StreamJSON, list, 3, `3  [1, {"a": 2} ,"x"] `},
		{job.StreamJSON, list, 4, `4 [{"a": 2},"x"]`},
		{job.StreamJSON, list, 5, `5 ["x"]`},
	} {
		p, err := cut(c.kind, c.p, c.at)
		if got := fmt.Sprintf("%d %s", p.From, p.Value); err != nil || got != c.want || p.To != c.p.To {
			t.Errorf("%s at %d: %s, %v, want %s", c.kind, c.at, got, err, c.want)
		}
	}
}

// What is gathered in any steps is the whole, in pieces of whole characters and values, and each step makes progress.
func TestGathering(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		kind := []job.StreamKind{job.StreamText, job.StreamJSON}[rnd.IntN(2)]
		var pieces []piece
		var want []string
		at := int64(0)
		for range 1 + rnd.IntN(30) {
			var value []byte
			n := int64(0)
			if kind == job.StreamText {
				value = []byte(strings.Repeat([]string{"a", "ä", "€", "😀"}[rnd.IntN(4)], 1+rnd.IntN(9)))
				n = int64(len(value))
				want = append(want, string(value))
			} else {
				var items []string
				for range 1 + rnd.IntN(4) {
					items = append(items, fmt.Sprintf("%d", rnd.IntN(1000)))
				}
				value, n = []byte("["+strings.Join(items, ", ")+"]"), int64(len(items))
				want = append(want, items...)
			}
			pieces = append(pieces, piece{at, at + n, value})
			at += n
		}
		v := view{pieces: pieces}
		var got []string
		for next := int64(0); next < at; {
			g := gather(kind, next, 1+rnd.IntN(40))
			for !g.full() && g.next < at {
				p, ok := v.find(g.next)
				if !ok {
					t.Fatalf("%d is not found", g.next)
				}
				if whole, err := g.add(p); err != nil {
					t.Fatal(err)
				} else if !whole {
					break
				}
			}
			if g.from != next || g.next == next {
				t.Fatalf("from %d to %d, and %d was asked for", g.from, g.next, next)
			}
			for _, value := range g.pieces {
				if _, err := stream.Length(kind, value); err != nil {
					t.Fatalf("%q: %v", value, err)
				}
				if kind == job.StreamText {
					got = append(got, string(value))
					continue
				}
				items, err := stream.Items(value)
				if err != nil {
					t.Fatal(err)
				}
				for _, item := range items {
					got = append(got, string(item))
				}
			}
			next = g.next
		}
		if strings.Join(got, "|") != strings.Join(want, "|") && kind == job.StreamJSON ||
			strings.Join(got, "") != strings.Join(want, "") {
			t.Fatalf("%q, want %q", got, want)
		}
	}
}

func TestWhatFollowsACursor(t *testing.T) {
	runs := view{dispatch: 2, run: "r", end: 10}
	ended, lostView, ofLife := runs, runs, runs
	ofLife.life = "b"
	ended.ended, lostView.gone = true, true
	for _, c := range []struct {
		what  string
		v     view
		after cursor
		want  string
	}{
		{"no run", view{}, cursor{0, 0, 0}, "0@0 none"},
		{"no run, from its end", view{}, cursor{0, -1, 0}, "0@0 none"},
		{"no run, and the job has ended", view{ended: true}, cursor{0, 0, 0}, "0@0 end"},
		{"a run that is not folded", view{}, cursor{1, 5, 0}, "1@5 none"},
		{"a later run that is not folded", runs, cursor{3, 5, 0}, "3@5 none"},
		{"a later run that is not folded, after an end", ended, cursor{3, 5, 0}, "3@5 none"},
		{"the beginning", runs, cursor{0, 0, 0}, "2@0 more"},
		{"within", runs, cursor{2, 4, 0}, "2@4 more"},
		{"the end", runs, cursor{2, 10, 0}, "2@10 none"},
		{"behind the end", runs, cursor{2, 12, 0}, "2@12 none"},
		{"from the end", runs, cursor{0, -1, 0}, "2@10 none"},
		{"the last three", runs, cursor{2, -4, 0}, "2@7 more"},
		{"more than there is, from the end", runs, cursor{2, -40, 0}, "2@0 more"},
		{"a former run", runs, cursor{1, 4, 0}, "2@0 more reset"},
		{"a former run, from its end", runs, cursor{1, -1, 0}, "2@0 more reset"},
		{"a former run, and nothing is written yet", view{dispatch: 2}, cursor{1, 4, 0}, "2@0 none reset"},
		{"at the last end", ended, cursor{2, 10, 0}, "2@10 end"},
		{"behind the last end", ended, cursor{2, 11, 0}, "2@0 more reset"},
		{"before the last end", ended, cursor{2, 9, 0}, "2@9 more"},
		{"what was lost", lostView, cursor{2, 10, 0}, "2@10 lost"},
		{"behind what was lost", lostView, cursor{2, 11, 0}, "2@11 lost"},
		{"of this life", ofLife, cursor{2, 4, stream.LifeOf("b")}, "2@4 more"},
		{"of a former life", ofLife, cursor{2, 4, stream.LifeOf("a")}, "2@0 more reset"},
		{"a later run of a former life", ofLife, cursor{9, 4, stream.LifeOf("a")}, "2@0 more reset"},
		{"of a former life, and no run has begun", view{life: "b"}, cursor{2, 4, stream.LifeOf("a")}, "0@0 none reset"},
		{"before what was lost", lostView, cursor{2, 1, 0}, "2@1 more"},
	} {
		from, what, reset := plan(&c.v, c.after)
		got := fmt.Sprintf("%d@%d %s", from.dispatch, from.at, what)
		if reset {
			got += " reset"
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
}

func TestWhenAStreamHasEnded(t *testing.T) {
	text := func(end int64) *streamState { return &streamState{Kind: job.StreamText, End: end} }
	tells := job.Streams{"s": {Kind: job.StreamText, Total: 5}}
	other := job.Streams{"x": {Kind: job.StreamText, Total: 5}}
	for _, c := range []struct {
		what    string
		ended   bool
		totals  job.Streams
		s       *streamState
		settled bool
		want    string
	}{
		{"it runs", false, nil, text(5), false, ""},
		{"it runs again, with what is left of a total", false, tells, text(5), false, ""},
		{"all is there", true, tells, text(5), false, "ended"},
		{"more is to come", true, tells, text(4), false, ""},
		{"nothing is there yet", true, tells, nil, false, ""},
		{"less than was told, and all was read", true, tells, text(4), true, "gone"},
		{"nothing, and all was read", true, tells, nil, true, "gone"},
		{"no totals", true, nil, text(4), false, ""},
		{"no totals, and all was read", true, nil, text(4), true, "ended"},
		{"never written to, and no totals", true, nil, nil, false, ""},
		{"never written to", true, other, nil, false, "ended"},
		{"records were lost", true, tells, &streamState{Kind: job.StreamText, End: 2, Gone: true}, true, "gone"},
	} {
		f := Facts{Found: true, Dispatch: 1, Run: "r", Ended: c.ended, Totals: c.totals}
		r := row{Dispatch: 1, Run: "r", Streams: map[string]*streamState{}}
		if c.s != nil {
			r.Streams["s"] = c.s
		}
		v := viewOf("j", "s", &f, &r, c.settled)
		got := ""
		if v.ended {
			got += "ended"
		}
		if v.gone {
			got += "gone"
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}

func TestTailsAreBounded(t *testing.T) {
	tails := NewTails(10 * (100 + pieceBytes))
	a, b := &tail{}, &tail{}
	value := make([]byte, 100)
	for i := range int64(5) {
		tails.add(a, piece{i * 100, i*100 + 100, value})
		tails.add(b, piece{i * 100, i*100 + 100, value})
	}
	had := tails.take(b)
	tails.take(a)
	tails.add(a, piece{500, 600, value}) // the tail that was used last stays
	if len(tails.take(a)) != 6 || len(tails.take(b)) != 0 || tails.Bytes() != 6*(100+pieceBytes) {
		t.Fatalf("%d and %d pieces, %d bytes", len(tails.take(a)), len(tails.take(b)), tails.Bytes())
	}
	if len(had) != 5 || had[4].To != 500 {
		t.Fatal("what was taken has changed")
	}
	tails.drop(a)
	tails.drop(a)
	if tails.Bytes() != 0 || tails.lru.Len() != 0 {
		t.Fatalf("%d bytes are left", tails.Bytes())
	}
	large := NewTails(DefaultTailBytes)
	for i := range int64(100) {
		large.add(a, piece{i * 32000, i*32000 + 32000, make([]byte, 32000)})
	}
	if large.Bytes() > maxTail || large.Bytes() < maxTail/2 {
		t.Fatalf("a tail of %d bytes", large.Bytes())
	}
	tails.add(b, piece{0, 1 << 20, make([]byte, 1<<20)}) // larger than all
	if tails.Bytes() != 0 {
		t.Fatalf("%d bytes are left", tails.Bytes())
	}
}

func TestRecordsWaitForABoundedTime(t *testing.T) {
	t0 := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var h held
	h.now = t0
	add := func(id string, offset int64, size int) {
		h.add(stream.Chunk{JobID: id, Value: make([]byte, size)}, offset, t0, t0)
	}
	add("a", 5, 10)
	add("b", 6, 10)
	add("a", 7, 10)
	if r, _ := h.overdue(t0.Add(holdFor)); r != nil {
		t.Fatal("it is dropped too early")
	}
	h.resolve("a", func(r *heldRecord) bool { return r.offset == 5 })
	if h.first(9) != 6 {
		t.Fatalf("the first that waits is %d", h.first(9))
	}
	h.now = t0.Add(holdFor + 1)
	for _, want := range []int64{6, 7} {
		if r, why := h.overdue(t0); r == nil || r.offset != want || why != unknownRun {
			t.Fatalf("%+v %s, want %d", r, why, want)
		}
	}
	if r, _ := h.overdue(t0); r != nil || h.bytes != 0 || len(h.of) != 0 || h.first(9) != 9 {
		t.Fatalf("%+v is left", h)
	}
	h.now = t0
	for i := range int64(200) {
		add(fmt.Sprint(i%7), i, 32000)
		for {
			if r, why := h.overdue(t0); r == nil {
				break
			} else if why != crowded {
				t.Fatal(why)
			}
		}
	}
	if h.bytes > maxHeld || h.bytes < maxHeld-40000 {
		t.Fatalf("%d bytes wait", h.bytes)
	}
}

func TestRowsAreReadAsTheyWereWritten(t *testing.T) {
	r := row{Dispatch: 3, Run: "r<>", Streams: map[string]*streamState{
		"log":    {Kind: job.StreamJSON, End: 2, Bytes: 9, Marks: marks{List: []mark{{0, 77}}, Stride: 16}},
		"tokens": {Kind: job.StreamText, End: 7, Bytes: 7, Gone: true},
	}}
	whole := []keptStream{{"log", []piece{{0, 1, []byte(`[1]`)}, {1, 2, []byte(`["\n"]`)}}}, {"tokens", nil}}
	for _, kept := range [][]keptStream{nil, whole} {
		b, err := encodeRow(r, kept)
		if err != nil {
			t.Fatal(err)
		}
		got, gotKept, err := decodeRow(b)
		if err != nil || !reflect.DeepEqual(got, r) || !reflect.DeepEqual(gotKept, kept) {
			t.Fatalf("%+v %+v %v, want %+v %+v", got, gotKept, err, r, kept)
		}
		for i := range b {
			if _, _, err := decodeRow(b[:i]); err == nil {
				t.Fatalf("%q is taken", b[:i])
			}
		}
	}
}

func FuzzDecodeRow(f *testing.F) {
	b, err := encodeRow(row{1, "r", map[string]*streamState{"s": {Kind: job.StreamText, End: 2}}},
		[]keptStream{{"s", []piece{{0, 2, []byte("ab")}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, whole, err := decodeRow(b)
		if err != nil {
			return
		}
		size := 0
		for _, kept := range whole {
			for _, p := range kept.Pieces {
				size += len(p.Value)
			}
		}
		again, err := encodeRow(r, whole)
		if err != nil || size > len(b) {
			t.Fatal(size, err)
		}
		if r2, whole2, err := decodeRow(again); err != nil || !reflect.DeepEqual(r, r2) || len(whole) != len(whole2) {
			t.Fatalf("%+v, then %+v, %v", r, r2, err)
		}
	})
}

func TestTheKeeperHearsOnlyOfWhatItWants(t *testing.T) {
	n := newNews()
	n.tell("a")
	if len(n.take(9)) != 0 || len(n.wake) != 0 {
		t.Fatal("it is told of a job that it does not want")
	}
	n.want("a", "b", "c")
	n.tell("a")
	n.tell("a")
	n.tell("b")
	n.forget("b")
	n.tell("b")
	n.tell("c")
	<-n.wake
	if first := n.take(1); len(first) != 1 || len(n.wake) != 1 {
		t.Fatalf("%v, and %d wakes", first, len(n.wake))
	}
	if rest := n.take(9); len(rest) != 1 || bytes.Equal([]byte(rest[0]), []byte("b")) {
		t.Fatalf("%v", rest)
	}
}
