package gateway

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
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

// What is not UTF-8 is refused at every door, at once: no tracker is asked (there is none here).
func TestNotUTF8(t *testing.T) {
	g, err := New(letsIn(), quietEnv())
	if err != nil {
		t.Fatal(err)
	}
	g.build()
	handler := g.handler()
	for _, target := range []string{
		"/v1/jobs?subject=%ff", "/v1/jobs?%ff=1", "/v1/jobs?type=a%C3", "/v1/jobs?cursor=%80", "/v1/jobs?subject=%zz",
		"/v1/events?job=%ff", "/v1/events?mine=%ff", "/v1/ws?ticket=%ff", "/v1/ws?ticket=a&x=%ff",
		"/v1/jobs/%ff", "/v1/jobs/%ff/why", "/v1/jobs/%ff/result", "/v1/jobs/%ff/deliveries", "/v1/jobs/%ff/events",
		"/v1/stats?%ff", "/v1/%ff",
	} {
		for _, method := range []string{"GET", "POST"} {
			began, answer := time.Now(), httptest.NewRecorder()
			handler.ServeHTTP(answer, httptest.NewRequest(method, target, nil))
			if answer.Code != http.StatusBadRequest || !strings.Contains(answer.Body.String(), `"invalid_frame"`) ||
				time.Since(began) > time.Second {
				t.Errorf("%s %s: %d %s after %s", method, target, answer.Code, answer.Body, time.Since(began))
			}
		}
	}
}

func TestJobIDsOfEitherCase(t *testing.T) {
	const id = "01a208fd-2dc6-7467-acd5-bb987da2c71e"
	jobs, _, err := frame.ParseEventsQuery("job=" + strings.ToUpper(id) + "&job=" + id)
	if err != nil || !slices.Equal(jobs, []string{id}) {
		t.Errorf("events: %q, %v", jobs, err)
	}
	if got, ok := job.ParseID(strings.ToUpper(id)); !ok || got != id {
		t.Error(got)
	}
}

func quietEnv() service.Env {
	return service.Env{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}
}
