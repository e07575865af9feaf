package gateway

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/jobtypes"
)

// TestJobTypes: a client is told the rules of each job type, and with a grant only of those that the grant names.
func TestJobTypes(t *testing.T) {
	inWorld(t, withGrants(t), func(t *testing.T, w *world) {
		reader := w.named("r", "acme", "alice", "read", "submit")
		get := func(who http.Header) (names string, types []frame.JobType, tag string) {
			t.Helper()
			a := w.http("GET", "/v1/job-types", who, nil)
			var all frame.JobTypes
			if err := json.Unmarshal([]byte(a.body), &all); err != nil || a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			for _, one := range all.JobTypes {
				names += one.Type + " "
			}
			return strings.TrimSpace(names), all.JobTypes, a.header.Get("ETag")
		}
		declared, err := jobtypes.Load("")
		if err != nil {
			t.Fatal(err)
		}
		names, types, tag := get(reader)
		if !strings.Contains(names, "demo.echo demo.") {
			t.Errorf("types %s", names)
		}
		for _, one := range types {
			known := declared[one.Type]
			if one.Lane != known.Lane || one.Policy != known.Policy || one.MaxPayload != known.MaxPayload {
				t.Errorf("%+v, declared as %+v", one, known)
			}
			if (one.PayloadSchema != nil) != (known.PayloadSchema() != nil) {
				t.Errorf("%s has the schema %s", one.Type, one.PayloadSchema)
			}
		}
		again := reader.Clone()
		again.Set("If-None-Match", tag)
		if a := w.http("GET", "/v1/job-types", again, nil); a.status != http.StatusNotModified || a.body != "" {
			t.Errorf("the same again: %d %s", a.status, a.body)
		}
		w.tracker.set("acme", jobA, 1, job.Completed)
		for body, want := range map[string]string{
			`{"ttl":60,"types":["demo.sleep"],"permissions":["read"]}`:  "demo.sleep",
			`{"ttl":60,"jobs":["` + jobA + `"],"permissions":["read"]}`: "",
		} {
			a := w.http("POST", "/v1/grants", reader, strings.NewReader(body))
			var grant frame.Grant
			if err := json.Unmarshal([]byte(a.body), &grant); err != nil || grant.Token == "" {
				t.Fatalf("%s: %d %s", body, a.status, a.body)
			}
			if got, _, other := get(http.Header{"Authorization": {"Bearer " + grant.Token}}); got != want || other == tag {
				t.Errorf("with %s: %q, want %q", body, got, want)
			}
		}
		if a := w.http("GET", "/v1/job-types", w.named("r", "acme", "alice", "submit"), nil); a.code != "forbidden" {
			t.Errorf("without read: %d %s", a.status, a.body)
		}
		if a := w.http("GET", "/v1/job-types?x=1", reader, nil); a.code != "invalid_frame" {
			t.Errorf("with a parameter: %d %s", a.status, a.body)
		}
	})
}
