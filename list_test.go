package ackwire

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

func TestListQuery(t *testing.T) {
	berlin := time.FixedZone("", 3600)
	for _, tc := range []struct {
		o    ListOptions
		want string
	}{
		{ListOptions{}, ""},
		{ListOptions{
			States: []job.State{job.Failed, job.Pending}, Types: []string{"a b"}, Lanes: []string{"x"},
			Subjects: []string{"s&t"},
		},
			"lane=x&state=failed&state=pending&subject=s%26t&type=a+b"},
		{ListOptions{Mine: true, Limit: 7, Cursor: "c-_"}, "cursor=c-_&limit=7&mine=true"},
		{ListOptions{Tenant: "a&b"}, "tenant=a%26b"},
		{ListOptions{Tags: map[string]string{"customer": "c-17,x"}}, "tag=customer%3Ac-17%2Cx"},
		{ListOptions{
			CreatedAfter:  time.Date(2026, 1, 2, 1, 0, 0, 5e6, berlin),
			UpdatedBefore: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC),
		},
			"createdAfter=2026-01-02T00%3A00%3A00.005Z&updatedBefore=2026-01-02T00%3A00%3A00Z"},
		{ListOptions{CreatedBefore: time.Unix(1, 0), UpdatedAfter: time.Unix(2, 0)},
			"createdBefore=1970-01-01T00%3A00%3A01Z&updatedAfter=1970-01-01T00%3A00%3A02Z"},
	} {
		if got := tc.o.query().Encode(); got != tc.want {
			t.Errorf("got %s, want %s", got, tc.want)
		}
	}
}

// pages answers a list with three pages, of which the middle one is empty, then an error.
func pages(w http.ResponseWriter, r *http.Request) {
	next := map[string]string{
		"": `{"jobs":[` + document("j3", "pending") + `,` + document("j2", "failed") +
			`],"nextCursor":"b","asOf":"2026-01-02T03:04:05Z"}`,
		"b": `{"jobs":[],"nextCursor":"c","asOf":"2026-01-02T03:04:05Z"}`,
		"c": `{"jobs":[` + document("j1", "completed") + `],"asOf":"2026-01-02T03:04:05Z"}`,
	}
	q := r.URL.Query()
	page, ok := next[q.Get("cursor")]
	if !ok || q.Get("limit") != "2" {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"code":"invalid_frame","title":"Invalid frame","detail":"cursor is not one of this API","retryable":false}`)
		return
	}
	fmt.Fprint(w, page)
}

func TestList(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		s.query = pages
		page, err := overHTTP(t, "http://ackwire.test", s.transport()).List(t.Context(), ListOptions{Limit: 2})
		if err != nil || len(page.Jobs) != 2 || page.Jobs[1].State != job.Failed ||
			string(page.Jobs[0].Raw) != document("j3", "pending") ||
			page.NextCursor != "b" || page.AsOf.Unix() != 1_767_323_045 {
			t.Errorf("%+v, %v", page, err)
		}
		_, err = overHTTP(t, "http://ackwire.test", s.transport()).List(t.Context(), ListOptions{Limit: 2, Cursor: "x"})
		if CodeOf(err) != code.InvalidFrame || !strings.Contains(err.Error(), "cursor is not one") {
			t.Errorf("a bad cursor: %v", err)
		}
		for _, bad := range []string{"{", `{"jobs":[7]}`, `{"jobs":{}}`} {
			s.query = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, bad) }
			if _, err := overHTTP(t, "http://ackwire.test", s.transport()).List(t.Context(), ListOptions{}); err == nil ||
				CodeOf(err) != "" {
				t.Errorf("the answer %s: %v", bad, err)
			}
		}
	})
}

func TestAll(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		s.query = pages
		c, _ := s.dial()
		var got []string
		for st, err := range c.All(t.Context(), ListOptions{Limit: 2}) {
			got = append(got, fmt.Sprint(st.JobID, " ", err))
		}
		if strings.Join(got, ", ") != "j3 <nil>, j2 <nil>, j1 <nil>" {
			t.Errorf("got %v", got)
		}
		for st, err := range c.All(t.Context(), ListOptions{Limit: 2}) {
			if st.JobID != "j3" {
				t.Errorf("a loop that was left goes on with %s, %v", st.JobID, err)
			}
			break
		}
		var errs []error
		for _, err := range c.All(t.Context(), ListOptions{}) {
			errs = append(errs, err)
		}
		if len(errs) != 1 || CodeOf(errs[0]) != code.InvalidFrame {
			t.Errorf("errors %v", errs)
		}
		_ = c.Close()
		for _, err := range c.All(t.Context(), ListOptions{}) {
			if err != ErrClosed {
				t.Errorf("a closed client: %v", err)
			}
		}
	})
}

func TestStatsAndWhy(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		counted := make(chan string, 8) // the queries of GET /v1/stats
		s.query = func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Header.Get("Authorization") != "Bearer good":
				w.WriteHeader(http.StatusUnauthorized)
			case r.URL.Path == "/v1/job-types":
				fmt.Fprint(w, `{"jobTypes":[{"type":"a","lane":"l","policy":{"attempts":3},"maxPayload":9,"payloadSchema":{"type":"string"}}]}`)
			case r.URL.Path == "/v1/stats":
				counted <- r.URL.Query().Encode()
				fmt.Fprint(w, `{"counts":[{"type":"a","lane":"l","state":"failed","jobs":3}],"lanes":[{"lane":"l","workers":1,"waiting":2}],"asOf":"2026-01-02T03:04:05Z"}`)
			case r.URL.Path == "/v1/jobs/j1/why":
				fmt.Fprint(w, `{"jobId":"j1","state":"pending","reason":"no_workers","detail":"No worker.","lane":"l","workers":0,"waiting":2,"ahead":1,"asOf":"2026-01-02T03:04:05Z"}`)
			default:
				w.WriteHeader(http.StatusNotFound)
			}
		}
		c, _ := s.dial(WithToken("good"))
		stats, err := c.Stats(t.Context())
		if err != nil || len(stats.Counts) != 1 || stats.Counts[0].Jobs != 3 || stats.Lanes[0].Waiting != 2 {
			t.Errorf("%+v, %v", stats, err)
		}
		some := []StatsOption{CountTags(map[string]string{"a": "1,2", "b": "3"}), CountTenant("globex")}
		if _, err := c.Stats(t.Context(), some...); err != nil {
			t.Error(err)
		}
		over := overHTTP(t, "http://ackwire.test", s.transport(), WithToken("good"))
		if _, err := over.Stats(t.Context(), CountTenant("globex")); err != nil {
			t.Error(err)
		}
		asked := []string{<-counted, <-counted, <-counted}
		if want := []string{"", "tag=a%3A1%2C2&tag=b%3A3&tenant=globex", "tenant=globex"}; asked[0] != want[0] ||
			asked[1] != want[1] && asked[1] != "tag=b%3A3&tag=a%3A1%2C2&tenant=globex" || asked[2] != want[2] {
			t.Errorf("asked for %q, want %q", asked, want)
		}
		why, err := c.Job("j1").Why(t.Context())
		if err != nil || why.Reason != frame.NoWorkers || *why.Workers != 0 || *why.Waiting != 2 || why.Ahead != 1 ||
			why.NextAt != nil {
			t.Errorf("%+v, %v", why, err)
		}
		types, err := c.JobTypes(t.Context())
		if err != nil || len(types) != 1 || types[0].Policy.Attempts != 3 || string(types[0].PayloadSchema) !=
			`{"type":"string"}` {
			t.Errorf("%+v, %v", types, err)
		}
		for _, id := range []string{"j2", "", "a/b"} {
			if _, err := c.Job(id).Why(t.Context()); CodeOf(err) != code.NotFound {
				t.Errorf("why %q: %v", id, err)
			}
		}
		if _, err := overHTTP(t, "http://ackwire.test", s.transport(), WithToken("bad")).Stats(t.Context()); CodeOf(
			err) != code.Unauthenticated {
			t.Errorf("a bad token: %v", err)
		}
		if _, err := overHTTP(t, "http://ackwire.test", s.transport()).Job("j1").Why(t.Context()); CodeOf(
			err) != code.Unauthenticated {
			t.Errorf("no token: %v", err)
		}
	})
}
