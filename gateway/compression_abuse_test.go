package gateway

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
)

// compressedAbuses are what a client with compression may do to its socket.
func compressedAbuses() []abuse {
	send := func(first byte, payload string) func(*rawClient) {
		return func(r *rawClient) { r.frame(first, payload) }
	}
	text := func(s string) func(*rawClient) { return send(fin|rsv1|opText, deflate(s)) }
	fragments := func(r *rawClient, compressed string, sizes ...int) {
		first := byte(rsv1 | opText)
		for _, n := range sizes {
			r.frame(first, compressed[:n])
			compressed, first = compressed[n:], opCont
		}
		r.frame(fin|opCont, compressed)
	}
	ping := deflate(pingText)
	lastBlock := "\xf3\x48\xcd\xc9\xc9\x07\x00\x00" // Hello
	id := `{"type":"ping","id":""}`
	limit := frame.MaxFrameBytes
	megabyte := deflate(strings.Repeat("\x00", 1<<20))
	return []abuse{
		{"compressed", text(pingText), 0, `"pong"`},
		{"compressed and not, in turns", func(r *rawClient) {
			for range 3 {
				r.frame(fin|rsv1|opText, ping)
				r.wantText(`"pong"`)
				r.frame(fin|opText, pingText)
				r.wantText(`"pong"`)
			}
		}, 0, ""},
		{"fragments", func(r *rawClient) { fragments(r, ping, 5, 4) }, 0, `"pong"`},
		{"a byte each", func(r *rawClient) { fragments(r, ping, slices.Repeat([]int{1}, len(ping)-1)...) }, 0, `"pong"`},
		{"empty fragments", func(r *rawClient) { fragments(r, ping, 0, 0, len(ping)) }, 0, `"pong"`},
		{"control frames in between", func(r *rawClient) {
			r.frame(rsv1|opText, ping[:5])
			r.frame(fin|opPing, "a")
			r.wantPong("a")
			r.frame(fin|opPong, "b")
			r.frame(opCont, ping[5:9])
			r.frame(fin|opPing, "")
			r.frame(fin|opCont, ping[9:])
		}, 0, `"pong"`},
		// RFC 7692 §7.2.3 has these.
		{"fixed Huffman codes", send(fin|rsv1|opText, "\xf2\x48\xcd\xc9\xc9\x07\x00"), 0, "not a JSON object"}, // Hello
		{"not compressed", send(fin|rsv1|opText, "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), 0, "not a JSON object"},
		{"two blocks", send(fin|rsv1|opText, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), 0, "not a JSON object"},
		{"a last block", send(fin|rsv1|opText, lastBlock), 0, "not a JSON object"},
		{"no text", text(""), 0, "invalid_frame"},
		{"no byte, which is no text", send(fin|rsv1|opText, ""), 0, "invalid_frame"},
		{
			"text that is cut short",
			send(fin|rsv1|opText, deflate(`{"type":"ping","id":"` + strings.Repeat("0123456789", 20) + `"}`)[:30]), 0,
			"invalid_frame",
		},
		{"a code point split in two", func(r *rawClient) {
			c := deflate(`{"type":"ping","id":"€€€€"}`)
			fragments(r, c, slices.Repeat([]int{1}, len(c)-1)...)
		}, 0, `€`},
		{
			"a frame at the limit", text(id[:len(id)-2] + strings.Repeat("x", limit-len(id)) + id[len(id)-2:]), 0,
			"invalid_frame",
		},
		{
			"10,000 levels",
			text(`{"type":"submit","id":"1","job":"demo.echo","payload":` + strings.Repeat("[", 10_000) + strings.Repeat("]",
				10_000) + `}`),
			0, "nested deeper",
		},
		{"duplicate keys", text(`{"type":"ping","id":"1","id":"2"}`), 0, "duplicate key"},

		{"a megabyte of zeros", send(fin|rsv1|opText, megabyte), 1009, ""},
		{"a megabyte of spaces and a ping", text(strings.Repeat(" ", 1<<20) + pingText), 1009, ""},
		{"a byte above the limit", text(strings.Repeat("x", limit+1)), 1009, ""},
		{"a gigabyte", func(r *rawClient) {
			r.frame(rsv1|opText, "")
			for range 1024 {
				if r.closed() {
					return
				}
				r.frame(opCont, megabyte+"\x00\x00\xff\xff")
			}
		}, 1009, ""},
		{
			"a megabyte, a byte at a time",
			func(r *rawClient) { fragments(r, megabyte, slices.Repeat([]int{1}, len(megabyte)-1)...) }, 1009, "",
		},
		{"a megabyte that is binary", send(fin|rsv1|opBinary, megabyte), 1009, ""},

		{"a byte that is never UTF-8", text("{\"id\":\"\xff\"}"), 1007, ""},
		{"a code point cut short", text("{}\xe2\x82"), 1007, ""},
		{"a binary frame", send(fin|rsv1|opBinary, ping), 1003, ""},

		{"a block of a kind that does not exist", send(fin|rsv1|opText, "\x07"), 1002, ""},
		{"a length that is not its complement", send(fin|rsv1|opText, "\x00\x05\x00\xfa\xfeHello\x00"), 1002, ""},
		{"a context that was not kept", func(r *rawClient) {
			r.frame(fin|rsv1|opText, ping)
			r.wantText(`"pong"`)
			r.frame(fin|rsv1|opText, "\xf2\x00\x11\x00\x00") // Hello, once more: RFC 7692 §7.2.3.2
		}, 1002, ""},
		// The library takes a last block, and leaves what follows it to the next compressed message.
		{"a last block and more", func(r *rawClient) {
			r.frame(fin|rsv1|opText, lastBlock)
			r.wantText("not a JSON object")
			r.frame(fin|rsv1|opText, ping)
		}, 1002, ""},
		{"random bytes", func(r *rawClient) {
			rng := rand.New(rand.NewPCG(3, 4))
			b := make([]byte, 4096)
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
			r.frame(fin|rsv1|opText, string(b))
		}, 1002, ""},
		{
			"a reserved bit in a continuation",
			func(r *rawClient) { r.frame(rsv1|opText, ping[:5]); r.frame(fin|rsv1|opCont, ping[5:]) }, 1002, "",
		},
		{"a reserved bit in a ping", send(fin|rsv1|opPing, ""), 1002, ""},
		{
			"a reserved bit in a ping within a message",
			func(r *rawClient) { r.frame(rsv1|opText, ping[:5]); r.frame(fin|rsv1|opPing, "") }, 1002, "",
		},
		{"a reserved bit in a close", send(fin|rsv1|opClose, "\x03\xe8"), 1002, ""},
		{"another reserved bit beside it", send(fin|rsv1|rsv2|opText, ping), 1002, ""},
		{
			"a text within a text",
			func(r *rawClient) { r.frame(rsv1|opText, ping[:5]); r.frame(fin|rsv1|opText, ping) }, 1002, "",
		},
		{
			"a close in a message",
			func(r *rawClient) { r.frame(rsv1|opText, ping[:5]); r.frame(fin|opClose, "\x03\xe9") }, 1001, "",
		},
	}
}

// TestConformanceWithCompression: clients that have it may do no more than others, and what
// goes wrong is told by the same codes.
func TestConformanceWithCompression(t *testing.T) {
	rows := slices.DeleteFunc(abuses(), func(a abuse) bool { // that none was agreed on
		return strings.HasPrefix(a.what, "compressed") || a.what == "reserved bit 40"
	})
	inWorld(t, compressing, func(t *testing.T, w *world) {
		abused(t, w, append(rows, compressedAbuses()...), browsers)
	})
}

// TestLargeTextsInFewBytes: they count against the rate of frames by what they inflate to. On a
// clock that stands still while they are read.
func TestLargeTextsInFewBytes(t *testing.T) {
	inWorld(t, compressing, func(t *testing.T, w *world) {
		big := deflate(strings.Repeat(" ", frame.MaxFrameBytes-len(pingText)) + pingText)
		few := 2 * int(Defaults().FrameRate) / (1 + frame.MaxFrameBytes>>14) // the burst
		abused(t, w, []abuse{
			{"large texts", func(r *rawClient) {
				for range few {
					r.frame(fin|rsv1|opText, big)
					r.wantText(`"pong"`)
				}
				time.Sleep(time.Second)
			}, 0, ""},
			{"large texts without end", func(r *rawClient) {
				for range 2 * few {
					r.frame(fin|rsv1|opText, big)
				}
			}, 1008, ""},
		}, browsers)
		if n := w.gauge("ackwire_gateway_turned_away_total", "frame_rate"); n == 0 {
			t.Error("nothing was turned away")
		}
	})
}

// TestConformanceWithCompressionOverTCP: there a socket that is closed with unread data loses
// what it was sent.
func TestConformanceWithCompressionOverTCP(t *testing.T) {
	onLoopback(t, compressing, func(t *testing.T, w *world) { abused(t, w, compressedAbuses(), browsers) })
}

// TestSpoiltStreams: a compressed message of which some bits are others is answered as whatever
// it says then, or ends its socket, and only that, with a code.
func TestSpoiltStreams(t *testing.T) {
	inWorld(t, compressing, func(t *testing.T, w *world) {
		good := w.dial("")
		rng := rand.New(rand.NewPCG(5, 6))
		ends := map[int]int{}
		for i := range 150 {
			size := 1 << rng.IntN(16)
			b := []byte(deflate(`{"type":"submit","id":"1","job":"none","payload":` + string(sales(jobA, size)) + `}`))
			for range 1 + rng.IntN(4) {
				b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
			}
			r := w.rawOffering(fmt.Sprint("spoilt ", i), browsers)
			r.frame(fin|rsv1|opText, string(b))
			select {
			case <-r.texts:
				ends[0]++
			case <-r.ended:
				ends[r.code]++
			case <-time.After(settled):
				t.Errorf("%s: neither an answer nor an end", r.what)
			}
			r.close()
			good.wantAlive(r.what)
		}
		for code, n := range ends {
			if !slices.Contains([]int{0, 1002, 1007}, code) {
				t.Errorf("%d ended with %d", n, code)
			}
		}
		if ends[0] < 20 || ends[1002] < 20 {
			t.Errorf("by code: %v", ends)
		}
		w.eventually("all are gone", func() bool { return w.gauge("ackwire_gateway_compression_sockets") == 0 })
	})
}
