package session

import (
	"net"
	"testing"
	"time"
)

// TestAStalledClientHoldsLittle: the kernel buffers only little for a client that does not read; the rest stays in the
// outbox.
func TestAStalledClientHoldsLittle(t *testing.T) {
	taken := func(limited bool) (n int) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = client.Close() }()
		_ = client.(*net.TCPConn).SetReadBuffer(16 << 10)
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = server.Close() }()
		if limited {
			limitUnsent(server)
		}
		for frame := make([]byte, 512); ; n += len(frame) {
			if err := server.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			if _, err := server.Write(frame); err != nil {
				return n
			}
		}
	}
	without, with := taken(false), taken(true)
	t.Logf("the kernel took %d bytes, and %d with the limit", without, with)
	if with*2 > without {
		t.Errorf("the kernel took %d bytes, and %d with the limit", without, with)
	}
}
