package tracker

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// tagged is a job as a test of tags knows it.
type tagged struct {
	tags    job.Tags
	ended   bool
	round   int
	subject string
}

// taggedWorld writes events of jobs with tags, and knows which jobs there must be.
type taggedWorld struct {
	*world
	jobs   map[string]*tagged
	erased map[string]bool  // their IDs cannot be used until their retention is over
	seen   map[int32]int64  // the last version of each partition
	order  map[string]int64 // when each job was made, which is its place in a list
	made   int64
}

func (w *taggedWorld) write(e *event.Event) {
	w.t.Helper()
	v := w.append(e)
	w.seen[kafka.Partition(e.JobID, testPartitions)] = v
}

func (w *taggedWorld) accept(id, subject string, tags job.Tags) {
	w.t.Helper()
	w.made++
	_, v := w.submitTagged(id, subject, tags)
	w.seen[kafka.Partition(id, testPartitions)] = v
	time.Sleep(2 * time.Millisecond) // no two jobs are as old as each other
}

// step does one random thing with one of a few jobs.
func (w *taggedWorld) step(rnd *rand.Rand) {
	w.t.Helper()
	id := fmt.Sprintf("job-%02d", rnd.IntN(16))
	j := w.jobs[id]
	switch {
	case j == nil && w.erased[id]:
	case j == nil:
		j = &tagged{subject: []string{"", "alice", "bob"}[rnd.IntN(3)]}
		for _, key := range []string{"customer", "env", "odd"} {
			if rnd.IntN(3) > 0 {
				if j.tags == nil {
					j.tags = job.Tags{}
				}
				j.tags[key] = []string{"1", "2", "a:b, \"é\""}[rnd.IntN(3)]
			}
		}
		w.accept(id, j.subject, j.tags)
		w.jobs[id] = j
		w.order[id] = w.made
	case j.ended && rnd.IntN(3) == 0:
		w.write(&event.Event{Type: event.Erased, JobID: id, Round: j.round})
		delete(w.jobs, id)
		w.erased[id] = true
	case j.ended:
		w.write(&event.Event{Type: event.RetryRequested, JobID: id, Round: j.round})
		j.ended = false
		j.round++
	case rnd.IntN(3) == 0:
		w.accept(id, "mallory", job.Tags{"customer": "2", "env": "2", "odd": "2"}) // a submit of the same key, later
	default:
		w.write(&event.Event{Type: event.CancelRequested, JobID: id, Round: j.round})
		j.ended = true
	}
}

// expire waits until the retention of all jobs that have ended is over.
func (w *taggedWorld) expire() {
	time.Sleep(90 * time.Minute)
	maps.DeleteFunc(w.jobs, func(_ string, j *tagged) bool { return j.ended })
	clear(w.erased)
	// The versions of what has expired are not known.
	clear(w.seen)
}

// want compares a list, read page by page, and the counts with the jobs themselves.
func (w *taggedWorld) want(i *instance, why string, tags job.Tags, own *string) {
	w.t.Helper()
	var want []string
	for id, j := range w.jobs {
		has := true
		for key, value := range tags {
			has = has && j.tags[key] == value
		}
		if has && (own == nil || j.subject == *own) {
			want = append(want, id)
		}
	}
	slices.SortFunc(want, func(a, b string) int { return int(w.order[b] - w.order[a]) })
	m := &trackerpb.ListRequest{Limit: 3}
	for key, value := range tags {
		m.Tags = append(m.Tags, &trackerpb.Tag{Key: key, Value: value})
	}
	for p, v := range w.seen {
		m.Fresh = append(m.Fresh, &trackerpb.Freshness{Partition: p, MinVersion: v})
	}
	if own != nil {
		m.Scope = &trackerpb.Scope{Own: true, Subject: *own}
	}
	var got []string
	for {
		page := i.list(m)
		if !page.Tagged {
			w.t.Fatal("the tags were passed over")
		}
		got = append(got, ids(page)...)
		if page.Through == nil {
			break
		}
		m.After = page.Through
	}
	if !slices.Equal(got, want) {
		w.t.Fatalf("%s: jobs with %v are %v, want %v", why, tags, got, want)
	}
	r, err := i.api.Stats(w.t.Context(), connect.NewRequest(&trackerpb.StatsRequest{
		Tenant: tenant, Partitions: allPartitions, Tags: m.Tags, Fresh: m.Fresh, Scope: m.Scope,
	}))
	if err != nil {
		w.t.Fatal(err)
	}
	counted := 0
	for _, c := range r.Msg.Counts {
		counted += int(c.Jobs)
	}
	if counted != len(want) || !r.Msg.Tagged {
		w.t.Fatalf("%s: %d jobs with %v are counted, want %d", why, counted, tags, len(want))
	}
	for _, id := range want {
		if _, doc := i.doc(id, 0); !maps.Equal(doc.Tags, w.jobs[id].tags) || doc.Lane != "default" ||
			doc.Subject != w.jobs[id].subject {
			w.t.Fatalf("%s: the document of %s has %v, %q and %q, want %v", why, id, doc.Tags, doc.Lane, doc.Subject,
				w.jobs[id].tags)
		}
	}
}

// TestTagsThroughALife compares lists and counts by tags with the jobs, while jobs are submitted, submitted again, end,
// are retried, erased and expire, and the tracker starts again: with its store, from the view, and from status alone.
func TestTagsThroughALife(t *testing.T) {
	for seed := range uint64(1) {
		withView(t, func(t *testing.T, w1 *world) {
			rnd := rand.New(rand.NewPCG(seed, 7))
			w := &taggedWorld{world: w1, jobs: map[string]*tagged{}, erased: map[string]bool{}, seen: map[int32]int64{},
				order: map[string]int64{}}
			fs := vfs.NewMem()
			i := w.start(8090, fs)
			defer func() { i.stop() }()
			alice := "alice"
			all := func(why string) {
				t.Helper()
				w.want(i, why, nil, nil)
				for _, tags := range []job.Tags{
					{"customer": "1"}, {"env": "2", "customer": "1"}, {"odd": `a:b, "é"`}, {"odd": "2"}, {"customer": "nobody"},
				} {
					w.want(i, why, tags, nil)
					w.want(i, why, tags, &alice)
				}
			}
			for n := range 60 {
				w.step(rnd)
				if n%8 == 0 {
					all(fmt.Sprintf("seed %d, step %d", seed, n))
				}
				switch n {
				case 10:
					time.Sleep(viewed) // there is a checkpoint between
				case 20:
					i.stop()
					i = w.start(8090, fs)
					all("with its store")
				case 30:
					w.expire()
				case 40:
					i.stop()
					fs = vfs.NewMem()
					i = w.start(8090, fs)
					all("from the view")
				}
			}
			i.stop()
			w.view = false
			i = w.start(8090, vfs.NewMem())
			all("from status alone")
		})
	}
}

// TestTagsOfRequests: a tracker refuses tags that no job can have, and more than it looks for at a time.
func TestTagsOfRequests(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		i := w.start(8090, vfs.NewMem())
		defer i.stop()
		five := make([]*trackerpb.Tag, job.MaxTagFilters+1)
		for n := range five {
			five[n] = &trackerpb.Tag{Key: fmt.Sprint("k", n), Value: "v"}
		}
		for _, tags := range [][]*trackerpb.Tag{{{Key: "a"}}, {{Value: "v"}}, {{Key: "a b", Value: "v"}}, {{}}, five} {
			_, err := i.api.List(t.Context(), connect.NewRequest(&trackerpb.ListRequest{
				Tenant: tenant, Partitions: allPartitions, Limit: 5, Tags: tags,
			}))
			wantCode(t, fmt.Sprint("a list of ", tags), err, connect.CodeInvalidArgument)
			_, err = i.api.Stats(t.Context(), connect.NewRequest(&trackerpb.StatsRequest{
				Tenant: tenant, Partitions: allPartitions, Tags: tags,
			}))
			wantCode(t, fmt.Sprint("counts of ", tags), err, connect.CodeInvalidArgument)
		}
	})
}
