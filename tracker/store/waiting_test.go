package store

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/fold"
)

func TestWaiting(t *testing.T) {
	s := open1(t, vfs.NewMem(), dir, identity)
	defer shut(t, s)
	p, saved := s.Partition(1), savedIn{}
	var jobs []*fold.Job
	for i, state := range slices.Concat(job.States, job.States, job.States) {
		j := aJob(fmt.Sprintf("job-%02d-%s", i, state), state, int64(i+1))
		if i%2 == 0 {
			j.Tenant, j.Doc.Type = "umbrella\x00", "t2"
		}
		j.Request = &event.Position{Topic: "ackwire.requests.default", Partition: int32(i % 3), Offset: int64(i)}
		jobs = append(jobs, j)
	}
	unknown := aJob("no request", job.Pending, 40)
	saved.save(t, p, 50, append(jobs, unknown)...)
	saved.save(t, s.Partition(2), 50, aJob("elsewhere", job.Pending, 1))

	var want []string
	for _, j := range jobs {
		if (j.Doc.State == job.Pending || j.Doc.State == job.Queued) && j.Request.Offset < 12 {
			want = append(want, j.Doc.JobID)
		}
	}
	fits := func(at event.Position) bool { return at.Offset < 12 }
	got, err := p.Waiting(100, fits)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) || len(want) < 3 {
		t.Errorf("waiting %q, want %q", got, want)
	}
	if got, err = p.Waiting(2, fits); err != nil || len(got) != 2 {
		t.Errorf("two of them: %q, %v", got, err)
	}
}

// TestMarksOfLives: each life that is over is marked, also one that another has followed, or that
// came and went between two checkpoints.
func TestMarksOfLives(t *testing.T) {
	fs := vfs.NewMem()
	s := open1(t, fs, dir, identity)
	p := s.Partition(0)
	first := []Change{{ID: "a", Job: aJob("a", job.Pending, 1)}}
	if err := p.Checkpoint(first, 2, 0); err != nil {
		t.Fatal(err)
	}
	changes := []Change{
		{ID: "a", Job: aJob("a", job.Pending, 5), Was: first[0].Now, Over: []string{"one", "two"}},
		{ID: "b", Over: []string{"o7"}},
	}
	if err := p.Checkpoint(changes, 10, 0); err != nil {
		t.Fatal(err)
	}
	shut(t, s)
	s = open1(t, fs, dir, identity)
	defer func() { shut(t, s) }()
	p = s.Partition(0)
	marks, err := p.RemovedBlobs(10)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range marks {
		id, life := CutMark(m)
		got = append(got, id+" "+life)
	}
	wantIDs(t, "lives that are over", got, "a one", "a two", "b o7")
	if id, life := CutMark("from before"); id != "from before" || life != "" {
		t.Errorf("a mark of an older tracker: %q %q", id, life)
	}
}
