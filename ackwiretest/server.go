package ackwiretest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// Server is an Ackwire in memory. It is safe for concurrent use. It is an http.Handler as well, so that
// httptest.NewServer can give it a port, for a program that takes nothing but a URL.
type Server struct {
	// Set by Start, then only read.
	mux    *http.ServeMux
	http   *http.Server
	ln     *listener
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // handlers, sockets, the HTTP server

	mu       sync.Mutex // guards what follows
	handlers map[string]HandlerFunc
	records  map[string]*record // by job ID
	order    []*record          // the oldest first
	keys     map[string]*record // by type and idempotency key
	version  int64              // of the last change of any job
	changed  chan struct{}      // closed with the next change
	sockets  map[*socket]struct{}
	cut      chan struct{} // closed by Cut: streams end
	faults   faults
}

// faults are what the test wants to go wrong. Guarded by Server.mu.
type faults struct {
	refusals []code.Code // of the submits that come next
	lost     int         // how many acks are not sent
	delay    time.Duration
	tokens   []string // nil: any
	types    []string // nil: any
}

// New starts a server that ends with the test.
func New(t testing.TB) *Server {
	s := Start()
	t.Cleanup(s.Close)
	return s
}

// Start starts a server. The caller ends it with Close; in a test New does so.
func Start() *Server {
	s := &Server{
		mux: http.NewServeMux(), ln: newListener(),
		handlers: map[string]HandlerFunc{}, records: map[string]*record{}, keys: map[string]*record{},
		changed: make(chan struct{}), cut: make(chan struct{}), sockets: map[*socket]struct{}{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.routes()
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	s.wg.Go(func() { _ = s.http.Serve(s.ln) })
	return s
}

// Close ends the server with all its connections, tells handlers to stop and waits for them.
func (s *Server) Close() {
	s.mu.Lock()
	s.cancel() // from now on nothing begins
	s.mu.Unlock()
	_ = s.http.Close()
	s.Cut()
	s.wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.records {
		r.stopTimers()
	}
}

// URL is the server's address for ackwire.Dial and ackwire.NewHTTP, together with Option: nothing listens there.
func (s *Server) URL() string { return "http://ackwire.test" }

// Option makes a client connect to this server, through memory.
func (s *Server) Option() ackwire.Option {
	return ackwire.WithDialContext(s.DialContext)
}

// DialContext opens a connection to the server, whatever the address is. It is for an http.Transport of one's own.
func (s *Server) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	return s.ln.dial(ctx)
}

// Dial connects a client that is closed when the test ends. It fails the test when that is refused.
func (s *Server) Dial(t testing.TB, opts ...ackwire.Option) *ackwire.Client {
	t.Helper()
	c, err := ackwire.Dial(t.Context(), s.URL(), append([]ackwire.Option{s.Option()}, opts...)...)
	if err != nil {
		t.Fatalf("ackwiretest: dial: %v", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// NewHTTP makes a client without a socket, whose connections end with the test.
func (s *Server) NewHTTP(t testing.TB, opts ...ackwire.Option) *ackwire.HTTPClient {
	t.Helper()
	c, err := ackwire.NewHTTP(s.URL(), append([]ackwire.Option{s.Option()}, opts...)...)
	if err != nil {
		t.Fatalf("ackwiretest: %v", err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// Cut ends every connection without a word, as a crash does. Clients may come back at once.
func (s *Server) Cut() {
	s.mu.Lock()
	close(s.cut)
	s.cut = make(chan struct{})
	sockets := s.allSocketsLocked()
	s.mu.Unlock()
	for _, k := range sockets {
		_ = k.ws.CloseNow()
	}
	s.ln.cut()
}

// Down ends every connection and refuses new ones, until Up. It knows only connections through memory (Option, Dial).
func (s *Server) Down() {
	s.ln.setDown(true)
	s.Cut()
}

// Up takes connections again after Down.
func (s *Server) Up() { s.ln.setDown(false) }

// Goaway asks every connected socket to reconnect after that time, as a server does before a restart. The old
// sockets stay until their clients leave them.
func (s *Server) Goaway(after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.sockets {
		k.send(frame.GoawayFrame{Type: frame.Goaway, Reason: "restart", ReconnectAfter: after.Seconds()})
	}
}

// CloseSockets closes every connected socket with a code. Its range says whether clients come back
// (code.Close.Reconnect).
func (s *Server) CloseSockets(c code.Close) {
	s.mu.Lock()
	sockets := s.allSocketsLocked()
	s.mu.Unlock()
	var wg sync.WaitGroup
	for _, k := range sockets {
		wg.Go(func() { k.close(c) })
	}
	wg.Wait()
}

// Refuse answers the next n submits with an error: no job is made. Codes are in package schemas/code; with
// code.Indeterminate a client sends the submit again if it has a key.
func (s *Server) Refuse(n int, c code.Code) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		s.faults.refusals = append(s.faults.refusals, c)
	}
}

// LoseAcks makes the jobs of the next n submits, sends no ack and cuts the connection: their outcome is not known to
// the client.
func (s *Server) LoseAcks(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.lost += n
}

// DelayAcks makes every later submit take so long: its job is made after that time, and acked then. 0 ends it.
func (s *Server) DelayAcks(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.delay = d
}

// RequireToken refuses every later handshake and request that carries none of these tokens (401, unauthenticated).
// Without tokens all are refused.
func (s *Server) RequireToken(tokens ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.tokens = append([]string{}, tokens...)
}

// Types names the job types that there are: a submit of another one is refused (unknown_job_type). Without it all are
// taken.
func (s *Server) Types(names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.types = append([]string{}, names...)
}

// Sockets is how many clients are connected by a socket.
func (s *Server) Sockets() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sockets)
}

func (s *Server) allSocketsLocked() []*socket {
	all := make([]*socket, 0, len(s.sockets))
	for k := range s.sockets {
		all = append(all, k)
	}
	return all
}

// authorized reports whether a request carries a token that is taken.
func (s *Server) authorized(r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults.tokens == nil || slices.ContainsFunc(s.faults.tokens, func(t string) bool {
		return r.Header.Get("Authorization") == "Bearer "+t
	})
}

// listener accepts connections that are made in this process.
type listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once

	mu   sync.Mutex // guards what follows
	down bool
	open []net.Conn
}

func newListener() *listener {
	return &listener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

var errRefused = errors.New("connection refused")

func (l *listener) dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	l.mu.Lock()
	down := l.down
	if !down {
		l.open = append(l.open, server)
	}
	l.mu.Unlock()
	err := errRefused
	if !down {
		select {
		case l.conns <- server:
			return client, nil
		case <-l.closed:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	_, _ = client.Close(), server.Close()
	return nil, &net.OpError{Op: "dial", Net: "pipe", Addr: l.Addr(), Err: err}
}

func (l *listener) setDown(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
}

func (l *listener) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.open {
		_ = c.Close()
	}
	l.open = nil
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *listener) Close() error { l.once.Do(func() { close(l.closed) }); return nil }

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return address{} }

type address struct{}

func (address) Network() string { return "pipe" }
func (address) String() string  { return "ackwire.test" }
