package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/ackwire/ackwire/schemas"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/grant"
	"github.com/ackwire/ackwire/schemas/job"
)

var testGrantKey = strings.Repeat("g", 32)

// withGrants returns what configures a gateway that needs tokens, and takes grants.
func withGrants(t *testing.T) func(*Config) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "grant.key")
	if err := os.WriteFile(file, []byte(testGrantKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(c *Config) {
		tokensOnly(c)
		c.Auth.GrantKeyFile = file
	}
}

// grant makes one offline, as a backend does that has the key, of tenant acme and alice.
func (w *world) grant(ttl time.Duration, permissions string, jobs ...string) string {
	w.t.Helper()
	c, err := grant.New("acme", "alice", grant.Scope{Jobs: jobs}, strings.Fields(permissions), time.Now(), ttl)
	if err != nil {
		w.t.Fatal(err)
	}
	token, err := c.Sign([]byte(testGrantKey))
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

func authorized(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

// makeGrant makes one by POST /v1/grants.
func (w *world) makeGrant(token, body string) (frame.Grant, answer) {
	w.t.Helper()
	header := with(authorized(token), "Content-Type", "application/json")
	got := w.http("POST", "/v1/grants", header, strings.NewReader(body))
	var made frame.Grant
	if err := json.Unmarshal([]byte(got.body), &made); err != nil {
		w.t.Fatalf("POST /v1/grants: %d %s, %v", got.status, got.body, err)
	}
	return made, got
}

// TestPostGrants makes grants over HTTP.
func TestPostGrants(t *testing.T) {
	inWorld(t, withGrants(t), func(t *testing.T, w *world) {
		alice := w.token("acme", "alice", time.Hour)
		w.tracker.set("acme", jobA, 7, job.Processing)
		w.tracker.set("acme", jobB, 7, job.Processing)
		made, got := w.makeGrant(alice, `{"ttl":600,"jobs":["`+jobA+`"]}`)
		if got.status != http.StatusCreated || got.header.Get("Cache-Control") != "no-store" ||
			time.Until(made.ExpiresAt) > 10*time.Minute || time.Until(made.ExpiresAt) < 9*time.Minute {
			t.Fatalf("%d %v %s", got.status, got.header, got.body)
		}
		for path, status := range map[string]int{"/v1/jobs/" + jobA: 200, "/v1/jobs/" + jobB: 404, "/v1/jobs": 200} {
			if got := w.http("GET", path, authorized(made.Token), nil); got.status != status {
				t.Errorf("GET %s: %d %s", path, got.status, got.body)
			}
		}
		again, got := w.makeGrant(made.Token, `{"ttl":7200,"jobs":["`+jobA+`"]}`)
		if got.status != http.StatusCreated || !again.ExpiresAt.Equal(made.ExpiresAt) {
			t.Errorf("by a grant, for longer: %d %s", got.status, got.body)
		}
		hundred := make([]string, 101)
		for i := range hundred {
			hundred[i] = fmt.Sprintf("%q", fmt.Sprintf("0198c5c4-0000-7000-8000-%012d", i))
		}
		of := func(n int) string { return `{"ttl":60,"jobs":[` + strings.Join(hundred[:n], ",") + `]}` }
		for _, c := range []struct {
			what, token, body string
			status            int
			code              string
		}{
			{"for 100 jobs", alice, of(100), 201, ""},
			{"for 101 jobs", alice, of(101), 400, "invalid_frame"},
			{"for another job, by a grant", made.Token, `{"ttl":60,"jobs":["` + jobB + `"]}`, 403, "forbidden"},
			{"to cancel, by a grant to read", made.Token, `{"ttl":60,"permissions":["cancel"],"jobs":["` + jobA + `"]}`, 403,
				"forbidden"},
			{"to operate", alice, `{"ttl":60,"permissions":["operate"],"jobs":["` + jobA + `"]}`, 403, "forbidden"},
			{"for no jobs", alice, `{"ttl":60}`, 400, "invalid_frame"},
			{"for no time", alice, `{"jobs":["` + jobA + `"]}`, 400, "invalid_frame"},
			{"for ever", alice, `{"ttl":86401,"jobs":["` + jobA + `"]}`, 400, "invalid_frame"},
			{"jobs that are none", alice, `{"ttl":60,"jobs":"all"}`, 400, "invalid_frame"},
			{"no JSON", alice, `ttl=60`, 400, "invalid_frame"},
			{"forged", "x" + alice, of(1), 401, "unauthenticated"},
		} {
			if _, got := w.makeGrant(c.token, c.body); got.status != c.status || got.code != c.code {
				t.Errorf("%s: %d %s", c.what, got.status, got.body)
			}
		}
		large := `{"ttl":60,"jobs":["` + strings.Repeat("x", frame.MaxFrameBytes) + `"]}`
		if _, got := w.makeGrant(alice, large); got.status != 413 {
			t.Errorf("a body that is too large: %d %s", got.status, got.body)
		}
		if got := w.http("POST", "/v1/grants", authorized(alice), strings.NewReader(of(1))); got.status != 415 {
			t.Errorf("without a content type: %d", got.status)
		}
		time.Sleep(10*time.Minute + 31*time.Second)
		if got := w.http("GET", "/v1/jobs/"+jobA, authorized(made.Token), nil); got.status != 401 {
			t.Errorf("after its end: %d", got.status)
		}
	})
}

// TestGrantsAreMadeAtARate makes grants as fast as it can.
func TestGrantsAreMadeAtARate(t *testing.T) {
	configure := func(c *Config) {
		withGrants(t)(c)
		c.Limits.AskRate = 2
	}
	inWorld(t, configure, func(t *testing.T, w *world) {
		made := 0
		for range 100 {
			_, got := w.makeGrant(w.token("acme", "alice", time.Hour), `{"ttl":60,"jobs":["`+jobA+`"]}`)
			switch {
			case got.status == http.StatusCreated:
				made++
			case got.code != "rate_limited" || got.header.Get("Retry-After") == "":
				t.Fatalf("%d %v %s", got.status, got.header, got.body)
			}
		}
		if made < 20 || made > 25 {
			t.Errorf("%d were made at once, of 20", made)
		}
	})
}

// TestSubmitsWithAGrant: a submit over HTTP or a socket has a grant for its job in the ack, also when it is repeated.
func TestSubmitsWithAGrant(t *testing.T) {
	inWorld(t, withGrants(t), func(t *testing.T, w *world) {
		alice := w.token("acme", "alice", time.Hour)
		header := with(authorized(alice), "Content-Type", "application/json")
		c := w.dial(alice)
		submit := func(what, grant string) frame.AckFrame {
			t.Helper()
			body := `{"job":"demo.echo","payload":1,"key":"k","grant":` + grant
			header.Set("Prefer", "wait=5")
			got := w.http("POST", "/v1/jobs", header, strings.NewReader(body+"}"))
			c.send(`%s,"type":"submit","id":"1"}`, body)
			g := c.answerTo("1")
			var acks [2]frame.AckFrame
			for i, text := range []string{got.body, g.raw} {
				if err := json.Unmarshal([]byte(text), &acks[i]); err != nil || acks[i].Grant == nil {
					t.Fatalf("%s: %s, %v", what, text, err)
				}
			}
			if got.status != http.StatusAccepted || acks[0].JobID != acks[1].JobID || !acks[1].Duplicate {
				t.Errorf("%s: %d %s, then %s", what, got.status, got.body, g.raw)
			}
			for _, a := range acks {
				for path, status := range map[string]int{"/v1/jobs/" + a.JobID: 200, "/v1/jobs/" + jobB: 404} {
					if got := w.http("GET", path, authorized(a.Grant.Token), nil); got.status != status {
						t.Errorf("%s: GET %s: %d %s", what, path, got.status, got.body)
					}
				}
			}
			return acks[0]
		}
		w.tracker.set("acme", jobB, 7, job.Processing)
		first := submit("the first", `{"ttl":60}`)
		if left := time.Until(first.Grant.ExpiresAt); left > time.Minute || left < 55*time.Second {
			t.Errorf("it lasts %s", left)
		}
		cancels := submit("a repetition, to cancel", `{"ttl":60,"permissions":["cancel","read"]}`)
		got := w.http("POST", cancels.StatusURL+"/cancel", authorized(first.Grant.Token), nil)
		if got.status != http.StatusForbidden {
			t.Errorf("a cancel by a grant to read: %d %s", got.status, got.body)
		}
		if got := w.http("POST", cancels.StatusURL+"/cancel", authorized(cancels.Grant.Token), nil); got.status == 403 {
			t.Errorf("a cancel by a grant to cancel: %d %s", got.status, got.body)
		}
		for grant, code := range map[string]string{
			`{}`: "invalid_frame", `{"ttl":0}`: "invalid_frame", `{"ttl":86401}`: "invalid_frame", `true`: "invalid_frame",
			`{"ttl":60,"permissions":["operate"]}`: "forbidden", `{"ttl":60,"permissions":["fly"]}`: "invalid_frame",
		} {
			before := len(w.produced(w.names.Status()))
			body := `{"job":"demo.echo","payload":1,"grant":` + grant
			got := w.http("POST", "/v1/jobs", header, strings.NewReader(body+"}"))
			c.send(`%s,"type":"submit","id":"2"}`, body)
			if g := c.answerTo("2"); got.code != code || g.Code != code {
				t.Errorf("%s: %s and %s, want %s", grant, got.body, g.raw, code)
			}
			if after := len(w.produced(w.names.Status())); after != before {
				t.Errorf("%s: a job was made", grant)
			}
		}
	})
}

// operations returns those of OpenAPI by method and path, and whether each takes a grant in its URL.
func operations(t *testing.T) map[string]bool {
	t.Helper()
	b, err := schemas.Files.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	path, operation := "", ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\n")
		name, isName := strings.CutSuffix(strings.TrimLeft(line, " "), ":")
		switch indent := len(line) - len(strings.TrimLeft(line, " ")); {
		case indent == 2 && isName:
			path, operation = strings.NewReplacer("{id}", jobA, "{name}", "tokens").Replace(name), ""
		case indent == 4 && isName && name != "parameters" && strings.HasPrefix(path, "/v1/"):
			operation = strings.ToUpper(name) + " " + path
			all[operation] = false
		case indent == 6 && operation != "" && strings.HasPrefix(name, "security: "):
			all[operation] = strings.Contains(name, "{grant: []}")
		}
	}
	return all
}

// TestGrantsInURLs: a grant in a URL opens event streams and results, if it is limited to jobs and can only read; every
// other operation of OpenAPI refuses any.
func TestGrantsInURLs(t *testing.T) {
	inWorld(t, withGrants(t), func(t *testing.T, w *world) {
		w.tracker.set("acme", jobA, 7, job.Completed)
		w.tracker.set("acme", jobB, 7, job.Completed)
		types, err := grant.New("acme", "alice", grant.Scope{Types: []string{"demo.echo"}}, []string{"read"}, time.Now(),
			time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		byType, err := types.Sign([]byte(testGrantKey))
		if err != nil {
			t.Fatal(err)
		}
		narrow := w.grant(time.Hour, "read", jobA)
		refused := map[string]string{
			w.grant(time.Hour, "read cancel", jobA): "forbidden", w.grant(time.Hour, "submit", jobA): "forbidden",
			w.grant(time.Hour, "read operate", jobA): "forbidden", byType: "forbidden",
			w.token("acme", "alice", time.Hour): "forbidden", narrow[1:]: "unauthenticated", "": "unauthenticated",
			narrow + "&grant=" + narrow: "unauthenticated", testGrantKey: "unauthenticated",
		}
		var takes []string
		for operation, allowed := range operations(t) {
			method, path, _ := strings.Cut(operation, " ")
			path += "?"
			if path == "/v1/events?" {
				path += "job=" + jobA + "&"
			}
			header := http.Header{"Content-Type": {"application/json"}}
			open := w.http(method, path+"grant="+narrow, header, strings.NewReader("{}"))
			if allowed {
				takes = append(takes, operation)
				if open.status != 200 || open.header.Get("Referrer-Policy") != "no-referrer" {
					t.Errorf("%s: %d %s", operation, open.status, open.body)
				}
				for token, code := range refused {
					if got := w.http(method, path+"grant="+token, nil, nil); got.code != code && method != "HEAD" || got.status < 400 {
						t.Errorf("%s with %.500s: %d %s", operation, token, got.status, got.body)
					}
				}
				if got := w.http(method, path+"grant="+narrow, authorized(narrow), nil); got.status != 400 {
					t.Errorf("%s with a token besides: %d %s", operation, got.status, got.body)
				}
				other := strings.ReplaceAll(path, jobA, jobB) + "grant=" + narrow
				if got := w.http(method, other, nil, nil); got.status != 404 {
					t.Errorf("%s of another job: %d %s", operation, got.status, got.body)
				}
				continue
			}
			for _, header := range []http.Header{header, with(authorized(narrow), "Content-Type", "application/json")} {
				got := w.http(method, path+"grant="+narrow, header, strings.NewReader("{}"))
				if got.status != 403 || method != "HEAD" && got.code != "forbidden" {
					t.Errorf("%s: %d %s", operation, got.status, got.body)
				}
			}
		}
		slices.Sort(takes)
		want := []string{
			"GET /v1/events", "GET /v1/jobs/" + jobA + "/events", "GET /v1/jobs/" + jobA + "/result",
			"GET /v1/jobs/" + jobA + "/streams/tokens", "HEAD /v1/events", "HEAD /v1/jobs/" + jobA + "/events",
			"HEAD /v1/jobs/" + jobA + "/result", "HEAD /v1/jobs/" + jobA + "/streams/tokens",
		}
		if !slices.Equal(takes, want) {
			t.Errorf("openapi.yaml says that these take a grant in the URL: %q", takes)
		}
	})
}

// told reads a socket to its end, and returns the types of its frames and at last the code of its close.
func (c *client) told() <-chan string {
	all := make(chan string, 100)
	go func() {
		defer close(all)
		for {
			g, err := c.read(24 * time.Hour)
			if err != nil {
				all <- fmt.Sprint(int(websocket.CloseStatus(err)))
				return
			}
			all <- string(g.Type)
		}
	}()
	return all
}

// TestAGrantEndsOnOpenConnections: a socket is warned and closed, an event stream is warned and ends, and an
// EventSource then stops, so that its page gets another grant.
func TestAGrantEndsOnOpenConnections(t *testing.T) {
	inWorld(t, withGrants(t), func(t *testing.T, w *world) {
		w.tracker.set("acme", jobA, 7, job.Processing)
		old := w.grant(time.Minute, "read", jobA)
		c, renewed := w.dial(old), w.dial(old)
		ends, goesOn := c.told(), renewed.told()
		want := func(what string, from <-chan string, want string) {
			t.Helper()
			synctest.Wait()
			select {
			case got := <-from:
				if got != want {
					t.Errorf("%s: %s, want %s", what, got, want)
				}
			default:
				t.Errorf("%s: nothing, want %s", what, want)
			}
		}
		source := w.source("/v1/jobs/"+jobA+"/events?grant="+old, "")
		time.Sleep(54*time.Second + 100*time.Millisecond)
		want("a tenth before its end", ends, "expiring")
		want("a tenth before its end", goesOn, "expiring")
		renewed.send(`{"type":"auth","id":"1","token":%q}`, w.grant(time.Hour, "read", jobA))
		want("another grant", goesOn, "welcome")
		time.Sleep(40 * time.Second)
		want("after its end", ends, "4002")
		renewed.send(`{"type":"ping","id":"2"}`)
		want("with another grant", goesOn, "pong")
		source.wantSeen("it is told of the end", map[string]string{jobA: "a", "": "-"}, "a processing, - , - ")
		source.wantStopped("the grant has ended", http.StatusUnauthorized, 2)
		w.tracker.set("acme", jobA, 8, job.Completed)
		again := w.source("/v1/jobs/"+jobA+"/events?grant="+w.grant(time.Minute, "read", jobA), "7")
		again.wantStopped("the job has ended", http.StatusNoContent, 2)
		again.wantSeen("what it has missed", jobNames, "a completed")
	})
}

// TestTicketsForEventStreams: a ticket opens one event stream, with what its holder may do.
func TestTicketsForEventStreams(t *testing.T) {
	inWorld(t, withGrants(t), func(t *testing.T, w *world) {
		w.tracker.set("acme", jobA, 7, job.Completed)
		w.tracker.set("acme", jobB, 7, job.Completed)
		alice := authorized(w.token("acme", "alice", time.Hour))
		byGrant := authorized(w.grant(time.Hour, "read", jobA))
		for _, path := range []string{"/v1/events?job=" + jobA + "&", "/v1/jobs/" + jobA + "/events?"} {
			for what, header := range map[string]http.Header{"a token": alice, "a grant": byGrant} {
				ticket := w.ticket(header).Ticket
				if got := w.http("GET", path+"ticket="+ticket, nil, nil); got.status != 200 || !strings.Contains(got.body, jobA) {
					t.Errorf("%s by %s: %d %s", path, what, got.status, got.body)
				}
				got := w.http("GET", path+"ticket="+ticket, nil, nil)
				if got.status != 401 || strings.Contains(got.body, ticket) {
					t.Errorf("%s by %s, again: %d %s", path, what, got.status, got.body)
				}
			}
			other := strings.ReplaceAll(path, jobA, jobB)
			if got := w.http("GET", other+"ticket="+w.ticket(byGrant).Ticket, nil, nil); got.status != 404 {
				t.Errorf("%s by another job's: %d %s", other, got.status, got.body)
			}
			submits, err := SignToken(testKey, "acme", "alice", time.Hour, "submit")
			if err != nil {
				t.Fatal(err)
			}
			ticket := w.ticket(authorized(submits)).Ticket
			if got := w.http("GET", path+"ticket="+ticket, nil, nil); got.status != 403 {
				t.Errorf("%s by one who may not read: %d %s", path, got.status, got.body)
			}
		}
		if got := w.http("GET", "/v1/jobs/"+jobA+"?ticket="+w.ticket(alice).Ticket, nil, nil); got.status != 401 {
			t.Errorf("a ticket elsewhere: %d %s", got.status, got.body)
		}
	})
}

// TestGrantsAreCountedByJob: behind the grants for a job are many people, so they do not use up the sessions of the
// subject that has submitted it.
func TestGrantsAreCountedByJob(t *testing.T) {
	configure := func(c *Config) {
		withGrants(t)(c)
		c.Limits.SubjectSessions = 2
	}
	inWorld(t, configure, func(t *testing.T, w *world) {
		open := func(token string) (*client, int) {
			c, r, err := w.dialRaw(dialOptions{header: authorized(token)})
			if err != nil {
				return nil, r.StatusCode
			}
			c.want("it is let in", frame.Welcome)
			return c, 101
		}
		var first *client
		for what, token := range map[string]string{
			"alice": w.token("acme", "alice", time.Hour), "a": w.grant(time.Hour, "read", jobA),
			"b": w.grant(time.Hour, "read", jobB),
		} {
			for i, want := range []int{101, 101, 429} {
				c, status := open(token)
				if status != want {
					t.Errorf("socket %d of %s: %d", i, what, status)
				}
				if i == 0 && what == "a" {
					first = c
				}
			}
		}
		// A socket that goes on with the grant for another job is counted there.
		first.send(`{"type":"auth","id":"1","token":%q}`, w.grant(time.Hour, "read", jobB))
		first.wantError("there is no room for it", "limit_exceeded")
		first.send(`{"type":"auth","id":"2","token":%q}`, w.grant(time.Hour, "read", jobC))
		first.want("there is room", frame.Welcome)
		if _, status := open(w.grant(time.Hour, "read", jobA)); status != 101 {
			t.Errorf("in place of the socket that has left: %d", status)
		}
	})
}

// TestGrantsAcrossOrigins: a page of an allowed origin follows a job by EventSource, which sends no header of its own.
func TestGrantsAcrossOrigins(t *testing.T) {
	configure := func(c *Config) {
		withGrants(t)(c)
		c.AllowedOrigins = []string{"app.example"}
	}
	inWorld(t, configure, func(t *testing.T, w *world) {
		w.tracker.set("acme", jobA, 7, job.Completed)
		for origin, allowed := range map[string]string{
			"https://app.example": "https://app.example", "https://evil.example": "",
		} {
			path := "/v1/jobs/" + jobA + "/events?grant=" + w.grant(time.Hour, "read", jobA)
			got := w.http("GET", path, http.Header{"Origin": {origin}, "Last-Event-Id": {"3"}}, nil)
			if got.status != 200 || got.header.Get("Access-Control-Allow-Origin") != allowed ||
				got.header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s: %d %v", origin, got.status, got.header)
			}
		}
	})
}
