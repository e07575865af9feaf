package api

import (
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/gateway/auth"
)

// A subject may hold commas and blanks: as it is written, a comma separates, and %2C is of the value.
func TestSubjectsWithCommas(t *testing.T) {
	for query, want := range map[string][]string{
		"subject=alice,bob":                          {"alice", "bob"},
		"subject=alice&subject=bob":                  {"alice", "bob"},
		"subject=Doe%2C+Jane,bob":                    {"Doe, Jane", "bob"},
		"subject=%2C":                                {","},
		"subject=%20a%20":                            {" a "},
		"%73ubject=a":                                {"a"},
		"state=failed&subject=a%26b%3Dc&type=x%2Cy":  {"a&b=c"},
		url.Values{"subject": {"a,b", "c"}}.Encode(): {"a,b", "c"},
	} {
		req, err := listRequest(httptest.NewRequest("GET", "/v1/jobs?"+query, nil), auth.Identity{Tenant: "acme"})
		if err != nil || !slices.Equal(req.Subjects, want) {
			t.Errorf("%s: %q, %v", query, req.GetSubjects(), err)
		}
	}
	req, err := listRequest(httptest.NewRequest("GET", "/v1/jobs?state=pending%2Cfailed&type=a,b&lane=x%2C%20y", nil),
		auth.Identity{Tenant: "acme"})
	if err != nil || len(req.States) != 2 || len(req.Types) != 2 || !slices.Equal(req.Lanes, []string{"x", "y"}) {
		t.Errorf("names without commas: %v, %v", req, err)
	}
	for _, query := range []string{"subject=", "subject=a,", "subject=" + strings.Repeat("a", maxFilterChars+1)} {
		if _, err := listRequest(httptest.NewRequest("GET", "/v1/jobs?"+query, nil),
			auth.Identity{Tenant: "acme"}); err == nil {
			t.Errorf("%s was taken", query)
		}
	}
}

// FuzzSubjects: whatever a subject is, a client that encodes it asks for exactly that.
func FuzzSubjects(f *testing.F) {
	f.Add("a,b", "c d")
	f.Fuzz(func(t *testing.T, a, b string) {
		if got := written(url.Values{"subject": {a, b}, "other": {b}}.Encode(), "subject"); !slices.Equal(got,
			[]string{a, b}) {
			t.Errorf("%q, %q: %q", a, b, got)
		}
	})
}
