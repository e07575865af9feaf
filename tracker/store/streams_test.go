package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/fold"
)

func saveStreams(t testing.TB, p *Partition, next int64, changes ...StreamsChange) {
	t.Helper()
	if err := p.SaveStreams(changes, next); err != nil {
		t.Fatal(err)
	}
}

func wantStreams(t testing.TB, p *Partition, id, row string, closed bool) {
	t.Helper()
	got, isClosed, err := p.Streams(id)
	if err != nil || string(got) != row || isClosed != closed {
		t.Fatalf("streams of %s: %q closed %t (%v), want %q closed %t", id, got, isClosed, err, row, closed)
	}
}

func wantStreamsAt(t testing.TB, p *Partition, want int64) {
	t.Helper()
	if next, ok, err := p.StreamsPosition(); err != nil || next != want || !ok {
		t.Fatalf("the position in streams is %d %t (%v), want %d", next, ok, err, want)
	}
}

func TestRowsOfStreamsOpenAndClose(t *testing.T) {
	fs := vfs.NewMem()
	s := open1(t, fs, dir, identity)
	p := s.Partition(1)
	if _, ok, err := p.StreamsPosition(); ok || err != nil {
		t.Fatalf("a new partition has a position in streams: %v", err)
	}
	jobs := savedIn{}
	jobs.save(t, p, 9, aJob("a", job.Processing, 8), aJob("b", job.Completed, 9))
	saveStreams(t, p, 5, StreamsChange{ID: "a", Row: []byte("1")}, StreamsChange{ID: "b", Row: []byte("2")})
	saveStreams(t, s.Partition(2), 7, StreamsChange{ID: "a", Row: []byte("3")})
	saveStreams(t, p, 6, StreamsChange{ID: "b", Row: []byte("whole"), Closed: true})
	shut(t, s)

	s = open1(t, fs, dir, identity)
	defer func() { shut(t, s) }()
	if s.SetAside() != "" {
		t.Fatal("the store was set aside")
	}
	p = s.Partition(1)
	wantStreamsAt(t, p, 6)
	wantStreams(t, p, "a", "1", false)
	wantStreams(t, p, "b", "whole", true)
	wantStreams(t, s.Partition(2), "a", "3", false)
	var open []string
	if err := p.OpenStreams(func(id string) { open = append(open, id) }); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, "open", open, "a")
	saveStreams(t, p, 8, StreamsChange{ID: "b", Row: []byte("again")})
	wantStreams(t, p, "b", "again", false)
	saveStreams(t, p, 9, StreamsChange{ID: "b"})
	wantStreams(t, p, "b", "", false)

	// The whole store is checked with rows of streams in it.
	if _, err := Positions(fs, "none", identity, small, quiet); err == nil {
		t.Fatal("a store that is not there has positions")
	}
	if _, err := s.check(true); err != nil {
		t.Fatal(err)
	}
	if err := p.Clear(); err != nil {
		t.Fatal(err)
	}
	wantStreams(t, p, "a", "", false)
	wantStreams(t, s.Partition(2), "a", "3", false)
}

func TestARemovedJobTakesItsStreamsWithIt(t *testing.T) {
	s := open1(t, vfs.NewMem(), dir, identity)
	defer shut(t, s)
	p := s.Partition(1)
	jobs := savedIn{}
	jobs.save(t, p, 9, aJob("removed", job.Completed, 7), aJob("erased", job.Completed, 8),
		aJob("stays", job.Completed, 9))
	for i, id := range []string{"removed", "erased", "stays"} {
		saveStreams(t, p, int64(i), StreamsChange{ID: id, Row: []byte("1"), Closed: i != 1})
	}
	jobs.remove(t, p, 10, "removed")
	marker := aJob("erased", job.Completed, 11)
	marker.Doc.State = fold.Erased
	jobs.save(t, p, 12, marker)
	wantStreams(t, p, "removed", "", false)
	wantStreams(t, p, "erased", "", false)
	wantStreams(t, p, "stays", "1", true)
}

func TestClosedRowsWithoutAJobAreFound(t *testing.T) {
	s := open1(t, vfs.NewMem(), dir, identity)
	defer shut(t, s)
	p := s.Partition(1)
	jobs := savedIn{}
	for i := range 10 {
		id := fmt.Sprintf("j%d", i)
		if i%3 > 0 {
			jobs.save(t, p, int64(i+1), aJob(id, job.Completed, int64(i)))
		}
		saveStreams(t, p, 1, StreamsChange{ID: id, Row: []byte("1"), Closed: true})
	}
	saveStreams(t, p, 1, StreamsChange{ID: "open", Row: []byte("1")})
	var all []string
	after, steps := "", 0
	for {
		stray, last, err := p.StrayStreams(after, 4)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, stray...)
		steps++
		after = last
		if last == "" {
			break
		}
	}
	wantIDs(t, "stray", all, "j0", "j3", "j6", "j9")
	if steps != 3 {
		t.Fatalf("%d steps", steps)
	}
}

// After a crash the rows are those of the position, whatever part of the disk was not synced.
func TestRowsOfStreamsAndTheirPositionSurviveACrashTogether(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		fs := vfs.NewCrashableMem()
		s := open1(t, fs, dir, identity)
		p := s.Partition(0)
		rows := 1 + rnd.IntN(200)
		for next := 1; next <= rows; next++ {
			saveStreams(t, p, int64(next), StreamsChange{ID: "a", Row: fmt.Append(nil, next), Closed: next%2 == 0},
				StreamsChange{ID: fmt.Sprint(next), Row: bytes.Repeat([]byte("x"), rnd.IntN(5000)+1)})
		}
		disk := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rnd.IntN(101), RNG: rnd})
		shut(t, s)
		s = open1(t, disk, dir, identity)
		p = s.Partition(0)
		next, ok, err := p.StreamsPosition()
		if err != nil || s.SetAside() != "" {
			t.Fatal(err, s.SetAside())
		}
		if ok {
			wantStreams(t, p, "a", fmt.Sprint(next), next%2 == 0)
			if row, _, err := p.Streams(fmt.Sprint(next + 1)); row != nil || err != nil {
				t.Fatalf("a row of a later position is there: %v", err)
			}
		}
		shut(t, s)
	}
}

func TestStreamsAreNotWrittenToAFullDisk(t *testing.T) {
	fs := gauged{vfs.NewMem(), &atomic.Uint64{}}
	fs.free.Store(100 << 20)
	opts := small
	opts.MinFree = 1 << 20
	s, err := Open(fs, dir, identity, opts, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, s)
	p := s.Partition(0)
	saveStreams(t, p, 1, StreamsChange{ID: "a", Row: []byte("1")})
	fs.free.Store(1<<20 + 10)
	if err := p.SaveStreams([]StreamsChange{{ID: "a", Row: []byte("2")}}, 2); !errors.Is(err, ErrFull) {
		t.Fatalf("%v, want that the disk is full", err)
	}
	fs.free.Store(100 << 20)
	wantStreams(t, p, "a", "1", false)
	wantStreamsAt(t, p, 1)
}
