package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
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
	small    = Options{View: true, Blobs: true, MemTable: 1 << 20}
)

const dir = "data/store"

func open1(t testing.TB, fs vfs.FS, dir string, id Identity) *Store {
	t.Helper()
	s, err := Open(fs, dir, id, small, quiet)
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
		Doc: job.Document{JobID: id, Type: "t", State: state, Attempt: 1, MaxAttempts: 3, CreatedAt: t0, UpdatedAt: at,
			Subject: "alice", Lane: "default"},
		Version: version, Tenant: "acme", PayloadHash: "sha256:1", Accepted: true,
		Dispatch: 1, RoundAt: t0,
		Source: event.Position{Topic: "ackwire.requests.default", Offset: version},
		Policy: job.Policy{Attempts: 3, Retention: job.Seconds(time.Hour)},
	}
	switch state {
	case job.Retrying:
		j.Doc.RetryAt = &at
	case job.Scheduled:
		j.Doc.RunAt = &at
	case job.Processing:
		j.Doc.StartedAt = &at
	}
	if state.Terminal() {
		j.Doc.FinishedAt = &at
	}
	return j
}

// savedIn remembers what a partition's store has, as a shard does.
type savedIn map[string]*Saved

func (m savedIn) save(t testing.TB, p *Partition, next int64, jobs ...*fold.Job) {
	t.Helper()
	changes := make([]Change, len(jobs))
	for i, j := range jobs {
		changes[i] = Change{ID: j.Doc.JobID, Job: j, Was: m[j.Doc.JobID]}
	}
	m.commit(t, p, next, changes)
}

func (m savedIn) remove(t testing.TB, p *Partition, next int64, ids ...string) {
	t.Helper()
	changes := make([]Change, len(ids))
	for i, id := range ids {
		changes[i] = Change{ID: id, Was: m[id]}
	}
	m.commit(t, p, next, changes)
}

func (m savedIn) commit(t testing.TB, p *Partition, next int64, changes []Change) {
	t.Helper()
	if err := p.Checkpoint(changes, next, 0); err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		if c.Now == nil {
			delete(m, c.ID)
		} else {
			m[c.ID] = c.Now
		}
	}
}

func wantPosition(t testing.TB, p *Partition, want int64) {
	t.Helper()
	if got := p.Position(); got != want {
		t.Fatalf("position %d, want %d", got, want)
	}
}

// encoded is all of a job that is stored.
func encoded(t testing.TB, j *fold.Job) string {
	t.Helper()
	if j == nil {
		return ""
	}
	b, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	return string(j.Document()) + string(b)
}

func wantJob(t testing.TB, p *Partition, id string, want *fold.Job) {
	t.Helper()
	got, err := p.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	var have *fold.Job
	if got != nil {
		have = got.Job
		if string(got.Doc) != string(have.Document()) {
			t.Fatalf("job %s: its document is stored as %s", id, got.Doc)
		}
	}
	if encoded(t, have) != encoded(t, want) {
		t.Fatalf("job %s is\n%s\nwant\n%s", id, encoded(t, have), encoded(t, want))
	}
}

func wantIDs(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

func dueIDs(t testing.TB, p *Partition, from, before int64) (ids []string) {
	t.Helper()
	if err := p.DueJobs(from, before, func(id string, _ int64) (bool, error) {
		ids = append(ids, id)
		return true, nil
	}); err != nil {
		t.Fatal(err)
	}
	return ids
}

func expiredIDs(t testing.TB, p *Partition, at time.Time, limit int) []string {
	t.Helper()
	ids, err := p.Expired(at.UnixMilli(), limit)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func TestCheckpointIsReadAgainAfterReopening(t *testing.T) {
	fs := vfs.NewMem()
	s := open1(t, fs, dir, identity)
	p := s.Partition(1)
	wantPosition(t, p, 0)
	wantJob(t, p, "a", nil)
	a, b := aJob("a", job.Processing, 10), aJob("b", job.Completed, 20)
	savedIn{}.save(t, p, 21, a, b)
	before := p.Totals()
	shut(t, s)

	s = open1(t, fs, dir, identity)
	defer shut(t, s)
	p = s.Partition(1)
	if p.Totals() != before || before.Count != 2 || before.Active != 1 {
		t.Fatalf("totals %+v, before %+v", p.Totals(), before)
	}
	wantPosition(t, p, 21)
	wantJob(t, p, "a", a)
	wantJob(t, p, "b", b)
	wantIDs(t, "held by a run", dueIDs(t, p, 0, 1), "a")
}

func TestPartitionsDoNotMeet(t *testing.T) {
	s := open1(t, vfs.NewMem(), dir, identity)
	defer shut(t, s)
	// 255 and 256 differ in more than their last byte.
	for _, n := range []int32{0, 1, 255, 256} {
		savedIn{}.save(t, s.Partition(n), int64(n)+10, aJob("same", job.Processing, int64(n)+10), aJob("done", job.Failed, 1))
	}
	if err := s.Partition(255).Clear(); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int32{0, 1, 256} {
		p := s.Partition(n)
		wantPosition(t, p, int64(n)+10)
		wantJob(t, p, "same", aJob("same", job.Processing, int64(n)+10))
		wantIDs(t, "running", dueIDs(t, p, 0, 1), "same")
		wantIDs(t, "expired", expiredIDs(t, p, t0.Add(2*time.Hour), 10), "done")
	}
	p := s.Partition(255)
	wantPosition(t, p, 0)
	wantJob(t, p, "same", nil)
	wantIDs(t, "running", dueIDs(t, p, 0, 1))
	wantIDs(t, "expired", expiredIDs(t, p, t0.Add(2*time.Hour), 10))
	if _, err := s.check(true); err != nil {
		t.Fatal(err)
	}
}

// TestCrash cuts the power again and again while checkpoints are written. The store that is left is
// always sound, and its jobs are those of its position: no checkpoint is there in part.
func TestCrash(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := open1(t, fs, dir, identity)
	p := s.Partition(2)
	rnd := rand.New(rand.NewPCG(1, 2))
	states := []map[string]*fold.Job{{}} // by position
	saved := savedIn{}
	var furthest int64
	for next := int64(1); next <= 1000; next++ {
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
			changes = append(changes, Change{ID: id, Job: j, Was: saved[id]})
		}
		states = append(states, now)
		saved.commit(t, p, next, changes)
		if next%5 == 0 {
			crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rnd.IntN(101), RNG: rnd})
			furthest = max(furthest, wantSame(t, crashed, states))
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
	if at := wantSame(t, fs, states); at != 1000 {
		t.Fatalf("a store that was closed is at %d", at)
	}
}

func wantSame(t *testing.T, fs vfs.FS, states []map[string]*fold.Job) int64 {
	t.Helper()
	s := open1(t, fs, dir, identity)
	defer shut(t, s)
	if s.SetAside() != "" {
		t.Fatal("a crash alone made the store unsound")
	}
	p := s.Partition(2)
	next := p.Position()
	var running []string
	for i := range 12 {
		id := fmt.Sprintf("job-%d", i)
		j := states[next][id]
		wantJob(t, p, id, j)
		if j != nil && j.Doc.State == job.Processing {
			running = append(running, id)
		}
	}
	slices.Sort(running)
	wantIDs(t, fmt.Sprintf("running at position %d", next), dueIDs(t, p, 0, 1), running...)
	return next
}

func TestStoreOfAnotherLogIsSetAside(t *testing.T) {
	for name, change := range map[string]func(*Identity){
		"cluster":  func(id *Identity) { id.ClusterID = "c2" },
		"topic ID": func(id *Identity) { id.TopicID = "t2" },
		"topic":    func(id *Identity) { id.Topic = "other.status" },
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			s := open1(t, fs, dir, identity)
			savedIn{}.save(t, s.Partition(0), 5, aJob("a", job.Pending, 5))
			shut(t, s)
			other := identity
			change(&other)
			s = open1(t, fs, dir, other)
			wantPosition(t, s.Partition(0), 0)
			wantJob(t, s.Partition(0), "a", nil)
			aside := s.SetAside()
			shut(t, s)
			s = open1(t, fs, aside, identity)
			wantPosition(t, s.Partition(0), 5)
			shut(t, s)

			s = open1(t, fs, dir, identity)
			if s.SetAside() == aside || len(folders(t, fs, "data")) != 2 {
				t.Errorf("folders %v, want the store and the last one set aside", folders(t, fs, "data"))
			}
			shut(t, s)
		})
	}
}

// A store of fewer partitions than the topic has is an error: partitions were added by mistake, and a
// rebuild from the log would make it worse.
func TestStoreOfFewerPartitions(t *testing.T) {
	fs := vfs.NewMem()
	s := open1(t, fs, dir, identity)
	savedIn{}.save(t, s.Partition(0), 5, aJob("a", job.Pending, 5))
	shut(t, s)
	other := identity
	other.Partitions = 8
	if _, err := Open(fs, dir, other, small, quiet); !errors.Is(err, ErrPartitions) || errors.Is(err, ErrUnsound) {
		t.Fatalf("opened: %v", err)
	}
	s = open1(t, fs, dir, identity)
	defer shut(t, s)
	wantPosition(t, s.Partition(0), 5)
}

func TestStoreOfAnotherFormatIsSetAside(t *testing.T) {
	fs := vfs.NewMem()
	s := open1(t, fs, dir, identity)
	b, err := json.Marshal(stamp{identity, format + 1})
	if err == nil {
		err = s.db.Set(identityKey, b, pebble.Sync)
	}
	if err != nil {
		t.Fatal(err)
	}
	shut(t, s)
	s = open1(t, fs, dir, identity)
	defer shut(t, s)
	if s.SetAside() == "" {
		t.Fatal("another release's store is in use")
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

func TestStoreInUseIsLeftAlone(t *testing.T) {
	for name, fs := range map[string]vfs.FS{"memory": vfs.NewMem(), "disk": vfs.Default} {
		t.Run(name, func(t *testing.T) {
			at := path.Join(t.TempDir(), "store")
			s := open1(t, fs, at, identity)
			if _, err := Open(fs, at, identity, small, quiet); err == nil ||
				!strings.Contains(err.Error(), "in use by another process") {
				t.Fatalf("opened twice: %v", err)
			}
			if _, err := Open(fs, at, Identity{ClusterID: "c2"}, small, quiet); err == nil || errors.Is(err, ErrUnsound) {
				t.Fatalf("opened twice: %v", err)
			}
			savedIn{}.save(t, s.Partition(0), 5, aJob("a", job.Pending, 5))
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
	_, err := Open(readOnly{mem}, dir, identity, small, quiet)
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
	if _, err := Open(vfs.Default, path.Join(file, "store"), identity, small, quiet); err == nil ||
		!strings.Contains(err.Error(), "make store folder") {
		t.Fatalf("a folder inside a file: %v", err)
	}
}

// A snapshot is a store of its own, of one moment, whether the original is in use or not.
func TestSnapshot(t *testing.T) {
	at := t.TempDir()
	s := open1(t, vfs.Default, filepath.Join(at, "store"), identity)
	saved := savedIn{}
	saved.save(t, s.Partition(0), 5, aJob("a", job.Pending, 5))
	if err := s.Snapshot(filepath.Join(at, "running")); err != nil {
		t.Fatal(err)
	}
	saved.save(t, s.Partition(0), 6, aJob("b", job.Pending, 6))
	if err := s.Snapshot(filepath.Join(at, "running")); err == nil {
		t.Error("a folder that exists was taken")
	}
	if err := Copy(vfs.Default, filepath.Join(at, "store"), filepath.Join(at, "stopped"), quiet); err == nil ||
		!strings.Contains(err.Error(), "in use") {
		t.Errorf("a store that is in use was opened: %v", err)
	}
	shut(t, s)
	if err := Copy(vfs.Default, filepath.Join(at, "store"), filepath.Join(at, "stopped"), quiet); err != nil {
		t.Fatal(err)
	}
	for name, next := range map[string]int64{"running": 5, "stopped": 6} {
		c := open1(t, vfs.Default, filepath.Join(at, name), identity)
		if c.SetAside() != "" {
			t.Errorf("%s: the copy is not sound", name)
		}
		wantPosition(t, c.Partition(0), next)
		wantJob(t, c.Partition(0), "a", aJob("a", job.Pending, 5))
		shut(t, c)
	}
}
