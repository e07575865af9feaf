package session

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// TestASessionThatIsDiscarded: it gives back its place among the sockets with compression.
func TestASessionThatIsDiscarded(t *testing.T) {
	var counted tally
	cfg := &Config{
		Limits: noLimits{}, Metrics: &counted, Log: slog.New(slog.DiscardHandler),
		Compression: &Compression{Threshold: 1 << 10, Sockets: 1}, FrameBytes: 1 << 10, Subscriptions: 1,
	}
	discarded := make(chan struct{}, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { discarded <- struct{}{} }()
		s, err := Accept(w, r, "x", cfg, &auth.Identity{})
		if err != nil || !s.deflates {
			t.Errorf("no compression, or %v", err)
			return
		}
		s.Discard()
	}))
	defer srv.Close()
	for range 3 {
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, handshake("Sec-WebSocket-Extensions: permessage-deflate\r\n"))
		_, _ = io.Copy(io.Discard, bufio.NewReader(conn)) // until it is closed
		_ = conn.Close()
		<-discarded
	}
	if n := counted.compressing.Load(); n != 0 || cfg.Compression.taken.Load() != 0 {
		t.Errorf("%d have compression, %d places are taken", n, cfg.Compression.taken.Load())
	}
}

// handshake returns a client's handshake with additional header lines.
func handshake(more string) string {
	return "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: ackwire.v1\r\n" + more + "\r\n"
}

type noLimits struct{}

func (noLimits) OpenSession(string, string) error { return nil }
func (noLimits) CloseSession(string, string)      {}
func (noLimits) Watch(string, int) bool           { return true }
func (noLimits) Ask(string, string, int) error    { return nil }
func (noLimits) List(string, string) error        { return nil }
func (noLimits) WatchList(string, string) error   { return nil }
func (noLimits) UnwatchList(string, string)       {}

// tally counts statuses written, and bytes of those that were compressed.
type tally struct {
	sent, want    atomic.Int64
	all           chan struct{} // told when as many were sent as are wanted
	before, after atomic.Int64
	compressing   atomic.Int64
}

func (t *tally) Frame(frame.Type, code.Code, time.Duration) {}
func (t *tally) Error(code.Code)                            {}
func (t *tally) Sent(times []int64) {
	if t.sent.Add(int64(len(times))) == t.want.Load() && len(times) > 0 {
		t.all <- struct{}{}
	}
}
func (t *tally) Conflated()                   {}
func (t *tally) Parked()                      {}
func (t *tally) Dropped(outbox.Outcome)       {}
func (t *tally) TooManyFrames()               {}
func (t *tally) TooSlowToSend()               {}
func (t *tally) Compressing(n int)            { t.compressing.Add(int64(n)) }
func (t *tally) NotCompressing(NoCompression) {}
func (t *tally) Compressed()                  {}
func (t *tally) SentCompressed(before, after int) {
	t.before.Add(int64(before))
	t.after.Add(int64(after))
}
