package session

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/budget"
	"github.com/ackwire/ackwire/gateway/hub"
	"github.com/ackwire/ackwire/gateway/mine"
	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// Bounds of one session that no configuration changes.
const (
	flushBytes   = 16 << 10         // one write carries about so much
	writeTimeout = 10 * time.Second // a client that takes nothing for so long is too slow
	lingerTime   = time.Second      // how long a closed session waits for its client's close
	lingerBytes  = 1 << 20
	messageTime  = 30 * time.Second // for all of a message, once it began; looked at with each ping
	maxBroken    = 64               // broken frames before the session is closed with protocol_error
)

// Jobs takes jobs in, and orders for them. Each answers with an ack, once it is durable, and the
// version below which the job's state is not known; or with a frame.Problem.
type Jobs interface {
	// Submit calls made with the job's ID before anybody can hear of the job.
	Submit(ctx context.Context, id auth.Identity, r frame.SubmitRequest, made func(jobID string)) (frame.AckFrame, int64,
		error)
	Cancel(ctx context.Context, id auth.Identity, jobID string) (frame.AckFrame, int64, error)
	Retry(ctx context.Context, id auth.Identity, jobID string) (frame.AckFrame, int64, error)
}

// Limits shares the gateway out among tenants. Errors are frame.Problems.
type Limits interface {
	OpenSession(tenant, subject string) error
	CloseSession(tenant, subject string)
	Watch(tenant string, n int) bool         // n more watches, or fewer
	Ask(tenant, subject string, n int) error // for the states of n jobs
}

// Metrics counts what sessions do.
type Metrics interface {
	Frame(t frame.Type, c code.Code, took time.Duration) // one answered; c is "" when it was taken
	Error(c code.Code)                                   // one error sent
	Sent(times []int64)                                  // statuses written; see outbox.Take
	Conflated()
	Parked() // a status that there was no room for
	Dropped(why outbox.Outcome)
	TooManyFrames()
	TooSlowToSend() // a message that did not come in time

	Compressing(sockets int)          // so many more have compression, or fewer
	NotCompressing(why NoCompression) // a client that had asked
	Compressed()                      // one frame, for however many sockets
	SentCompressed(before, after int) // bytes of frames that were to be compressed
}

// Config is what all sessions share.
type Config struct {
	Verifier *auth.Verifier
	Hub      *hub.Hub
	Mine     *mine.Index
	Load     Loader
	Budget   *budget.Budget // of what waits to be written
	Jobs     Jobs
	Limits   Limits
	Metrics  Metrics
	Log      *slog.Logger

	Compression *Compression // nil: it is off

	PingInterval    time.Duration
	FirstFrame      time.Duration // from the handshake to the auth frame
	FrameBytes      int
	Subscriptions   int
	WaitingBytes    int // of statuses that wait, or are being written
	InFlightSubmits int
	FrameRate       float64 // frames per second that a client may send; twice as many in a burst

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
	Proved   func()          // called when a client without an identity gets one; nil or set before Start
	ended    func()          // set by Start
	ctx      context.Context // ends with the session
	cancel   context.CancelFunc
	deflates bool // permessage-deflate was agreed on

	out        outbox.Outbox
	flushes    sync.WaitGroup
	loading    atomic.Int32 // of what is owed
	submits    sync.WaitGroup
	inFlight   atomic.Int32 // submits on their way, for the limit
	overloaded atomic.Int32 // submits in a row that were refused as code.Overloaded

	unanswered atomic.Int32 // submits whose answer is not in the outbox, for the drain
	pinged     atomic.Bool  // a ping was sent and not answered
	follows    atomic.Bool  // mine is there
	closing    atomic.Int32
	reading    atomic.Int64 // when the message began that is being read, Unix nanoseconds; else 0

	// Owned by the read loop.
	broken   int
	received time.Time     // when the last frame was
	frames   *rate.Limiter // nil before the first frame: idle sockets are many

	// registering is held while what the session watches is changed here and in the hub.
	// Lock order: registering → hub → mu → outbox.
	registering sync.Mutex

	mu       sync.Mutex // guards all below and the watches; the hub is not called under it
	identity auth.Identity
	known    bool // an identity was given, and counts as a session of its tenant
	warned   bool // that the token of this identity is about to end
	deadline *time.Timer
	watches  map[string]*watch        // by job ID; nil once the session has ended
	promised int                      // submits in flight that will watch their job
	over     bool                     // nothing is written any more
	account  *budget.Account          // of what the outbox holds; nil before there is an identity
	mine     *mineWatch               // all jobs of the session's subject; nil when it does not follow them
	unacked  map[string]*outbox.Frame // by job: statuses that mine has, and whose ack comes first
	told     mine.Told                // of jobs that are not watched by themselves; of all while mine is there
}

// NoHandshake is returned by Accept for a request that is not a WebSocket handshake. Headers may have
// been set that say how to make it one.
type NoHandshake struct {
	Status int // as RFC 6455 §4.2.2 and RFC 9110 §15.5.22 want it
	Reason error
}

func (e *NoHandshake) Error() string { return e.Reason.Error() }

// Accept upgrades a request. identity is nil for a client that must authenticate with its
// first frame; else it was let in by Limits, and the session is counted there until it
// ends. Start must follow, or Discard.
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
				s.control() // nobody asked
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

// Start serves the socket until it ends, and calls ended when nothing of it is left.
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

// Discard ends a session that is not to be started, without a word.
func (s *Session) Discard() {
	s.Kill()
	s.cancel()
	s.leaveBudget()
	s.uncompress()
}

// finish takes the session down once nothing is read any more.
func (s *Session) finish() {
	s.cancel()
	s.mu.Lock()
	if s.deadline != nil {
		s.deadline.Stop()
	}
	s.mu.Unlock()
	s.unwatchAll()
	s.submits.Wait()
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
		s.cfg.Limits.CloseSession(tenant, s.identity.Subject)
	}
	s.mu.Unlock()
	s.uncompress()
	s.cfg.Log.Info("session ended", "session", s.name, "tenant", tenant, "close", s.Closed(),
		"lasted", time.Since(s.opened).Round(time.Millisecond))
	s.ended()
}

// Closed is the code that the session was closed with; 0 when the client left.
func (s *Session) Closed() code.Close { return code.Close(s.closing.Load()) }

// arm sets the one timer of a session: the first frame's deadline, or the warning before the
// token's end and then that end. s.mu is held.
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

// authMissing ends a session whose first frame did not come in time.
func (s *Session) authMissing() {
	s.mu.Lock()
	known := s.known
	s.mu.Unlock()
	if !known {
		s.Close(code.CloseAuthTimeout)
	}
}

// tokenEnds warns, and when it is called again closes, unless the token was renewed in the
// moment in which the timer fired.
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

// read is the read loop.
//
// After each frame it goes on in a new goroutine: answering one takes much of a stack, which
// the goroutine of a socket that then rests for hours would keep.
func (s *Session) read() {
	kind, b, err := s.message()
	if err != nil {
		s.readEnded(err)
		s.finish()
		return
	}
	switch {
	case s.closing.Load() != 0: // what comes after our close is not read
	case kind != websocket.MessageText:
		s.Close(code.CloseUnsupportedData)
	case !utf8.Valid(b):
		s.Close(code.CloseInvalidUTF8)
	default:
		s.handle(b)
	}
	s.readOn()
}

// message reads one, of however many fragments.
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

// readEnded notes why, and lets a client that was told why read it: closing with unread
// data in the buffer would reset the connection and lose the close frame.
func (s *Session) readEnded(err error) {
	if left, ok := errors.AsType[websocket.CloseError](err); ok {
		s.cfg.Log.Debug("the client closes", "session", s.name, "code", int(left.Code))
		return
	}
	said := s.conn.said()
	if said == 0 && !s.conn.ended && s.closing.Load() == 0 {
		// The library says nothing to what breaks the protocol in these ways: an unmasked
		// frame, a length above all bounds.
		said = code.CloseWebsocketViolation
		_, _ = s.conn.Write(wire.Close(said))
	}
	if said != 0 {
		s.closing.CompareAndSwap(0, int32(said))
		_ = s.conn.SetReadDeadline(time.Now().Add(lingerTime))
		_, _ = io.CopyN(io.Discard, s.conn, lingerBytes)
	}
}

// Close tells the client why and ends the session; the first reason wins.
func (s *Session) Close(c code.Close) {
	if !s.closing.CompareAndSwap(0, int32(c)) {
		return
	}
	s.start(s.out.Close(wire.Close(c)))
	// The read loop ends when the client answers, or now and a little.
	_ = s.conn.SetReadDeadline(time.Now().Add(lingerTime + writeTimeout/10))
}

// Kill ends the session without a word.
func (s *Session) Kill() {
	s.closing.CompareAndSwap(0, int32(code.CloseGoingAway))
	_ = s.conn.Close()
}

// Ping asks the client for a sign of life; one that gave none since the last ping is gone.
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

// Goaway asks the client to come back later, somewhere else.
func (s *Session) Goaway(reason string, after time.Duration) {
	s.send(wire.Encode(frame.GoawayFrame{Type: frame.Goaway, Reason: reason, ReconnectAfter: after.Seconds()}))
}

// Settled reports whether no submit is in flight and nothing waits to be written.
func (s *Session) Settled() bool { return s.unanswered.Load() == 0 && s.out.Idle() }

// send queues a control frame. A client that asks, and does not read the answers, is cut off.
func (s *Session) send(b []byte) {
	o := s.out.Send(b)
	if o == outbox.Overflow {
		s.cfg.Metrics.Dropped(o)
		s.tooSlow()
		return
	}
	s.start(o)
}

// start acts on the outbox's word.
func (s *Session) start(o outbox.Outcome) {
	switch o {
	case outbox.Start:
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.over {
			return
		}
		s.flushes.Add(1)
		if s.conn.raw == nil {
			go s.flushWaiting(newBatch(), nil) // nothing can be tried
		} else {
			s.cfg.writers.add(s)
		}
	case outbox.Replaced:
		s.cfg.Metrics.Conflated()
	case outbox.Parked:
		s.cfg.Metrics.Parked()
		go s.loadOwed() // the hub calls under the session's lock
	case outbox.Old, outbox.Closed:
		s.cfg.Metrics.Dropped(o)
	case outbox.Overflow:
		s.cfg.Metrics.Dropped(o)
		s.tooMuchWaits()
	}
}

// tooSlow ends a session whose client takes nothing.
func (s *Session) tooSlow() {
	s.closing.CompareAndSwap(0, int32(code.CloseSlowConsumer))
	_ = s.conn.Close()
}

// tooMuchWaits ends a session for which too much waits to be written. That is dropped, and the client
// told why: it may only have rested, and reads on within the time that a write may take.
func (s *Session) tooMuchWaits() {
	if !s.closing.CompareAndSwap(0, int32(code.CloseSlowConsumer)) {
		return
	}
	s.start(s.out.Cut(wire.Close(code.CloseSlowConsumer)))
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
