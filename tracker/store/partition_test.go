package store

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/fold"
)

func TestExpiryFollowsTheJob(t *testing.T) {
	s := open1(t, vfs.NewMem(), dir, identity)
	defer shut(t, s)
	p, saved := s.Partition(0), savedIn{}
	end := func(n int64) time.Time { return t0.Add(time.Duration(n)*time.Second + time.Hour) }
	if at, err := p.NextExpiry(); err != nil || at != never {
		t.Fatal(at, err)
	}
	saved.save(t, p, 1, aJob("ended", job.Failed, 10), aJob("retried", job.Failed, 10), aJob("again", job.Failed, 10),
		aJob("removed", job.Failed, 10), aJob("later", job.Failed, 500))
	saved.save(t, p, 2, aJob("retried", job.Retrying, 20), aJob("again", job.Retrying, 20))
	saved.save(t, p, 3, aJob("again", job.Completed, 100))
	saved.remove(t, p, 4, "removed")
	if at, err := p.NextExpiry(); err != nil || at != end(10).UnixMilli() {
		t.Fatal(at, err)
	}
	wantIDs(t, "a millisecond before", expiredIDs(t, p, end(10).Add(-time.Millisecond), 10))
	wantIDs(t, "only one still has that expiry", expiredIDs(t, p, end(11), 10), "ended")
	wantIDs(t, "its second end counts", expiredIDs(t, p, end(101), 10), "again", "ended")
	wantIDs(t, "nothing is forgotten", expiredIDs(t, p, end(1000), 10), "again", "ended", "later")
	wantIDs(t, "the limit", expiredIDs(t, p, end(1000), 2), "again", "ended")
	wantIDs(t, "what is due", dueIDs(t, p, 0, never), "retried")
}

func TestDueJobs(t *testing.T) {
	s := open1(t, vfs.NewMem(), dir, identity)
	defer shut(t, s)
	p, saved := s.Partition(0), savedIn{}
	at := func(n int64) int64 { return t0.Add(time.Duration(n) * time.Second).UnixMilli() }
	deadline := aJob("deadline", job.Pending, 5)
	deadline.Policy.Deadline = job.Seconds(30 * time.Second)
	saved.save(t, p, 1, aJob("running", job.Processing, 1), aJob("retrying", job.Retrying, 10),
		aJob("scheduled", job.Scheduled, 20), aJob("pending", job.Pending, 1), deadline)
	wantIDs(t, "held by a run", dueIDs(t, p, 0, 1), "running")
	wantIDs(t, "soon", dueIDs(t, p, 1, at(20)), "retrying")
	wantIDs(t, "later", dueIDs(t, p, at(20), never), "deadline", "scheduled")
	saved.save(t, p, 2, aJob("running", job.Completed, 2), aJob("retrying", job.Pending, 11),
		aJob("scheduled", job.Cancelled, 21))
	wantIDs(t, "one is left", dueIDs(t, p, 0, never), "deadline")
}

func load(t *testing.T, j *fold.Job) Load {
	t.Helper()
	r, err := NewRow(j, nil)
	if err != nil {
		t.Fatal(err)
	}
	return Load{ID: j.Doc.JobID, Row: &r}
}

// What another store's rows come to is what a restore must come to.
func TestApply(t *testing.T) {
	s := open1(t, vfs.NewMem(), dir, identity)
	defer shut(t, s)
	from, saved := s.Partition(0), savedIn{}
	a, b, c := aJob("a", job.Pending, 5), aJob("b", job.Completed, 6), aJob("c", job.Processing, 7)
	saved.save(t, from, 9, a, b, c)
	saved.remove(t, from, 10, "c")
	want := from.Totals()

	to := s.Partition(1)
	old := aJob("a", job.Scheduled, 2)
	err := to.Apply([]Load{load(t, old), load(t, c), load(t, a), {ID: "never there"}, load(t, b), {ID: "c"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantPosition(t, to, 0)
	for _, wrong := range []Totals{{Next: 10, Count: want.Count + 1, Sum: want.Sum},
		{Next: 10, Count: want.Count, Sum: want.Sum + 1}} {
		if err := to.Apply(nil, &wrong); !errors.Is(err, ErrUnsound) {
			t.Errorf("totals that do not fit: %v", err)
		}
		wantPosition(t, to, 0)
	}
	if err := to.Apply(nil, &want); err != nil {
		t.Fatal(err)
	}
	got := to.Totals()
	want.Viewed = want.Next
	want.IndexSum, got.IndexSum = 0, 0 // keys begin with the partition
	if got != want {
		t.Errorf("totals %+v, want %+v", got, want)
	}
	wantJob(t, to, "a", a)
	wantJob(t, to, "b", b)
	wantJob(t, to, "c", nil)
	if _, err := s.check(true); err != nil {
		t.Error(err)
	}
}

// A removed job is remembered until the view knows, and until its blobs are gone.
func TestRemovedJobsAreRemembered(t *testing.T) {
	fs := vfs.NewMem()
	s := open1(t, fs, dir, identity)
	p, saved := s.Partition(0), savedIn{}
	saved.save(t, p, 2, aJob("a", job.Failed, 1), aJob("b", job.Failed, 2), aJob("c", job.Failed, 2))
	unviewed := func() (ids []string) {
		r := p.Reader()
		defer func() { _ = r.Close() }()
		if err := r.Unviewed(p, p.Totals().Viewed, func(id string) { ids = append(ids, id) }); err != nil {
			t.Fatal(err)
		}
		return ids
	}
	wantIDs(t, "all are new", unviewed(), "a", "b", "c")
	if err := p.Checkpoint(nil, 2, 2); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, "the view has them", unviewed())
	saved.remove(t, p, 5, "a")
	saved.remove(t, p, 6, "b")
	shut(t, s)
	s = open1(t, fs, dir, identity)
	defer func() { shut(t, s) }()
	p = s.Partition(0)
	wantIDs(t, "two were removed", unviewed(), "a", "b")
	if err := p.Checkpoint(nil, 6, 5); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, "the view knows of one", unviewed(), "b")
	blobs, err := p.RemovedBlobs(10)
	if err != nil {
		t.Fatal(err)
	}
	wantIDs(t, "blobs of both", blobs, "a", "b")
	if err := p.BlobsRemoved("a"); err != nil {
		t.Fatal(err)
	}
	if blobs, err = p.RemovedBlobs(10); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, "blobs of one", blobs, "b")
}

// IDs whose hashes meet are told apart, however often they come and go.
func TestKnownJobs(t *testing.T) {
	s := open1(t, vfs.NewMem(), dir, identity)
	defer shut(t, s)
	p := s.Partition(0)
	anybody := Owners{}
	for range 300 {
		p.known.add("a", "acme", "ann") // as many jobs with one hash
	}
	for range 400 {
		p.known.remove("a")
	}
	if !p.mayHave("a", anybody) {
		t.Error("more jobs than can be counted were forgotten")
	}
	p.known.add("b", "acme", "ann")
	p.known.add("b", "acme", "bob")
	for _, subject := range []string{"ann", "bob"} {
		if !p.mayHave("b", Owners{Subject: &subject}) {
			t.Errorf("of two jobs with one hash, that of %s is not looked for", subject)
		}
	}
	p.known.remove("b")
	if !p.mayHave("b", anybody) {
		t.Error("two jobs, one of them removed: the other is forgotten")
	}
	p.known.remove("b")
	if p.mayHave("b", anybody) || p.mayHave("c", anybody) {
		t.Error("what is not there is looked for on the disk")
	}
}

func FuzzRow(f *testing.F) {
	r, err := NewRow(aJob("a", job.Failed, 3), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(appendRow(nil, r))
	f.Add([]byte{rowFormat})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRow("a", b)
		if err != nil {
			return
		}
		again, err := decodeRow("a", appendRow(nil, r))
		if err != nil || fmt.Sprintf("%+v", again) != fmt.Sprintf("%+v", r) {
			t.Fatalf("%+v\n%+v, %v", r, again, err)
		}
	})
}
