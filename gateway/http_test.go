package gateway

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
)

var asJSON = http.Header{"Content-Type": {"application/json"}}

func with(h http.Header, key, value string) http.Header {
	h = h.Clone()
	h.Set(key, value)
	return h
}

const echo = `{"job":"demo.echo","payload":{"n":1}}`

// TestBadRequests: each is answered with a problem of its code and status.
func TestBadRequests(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		for _, bad := range []struct {
			what, method, path string
			header             http.Header
			body               string
			status             int
			code               string
		}{
			{"no such route", "GET", "/v2/jobs", nil, "", 404, "not_found"},
			{"no such job", "GET", "/v1/jobs/" + jobA, nil, "", 404, "not_found"},
			{"an ID that is none", "GET", "/v1/jobs/7", nil, "", 404, "not_found"},
			{"the wrong method", "PATCH", "/v1/jobs/" + jobA, nil, "", 405, "method_not_allowed"},
			{"the wrong method of all jobs", "PUT", "/v1/jobs", asJSON, echo, 405, "method_not_allowed"},
			{"no content type", "POST", "/v1/jobs", nil, echo, 415, "unsupported_media_type"},
			{
				"another content type", "POST", "/v1/jobs", http.Header{"Content-Type": {"text/plain"}}, echo, 415,
				"unsupported_media_type",
			},
			{"no body", "POST", "/v1/jobs", asJSON, "", 400, "invalid_frame"},
			{"not JSON", "POST", "/v1/jobs", asJSON, "job=demo.echo", 400, "invalid_frame"},
			{"an array", "POST", "/v1/jobs", asJSON, "[]", 400, "invalid_frame"},
			{
				"10,000 levels", "POST", "/v1/jobs", asJSON,
				`{"job":"demo.echo","payload":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + "}", 400,
				"invalid_frame",
			},
			{"invalid UTF-8", "POST", "/v1/jobs", asJSON, "{\"job\":\"demo.echo\",\"payload\":\"\xff\"}", 400, "invalid_frame"},
			{
				"10 MB", "POST", "/v1/jobs", asJSON,
				`{"job":"demo.echo","payload":"` + strings.Repeat("x", 10<<20) + `"}`, 413, "payload_too_large",
			},
			{"an unknown job", "POST", "/v1/jobs", asJSON, `{"job":"x","payload":1}`, 422, "unknown_job_type"},
			{
				"against the schema", "POST", "/v1/jobs", asJSON, `{"job":"demo.sleep","payload":{"seconds":-1}}`, 422,
				"validation_failed",
			},
			{
				"a key that is not UTF-8", "POST", "/v1/jobs", with(asJSON, "Idempotency-Key", "a\xffb"), echo, 400,
				"invalid_frame",
			},
			{
				"a quoted key that is not UTF-8", "POST", "/v1/jobs", with(asJSON, "Idempotency-Key", "\"a\xc3\""), echo,
				400, "invalid_frame",
			},
			{
				"two headers with a key", "POST", "/v1/jobs",
				http.Header{"Content-Type": {"application/json"}, "Idempotency-Key": {"a", "a"}}, echo, 400, "invalid_frame",
			},
			{"a key that does not end", "POST", "/v1/jobs", with(asJSON, "Idempotency-Key", `"a`), echo, 400, "invalid_frame"},
			{
				"a key with parameters", "POST", "/v1/jobs", with(asJSON, "Idempotency-Key", `"a";b=1`), echo, 400,
				"invalid_frame",
			},
			{
				"two keys", "POST", "/v1/jobs", with(asJSON, "Idempotency-Key", `"a"`),
				`{"job":"demo.echo","payload":1,"key":"b"}`, 400, "invalid_frame",
			},
			{"a wait that is no number", "POST", "/v1/jobs", with(asJSON, "Prefer", "wait=soon"), echo, 400, "invalid_frame"},
			{"a bad token", "POST", "/v1/jobs", with(asJSON, "Authorization", "Bearer x"), echo, 401, "unauthenticated"},
			{"a socket without an upgrade", "GET", "/v1/ws", nil, "", 426, "upgrade_required"},
			{
				"an upgrade to something else", "GET", "/v1/ws",
				http.Header{"Connection": {"upgrade"}, "Upgrade": {"h2c"}}, "", 426, "upgrade_required",
			},
			{
				"a handshake of an old version", "GET", "/v1/ws",
				http.Header{"Connection": {"upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"8"}}, "", 400,
				"invalid_frame",
			},
			{
				"a handshake without a key", "GET", "/v1/ws",
				http.Header{"Connection": {"upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}}, "",
				400, "invalid_frame",
			},
			{
				"a handshake with a long key", "GET", "/v1/ws",
				http.Header{
					"Connection": {"upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
					"Sec-Websocket-Key": {strings.Repeat("é", 1000)},
				},
				"", 400, "invalid_frame",
			},
		} {
			a := w.http(bad.method, bad.path, bad.header, strings.NewReader(bad.body))
			if a.status != bad.status || a.code != bad.code {
				t.Errorf("%s: want %d %s, got %d %.200s", bad.what, bad.status, bad.code, a.status, a.body)
			}
			if bad.code == "" {
				continue
			}
			if got := a.header.Get("Content-Type"); got != "application/problem+json" {
				t.Errorf("%s: content type %s", bad.what, got)
			}
			var p frame.Problem
			if err := json.Unmarshal([]byte(a.body), &p); err != nil || p.Status != a.status || p.Title == "" {
				t.Errorf("%s: problem %s", bad.what, a.body)
			}
			switch {
			case bad.status == 426 && a.header.Get("Upgrade") != "websocket":
				t.Errorf("%s: upgrade to %q", bad.what, a.header.Get("Upgrade"))
			case bad.status == 405 && a.header.Get("Allow") == "":
				t.Errorf("%s: no Allow", bad.what)
			case bad.status == 401 && a.header.Get("WWW-Authenticate") == "":
				t.Errorf("%s: no WWW-Authenticate", bad.what)
			case bad.code == "validation_failed" && p.Errors[0].Pointer != "/seconds":
				t.Errorf("%s: errors %v", bad.what, p.Errors)
			}
		}
		if n := w.gauge("ackwire_gateway_submits_total", "acked"); n != 0 {
			t.Errorf("%v jobs were made of bad requests", n)
		}
	})
}

func TestPostAndGet(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		a := w.http("POST", "/v1/jobs", asJSON, strings.NewReader(echo))
		var ack frame.AckFrame
		if err := json.Unmarshal([]byte(a.body), &ack); err != nil || a.status != 202 ||
			a.header.Get("Location") != ack.StatusURL ||
			a.header.Get("Retry-After") == "" || ack.State != "pending" {
			t.Fatalf("POST: %d %v %s", a.status, a.header, a.body)
		}
		w.eventually("the tracker knows the job", func() bool { return w.tracker.version(ack.JobID) > 0 })
		got := w.http("GET", ack.StatusURL, nil, nil)
		tag := got.header.Get("ETag")
		if got.status != 200 || tag == "" || !strings.Contains(got.body, `"pending"`) {
			t.Fatalf("GET: %d %v %s", got.status, got.header, got.body)
		}
		if same := w.http("GET", ack.StatusURL, http.Header{"If-None-Match": {"W/" + tag}}, nil); same.status != 304 ||
			same.body != "" {
			t.Errorf("If-None-Match: %d %s", same.status, same.body)
		}
		if head := w.http("HEAD", ack.StatusURL, nil, nil); head.status != 200 || head.body != "" ||
			head.header.Get("ETag") != tag {
			t.Errorf("HEAD: %d %v %s", head.status, head.header, head.body)
		}

		ended := make(chan answer, 1)
		began := time.Now()
		go func() { ended <- w.http("GET", ack.StatusURL, http.Header{"Prefer": {"respond-async, wait=30"}}, nil) }()
		time.Sleep(5 * time.Second)
		w.tracker.set("local", ack.JobID, 99, job.Completed)
		poll := <-ended
		if took := time.Since(began); poll.status != 200 || !strings.Contains(poll.body, `"completed"`) ||
			took > 6*time.Second ||
			poll.header.Get("Preference-Applied") != "wait=30" {
			t.Errorf("a long poll: %d after %s: %s", poll.status, took, poll.body)
		}
		began = time.Now()
		late := w.http("POST", "/v1/jobs", with(asJSON, "Prefer", "wait=3"), strings.NewReader(echo))
		if took := time.Since(began); late.status != 202 || took < 3*time.Second || took > 4*time.Second {
			t.Errorf("a POST that waits for a job that takes longer: %d after %s", late.status, took)
		}
	})
}

func TestTheSameKey(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		post := func(key, payload string) (answer, frame.AckFrame) {
			a := w.http("POST", "/v1/jobs", with(asJSON, "Idempotency-Key", key),
				strings.NewReader(`{"job":"demo.echo","payload":`+payload+`}`))
			var ack frame.AckFrame
			_ = json.Unmarshal([]byte(a.body), &ack)
			return a, ack
		}
		_, first := post(`"k1"`, `{"a":1,"b":2}`)
		if first.JobID == "" || first.Duplicate {
			t.Fatalf("first: %+v", first)
		}
		if _, bare := post(`a"b\`, `1`); bare.JobID != "" {
			t.Errorf("a quote in a key without quotes: %+v", bare)
		}
		if _, escaped := post(`"\k1"`, `1`); escaped.JobID != "" {
			t.Errorf("an escape that is none: %+v", escaped)
		}
		if _, second := post("k1", `{ "b": 2.0, "a": 1 }`); second.JobID != first.JobID || !second.Duplicate {
			t.Errorf("the same JSON value again: %+v", second)
		}
		if a, _ := post("k1", `{"a":1,"b":3}`); a.status != 422 || a.code != "idempotency_key_reused" {
			t.Errorf("another payload: %d %s", a.status, a.body)
		}
		c := w.dial("")
		c.send(`{"type":"submit","id":"1","job":"demo.echo","payload":{"a":1,"b":2},"key":"k1"}`)
		if g := c.want("the same over a socket", frame.Ack); g.JobID != first.JobID || !g.Duplicate {
			t.Errorf("ack %s", g.raw)
		}
		c.want("the state now follows", frame.Status)
		if n := len(w.produced(w.names.Requests("default"))); n != 1 {
			t.Errorf("%d requests were made, want 1", n)
		}
	})
}

// TestWhatASubmitWrites: the request first, then its accepted, which names it.
func TestWhatASubmitWrites(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		c := w.dial(w.token("acme", "alice", time.Hour))
		c.send(`{"type":"submit","id":"1","job":"report.generate","payload":{"reportType":"sales","from":"2026-01-01","to":"2026-01-31"},"timeout":12.5}`)
		ack := c.want("acked", frame.Ack)
		requests, log := w.produced(w.names.Requests("reports")), w.produced(w.names.Status())
		if len(requests) != 1 || len(log) != 1 {
			t.Fatalf("%d requests and %d events were written", len(requests), len(log))
		}
		var headers []topic.Header
		for _, h := range requests[0].Headers {
			headers = append(headers, topic.Header(h))
		}
		r, err := topic.ParseRequest(string(requests[0].Key), headers)
		if err != nil {
			t.Fatal(err)
		}
		e, err := event.Decode(log[0].Value)
		if err != nil {
			t.Fatal(err)
		}
		if string(requests[0].Value) != `{"reportType":"sales","from":"2026-01-01","to":"2026-01-31"}` {
			t.Errorf("payload %s", requests[0].Value)
		}
		if r.JobID != ack.JobID || r.Tenant != "acme" || r.Subject != "alice" ||
			r.Policy.Timeout.Duration() != 12500*time.Millisecond ||
			r.Policy.Attempts != 3 || r.Dispatch != 1 {
			t.Errorf("request %+v", r)
		}
		if *e.Policy != r.Policy || e.Tenant != r.Tenant || e.PayloadHash != r.PayloadHash ||
			e.Request.Offset != requests[0].Offset || e.Request.Partition != requests[0].Partition ||
			e.Request.Topic != requests[0].Topic {
			t.Errorf("accepted %+v does not name its request %+v", e, r)
		}
	})
}

func TestSubmitsWhileKafkaIsAway(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		c := w.dial("")
		w.net.Host("broker").Hang()
		began := time.Now()
		c.send(`{"type":"submit","id":"1","job":"demo.echo","payload":1}`)
		g := c.wantError("a broker that does not answer", "indeterminate")
		if took := time.Since(began); g.JobID == "" || g.RetryAfter == 0 || took > 6*time.Second {
			t.Errorf("after %s: %s", took, g.raw)
		}
		w.eventually("the gateway is not ready", func() bool { return w.gateway.Ready() != nil })
		began = time.Now()
		c.send(`{"type":"submit","id":"2","job":"demo.echo","payload":1}`)
		c.wantError("refused before anything is written", "unavailable")
		if took := time.Since(began); took > time.Second {
			t.Errorf("refused after %s", took)
		}
		w.net.Host("broker").Heal()
		w.eventually("the gateway is ready again", func() bool { return w.gateway.Ready() == nil })
		c.submit()
	})
}

func TestReadsWhileTheTrackerIsAway(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 7, job.Processing)
		w.tracker.hush()
		a := w.http("GET", "/v1/jobs/"+jobA, nil, nil)
		if a.status != 503 || a.code != "unavailable" || a.header.Get("Retry-After") == "" {
			t.Errorf("GET: %d %v %s", a.status, a.header, a.body)
		}
		a = w.http("POST", "/v1/jobs", with(asJSON, "Idempotency-Key", "k"), strings.NewReader(echo))
		if a.status != 503 || a.code != "unavailable" {
			t.Errorf("a POST with a key: %d %s", a.status, a.body)
		}
		c := w.dial("")
		c.submit() // needs no tracker
		w.tracker.speak()
		c.want("its state comes when the tracker does", frame.Status)
	})
}

func TestAForeignJobLooksLikeNone(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("acme", jobA, 7, job.Processing)
		as := w.header("local", testSubject)
		foreign, none := w.http("GET", "/v1/jobs/"+jobA, as, nil), w.http("GET", "/v1/jobs/"+jobB, as, nil)
		if foreign.status != 404 || foreign.body != none.body {
			t.Errorf("a foreign job: %d %s, none: %d %s", foreign.status, foreign.body, none.status, none.body)
		}
	})
}
