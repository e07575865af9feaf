//go:build unix

package external_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/processortest"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// told is an answer of the write side.
type told struct {
	status int
	code   string
	header http.Header
}

// ask sends a request to the write side. header has names and values by turns.
func ask(t *testing.T, method, url, body string, header ...string) told {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return told{}
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return told{}
	}
	defer func() { _ = resp.Body.Close() }()
	got := told{status: resp.StatusCode, header: resp.Header}
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	if resp.StatusCode < 400 || method == http.MethodHead {
		return got
	}
	var problem struct {
		Code, Detail string
		Status       int
	}
	if err := json.Unmarshal(content, &problem); err != nil || problem.Status != resp.StatusCode || problem.Detail == "" ||
		resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s %s: not a problem: %s, %v", method, url, content, err)
	}
	got.code = problem.Code
	return got
}

// writing runs a handler that is given the URL of its run's streams, and holds its request meanwhile.
func writing(t *testing.T, options []processor.Option, write func(url string)) processortest.Outcome {
	t.Helper()
	serve := func(w http.ResponseWriter, r *http.Request) {
		write(r.Header.Get("Ackwire-Streams"))
		_, _ = io.WriteString(w, "")
	}
	got := handle(t, t.Context(), endpoint(t, time.Minute, callbacks(t), serve), 0, options...)
	if got.Event != event.Completed {
		t.Errorf("%+v, %+v", got, got.Failure)
	}
	return got
}

const (
	asText  = "text/plain"
	asJSON  = "application/json"
	ct      = "Content-Type"
	closed  = "Stream-Closed"
	next    = "Stream-Next-Offset"
	epoch   = "Producer-Epoch"
	seq     = "Producer-Seq"
	seqOf   = "Stream-Seq"
	expects = "Producer-Expected-Seq"
)

func by(id, ofEpoch, number string) []string {
	return []string{ct, asText, "Producer-Id", id, epoch, ofEpoch, seq, number}
}

func at(n int) string { return fmt.Sprintf("%010d_%013d", 1, n) }

// TestWriteSide sends requests one after the other, good ones and bad ones.
func TestWriteSide(t *testing.T) {
	plus := func(header []string, more ...string) []string { return append(header, more...) }
	steps := []struct {
		what, method, name, body string
		header                   []string
		status                   int
		code                     string
		want                     []string // headers of the answer, and their values
	}{
		{"nothing is there", "HEAD", "tokens", "", nil, 404, "", nil},
		{"an append to nothing", "POST", "tokens", "x", []string{ct, asText}, 404, "not_found", nil},
		{"a close of nothing", "POST", "tokens", "", []string{closed, "true"}, 404, "not_found", nil},
		{"a text", "PUT", "tokens", "", []string{ct, asText}, 201, "", []string{next, at(0), closed, "",
			ct, "text/plain; charset=utf-8", "X-Content-Type-Options", "nosniff"}},
		{"it once more", "PUT", "tokens", "ignored", []string{ct, "TEXT/plain; charset=UTF-8"}, 200, "",
			[]string{next, at(0)}},
		{"another kind", "PUT", "tokens", "", []string{ct, asJSON}, 409, "stream_conflict", nil},
		{"closed", "PUT", "tokens", "", []string{ct, asText, closed, "true"}, 409, "stream_conflict", nil},
		{"it is there", "HEAD", "tokens", "", nil, 200, "", []string{next, at(0), closed, "", "Cache-Control", "no-store"}},
		{"an append", "POST", "tokens", "grü", []string{ct, asText}, 204, "", []string{next, at(4), closed, ""}},
		{"no body", "POST", "tokens", "", []string{ct, asText}, 400, "invalid_stream", nil},
		{"no type", "POST", "tokens", "x", nil, 400, "invalid_stream", nil},
		{"JSON for a text", "POST", "tokens", "1", []string{ct, asJSON}, 409, "stream_conflict", nil},
		{"bytes for a text", "POST", "tokens", "1", []string{ct, "application/octet-stream"}, 409, "stream_conflict", nil},
		{"another charset", "POST", "tokens", "1", []string{ct, "text/plain; charset=latin1"}, 409, "stream_conflict", nil},
		{"half a character", "POST", "tokens", "x\xc3", []string{ct, asText}, 400, "invalid_stream", nil},
		{"too large a body", "POST", "tokens", strings.Repeat("x", 2<<20+1), []string{ct, asText}, 413,
			"payload_too_large", nil},
		{"above the run's limit", "POST", "tokens", strings.Repeat("x", 100<<10), []string{ct, asText}, 413,
			"stream_too_large", nil},
		{"a Stream-Seq", "POST", "tokens", "a", []string{ct, asText, seqOf, "09"}, 204, "", []string{next, at(5)}},
		{"it again", "POST", "tokens", "a", []string{ct, asText, seqOf, "09"}, 409, "sequence_conflict", nil},
		{"a lower one", "POST", "tokens", "a", []string{ct, asText, seqOf, "089"}, 409, "sequence_conflict", nil},
		{"a higher one", "POST", "tokens", "b", []string{ct, asText, seqOf, "9"}, 204, "", []string{next, at(6)}},
		{"an empty one", "POST", "tokens", "b", []string{ct, asText, seqOf, ""}, 400, "invalid_stream", nil},
		{"a long one", "POST", "tokens", "b", []string{ct, asText, seqOf, strings.Repeat("x", 257)}, 400,
			"invalid_stream", nil},
		{"a producer begins late", "POST", "tokens", "c", by("p", "0", "1"), 409, "sequence_gap", []string{expects, "0"}},
		{"a producer", "POST", "tokens", "c", by("p", "0", "0"), 200, "", []string{epoch, "0", seq, "0", next, at(7)}},
		{"it retries", "POST", "tokens", "other", by("p", "0", "0"), 204, "", []string{epoch, "0", seq, "0", next, at(7)}},
		{"a gap", "POST", "tokens", "d", by("p", "0", "2"), 409, "sequence_gap",
			[]string{expects, "1", "Producer-Received-Seq", "2"}},
		{"what follows", "POST", "tokens", "d", by("p", "0", "1"), 200, "", []string{seq, "1", next, at(8)}},
		{"an old number", "POST", "tokens", "d", by("p", "0", "0"), 204, "", []string{seq, "1"}},
		{"a new epoch that does not begin", "POST", "tokens", "e", by("p", "3", "1"), 400, "invalid_stream", nil},
		{"a new epoch", "POST", "tokens", "e", by("p", "3", "0"), 200, "", []string{epoch, "3", seq, "0", next, at(9)}},
		{"the old epoch", "POST", "tokens", "e", by("p", "2", "5"), 403, "producer_fenced", []string{epoch, "3"}},
		{"a bad Stream-Seq of a producer", "POST", "tokens", "e", plus(by("p", "3", "1"), seqOf, "1"), 409,
			"sequence_conflict", nil},
		{"its number is free", "POST", "tokens", "f", plus(by("p", "3", "1"), seqOf, "91"), 200, "", []string{seq, "1"}},
		{"a duplicate with it", "POST", "tokens", "f", plus(by("p", "3", "1"), seqOf, "91"), 204, "", []string{seq, "1"}},
		{"a refused first request", "POST", "tokens", strings.Repeat("x", 100<<10), by("q", "0", "0"), 413,
			"stream_too_large", nil},
		{"is none", "POST", "tokens", "g", by("q", "7", "0"), 200, "", []string{epoch, "7", next, at(11)}},
		{"no number", "POST", "tokens", "x", []string{ct, asText, "Producer-Id", "p", epoch, "3"}, 400,
			"invalid_stream", nil},
		{"only an ID", "POST", "tokens", "x", []string{ct, asText, "Producer-Id", "p"}, 400, "invalid_stream", nil},
		{"two IDs", "POST", "tokens", "x", plus(by("p", "3", "2"), "Producer-Id", "q"), 400, "invalid_stream", nil},
		{"an empty ID", "POST", "tokens", "x", by("", "0", "0"), 400, "invalid_stream", nil},
		{"a long ID", "POST", "tokens", "x", by(strings.Repeat("p", 257), "0", "0"), 400, "invalid_stream", nil},
		{"an ID that is not UTF-8", "POST", "tokens", "x", by("\xff", "0", "0"), 400, "invalid_stream", nil},
		{"a sign", "POST", "tokens", "x", by("p", "+3", "2"), 400, "invalid_stream", nil},
		{"a negative one", "POST", "tokens", "x", by("p", "3", "-1"), 400, "invalid_stream", nil},
		{"a fraction", "POST", "tokens", "x", by("p", "3", "2.0"), 400, "invalid_stream", nil},
		{"an exponent", "POST", "tokens", "x", by("p", "3e0", "2"), 400, "invalid_stream", nil},
		{"nothing", "POST", "tokens", "x", by("p", "3", ""), 400, "invalid_stream", nil},
		{"2^53", "POST", "tokens", "x", by("p", "9007199254740992", "0"), 400, "invalid_stream", nil},
		{"more than 64 bits", "POST", "tokens", "x", by("p", "99999999999999999999", "0"), 400, "invalid_stream", nil},
		{"an empty body of a producer", "POST", "tokens", "", by("p", "3", "2"), 400, "invalid_stream", nil},

		{"values", "PUT", "rows", "[]", []string{ct, asJSON}, 201, "", []string{next, at(0), ct, asJSON}},
		{"one value", "POST", "rows", ` {"a": "<x>"} `, []string{ct, asJSON + "; charset=utf-8"}, 204, "", []string{next, at(1)}},
		{"two values", "POST", "rows", `[1,[2]]`, []string{ct, asJSON}, 204, "", []string{next, at(3)}},
		{"an empty array", "POST", "rows", ` [ ] `, []string{ct, asJSON}, 400, "invalid_stream", nil},
		{"an empty array that closes", "POST", "rows", `[]`, []string{ct, asJSON, closed, "true"}, 400, "invalid_stream", nil},
		{"no JSON", "POST", "rows", `{`, []string{ct, asJSON}, 400, "invalid_stream", nil},
		{"a name twice", "POST", "rows", `[{"a":1,"a":2}]`, []string{ct, asJSON}, 400, "invalid_stream", nil},
		{"two values without an array", "POST", "rows", `1 2`, []string{ct, asJSON}, 400, "invalid_stream", nil},
		{"blanks", "POST", "rows", "  ", []string{ct, asJSON}, 400, "invalid_stream", nil},
		{"a large value", "POST", "rows", `[1,"` + strings.Repeat("x", 32<<10) + `"]`, []string{ct, asJSON}, 413,
			"stream_too_large", nil},
		{"too many values", "POST", "rows", "[" + strings.Repeat("1,", 64<<10) + "1]", []string{ct, asJSON}, 413,
			"payload_too_large", nil},
		{"nothing of these was written", "HEAD", "rows", "", nil, 200, "", []string{next, at(3)}},

		{"no close", "POST", "rows", "", []string{closed, "yes"}, 400, "invalid_stream", nil},
		{"a close, of whatever type", "POST", "rows", "", []string{closed, "TRUE", ct, asText}, 204, "",
			[]string{next, at(3), closed, "true"}},
		{"it again", "POST", "rows", "", []string{closed, "true"}, 204, "", []string{next, at(3), closed, "true"}},
		{"an append to it", "POST", "rows", "1", []string{ct, asJSON}, 409, "stream_closed",
			[]string{next, at(3), closed, "true"}},
		{"an append that closes it", "POST", "rows", "1", []string{ct, asJSON, closed, "true"}, 409, "stream_closed",
			[]string{closed, "true"}},
		{"it is closed", "HEAD", "rows", "", nil, 200, "", []string{next, at(3), closed, "true"}},
		{"it is there and closed", "PUT", "rows", "", []string{ct, asJSON, closed, "true"}, 200, "",
			[]string{closed, "true"}},
		{"it is not open", "PUT", "rows", "", []string{ct, asJSON}, 409, "stream_conflict", nil},
		{"a last append of a producer", "POST", "tokens", "h", plus(by("p", "3", "2"), closed, "true"), 200, "",
			[]string{seq, "2", closed, "true", next, at(12)}},
		{"it again", "POST", "tokens", "other", plus(by("p", "3", "2"), closed, "true"), 204, "",
			[]string{seq, "2", closed, "true", next, at(12)}},
		{"what would follow", "POST", "tokens", "x", by("p", "3", "3"), 409, "stream_closed", []string{closed, "true"}},
		{"what does not follow", "POST", "tokens", "x", by("p", "3", "9"), 409, "stream_closed", []string{closed, "true"}},
		{"another producer's close", "POST", "tokens", "", plus(by("r", "0", "0"), closed, "true"), 409, "stream_closed",
			[]string{closed, "true"}},
		{"an old epoch", "POST", "tokens", "x", by("p", "1", "0"), 403, "producer_fenced",
			[]string{epoch, "3", closed, "true"}},
		{"closed from the beginning", "PUT", "done", "all", []string{closed, "true"}, 201, "",
			[]string{next, at(3), closed, "true"}},

		{"a beginning", "PUT", "begun", `[1,2]`, []string{ct, asJSON}, 201, "", []string{next, at(2)}},
		{"a bad beginning", "PUT", "bad", `{`, []string{ct, asJSON}, 400, "invalid_stream", nil},
		{"a beginning above the limit", "PUT", "bad", strings.Repeat("x", 100<<10), nil, 413, "stream_too_large", nil},
		{"that was not made", "HEAD", "bad", "", nil, 404, "", nil},
		{"a close without a body, by a producer", "POST", "begun", "", plus(by("p", "0", "0")[2:], closed, "true"), 204, "",
			[]string{epoch, "0", seq, "0", closed, "true"}},

		{"bytes", "PUT", "bytes", "", []string{ct, "application/octet-stream"}, 415, "unsupported_media_type", nil},
		{"no type that can be read", "PUT", "bytes", "", []string{ct, "text"}, 415, "unsupported_media_type", nil},
		{"a time to live", "PUT", "ttl", "", []string{"Stream-TTL", "60"}, 400, "invalid_stream", nil},
		{"an end", "PUT", "ttl", "", []string{"Stream-Expires-At", "2030-01-01T00:00:00Z"}, 400, "invalid_stream", nil},
		{"a fork", "PUT", "fork", "", []string{"Stream-Forked-From", "/tokens"}, 400, "invalid_stream", nil},
		{"the log", "PUT", "log", "", []string{ct, asJSON}, 409, "invalid_stream", nil},
		{"a bad name", "PUT", "To%20Kens", "", nil, 404, "not_found", nil},
		{"a path", "PUT", "a/b", "", nil, 404, "not_found", nil},
		{"no name", "PUT", "", "", nil, 404, "not_found", nil},
		{"a read", "GET", "tokens", "", nil, 405, "method_not_allowed", []string{"Allow", "HEAD, POST, PUT"}},
		{"a delete", "DELETE", "tokens", "", nil, 405, "method_not_allowed", nil},
	}
	limit := processor.WithStreamLimits(func(string) (int64, int64) { return 100 << 10, 1 << 20 })
	var streams string
	got := writing(t, []processor.Option{limit}, func(url string) {
		streams = url
		for _, s := range steps {
			got := ask(t, s.method, url+"/"+s.name, s.body, s.header...)
			if got.status != s.status || got.code != s.code {
				t.Errorf("%s: %d %s, want %d %s", s.what, got.status, got.code, s.status, s.code)
			}
			for i := 0; i < len(s.want); i += 2 {
				if v := got.header.Get(s.want[i]); v != s.want[i+1] {
					t.Errorf("%s: %s is %q, want %q", s.what, s.want[i], v, s.want[i+1])
				}
			}
			if s.status == 201 && got.header.Get("Location") != url+"/"+s.name {
				t.Errorf("%s: Location is %q", s.what, got.header.Get("Location"))
			}
		}
		if got := ask(t, "HEAD", url[:len(url)-1]+"_/tokens", ""); got.status != 410 {
			t.Errorf("a URL that is guessed: %d", got.status)
		}
	})
	if text := got.Streams["tokens"].Text; text != "grüabcdefgh" {
		t.Errorf("tokens are %q", text)
	}
	if rows := got.Streams["rows"].Items; fmt.Sprintf("%s", rows) != `[{"a":"<x>"} 1 [2]]` {
		t.Errorf("rows are %s", rows)
	}
	if got.Streams["done"].Text != "all" || len(got.Streams["begun"].Items) != 2 || len(got.Streams) != 4 {
		t.Errorf("streams are %+v", got.Streams)
	}
	for _, method := range []string{"PUT", "POST"} {
		if got := ask(t, method, streams+"/tokens", "x", ct, asText); got.status != 410 || got.code != "run_ended" {
			t.Errorf("after the run: %d %s", got.status, got.code)
		}
	}
}

// TestWhatOthersWriteHasItsKind: streams are also written by the callback URL.
func TestWhatOthersWriteHasItsKind(t *testing.T) {
	c := callbacks(t)
	got := handle(t, t.Context(), endpoint(t, time.Minute, c, func(_ http.ResponseWriter, r *http.Request) {
		post(r.Header.Get("Ackwire-Callback"), asJSON, `{"stream":"tokens","text":"a"}`)
		url := r.Header.Get("Ackwire-Streams") + "/tokens"
		if got := ask(t, "HEAD", url, ""); got.status != 404 {
			t.Errorf("before it is created here: %d", got.status)
		}
		if got := ask(t, "PUT", url, "", ct, asJSON); got.status != 409 || got.code != "stream_conflict" {
			t.Errorf("another kind: %d %s", got.status, got.code)
		}
		if got := ask(t, "PUT", url, "b", ct, asText); got.status != 201 || got.header.Get(next) != at(2) {
			t.Errorf("its kind: %d %s", got.status, got.header.Get(next))
		}
		callback := r.Header.Get("Ackwire-Callback")
		if status := post(callback, asJSON, `{"stream":"tokens","text":"c"}`); status != 204 {
			t.Errorf("a chunk: %d", status)
		}
		if got := ask(t, "POST", url, "", closed, "true"); got.status != 204 || got.header.Get(next) != at(3) {
			t.Errorf("a close: %d %s", got.status, got.header.Get(next))
		}
		if got := ask(t, "POST", callback, `{"stream":"tokens","text":"d"}`, ct, asJSON); got.status != 409 ||
			got.code != "stream_closed" {
			t.Errorf("a chunk of a closed stream: %d %s", got.status, got.code)
		}
	}), 0)
	if got.Streams["tokens"].Text != "abc" {
		t.Errorf("%+v", got)
	}
}

// TestEventsToAStreamThatIsClosed: an answer of events writes to a stream while it is open at the write side. Once it
// is closed there the run fails.
func TestEventsToAStreamThatIsClosed(t *testing.T) {
	got := handle(t, t.Context(), endpoint(t, time.Minute, callbacks(t), func(w http.ResponseWriter, r *http.Request) {
		url := r.Header.Get("Ackwire-Streams") + "/tokens"
		if got := ask(t, "PUT", url, "a", ct, asText); got.status != 201 {
			t.Errorf("PUT: %d", got.status)
		}
		say := func(events string) {
			_, _ = fmt.Fprint(w, events)
			_ = http.NewResponseController(w).Flush()
		}
		chunk := func(text string) string {
			return "event: chunk\ndata: {\"stream\":\"tokens\",\"text\":\"" + text + "\"}\n\n"
		}
		w.Header().Set("Content-Type", "text/event-stream")
		say(chunk("b"))
		for ask(t, "HEAD", url, "").header.Get(next) != at(2) {
			if r.Context().Err() != nil {
				return
			}
		}
		if got := ask(t, "POST", url, "", closed, "true"); got.status != 204 {
			t.Errorf("a close: %d", got.status)
		}
		say(chunk("c") + "event: result\ndata: 1\n\n")
	}), 0)
	wantFailure(t, "a chunk of a closed stream", got, job.CodeInvalidStream, false, "closed")
	if text := got.Streams["tokens"].Text; text != "ab" {
		t.Errorf("the stream is %q", text)
	}
}

// TestBoundsOfTheWriteSide: streams and producers are counted.
func TestBoundsOfTheWriteSide(t *testing.T) {
	writing(t, nil, func(url string) {
		for i := range job.MaxStreams {
			want, code := 201, ""
			if i == job.MaxStreams-1 { // one is the log
				want, code = 409, "invalid_stream"
			}
			if got := ask(t, "PUT", fmt.Sprintf("%s/s%d", url, i), "", ct, asText); got.status != want || got.code != code {
				t.Errorf("stream %d: %d %s", i, got.status, got.code)
			}
		}
		for i := range 1025 {
			stream := fmt.Sprintf("%s/s%d", url, i%2)
			want, code := 200, ""
			if i == 1024 {
				want, code = 429, "limit_exceeded"
			}
			if got := ask(t, "POST", stream, "x", by(strconv.Itoa(i), "0", "0")...); got.status != want || got.code != code {
				t.Errorf("producer %d: %d %s", i, got.status, got.code)
			}
		}
		if got := ask(t, "POST", url+"/s0", "x", by("0", "0", "1")...); got.status != 200 {
			t.Errorf("a producer that is known: %d", got.status)
		}
	})
}

// TestProducersAreExact: whatever producers repeat, skip or send late, each of their messages is there once, in order.
// A model says what is answered.
func TestProducersAreExact(t *testing.T) {
	const seeds, steps, producers = 5, 300, 3
	for seed := range uint64(seeds) {
		random := rand.New(rand.NewPCG(seed, 1))
		type known struct {
			begun       bool
			epoch, last int64
		}
		model := map[int64]*known{}
		text, end := "", int64(0)
		got := writing(t, nil, func(url string) {
			ask(t, "PUT", url+"/s", "", ct, asText)
			for step := range steps {
				id := random.Int64N(producers)
				k := model[id]
				if k == nil {
					k = &known{last: -1}
					model[id] = k
				}
				ofEpoch, number := max(0, k.epoch+random.Int64N(3)-1), max(0, k.last+random.Int64N(4)-1)
				if random.IntN(3) == 0 {
					number = 0
				}
				body := fmt.Sprintf("[%d %d %d %d]", id, ofEpoch, number, step)
				want := 0
				switch {
				case !k.begun && number > 0, k.begun && ofEpoch == k.epoch && number > k.last+1:
					want = 409
				case k.begun && ofEpoch < k.epoch:
					want = 403
				case k.begun && ofEpoch > k.epoch && number > 0:
					want = 400
				case k.begun && ofEpoch == k.epoch && number <= k.last:
					want = 204
				default:
					want, text, end = 200, text+body, end+int64(len(body))
					*k = known{true, ofEpoch, number}
				}
				got := ask(t, "POST", url+"/s", body, by(strconv.FormatInt(id, 10), strconv.FormatInt(ofEpoch, 10),
					strconv.FormatInt(number, 10))...)
				if got.status != want {
					t.Fatalf("seed %d, step %d, %s: %d, want %d", seed, step, body, got.status, want)
				}
				if want < 300 && got.header.Get(next) != at(int(end)) {
					t.Fatalf("seed %d, step %d: %s, want %s", seed, step, got.header.Get(next), at(int(end)))
				}
			}
		})
		if got.Streams["s"].Text != text {
			t.Errorf("seed %d: %q, want %q", seed, got.Streams["s"].Text, text)
		}
	}
}

// TestProducersMayRace: producers send several messages at a time, some of them twice, and again what came too early.
func TestProducersMayRace(t *testing.T) {
	const producers, messages, atATime = 4, 40, 5
	got := writing(t, nil, func(url string) {
		ask(t, "PUT", url+"/s", "", ct, asText)
		var all sync.WaitGroup
		for p := range producers {
			turns := make(chan struct{}, atATime)
			for m := range messages {
				turns <- struct{}{}
				all.Go(func() {
					defer func() { <-turns }()
					for tries := 0; ; tries++ {
						got := ask(t, "POST", url+"/s", fmt.Sprintf("[%d %d]", p, m), by(strconv.Itoa(p), "0", strconv.Itoa(m))...)
						if got.status == 200 && m%3 == 0 {
							got = ask(t, "POST", url+"/s", "twice", by(strconv.Itoa(p), "0", strconv.Itoa(m))...)
						}
						switch {
						case got.status == 200 || got.status == 204:
							return
						case got.status != 409 || tries > 10_000:
							t.Errorf("producer %d, message %d: %d %s", p, m, got.status, got.code)
							return
						}
					}
				})
			}
		}
		all.Wait()
	})
	var order [producers]int
	for part := range strings.SplitSeq(strings.Trim(got.Streams["s"].Text, "[]"), "][") {
		var p, m int
		if _, err := fmt.Sscanf(part, "%d %d", &p, &m); err != nil || p >= producers || order[p] != m {
			t.Fatalf("%q is out of order", part)
		}
		order[p]++
	}
	for p, n := range order {
		if n != messages {
			t.Errorf("producer %d has %d messages", p, n)
		}
	}
}

// TestBodiesAreBounded: what a run holds of bodies is bounded; one more is refused, and may come again.
func TestBodiesAreBounded(t *testing.T) {
	got := writing(t, nil, func(url string) {
		ask(t, "PUT", url+"/s", "", ct, asText)
		var bodies []*io.PipeWriter
		answers := make(chan int)
		for range 4 { // of unknown length: each counts as the largest
			body, w := io.Pipe()
			bodies = append(bodies, w)
			go func() {
				resp, err := http.Post(url+"/s", asText, body)
				if err != nil {
					t.Error(err)
					answers <- 0
					return
				}
				answers <- resp.StatusCode
				_ = resp.Body.Close()
			}()
			if _, err := w.Write([]byte("x")); err != nil { // the server reads it, once it has taken the request
				t.Error(err)
			}
		}
		var refused told
		for range 1000 { // the server may still read the last one's headers
			if refused = ask(t, "POST", url+"/s", "y", ct, asText); refused.status == 429 {
				break
			}
		}
		if refused.status != 429 || refused.code != "rate_limited" || refused.header.Get("Retry-After") != "1" {
			t.Errorf("one more: %d %s", refused.status, refused.code)
		}
		for _, w := range bodies {
			_ = w.Close()
			if status := <-answers; status != 204 {
				t.Errorf("%d", status)
			}
		}
		if got := ask(t, "POST", url+"/s", "z", ct, asText); got.status != 204 {
			t.Errorf("afterwards: %d", got.status)
		}
	})
	if text := strings.ReplaceAll(got.Streams["s"].Text, "y", ""); text != "xxxxz" {
		t.Errorf("%q", text)
	}
}
