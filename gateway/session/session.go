package session

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/budget"
	"github.com/ackwire/ackwire/gateway/bulk"
	"github.com/ackwire/ackwire/gateway/hub"
	"github.com/ackwire/ackwire/gateway/lists"
	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/gateway/streams"
	"github.com/ackwire/ackwire/gateway/subjects"
	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Bounds of a session that cannot be configured.
const (
	flushBytes   = 16 << 10         // approximate size of one write
	writeTimeout = 10 * time.Second // a client that reads nothing for so long is too slow
	lingerTime   = time.Second      // how long a closed session waits for its client's close frame
	lingerBytes  = 1 << 20          // how much it reads meanwhile
	messageTime  = 30 * time.Second // for a whole message from its first byte on; checked with each ping
	maxBroken    = 64               // broken frames after which the session is closed with protocol_error
)

// Jobs submits, cancels and retries jobs. Each method returns when that is durable, with the ack and the version of the
// event: older statuses of the job are outdated. Errors are frame.Problems.
type Jobs interface {
	// Submit calls made with the job's ID before any status of the job can arrive.
	Submit(ctx context.Context, id auth.Identity, r frame.SubmitRequest, made func(jobID string)) (frame.AckFrame, int64,
		error)
	// HoldBatch admits a batch of that many bytes until end is called.
	HoldBatch(id auth.Identity, bytes int64) (end func(), err error)
	// SubmitBatch is Submit for many; when ctx ends no further one begins.
	SubmitBatch(ctx context.Context, id auth.Identity, items []bulk.Item, made func(i int, jobID string),
	) []bulk.Result
	Cancel(ctx context.Context, id auth.Identity, jobID string) (frame.AckFrame, int64, error)
	Retry(ctx context.Context, id auth.Identity, jobID string) (frame.AckFrame, int64, error)
}

// Limits bounds what tenants and users may use; package limits implements it. Errors are frame.Problems.
type Limits interface {
	OpenSession(tenant, subject string) error
	CloseSession(tenant, subject string)
	Watch(tenant string, n int) bool         // n more watched jobs, or fewer if it is negative
	Ask(tenant, subject string, n int) error // a request for the documents of n jobs
	List(tenant, subject string) error       // a request for a list
	WatchList(tenant, subject string) error  // one more watched list
	UnwatchList(tenant, subject string)
}

// Metrics counts events of sessions.
type Metrics interface {
	Frame(t frame.Type, c code.Code, took time.Duration) // a frame was answered; c is "" if it was accepted
	Error(c code.Code)                                   // an error was sent
	Sent(times []int64)                                  // statuses were written; see outbox.Take
	Conflated()                                          // a status was replaced by a newer one
	Parked()                                             // there was no room for a status
	Dropped(why outbox.Outcome)                          // a frame was dropped
	TooManyFrames()                                      // a frame was above the rate
	TooSlowToSend()                                      // a message did not arrive in time

	Compressing(sockets int)          // the number of sockets with compression has changed by so many
	NotCompressing(why NoCompression) // a client asked for compression and does not get it
	Compressed()                      // a frame was compressed, for all its sockets
	SentCompressed(before, after int) // bytes of frames that may be compressed, before and after
}

// Config holds the settings and parts that all sessions share.
type Config struct {
	Verifier *auth.Verifier
	Hub      *hub.Hub
	Subjects *subjects.Index
	Streams  *streams.Room
	Lists    *lists.Index
	List     func(filter url.Values, id auth.Identity) (*trackerpb.ListRequest, error) // reads the filter of a list
	Load     Loader
	Budget   *budget.Budget // for the bytes that wait to be written
	Jobs     Jobs
	Limits   Limits
	Metrics  Metrics
	Log      *slog.Logger

	Compression *Compression // nil if it is off

	PingInterval    time.Duration
	FirstFrame      time.Duration // longest time from the handshake to the auth frame
	FrameBytes      int           // largest frame from a client
	Subscriptions   int           // jobs that a session may watch
	WaitingBytes    int           // bytes of statuses that wait or are being written
	InFlightSubmits int           // submits, cancels and retries without an answer
	FrameRate       float64       // frames per second that a client may send, with bursts of twice as many

	writers flusher
}

// Session is one socket.
type Session struct {
	// Set by Accept, then only read.
	cfg      *Config
	name     string
	ws       *websocket.Conn
	conn     *conn
	opened   time.Time
	Proved   func()          // called when a client without an identity gets one; nil, or set before Start
	ended    func()          // set by Start
	ctx      context.Context // ends with the session
	cancel   context.CancelFunc
	deflates bool // permessage-deflate was negotiated

	out        outbox.Outbox
	flushes    sync.WaitGroup // flushes, and the loading of parked statuses
	loading    atomic.Int32   // loadIdle, loadRunning or loadMore
	submits    sync.WaitGroup // goroutines of later
	inFlight   atomic.Int32   // submits, cancels and retries in flight, for the limit
	overloaded atomic.Int32   // submits in a row that were refused as code.Overloaded

	unanswered atomic.Int32 // submits whose answer is not in the outbox yet, for the drain
	pinged     atomic.Bool  // a ping was sent and not answered
	follows    atomic.Bool  // subject is not nil
	closing    atomic.Int32 // the code with which the session is closed; 0 while it is open
	reading    atomic.Int64 // when the message began that is being read, Unix nanoseconds; else 0

	// Owned by the read loop.
	broken   int           // broken frames so far
	received time.Time     // when the last frame was received
	frames   *rate.Limiter // nil before the first frame: idle sockets are many
	running  chan struct{} // is full while a batch runs; nil before the first batch

	// registering is held while the session's watches are changed, here and in the hub.
	// Lock order: registering → hub → mu → outbox.
	registering sync.Mutex

	mu       sync.Mutex // guards the fields below and the watches; the hub is not called under it
	identity auth.Identity
	scope    *auth.Scope // of what the identity may read; nil until it is needed
	known    bool        // the session has an identity, and is counted as a session of its tenant
	warned   bool        // the client was warned that the identity's token expires
	deadline *time.Timer
	watches  map[string]*watch        // by job ID; nil once the session has ended
	promised int                      // places that are reserved for watches of submits in flight
	over     bool                     // nothing is written any more
	account  *budget.Account          // the budget of the outbox; nil before there is an identity
	subject  *subjectWatch            // the watch of all jobs of the session's subject; nil if there is none
	unacked  map[string]*outbox.Frame // by job ID: statuses of the subject that must wait for the ack of their submit
	lists    map[string]*listWatch    // by the client's name; nil if there are none
	streams  *streams.Reader          // of streams of jobs; nil while it follows none
	told     subjects.Told            // versions sent, of jobs without a watch of their own; of all while subject is set
}

// NoHandshake is returned by Accept for a request that is not a WebSocket handshake. Accept may have set headers of the
// answer that say how to make one.
type NoHandshake struct {
	Status int // the HTTP status to answer with (RFC 6455 §4.2.2, RFC 9110 §15.5.22)
	Reason error
}

func (e *NoHandshake) Error() string { return e.Reason.Error() }

// Accept upgrades a request to a WebSocket. identity is nil for a client that must authenticate with its first frame;
// else the caller has called Limits.OpenSession for it, and the session calls CloseSession when it ends. The caller
// must then call Start or Discard.
func Accept(
	w http.ResponseWriter, r *http.Request, name string, cfg *Config, identity *auth.Identity,
) (*Session, error) {
	h := &hijacker{ResponseWriter: w}
	s := &Session{cfg: cfg, name: name, opened: time.Now(), watches: map[string]*watch{}}
	ws, deflates, err := upgrade(h, r, cfg, &websocket.AcceptOptions{
		Subprotocols:       []string{frame.Protocol},
		InsecureSkipVerify: true, // the gateway has checked the origin
		OnPingReceived:     func(context.Context, []byte) bool { return s.control() },
		OnPongReceived: func(context.Context, []byte) {
			if !s.pinged.Swap(false) {
				s.control() // a pong without a ping
			}
		},
	})
	if err != nil && h.refused != 0 {
		return nil, &NoHandshake{Status: h.refused, Reason: err}
	} else if err != nil {
		return nil, err
	}
	s.ws, s.conn, s.deflates = ws, h.conn, deflates
	s.conn.br.Reset(s.conn)
	s.ws.SetReadLimit(int64(cfg.FrameBytes))
	s.out.MaxStatuses, s.out.MaxBytes = 2*cfg.Subscriptions, cfg.WaitingBytes
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if identity != nil {
		s.identity, s.known = *identity, true
		s.join(*identity)
	}
	return s, nil
}

// Start begins to serve the socket and returns. ended is called when the session has ended and all its goroutines with
// it.
func (s *Session) Start(ended func()) {
	s.ended = ended
	s.mu.Lock()
	known := s.known
	s.arm()
	s.mu.Unlock()
	if known {
		s.welcome("")
	}
	go s.read()
}

// Discard ends a session that was not started, without a close frame.
func (s *Session) Discard() {
	s.Kill()
	s.cancel()
	s.leaveBudget()
	s.uncompress()
}

// finish ends the session after its read loop: it waits for submits and flushes, and releases everything that the
// session holds.
func (s *Session) finish() {
	s.cancel()
	s.mu.Lock()
	if s.deadline != nil {
		s.deadline.Stop()
	}
	s.mu.Unlock()
	s.unwatchAll()
	s.submits.Wait()
	s.endStreams()
	s.mu.Lock()
	s.over = true // no flush begins any more
	s.mu.Unlock()
	s.flushes.Wait()
	s.leaveBudget()
	_ = s.ws.CloseNow()
	_ = s.conn.Close()
	s.mu.Lock()
	tenant := s.identity.Tenant
	if s.known {
		s.cfg.Limits.CloseSession(tenant, s.identity.Account())
	}
	s.mu.Unlock()
	s.uncompress()
	s.cfg.Log.Info("session ended", "session", s.name, "tenant", tenant, "close", s.Closed(),
		"lasted", time.Since(s.opened).Round(time.Millisecond))
	s.ended()
}

// Closed returns the code with which the session was closed; 0 if the client left.
func (s *Session) Closed() code.Close { return code.Close(s.closing.Load()) }

// arm sets the session's timer: to the deadline of the first frame, or to the warning before the token's expiry and
// then to the end of the session. s.mu is held.
func (s *Session) arm() {
	if s.deadline != nil {
		s.deadline.Stop()
		s.deadline = nil
	}
	switch {
	case !s.known:
		s.deadline = time.AfterFunc(s.cfg.FirstFrame, s.authMissing)
	case !s.identity.Anonymous():
		wait := s.identity.UntilOver()
		if !s.warned {
			wait = s.identity.UntilWarning()
		}
		expires := s.identity.Expires
		s.deadline = time.AfterFunc(wait, func() { s.tokenEnds(expires) })
	}
}

// authMissing closes a session whose first frame did not come in time.
func (s *Session) authMissing() {
	s.mu.Lock()
	known := s.known
	s.mu.Unlock()
	if !known {
		s.Close(code.CloseAuthTimeout)
	}
}

// tokenEnds is called by the timer for a token that expires at expires: first it warns the client, and the second
// time it closes the session. It does nothing if the token was renewed just when the timer fired.
func (s *Session) tokenEnds(expires time.Time) {
	s.mu.Lock()
	if !s.identity.Expires.Equal(expires) {
		s.mu.Unlock()
		return
	}
	over := s.warned
	after := s.identity.UntilOver()
	if !over && s.closing.Load() == 0 {
		s.warned = true
		s.arm()
	}
	s.mu.Unlock()
	if over {
		s.Close(code.CloseTokenExpired)
		return
	}
	s.send(wire.Encode(frame.NewExpiring(expires, after)))
}

// read is the read loop: it reads and handles one frame.
//
// Then it goes on in a new goroutine: handling a frame needs a large stack, and a goroutine keeps its stack while the
// socket is idle, perhaps for hours.
func (s *Session) read() {
	kind, b, err := s.message()
	if err != nil {
		s.readEnded(err)
		s.finish()
		return
	}
	switch {
	case s.closing.Load() != 0: // frames after our close frame are ignored
	case kind != websocket.MessageText:
		s.Close(code.CloseUnsupportedData)
	case !utf8.Valid(b):
		s.Close(code.CloseInvalidUTF8)
	default:
		s.handle(b)
	}
	s.readOn()
}

// message reads one message, with all its fragments.
func (s *Session) message() (websocket.MessageType, []byte, error) {
	kind, r, err := s.ws.Reader(context.Background())
	if err != nil {
		return 0, nil, err
	}
	s.reading.Store(time.Now().UnixNano())
	b, err := io.ReadAll(r)
	s.reading.Store(0)
	return kind, b, err
}

// readEnded handles the end of the read loop. If a close frame was sent it goes on to read for a moment (lingers): to
// close a socket with unread data in its buffer resets the connection, and the client would not get the close frame.
func (s *Session) readEnded(err error) {
	if left, ok := errors.AsType[websocket.CloseError](err); ok {
		s.cfg.Log.Debug("the client closes", "session", s.name, "code", int(left.Code))
		return
	}
	said := s.conn.said()
	if said == 0 && !s.conn.ended && s.closing.Load() == 0 {
		// The library sends no close frame after some protocol errors: an unmasked frame, or a length
		// above 2^63.
		said = code.CloseWebsocketViolation
		_, _ = s.conn.Write(wire.Close(said))
	}
	if said != 0 {
		s.closing.CompareAndSwap(0, int32(said))
		_ = s.conn.SetReadDeadline(time.Now().Add(lingerTime))
		_, _ = io.CopyN(io.Discard, s.conn, lingerBytes)
	}
}

// Close sends a close frame and ends the session. If it is called again the first code stays.
func (s *Session) Close(c code.Close) {
	if !s.closing.CompareAndSwap(0, int32(c)) {
		return
	}
	s.act(s.out.Close(wire.Close(c)))
	// The read loop ends when the client answers with its close frame, or a little later.
	_ = s.conn.SetReadDeadline(time.Now().Add(lingerTime + writeTimeout/10))
}

// Kill ends the session without a close frame.
func (s *Session) Kill() {
	s.closing.CompareAndSwap(0, int32(code.CloseGoingAway))
	_ = s.conn.Close()
}

// Ping sends a ping. If the last one was not answered, or a message takes too long to arrive, it closes the session.
func (s *Session) Ping() {
	if began := s.reading.Load(); began != 0 && time.Since(time.Unix(0, began)) > messageTime {
		s.cfg.Metrics.TooSlowToSend()
		s.Close(code.ClosePolicyViolation)
		return
	}
	if s.pinged.Swap(true) {
		s.Close(code.ClosePingTimeout)
		s.Kill() // a half-open connection would hold the goroutines for minutes
		return
	}
	s.send(wire.Ping)
}

// Goaway asks the client to reconnect after a wait, to any gateway.
func (s *Session) Goaway(reason string, after time.Duration) {
	s.send(wire.Encode(frame.GoawayFrame{Type: frame.Goaway, Reason: reason, ReconnectAfter: after.Seconds()}))
}

// Settled reports whether no submit is unanswered and nothing waits to be written.
func (s *Session) Settled() bool { return s.unanswered.Load() == 0 && s.out.Idle() }

// send queues a control frame. It ends the session of a client that sends requests and does not read the answers.
func (s *Session) send(b []byte) {
	o := s.out.Send(b)
	if o == outbox.Overflow {
		s.cfg.Metrics.Dropped(o)
		s.tooSlow()
		return
	}
	s.act(o)
}

// act does what the outcome of a put into the outbox asks for: it starts a flush, loads parked statuses, or ends the
// session.
func (s *Session) act(o outbox.Outcome) {
	switch o {
	case outbox.Start:
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.over {
			return
		}
		s.flushes.Add(1)
		if s.conn.raw == nil {
			go s.flushWaiting(newBatch(), nil) // this connection has no writes that do not block
		} else {
			s.cfg.writers.add(s)
		}
	case outbox.Replaced:
		s.cfg.Metrics.Conflated()
	case outbox.Parked:
		s.cfg.Metrics.Parked()
		go s.loadOwed() // a goroutine, since callers may hold s.mu, which loadOwed takes
	case outbox.Old, outbox.Closed:
		s.cfg.Metrics.Dropped(o)
	case outbox.Overflow:
		s.cfg.Metrics.Dropped(o)
		s.tooMuchWaits()
	}
}

// tooSlow ends a session whose client reads nothing.
func (s *Session) tooSlow() {
	s.closing.CompareAndSwap(0, int32(code.CloseSlowConsumer))
	_ = s.conn.Close()
}

// tooMuchWaits ends a session for which too much waits to be written. It drops that and sends a close frame: the client
// may have paused only briefly, and still has the time of a write to read it.
func (s *Session) tooMuchWaits() {
	if !s.closing.CompareAndSwap(0, int32(code.CloseSlowConsumer)) {
		return
	}
	s.act(s.out.Cut(wire.Close(code.CloseSlowConsumer)))
	_ = s.conn.SetReadDeadline(time.Now().Add(writeTimeout + lingerTime))
}

// fail answers a frame with an error.
func (s *Session) fail(id string, err error) {
	var p frame.Problem
	if !errors.As(err, &p) {
		s.cfg.Log.Error("frame failed", "session", s.name, "err", err)
		p = frame.NewProblem(code.Internal, "")
	}
	s.cfg.Metrics.Error(p.Code)
	s.send(wire.Encode(frame.ErrorFrame{Type: frame.Error, ID: id, Problem: p}))
}
