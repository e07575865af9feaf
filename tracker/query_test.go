package tracker

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/tracker/store"
)

var allPartitions = []int32{0, 1, 2, 3}

func (i *instance) list(m *trackerpb.ListRequest) *trackerpb.ListResponse {
	i.w.t.Helper()
	if m.Tenant == "" {
		m.Tenant = tenant
	}
	if m.Limit == 0 {
		m.Limit = 500
	}
	if m.Partitions == nil {
		m.Partitions = allPartitions
	}
	r, err := i.api.List(i.w.t.Context(), connect.NewRequest(m))
	if err != nil {
		i.w.t.Fatal(err)
	}
	return r.Msg
}

func ids(r *trackerpb.ListResponse) (all []string) {
	for _, j := range r.Jobs {
		all = append(all, j.Job.JobId)
	}
	return all
}

// stats returns the counts by state.
func (i *instance) stats() map[string]int64 {
	i.w.t.Helper()
	r, err := i.api.Stats(i.w.t.Context(),
		connect.NewRequest(&trackerpb.StatsRequest{Tenant: tenant, Partitions: allPartitions}))
	if err != nil {
		i.w.t.Fatal(err)
	}
	counts := map[string]int64{}
	for _, c := range r.Msg.Counts {
		if c.Type != "demo.echo" || c.Lane != "default" || c.Jobs < 0 {
			i.w.t.Errorf("count %v", c)
		}
		counts[c.State] += c.Jobs
	}
	return counts
}

// Lists and counts have every change at once, whether a checkpoint has been written since or
// not.
func TestListsAndCountsAreFresh(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		i := w.start(8090, vfs.NewMem())
		defer i.stop()
		w.makeRequests()
		var want []string
		for n := range 30 {
			id := fmt.Sprintf("job-%02d", n)
			_, v := w.submit(id)
			i.doc(id, v)
			want = append([]string{id}, want...)
			if n%3 == 0 {
				v := w.append(&event.Event{Type: event.CancelRequested, JobID: id})
				i.doc(id, v)
			}
			if got := ids(i.list(&trackerpb.ListRequest{})); !slices.Equal(got, want) {
				t.Fatalf("after %d jobs the list is %v", n+1, got)
			}
			if got := i.stats(); got["cancelled"] != int64(n/3+1) || got["pending"] != int64(n-n/3) {
				t.Fatalf("after %d jobs: %v", n+1, got)
			}
			time.Sleep(time.Duration(n) * 17 * time.Millisecond)
		}
		if got := i.list(&trackerpb.ListRequest{States: []string{"cancelled"}}); len(got.Jobs) != 10 || got.Through != nil {
			t.Fatalf("cancelled: %v", ids(got))
		}
		if got := i.list(&trackerpb.ListRequest{Tenant: "umbrella"}); len(got.Jobs) != 0 {
			t.Fatalf("another tenant sees %v", ids(got))
		}
		var paged []string
		var after *trackerpb.Place
		for {
			page := i.list(&trackerpb.ListRequest{Limit: 7, After: after})
			paged = append(paged, ids(page)...)
			after = page.Through
			if after == nil {
				break
			}
		}
		if !slices.Equal(paged, want) {
			t.Fatalf("page by page: %v", paged)
		}
		time.Sleep(10 * time.Second)
		if old := time.Now().UnixMilli() - i.list(&trackerpb.ListRequest{}).AsOf; old > 2000 {
			t.Errorf("a list of a quiet log is %d ms old", old)
		}
	})
}

// Lists and counts of a scope are of its jobs only, whether a checkpoint has been written since or not.
func TestListsAndCountsOfAScope(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		i := w.start(8090, vfs.NewMem())
		defer i.stop()
		w.makeRequests()
		var last string
		for n, subject := range []string{"ann", "bob", "ann", "", "bob", "ann"} {
			last = fmt.Sprintf("job-%02d", n)
			_, v := w.submitAs(last, subject)
			i.doc(last, v)
			time.Sleep(time.Second) // so that the order is that of their creation
		}
		check := func(when string) {
			t.Helper()
			own := func(subject string, ids ...string) *trackerpb.Scope {
				return &trackerpb.Scope{Own: true, Subject: subject, JobIds: ids}
			}
			for why, c := range map[string]struct {
				scope    *trackerpb.Scope
				subjects []string
				want     string
			}{
				"all":            {nil, nil, "job-05 job-04 job-03 job-02 job-01 job-00"},
				"the tenant's":   {&trackerpb.Scope{}, nil, "job-05 job-04 job-03 job-02 job-01 job-00"},
				"ann's":          {own("ann"), nil, "job-05 job-02 job-00"},
				"ann's, by name": {own("ann"), []string{"ann", "bob"}, "job-05 job-02 job-00"},
				"bob's, by ann":  {own("ann"), []string{"bob"}, ""},
				"nobody's":       {&trackerpb.Scope{Own: true}, nil, "job-03"},
				"a grant's":      {&trackerpb.Scope{JobIds: []string{"job-01", "job-05", "job-99"}}, nil, "job-05 job-01"},
				"ann's grant's":  {own("ann", "job-01", "job-02"), nil, "job-02"},
				"of a type": {
					&trackerpb.Scope{Types: []string{"demo.echo"}, JobIds: []string{"job-01"}}, nil, "job-01",
				},
				"of another type":       {&trackerpb.Scope{Types: []string{"other"}}, nil, ""},
				"an operator's, as all": {&trackerpb.Scope{AnyTenant: true}, nil, "job-05 job-04 job-03 job-02 job-01 job-00"},
			} {
				got := strings.Join(ids(i.list(&trackerpb.ListRequest{Scope: c.scope, Subjects: c.subjects})), " ")
				if got != c.want {
					t.Errorf("%s, %s: %s, want %s", when, why, got, c.want)
				}
				if c.subjects != nil {
					continue
				}
				r, err := i.api.Stats(t.Context(), connect.NewRequest(&trackerpb.StatsRequest{
					Tenant: tenant, Partitions: allPartitions, Scope: c.scope,
				}))
				if err != nil {
					t.Fatal(err)
				}
				n := 0
				for _, count := range r.Msg.Counts {
					n += int(count.Jobs)
				}
				if n != len(strings.Fields(c.want)) {
					t.Errorf("%s, %s: counts %d, want %d", when, why, n, len(strings.Fields(c.want)))
				}
			}
		}
		check("at once")
		time.Sleep(10 * time.Second)
		check("after a checkpoint")
		v := w.append(&event.Event{Type: event.CancelRequested, JobID: last})
		i.doc(last, v)
		check("after another change")
	})
}

// TestBriefLists: a brief list has each job's round in place of its document, whether a checkpoint has been written
// since or not, and may have more jobs than another.
func TestBriefLists(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		i := w.start(8090, vfs.NewMem())
		defer i.stop()
		w.makeRequests()
		const all = 6
		retry := func(id string, round int) {
			t.Helper()
			i.doc(id, w.append(&event.Event{Type: event.CancelRequested, JobID: id, Round: round}))
			i.doc(id, w.append(&event.Event{Type: event.RetryRequested, JobID: id, Round: round}))
		}
		for n := range all {
			id := fmt.Sprintf("job-%02d", n)
			_, v := w.submit(id)
			i.doc(id, v)
			for round := range n % 3 {
				retry(id, round)
			}
			time.Sleep(time.Second) // so that the order is that of their creation
		}
		check := func(when string, want ...int64) {
			t.Helper()
			var rounds []int64
			var after *trackerpb.Place
			for {
				page := i.list(&trackerpb.ListRequest{Brief: true, Limit: 4, After: after})
				for _, j := range page.Jobs {
					rounds = append(rounds, j.Round)
					if j.Job.JobId != fmt.Sprintf("job-%02d", all-len(rounds)) || len(j.Job.Document) > 0 || j.Job.Version == 0 {
						t.Errorf("%s: %+v at place %d", when, j, len(rounds))
					}
				}
				after = page.Through
				if after == nil {
					break
				}
			}
			if !slices.Equal(rounds, want) {
				t.Errorf("%s: rounds %v, want %v", when, rounds, want)
			}
		}
		check("at once", 2, 1, 0, 2, 1, 0)
		time.Sleep(10 * time.Second)
		check("after a checkpoint", 2, 1, 0, 2, 1, 0)
		retry("job-00", 0)
		check("after another change", 2, 1, 0, 2, 1, 1)
		most := &trackerpb.ListRequest{Brief: true, Limit: maxBriefLimit}
		if got := i.list(most); len(got.Jobs) != all {
			t.Errorf("%d jobs", len(got.Jobs))
		}
		_, err := i.api.List(t.Context(), connect.NewRequest(&trackerpb.ListRequest{
			Brief: true, Limit: maxBriefLimit + 1, Tenant: tenant, Partitions: allPartitions,
		}))
		wantCode(t, "a larger limit", err, connect.CodeInvalidArgument)
	})
}

func TestBadLists(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		i := w.start(8090, vfs.NewMem())
		defer i.stop()
		for why, m := range map[string]*trackerpb.ListRequest{
			"no tenant":         {Limit: 1, Partitions: allPartitions},
			"no partitions":     {Limit: 1, Tenant: tenant},
			"a partition twice": {Limit: 1, Tenant: tenant, Partitions: []int32{1, 1}},
			"no limit":          {Tenant: tenant, Partitions: allPartitions},
			"a large limit":     {Limit: maxListLimit + 1, Tenant: tenant, Partitions: allPartitions},
			"no such state":     {Limit: 1, Tenant: tenant, Partitions: allPartitions, States: []string{"asleep"}},
			"many types": {
				Limit: 1, Tenant: tenant, Partitions: allPartitions,
				Types: strings.Split(strings.Repeat("x,", maxListFilter), ","),
			},
		} {
			_, err := i.api.List(t.Context(), connect.NewRequest(m))
			wantCode(t, why, err, connect.CodeInvalidArgument)
		}
		_, err := i.api.List(t.Context(), connect.NewRequest(&trackerpb.ListRequest{Limit: 1, Tenant: tenant,
			Partitions: []int32{99}}))
		wantCode(t, "a partition of nobody", err, connect.CodeFailedPrecondition)
		_, err = i.api.Stats(t.Context(), connect.NewRequest(&trackerpb.StatsRequest{Tenant: tenant}))
		wantCode(t, "no partitions", err, connect.CodeInvalidArgument)
	})
}

// Partitions are added to status, so keys move and jobs would be looked up in the wrong partition: every
// tracker stops.
func TestMorePartitions(t *testing.T) {
	withView(t, func(t *testing.T, w *world) {
		fs := vfs.NewMem()
		i := w.start(8090, fs)
		w.submit("job-1")
		time.Sleep(viewed)
		if _, err := kadm.NewClient(w.client).UpdatePartitions(t.Context(), 2*testPartitions, w.names.Status()); err != nil {
			t.Fatal(err)
		}
		stopped := func(why string, i *instance) {
			t.Helper()
			select {
			case err := <-i.ended:
				if err == nil || !strings.Contains(err.Error(), store.ErrPartitions.Error()) {
					t.Errorf("%s it ended with %v", why, err)
				}
			case <-time.After(time.Minute):
				t.Errorf("%s it goes on", why)
			}
			i.http.CloseIdleConnections()
		}
		stopped("while it ran", i)
		stopped("on its state", w.run(8090, fs))
		stopped("on an empty disk", w.run(8090, vfs.NewMem()))
	})
}
