package store

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/fold"
)

// TestErasedRows: the marker of an erased job is in no index but that of retentions, is found by no question of a
// client, and the store is sound with it, after it and after it was removed.
func TestErasedRows(t *testing.T) {
	fs := vfs.NewMem()
	s := open1(t, fs, dir, identity)
	p, saved := s.Partition(1), savedIn{}
	saved.save(t, p, 1, aJob("a", job.Completed, 1), aJob("b", job.Completed, 1))
	mark := aJob("a", job.Completed, 2)
	mark.Doc = job.Document{JobID: "a", State: fold.Erased, CreatedAt: mark.Doc.CreatedAt,
		UpdatedAt: mark.Doc.UpdatedAt, FinishedAt: mark.Doc.FinishedAt}
	mark.Tenant, mark.Doc.Subject, mark.Doc.Lane = "", "", ""
	saved.commit(t, p, 2, []Change{{ID: "a", Job: mark, Was: saved["a"], Over: []string{"life"}}})

	for round := range 2 {
		if st, err := p.Get("a"); err != nil || st == nil || !st.Job.Erased() {
			t.Fatalf("round %d: the marker is %+v, %v", round, st, err)
		}
		if st, err := p.Find("a", Owners{}, func(*Meta) bool { return true }); err != nil || st != nil {
			t.Errorf("round %d: a question finds %+v, %v", round, st, err)
		}
		if n := p.Totals(); n.Count != 2 || n.Active != 0 {
			t.Errorf("round %d: totals %+v", round, n)
		}
		r := p.Reader()
		for _, tenant := range []string{"acme", ""} {
			page, err := r.List(Query{Tenant: tenant, Limit: 10}, []*Partition{p}, nil)
			if want := len(tenant) / 4; err != nil || len(page.Jobs) != want {
				t.Errorf("round %d: the list of %q has %d jobs, want %d, %v", round, tenant, len(page.Jobs), want, err)
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if ids, err := p.Expired(never-1, 10); err != nil || len(ids) != 2 {
			t.Errorf("round %d: %v expire, %v", round, ids, err)
		}
		if marks, err := p.RemovedBlobs(10); err != nil || len(marks) != 1 {
			t.Errorf("round %d: blobs of %q are to be removed, %v", round, marks, err)
		}
		if err := p.Decodable(); err != nil {
			t.Error(err)
		}
		shut(t, s)
		s = open1(t, fs, dir, identity)
		p = s.Partition(1)
		if s.SetAside() != "" {
			t.Fatal("the store is not sound with a marker")
		}
	}
	saved.remove(t, p, 3, "a")
	shut(t, s)
	s = open1(t, fs, dir, identity)
	defer shut(t, s)
	if st, err := s.Partition(1).Get("a"); err != nil || st != nil || s.SetAside() != "" {
		t.Errorf("after its end: %+v, %v", st, err)
	}
}
