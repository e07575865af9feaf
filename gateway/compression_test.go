package gateway

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/schemas/job"
)

const (
	browsers = "permessage-deflate; client_max_window_bits" // what they offer
	agreed   = "permessage-deflate; client_no_context_takeover; server_no_context_takeover"
)

func compressing(c *Config) { c.Compression.On = true }

// deflate compresses a message as RFC 7692 §7.2.1 says, with another library than the gateway's.
func deflate(text string) string {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		panic(err)
	}
	_, _ = io.WriteString(w, text)
	_ = w.Flush()
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

// inflate is the way back (§7.2.2).
func inflate(compressed string) (string, error) {
	b, err := io.ReadAll(flate.NewReader(strings.NewReader(compressed + "\x00\x00\xff\xff\x01\x00\x00\xff\xff")))
	return string(b), err
}

// sales is a document with a result of about so many bytes.
func sales(jobID string, size int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(size)))
	rows := []map[string]any{}
	for n := 0; n < size; n += 85 {
		rows = append(rows, map[string]any{
			"order": fmt.Sprintf("%08x", r.Uint32()), "customer": fmt.Sprintf("customer %d", r.IntN(10_000)),
			"amount": r.IntN(100_000), "currency": "EUR",
		})
	}
	result, err := json.Marshal(rows)
	if err != nil {
		panic(err)
	}
	b, err := json.Marshal(job.Document{
		JobID: jobID, Type: "report.generate", State: job.Processing, Attempt: 1, MaxAttempts: 3, Result: result,
	})
	if err != nil {
		panic(err)
	}
	return b
}

// TestWhoHasCompression: who asks for it when it is on, for a window that there is; it is told
// that no context is kept, and nobody else hears of it.
func TestWhoHasCompression(t *testing.T) {
	rows := []struct {
		what   string
		offers []string
		agreed bool
		reason string // that is counted, while compression is on
	}{
		{"nobody asks", nil, false, ""},
		{"a browser", []string{browsers}, true, ""},
		{"no parameters", []string{"permessage-deflate"}, true, ""},
		{"without contexts", []string{agreed}, true, ""},
		{"a smaller window of its own", []string{"permessage-deflate; client_max_window_bits=10"}, true, ""},
		{"the window that there is", []string{"permessage-deflate; server_max_window_bits=15"}, true, ""},
		{"a smaller window of ours", []string{"permessage-deflate; server_max_window_bits=10"}, false, "parameters"},
		{"that, or else any", []string{"permessage-deflate; server_max_window_bits=10, permessage-deflate"}, true, ""},
		{
			"that, or else any, in two lines",
			[]string{"permessage-deflate; server_max_window_bits=10", "permessage-deflate"}, true, "",
		},
		{"a parameter that nobody knows", []string{"permessage-deflate; level=9"}, false, "parameters"},
		{"behind another extension", []string{"x-multiplex; max=2, permessage-deflate"}, true, ""},
		{"another extension", []string{"x-webkit-deflate-frame"}, false, ""},
		{"a name that begins so", []string{"permessage-deflate-2"}, false, ""},
	}
	for _, on := range []bool{true, false} {
		inWorld(t, func(c *Config) { c.Compression.On = on }, func(t *testing.T, w *world) {
			for _, row := range rows {
				reason, has := row.reason, row.agreed && on
				if !on && (row.agreed || row.reason != "") {
					reason = "off"
				}
				refused, all := w.gauge("ackwire_gateway_compression_refused_total", reason),
					w.gauge("ackwire_gateway_compression_refused_total")
				r := w.rawOffering(row.what, row.offers...)
				if want := map[bool]string{true: agreed}[has]; r.extensions != want {
					t.Errorf("%s, on %v: agreed on %q", row.what, on, r.extensions)
				}
				if n := w.gauge("ackwire_gateway_compression_sockets"); n != map[bool]float64{true: 1}[has] {
					t.Errorf("%s, on %v: %v sockets have compression", row.what, on, n)
				}
				more := map[bool]float64{true: 1}[reason != ""]
				if w.gauge("ackwire_gateway_compression_refused_total") != all+more ||
					reason != "" && w.gauge("ackwire_gateway_compression_refused_total", reason) != refused+1 {
					t.Errorf("%s, on %v: not counted as %q", row.what, on, reason)
				}
				r.frame(fin|opText, pingText)
				r.wantText("pong")
				if has {
					r.frame(fin|rsv1|opText, deflate(pingText))
					r.wantText("pong")
				}
				r.close()
				w.eventually("its socket is gone", func() bool {
					return w.gauge("ackwire_gateway_sessions")+w.gauge("ackwire_gateway_compression_sockets") == 0
				})
			}
		})
	}
}

// TestABigStatusIsCompressed: it arrives as it does elsewhere, in fewer bytes; a frame below the
// threshold goes as it is.
func TestABigStatusIsCompressed(t *testing.T) {
	inWorld(t, compressing, func(t *testing.T, w *world) {
		threshold := Defaults().Compression.Threshold
		w.tracker.set("local", jobA, 1, job.Processing)
		small, plain := w.rawOffering("compressed", browsers), w.raw("plain")
		defer small.close()
		defer plain.close()
		for _, r := range []*rawClient{small, plain} {
			r.frame(fin|opText, `{"type":"subscribe","id":"1","jobs":[{"jobId":"`+jobA+`"}]}`)
			r.wantText(`"subscribed"`)
			r.wantText(`"status"`)
		}
		// padded is a document whose frame has so many bytes.
		padded := func(version int64, size int) []byte {
			doc := sales(jobA, 100)
			pad := size - len(wire.EncodeStatus(version, doc)) - len(`,"pad":""`)
			doc = append(doc[:len(doc)-1], `,"pad":"`+strings.Repeat("x", pad)+`"}`...)
			if n := len(wire.EncodeStatus(version, doc)); n != size {
				t.Fatalf("%d bytes, not %d", n, size)
			}
			return doc
		}
		for i, c := range []struct {
			document   []byte
			compressed bool
		}{
			{sales(jobA, 60_000), true},
			{padded(12, threshold-1), false},
			{padded(13, threshold), true},
			{sales(jobA, 200_000), true},
		} {
			before, after, made := w.gauge("ackwire_gateway_compression_before_bytes_total"),
				w.gauge("ackwire_gateway_compression_after_bytes_total"), w.gauge("ackwire_gateway_frames_compressed_total")
			version := int64(11 + i)
			w.tracker.push("local", jobA, version, c.document)
			got, want := small.wantText(`"status"`), plain.wantText(`"status"`)
			if got.string != want.string || !strings.Contains(got.string, string(c.document)) {
				t.Fatalf("%d bytes: %.200s arrived as %.200s", len(c.document), want.string, got.string)
			}
			if got.compressed != c.compressed || want.compressed || got.wire != want.wire && !c.compressed ||
				c.compressed && got.wire > want.wire*2/3 {
				t.Errorf("%d bytes: %d on the wire (compressed: %v), plain %d (%v)", len(c.document), got.wire, got.compressed,
					want.wire, want.compressed)
			}
			plainSize := len(wire.EncodeStatus(version, c.document))
			w.eventually("it is counted", func() bool {
				if !c.compressed {
					return w.gauge("ackwire_gateway_compression_before_bytes_total") == before &&
						w.gauge("ackwire_gateway_frames_compressed_total") == made
				}
				less := w.gauge("ackwire_gateway_compression_after_bytes_total") - after
				return w.gauge("ackwire_gateway_compression_before_bytes_total") == before+float64(plainSize) &&
					w.gauge("ackwire_gateway_frames_compressed_total") == made+1 &&
					less > float64(got.wire) && less <= float64(got.wire)+10
			})
		}
		// Answers are compressed too.
		small.frame(fin|rsv1|opText, deflate(`{"type":"unsubscribe","id":"u","jobs":["`+strings.Repeat(jobA+`","`, 100)+jobA+
			`"]}`))
		if got := small.wantText(`"unsubscribed"`); !got.compressed || got.wire > 400 {
			t.Errorf("%d bytes for 101 times one ID (compressed: %v)", got.wire, got.compressed)
		}
	})
}

// TestAThousandSocketsShareOneCompressedFrame: what a status costs does not depend on how many
// take it compressed.
func TestAThousandSocketsShareOneCompressedFrame(t *testing.T) {
	const sockets, updates = 1000, 3
	inWorld(t, func(c *Config) {
		compressing(c)
		c.HandshakeRate, c.Limits.SubjectSessions = 0, 0
	}, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 1, job.Processing)
		all := make([]*rawClient, sockets)
		for i := range all {
			all[i] = w.rawOffering(fmt.Sprint("socket ", i), browsers)
			defer all[i].close()
			all[i].frame(fin|rsv1|opText, deflate(`{"type":"subscribe","id":"1","jobs":[{"jobId":"`+jobA+`"}]}`))
			all[i].wantText(`"subscribed"`)
			all[i].wantText(`"status"`)
		}
		for v := range int64(updates) {
			doc := sales(jobA, 4000)
			w.tracker.push("local", jobA, 10+v, doc)
			for _, r := range all {
				if got := r.wantText(string(doc)); !got.compressed || got.wire > len(doc)/2 {
					t.Fatalf("%s: %d bytes of %d (compressed: %v)", r.what, got.wire, len(doc), got.compressed)
				}
			}
		}
		if n := w.gauge("ackwire_gateway_frames_compressed_total"); n != updates {
			t.Errorf("%v frames were compressed for %d statuses of %d sockets", n, updates, sockets)
		}
	})
}

// TestSocketsWithCompressionAreBounded: beyond the bound sockets are served without, and a
// place that is given back, also by a handshake that fails, is given again.
func TestSocketsWithCompressionAreBounded(t *testing.T) {
	inWorld(t, func(c *Config) { compressing(c); c.Compression.Sockets = 2 }, func(t *testing.T, w *world) {
		open := func(what string, has bool) *rawClient {
			r := w.rawOffering(what, browsers)
			if (r.extensions != "") != has {
				t.Errorf("%s: agreed on %q", what, r.extensions)
			}
			r.frame(fin|opText, pingText)
			r.wantText("pong")
			return r
		}
		for range 3 { // no WebSocket handshakes, and one whose parameters do not fit
			_ = w.http("GET", "/v1/ws", map[string][]string{"Sec-Websocket-Extensions": {browsers}, "Connection": {"Upgrade"},
				"Upgrade": {"websocket"}, "Sec-Websocket-Version": {"12"}}, nil)
		}
		if n := w.gauge("ackwire_gateway_handshakes_total", "invalid_frame"); n != 3 {
			t.Errorf("%v handshakes failed", n)
		}
		bad := w.rawOffering("a smaller window", "permessage-deflate; server_max_window_bits=9")
		defer bad.close()
		first, second := open("the first", true), open("the second", true)
		third := open("the third", false)
		defer second.close()
		defer third.close()
		if n, has := w.gauge("ackwire_gateway_compression_refused_total", "sockets"),
			w.gauge("ackwire_gateway_compression_sockets"); n != 1 || has != 2 {
			t.Errorf("refused %v, %v have it", n, has)
		}
		first.close()
		w.eventually("a place is free", func() bool { return w.gauge("ackwire_gateway_compression_sockets") == 1 })
		open("the fourth", true).close()
		w.eventually("a place is free", func() bool { return w.gauge("ackwire_gateway_compression_sockets") == 1 })
		var all sync.WaitGroup
		for i := range 20 { // one place for as many at once
			all.Go(func() {
				r := w.rawOffering(fmt.Sprint("racer ", i), browsers)
				time.Sleep(time.Second)
				r.close()
			})
		}
		all.Wait()
		w.eventually("all places are free", func() bool { return w.gauge("ackwire_gateway_sessions") == 3 })
		if n, has := w.gauge("ackwire_gateway_compression_refused_total", "sockets"),
			w.gauge("ackwire_gateway_compression_sockets"); n != 20 || has != 1 {
			t.Errorf("refused %v, %v have it", n, has)
		}
	})
}
