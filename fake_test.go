package ackwire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a server that the test drives step by step, frame by frame. It works over in-memory pipes inside a synctest
// bubble.
type fake struct {
	t           *testing.T
	ln          *pipeListener
	peers       chan *peer
	done        chan struct{}
	mu          sync.Mutex
	refuse      http.HandlerFunc // answers handshakes while it is set
	get         http.HandlerFunc // answers GET /v1/jobs/{id}
	query       http.HandlerFunc // answers GET /v1/jobs, /v1/stats and what a job has below it
	other       http.HandlerFunc // answers all other requests
	dials       int
	compression websocket.CompressionMode // set before the first dial
	all         []*peer
}

// inBubble runs f in a synctest bubble with a fake server.
func inBubble(t *testing.T, f func(t *testing.T, s *fake)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &fake{t: t, ln: newPipeListener(), peers: make(chan *peer, 100), done: make(chan struct{}), other: http.NotFound}
		mux := http.NewServeMux()
		mux.HandleFunc("GET /v1/ws", s.socket)
		mux.HandleFunc("GET /v1/jobs/{id}", func(w http.ResponseWriter, r *http.Request) { s.get(w, r) })
		for _, path := range []string{"/v1/jobs", "/v1/stats", "/v1/job-types", "/v1/jobs/{id}/why",
			"/v1/jobs/{id}/history", "/v1/jobs/{id}/payload"} {
			mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) { s.query(w, r) })
		}
		mux.HandleFunc("/v1/", func(w http.ResponseWriter, r *http.Request) { s.other(w, r) })
		srv := &http.Server{Handler: mux}
		go func() { _ = srv.Serve(s.ln); close(s.done) }()
		defer func() {
			_ = srv.Close()
			<-s.done
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, p := range s.all {
				_ = p.ws.CloseNow()
			}
		}()
		f(t, s)
	})
}

func (s *fake) socket(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	refuse := s.refuse
	s.mu.Unlock()
	if refuse != nil {
		refuse(w, r)
		return
	}
	s.accept(w, r)
}

// accept ends a handshake with a socket.
func (s *fake) accept(w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols: []string{frame.Protocol}, CompressionMode: s.compression,
	})
	if err != nil {
		return
	}
	p := &peer{
		t: s.t, ws: ws, auth: r.Header.Get("Authorization"), extensions: w.Header().Get("Sec-WebSocket-Extensions"),
		frames: make(chan []byte, 10_000), gone: make(chan struct{}),
	}
	s.mu.Lock()
	s.all = append(s.all, p)
	s.mu.Unlock()
	go p.readLoop()
	s.peers <- p
}

// setRefuse makes every further handshake end in h; nil accepts again.
func (s *fake) setRefuse(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = h
}

// dial opens a client and welcomes its first connection.
func (s *fake) dial(opts ...Option) (*Client, *peer) {
	s.t.Helper()
	c, p, err := s.tryDial(opts...)
	if err != nil {
		s.t.Fatalf("Dial: %v", err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return c, p
}

func (s *fake) tryDial(opts ...Option) (*Client, *peer, error) {
	type result struct {
		c   *Client
		err error
	}
	done := make(chan result, 1)
	go func() {
		c, err := Dial(context.Background(), "http://ackwire.test", append([]Option{s.transport()}, opts...)...)
		done <- result{c, err}
	}()
	select {
	case p := <-s.peers:
		p.welcome()
		r := <-done
		return r.c, p, r.err
	case r := <-done:
		return r.c, nil, r.err
	}
}

func (s *fake) transport() Option {
	return WithDialContext(func(ctx context.Context, _, _ string) (net.Conn, error) {
		s.mu.Lock()
		s.dials++
		s.mu.Unlock()
		return s.ln.dial(ctx)
	})
}

// next accepts the client's next connection and welcomes it.
func (s *fake) next() *peer {
	s.t.Helper()
	select {
	case p := <-s.peers:
		p.welcome()
		return p
	case <-time.After(time.Hour):
		s.t.Fatal("no connection within an hour")
		return nil
	}
}

// noNext fails if the client connects within d.
func (s *fake) noNext(d time.Duration) {
	s.t.Helper()
	select {
	case <-s.peers:
		s.t.Fatal("the client connected again")
	case <-time.After(d):
	}
}

// peer is the server's end of one socket.
type peer struct {
	t          *testing.T
	ws         *websocket.Conn
	auth       string
	extensions string // the WebSocket extensions that were negotiated
	frames     chan []byte
	gone       chan struct{} // closed when the socket has ended; err is set
	err        error
}

func (p *peer) readLoop() {
	defer close(p.gone)
	for {
		_, b, err := p.ws.Read(context.Background())
		if err != nil {
			p.err = err
			_ = p.ws.CloseNow()
			return
		}
		p.frames <- b
	}
}

func (p *peer) welcome() {
	p.send(`{"type":"welcome","connection":"c1","protocol":"ackwire.v1","pingInterval":25,"limits":{"frameBytes":262144,"subscriptions":1000,"inFlightSubmits":64}}`)
}

func (p *peer) send(format string, args ...any) {
	p.t.Helper()
	text := format
	if len(args) > 0 {
		text = fmt.Sprintf(format, args...)
	}
	if err := p.ws.Write(context.Background(), websocket.MessageText, []byte(text)); err != nil {
		p.t.Logf("send %.60s: %v", text, err)
	}
}

// status sends a document of a job at a version.
func (p *peer) status(jobID string, version int64, state string) {
	p.t.Helper()
	p.send(`{"type":"status","version":%d,"job":%s}`, version, document(jobID, state))
}

func document(jobID, state string) string {
	return fmt.Sprintf(`{"jobId":%q,"type":"demo.echo","state":%q,"attempt":1,"maxAttempts":3,"createdAt":"2026-01-02T03:04:05Z","updatedAt":"2026-01-02T03:04:06Z"}`, jobID, state)
}

// got is a frame from the client, with every field that one may have.
type got struct {
	Type    frame.Type      `json:"type"`
	ID      string          `json:"id"`
	Job     string          `json:"job"`
	JobID   string          `json:"jobId"`
	Key     string          `json:"key"`
	Token   string          `json:"token"`
	Payload json.RawMessage `json:"payload"`
	Watch   *bool           `json:"watch"`
	Jobs    json.RawMessage `json:"jobs"`
	List    string          `json:"list"`
	raw     string
}

// refs reads the jobs of a subscribe as "id" or "id@after".
func (g got) refs() []string {
	var jobs []frame.JobRef
	_ = json.Unmarshal(g.Jobs, &jobs)
	var out []string
	for _, j := range jobs {
		if j.After != nil {
			j.JobID += fmt.Sprintf("@%d", *j.After)
		}
		out = append(out, j.JobID)
	}
	return out
}

// want returns the client's next frame, which must be of the type typ.
func (p *peer) want(typ frame.Type) got {
	p.t.Helper()
	select {
	case b := <-p.frames:
		var g got
		dec := json.NewDecoder(bytes.NewReader(b))
		if err := dec.Decode(&g); err != nil {
			p.t.Fatalf("frame %s: %v", b, err)
		}
		g.raw = string(b)
		if g.Type != typ {
			p.t.Fatalf("got %s, want a %s", b, typ)
		}
		return g
	case <-time.After(time.Minute):
		p.t.Fatalf("no %s within a minute", typ)
		return got{}
	}
}

// wantNothing fails if the client sends anything once everything has come to rest.
func (p *peer) wantNothing(why string) {
	p.t.Helper()
	synctest.Wait()
	select {
	case b := <-p.frames:
		p.t.Fatalf("%s: got %s", why, b)
	default:
	}
}

// wantEnd waits until the client has closed the socket.
func (p *peer) wantEnd(why string) {
	p.t.Helper()
	select {
	case <-p.gone:
	case <-time.After(time.Minute):
		p.t.Fatalf("%s: the socket is still open", why)
	}
}

// ack answers a submit and returns its frame.
func (p *peer) ack(jobID string) got {
	p.t.Helper()
	g := p.want(frame.Submit)
	p.sendAck(g.ID, jobID)
	return g
}

func (p *peer) sendAck(id, jobID string) {
	p.send(`{"type":"ack","id":%q,"jobId":%q,"state":"pending","statusUrl":"/v1/jobs/%s"}`, id, jobID, jobID)
}

func (p *peer) sendError(id string, c code.Code, more string) {
	info := c.Info()
	p.send(`{"type":"error","id":%q,"code":%q,"title":%q,"detail":"because","retryable":%t%s}`, id, c, info.Title,
		info.Retryable, more)
}

func (p *peer) close(c code.Close) {
	go func() { _ = p.ws.Close(websocket.StatusCode(c), c.String()) }()
}

// drop ends the socket without a close frame, as a crash does.
func (p *peer) drop() { _ = p.ws.CloseNow() }

// pending is a call that runs beside the test.
type pending[T any] struct {
	t    *testing.T
	done chan struct{}
	val  T
	err  error
}

func begin[T any](t *testing.T, f func() (T, error)) *pending[T] {
	p := &pending[T]{t: t, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.val, p.err = f()
	}()
	return p
}

// end waits for the call.
func (p *pending[T]) end() (T, error) {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(time.Hour):
		p.t.Fatal("the call did not end within an hour")
	}
	return p.val, p.err
}

func (p *pending[T]) running(why string) {
	p.t.Helper()
	synctest.Wait()
	select {
	case <-p.done:
		p.t.Fatalf("%s: the call ended with %v, %v", why, p.val, p.err)
	default:
	}
}

// testSubmit begins a submit of demo.echo, without a key unless an option sets one.
func (c *Client) testSubmit(t *testing.T, opts ...SubmitOption) *pending[*Job] {
	return begin(t, func() (*Job, error) {
		opts = append([]SubmitOption{NoKey()}, opts...)
		return c.Submit(context.Background(), "demo.echo", map[string]int{"n": 1}, opts...)
	})
}

// testSubmitted submits a job and has it acked as jobID.
func (c *Client) testSubmitted(t *testing.T, p *peer, jobID string, opts ...SubmitOption) *Job {
	t.Helper()
	sub := c.testSubmit(t, opts...)
	p.ack(jobID)
	j, err := sub.end()
	if err != nil {
		t.Fatalf("Submit: %v", err)
	}
	return j
}

// collect begins a watch and returns what it yields as "state@version" words, with the error last.
func collect(t *testing.T, seq func(func(Status, error) bool)) *pending[string] {
	return begin(t, func() (string, error) {
		var out []string
		var last error
		for st, err := range seq {
			if err != nil {
				last = err
				continue
			}
			out = append(out, fmt.Sprintf("%s@%d", st.State, st.Version))
		}
		return strings.Join(out, " "), last
	})
}

// pipeListener accepts in-memory connections.
type pipeListener struct {
	conns chan net.Conn
	once  sync.Once
	down  chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), down: make(chan struct{})}
}

func (l *pipeListener) dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.down:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.down:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error { l.once.Do(func() { close(l.down) }); return nil }

func (l *pipeListener) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }
