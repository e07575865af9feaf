package store

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/fold"
)

// randomJob makes a job of a small world, so that everything meets.
func randomJob(rnd *rand.Rand, id string, version int64) *fold.Job {
	j := aJob(id, job.States[rnd.IntN(len(job.States))], version)
	j.Tenant = []string{"acme", "acme\x00", "a", ""}[rnd.IntN(4)]
	j.Doc.Subject = []string{"", "alice", "alice\x00\x01", "bob"}[rnd.IntN(4)]
	j.Doc.Lane = []string{"default", "reports"}[rnd.IntN(2)]
	j.Doc.Type = []string{"t", "t\x00", "u"}[rnd.IntN(3)]
	j.Doc.CreatedAt = time.UnixMilli(int64(rnd.IntN(40)) - 5).UTC()
	j.Doc.UpdatedAt = time.UnixMilli(version).UTC()
	j.Doc.Tags = randomTags(rnd)
	return j
}

func randomTags(rnd *rand.Rand) job.Tags {
	tags := job.Tags{}
	for _, key := range []string{"a", "aa", "b"} {
		if rnd.IntN(2) == 0 {
			tags[key] = randomValue(rnd)
		}
	}
	if len(tags) == 0 {
		return nil
	}
	return tags
}

func randomValue(rnd *rand.Rand) string { return []string{"1", "1\x00", "11", "é"}[rnd.IntN(4)] }

func randomQuery(rnd *rand.Rand) Query {
	some := func(of ...string) (chosen []string) {
		for _, v := range of {
			if rnd.IntN(4) == 0 {
				chosen = append(chosen, v)
			}
		}
		return chosen
	}
	q := Query{
		Tenant: []string{"acme", "acme\x00", "a", "", "nobody"}[rnd.IntN(5)], Subjects: some("alice", "alice\x00\x01", "bob",
			""),
		Types: some("t", "t\x00", "u"), Lanes: some("default", "reports"), Limit: 1 + rnd.IntN(20),
	}
	for _, s := range some("pending", "processing", "completed", "failed", "cancelled") {
		q.States = append(q.States, job.State(s))
	}
	at := func(to *int64, n int) {
		if rnd.IntN(3) == 0 {
			*to = int64(rnd.IntN(n))
		}
	}
	at(&q.CreatedFrom, 20)
	at(&q.CreatedBefore, 45)
	at(&q.UpdatedFrom, 100)
	at(&q.UpdatedBefore, 500)
	for range max(rnd.IntN(5)-2, 0) {
		q.Tags = append(q.Tags, Tag{[]string{"a", "aa", "b", "c"}[rnd.IntN(4)], randomValue(rnd)})
	}
	return q
}

// expected is what a list must hold, from the jobs themselves.
func expected(q Query, jobs map[string]*fold.Job) (ids []string) {
	var places []Place
	for id, j := range jobs {
		in := j.Tenant == q.Tenant && (len(q.Subjects) == 0 || slices.Contains(q.Subjects, j.Doc.Subject)) &&
			(len(q.Types) == 0 || slices.Contains(q.Types, j.Doc.Type)) &&
			(len(q.Lanes) == 0 || slices.Contains(q.Lanes, j.Doc.Lane)) &&
			(len(q.States) == 0 || slices.Contains(q.States, j.Doc.State)) &&
			!slices.ContainsFunc(q.Tags, func(tag Tag) bool { return j.Doc.Tags[tag.Key] != tag.Value })
		created, updated := j.Doc.CreatedAt.UnixMilli(), j.Doc.UpdatedAt.UnixMilli()
		in = in && (q.CreatedFrom == 0 || created >= q.CreatedFrom) && (q.CreatedBefore == 0 || created < q.CreatedBefore)
		in = in && updated >= q.UpdatedFrom && (q.UpdatedBefore == 0 || updated < q.UpdatedBefore)
		if in {
			places = append(places, Place{created, id})
		}
	}
	slices.SortFunc(places, func(a, b Place) int {
		return cmp.Or(cmp.Compare(b.Created, a.Created), strings.Compare(a.ID, b.ID))
	})
	for _, p := range places {
		ids = append(ids, p.ID)
	}
	return ids
}

// pages reads a whole list page by page.
func pages(t *testing.T, s *Store, q Query, parts []*Partition, fresh []Fresh) (ids []string) {
	t.Helper()
	for {
		r := s.NewReader()
		page, err := r.List(q, parts, fresh)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if len(page.Jobs) > q.Limit {
			t.Fatalf("%d jobs, the limit is %d", len(page.Jobs), q.Limit)
		}
		for _, l := range page.Jobs {
			ids = append(ids, l.ID)
			if !strings.Contains(string(l.Doc), `"`+l.ID+`"`) {
				t.Fatalf("job %s has the document %s", l.ID, l.Doc)
			}
		}
		if page.Through == nil {
			return ids
		}
		q.After = page.Through
	}
}

// TestListsAndCounts compares every kind of list, and the counts, with the jobs themselves,
// over random changes. A part of the jobs is only in memory.
func TestListsAndCounts(t *testing.T) {
	s := open1(t, vfs.NewMem(), dir, identity)
	rnd := rand.New(rand.NewPCG(3, 4))
	parts := []*Partition{s.Partition(0), s.Partition(3)}
	saved := []savedIn{{}, {}}
	jobs := map[string]*fold.Job{}
	for step := int64(1); step < 400; step++ {
		n := rnd.IntN(80)
		id := fmt.Sprintf("job-%02d", n)
		at := n % 2
		if old := jobs[id]; old != nil && rnd.IntN(5) == 0 {
			saved[at].remove(t, parts[at], step, id)
			delete(jobs, id)
		} else {
			j := randomJob(rnd, id, step)
			if old != nil { // these never change
				j.Tenant = old.Tenant
				j.Doc.Subject = old.Doc.Subject
				j.Doc.Lane = old.Doc.Lane
				j.Doc.Type = old.Doc.Type
				j.Doc.CreatedAt = old.Doc.CreatedAt
				if rnd.IntN(5) > 0 { // nearly never do these
					j.Doc.Tags = old.Doc.Tags
				}
			}
			saved[at].save(t, parts[at], step, j)
			jobs[id] = j
		}
		if step%4 != 0 {
			continue
		}
		// What memory has beyond the store.
		now := maps.Clone(jobs)
		var fresh []Fresh
		for k := range rnd.IntN(6) {
			id := fmt.Sprintf("job-%02d", rnd.IntN(80))
			if slices.ContainsFunc(fresh, func(f Fresh) bool { return f.ID == id }) {
				continue
			}
			if rnd.IntN(3) == 0 {
				fresh = append(fresh, Fresh{ID: id})
				delete(now, id)
				continue
			}
			j := randomJob(rnd, id, step+int64(k))
			if old := jobs[id]; old != nil {
				j.Tenant = old.Tenant
				j.Doc.Subject = old.Doc.Subject
				j.Doc.Lane = old.Doc.Lane
				j.Doc.Type = old.Doc.Type
				j.Doc.CreatedAt = old.Doc.CreatedAt
				if rnd.IntN(5) > 0 { // nearly never do these
					j.Doc.Tags = old.Doc.Tags
				}
			}
			m := MetaOf(j)
			fresh = append(fresh, Fresh{ID: id, Meta: &m, Doc: j.Document})
			now[id] = j
		}
		q := randomQuery(rnd)
		sameCounts(t, s, Query{Tenant: q.Tenant, Tags: q.Tags, Subjects: q.Subjects, Types: q.Types}, parts, jobs)
		if got, want := pages(t, s, q, parts, fresh), expected(q, now); !slices.Equal(got, want) {
			t.Fatalf("step %d, %+v:\n%v\nwant\n%v", step, q, got, want)
		}
	}
	r := s.NewReader()
	for _, tenant := range []string{"acme", "acme\x00", "a", "", "nobody"} {
		got, want := map[Tuple]int64{}, map[Tuple]int64{}
		for _, p := range parts {
			if err := r.Counts(p, tenant, got); err != nil {
				t.Fatal(err)
			}
		}
		for _, j := range jobs {
			if j.Tenant == tenant {
				want[Tuple{j.Doc.Type, j.Doc.Lane, j.Doc.State}]++
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("counts of %q: %v, want %v", tenant, got, want)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.check(true); err != nil {
		t.Fatal(err)
	}
	shut(t, s)
}

// sameCounts compares the counts of the jobs that a query selects with the jobs themselves.
func sameCounts(t *testing.T, s *Store, q Query, parts []*Partition, jobs map[string]*fold.Job) {
	t.Helper()
	r := s.NewReader()
	defer func() { _ = r.Close() }()
	got, want := map[Tuple]int64{}, map[Tuple]int64{}
	for _, p := range parts {
		if err := r.OwnCounts(p, q, got); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range expected(q, jobs) {
		want[Tuple{jobs[id].Doc.Type, jobs[id].Doc.Lane, jobs[id].Doc.State}]++
	}
	if !maps.Equal(got, want) {
		t.Fatalf("counts of %+v: %v, want %v", q, got, want)
	}
}

// A cursor is a place: what is there and matches all the time is on exactly one page,
// whatever else comes, goes and changes.
func TestCursorsAreStableUnderWrites(t *testing.T) {
	s := open1(t, vfs.NewMem(), dir, identity)
	defer shut(t, s)
	rnd := rand.New(rand.NewPCG(6, 6))
	p, saved := s.Partition(0), savedIn{}
	next := int64(0)
	put := func(id string, state job.State, created int64) {
		next++
		j := aJob(id, state, next)
		j.Doc.CreatedAt = time.UnixMilli(created).UTC()
		saved.save(t, p, next, j)
	}
	stable := map[string]int{}
	for n := range 100 {
		id := fmt.Sprintf("stays-%02d", n)
		stable[id] = 0
		put(id, job.Completed, int64(rnd.IntN(50)))
	}
	q := Query{Tenant: "acme", States: []job.State{job.Completed}, Limit: 7}
	for {
		r := s.NewReader()
		page, err := r.List(q, []*Partition{p}, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
		for _, l := range page.Jobs {
			if _, ok := stable[l.ID]; ok {
				stable[l.ID]++
			}
		}
		if page.Through == nil {
			break
		}
		q.After = page.Through
		for range 5 {
			id := fmt.Sprintf("moves-%02d", rnd.IntN(30))
			if saved[id] != nil && rnd.IntN(3) == 0 {
				next++
				saved.remove(t, p, next, id)
				continue
			}
			put(id, job.States[rnd.IntN(len(job.States))], int64(rnd.IntN(50)))
		}
	}
	for id, n := range stable {
		if n != 1 {
			t.Errorf("%s was listed %d times", id, n)
		}
	}
}

// A list that looks at much for little ends early, and says how far it has come.
func TestAListLooksAtABoundedNumberOfRows(t *testing.T) {
	s := open1(t, vfs.NewMem(), dir, identity)
	defer shut(t, s)
	p, saved := s.Partition(0), savedIn{}
	var jobs []*fold.Job
	for n := range maxLooked + 500 {
		jobs = append(jobs, aJob(fmt.Sprintf("job-%06d", n), job.Pending, 5))
	}
	jobs[len(jobs)-1].Doc.UpdatedAt = t0.Add(time.Hour)
	saved.save(t, p, 5, jobs...)
	q := Query{Tenant: "acme", UpdatedFrom: t0.Add(time.Minute).UnixMilli(), Limit: 10}
	r := s.NewReader()
	page, err := r.List(q, []*Partition{p}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	if len(page.Jobs) != 0 || page.Through == nil || page.Through.ID != jobs[maxLooked-1].Doc.JobID {
		t.Fatalf("%d jobs, through %+v", len(page.Jobs), page.Through)
	}
	if got := pages(t, s, q, []*Partition{p}, nil); len(got) != 1 || got[0] != jobs[len(jobs)-1].Doc.JobID {
		t.Fatalf("in the end: %v", got)
	}
}

// TestAListReadsABoundedNumberOfBytes has a list look at jobs with large results that do not match.
func TestAListReadsABoundedNumberOfBytes(t *testing.T) {
	s := open1(t, vfs.NewMem(), dir, identity)
	defer shut(t, s)
	p, saved := s.Partition(0), savedIn{}
	var jobs []*fold.Job
	for n := range 300 {
		j := aJob(fmt.Sprintf("job-%06d", n), job.Completed, 5)
		j.Doc.Result = json.RawMessage(`"` + strings.Repeat("x", 60<<10) + `"`)
		jobs = append(jobs, j)
	}
	saved.save(t, p, 5, jobs...)
	r := s.NewReader()
	defer func() { _ = r.Close() }()
	page, err := r.List(Query{Tenant: "acme", UpdatedBefore: 1, Limit: 1}, []*Partition{p}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if most := maxRead/(60<<10) + 1; page.Through == nil || page.Through.ID > jobs[most].Doc.JobID {
		t.Fatalf("it looked at more than %d large jobs: through %+v", most, page.Through)
	}
}
