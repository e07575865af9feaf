package ackwiretest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/jobtypes"
)

// Server is an Ackwire in memory. It is safe for concurrent use. It is also an http.Handler, so that
// httptest.NewServer can give it a port, for a program that can be configured only with a URL.
type Server struct {
	// Set by Start, then only read.
	mux    *http.ServeMux
	http   *http.Server
	ln     *listener
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // handlers, sockets, the HTTP server

	mu       sync.Mutex             // guards the fields below
	handlers map[string]HandlerFunc // by job type
	types    jobtypes.Set           // nil: any
	records  map[string]*record     // by job ID
	order    []*record              // the oldest first; expired jobs stay in it
	keys     map[string]*record     // by type and idempotency key
	version  int64                  // of the last change of any job
	changed  chan struct{}          // closed with the next change
	workers  frame.Workers          // what ShowWorkers has set
	sockets  map[*socket]struct{}
	tickets  map[string]ticket
	grants   map[string]identity // by grant
	cut      chan struct{}       // closed by Cut: streams end
	faults   faults
}

// faults are the faults that the test asked for. Guarded by Server.mu.
type faults struct {
	refusals []code.Code   // for the next submits, one each
	lost     int           // how many of the next acks are not sent
	delay    time.Duration // before each submit
	tokens   []string      // the tokens that are accepted; nil accepts any, or none
	types    []string      // the job types that exist; nil accepts any
}

// New starts a server that is closed when the test ends.
func New(t testing.TB) *Server {
	s := Start()
	t.Cleanup(s.Close)
	return s
}

// Start starts a server, which the caller must Close. In a test use New.
func Start() *Server {
	s := &Server{
		mux: http.NewServeMux(), ln: newListener(),
		handlers: map[string]HandlerFunc{}, records: map[string]*record{}, keys: map[string]*record{},
		changed: make(chan struct{}), cut: make(chan struct{}), sockets: map[*socket]struct{}{},
		tickets: map[string]ticket{}, grants: map[string]identity{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.routes()
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	s.wg.Go(func() { _ = s.http.Serve(s.ln) })
	return s
}

// Close stops the server: it closes all connections, ends the handlers' contexts and waits for the handlers.
func (s *Server) Close() {
	s.mu.Lock()
	s.cancel() // under mu: no request, timer or handler starts after this
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

// URL returns the server's address for ackwire.Dial and ackwire.NewHTTP. It works only together with Option: nothing
// listens there.
func (s *Server) URL() string { return "http://ackwire.test" }

// Option returns an option that makes a client connect to this server, in memory.
func (s *Server) Option() ackwire.Option {
	return ackwire.WithDialContext(s.DialContext)
}

// DialContext opens an in-memory connection to the server and ignores the address. Use it as the DialContext of your
// own http.Transport.
func (s *Server) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	return s.ln.dial(ctx)
}

// Dial connects a client that is closed when the test ends. It fails the test if the client cannot connect.
func (s *Server) Dial(t testing.TB, opts ...ackwire.Option) *ackwire.Client {
	t.Helper()
	c, err := ackwire.Dial(t.Context(), s.URL(), append([]ackwire.Option{s.Option()}, opts...)...)
	if err != nil {
		t.Fatalf("ackwiretest: dial: %v", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// NewHTTP makes an HTTP client, whose idle connections are closed when the test ends.
func (s *Server) NewHTTP(t testing.TB, opts ...ackwire.Option) *ackwire.HTTPClient {
	t.Helper()
	c, err := ackwire.NewHTTP(s.URL(), append([]ackwire.Option{s.Option()}, opts...)...)
	if err != nil {
		t.Fatalf("ackwiretest: %v", err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// Cut breaks every connection without a close frame, as a crash does. Clients may reconnect at once.
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

// Down breaks every connection and refuses new ones until Up. It refuses only in-memory connections (Option, Dial), not
// those through a port of httptest.
func (s *Server) Down() {
	s.ln.setDown(true)
	s.Cut()
}

// Up accepts connections again after Down.
func (s *Server) Up() { s.ln.setDown(false) }

// Goaway asks every connected socket to reconnect after a wait, as a server does before a restart. The old sockets stay
// open until their clients close them.
func (s *Server) Goaway(after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.sockets {
		k.send(frame.GoawayFrame{Type: frame.Goaway, Reason: "restart", ReconnectAfter: after.Seconds()})
	}
}

// CloseSockets closes every connected socket with a close code, which says whether clients reconnect
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

// Refuse answers the next n submits with an error, without making a job. The codes are in package schemas/code; after
// code.Indeterminate a client sends the submit again if it has a key.
func (s *Server) Refuse(n int, c code.Code) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		s.faults.refusals = append(s.faults.refusals, c)
	}
}

// LoseAcks makes the jobs of the next n submits but sends no ack and breaks the connection instead, so that the client
// does not know their outcome.
func (s *Server) LoseAcks(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.lost += n
}

// DelayAcks delays every later submit by d: its job is made, and acked, after that time. 0 ends the delay.
func (s *Server) DelayAcks(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.delay = d
}

// RequireToken refuses every later handshake and request that carries neither one of these tokens nor a grant that the
// server has made (401, unauthenticated). Without arguments it refuses all tokens.
func (s *Server) RequireToken(tokens ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.tokens = append([]string{}, tokens...)
}

// Types sets the job types that exist: later submits of any other type are refused (unknown_job_type). Before the first
// call all types are accepted.
func (s *Server) Types(names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.types = append([]string{}, names...)
}

// JobTypes sets the job types that exist, from a file as a real server reads it (jobtypes.Load). The server applies
// their attempts, payload schemas (validation_failed) and payload sizes (payload_too_large). A result that does not fit
// its type's schema fails its job (invalid_result), as with a worker that checks results.
func (s *Server) JobTypes(types jobtypes.Set) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.types = types
}

// Sockets returns how many WebSockets are connected.
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

// listener is a net.Listener for in-memory connections (net.Pipe).
type listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once

	mu   sync.Mutex // guards the fields below
	down bool       // refuse new connections
	open []net.Conn // the server's ends, for cut
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
