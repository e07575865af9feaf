package gateway

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/gateway/api"
	"github.com/ackwire/ackwire/schemas/job"
)

// frames opens a stream of frames.
func (w *world) frames(body string, header http.Header) *events {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	transport := &http.Transport{DialContext: w.net.Host("client").Dial, DisableKeepAlives: true}
	r, err := http.NewRequestWithContext(ctx, "POST", "http://"+gatewayAddr+"/v1/events", strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for k, v := range header {
		r.Header[k] = v
	}
	return w.follow(transport, r, cancel)
}

// frame reads the next frame; "end" after the last.
func (e *events) frame() string {
	e.t.Helper()
	text, _ := strings.CutPrefix(e.next(), "data: ")
	return text
}

func (e *events) wantFrame(what, want string) {
	e.t.Helper()
	if got := e.frame(); got != want {
		e.t.Errorf("%s: %s, want %s", what, got, want)
	}
}

func (e *events) wantWelcome() {
	e.t.Helper()
	got := e.frame()
	if e.answer.StatusCode != http.StatusOK || !strings.HasPrefix(got, `{"type":"welcome","connection":"`) ||
		!strings.Contains(got, `"protocol":"ackwire.v1"`) || !strings.Contains(got, `"limits":{"frameBytes":`) {
		e.t.Errorf("%d %s", e.answer.StatusCode, got)
	}
}

func statusFrame(version int64, jobID string, state job.State) string {
	return fmt.Sprintf(`{"type":"status","version":%d,"job":%s}`, version, document(jobID, state))
}

// TestFramesOfAStream: a client that can open no socket is told what one would have told it.
func TestFramesOfAStream(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 5, job.Pending)
		w.tracker.set("local", jobB, 9, job.Completed)
		const jobC = "019c1db0-01c0-7a54-9d8e-3f1b5c7a9e0c"
		e := w.frames(fmt.Sprintf(`{"jobs":[{"jobId":%q,"after":5},{"jobId":%q},{"jobId":%q},{"jobId":%[1]q}]}`,
			jobA, jobB, jobC), nil)
		e.wantWelcome()
		e.wantFrame("the answer", fmt.Sprintf(`{"type":"subscribed","jobs":[{"jobId":%q,"version":5},`+
			`{"jobId":%q,"version":9},{"jobId":%q,"error":"not_found"}]}`, jobA, jobB, jobC))
		e.wantFrame("what the client does not have", statusFrame(9, jobB, job.Completed))
		w.tracker.set("local", jobA, 7, job.Processing)
		e.wantFrame("a change", statusFrame(7, jobA, job.Processing))
		e.want("keep-alive", ": still here")
		w.tracker.mu.Lock()
		w.tracker.jobs[jobA].version = 6
		w.tracker.mu.Unlock()
		w.gateway.up.Lose(jobA)
		e.wantFrame("the log has lost its end",
			fmt.Sprintf(`{"type":"subscribed","jobs":[{"jobId":%q,"version":6,"reset":true}]}`, jobA))
		e.wantFrame("what is true", statusFrame(6, jobA, job.Processing))
		w.tracker.set("local", jobA, 12, job.Completed)
		e.wantFrame("the end", statusFrame(12, jobA, job.Completed))
		e.want("the stream goes on", ": still here")
		e.close()

		e = w.frames(fmt.Sprintf(`{"jobs":[{"jobId":%q,"after":1000}]}`, jobA), nil)
		e.wantWelcome()
		e.wantFrame("a version that the log never had",
			fmt.Sprintf(`{"type":"subscribed","jobs":[{"jobId":%q,"version":12,"reset":true}]}`, jobA))
		e.wantFrame("the state", statusFrame(12, jobA, job.Completed))
		e.close()

		e = w.frames(`{}`, nil)
		e.wantWelcome()
		e.wantFrame("of nothing", `{"type":"subscribed","jobs":[]}`)
		e.want("it stays open", ": still here")
		e.close()
		w.eventually("all streams have gone", func() bool {
			jobs, subs := w.gateway.hub.Size()
			return jobs == 0 && subs == 0 && w.gauge("ackwire_gateway_event_streams") == 0
		})
	})
}

// TestFramesByLongPolls: the answer ends once there is news, or when the wait is over.
func TestFramesByLongPolls(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 5, job.Pending)
		poll := func(body string) *events { return w.frames(body, http.Header{"Prefer": {"wait=20"}}) }
		e := poll(fmt.Sprintf(`{"jobs":[{"jobId":%q}]}`, jobA))
		if got := e.answer.Header.Get("Preference-Applied"); got != "wait=20" {
			t.Errorf("Preference-Applied: %q", got)
		}
		e.wantWelcome()
		e.frame()
		e.wantFrame("the state", statusFrame(5, jobA, job.Pending))
		e.want("is news", "end")

		e = poll(fmt.Sprintf(`{"jobs":[{"jobId":%q,"after":5}]}`, jobA))
		e.wantWelcome()
		e.frame()
		began := time.Now()
		e.want("no news", "end")
		if took := time.Since(began); took != 20*time.Second {
			t.Errorf("a poll without news took %s", took)
		}

		e = poll(fmt.Sprintf(`{"jobs":[{"jobId":%q,"after":5}]}`, jobA))
		e.wantWelcome()
		e.frame()
		w.tracker.set("local", jobA, 6, job.Processing)
		e.wantFrame("a change", statusFrame(6, jobA, job.Processing))
		e.want("is news", "end")

		began = time.Now()
		e = poll(`{"jobs":[]}`)
		e.wantWelcome()
		e.frame()
		e.want("nothing is waited for", "end")
		if took := time.Since(began); took > time.Second {
			t.Errorf("a poll of nothing took %s", took)
		}
	})
}

// TestFramesEnd: what a socket is told of its end, a stream of frames is told, too.
func TestFramesEnd(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		as := func(ttl time.Duration) http.Header {
			return http.Header{"Authorization": {"Bearer " + w.token("acme", "alice", ttl)}}
		}
		e := w.frames(`{}`, as(time.Minute))
		warned := false
		for last := ""; ; {
			next := e.frame()
			warned = warned || strings.HasPrefix(next, `{"type":"expiring","expiresAt":"`)
			if next == "end" {
				if !strings.HasPrefix(last, `{"type":"error","code":"unauthenticated"`) {
					t.Errorf("at the token's end: %s", last)
				}
				break
			}
			last = next
		}
		if !warned {
			t.Error("the token's end was not told beforehand")
		}
		e = w.frames(`{}`, as(time.Hour))
		e.wantWelcome()
		e.frame()
		w.stop()
		if got := e.frame(); !strings.HasPrefix(got, `{"type":"goaway","reason":"restart","reconnectAfter":`) {
			t.Errorf("at the drain: %s", got)
		}
		e.want("and then", "end")
		_, _ = io.Copy(io.Discard, e.answer.Body)
	})
}

// TestFramesRefused: what is wrong with a request is its answer.
func TestFramesRefused(t *testing.T) {
	inWorld(t, func(c *Config) { c.Subscriptions = 2 }, func(t *testing.T, w *world) {
		ids := fmt.Sprintf(`{"jobId":%q},{"jobId":%q},{"jobId":"x"}`, jobA, jobB)
		for _, c := range []struct {
			body   string
			header http.Header
			status int
			code   string
		}{
			{`{"jobs":[` + ids + `]}`, nil, 429, "limit_exceeded"},
			{`{"jobs":[{}]}`, nil, 400, "invalid_frame"},
			{`{"jobs":{}}`, nil, 400, "invalid_frame"},
			{`{"jobs":[{"jobId":"x","after":-1}]}`, nil, 400, "invalid_frame"},
			{`{"mine":true,"known":{}}`, nil, 400, "invalid_frame"},
			{`{"mine":true,"known":[{}]}`, nil, 400, "invalid_frame"},
			{`{"mine":true,"known":[{"jobId":"x","after":-1}]}`, nil, 400, "invalid_frame"},
			{`[]`, nil, 400, "invalid_frame"},
			{``, nil, 400, "invalid_frame"},
			{`{"jobs":"` + strings.Repeat("x", 256<<10) + `"}`, nil, 413, "payload_too_large"},
			{`{}`, http.Header{"Content-Type": {"text/plain"}}, 415, "unsupported_media_type"},
			{`{}`, http.Header{"Prefer": {"wait=x"}}, 400, "invalid_frame"},
			{`{}`, http.Header{"Authorization": {"Bearer x"}}, 401, "unauthenticated"},
			{`{"mine":true}`, nil, 503, "unavailable"}, // no tracker tells of subjects here
		} {
			header := http.Header{"Content-Type": {"application/json"}}
			for k, v := range c.header {
				header[k] = v
			}
			got := w.http("POST", "/v1/events", header, strings.NewReader(c.body))
			if got.status != c.status || got.code != c.code {
				t.Errorf("%.80s: %d %s, want %d %s", c.body, got.status, got.body, c.status, c.code)
			}
		}
	})
}

// TestFramesAreBounded: of what says which jobs to follow only a frame's size is kept, and streams and long polls count
// as sessions of their user.
func TestFramesAreBounded(t *testing.T) {
	g := unserved(t, func(*Config) {})
	limit := int64(g.cfg.FrameBytes)
	r := httptest.NewRequest("POST", "http://127.0.0.1/v1/events", strings.NewReader(
		`{"jobs":"`+strings.Repeat("x", 8<<20)+`"}`))
	r.ContentLength = -1
	read := &counted{Reader: r.Body}
	r.Body = read
	r.Header.Set("Content-Type", "application/json")
	a := httptest.NewRecorder()
	g.api.Handler().ServeHTTP(a, r)
	if a.Code != http.StatusRequestEntityTooLarge || read.read > limit+1+api.DiscardBytes {
		t.Errorf("%d after %d bytes: %s", a.Code, read.read, a.Body)
	}
	inWorld(t, func(c *Config) { c.Limits.SubjectSessions = 2; tokensOnly(c) }, func(t *testing.T, w *world) {
		as := func(user, prefer string) http.Header {
			h := http.Header{"Authorization": {"Bearer " + w.token("acme", user, time.Hour)}}
			if prefer != "" {
				h.Set("Prefer", prefer)
			}
			h.Set("Content-Type", "application/json")
			return h
		}
		w.tracker.set("acme", jobA, 7, job.Processing)
		known := fmt.Sprintf(`{"jobs":[{"jobId":%q,"after":7}]}`, jobA)
		w.frames(known, as("alice", "")).wantWelcome()
		poll := w.frames(known, as("alice", "wait=20"))
		poll.wantWelcome()
		poll.frame()
		for _, prefer := range []string{"", "wait=20"} {
			if a := w.http("POST", "/v1/events", as("alice", prefer), strings.NewReader(known)); a.status != 429 ||
				a.code != "limit_exceeded" {
				t.Errorf("one more, %q: %d %s", prefer, a.status, a.body)
			}
		}
		w.frames(known, as("bob", "")).wantWelcome()
		poll.want("no news", "end")
		w.frames(known, as("alice", "")).wantWelcome()
	})
}
