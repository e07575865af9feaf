package store

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/fold"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	quiet    = slog.New(slog.DiscardHandler)
	identity = Identity{ClusterID: "c1", TopicID: "t1", Topic: "ackwire.status", Partitions: 4}
	t0       = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

const dir = "data/store"

func open1(t testing.TB, fs vfs.FS, dir string, id Identity) *Store {
	t.Helper()
	s, err := Open(fs, dir, id, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func shut(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// aJob returns a job whose version tells its content.
func aJob(id string, state job.State, version int64) *fold.Job {
	at := t0.Add(time.Duration(version) * time.Second)
	j := &fold.Job{
		Doc:     job.Document{JobID: id, Type: "t", State: state, Attempt: 1, MaxAttempts: 3, CreatedAt: t0, UpdatedAt: at},
		Version: version, Tenant: "acme", PayloadHash: "sha256:1", Accepted: true, Dispatch: 1, RoundAt: t0,
		Source: event.Position{Topic: "ackwire.requests.default", Offset: version},
		Policy: job.Policy{Attempts: 3, Retention: job.Seconds(time.Hour)},
	}
	if state.Terminal() {
		j.Doc.FinishedAt = &at
	}
	return j
}

func save(t testing.TB, p *Partition, next int64, jobs ...*fold.Job) {
	t.Helper()
	changes := make([]Change, len(jobs))
	for i, j := range jobs {
		changes[i] = Change{j.Doc.JobID, j}
	}
	if err := p.Checkpoint(changes, next); err != nil {
		t.Fatal(err)
	}
}

func wantPosition(t testing.TB, p *Partition, want int64) {
	t.Helper()
	if got, err := p.Position(); err != nil || got != want {
		t.Fatalf("position %d (%v), want %d", got, err, want)
	}
}

func wantJob(t testing.TB, p *Partition, id string, want *fold.Job) {
	t.Helper()
	got, err := p.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("job %s is\n%+v\nwant\n%+v", id, got, want)
	}
}

func wantIDs(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

func activeIDs(t testing.TB, p *Partition) (ids []string) {
	t.Helper()
	if err := p.Active(func(j *fold.Job) { ids = append(ids, j.Doc.JobID) }); err != nil {
		t.Fatal(err)
	}
	return ids
}

func expiredIDs(t testing.TB, p *Partition, at time.Time, limit int) (ids []string) {
	t.Helper()
	jobs, err := p.Expired(at, limit)
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		ids = append(ids, j.Doc.JobID)
	}
	return ids
}

func TestCheckpointIsReadAgainAfterReopening(t *testing.T) {
	fs := vfs.NewMem()
	s := open1(t, fs, dir, identity)
	p := s.Partition(1)
	wantPosition(t, p, 0)
	wantJob(t, p, "a", nil)
	a, b := aJob("a", job.Pending, 10), aJob("b", job.Completed, 20)
	save(t, p, 21, a, b)
	shut(t, s)

	s = open1(t, fs, dir, identity)
	defer shut(t, s)
	p = s.Partition(1)
	wantPosition(t, p, 21)
	wantJob(t, p, "a", a)
	wantJob(t, p, "b", b)
	wantIDs(t, "active", activeIDs(t, p), "a")
}

func TestPartitionsDoNotMeet(t *testing.T) {
	s := open1(t, vfs.NewMem(), dir, identity)
	defer shut(t, s)
	// 255 and 256 differ in more than their last byte.
	for _, n := range []int32{0, 1, 255, 256} {
		save(t, s.Partition(n), int64(n)+10, aJob("same", job.Pending, int64(n)+10), aJob("done", job.Failed, 1))
	}
	if err := s.Partition(255).Clear(); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int32{0, 1, 256} {
		p := s.Partition(n)
		wantPosition(t, p, int64(n)+10)
		wantJob(t, p, "same", aJob("same", job.Pending, int64(n)+10))
		wantIDs(t, "active", activeIDs(t, p), "same")
		wantIDs(t, "expired", expiredIDs(t, p, t0.Add(2*time.Hour), 10), "done")
	}
	p := s.Partition(255)
	wantPosition(t, p, 0)
	wantJob(t, p, "same", nil)
	wantIDs(t, "active", activeIDs(t, p))
	wantIDs(t, "expired", expiredIDs(t, p, t0.Add(2*time.Hour), 10))
}

func TestActiveFollowsTheJob(t *testing.T) {
	s := open1(t, vfs.NewMem(), dir, identity)
	defer shut(t, s)
	p := s.Partition(0)
	save(t, p, 1, aJob("a", job.Pending, 1), aJob("b", job.Retrying, 1), aJob("c", job.Processing, 1))
	wantIDs(t, "all three", activeIDs(t, p), "a", "b", "c")
	save(t, p, 2, aJob("a", job.Completed, 2), aJob("b", job.Cancelled, 2))
	wantIDs(t, "two ended", activeIDs(t, p), "c")
	save(t, p, 3, aJob("b", job.Retrying, 3))
	wantIDs(t, "one was retried", activeIDs(t, p), "b", "c")
	if err := p.Checkpoint([]Change{{ID: "b"}, {ID: "c"}, {ID: "never there"}}, 4); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, "the rest was removed", activeIDs(t, p))
	wantJob(t, p, "c", nil)
}

func TestExpiredSkipsStaleKeys(t *testing.T) {
	s := open1(t, vfs.NewMem(), dir, identity)
	defer shut(t, s)
	p := s.Partition(0)
	end := func(n int64) time.Time { return t0.Add(time.Duration(n)*time.Second + time.Hour) }
	save(t, p, 1, aJob("ended", job.Failed, 10), aJob("retried", job.Failed, 10), aJob("again", job.Failed, 10), aJob("removed", job.Failed, 10), aJob("later", job.Failed, 500))
	save(t, p, 2, aJob("retried", job.Retrying, 20), aJob("again", job.Retrying, 20))
	save(t, p, 3, aJob("again", job.Completed, 100))
	if err := p.Checkpoint([]Change{{ID: "removed"}}, 4); err != nil {
		t.Fatal(err)
	}

	wantIDs(t, "a millisecond before", expiredIDs(t, p, end(10).Add(-time.Millisecond), 10))
	wantIDs(t, "only one still has that expiry", expiredIDs(t, p, end(11), 10), "ended")
	wantIDs(t, "its second end counts", expiredIDs(t, p, end(101), 10), "again", "ended")
	wantIDs(t, "nothing is forgotten", expiredIDs(t, p, end(1000), 10), "again", "ended", "later")
	wantIDs(t, "the limit", expiredIDs(t, p, end(1000), 2), "again", "ended")

	var keys []string
	err := p.scan(p.key('x'), p.key('x'+1), func(key []byte) (bool, error) {
		keys = append(keys, string(key[len(p.prefix)+9:]))
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wantIDs(t, "keys that are left", keys, "again", "ended", "later")
}

// TestCrash cuts the power again and again while checkpoints are written. Whatever is left,
// the jobs are those of the position: no checkpoint is there by half.
func TestCrash(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := open1(t, fs, dir, identity)
	p := s.Partition(2)
	rnd := rand.New(rand.NewPCG(1, 2))
	states := []map[string]*fold.Job{{}} // by position
	var furthest int64
	for next := int64(1); next <= 400; next++ {
		now := map[string]*fold.Job{}
		for id, j := range states[next-1] {
			now[id] = j
		}
		var changes []Change
		for range 1 + rnd.IntN(5) {
			id := fmt.Sprintf("job-%d", rnd.IntN(12))
			if slices.ContainsFunc(changes, func(c Change) bool { return c.ID == id }) {
				continue
			}
			j := aJob(id, job.States[rnd.IntN(len(job.States))], next)
			if rnd.IntN(6) == 0 {
				j = nil
				delete(now, id)
			} else {
				now[id] = j
			}
			changes = append(changes, Change{id, j})
		}
		states = append(states, now)
		if err := p.Checkpoint(changes, next); err != nil {
			t.Fatal(err)
		}
		if next%10 == 0 {
			crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rnd.IntN(101), RNG: rnd})
			furthest = max(furthest, checkCrashed(t, crashed, states))
		}
		if next%97 == 0 {
			if err := s.db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if furthest == 0 {
		t.Fatal("no checkpoint ever survived: the test shows nothing")
	}
	shut(t, s)
	wantSame(t, open1(t, fs, dir, identity), states)
}

func checkCrashed(t *testing.T, fs vfs.FS, states []map[string]*fold.Job) int64 {
	t.Helper()
	return wantSame(t, open1(t, fs, dir, identity), states)
}

func wantSame(t *testing.T, s *Store, states []map[string]*fold.Job) int64 {
	t.Helper()
	defer shut(t, s)
	p := s.Partition(2)
	next, err := p.Position()
	if err != nil {
		t.Fatal(err)
	}
	var active []string
	for i := range 12 {
		id := fmt.Sprintf("job-%d", i)
		j := states[next][id]
		wantJob(t, p, id, j)
		if j != nil && !j.Ended() {
			active = append(active, id)
		}
	}
	slices.Sort(active)
	wantIDs(t, fmt.Sprintf("active at position %d", next), activeIDs(t, p), active...)
	return next
}

func TestStoreOfAnotherLogIsSetAside(t *testing.T) {
	for name, change := range map[string]func(*Identity){
		"cluster":    func(id *Identity) { id.ClusterID = "c2" },
		"topic ID":   func(id *Identity) { id.TopicID = "t2" },
		"topic":      func(id *Identity) { id.Topic = "other.status" },
		"partitions": func(id *Identity) { id.Partitions = 8 },
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			s := open1(t, fs, dir, identity)
			save(t, s.Partition(0), 5, aJob("a", job.Pending, 5))
			shut(t, s)
			other := identity
			change(&other)
			s = open1(t, fs, dir, other)
			wantPosition(t, s.Partition(0), 0)
			wantJob(t, s.Partition(0), "a", nil)
			shut(t, s)

			aside := folders(t, fs, "data")
			if len(aside) != 2 {
				t.Fatalf("folders %v, want the store and the one set aside", aside)
			}
			s = open1(t, fs, path.Join("data", aside[1]), identity)
			wantPosition(t, s.Partition(0), 5)
			shut(t, s)
		})
	}
}

func folders(t testing.TB, fs vfs.FS, dir string) []string {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func TestCorruptedStoreIsSetAside(t *testing.T) {
	fs := vfs.NewMem()
	s := open1(t, fs, dir, identity)
	save(t, s.Partition(0), 5, aJob("a", job.Pending, 5))
	shut(t, s)
	manifests := 0
	for _, name := range folders(t, fs, dir) {
		if strings.HasPrefix(name, "MANIFEST") {
			manifests++
			overwrite(t, fs, path.Join(dir, name))
		}
	}
	if manifests == 0 {
		t.Fatal("no manifest to corrupt")
	}
	s = open1(t, fs, dir, identity)
	wantPosition(t, s.Partition(0), 0)
	save(t, s.Partition(0), 6, aJob("b", job.Pending, 6))
	shut(t, s)
	if got := folders(t, fs, "data"); len(got) != 2 {
		t.Fatalf("folders %v, want the store and the one set aside", got)
	}
	s = open1(t, fs, dir, identity)
	wantPosition(t, s.Partition(0), 6)
	shut(t, s)
}

func overwrite(t testing.TB, fs vfs.FS, name string) {
	t.Helper()
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err == nil {
		_, err = f.Write([]byte(strings.Repeat("not a manifest ", 100)))
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestStoreInUseIsLeftAlone(t *testing.T) {
	for name, fs := range map[string]vfs.FS{"memory": vfs.NewMem(), "disk": vfs.Default} {
		t.Run(name, func(t *testing.T) {
			at := path.Join(t.TempDir(), "store")
			s := open1(t, fs, at, identity)
			if _, err := Open(fs, at, identity, quiet); err == nil || !strings.Contains(err.Error(), "in use by another process") {
				t.Fatalf("opened twice: %v", err)
			}
			if _, err := Open(fs, at, Identity{ClusterID: "c2"}, quiet); err == nil || errors.Is(err, errUnsound) {
				t.Fatalf("opened twice: %v", err)
			}
			save(t, s.Partition(0), 5, aJob("a", job.Pending, 5))
			shut(t, s)
			s = open1(t, fs, at, identity)
			wantPosition(t, s.Partition(0), 5)
			shut(t, s)
		})
	}
}

// readOnly refuses to create files.
type readOnly struct{ vfs.FS }

func (readOnly) Create(name string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, &os.PathError{Op: "create", Path: name, Err: os.ErrPermission}
}

func TestUnwritableFolder(t *testing.T) {
	mem := vfs.NewMem()
	shut(t, open1(t, mem, dir, identity))
	_, err := Open(readOnly{mem}, dir, identity, quiet)
	if err == nil || !strings.Contains(err.Error(), "store folder is not writable") || !errors.Is(err, os.ErrPermission) {
		t.Fatalf("got %v", err)
	}
	if got := folders(t, mem, "data"); len(got) != 1 {
		t.Fatalf("folders %v: a folder that cannot be written says nothing about its content", got)
	}

	file := path.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(vfs.Default, path.Join(file, "store"), identity, quiet); err == nil || !strings.Contains(err.Error(), "make store folder") {
		t.Fatalf("a folder inside a file: %v", err)
	}
}

func BenchmarkCheckpoint(b *testing.B) {
	s := open1(b, vfs.Default, b.TempDir(), identity)
	defer shut(b, s)
	p := s.Partition(0)
	const batch = 500
	var next int64
	for b.Loop() {
		jobs := make([]*fold.Job, batch)
		for i := range jobs {
			next++
			jobs[i] = aJob(fmt.Sprintf("job-%d", next), job.Processing, next)
		}
		save(b, p, next, jobs...)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/job")
}
