package gateway

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	closedBare = 1005 // a close frame without a code (RFC 6455 §7.1.5)
	lost       = 1006 // no close frame at all
)

// rawClient is a socket without a library: it writes whatever a test wants.
type rawClient struct {
	w    *world
	what string
	conn net.Conn

	// Set by the handshake, then only read.
	extensions string // that were agreed on

	reading sync.WaitGroup
	texts   chan rawText
	pongs   chan string
	ended   chan struct{} // closed when the gateway has closed

	// Written before ended is closed.
	code int
}

// rawText is a text frame.
type rawText struct {
	string
	wire       int // bytes of its payload as they came
	compressed bool
}

// raw opens a socket and reads its welcome.
func (w *world) raw(what string) *rawClient {
	w.t.Helper()
	return w.rawOffering(what)
}

// rawOffering is raw for a client that offers extensions, each in a header line of its own.
func (w *world) rawOffering(what string, extensions ...string) *rawClient {
	w.t.Helper()
	conn, err := w.connect()
	if err != nil {
		w.t.Errorf("%s: %v", what, err)
		panic(err)
	}
	r := &rawClient{
		w: w, what: what, conn: conn, texts: make(chan rawText, 10_000), pongs: make(chan string, 10_000),
		ended: make(chan struct{}),
	}
	offers := ""
	for _, e := range extensions {
		offers += "Sec-WebSocket-Extensions: " + e + "\r\n"
	}
	r.write([]byte("GET /v1/ws HTTP/1.1\r\nHost: " + gatewayAddr + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: ackwire.v1\r\n" +
		offers + "\r\n"))
	br := bufio.NewReader(conn)
	answer, err := http.ReadResponse(br, nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		w.t.Errorf("%s: handshake: %v, %v", what, answer, err)
	} else {
		r.extensions = answer.Header.Get("Sec-WebSocket-Extensions")
	}
	r.reading.Go(func() { r.read(br) })
	r.wantText(`"welcome"`)
	return r
}

// read takes the gateway's frames apart, which are whole and unmasked.
func (r *rawClient) read(br *bufio.Reader) {
	defer close(r.ended)
	r.code = lost
	for {
		var head [2]byte
		if _, err := io.ReadFull(br, head[:]); err != nil {
			return
		}
		n := int(head[1])
		switch n {
		case 126:
			var b [2]byte
			_, _ = io.ReadFull(br, b[:])
			n = int(binary.BigEndian.Uint16(b[:]))
		case 127:
			var b [8]byte
			_, _ = io.ReadFull(br, b[:])
			n = int(binary.BigEndian.Uint64(b[:]))
		}
		payload := make([]byte, n)
		if _, err := io.ReadFull(br, payload); err != nil {
			return
		}
		switch head[0] {
		case fin | opText:
			r.texts <- rawText{string(payload), n, false}
		case fin | rsv1 | opText:
			text, err := inflate(string(payload))
			if err != nil || r.extensions == "" {
				r.w.t.Errorf("%s: a compressed frame (%q is agreed on): %v", r.what, r.extensions, err)
			}
			r.texts <- rawText{text, n, true}
		case fin | opPing:
			r.frame(fin|opPong, string(payload))
		case fin | opPong:
			select {
			case r.pongs <- string(payload):
			default:
			}
		case fin | opClose:
			r.code = closedBare
			if n >= 2 {
				r.code = int(binary.BigEndian.Uint16(payload))
			}
			r.frame(fin|opClose, string(payload))
			if half, ok := r.conn.(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite()
			}
			if more, _ := io.Copy(io.Discard, br); more > 0 {
				r.w.t.Errorf("%s: %d bytes follow the close frame", r.what, more)
			}
			return
		default:
			r.w.t.Errorf("%s: a frame that begins with %x", r.what, head)
			return
		}
	}
}

// masked is a client's frame.
func (r *rawClient) masked(first byte, payload string) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	mask := [4]byte{0x11, 0x22, 0x33, 0x44}
	b = append(b, mask[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i%4])
	}
	return b
}

func (r *rawClient) frame(first byte, payload string) { r.write(r.masked(first, payload)) }

// write writes unless the gateway has hung up.
func (r *rawClient) write(b []byte) {
	_ = r.conn.SetWriteDeadline(time.Now().Add(settled))
	if _, err := r.conn.Write(b); err != nil {
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			r.w.t.Errorf("%s: the gateway reads nothing", r.what)
		}
	}
}

func (r *rawClient) wantText(part string) (got rawText) {
	r.w.t.Helper()
	select {
	case got = <-r.texts:
		if !strings.Contains(got.string, part) {
			r.w.t.Errorf("%s: got %.300s, want %s", r.what, got.string, part)
		}
	case <-r.ended:
		r.w.t.Errorf("%s: closed with %d, want %s", r.what, r.code, part)
	case <-time.After(settled):
		r.w.t.Errorf("%s: no %s", r.what, part)
	}
	return got
}

func (r *rawClient) wantPong(payload string) {
	r.w.t.Helper()
	select {
	case got := <-r.pongs:
		if got != payload {
			r.w.t.Errorf("%s: pong %q", r.what, got)
		}
	case <-time.After(settled):
		r.w.t.Errorf("%s: no pong", r.what)
	}
}

func (r *rawClient) wantClose(code int) {
	r.w.t.Helper()
	select {
	case <-r.ended:
		if r.code != code {
			r.w.t.Errorf("%s: closed with %s, want %d", r.what, closeText(r.code), code)
		}
	case <-time.After(settled):
		r.w.t.Errorf("%s: not closed", r.what)
	}
}

func closeText(code int) string {
	if code == lost {
		return "no close frame"
	}
	return fmt.Sprint(code)
}

func (r *rawClient) closed() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

func (r *rawClient) close() {
	_ = r.conn.Close()
	r.reading.Wait()
}
