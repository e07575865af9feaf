package gateway

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
)

// offset returns an offset of the Durable Streams protocol.
func offset(run, at int) string { return offsetOf(fakeLife, run, at) }

func offsetOf(life string, run, at int) string {
	return stream.Cursor{Dispatch: run, At: int64(at), Life: stream.LifeOf(life)}.Offset()
}

// withStreams runs a test with a job of nobody that runs.
func withStreams(t *testing.T, f func(t *testing.T, w *world, said *fakeStreams)) {
	t.Helper()
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 5, job.Processing)
		w.tracker.mu.Lock()
		w.tracker.jobs[jobA].subject = ""
		w.tracker.mu.Unlock()
		f(t, w, &w.tracker.said)
	})
}

const streamsOfA = "/v1/jobs/" + jobA + "/streams"

func TestTheListOfStreams(t *testing.T) {
	withStreams(t, func(t *testing.T, w *world, said *fakeStreams) {
		if a := w.http("GET", streamsOfA, nil, nil); a.body != `{"run":0,"streams":[]}` {
			t.Errorf("before a run: %d %s", a.status, a.body)
		}
		said.write(jobA, "tokens", "häh")
		said.send(jobA, "rows", "1", "2")
		want := `{"run":1,"streams":[{"name":"rows","kind":"json","total":2,"ended":false},` +
			`{"name":"tokens","kind":"text","total":4,"ended":false}]}`
		if a := w.http("GET", streamsOfA, nil, nil); a.status != 200 || a.body != want {
			t.Errorf("%d %s", a.status, a.body)
		}
		if a := w.http("GET", streamsOfA+"?x=1", nil, nil); a.code != "invalid_frame" {
			t.Errorf("a parameter: %d %s", a.status, a.body)
		}
	})
}

// TestAStreamOverHTTP is a table of requests for a stream, in all its states.
func TestAStreamOverHTTP(t *testing.T) {
	withStreams(t, func(t *testing.T, w *world, said *fakeStreams) {
		type want struct {
			status               int
			body, next, kind     string
			upToDate, closed     bool
			cache, code, ifMatch string
		}
		const text, values = "text/plain; charset=utf-8", "application/json"
		check := func(what, method, query string, want want) answer {
			t.Helper()
			h := http.Header{}
			if want.ifMatch != "" {
				h.Set("If-None-Match", want.ifMatch)
			}
			a := w.http(method, streamsOfA+query, h, nil)
			is := func(name string) bool { return a.header.Get(name) == "true" }
			if a.status != want.status || a.code != want.code || want.code == "" && (a.body != want.body ||
				a.header.Get("Stream-Next-Offset") != want.next || a.header.Get("Content-Type") != want.kind ||
				is("Stream-Up-To-Date") != want.upToDate || is("Stream-Closed") != want.closed ||
				!strings.Contains(a.header.Get("Cache-Control"), want.cache)) {
				t.Errorf("%s: %d %v %.200s, want %+v", what, a.status, a.header, a.body, want)
			}
			if a.header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s: %v", what, a.header)
			}
			return a
		}
		first := offset(1, 0)
		check("before a run", "GET", "/tokens", want{status: 200, next: first, kind: text, upToDate: true, cache: "no-cache"})
		check("the log before a run", "GET", "/log", want{status: 200, body: "[]", next: first, kind: values, upToDate: true})
		said.write(jobA, "tokens", "häuser")
		said.send(jobA, "rows", `{"a":"<"}`, "2")
		a := check("from the start", "GET", "/tokens?offset=-1",
			want{status: 200, body: "häuser", next: offset(1, 7), kind: text, upToDate: true, cache: "private, no-cache"})
		tag := a.header.Get("ETag")
		check("as it was", "GET", "/tokens?offset=-1",
			want{status: 304, next: offset(1, 7), upToDate: true, ifMatch: tag})
		check("without an offset", "GET", "/tokens?other=x",
			want{status: 200, body: "häuser", next: offset(1, 7), kind: text, upToDate: true})
		check("from an offset", "GET", "/tokens?offset="+offset(1, 3),
			want{status: 200, body: "user", next: offset(1, 7), kind: text, upToDate: true})
		check("at the end", "GET", "/tokens?offset="+offset(1, 7), want{
			status: 200, next: offset(1, 7), kind: text, upToDate: true})
		check("from now on", "GET", "/tokens?offset=now",
			want{status: 200, next: offset(1, 7), kind: text, upToDate: true, cache: "no-store"})
		check("values", "GET", "/rows?offset="+offset(1, 0),
			want{status: 200, body: `[{"a":"<"},2]`, next: offset(1, 2), kind: values, upToDate: true})
		check("values from now on", "GET", "/rows?offset=now",
			want{status: 200, body: `[]`, next: offset(1, 2), kind: values, upToDate: true, cache: "no-store"})
		check("the head", "HEAD", "/tokens", want{
			status: 200, next: offset(1, 7), kind: text, upToDate: true, cache: "no-store"})
		for _, query := range []string{"offset=", "offset=0,1", "offset=0%201", "offset=a&offset=b", "offset=-2", "live=sse",
			"live=long-poll", "offset=" + offset(1, 2), "offset=0000000001_1", "offset=..%2F0"} {
			check(query, "GET", "/tokens?"+query, want{status: 400, code: "invalid_offset"})
		}
		check("live", "GET", "/tokens?offset=-1&live=x", want{status: 400, code: "invalid_frame"})
		check("no name", "GET", "/Tokens", want{status: 404, code: "not_found"})
		check("a long poll finds something", "GET", "/tokens?offset=-1&live=long-poll",
			want{status: 200, body: "häuser", next: offset(1, 7), kind: text, upToDate: true, cache: "no-store"})
		if a := w.http("DELETE", streamsOfA+"/tokens", nil, nil); a.code != "method_not_allowed" {
			t.Errorf("delete: %d %s", a.status, a.body)
		}

		said.write(jobA, "tokens", strings.Repeat("x", 300<<10))
		a = check("a large one in parts", "GET", "/tokens?offset="+offset(1, 3), want{
			status: 200, body: "user" + strings.Repeat("x", 256<<10-4), next: offset(1, 3+256<<10), kind: text,
			cache: "max-age=60",
		})
		said.again(jobA)
		said.write(jobA, "tokens", "new")
		check("of a former run", "GET", "/tokens?offset="+offset(1, 7), want{status: 410, code: "stream_reset"})
		check("a long poll of a former run", "GET", "/tokens?live=long-poll&offset="+offset(1, 7),
			want{status: 410, code: "stream_reset"})
		check("an event stream of a former run", "GET", "/tokens?live=sse&offset="+offset(1, 7),
			want{status: 410, code: "stream_reset"})
		check("nothing was read of the former run", "GET", "/tokens?offset="+offset(1, 0),
			want{status: 200, body: "new", next: offset(2, 3), kind: text, upToDate: true})
		said.end(jobA)
		check("the end", "GET", "/tokens?offset="+offset(2, 1),
			want{status: 200, body: "ew", next: offset(2, 3), kind: text, upToDate: true, closed: true, cache: "immutable"})
		check("the end from the start", "GET", "/tokens",
			want{status: 200, body: "new", next: offset(2, 3), kind: text, upToDate: true, closed: true, cache: "no-cache"})
		check("now at the end", "GET", "/tokens?offset=now",
			want{status: 200, next: offset(2, 3), kind: text, upToDate: true, closed: true})
		check("the head of the end", "HEAD", "/tokens", want{status: 200, next: offset(2, 3), kind: text, upToDate: true,
			closed: true})
		check("a long poll at the end", "GET", "/tokens?live=long-poll&offset="+offset(2, 3),
			want{status: 204, next: offset(2, 3), upToDate: true, closed: true})
		check("behind the end", "GET", "/tokens?offset="+offset(2, 4), want{status: 400, code: "invalid_offset"})
		said.mu.Lock()
		said.gone = 3
		said.mu.Unlock()
		check("gone", "GET", "/tokens?offset=-1", want{status: 410, code: "stream_gone"})
	})
}

// TestAStreamOfAnotherLife: a job's ID may be used again once its job has expired, and each life counts its runs from
// 1. An offset, an entity tag and an event's ID of the former life are none of the one that follows.
func TestAStreamOfAnotherLife(t *testing.T) {
	withStreams(t, func(t *testing.T, w *world, said *fakeStreams) {
		get := func(query string, h http.Header) answer {
			t.Helper()
			return w.http("GET", streamsOfA+"/tokens"+query, h, nil)
		}
		said.write(jobA, "tokens", "one")
		former := get("", nil)
		e := w.stream("/v1/jobs/"+jobA+"/events?stream=tokens", nil)
		part := e.next()
		for !strings.Contains(part, `"text":"one"`) {
			if part == "end" {
				t.Fatal("there is no part")
			}
			part = e.next()
		}
		id, _, _ := strings.Cut(part, "|")
		e.close()
		said.born(jobA, "b")
		said.write(jobA, "tokens", "two")
		for _, live := range []string{"", "&live=long-poll", "&live=sse"} {
			if a := get("?offset="+offset(1, 2)+live, nil); a.status != 410 || a.code != "stream_reset" {
				t.Errorf("an offset of the former life%s: %d %s", live, a.status, a.body)
			}
		}
		if a := get("?offset="+offset(7, 2), nil); a.code != "stream_reset" {
			t.Errorf("of a later run of the former life: %d %s", a.status, a.body)
		}
		a := get("?offset="+offset(1, 0), nil)
		if a.body != "two" || a.header.Get("Stream-Next-Offset") != offsetOf("b", 1, 3) {
			t.Errorf("nothing was read of the former life: %s, next %s", a.body, a.header.Get("Stream-Next-Offset"))
		}
		if a := get("", http.Header{"If-None-Match": {former.header.Get("ETag")}}); a.status != 200 || a.body != "two" {
			t.Errorf("the tag of the former life: %d %s", a.status, a.body)
		}
		e = w.stream("/v1/jobs/"+jobA+"/events?stream=tokens", http.Header{"Last-Event-ID": {strings.TrimPrefix(id, "id: ")}})
		part = e.next()
		for !strings.Contains(part, `event: chunk`) {
			part = e.next()
		}
		if !strings.Contains(part, `"text":"two"`) || !strings.Contains(part, `"reset":true`) {
			t.Errorf("behind an event of the former life: %s", part)
		}
		e.close()
		said.end(jobA)
		if a := get("?offset=0000000001_0000000000001", nil); a.body != "wo" ||
			strings.Contains(a.header.Get("Cache-Control"), "immutable") {
			t.Errorf("an offset of any life: %s %v", a.body, a.header)
		}
	})
}

// TestLongPollsOfAStream: a poll waits for news, for a while, and its cursors rise.
// TestAnEmptyListOverHTTP: what a stream is made of is not known until somebody has written to it. A client that takes
// nothing but JSON is told an empty list until then, so that it has one kind of answers.
func TestAnEmptyListOverHTTP(t *testing.T) {
	withStreams(t, func(t *testing.T, w *world, said *fakeStreams) {
		const text, values = "text/plain; charset=utf-8", "application/json"
		ask := func(method, accept, body, kind string) {
			t.Helper()
			a := w.http(method, streamsOfA+"/rows?offset=-1", http.Header{"Accept": {accept}}, nil)
			if a.status != 200 || a.body != body || a.header.Get("Content-Type") != kind {
				t.Errorf("%s, accepting %q: %d %q %v", method, accept, a.status, a.body, a.header)
			}
		}
		ask("GET", "*/*", "", text)
		ask("GET", "application/json, text/plain, */*", "", text)
		ask("GET", "text/plain", "", text)
		ask("GET", "application/json", "[]", values)
		ask("GET", "application/problem+json, Application/JSON;q=0.9", "[]", values)
		ask("HEAD", "application/json", "", values)
		said.send(jobA, "rows", "1")
		ask("GET", "application/json", "[1]", values)
		ask("GET", "text/plain", "[1]", values)
		said.write(jobA, "tokens", "a")
		if a := w.http("GET", streamsOfA+"/tokens", http.Header{"Accept": {values}}, nil); a.body != "a" ||
			a.header.Get("Content-Type") != text {
			t.Errorf("a text: %q %v", a.body, a.header)
		}
	})
}

func TestLongPollsOfAStream(t *testing.T) {
	withStreams(t, func(t *testing.T, w *world, said *fakeStreams) {
		said.write(jobA, "tokens", "a")
		began := time.Now()
		a := w.http("GET", streamsOfA+"/tokens?live=long-poll&offset=now&cursor=99999999", nil, nil)
		if a.status != 204 || a.header.Get("Stream-Up-To-Date") != "true" ||
			a.header.Get("Stream-Next-Offset") != offset(1, 1) ||
			a.header.Get("Stream-Cursor") != "100000000" || time.Since(began) < 10*time.Second {
			t.Errorf("after %s: %d %v", time.Since(began), a.status, a.header)
		}
		time.AfterFunc(5*time.Second, func() { said.write(jobA, "tokens", "bc") })
		a = w.http("GET", streamsOfA+"/tokens?live=long-poll&offset="+offset(1, 1), nil, nil)
		if a.status != 200 || a.body != "bc" || a.header.Get("Stream-Next-Offset") != offset(1, 3) ||
			a.header.Get("Stream-Cursor") == "" {
			t.Errorf("%d %v %s", a.status, a.header, a.body)
		}
		time.AfterFunc(5*time.Second, func() { said.again(jobA); said.write(jobA, "tokens", "d") })
		if a = w.http("GET", streamsOfA+"/tokens?live=long-poll&offset="+offset(1, 3), nil, nil); a.code != "stream_reset" {
			t.Errorf("%d %v %s", a.status, a.header, a.body)
		}
		time.AfterFunc(5*time.Second, func() { said.end(jobA) })
		a = w.http("GET", streamsOfA+"/tokens?live=long-poll&offset="+offset(2, 1), nil, nil)
		if a.status != 204 || a.header.Get("Stream-Closed") != "true" || a.header.Get("Stream-Cursor") != "" {
			t.Errorf("%d %v %s", a.status, a.header, a.body)
		}
	})
}

// TestAStreamAsEvents: data and control events, lines that cannot make events, and where an EventSource goes on.
func TestAStreamAsEvents(t *testing.T) {
	withStreams(t, func(t *testing.T, w *world, said *fakeStreams) {
		said.write(jobA, "tokens", "one\r\n\r\nevent: control\rdata: {}")
		e := w.stream(streamsOfA+"/tokens?live=sse&offset=-1&cursor=99999999", nil)
		if h := e.answer.Header; h.Get("Content-Type") != "text/event-stream" || h.Get("Content-Length") != "" ||
			!strings.Contains(h.Get("Cache-Control"), "no-cache") {
			t.Errorf("%v", h)
		}
		at := func(run, n int) string { return "id: " + offset(run, n) + "|event: " }
		e.want("data", at(1, 30)+"data|data:one|data:|data:event: control|data:data: {}")
		e.want("control", at(1, 30)+`control|data:{"streamNextOffset":"`+offset(1, 30)+`","streamCursor":"100000000","upToDate":true}`)
		said.write(jobA, "tokens", " two")
		e.want("data", at(1, 34)+"data|data:  two")
		e.next()
		e.close()
		said.write(jobA, "tokens", "three")
		e = w.stream(streamsOfA+"/tokens?live=sse&offset=-1", http.Header{"Last-Event-ID": {offset(1, 34)}})
		e.want("it goes on", at(1, 39)+"data|data:three")
		e.next()
		said.end(jobA)
		e.want("the end", at(1, 39)+`control|data:{"streamNextOffset":"`+offset(1, 39)+`","upToDate":true,"streamClosed":true}`)
		e.want("and then", "end")
		a := w.http("GET", streamsOfA+"/tokens?live=sse&offset=-1", http.Header{"Last-Event-ID": {offset(1, 39)}}, nil)
		if a.status != http.StatusNoContent {
			t.Errorf("an EventSource that has all: %d %s", a.status, a.body)
		}

		w.tracker.set("local", jobB, 5, job.Processing)
		w.tracker.mu.Lock()
		w.tracker.jobs[jobB].subject = ""
		w.tracker.mu.Unlock()
		said.send(jobB, "rows", `{"n":1}`, `"x"`)
		e = w.stream("/v1/jobs/"+jobB+"/streams/rows?live=sse&offset=-1", nil)
		e.want("values", at(1, 2)+`data|data:[{"n":1},"x"]`)
		e.next()
		said.again(jobB)
		said.send(jobB, "rows", `2`)
		if got := e.next(); !strings.HasPrefix(got, `event: error|data: {"code":"stream_reset"`) {
			t.Errorf("a reset: %s", got)
		}
		e.want("and then", "end")
	})
}

// TestEventStreamsWithStreams: event streams of jobs have their streams, too, and an EventSource goes on where it was.
func TestEventStreamsWithStreams(t *testing.T) {
	withStreams(t, func(t *testing.T, w *world, said *fakeStreams) {
		said.write(jobA, "tokens", "ab")
		for _, path := range []string{
			"/v1/jobs/" + jobA + "/events?stream=tokens", "/v1/events?job=" + jobA + "&stream=tokens",
		} {
			e := w.stream(path, nil)
			last, have := "", ""
			until := func(want string) {
				t.Helper()
				for have != want {
					id, event, _ := strings.Cut(e.next(), "|")
					if strings.HasPrefix(id, "id: ") {
						last = strings.TrimPrefix(id, "id: ")
					}
					if _, rest, ok := strings.Cut(event, `"text":"`); ok {
						text, _, _ := strings.Cut(rest, `"`)
						have += text
					}
					if event == "" && id == "end" {
						t.Fatalf("%s ends at %q, want %q", path, have, want)
					}
				}
			}
			until("ab")
			e.close()
			e = w.stream(path, http.Header{"Last-Event-ID": {last}})
			said.write(jobA, "tokens", "cd")
			until("abcd")
			e.close()
			said.again(jobA)
			said.write(jobA, "tokens", "ab")
		}
		e := w.stream("/v1/jobs/"+jobA+"/events?stream=tokens", nil)
		w.tracker.set("local", jobA, 6, job.Completed)
		last := ""
		for got := e.next(); !strings.Contains(got, `"completed"`); got = e.next() {
			last = got
		}
		said.end(jobA)
		for got := e.next(); got != "end"; got = e.next() {
			last = got
		}
		if !strings.Contains(last, `"end":true,"total":2`) {
			t.Errorf("the last event: %s", last)
		}
		id, _, _ := strings.Cut(last, "|")
		a := w.http("GET", "/v1/jobs/"+jobA+"/events?stream=tokens",
			http.Header{"Last-Event-ID": {strings.TrimPrefix(id, "id: ")}}, nil)
		if a.status != http.StatusNoContent {
			t.Errorf("who has all: %d %s", a.status, a.body)
		}
		for path, code := range map[string]string{
			"/v1/jobs/" + jobA + "/events?stream=X":         "invalid_frame",
			"/v1/events?job=" + jobA + "&stream=a&stream=a": "invalid_frame",
			"/v1/events?mine=true&stream=a":                 "invalid_frame",
		} {
			if a := w.http("GET", path, nil, nil); a.code != code {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
		poll := w.http("POST", "/v1/events", http.Header{"Content-Type": {"application/json"}, "Prefer": {"wait=5"}},
			strings.NewReader(`{"jobs":[{"jobId":"`+jobA+`","after":6,"streams":[{"stream":"tokens","run":3,"at":1}]}]}`))
		if !strings.Contains(poll.body, `"type":"chunk","jobId":"`+jobA+`","stream":"tokens","kind":"text","run":3,"from":1,`+
			`"text":"b","end":true,"total":2}`) {
			t.Errorf("a long poll: %s", poll.body)
		}
	})
}

// TestAGrantReadsAStream: in a header or in the URL, a grant for the job, and no other.
func TestAGrantReadsAStream(t *testing.T) {
	inWorld(t, withGrants(t), func(t *testing.T, w *world) {
		w.tracker.set("acme", jobA, 5, job.Processing)
		w.tracker.set("acme", jobB, 5, job.Processing)
		w.tracker.said.write(jobA, "tokens", "secret")
		grant := w.grant(time.Hour, "read", jobA)
		for path, status := range map[string]int{
			streamsOfA + "/tokens?grant=" + grant:                 200,
			"/v1/jobs/" + jobB + "/streams/tokens?grant=" + grant: 404,
			streamsOfA + "?grant=" + grant:                        403,
			streamsOfA + "/tokens":                                401,
		} {
			if a := w.http("GET", path, nil, nil); a.status != status {
				t.Errorf("%s: %d %s, want %d", path, a.status, a.body, status)
			}
		}
	})
}
