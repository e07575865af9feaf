package api

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

const jobA = "019c1db0-01c0-7a54-9d8e-3f1b5c7a9e02"

// TestListRequest: what the query makes of the request to the trackers.
func TestListRequest(t *testing.T) {
	id := auth.Identity{Tenant: "acme", Subject: "alice", Permissions: auth.Client | auth.ReadTenant}
	for _, tc := range []struct{ query, want string }{
		{"", `tenant:"acme" limit:50`},
		{
			"state=failed,pending&state=failed&type=a&type=b",
			`tenant:"acme" states:"failed" states:"pending" types:"a" types:"b" limit:50`,
		},
		{"lane=reports&subject=bob&mine=false&limit=500", `tenant:"acme" subjects:"bob" lanes:"reports" limit:500`},
		{"mine=true&limit=1", `tenant:"acme" subjects:"alice" limit:1`},
		{
			"createdAfter=1970-01-01T00:00:01Z&createdBefore=1970-01-01T01:00:02%2B01:00",
			`tenant:"acme" created_from:1000 created_before:2000 limit:50`,
		},
		{
			"updatedAfter=1970-01-01T00:00:01.0001Z&updatedBefore=1970-01-01T01:00:02+01:00",
			`tenant:"acme" updated_from:1001 updated_before:2000 limit:50`,
		},
	} {
		r, err := listRequest(&http.Request{URL: &url.URL{RawQuery: tc.query}}, id)
		if got := strings.ReplaceAll(fmt.Sprint(r), "  ", " "); err != nil || got != tc.want+" scope:{}" {
			t.Errorf("%s: got %s, %v, want %s", tc.query, got, err, tc.want)
		}
	}
	// Without a token: the jobs that nobody's subject submitted.
	if r, err := listRequest(&http.Request{URL: &url.URL{RawQuery: "mine=true"}},
		auth.Identity{Tenant: "local"}); err != nil || !slices.Equal(r.Subjects, []string{""}) {
		t.Errorf("mine without a token: %v, %v", r, err)
	}
	if _, err := listRequest(&http.Request{URL: &url.URL{RawQuery: "mine=true&subject=bob"}}, id); err == nil ||
		!strings.Contains(err.Error(), "mine and subject exclude") {
		t.Errorf("mine with a subject: %v", err)
	}
}

func TestCursor(t *testing.T) {
	req := &trackerpb.ListRequest{Tenant: "acme", States: []string{"failed"}, CreatedFrom: 5, Limit: 3}
	for _, want := range []*trackerpb.Place{{Created: 1_767_323_045_678, JobId: jobA}, {Created: -1},
		{Created: 1 << 62, JobId: "x"}} {
		got, err := decodeCursor(encodeCursor(want, req), req)
		if err != nil || got.Created != want.Created || got.JobId != want.JobId {
			t.Errorf("%v came back as %v, %v", want, got, err)
		}
	}
	cursor := encodeCursor(&trackerpb.Place{Created: 1, JobId: jobA}, req)
	if _, err := decodeCursor(cursor, &trackerpb.ListRequest{Tenant: "acme", States: []string{"failed"}, CreatedFrom: 5,
		Limit: 9}); err != nil {
		t.Errorf("another limit is no other filter: %v", err)
	}
	for _, other := range []*trackerpb.ListRequest{
		{Tenant: "acm", States: []string{"failed"}, CreatedFrom: 5}, {Tenant: "acme", Types: []string{"failed"},
			CreatedFrom: 5},
		{Tenant: "acme", States: []string{"failed"}, CreatedBefore: 5}, {Tenant: "acme", States: []string{"failed"},
			UpdatedFrom: 5},
		{Tenant: "acme", States: []string{"failed", "pending"}, CreatedFrom: 5}, {Tenant: "acme", States: []string{"failed"}},
	} {
		if _, err := decodeCursor(cursor, other); err == nil {
			t.Errorf("the cursor is taken with %v", other)
		}
	}
}
