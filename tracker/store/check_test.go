package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/fold"
)

// aStore makes a store on the disk with files of every kind, and returns what each
// position had.
func aStore(t *testing.T, at string) (states []map[string]*fold.Job) {
	t.Helper()
	s := open1(t, vfs.Default, at, identity)
	rnd := rand.New(rand.NewPCG(7, 7))
	saved := savedIn{}
	states = []map[string]*fold.Job{{}}
	for next := int64(1); next <= 120; next++ {
		now := map[string]*fold.Job{}
		for id, j := range states[next-1] {
			now[id] = j
		}
		j := aJob(fmt.Sprintf("job-%d", rnd.IntN(60)), job.States[rnd.IntN(len(job.States))], next)
		now[j.Doc.JobID] = j
		states = append(states, now)
		saved.save(t, s.Partition(2), next, j)
		if next == 60 || next == 90 {
			if err := s.db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	// A crash: the log holds what came after the last flush.
	if err := s.db.LogData(nil, pebble.Sync); err != nil {
		t.Fatal(err)
	}
	copied := at + "-crashed"
	for tries := 0; ; tries++ { // a compaction may remove a file meanwhile
		err := os.CopyFS(copied, os.DirFS(at))
		if err == nil {
			break
		}
		if err := os.RemoveAll(copied); err != nil || tries == 10 {
			t.Fatal(err)
		}
	}
	shut(t, s)
	if err := os.Rename(copied, at+"-template"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(at, at+"-sealed"); err != nil {
		t.Fatal(err)
	}
	return states
}

// TestRottenFiles flips a byte, truncates or removes files of each kind. The store that opens then is
// either exactly the state of some checkpoint, or empty with the damaged one set aside; it never has
// a part of the jobs.
func TestRottenFiles(t *testing.T) {
	tmp := t.TempDir()
	at := filepath.Join(tmp, "store")
	states := aStore(t, at)
	template := at + "-template"
	entries, err := os.ReadDir(template)
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(8, 8))
	kinds := map[string]map[string]int{}
	for _, entry := range entries {
		kind := kindOf(entry.Name())
		if kind == "" {
			continue
		}
		if kinds[kind] == nil {
			kinds[kind] = map[string]int{}
		}
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		for round := range 24 {
			work := filepath.Join(tmp, fmt.Sprintf("work-%s-%d", entry.Name(), round), "store")
			if err := os.CopyFS(work, os.DirFS(template)); err != nil {
				t.Fatal(err)
			}
			what := damage(t, filepath.Join(work, entry.Name()), info.Size(), round, rnd)
			s, err := Open(vfs.Default, work, identity, small, quiet)
			if err != nil {
				t.Fatalf("%s of %s: %v", what, entry.Name(), err)
			}
			if s.SetAside() != "" {
				kinds[kind]["set aside"]++
				wantPosition(t, s.Partition(2), 0)
			} else {
				next := s.Partition(2).Position()
				kinds[kind][fmt.Sprintf("at an earlier checkpoint: %v", next < 120)]++
				if len(states[next]) != int(s.Partition(2).Totals().Count) {
					t.Errorf("%s of %s: %d jobs at %d", what, entry.Name(), s.Partition(2).Totals().Count, next)
				}
				for i := range 60 {
					id := fmt.Sprintf("job-%d", i)
					wantJob(t, s.Partition(2), id, states[next][id])
				}
			}
			shut(t, s)
			if err := os.RemoveAll(filepath.Dir(work)); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Log(kinds)
	for _, kind := range []string{"sst", "log", "MANIFEST"} {
		if kinds[kind] == nil {
			t.Errorf("no %s was there to rot", kind)
		}
	}
	if kinds["sst"]["set aside"] == 0 || kinds["MANIFEST"]["set aside"] == 0 {
		t.Error("nothing was ever set aside")
	}
}

// TestRottenFilesOfASealedStore harms the files of a store that was closed in order, as TestRottenFiles does. A store
// that opens all the same is used unread. Each of its jobs is then as it was or cannot be read, and Verify finds what
// is wrong, if that is anything that was ever written; after that the store is set aside.
func TestRottenFilesOfASealedStore(t *testing.T) {
	tmp := t.TempDir()
	at := filepath.Join(tmp, "store")
	states := aStore(t, at)
	template := at + "-sealed"
	entries, err := os.ReadDir(template)
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(9, 9))
	kinds := map[string]map[string]int{}
	for _, entry := range entries {
		kind := kindOf(entry.Name())
		if kind == "" {
			continue
		}
		if kinds[kind] == nil {
			kinds[kind] = map[string]int{}
		}
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		for round := range 24 {
			work := filepath.Join(tmp, fmt.Sprintf("work-%s-%d", entry.Name(), round), "store")
			if err := os.CopyFS(work, os.DirFS(template)); err != nil {
				t.Fatal(err)
			}
			what := damage(t, filepath.Join(work, entry.Name()), info.Size(), round, rnd) + " of " + entry.Name()
			bubble.Test(t, func(t *testing.T) { kinds[kind][useRotten(t, what, work, states[120])]++ })
			if err := os.RemoveAll(filepath.Dir(work)); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Log(kinds)
	if kinds["sst"]["found by a read"] == 0 || kinds["sst"]["set aside"] == 0 || kinds["seal"]["read at once"] == 0 ||
		kinds["MANIFEST"]["set aside"] == 0 {
		t.Error("something was never seen")
	}
}

// useRotten opens a store that was harmed, reads it and verifies it, and says what came of it.
func useRotten(t *testing.T, what, at string, want map[string]*fold.Job) string {
	s, err := Open(vfs.Default, at, identity, small, quiet)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if s.SetAside() != "" {
		wantPosition(t, s.Partition(2), 0)
		shut(t, s)
		return "set aside"
	}
	outcome := "read at once"
	if s.Unchecked() {
		outcome = "sealed and whole"
	}
	wantPosition(t, s.Partition(2), 120)
	for i := range 60 {
		id := fmt.Sprintf("job-%d", i)
		got, err := s.Partition(2).Get(id)
		switch {
		case err != nil && outcome != "read at once":
			outcome = "found by a read"
		case err != nil:
			t.Fatalf("%s: a store that was read at once: %v", what, err)
		case (got == nil) != (want[id] == nil):
			t.Fatalf("%s: %s is there: %v", what, id, got != nil)
		case got != nil && !reflect.DeepEqual(got.Job, want[id]):
			t.Fatalf("%s: %+v, want %+v", what, got.Job, want[id])
		}
	}
	err = s.Verify(t.Context())
	switch {
	case outcome == "found by a read" && err == nil:
		t.Fatalf("%s: found by a read and not by Verify", what)
	case err == nil:
		shut(t, s)
		return outcome
	case outcome != "found by a read":
		outcome = "found by Verify"
	}
	_ = s.Close()
	s = open1(t, vfs.Default, at, identity)
	defer shut(t, s)
	if s.SetAside() == "" {
		t.Errorf("%s: %v, and the next Open uses it", what, err)
	}
	return outcome
}

// TestRottenStreams harms what is kept of jobs' streams, in a store that was not closed in order. Open passes over it,
// so that a start after a crash does not read it; jobs are whole, and Verify finds it. Then the store is set aside at
// the next start.
func TestRottenStreams(t *testing.T) {
	tmp := t.TempDir()
	template := filepath.Join(tmp, "template", "store")
	s := open1(t, vfs.Default, template, identity)
	jobs, rnd := savedIn{}, rand.New(rand.NewPCG(10, 10))
	kept := map[string][]byte{}
	for i := range 40 {
		id := fmt.Sprintf("job-%d", i)
		jobs.save(t, s.Partition(2), int64(i+1), aJob(id, job.Completed, int64(i)))
		kept[id] = make([]byte, 8<<10)
		for k := range kept[id] {
			kept[id][k] = byte(rnd.Uint32())
		}
		saveStreams(t, s.Partition(2), int64(i+1), StreamsChange{ID: id, Row: kept[id], Closed: i%4 > 0})
	}
	shut(t, s)
	if err := os.Remove(filepath.Join(template, sealName)); err != nil {
		t.Fatal(err)
	}
	passedOver := 0
	for round := range 24 {
		work := filepath.Join(tmp, fmt.Sprint("work-", round), "store")
		if err := os.CopyFS(work, os.DirFS(template)); err != nil {
			t.Fatal(err)
		}
		if round > 0 {
			flip(t, work, kept[fmt.Sprintf("job-%d", rnd.IntN(40))][100+rnd.IntN(7000):][:16])
		}
		bubble.Test(t, func(t *testing.T) {
			s := open1(t, vfs.Default, work, identity)
			if s.SetAside() != "" { // the block is that of a job, too
				shut(t, s)
				return
			}
			passedOver++
			if s.Sealed() || !s.Unchecked() {
				t.Errorf("sealed %t, unchecked %t", s.Sealed(), s.Unchecked())
			}
			for i := range 40 {
				if got, err := s.Partition(2).Get(fmt.Sprintf("job-%d", i)); err != nil || got == nil {
					t.Fatalf("job %d: %v", i, err)
				}
			}
			err := s.Verify(t.Context())
			if (err == nil) != (round == 0) || s.Unchecked() != (round > 0) {
				t.Fatalf("%v, unchecked %t", err, s.Unchecked())
			}
			_ = s.Close()
			s = open1(t, vfs.Default, work, identity)
			if (s.SetAside() != "") != (round > 0) {
				t.Errorf("set aside: %q", s.SetAside())
			}
			shut(t, s)
		})
	}
	if passedOver < 12 {
		t.Errorf("only %d stores were opened", passedOver)
	}
}

// flip changes a byte of a table where it has that content.
func flip(t *testing.T, store string, content []byte) {
	t.Helper()
	tables, err := filepath.Glob(filepath.Join(store, "*.sst"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range tables {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if at := bytes.Index(b, content); at >= 0 {
			b[at] ^= 1
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("the content is in no table")
}

func kindOf(name string) string {
	switch {
	case strings.HasPrefix(name, "MANIFEST"):
		return "MANIFEST"
	case strings.HasPrefix(name, "OPTIONS"):
		return "OPTIONS"
	case strings.HasPrefix(name, "marker"):
		return "marker"
	case name == sealName:
		return sealName
	case name == "LOCK":
		return ""
	}
	return strings.TrimPrefix(filepath.Ext(name), ".")
}

func damage(t *testing.T, name string, size int64, round int, rnd *rand.Rand) string {
	t.Helper()
	var err error
	what := "a flipped byte"
	switch {
	case round == 0:
		what = "removal"
		err = os.Remove(name)
	case round%4 == 1 && size > 0:
		to := rnd.Int64N(size)
		what = fmt.Sprintf("truncation to %d of %d", to, size)
		err = os.Truncate(name, to)
	case size > 0:
		var b []byte
		if b, err = os.ReadFile(name); err == nil {
			i := rnd.IntN(len(b))
			b[i] ^= byte(1 + rnd.IntN(255))
			what = fmt.Sprintf("a flipped byte at %d of %d", i, size)
			err = os.WriteFile(name, b, 0o600)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return what
}

// What Pebble reads without an error may still not be what was written.
func TestSoundnessIsChecked(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, p *Partition) error{
		"a row is lost": func(_ *testing.T, p *Partition) error { return p.s.db.Delete(p.rowKey("a"), pebble.Sync) },
		"a row is another job's": func(t *testing.T, p *Partition) error {
			b, err := p.s.value(p.s.db, p.rowKey("b"))
			if err != nil {
				t.Fatal(err)
			}
			return p.s.db.Set(p.rowKey("a"), b, pebble.Sync)
		},
		"a row came back": func(t *testing.T, p *Partition) error {
			b, err := p.s.value(p.s.db, p.rowKey("b"))
			if err != nil {
				t.Fatal(err)
			}
			return p.s.db.Set(p.rowKey("c"), b, pebble.Sync)
		},
		"an index lost a key": func(_ *testing.T, p *Partition) error {
			return p.s.db.DeleteRange(p.key(kindExpiry), p.key(kindExpiry+1), pebble.Sync)
		},
		"a counter is wrong": func(_ *testing.T, p *Partition) error {
			return p.s.db.DeleteRange(p.key(kindCount), p.key(kindCount+1), pebble.Sync)
		},
		"the totals are lost": func(_ *testing.T, p *Partition) error { return p.s.db.Delete(p.key(kindMeta), pebble.Sync) },
		"the totals are rot": func(_ *testing.T, p *Partition) error {
			return p.s.db.Set(p.key(kindMeta), []byte("rot"), pebble.Sync)
		},
		"an unknown key":       func(_ *testing.T, p *Partition) error { return p.s.db.Set(p.key('?'), nil, pebble.Sync) },
		"the identity is lost": func(_ *testing.T, p *Partition) error { return p.s.db.Delete(identityKey, pebble.Sync) },
	} {
		harmed := func(t *testing.T, fs vfs.FS) *Store {
			s := open1(t, fs, dir, identity)
			savedIn{}.save(t, s.Partition(1), 9, aJob("a", job.Pending, 5), aJob("b", job.Completed, 6))
			savedIn{}.save(t, s.Partition(3), 9, aJob("x", job.Pending, 5))
			if err := harm(t, s.Partition(1)); err != nil {
				t.Fatal(err)
			}
			return s
		}
		wantAside := func(t *testing.T, fs vfs.FS) {
			s := open1(t, fs, dir, identity)
			defer shut(t, s)
			if s.SetAside() == "" {
				t.Fatal("it is in use")
			}
			wantPosition(t, s.Partition(1), 0)
			wantPosition(t, s.Partition(3), 0)
		}
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			s := harmed(t, fs)
			if err := errors.Join(s.db.Flush(), s.close()); err != nil {
				t.Fatal(err)
			}
			wantAside(t, fs)
		})
		t.Run(name+", and the store is sealed", func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				fs := vfs.NewMem()
				shut(t, harmed(t, fs))
				s := open1(t, fs, dir, identity)
				if s.SetAside() != "" {
					shut(t, s)
					return
				}
				if err := s.Verify(t.Context()); !errors.Is(err, ErrUnsound) || s.Sound() == nil {
					t.Fatalf("verified: %v", err)
				}
				err := s.Partition(3).Checkpoint(nil, 10, 0)
				if !errors.Is(err, ErrUnsound) {
					t.Errorf("a store that is not sound was written to: %v", err)
				}
				shut(t, s)
				wantAside(t, fs)
			})
		})
	}
}
