package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coder/websocket"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// socket is one WebSocket. It does not use Ackwire's client library, which hides statuses that come twice or out of
// order, for which the checker looks, and needs three goroutines for each client. This one has its reader, and a writer
// only while something waits to be written.
type socket struct {
	// Set by dial, then only read.
	ws      *websocket.Conn
	welcome frame.WelcomeFrame
	writers *sync.WaitGroup
	wrote   func(*arrival) // called before a submit is written

	seen atomic.Int64 // when a frame or a ping came last, Unix nanoseconds

	mu      sync.Mutex // guards all below
	queue   []out      // bounded by the submits in flight and the watches of its client
	writing bool
}

// out is a frame to write; its arrival is nil except for submits.
type out struct {
	b       []byte
	arrival *arrival
}

// refusal is the error of a handshake that was answered with another status than 101.
type refusal struct {
	status int
	frame.Problem
}

// Error implements error.
func (e *refusal) Error() string {
	return fmt.Sprintf("the handshake was answered with HTTP %d: %v", e.status, e.Problem)
}

// permanent reports whether another attempt is of no use.
func (e *refusal) permanent() bool {
	switch e.status {
	case http.StatusNotFound, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return e.status >= 400 && e.status < 500
}

// dial opens a socket and reads its welcome.
func dial(
	ctx context.Context, hc *http.Client, url, token string, writers *sync.WaitGroup, wrote func(*arrival),
) (*socket, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	header := http.Header{}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	s := &socket{writers: writers, wrote: wrote}
	s.seen.Store(time.Now().UnixNano())
	ws, resp, err := websocket.Dial(ctx, url, &websocket.DialOptions{
		HTTPClient: hc, HTTPHeader: header, Subprotocols: []string{frame.Protocol},
		OnPingReceived: func(context.Context, []byte) bool {
			s.seen.Store(time.Now().UnixNano())
			return true
		},
	})
	if err != nil {
		if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
			e := &refusal{status: resp.StatusCode}
			if resp.Body != nil {
				body, _ := io.ReadAll(resp.Body) // at most 1 KiB, in memory
				_ = json.Unmarshal(body, &e.Problem)
			}
			return nil, e
		}
		return nil, err
	}
	s.ws = ws
	ws.SetReadLimit(maxFrameBytes)
	_, b, err := ws.Read(ctx)
	if err == nil {
		err = json.Unmarshal(b, &s.welcome)
	}
	if err == nil && s.welcome.Type != frame.Welcome {
		err = fmt.Errorf("the first frame is not welcome but %.200s", b)
	}
	if err != nil {
		_ = ws.CloseNow()
		return nil, err
	}
	return s, nil
}

// read reads the next text frame into buf.
func (s *socket) read(buf *bytes.Buffer) error {
	_, r, err := s.ws.Reader(context.Background())
	if err != nil {
		return err
	}
	buf.Reset()
	if _, err := buf.ReadFrom(r); err != nil {
		return err
	}
	s.seen.Store(time.Now().UnixNano())
	return nil
}

// send queues a frame. It never blocks.
func (s *socket) send(b []byte, a *arrival) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, out{b, a})
	if !s.writing {
		s.writing = true
		s.writers.Go(s.flush)
	}
}

// flush writes until nothing waits. After an error it closes the socket, which the reader notices.
func (s *socket) flush() {
	for {
		s.mu.Lock()
		batch := s.queue
		s.queue = nil
		s.writing = len(batch) > 0
		s.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for _, o := range batch {
			if o.arrival != nil {
				s.wrote(o.arrival)
			}
			if s.ws.Write(context.Background(), websocket.MessageText, o.b) != nil {
				_ = s.ws.CloseNow()
				return
			}
		}
	}
}

// close closes the socket at once.
func (s *socket) close() { _ = s.ws.CloseNow() }

// cause describes the end of a socket in a few words, and reports whether its client may reconnect.
func cause(err error) (why string, back bool) {
	if n := websocket.CloseStatus(err); n >= 0 {
		c := code.Close(n)
		return fmt.Sprintf("%d %s", n, c), c.Reconnect()
	}
	return "connection lost", true
}

// exhausted reports whether a connect failed because this machine has run out of file descriptors, or of ports.
func exhausted(err error) (descriptors, ports bool) {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.EADDRNOTAVAIL)
}
