package store

import (
	"bytes"
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

// A row's meta is the same after it was encoded and decoded, whatever its tags are. Without tags it has the bytes that
// earlier versions read and write.
func TestMetaWithTags(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for n := range 200 {
		j := randomJob(rnd, "a", int64(n))
		if n%3 == 0 {
			j.Doc.Tags = nil
		}
		m := MetaOf(j)
		b := append(AppendMeta(nil, m), "rest"...)
		again, rest, err := CutMeta(b)
		if err != nil || string(rest) != "rest" || !again.Equal(&m) {
			t.Fatalf("%v: %+v and %q, want %+v", err, again, rest, m)
		}
		tenant, subject, err := cutOwner(b)
		if err != nil || string(tenant) != m.Tenant || string(subject) != m.Subject {
			t.Fatalf("%v: owner %q %q", err, tenant, subject)
		}
		want := byte(rowFormat)
		if len(m.Tags) > 0 {
			want = rowWithTags
		}
		if b[0] != want {
			t.Fatalf("format %d of %+v", b[0], m)
		}
		for i := range len(b) - len("rest") {
			if _, _, err := CutMeta(b[:i]); err == nil {
				t.Fatalf("%d of %d bytes are a meta", i, len(b))
			}
		}
	}
}

// A meta whose tags are not in their order, or too many, is not one of ours.
func TestCutMetaRefusesTags(t *testing.T) {
	m := MetaOf(aJob("a", job.Pending, 1))
	base := AppendMeta(nil, m)
	base[0] = rowWithTags
	for name, tail := range map[string]string{
		"none": "\x00", "twice": "\x02\x01k\x01v\x01k\x01v", "not sorted": "\x02\x01l\x01v\x01k\x01v",
		"too many": "\x11" + strings.Repeat("\x01k\x01v", 17), "empty key": "\x01\x00\x01v", "cut": "\x01\x01k\x05v",
	} {
		if _, _, err := CutMeta(append(bytes.Clone(base), tail...)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, _, err := CutMeta(append(bytes.Clone(base), "\x01\x01k\x01v"...)); err != nil {
		t.Error(err)
	}
}

// keysOf counts the partition's keys of a kind.
func keysOf(t *testing.T, s *Store, p *Partition, kind byte) (n int) {
	t.Helper()
	if err := s.scan(s.db, p.key(kind), p.key(kind+1), func(_, _ []byte) (bool, error) {
		n++
		return true, nil
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// The index of tags has as many keys as the jobs have tags, and none of jobs that are gone.
func TestTagKeysComeAndGoWithTheirJobs(t *testing.T) {
	s := open1(t, vfs.NewMem(), dir, identity)
	p, saved := s.Partition(0), savedIn{}
	want := func(n int) {
		t.Helper()
		if got := keysOf(t, s, p, kindTag); got != n {
			t.Fatalf("%d keys of tags, want %d", got, n)
		}
		if _, err := s.check(true); err != nil {
			t.Fatal(err)
		}
	}
	tagged := func(state job.State, version int64, tags job.Tags) *fold.Job {
		j := aJob("a", state, version)
		j.Doc.Tags = tags
		return j
	}
	two := job.Tags{"customer": "c-17", "region": "eu"}
	saved.save(t, p, 1, aJob("b", job.Pending, 1))
	want(0)
	saved.save(t, p, 2, tagged(job.Pending, 2, nil)) // born by a claim of a worker that does not know of tags
	want(0)
	saved.save(t, p, 3, tagged(job.Pending, 3, two))
	want(2)
	saved.save(t, p, 4, tagged(job.Completed, 4, two))
	want(2)
	saved.save(t, p, 5, tagged(job.Pending, 5, job.Tags{"customer": "c-18"})) // the ID's next life
	want(1)
	mark := &fold.Job{Version: 6, Doc: job.Document{
		JobID: "a", State: fold.Erased, CreatedAt: t0, UpdatedAt: t0, FinishedAt: &t0,
	}}
	saved.save(t, p, 6, mark)
	want(0)
	saved.remove(t, p, 7, "a")
	want(0)
	shut(t, s)
}

// Jobs that have all of several tags are found without a look at those that have only some of them.
func TestAListOfSeveralTagsJoinsTheirIndexes(t *testing.T) {
	s := open1(t, vfs.NewMem(), dir, identity)
	defer shut(t, s)
	p, saved := s.Partition(0), savedIn{}
	var jobs []*fold.Job
	var want []string
	for n := range 2 * maxLooked {
		j := aJob(fmt.Sprintf("job-%06d", n), job.Pending, 5)
		j.Doc.CreatedAt = time.UnixMilli(int64(n)).UTC()
		j.Doc.Tags = job.Tags{"env": "prod"}
		if n%(maxLooked/2) == 7 {
			j.Doc.Tags = job.Tags{"env": "prod", "customer": "c-17"}
			want = append([]string{j.Doc.JobID}, want...)
		}
		jobs = append(jobs, j)
	}
	saved.save(t, p, 5, jobs...)
	for _, tags := range [][]Tag{{{"env", "prod"}, {"customer", "c-17"}}, {{"customer", "c-17"}, {"env", "prod"}}} {
		r := s.NewReader()
		page, err := r.List(Query{Tenant: "acme", Tags: tags, Limit: 10}, []*Partition{p}, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
		var got []string
		for _, l := range page.Jobs {
			got = append(got, l.ID)
		}
		if !slices.Equal(got, want) || page.Through != nil {
			t.Errorf("%v: %v, want %v", tags, got, want)
		}
	}
}

// Jobs of which each has one of two tags, in turn, have the join move at every step: it ends at the bound, and says how
// far it has come.
func TestAListOfTagsLooksAtABoundedNumberOfKeys(t *testing.T) {
	s := open1(t, vfs.NewMem(), dir, identity)
	defer shut(t, s)
	p, saved := s.Partition(0), savedIn{}
	var jobs []*fold.Job
	for n := range 3 * maxLooked {
		j := aJob(fmt.Sprintf("job-%06d", n), job.Pending, 5)
		j.Doc.Tags = job.Tags{[]string{"a", "b"}[n%2]: "1"}
		jobs = append(jobs, j)
	}
	jobs[len(jobs)-1].Doc.Tags = job.Tags{"a": "1", "b": "1"}
	saved.save(t, p, 5, jobs...)
	q := Query{Tenant: "acme", Tags: []Tag{{"a", "1"}, {"b", "1"}}, Limit: 10}
	r := s.NewReader()
	page, err := r.List(q, []*Partition{p}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	if len(page.Jobs) > 0 || page.Through == nil {
		t.Fatalf("%d jobs, through %+v", len(page.Jobs), page.Through)
	}
	if got := pages(t, s, q, []*Partition{p}, nil); len(got) != 1 || got[0] != jobs[len(jobs)-1].Doc.JobID {
		t.Fatalf("in the end: %v", got)
	}
}

// TestTagIndexAgainstAScan compares lists by tags with the jobs themselves, while jobs come, end, are erased and
// expire, and the store is opened again, from its own files or from what the topic view has.
func TestTagIndexAgainstAScan(t *testing.T) {
	for seed := range uint64(6) {
		rnd := rand.New(rand.NewPCG(seed, 21))
		fs := vfs.NewMem()
		s := open1(t, fs, dir, identity)
		p, saved := s.Partition(0), savedIn{}
		jobs := map[string]*fold.Job{}
		var version int64
		save := func(j *fold.Job) { saved.save(t, p, version, j) }
		for range 300 {
			version++
			id := fmt.Sprintf("job-%02d", rnd.IntN(40))
			switch old := jobs[id]; {
			case old == nil:
				jobs[id] = randomJob(rnd, id, version)
				save(jobs[id])
			case rnd.IntN(6) == 0: // its retention is over, or its marker's
				saved.remove(t, p, version, id)
				delete(jobs, id)
			case old.Ended() && rnd.IntN(2) == 0: // erased
				mark := &fold.Job{Version: version, Doc: job.Document{
					JobID: id, State: fold.Erased, CreatedAt: t0, UpdatedAt: t0, FinishedAt: &t0,
				}}
				save(mark)
				delete(jobs, id)
				version++
				saved.remove(t, p, version, id)
			default:
				j := aJob(id, job.States[rnd.IntN(len(job.States))], version)
				j.Tenant, j.Doc.Tags, j.Doc.CreatedAt = old.Tenant, old.Doc.Tags, old.Doc.CreatedAt
				j.Doc.Subject, j.Doc.Lane, j.Doc.Type = old.Doc.Subject, old.Doc.Lane, old.Doc.Type
				jobs[id] = j
				save(j)
			}
			switch rnd.IntN(30) {
			case 0: // a restart
				shut(t, s)
				s = open1(t, fs, dir, identity)
				p = s.Partition(0)
			case 1: // a takeover, by the view
				fs = vfs.NewMem()
				s, p = fromRows(t, fs, s, p)
			}
			q := randomQuery(rnd)
			q.Tags = append(q.Tags, Tag{"a", randomValue(rnd)})
			if got, want := pages(t, s, q, []*Partition{p}, nil), expected(q, jobs); !slices.Equal(got, want) {
				t.Fatalf("seed %d, %+v:\n%v\nwant\n%v", seed, q, got, want)
			}
		}
		tags := 0
		for _, j := range jobs {
			tags += len(j.Doc.Tags)
		}
		if got := keysOf(t, s, p, kindTag); got != tags {
			t.Errorf("%d keys of tags, want %d", got, tags)
		}
		if _, err := s.check(true); err != nil {
			t.Fatal(err)
		}
		shut(t, s)
	}
}

// fromRows fills a new store with the rows of another one, as a restore from the topic view does, and closes that.
func fromRows(t *testing.T, fs vfs.FS, old *Store, p *Partition) (*Store, *Partition) {
	t.Helper()
	var loads []Load
	r := old.NewReader()
	start := len(p.prefix) + 1
	if err := old.scan(r.snap, p.key(kindRow), p.key(kindRow+1), func(key, _ []byte) (bool, error) {
		row, err := r.Row(p, string(key[start:]))
		loads = append(loads, Load{ID: row.ID, Row: row})
		return true, err
	}); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	totals := p.Totals()
	shut(t, old)
	s := open1(t, fs, dir, identity)
	into := s.Partition(0)
	if err := into.Apply(loads, nil); err != nil {
		t.Fatal(err)
	}
	if err := into.Apply(nil, &totals); err != nil {
		t.Fatal(err)
	}
	for _, l := range loads {
		j, err := l.Row.Job()
		if err != nil || !fits(j, &l.Row.Meta) {
			t.Fatalf("job %s does not fit %+v: %v", l.ID, l.Row.Meta, err)
		}
	}
	return s, into
}

// Tags do not make a row of a job that has none larger, and a job's change of state writes no key of its tags.
func TestTagsOfUnchangedJobsMakeNoKeys(t *testing.T) {
	p := &Partition{prefix: []byte{0, 0, 0, 0}}
	a, b := MetaOf(aJob("a", job.Pending, 1)), MetaOf(aJob("a", job.Completed, 2))
	a.Tags = job.Tags{"customer": "c-17"}
	b.Tags = maps.Clone(a.Tags)
	if !sameTags(&a, &b) {
		t.Error("equal tags are not the same")
	}
	var k keySet
	k.set(p, "a", &b, !sameTags(&a, &b))
	for i := range k.ends {
		if k.at(i)[4] == kindTag {
			t.Errorf("key %q", k.at(i))
		}
	}
	b.Created++
	if sameTags(&a, &b) {
		t.Error("the ID's next job has the same keys")
	}
}
