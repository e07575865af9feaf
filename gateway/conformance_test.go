package gateway

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
)

// abuse is what a client may do to a socket, below what a library would let it.
type abuse struct {
	what string
	// do writes to the socket; a write that fails as the gateway has hung up is no error.
	do func(r *rawClient)
	// code is what the gateway closes with; 0: it stays open. With answer set a text frame
	// that has it comes before.
	code   int
	answer string
}

// Opcodes and flags (RFC 6455 §5.2).
const (
	opCont, opText, opBinary, opClose, opPing, opPong = 0x0, 0x1, 0x2, 0x8, 0x9, 0xa
	fin, rsv1, rsv2, rsv3                             = 0x80, 0x40, 0x20, 0x10
)

const pingText = `{"type":"ping","id":"7"}`

// abuses are the rows of the conformance that we set ourselves: what Autobahn's cases are
// about, and floods.
func abuses() []abuse {
	send := func(first byte, payload string) func(*rawClient) {
		return func(r *rawClient) { r.frame(first, payload) }
	}
	closing := func(c int, reason string) string { return string([]byte{byte(c >> 8), byte(c)}) + reason }
	big := strings.Repeat("x", frame.MaxFrameBytes+1)
	rows := []abuse{
		{"a text frame", send(fin|opText, pingText), 0, `"pong"`},
		{"three fragments", func(r *rawClient) {
			r.frame(opText, pingText[:5])
			r.frame(opCont, pingText[5:9])
			r.frame(fin|opCont, pingText[9:])
		}, 0, `"pong"`},
		{"empty fragments", func(r *rawClient) {
			r.frame(opText, "")
			r.frame(opCont, "")
			r.frame(opCont, pingText)
			r.frame(fin|opCont, "")
		}, 0, `"pong"`},
		{"control frames in between", func(r *rawClient) {
			r.frame(opText, pingText[:5])
			r.frame(fin|opPing, "a")
			r.frame(fin|opPong, "b")
			r.frame(opCont, pingText[5:9])
			r.frame(fin|opPing, "")
			r.frame(fin|opCont, pingText[9:])
		}, 0, `"pong"`},
		{"a ping of 125 bytes", func(r *rawClient) {
			r.frame(fin|opPing, strings.Repeat("p", 125))
			r.wantPong(strings.Repeat("p", 125))
		}, 0, ""},
		{"a code point split in two", func(r *rawClient) {
			r.frame(opText, "{\"type\":\"ping\",\"id\":\"\xe2\x82")
			r.frame(fin|opCont, "\xac\"}")
		}, 0, `€`},
		{
			"a frame at the limit",
			send(fin|opText, `{"type":"ping","id":"`+strings.Repeat("x", frame.MaxFrameBytes-23)+`"}`), 0,
			"invalid_frame",
		},
		{
			"10,000 levels",
			send(fin|opText, `{"type":"submit","id":"1","job":"demo.echo","payload":`+strings.Repeat("[", 10_000)+
				strings.Repeat("]", 10_000)+`}`),
			0, "nested deeper",
		},
		{"duplicate keys", send(fin|opText, `{"type":"ping","id":"1","id":"2"}`), 0, "duplicate key"},

		{"a byte that is never UTF-8", send(fin|opText, "{\"id\":\"\xff\"}"), 1007, ""},
		{"a lone continuation byte", send(fin|opText, "\x80"), 1007, ""},
		{"an overlong slash", send(fin|opText, "\xc0\xaf"), 1007, ""},
		{"a surrogate", send(fin|opText, "\xed\xa0\x80"), 1007, ""},
		{"above U+10FFFF", send(fin|opText, "\xf4\x90\x80\x80"), 1007, ""},
		{"a code point cut short", send(fin|opText, "{}\xe2\x82"), 1007, ""},
		{"a bad byte in a later fragment", func(r *rawClient) {
			r.frame(opText, `{"type":"ping",`)
			r.frame(fin|opCont, "\"id\":\"\xfe\"}")
		}, 1007, ""},
		{"a code point split and then broken", func(r *rawClient) {
			r.frame(opText, "\xe2\x82")
			r.frame(fin|opCont, "A")
		}, 1007, ""},

		{"a binary frame", send(fin|opBinary, pingText), 1003, ""},
		{"binary fragments", func(r *rawClient) { r.frame(opBinary, "a"); r.frame(fin|opCont, "b") }, 1003, ""},

		{"a frame above the limit", send(fin|opText, big), 1009, ""},
		{"fragments above the limit", func(r *rawClient) {
			r.frame(opText, big[:200<<10])
			r.frame(fin|opCont, big[:200<<10])
		}, 1009, ""},
		{"1 TiB announced", func(r *rawClient) {
			r.write([]byte{fin | opText, 0x80 | 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
			r.write([]byte(big))
		}, 1009, ""},
		{"fragments of a byte without end", func(r *rawClient) {
			r.frame(opText, "x")
			r.write(bytes.Repeat(r.masked(opCont, "x"), frame.MaxFrameBytes+1))
		}, 1009, ""},

		{"a length above 2^63", func(r *rawClient) {
			r.write([]byte{fin | opText, 0x80 | 127, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0})
		}, 1002, ""},
		{"no mask", func(r *rawClient) { r.write(append([]byte{fin | opText, byte(len(pingText))}, pingText...)) }, 1002, ""},
		{"a ping without a mask", func(r *rawClient) { r.write([]byte{fin | opPing, 0}) }, 1002, ""},
		{"a ping of 126 bytes", send(fin|opPing, strings.Repeat("p", 126)), 1002, ""},
		{"a pong of 126 bytes", send(fin|opPong, strings.Repeat("p", 126)), 1002, ""},
		{"a close of 126 bytes", send(fin|opClose, closing(1000, strings.Repeat("p", 124))), 1002, ""},
		{"a ping in fragments", func(r *rawClient) { r.frame(opPing, "a"); r.frame(fin|opCont, "b") }, 1002, ""},
		{"a close in fragments", func(r *rawClient) { r.frame(opClose, closing(1000, "")) }, 1002, ""},
		{"a continuation of nothing", send(fin|opCont, "a"), 1002, ""},
		{"a text within a text", func(r *rawClient) { r.frame(opText, "a"); r.frame(fin|opText, "b") }, 1002, ""},
		{
			"a reserved bit in a continuation",
			func(r *rawClient) { r.frame(opText, "a"); r.frame(fin|rsv1|opCont, "b") }, 1002, "",
		},
		{"a reserved bit in a ping", send(fin|rsv1|opPing, ""), 1002, ""},
		{
			"compressed, though nobody agreed to it",
			send(fin|rsv1|opText, "\xaa\x56\x2a\xa9\x2c\x48\x55\xb2\x52\x2a\xc8\xcc\x4b\x57\xaa\x05\x00"), 1002, "",
		},
		{"all reserved bits", send(fin|rsv1|rsv2|rsv3|opText, "a"), 1002, ""},
		{"an HTTP request", func(r *rawClient) { r.write([]byte("GET /v1/jobs HTTP/1.1\r\nHost: x\r\n\r\n")) }, 1002, ""},

		{"a close without a code", send(fin|opClose, ""), closedBare, ""},
		{"a close with half a code", send(fin|opClose, "\x03"), 1002, ""},
		{"a reason that is not UTF-8", send(fin|opClose, closing(1000, "\xff")), 1007, ""},
		{
			"a close in a message",
			func(r *rawClient) { r.frame(opText, "{"); r.frame(fin|opClose, closing(1001, "")) }, 1001, "",
		},
		{"pings without end", func(r *rawClient) { r.write(bytes.Repeat(r.masked(fin|opPing, ""), 3000)) }, 1008, ""},
		{"pongs without end", func(r *rawClient) { r.write(bytes.Repeat(r.masked(fin|opPong, "x"), 3000)) }, 1008, ""},
		{"pings without end in a message", func(r *rawClient) {
			r.frame(opText, "{")
			r.write(bytes.Repeat(r.masked(fin|opPing, ""), 3000))
		}, 1008, ""},
	}
	for op := range 16 {
		if op >= 3 && op <= 7 || op >= 11 {
			rows = append(rows, abuse{fmt.Sprintf("opcode %d", op), send(fin|byte(op), ""), 1002, ""})
		}
	}
	for _, bit := range []byte{rsv1, rsv2, rsv3} {
		rows = append(rows, abuse{fmt.Sprintf("reserved bit %x", bit), send(fin|bit|opText, pingText), 1002, ""})
	}
	for _, c := range []int{1000, 1001, 1002, 1003, 1007, 1011, 3000, 3999, 4000, 4999} {
		rows = append(rows, abuse{fmt.Sprintf("close %d", c), send(fin|opClose, closing(c, "bye")), c, ""})
	}
	for _, c := range []int{0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		rows = append(rows, abuse{
			fmt.Sprintf("close %d, which nobody may send", c), send(fin|opClose, closing(c, "")), 1002, "",
		})
	}
	return rows
}

// withAGoodClient runs every row while a client beside it goes on: each of its pings and
// submits is answered.
func withAGoodClient(t *testing.T, w *world) { abused(t, w, abuses()) }

// abused is withAGoodClient with rows of one's own, from clients that offer extensions.
func abused(t *testing.T, w *world, rows []abuse, extensions ...string) {
	good := w.dial("")
	for _, row := range rows {
		closes := w.gauge("ackwire_gateway_session_closes_total", "none") + w.gauge("ackwire_gateway_session_closes_total",
			fmt.Sprint(row.code))
		done := make(chan struct{})
		go func() {
			defer close(done)
			r := w.rawOffering(row.what, extensions...)
			defer r.close()
			row.do(r)
			if row.answer != "" {
				r.wantText(row.answer)
			}
			if row.code == 0 {
				r.frame(fin|opText, `{"type":"ping","id":"and on"}`)
				r.wantText("and on")
				r.frame(fin|opClose, "\x03\xe8")
				r.wantClose(1000)
				return
			}
			r.wantClose(row.code)
		}()
		for working := true; working; {
			select {
			case <-done:
				working = false
			case <-time.After(50 * time.Millisecond): // within its own rate of frames
			}
			good.wantAlive(row.what)
			good.send(`{"type":"submit","id":"s","job":"demo.echo","payload":1,"watch":false}`)
			good.want(row.what, frame.Ack)
		}
		w.eventually(row.what+": the close is counted", func() bool {
			return w.gauge("ackwire_gateway_session_closes_total", "none")+w.gauge("ackwire_gateway_session_closes_total",
				fmt.Sprint(row.code)) == closes+1
		})
	}
	if n := w.gauge("ackwire_gateway_sessions"); n != 1 {
		t.Errorf("%v sessions are open, want the good client's", n)
	}
}

// TestConformance on a virtual network, where no byte is lost.
func TestConformance(t *testing.T) {
	inWorld(t, nil, withAGoodClient)
}

// TestConformanceOverTCP: there a socket that is closed with unread data loses what it was sent.
func TestConformanceOverTCP(t *testing.T) {
	onLoopback(t, nil, withAGoodClient)
}

// TestAMessageThatDoesNotEnd: a byte now and then, and pings in between, hold a session's
// buffer for so long only.
func TestAMessageThatDoesNotEnd(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		r := w.raw("a dribble")
		defer r.close()
		began := time.Now()
		r.frame(opText, "{")
		for !r.closed() && time.Since(began) < 10*time.Minute {
			time.Sleep(5 * time.Second)
			r.frame(opCont, " ")
			r.frame(fin|opPing, "")
		}
		r.wantClose(1008)
		if took := time.Since(began); took > time.Minute {
			t.Errorf("closed after %s", took)
		}
		if n := w.gauge("ackwire_gateway_turned_away_total", "message_time"); n != 1 {
			t.Errorf("counted %v times", n)
		}
	})
}
