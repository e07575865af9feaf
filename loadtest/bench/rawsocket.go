package bench

import (
	"bufio"
	"context"
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

// rawAtOnce is how many sockets are opened at the same time.
const rawAtOnce = 64

// rawSocket is a WebSocket client without a library: thousands of them must take little CPU, for they share the machine
// with the server that is measured. It answers pings.
type rawSocket struct {
	conn net.Conn
	br   *bufio.Reader
}

// handshake opens one. header holds further header fields, each with its line's end.
func handshake(ctx context.Context, addr, header string) (*rawSocket, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(conn,
		"GET /v1/ws HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: ackwire.v1\r\n%s\r\n", addr, header)
	s := &rawSocket{conn: conn, br: bufio.NewReaderSize(conn, 512)}
	if err == nil {
		var answer *http.Response
		if answer, err = http.ReadResponse(s.br, nil); err == nil && answer.StatusCode != http.StatusSwitchingProtocols {
			err = errors.New(answer.Status)
		}
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return s, nil
}

// send writes a text frame; it is masked with zeros (RFC 6455 §5.3 asks for a mask).
func (s *rawSocket) send(text string) error {
	b := []byte{0x81, 0x80}
	switch n := len(text); {
	case n < 126:
		b[1] |= byte(n)
	case n < 1<<16:
		b[1] |= 126
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b[1] |= 127
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	_, err := s.conn.Write(append(append(b, 0, 0, 0, 0), text...))
	return err
}

// ask sends a frame and returns the gateway's answer, which must be a frame of the type want and comes through answers.
func (s *rawSocket) ask(ctx context.Context, answers <-chan string, text, want string) (string, error) {
	if err := s.send(text); err != nil {
		return "", err
	}
	select {
	case answer := <-answers:
		if !strings.HasPrefix(answer, `{"type":"`+want+`"`) {
			return "", errors.New(answer)
		}
		return answer, nil
	case <-time.After(heldWait):
		return "", errors.New("the gateway does not answer " + want)
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// next reads the next text frame into buf. The servers that it connects to send no fragments and no empty texts.
func (s *rawSocket) next(buf []byte) ([]byte, error) {
	for {
		var head [8]byte
		if _, err := io.ReadFull(s.br, head[:2]); err != nil {
			return nil, err
		}
		first, n := head[0], uint64(head[1])
		switch n {
		case 126:
			if _, err := io.ReadFull(s.br, head[:2]); err != nil {
				return nil, err
			}
			n = uint64(binary.BigEndian.Uint16(head[:2]))
		case 127:
			if _, err := io.ReadFull(s.br, head[:]); err != nil {
				return nil, err
			}
			n = binary.BigEndian.Uint64(head[:])
		}
		if uint64(cap(buf)) < n {
			buf = make([]byte, n)
		}
		buf = buf[:n]
		if _, err := io.ReadFull(s.br, buf); err != nil {
			return nil, err
		}
		switch first {
		case 0x81:
			return buf, nil
		case 0x89:
			_, _ = s.conn.Write([]byte{0x8a, 0x80, 0, 0, 0, 0}) // the gateway's pings are empty
		case 0x88:
			return nil, io.EOF
		}
	}
}

// rawSockets is a number of sockets, each read in its own goroutine.
type rawSockets struct {
	all   []*rawSocket
	ended sync.WaitGroup
}

// openRaw opens n sockets. heard is called with each text, one after the other for one socket; it must not keep the
// text.
func openRaw(ctx context.Context, addr string, n int, heard func(i int, text []byte)) (*rawSockets, error) {
	s := &rawSockets{all: make([]*rawSocket, n)}
	slots, problems := make(chan struct{}, rawAtOnce), make(chan error, n)
	var opening sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		opening.Go(func() {
			defer func() { <-slots }()
			one, err := handshake(ctx, addr, "")
			if err != nil {
				problems <- err
				return
			}
			s.all[i] = one
			s.ended.Go(func() {
				var buf []byte
				for {
					text, err := one.next(buf)
					if err != nil {
						return
					}
					heard(i, text)
					buf = text
				}
			})
		})
	}
	opening.Wait()
	select {
	case err := <-problems:
		s.close()
		return nil, fmt.Errorf("open sockets: %w", err)
	default:
		return s, nil
	}
}

func (s *rawSockets) close() {
	for _, one := range s.all {
		if one != nil {
			_ = one.conn.Close()
		}
	}
	s.ended.Wait()
}
