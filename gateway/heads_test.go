package gateway

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/gateway/conns"
	"github.com/ackwire/ackwire/gateway/requestid"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// manyJobs is the path of a stream of so many jobs, that the tracker has.
func (w *world) manyJobs(n int) (path string, ids []string) {
	for i := range n {
		id := fmt.Sprintf("01a208fd-2dc6-7467-acd5-%012x", i)
		w.tracker.set("local", id, math.MaxInt64-int64(n)+int64(i), job.Completed)
		ids = append(ids, id)
	}
	return "/v1/events?job=" + strings.Join(ids, "&job="), ids
}

// TestAStreamOfAThousandJobs follows as many jobs as one may, and comes back with the longest cursor that there is. One
// more is refused with its code, as are more than a request line holds.
func TestAStreamOfAThousandJobs(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		path, ids := w.manyJobs(frame.MaxSubscriptions)
		a := w.http(http.MethodGet, path, nil, nil)
		if n := strings.Count(a.body, "event: status\n"); a.status != http.StatusOK || n != len(ids) {
			t.Fatalf("%d, %d statuses of %d jobs: %.200s", a.status, n, len(ids), a.body)
		}
		last := a.body[strings.LastIndex(a.body, "id: ")+len("id: "):]
		last, _, _ = strings.Cut(last, "\n")
		if len(last) < 13*len(ids) || len(last) > 14*len(ids) {
			t.Fatalf("the cursor has %d characters", len(last))
		}
		header := with(http.Header{"Last-Event-ID": {last}}, "Authorization",
			"Bearer "+w.token("local", testSubject, time.Hour))
		if a := w.http(http.MethodGet, path, header, nil); a.status != http.StatusNoContent {
			t.Errorf("all was told: %d %.200s", a.status, a.body)
		}
		path, _ = w.manyJobs(frame.MaxSubscriptions + 1)
		if a := w.http(http.MethodGet, path, nil, nil); a.status != http.StatusTooManyRequests || a.code != "limit_exceeded" {
			t.Errorf("one more: %d %s", a.status, a.body)
		}
		path, _ = w.manyJobs(2 * frame.MaxSubscriptions)
		if a := w.http(http.MethodGet, path, nil, nil); a.status != http.StatusRequestHeaderFieldsTooLarge ||
			a.code != "headers_too_large" {
			t.Errorf("twice as many: %d %s", a.status, a.body)
		}
		if n := w.gauge("ackwire_gateway_turned_away_total", "request_head"); n != 1 {
			t.Errorf("counted %v times", n)
		}
	})
}

// TestHeadsOverTCP sends them over real sockets, where an answer is lost to a client that is cut off while it sends.
func TestHeadsOverTCP(t *testing.T) {
	onLoopback(t, nil, func(t *testing.T, w *world) {
		w.startTracker()
		path, ids := w.manyJobs(frame.MaxSubscriptions)
		if a := w.http(http.MethodGet, path, nil, nil); a.status != http.StatusOK ||
			strings.Count(a.body, "event: status\n") != len(ids) {
			t.Errorf("%d: %.200s", a.status, a.body)
		}
		for _, size := range []int{64 << 10, 200 << 10} {
			a := w.http(http.MethodGet, "/v1/jobs", http.Header{"X-Long": {strings.Repeat("x", size)}}, nil)
			if a.status != http.StatusRequestHeaderFieldsTooLarge || a.code != "headers_too_large" {
				t.Errorf("%d bytes of headers: %d %s", size, a.status, a.body)
			}
		}
	})
}

// TestWhatNoHandlerSees: a request that the HTTP server refuses by itself is answered as all others are, with a
// documented code.
func TestWhatNoHandlerSees(t *testing.T) {
	const host, pipelined = "Host: " + gatewayAddr + "\r\n", "24 KiB of headers"
	head := func(line, more string) string { return line + "\r\n" + host + more + "\r\n" }
	long := func(n int) string { return "X-Long: " + strings.Repeat("x", n) + "\r\n" }
	inWorld(t, nil, func(t *testing.T, w *world) {
		for _, c := range []struct {
			what, sent string
			status     int
			code       string
		}{
			{"usual", head("GET /v1/stats HTTP/1.1", ""), 200, ""},
			{"a token of 12 KiB", head("GET /v1/stats HTTP/1.1", long(12<<10)), 200, ""},
			{"64 KiB of headers", head("GET /v1/stats HTTP/1.1", long(64<<10)), 431, "headers_too_large"},
			{
				"64 KiB of headers in small ones", head("GET /v1/stats HTTP/1.1", strings.Repeat(long(100), 600)), 431,
				"headers_too_large",
			},
			{pipelined, head("GET /v1/stats HTTP/1.1", long(24<<10)), 431, "headers_too_large"},
			{"a long line", head("GET /v1/stats?"+strings.Repeat("x", 64<<10)+" HTTP/1.1", ""), 431, "headers_too_large"},
			{"a line without an end", strings.Repeat("x", 80<<10), 431, "headers_too_large"},
			{"empty lines before a line without an end", "\r\n" + strings.Repeat("x", 80<<10), 400, "invalid_frame"},
			{"no request line", "nonsense\r\n\r\n", 400, "invalid_frame"},
			{"a header without a colon", head("GET /v1/stats HTTP/1.1", "nonsense\r\n"), 400, "invalid_frame"},
			{"no host", "GET /v1/stats HTTP/1.1\r\n\r\n", 400, "invalid_frame"},
			{"two hosts", head("GET /v1/stats HTTP/1.1", host), 400, "invalid_frame"},
			{"a later version", head("GET /v1/stats HTTP/3.0", ""), 400, "invalid_frame"},
			{"an unknown transfer coding", head("POST /v1/jobs HTTP/1.1", "Transfer-Encoding: gzip\r\n"), 400, "invalid_frame"},
			{"a bad length", head("POST /v1/jobs HTTP/1.1", "Content-Length: -1\r\n"), 400, "invalid_frame"},
			{
				"a body that looks like headers",
				head("POST /v1/jobs HTTP/1.1", "Content-Type: application/json\r\nContent-Length: 40000\r\n") +
					strings.Repeat("x\n", 20000),
				400, "invalid_frame",
			},
		} {
			for _, before := range []string{"", head("GET /v1/stats HTTP/1.1", "")} {
				if before != "" && c.what == pipelined {
					continue // read ahead in part: it is bounded as a line is
				}
				s := w.slow(c.what)
				go func() { _, _ = s.conn.Write([]byte(before + c.sent)) }()
				br := bufio.NewReader(s.conn)
				for _, sent := range []string{before, c.sent} {
					if sent == "" {
						continue
					}
					_ = s.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
					r, err := http.ReadResponse(br, nil)
					if err != nil {
						t.Fatalf("%s: %v", c.what, err)
					}
					body, err := io.ReadAll(r.Body)
					if sent == before {
						continue
					}
					var p frame.Problem
					if c.code != "" && json.Unmarshal(body, &p) != nil || err != nil || r.StatusCode != c.status ||
						string(p.Code) != c.code ||
						c.code != "" && (p.Status != c.status || r.Header.Get("Content-Type") != "application/problem+json" ||
							r.Header.Get(requestid.Header) == "") {
						t.Errorf("%s: %d %v %q, %v", c.what, r.StatusCode, r.Header, body, err)
					}
				}
				_ = s.conn.Close()
			}
		}
		w.eventually("all connections are gone", func() bool { return w.gauge("ackwire_gateway_http_connections") == 0 })
		if n := w.gauge("ackwire_gateway_errors_total", "headers_too_large"); n != 9 {
			t.Errorf("%v errors are counted", n)
		}
	})
}

// TestLongRequestLinesHaveABound has many connections send long request lines without an end: what they hold is
// bounded, and a request that does end is served.
func TestLongRequestLinesHaveABound(t *testing.T) {
	const clients, bound = 2000, 48 << 20
	inWorld(t, nil, func(t *testing.T, w *world) {
		path, ids := w.manyJobs(frame.MaxSubscriptions)
		before := heapInUse()
		for range clients {
			s := w.slow("a line without an end")
			_ = s.conn.SetWriteDeadline(time.Now().Add(time.Second))
			_, _ = s.conn.Write([]byte("GET /v1/events?" + strings.Repeat("x", conns.MaxRequestLine-100)))
		}
		runtime.GC()
		if grown := heapInUse() - before; grown > bound {
			t.Errorf("they hold %d MB, want at most %d MB", grown>>20, bound>>20)
		}
		if n := w.gauge("ackwire_gateway_turned_away_total", "long_request_lines"); n != clients-conns.MaxLongLines {
			t.Errorf("%v made room", n)
		}
		if a := w.http(http.MethodGet, path, nil, nil); a.status != http.StatusOK ||
			strings.Count(a.body, "event: status\n") != len(ids) {
			t.Errorf("%d: %.200s", a.status, a.body)
		}
	})
}
