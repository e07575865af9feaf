package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
)

// events is an open event stream.
type events struct {
	t      *testing.T
	answer *http.Response
	lines  *bufio.Scanner
	close  func()
}

// stream opens one.
func (w *world) stream(path string, header http.Header) *events {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	transport := &http.Transport{DialContext: w.net.Host("client").Dial, DisableKeepAlives: true}
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+gatewayAddr+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for k, v := range header {
		r.Header[k] = v
	}
	return w.follow(transport, r, cancel)
}

// follow sends a request whose answer is an event stream.
func (w *world) follow(transport *http.Transport, r *http.Request, cancel func()) *events {
	w.t.Helper()
	answer, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		w.t.Fatalf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	e := &events{t: w.t, answer: answer, lines: bufio.NewScanner(answer.Body)}
	e.close = func() { cancel(); _ = answer.Body.Close(); transport.CloseIdleConnections() }
	w.t.Cleanup(e.close)
	return e
}

// next reads an event, as its fields joined by "|"; "end" after the last.
func (e *events) next() string {
	e.t.Helper()
	var fields []string
	for e.lines.Scan() {
		if line := e.lines.Text(); line != "" {
			fields = append(fields, line)
			continue
		}
		return strings.Join(fields, "|")
	}
	if len(fields) > 0 {
		e.t.Errorf("the stream ends within an event: %q", fields)
	}
	if e.lines.Err() != nil {
		return "cut"
	}
	return "end"
}

func (e *events) want(what, want string) {
	e.t.Helper()
	if got := e.next(); got != want {
		e.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// wantCursor is want for an event whose ID is a cursor.
func (e *events) wantCursor(what, want string) {
	e.t.Helper()
	id, got, _ := strings.Cut(e.next(), "|")
	if !strings.HasPrefix(id, "id: ") || got != want {
		e.t.Errorf("%s: %q, %q, want %q", what, id, got, want)
	}
}

func TestEventsOfAJob(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		event := func(version int64, state job.State) string {
			return fmt.Sprintf("id: %d|event: status|data: %s", version, document(jobA, state))
		}
		w.tracker.set("local", jobA, 5, job.Pending)
		e := w.stream("/v1/jobs/"+jobA+"/events", nil)
		if e.answer.StatusCode != 200 || e.answer.Header.Get("Content-Type") != "text/event-stream" ||
			e.answer.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%v", e.answer)
		}
		e.want("how long to wait before coming back", "retry: 1000")
		e.want("the state now", event(5, job.Pending))
		w.tracker.set("local", jobA, 7, job.Processing)
		e.want("a change", event(7, job.Processing))
		e.want("keep-alive", ": still here")

		// It is cut, and comes back.
		e.close()
		w.eventually("its stream has gone", func() bool { return w.gauge("ackwire_gateway_event_streams") == 0 })
		w.tracker.set("local", jobA, 8, job.Retrying)
		w.tracker.set("local", jobA, 9, job.Processing)
		e = w.stream("/v1/jobs/"+jobA+"/events", http.Header{"Last-Event-Id": {"7"}})
		e.want("again", "retry: 1000")
		e.want("what is newer", event(9, job.Processing))
		w.tracker.set("local", jobA, 12, job.Completed)
		e.want("the end", event(12, job.Completed))
		e.want("nothing follows", "end")

		e = w.stream("/v1/jobs/"+jobA+"/events", http.Header{"Last-Event-Id": {"12"}})
		if e.answer.StatusCode != http.StatusNoContent {
			t.Errorf("a client that has seen the end: %d", e.answer.StatusCode)
		}
		e = w.stream("/v1/jobs/"+jobA+"/events", nil)
		e.want("a new client", "retry: 1000")
		e.want("is told the end", event(12, job.Completed))
		e.want("and no more", "end")
		w.eventually("all streams have gone", func() bool {
			jobs, subs := w.gateway.hub.Size()
			return jobs == 0 && subs == 0 && w.gauge("ackwire_gateway_event_streams") == 0
		})
	})
}

func TestEventsOfManyJobs(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		as := w.header("local", testSubject)
		w.tracker.set("local", jobA, 5, job.Pending)
		w.tracker.set("local", jobB, 6, job.Pending)
		w.tracker.set("another tenant", jobC, 7, job.Pending)
		e := w.stream("/v1/events?job="+jobA+"&job="+jobB+"&job="+jobC+"&job="+jobA, as)
		e.want("first what cannot be followed", `retry: 1000`)
		e.wantCursor("first what cannot be followed", `event: refused|data: {"jobId":"`+jobC+`","error":"not_found"}`)
		seen := e.next() + e.next()
		for _, id := range []string{jobA, jobB} {
			if !strings.Contains(seen, id) {
				t.Errorf("nothing of %s in %s", id, seen)
			}
		}
		w.tracker.set("local", jobB, 8, job.Failed)
		e.wantCursor("one ends", fmt.Sprintf("event: status|data: %s", document(jobB, job.Failed)))
		w.tracker.set("local", jobA, 9, job.Completed)
		e.wantCursor("the other ends", fmt.Sprintf("event: status|data: %s", document(jobA, job.Completed)))
		e.want("all have ended", "end")

		for path, status := range map[string]int{
			"/v1/events":                                      400,
			"/v1/events?job=nonsense":                         400,
			"/v1/events?jobs=" + jobA:                         400,
			"/v1/events?job=" + jobC:                          404,
			"/v1/jobs/" + jobC + "/events":                    404,
			"/v1/jobs/nonsense/events":                        404,
			"/v1/jobs/" + strings.Repeat("0", 36) + "/events": 404,
		} {
			if got := w.http("GET", path, as, nil); got.status != status || got.code == "" {
				t.Errorf("%s: %d %s", path, got.status, got.body)
			}
		}
	})
}

// TestEventsEnd: with the token, with a drain, and when the client takes nothing.
func TestEventsEnd(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("acme", jobA, 5, job.Pending)
		e := w.stream("/v1/jobs/"+jobA+"/events", http.Header{
			"Authorization": {"Bearer " + w.token("acme", "alice", time.Minute)},
		})
		e.next()
		e.next()
		warned := false
		for last := ""; ; {
			next := e.next()
			warned = warned || strings.HasPrefix(next, `event: expiring|data: {"type":"expiring","expiresAt":"`) &&
				strings.Contains(next, `,"closesAfter":3`)
			if next == "end" {
				if !strings.HasPrefix(last, `event: error|data: {"code":"unauthenticated"`) {
					t.Errorf("at the token's end: %s", last)
				}
				if !warned {
					t.Error("the token's end was not told beforehand")
				}
				break
			}
			last = next
		}

		e = w.stream("/v1/jobs/"+jobA+"/events", http.Header{
			"Authorization": {"Bearer " + w.token("acme", "alice", time.Hour)},
		})
		e.next()
		e.next()
		w.stop()
		goaway := e.next()
		if !strings.HasPrefix(goaway, "retry: ") {
			t.Errorf("at the drain: %s", goaway)
		}
		if goaway = e.next(); !strings.HasPrefix(goaway, `event: goaway|data: {"type":"goaway","reason":"restart"`) {
			t.Errorf("at the drain: %s", goaway)
		}
		e.want("and then", "end")
		_, _ = io.Copy(io.Discard, e.answer.Body)
	})
}
