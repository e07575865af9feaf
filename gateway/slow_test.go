package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/gateway/conns"
	"github.com/ackwire/ackwire/schemas/job"
)

// slow is a client that takes its time.
type slow struct {
	t    *testing.T
	what string
	conn net.Conn
}

func (w *world) slow(what string) *slow {
	w.t.Helper()
	conn, err := w.connect()
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	return &slow{w.t, what, conn}
}

// dribble sends what it has, and then a byte each second, until the gateway hangs up. It
// returns what it was answered and after how long.
func (s *slow) dribble(first string, more byte) (answer string, took time.Duration) {
	began := time.Now()
	hungUp := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(s.conn)
		hungUp <- string(b)
	}()
	if first != "" {
		_, _ = s.conn.Write([]byte(first))
	}
	for {
		select {
		case answer := <-hungUp:
			return answer, time.Since(began)
		case <-time.After(time.Second):
		}
		if time.Since(began) > 10*time.Minute {
			s.t.Fatalf("%s: the gateway waits for ever", s.what)
		}
		if more != 0 {
			_ = s.conn.SetWriteDeadline(time.Now().Add(time.Second))
			_, _ = s.conn.Write([]byte{more})
		}
	}
}

// TestSlowClients: each way to hold a connection without doing anything ends within its bound,
// with its status and in its metric.
func TestSlowClients(t *testing.T) {
	const host = "Host: " + gatewayAddr + "\r\n"
	request := func(method, path, header string) string {
		return method + " " + path + " HTTP/1.1\r\n" + host + header + "\r\n"
	}
	inWorld(t, nil, func(t *testing.T, w *world) {
		good := w.dial("")
		for _, c := range []struct {
			what, first string
			more        byte
			within      time.Duration
			status      int // 0: nobody is answered
			in          string
			bound       string
		}{
			{"nothing is sent", "", 0, 10 * time.Second, 0, "new", ""},
			{"half a request line", "GET /v1/jo", 0, 10 * time.Second, 400, "request", ""},
			{"headers by the byte", "GET /v1/jobs HTTP/1.1\r\n" + host + "X-Slow: ", 'x', 10 * time.Second, 0, "request", ""},
			{
				"a handshake by the byte", "GET /v1/ws HTTP/1.1\r\n" + host + "Upgrade: websocket\r\nX-Slow: ", 'x',
				10 * time.Second, 0, "request", "",
			},
			{
				"20 KiB of headers", "GET /v1/jobs HTTP/1.1\r\n" + host + "X-Long: " + strings.Repeat("x", 32<<10), 0,
				time.Second, 431, "request", "",
			},
			{
				"a body by the byte",
				request("POST", "/v1/jobs", "Content-Type: application/json\r\nContent-Length: 1000\r\n"), ' ',
				30 * time.Second, 400, "request", "message_time",
			},
			{
				"chunks by the byte",
				request("POST", "/v1/jobs", "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"), '0',
				30 * time.Second, 400, "request", "message_time",
			},
			{
				"a body that nobody reads, of a bad type", request("POST", "/v1/jobs", "Content-Length: 1000\r\n"), ' ',
				30 * time.Second, 415, "request", "",
			},
			{
				"a body that nobody reads, of a bad token",
				request("POST", "/v1/jobs", "Authorization: Bearer x\r\nContent-Length: 1000\r\n"), ' ', 30 * time.Second,
				401, "request", "",
			},
			{
				"a body of a cancel", request("POST", "/v1/jobs/"+jobA+"/cancel", "Content-Length: 1000\r\n"), ' ',
				30 * time.Second, 404, "request", "",
			},
			{
				"a body of a GET", request("GET", "/v1/jobs", "Content-Length: 1000\r\n"), ' ', 30 * time.Second, 200,
				"request", "",
			},
			{
				"a body for no route", request("POST", "/nowhere", "Content-Length: 1000\r\n"), ' ', 30 * time.Second,
				404, "request", "",
			},
			{"a connection that is kept for later", request("GET", "/v1/jobs", ""), 0, 2 * time.Minute, 200, "idle", ""},
		} {
			ends, bound := w.gauge("ackwire_gateway_http_connection_ends_total", c.in),
				w.gauge("ackwire_gateway_turned_away_total", c.bound)
			stop := make(chan struct{})
			alive := make(chan struct{})
			go func() {
				defer close(alive)
				for {
					good.wantAlive(c.what)
					select {
					case <-stop:
						return
					case <-time.After(time.Second):
					}
				}
			}()
			answer, took := w.slow(c.what).dribble(c.first, c.more)
			close(stop)
			<-alive
			status := 0
			if answer != "" {
				_, _ = fmt.Sscanf(answer, "HTTP/1.1 %d", &status)
			}
			if status != c.status || took > c.within+3*time.Second {
				t.Errorf("%s: after %s: %d, want %d within %s: %.200s", c.what, took, status, c.status, c.within, answer)
			}
			w.eventually(c.what+": its end is counted", func() bool {
				return w.gauge("ackwire_gateway_http_connection_ends_total", c.in) == ends+1
			})
			if n := w.gauge("ackwire_gateway_turned_away_total", c.bound); c.bound != "" && n != bound+1 {
				t.Errorf("%s: counted %v times", c.what, n-bound)
			}
		}
		w.eventually("all connections are gone", func() bool { return w.gauge("ackwire_gateway_http_connections") == 0 })
	})
}

// TestABodyThatWasReadEndsNoWait: the deadline of a body is its own.
func TestABodyThatWasReadEndsNoWait(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		began := time.Now()
		got := w.http("POST", "/v1/jobs", with(asJSON, "Prefer", "wait=50"), strings.NewReader(echo))
		if took := time.Since(began); got.status != 202 || took < 50*time.Second || took > 51*time.Second {
			t.Errorf("after %s: %d %s", took, got.status, got.body)
		}
	})
}

// TestASlowReader: who takes no answer does not hold its handler, and who takes no events is
// gone after ten seconds.
func TestASlowReader(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		for i := range 500 {
			w.tracker.set("local", fmt.Sprintf("01a208fd-2dc6-7467-acd5-bb987da2%04d", i), 5, job.Pending)
		}
		s := w.slow("a list that is not read")
		if _, err := s.conn.Write([]byte("GET /v1/jobs?limit=200 HTTP/1.1\r\nHost: " + gatewayAddr +
			"\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		w.eventually("a request runs", func() bool { return w.gauge("ackwire_gateway_http_connections") == 1 })
		for w.gauge("ackwire_gateway_http_connections") > 0 && time.Since(began) < 10*time.Minute {
			time.Sleep(time.Second)
		}
		if took := time.Since(began); took > conns.AnswerTimeout+2*time.Second {
			t.Errorf("it was gone after %s", took)
		}

		w.tracker.set("local", jobA, 5, job.Pending)
		s = w.slow("an event stream that is not read")
		if _, err := s.conn.Write([]byte("GET /v1/jobs/" + jobA + "/events HTTP/1.1\r\nHost: " + gatewayAddr +
			"\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		began = time.Now()
		for w.gauge("ackwire_gateway_event_stream_ends_total", "slow_consumer") == 0 && time.Since(began) < 10*time.Minute {
			time.Sleep(time.Second)
		}
		if took := time.Since(began); took > 12*time.Second {
			t.Errorf("it was gone after %s", took)
		}
	})
}

// TestAnAnswerAfterAPause: the deadline of one answer does not end the next on the same
// connection.
func TestAnAnswerAfterAPause(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		s := w.slow("one request a minute")
		br := bufio.NewReader(s.conn)
		for range 4 {
			if _, err := s.conn.Write([]byte("GET /v1/stats HTTP/1.1\r\nHost: " + gatewayAddr + "\r\n\r\n")); err != nil {
				t.Fatal(err)
			}
			r, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, r.Body); err != nil || r.StatusCode != 200 {
				t.Errorf("%d, %v", r.StatusCode, err)
			}
			time.Sleep(conns.AnswerTimeout + 10*time.Second)
		}
	})
}

// TestConnectionsAreBounded: for one above the bound the one that has said nothing for longest is closed; sockets do
// not count.
func TestConnectionsAreBounded(t *testing.T) {
	inWorld(t, func(c *Config) { c.Connections = 3 }, func(t *testing.T, w *world) {
		sockets := []*client{w.dial(""), w.dial(""), w.dial(""), w.dial("")}
		silent := []*slow{w.slow("it says nothing"), w.slow("nor does it"), w.slow("nor does it")}
		w.eventually("they are there", func() bool { return w.gauge("ackwire_gateway_http_connections") == 3 })
		silent = append(silent, w.slow("one more"))
		for i, s := range silent {
			_ = s.conn.SetReadDeadline(time.Now().Add(time.Second))
			_, err := s.conn.Read(make([]byte, 1))
			if closed := err == nil || !strings.Contains(err.Error(), "timeout"); closed != (i == 0) {
				t.Errorf("connection %d: %v", i, err)
			}
		}
		if n := w.gauge("ackwire_gateway_http_connections"); n != 3 {
			t.Errorf("%v are open", n)
		}
		if n := w.gauge("ackwire_gateway_turned_away_total", "connections"); n != 1 {
			t.Errorf("counted %v times", n)
		}
		sockets[0].wantAlive("a socket")
		time.Sleep(11 * time.Second) // they are closed as they send nothing
		w.dial("").wantAlive("there is room again")
	})
}
