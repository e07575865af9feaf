//go:build unix

package session

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/gateway/wire"
)

// tcpPair is a server's connection, as a session has it, and its client.
func tcpPair(t *testing.T) (server *conn, client net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	_ = client.(*net.TCPConn).SetReadBuffer(16 << 10)
	raw, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	limitUnsent(raw)
	server = &conn{Conn: raw, raw: rawConn(raw), mu: newLock()}
	t.Cleanup(func() { _ = client.Close(); _ = raw.Close() })
	return server, client
}

func binaryFrame(fill byte, n int) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{0x82, 127}, uint64(n)), bytes.Repeat([]byte{fill}, n)...)
}

// readFrame returns the opcode and what it fills the payload with; it fails when the payload is
// not all the same.
func readFrame(r io.Reader) (op, fill byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:2]); err != nil {
		return 0, 0, err
	}
	op, n := head[0], uint64(head[1])
	if n == 127 {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return 0, 0, err
		}
		n = binary.BigEndian.Uint64(head[:])
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil || n == 0 {
		return op, 0, err
	}
	if bytes.Count(b, b[:1]) != len(b) {
		return op, 0, errors.New("a frame with another one's bytes in it")
	}
	return op, b[0], nil
}

// Frames larger than the kernel accepts at once arrive whole and in order, even if the library writes
// control frames meanwhile.
func TestFramesStayWholeBesideTheLibrarysOwn(t *testing.T) {
	const frames, size = 40, 100_000
	server, client := tcpPair(t)
	var all sync.WaitGroup
	stop := make(chan struct{})
	all.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := server.Write(wire.Ping); err != nil {
				t.Error(err)
				return
			}
		}
	})
	all.Go(func() {
		defer close(stop)
		try, rests := newTrier(), 0
		for i := range frames {
			rest, err := server.try(binaryFrame(byte('A'+i), size), false, try)
			if len(rest) > 0 {
				rests++
				err = server.finish(rest, false)
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
		if rests == 0 {
			t.Error("the kernel took all at once: nothing was tested")
		}
	})
	for i := 0; i < frames; {
		switch op, fill, err := readFrame(client); {
		case err != nil:
			t.Fatal(err)
		case op == 0x82 && fill != byte('A'+i):
			t.Fatalf("frame %d has the bytes of %c", i, fill)
		case op == 0x82:
			i++
		}
	}
	go func() { _, _ = io.Copy(io.Discard, client) }()
	all.Wait()
}

// try never blocks: neither on a client that does not read, nor on a write of the library.
func TestTryDoesNotWait(t *testing.T) {
	server, client := tcpPair(t)
	large := binaryFrame('x', 8<<20)
	rest, err := server.try(large, false, newTrier())
	if err != nil || len(rest) == 0 || len(rest) == len(large) {
		t.Fatalf("of %d bytes %d are left, %v", len(large), len(rest), err)
	}
	second := binaryFrame('y', 10)
	if again, err := server.try(second, true, newTrier()); err != nil || len(again) != len(second) {
		t.Fatalf("a second one in between: %d left, %v", len(again), err)
	}
	done := make(chan error, 1)
	go func() { done <- server.finish(rest, false) }()
	for _, want := range []byte("x") {
		if _, fill, err := readFrame(client); err != nil || fill != want {
			t.Fatalf("got %c, %v", fill, err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if rest, err := server.try(second, true, newTrier()); err != nil || len(rest) > 0 {
		t.Fatalf("when all is read: %d left, %v", len(rest), err)
	}
	if _, err := server.try(second, false, newTrier()); !errors.Is(err, errHushed) {
		t.Errorf("after a last frame: %v", err)
	}
	_ = server.Close()
	if _, err := (&conn{Conn: server.Conn, raw: server.raw, mu: newLock()}).try(second, false, newTrier()); err == nil {
		t.Error("a closed connection took a frame")
	}
}

// deadlines notes the last write deadline.
type deadlines struct {
	net.Conn
	last time.Time
}

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.last = t
	return d.Conn.SetWriteDeadline(t)
}

// A write must clear its deadline, which would make a try fail minutes later.
func TestAWriteLeavesNoDeadline(t *testing.T) {
	server, client := tcpPair(t)
	d := &deadlines{Conn: server.Conn, last: time.Now()}
	server.Conn = d
	if _, err := server.Write(wire.Ping); err != nil {
		t.Fatal(err)
	}
	if !d.last.IsZero() {
		t.Errorf("%v stays", d.last)
	}
	if op, _, err := readFrame(client); err != nil || op != 0x89 {
		t.Errorf("%x, %v", op, err)
	}
}

type counting struct {
	Metrics
}

func (counting) Sent([]int64) {}

// Clients that read nothing do not hold up other clients, even if they are more than there are flushers.
func TestStalledClientsHoldUpNoFlusher(t *testing.T) {
	cfg := &Config{Metrics: counting{}, Log: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithCancel(t.Context())
	session := func() (*Session, net.Conn) {
		s := &Session{cfg: cfg, ctx: ctx}
		var client net.Conn
		s.conn, client = tcpPair(t)
		return s, client
	}
	var all []*Session
	for range 2*maxFlushers + 1 {
		s, _ := session()
		s.send(binaryFrame('s', outbox.MaxControlBytes/2))
		all = append(all, s)
	}
	for range 3 {
		s, client := session()
		all = append(all, s)
		for i := range 3 * flushTurns {
			s.send(binaryFrame(byte('a'+i), flushBytes))
		}
		for i := range 3 * flushTurns {
			if _, fill, err := readFrame(client); err != nil || fill != byte('a'+i) {
				t.Fatalf("frame %d: got %c, %v", i, fill, err)
			}
		}
	}
	cancel()
	for _, s := range all {
		_ = s.conn.Close()
		s.flushes.Wait()
	}
	cfg.writers.mu.Lock()
	defer cfg.writers.mu.Unlock()
	if waits := len(cfg.writers.queue) - cfg.writers.head; waits > 0 {
		t.Errorf("%d sessions wait for ever", waits)
	}
}

// The queue of a gateway that is never idle does not grow with the number of sessions that have waited.
func TestTheQueueIsAsLongAsWhoWaits(t *testing.T) {
	f := &flusher{running: maxFlushers} // only the test takes sessions
	sessions := [3]*Session{{}, {}, {}}
	for _, s := range sessions[:2] {
		f.add(s)
	}
	for i := range 10_000 {
		f.add(sessions[(i+2)%3])
		if got := f.next(); got != sessions[i%3] {
			t.Fatalf("turn %d is another's", i)
		}
	}
	if cap(f.queue) > 16 {
		t.Errorf("the queue of three has room for %d", cap(f.queue))
	}
	for range 2 {
		f.next()
	}
	if f.next() != nil || f.running != maxFlushers-1 {
		t.Errorf("nobody waits, and %d run", f.running)
	}
}
