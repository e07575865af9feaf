package upstream

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ackwire/ackwire/schemas/trackerpb"
)

func listed(created int64, id string, bytes int) *trackerpb.ListedJob {
	return &trackerpb.ListedJob{Created: created, Job: &trackerpb.Job{JobId: id, Document: make([]byte, bytes)}}
}

func page(asOf int64, through *trackerpb.Place, jobs ...*trackerpb.ListedJob) *trackerpb.ListResponse {
	return &trackerpb.ListResponse{Jobs: jobs, Through: through, AsOf: asOf}
}

func at(created int64, id string) *trackerpb.Place {
	return &trackerpb.Place{Created: created, JobId: id}
}

// text returns a page as "a b c", with "| 5 c" for its end.
func text(r *trackerpb.ListResponse) string {
	s := ""
	for _, j := range r.Jobs {
		s += j.Job.JobId + " "
	}
	if r.Through != nil {
		s += fmt.Sprintf("| %d %s", r.Through.Created, r.Through.JobId)
	}
	return s
}

func TestMergeLists(t *testing.T) {
	a := listed(9, "a", 10)
	b := listed(8, "b", 10)
	c := listed(8, "c", 10)
	d := listed(7, "d", 10)
	for _, tc := range []struct {
		what         string
		pages        []*trackerpb.ListResponse
		limit, bytes int
		want         string
	}{
		{"nobody has anything", []*trackerpb.ListResponse{page(1, nil), page(2, nil)}, 5, 100, ""},
		{
			"all, newest first, by ID within a millisecond",
			[]*trackerpb.ListResponse{page(1, nil, b, d), page(1, nil, a, c)}, 5, 100, "a b c d ",
		},
		{"exactly the limit is all", []*trackerpb.ListResponse{page(1, nil, b, d), page(1, nil, a, c)}, 4, 100, "a b c d "},
		{"cut at the limit", []*trackerpb.ListResponse{page(1, nil, b, d), page(1, nil, a, c)}, 2, 100, "a b | 8 b"},
		{
			"one looked less far", []*trackerpb.ListResponse{page(1, at(8, "b"), b), page(1, nil, a, c, d)}, 5, 100,
			"a b | 8 b",
		},
		{
			"the first end counts", []*trackerpb.ListResponse{page(1, at(7, "d"), d), page(1, at(8, "c"), a, c)}, 5,
			100, "a c | 8 c",
		},
		{
			"one looked at much and found nothing", []*trackerpb.ListResponse{page(1, at(9, "A")), page(1, nil, a, b)},
			5, 100, "| 9 A",
		},
		{
			"the limit before the first end", []*trackerpb.ListResponse{page(1, at(8, "b"), b), page(1, nil, a)}, 1,
			100, "a | 9 a",
		},
		{"cut at the bytes", []*trackerpb.ListResponse{page(1, nil, a, b, c, d)}, 5, 29, "a b | 8 b"},
		{"one document above the bytes", []*trackerpb.ListResponse{page(1, nil, a, b)}, 5, 1, "a | 9 a"},
	} {
		if got := text(mergeLists(tc.pages, tc.limit, tc.bytes)); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.what, got, tc.want)
		}
	}
	if got := mergeLists([]*trackerpb.ListResponse{page(7, nil), page(5, nil), page(6, nil)}, 1, 1).AsOf; got != 5 {
		t.Errorf("as of %d, want the least", got)
	}
}

// partition holds the jobs of one tracker, sorted.
type partition []*trackerpb.ListedJob

// list answers as a tracker may: at most limit jobs behind a place, and at times fewer.
func (p partition) list(r *rand.Rand, after *trackerpb.Place, limit int) *trackerpb.ListResponse {
	rest := p
	if after != nil {
		i := slices.IndexFunc(p, func(j *trackerpb.ListedJob) bool { return comparePlaces(placeOf(j), after) > 0 })
		if i < 0 {
			return page(1, nil)
		}
		rest = p[i:]
	}
	if r.IntN(4) == 0 {
		limit = 1 + r.IntN(limit) // few jobs matched
	}
	if len(rest) <= limit {
		return page(1, nil, rest...)
	}
	return page(1, placeOf(rest[limit-1]), rest[:limit]...)
}

// TestPagesAreTheSortedWhole splits random jobs over random partitions and pages through them
// with random limits: each job comes once, in order, even while new jobs are added in front.
func TestPagesAreTheSortedWhole(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 1))
		partitions := make([]partition, 1+r.IntN(6))
		now := int64(0)
		serial := 0
		var want []*trackerpb.ListedJob
		add := func() *trackerpb.ListedJob {
			serial++
			now += int64(r.IntN(2)) // several in one millisecond
			j := listed(now, fmt.Sprintf("%08x-%d", r.Uint32(), serial), r.IntN(200))
			i := r.IntN(len(partitions))
			partitions[i] = append(partitions[i], j)
			slices.SortFunc(partitions[i], func(a, b *trackerpb.ListedJob) int { return comparePlaces(placeOf(a), placeOf(b)) })
			return j
		}
		for range r.IntN(120) {
			want = append(want, add())
		}
		now++ // what comes later is newer
		slices.SortFunc(want, func(a, b *trackerpb.ListedJob) int { return comparePlaces(placeOf(a), placeOf(b)) })
		var got []*trackerpb.ListedJob
		var after *trackerpb.Place
		for first := true; first || after != nil; first = false {
			limit, maxBytes := 1+r.IntN(20), 1+r.IntN(2000)
			var pages []*trackerpb.ListResponse
			for _, p := range partitions {
				pages = append(pages, p.list(r, after, limit))
			}
			merged := mergeLists(pages, limit, maxBytes)
			if len(merged.Jobs) > limit {
				t.Fatalf("seed %d: a page of %d jobs, limit %d", seed, len(merged.Jobs), limit)
			}
			if after != nil && merged.Through != nil && comparePlaces(merged.Through, after) <= 0 {
				t.Fatalf("seed %d: the end does not move: %v then %v", seed, after, merged.Through)
			}
			got = append(got, merged.Jobs...)
			after = merged.Through
			for range r.IntN(3) {
				add()
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d: got %d jobs, want %d: %s\n%s", seed, len(got), len(want), text(page(0, nil, got...)),
				text(page(0, nil, want...)))
		}
	}
}

func TestMergeStats(t *testing.T) {
	count := func(jobType, lane, state string, n int64) *trackerpb.Count {
		return &trackerpb.Count{Type: jobType, Lane: lane, State: state, Jobs: n}
	}
	got := mergeStats([]*trackerpb.StatsResponse{
		{AsOf: 9, Counts: []*trackerpb.Count{count("b", "x", "pending", 1), count("a", "y", "failed", 2)},
			Waits: []*trackerpb.LaneWait{{Lane: "y", Since: 7}, {Lane: "x", Since: 5}}},
		{AsOf: 8, Counts: []*trackerpb.Count{count("b", "x", "pending", 4), count("b", "w", "pending", 8)},
			Waits: []*trackerpb.LaneWait{{Lane: "x", Since: 4}}},
		{AsOf: 10},
	})
	s := fmt.Sprint(got.AsOf)
	for _, c := range got.Counts {
		s += fmt.Sprintf(" %s/%s/%s=%d", c.Type, c.Lane, c.State, c.Jobs)
	}
	for _, l := range got.Waits {
		s += fmt.Sprintf(" %s since %d", l.Lane, l.Since)
	}
	if want := "8 a/y/failed=2 b/w/pending=8 b/x/pending=5 x since 4 y since 7"; s != want {
		t.Errorf("got %s, want %s", s, want)
	}
}

func TestPositions(t *testing.T) {
	var p positions
	p.note(3, 7)
	p.note(3, 5)
	p.note(1, 2)
	if got := p.of([]int32{0, 3}); len(got) != 1 || got[0].Partition != 3 || got[0].MinVersion != 7 {
		t.Errorf("got %v", got)
	}
}
