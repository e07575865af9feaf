package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/ackwire/ackwire/schemas/audit"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// audited returns the records of the topic audit, one line each.
func (w *world) audited() (lines []string) {
	w.t.Helper()
	for _, rec := range w.produced(w.names.Audit()) {
		r, err := audit.Decode(rec.Value)
		if err != nil {
			w.t.Fatalf("%s: %v", rec.Value, err)
		}
		if string(rec.Key) != r.Tenant || time.Since(r.At) < 0 || time.Since(r.At) > time.Hour {
			w.t.Errorf("key %s, record %s", rec.Key, rec.Value)
		}
		of, jobs := "", 0
		if r.Owner != nil {
			of = r.Owner.Tenant + "/" + r.Owner.Subject
		}
		if r.Grant != nil {
			jobs = len(r.Grant.Jobs)
		}
		lines = append(lines, fmt.Sprintf("%s %s/%s/%s %s %s of=%s job=%t jobs=%d type=%s", r.RequestID, r.Tenant, r.Subject,
			r.TokenID, r.Deed, r.Outcome, of, r.JobID != "", jobs, r.JobType))
		for _, secret := range []string{"eyJ", "secret payload"} {
			if strings.Contains(string(rec.Value), secret) {
				w.t.Errorf("the record has %q: %s", secret, rec.Value)
			}
		}
	}
	return lines
}

// named returns the headers of a request of a client whose token has an ID.
func (w *world) named(request, tenant, subject string, permissions ...string) http.Header {
	w.t.Helper()
	now := time.Now()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": "ackwire", "aud": "ackwire", "sub": subject, "tenant": tenant, "jti": "id-of-" + subject,
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "permissions": permissions,
	}).SignedString(testKey)
	if err != nil {
		w.t.Fatal(err)
	}
	return http.Header{
		"Authorization": {"Bearer " + token}, "X-Request-Id": {request}, "Content-Type": {"application/json"},
	}
}

// TestEachDeedIsAudited: each listed deed leaves one record with the right names, and nothing else leaves one.
func TestEachDeedIsAudited(t *testing.T) {
	inWorld(t, withGrants(t), func(t *testing.T, w *world) {
		w.tracker.set("acme", jobA, 7, job.Processing)
		w.tracker.set("acme", jobB, 7, job.Completed)
		w.orders("acme")
		do := func(request, method, path, who, body string, permissions ...string) {
			t.Helper()
			a := w.http(method, path, w.named(request, "acme", who, permissions...), strings.NewReader(body))
			if a.status == http.StatusUnauthorized {
				t.Fatalf("%s: %d %s", request, a.status, a.body)
			}
		}
		a, b := "/v1/jobs/"+jobA, "/v1/jobs/"+jobB
		do("r1", "GET", a, "bob", "", "read:tenant")
		do("r2", "POST", a+"/cancel", "bob", "", "read", "cancel") // he may not see it
		do("r3", "POST", a+"/cancel", testSubject, "", "cancel")   // one's own
		do("r4", "POST", a+"/cancel", "bob", "", "read", "cancel:tenant")
		do("r5", "POST", a+"/retry", "bob", "", "submit", "cancel:tenant")
		do("r6", "POST", "/v1/grants", "bob", `{"ttl":60,"jobs":["`+jobA+`"]}`, "read")
		do("r7", "POST", "/v1/jobs", "bob", `{"job":"demo.echo","payload":"secret payload","grant":{"ttl":60}}`,
			"submit", "read")
		do("r7b", "DELETE", a, testSubject, "", "read", "erase") // it runs again
		do("r8", "DELETE", b, testSubject, "", "read", "erase")
		do("r9", "DELETE", b, testSubject, "", "read", "erase") // it is gone
		want := []string{
			"r4 acme/bob/id-of-bob cancel invalid_state of=acme/alice job=true jobs=0 type=demo.echo",
			"r5 acme/bob/id-of-bob retry ok of=acme/alice job=true jobs=0 type=demo.echo",
			"r6 acme/bob/id-of-bob grantMade ok of= job=false jobs=1 type=",
			"r7 acme/bob/id-of-bob grantMade ok of= job=false jobs=1 type=",
			"r7b acme/alice/id-of-alice erase invalid_state of=acme/alice job=true jobs=0 type=demo.echo",
			"r8 acme/alice/id-of-alice erase ok of=acme/alice job=true jobs=0 type=demo.echo",
		}
		if got := w.audited(); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("records\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if n := w.gauge("ackwire_gateway_audit_records_total"); n != 6 {
			t.Errorf("%v are counted", n)
		}
	})
}

// TestDeedsOfASocketAreAudited: the request of a frame is the socket's connection.
func TestDeedsOfASocketAreAudited(t *testing.T) {
	inWorld(t, withGrants(t), func(t *testing.T, w *world) {
		w.tracker.set("acme", jobA, 7, job.Pending)
		w.orders("acme")
		c, _, err := w.dialRaw(dialOptions{header: w.named("", "acme", "bob", "submit", "read", "cancel:tenant")})
		if err != nil {
			t.Fatal(err)
		}
		var welcome frame.WelcomeFrame
		hello := c.want("a new session is welcomed", frame.Welcome).raw
		if err := json.Unmarshal([]byte(hello), &welcome); err != nil || welcome.Connection == "" {
			t.Fatalf("%s: %v", hello, err)
		}
		c.send(`{"type":"cancel","id":"1","jobId":%q}`, jobA)
		c.want("a cancel is acked", frame.Ack)
		c.send(`{"type":"retry","id":"2","jobId":%q}`, jobA)
		c.want("a retry is acked", frame.Ack)
		c.send(`{"type":"submit","id":"3","job":"demo.echo","payload":1,"grant":{"ttl":60}}`)
		c.want("a submit is acked", frame.Ack)
		want := []string{
			" acme/bob/id-of-bob cancel ok of=acme/alice job=true jobs=0 type=demo.echo",
			" acme/bob/id-of-bob retry ok of=acme/alice job=true jobs=0 type=demo.echo",
			" acme/bob/id-of-bob grantMade ok of= job=false jobs=1 type=",
		}
		w.eventually("all are written", func() bool { return len(w.audited()) == len(want) })
		for i, got := range w.audited() {
			if got != welcome.Connection+want[i] {
				t.Errorf("record %q, want %q of connection %q", got, want[i], welcome.Connection)
			}
		}
	})
}

// TestAuditWhileKafkaIsAway: erasures are refused, and the records of other deeds are counted as lost.
func TestAuditWhileKafkaIsAway(t *testing.T) {
	inWorld(t, withGrants(t), func(t *testing.T, w *world) {
		w.tracker.set("acme", jobA, 7, job.Completed)
		w.cluster.Close()
		a := w.http("POST", "/v1/grants", w.named("r1", "acme", "bob", "read"),
			strings.NewReader(`{"ttl":60,"jobs":["`+jobA+`"]}`))
		if a.status != http.StatusCreated {
			t.Errorf("a grant: %d %s", a.status, a.body)
		}
		a = w.http("DELETE", "/v1/jobs/"+jobA, w.named("r2", "acme", testSubject, "read", "erase"), nil)
		if a.code != "unavailable" && a.code != "indeterminate" || a.header.Get("Retry-After") == "" {
			t.Errorf("an erasure: %d %s", a.status, a.body)
		}
		w.eventually("the record is counted as lost", func() bool { return w.gauge("ackwire_gateway_audit_lost_total") == 2 })
	})
}

// TestAuditOff writes nothing.
func TestAuditOff(t *testing.T) {
	inWorld(t, func(c *Config) { tokensOnly(c); c.Audit = AuditOff }, func(t *testing.T, w *world) {
		w.tracker.set("acme", jobA, 7, job.Completed)
		w.orders("acme")
		a := w.http("DELETE", "/v1/jobs/"+jobA, w.header("acme", testSubject, "read", "erase"), nil)
		if n := w.gauge("ackwire_gateway_audit_records_total"); a.status != http.StatusNoContent || n != 0 {
			t.Errorf("%d %s, %v records", a.status, a.body, n)
		}
	})
}
