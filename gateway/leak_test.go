package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
)

// Connections of each kind come and go, atOnce of them beside each other: 200, or with
// ACKWIRE_LONG=1 a thousand.
const (
	atOnce     = 50
	leakRounds = 3 // after which memory that grew each time is a leak
)

func cyclesOfEach() int64 {
	if os.Getenv("ACKWIRE_LONG") != "" {
		return 1000
	}
	return 200
}

// visit is one connection, made by hand: a client library would have buffers of its own.
type visit struct {
	conn *net.TCPConn
	br   *bufio.Reader
}

// visit sends a request and reads the head of its answer.
func (w *world) visit(method, target, header, body string) (v visit, status int, err error) {
	conn, err := w.connect()
	if err != nil {
		return v, 0, err
	}
	v = visit{conn.(*net.TCPConn), bufio.NewReaderSize(conn, 512)}
	_ = conn.SetDeadline(time.Now().Add(settled))
	if _, err = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n%s\r\n%s", method, target,
		gatewayAddr, len(body), header, body); err != nil {
		return v, 0, err
	}
	answer, err := http.ReadResponse(v.br, &http.Request{Method: method})
	if err != nil {
		return v, 0, err
	}
	return v, answer.StatusCode, nil
}

// reset closes without a word, as a client that is killed.
func (v visit) reset() { _ = v.conn.SetLinger(0); _ = v.conn.Close() }

func (v visit) frame(first byte, payload string) {
	_, _ = v.conn.Write(new(rawClient).masked(first, payload))
}

// end reads until the gateway has closed.
func (v visit) end() { _, _ = io.Copy(io.Discard, v.br); _ = v.conn.Close() }

// until reads until a part of what comes is there.
func (v visit) until(part string) {
	for seen := ""; !strings.Contains(seen, part); {
		b, err := v.br.ReadByte()
		if err != nil {
			return
		}
		seen += string(b)
	}
}

// descriptors counts the process's open files; 0 where that cannot be told.
func descriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}

// TestNothingIsLeft: connections of each kind come and go, and leave no goroutine, no
// descriptor, no memory and no count behind.
func TestNothingIsLeft(t *testing.T) {
	cycles := cyclesOfEach()
	onLoopback(t, func(c *Config) {
		c.Compression.On = true
		c.Auth.AnonymousTenant, c.FirstFrame, c.Limits.SubjectSessions = "", time.Second, 10_000
	}, func(t *testing.T, w *world) {
		w.startTracker()
		w.tracker.set("acme", jobA, 5, job.Processing)
		// The gateway opens its one stream to the tracker by itself, a moment after it has heard of
		// it. Its goroutines must not be taken for a connection's that was left.
		w.eventually("the tracker is connected", func() bool { return w.gauge("ackwire_gateway_tracker_streams") == 1 })
		const socket = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " +
			"dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: ackwire.v1\r\n"
		small, megabyte := socket+"Sec-WebSocket-Extensions: "+browsers+"\r\n", deflate(strings.Repeat("\x00", 1<<20))
		bearer := "Authorization: Bearer " + w.token("acme", "alice", time.Hour) + "\r\n"
		kinds := []struct {
			what   string
			status int
			method string
			target string
			header string
			body   string
			then   func(v visit)
		}{
			{
				"a clean close", 101, "GET", "/v1/ws", socket + bearer, "",
				func(v visit) { v.frame(fin|opClose, "\x03\xe8"); v.end() },
			},
			{"a reset", 101, "GET", "/v1/ws", socket + bearer, "", visit.reset},
			{
				"a reset within a frame", 101, "GET", "/v1/ws", socket + bearer, "",
				func(v visit) { _, _ = v.conn.Write([]byte{fin | opText, 0xff}); v.reset() },
			},
			{"a broken frame", 101, "GET", "/v1/ws", socket + bearer, "", func(v visit) {
				v.frame(fin|rsv1|opText, "")
				v.until("rsv bits")
				_ = v.conn.Close()
			}},
			{"a token that is refused", 401, "GET", "/v1/ws", socket + "Authorization: Bearer x\r\n", "", visit.reset},
			{
				"a first frame that is refused", 101, "GET", "/v1/ws", socket, "",
				func(v visit) { v.frame(fin|opText, `{"type":"auth","token":"x"}`); v.frame(fin|opClose, ""); v.end() },
			},
			{
				"no first frame", 101, "GET", "/v1/ws", socket, "",
				func(v visit) { v.until("auth_timeout"); v.frame(fin|opClose, ""); v.end() },
			},
			{"a watch, and gone", 101, "GET", "/v1/ws", socket + bearer, "", func(v visit) {
				v.frame(fin|opText, `{"type":"subscribe","id":"1","jobs":[{"jobId":"`+jobA+`"}]}`)
				v.until(`"subscribed"`)
				v.reset()
			}},
			{"a watch, gone at once", 101, "GET", "/v1/ws", socket + bearer, "", func(v visit) {
				v.frame(fin|opText, `{"type":"subscribe","id":"1","jobs":[{"jobId":"`+jobA+`"}],"mine":false}`)
				v.reset()
			}},
			{"a submit, and gone", 101, "GET", "/v1/ws", socket + bearer, "", func(v visit) {
				v.frame(fin|opText, `{"type":"submit","id":"1","job":"demo.echo","payload":1,"watch":false}`)
				v.reset()
			}},
			{"compression, and a clean close", 101, "GET", "/v1/ws", small + bearer, "", func(v visit) {
				v.frame(fin|rsv1|opText, deflate(`{"type":"subscribe","id":"1","jobs":[{"jobId":"`+jobA+`"}]}`))
				v.until(`"subscribed"`)
				v.frame(fin|rsv1|opText, deflate(pingText))
				v.until(`"pong"`)
				v.frame(fin|opClose, "\x03\xe8")
				v.end()
			}},
			{"a large answer that is compressed", 101, "GET", "/v1/ws", small + bearer, "", func(v visit) {
				v.frame(fin|rsv1|opText, deflate(`{"type":"unsubscribe","id":"u","jobs":["`+strings.Repeat(jobA+`","`, 100)+jobA+
					`"]}`))
				v.until("\u00c1") // its first byte, FIN, RSV1 and a text, as a code point
				v.reset()
			}},
			{"a reset within a compressed message", 101, "GET", "/v1/ws", small + bearer, "", func(v visit) {
				v.frame(rsv1|opText, deflate(pingText)[:7])
				v.reset()
			}},
			{"a text that inflates to too much", 101, "GET", "/v1/ws", small + bearer, "", func(v visit) {
				v.frame(fin|rsv1|opText, megabyte)
				v.until("read limited")
				v.frame(fin|opClose, "")
				v.end()
			}},
			{"a text that does not inflate", 101, "GET", "/v1/ws", small + bearer, "", func(v visit) {
				v.frame(fin|rsv1|opText, "\x07")
				v.until("websocket_violation")
				v.frame(fin|opClose, "")
				v.end()
			}},
			{
				"an event stream, and gone", 200, "GET", "/v1/jobs/" + jobA + "/events", bearer, "",
				func(v visit) { v.until("processing"); v.reset() },
			},
			{"a long poll that is left", 0, "GET", "/v1/jobs/" + jobA, bearer + "Prefer: wait=30\r\n", "", nil},
			{"a request", 200, "GET", "/v1/jobs/" + jobA, bearer, "", visit.reset},
			{"half a request", 0, "GET", "/v1/jobs/" + jobA, bearer + "X: ", "", nil},
			{"a ticket", 201, "POST", "/v1/ws-tickets", bearer, "", func(v visit) {
				_, after, _ := strings.Cut(readBody(v), `"url":"`)
				target, _, _ := strings.Cut(after, `"`)
				v.reset()
				opened, status, err := w.visit("GET", target, socket, "")
				if err != nil || status != 101 {
					t.Errorf("a ticket opens %d, %v", status, err)
				}
				opened.reset()
			}},
		}
		settle := func() (goroutines, files int, heap uint64) {
			w.eventually("all are gone", func() bool {
				jobs, subs := w.gateway.hub.Size()
				if w.gauge("ackwire_gateway_tracker_streams") != 1 {
					return false // it comes back by itself
				}
				return w.gauge("ackwire_gateway_compression_sockets")+w.gauge("ackwire_gateway_sessions")+
					w.gauge("ackwire_gateway_http_connections")+w.gauge("ackwire_gateway_event_streams") == 0 && jobs+subs == 0
			})
			var m runtime.MemStats
			runtime.GC()
			runtime.GC()
			runtime.ReadMemStats(&m)
			return runtime.NumGoroutine(), descriptors(), m.HeapAlloc
		}
		for _, k := range kinds {
			var failed atomic.Int64
			do := func(n int64) {
				var all sync.WaitGroup
				slots := make(chan struct{}, atOnce)
				if strings.HasPrefix(k.what, "no first") {
					slots = make(chan struct{}, n) // each takes a second
				}
				for range n {
					slots <- struct{}{}
					all.Go(func() {
						defer func() { <-slots }()
						if k.then == nil { // it is left before it is answered
							conn, err := w.connect()
							if err != nil {
								failed.Add(1)
								return
							}
							_, _ = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", k.method, k.target, gatewayAddr, k.header)
							_ = conn.(*net.TCPConn).SetLinger(0)
							_ = conn.Close()
							return
						}
						v, status, err := w.visit(k.method, k.target, k.header, k.body)
						if err != nil || status != k.status {
							failed.Add(1)
							return
						}
						k.then(v)
					})
				}
				all.Wait()
			}
			do(atOnce) // what is made once and kept
			goroutines, files, heap := settle()
			bound := int64(1500)
			switch {
			case strings.HasPrefix(k.what, "a submit"):
				bound = 8000 // the test's own broker and tracker keep what was submitted
			case strings.HasPrefix(k.what, "no first"):
				bound = 4000 // they are open beside each other, and maps keep the room that they once had
			}
			// A leak grows each time; what a busy machine makes once and keeps does not.
			for round := 1; ; round++ {
				do(cycles)
				g, f, after := settle()
				for deadline := time.Now().Add(settled); g > goroutines+2 || f > files+2; g, f, after = settle() {
					if time.Now().After(deadline) {
						t.Fatalf("%s: %d goroutines and %d descriptors are left after %s:\n%s",
							k.what, g-goroutines, f-files, settled, goroutineProfile())
					}
					<-time.After(20 * time.Millisecond)
				}
				grew := int64(after) - int64(heap)
				t.Logf("%s: heap %+d bytes a connection", k.what, grew/cycles)
				if grew <= cycles*bound {
					break
				}
				if round == leakRounds {
					t.Errorf("%s: the heap grew by %d bytes, and before that as often as it was tried", k.what, grew)
					break
				}
				heap = after
			}
			if n := failed.Load(); n > 0 {
				t.Errorf("%s: %d went otherwise", k.what, n)
			}
		}
		// And those that a drain ends.
		goroutines, files, _ := settle()
		var open []visit
		for range cycles {
			v, status, err := w.visit("GET", "/v1/ws", socket+bearer, "")
			if err != nil || status != 101 {
				t.Fatalf("%d, %v", status, err)
			}
			open = append(open, v)
		}
		var ended sync.WaitGroup
		for _, v := range open {
			ended.Go(func() {
				v.until("service_restart")
				v.frame(fin|opClose, "")
				v.end()
			})
		}
		w.stopGateway()
		ended.Wait()
		w.eventually("after a drain no goroutine and no descriptor is left", func() bool {
			return runtime.NumGoroutine() <= goroutines && descriptors() <= files
		})
	})
}

// goroutineProfile lists the stacks of all goroutines, and how many have each.
func goroutineProfile() string {
	var b strings.Builder
	_ = pprof.Lookup("goroutine").WriteTo(&b, 1)
	return b.String()
}

// readBody reads the JSON object that follows.
func readBody(v visit) string {
	b, _ := v.br.ReadString('\n')
	return b
}
