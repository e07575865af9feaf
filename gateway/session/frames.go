package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/requestid"
	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// errLater means that a frame is not an error but will be answered, and counted, later.
var errLater = errors.New("answered later")

// handle processes one text frame: it checks the rate, decodes the frame, acts on it, and answers errors. Some errors
// also close the session.
func (s *Session) handle(b []byte) {
	s.received = time.Now()
	var f frame.ClientFrame
	err := s.limitFrames(s.weight(b))
	if err != nil {
		f = wire.Head(b) // only the ID and the type, for the answer
	} else if f, err = wire.Decode(b); err == nil {
		err = s.dispatch(&f)
	}
	switch err {
	case errLater:
		return
	case nil:
		s.cfg.Metrics.Frame(f.Type, "", time.Since(s.received))
		return
	}
	s.fail(f.ID, err)
	c := codeOf(err)
	s.cfg.Metrics.Frame(f.Type, c, time.Since(s.received))
	switch c {
	case code.InvalidFrame, code.UnknownFrame:
		s.broken++
		if s.broken >= maxBroken {
			s.Close(code.CloseProtocolError)
		}
	case code.RateLimited:
		s.endFlood()
	}
	if f.Type == frame.Auth && !s.identified() {
		switch c {
		case code.LimitExceeded:
			s.Close(code.CloseSessionLimit)
		case code.Overloaded:
			s.Close(code.CloseTryAgainLater)
		}
	}
	if c == code.Unauthenticated {
		if f.Type == frame.Auth {
			s.Close(code.CloseUnauthenticated)
		} else {
			s.Close(code.CloseProtocolError)
		}
	}
}

func (s *Session) identified() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known
}

// limitFrames returns an error if the client sends too many frames. A large message counts as several frames.
func (s *Session) limitFrames(frames int) error {
	if s.cfg.FrameRate <= 0 {
		return nil
	}
	if s.frames == nil {
		s.frames = rate.NewLimiter(rate.Limit(s.cfg.FrameRate), max(1, int(2*s.cfg.FrameRate)))
	}
	// A frame above the rate is still counted, so that endFlood closes a client that does not slow down.
	r := s.frames.ReserveN(time.Now(), min(frames, s.frames.Burst()))
	if r.Delay() == 0 {
		return nil
	}
	s.cfg.Metrics.TooManyFrames()
	p := frame.NewProblem(code.RateLimited, fmt.Sprintf("more than %g frames per second", s.cfg.FrameRate))
	p.RetryAfter = r.Delay().Seconds()
	return p
}

// control counts a client's ping, or a pong without a ping of ours, as a frame. It reports whether a ping should be
// answered.
func (s *Session) control() bool {
	if s.limitFrames(1) != nil {
		s.endFlood()
	}
	return s.closing.Load() == 0
}

// endFlood closes a session whose client has sent maxBroken frames too many in spite of the errors.
func (s *Session) endFlood() {
	if s.frames != nil && s.frames.Tokens() < -maxBroken {
		s.Close(code.ClosePolicyViolation)
	}
}

func codeOf(err error) code.Code {
	var p frame.Problem
	if errors.As(err, &p) {
		return p.Code
	}
	return code.Internal
}

func problem(c code.Code, format string, args ...any) error {
	return frame.NewProblem(c, fmt.Sprintf(format, args...))
}

// needs says which permissions each type of frame requires.
var needs = map[frame.Type]auth.Permissions{
	frame.Submit: auth.Submit, frame.SubmitBatch: auth.Submit, frame.Retry: auth.Submit, frame.Subscribe: auth.Read,
	frame.Unsubscribe: auth.Read, frame.Cancel: auth.Cancel, frame.WatchList: auth.Read, frame.UnwatchList: auth.Read,
}

// wantsWatch reports whether a job is to be watched, whose submit or retry has that field. By default it is, if the
// client has the permission; to ask for it explicitly without the permission is an error.
func wantsWatch(watch *bool, id auth.Identity) (bool, error) {
	switch asked := watch != nil && *watch; {
	case id.May(auth.Read):
		return watch == nil || asked, nil
	case asked:
		return false, problem(code.Forbidden, "the token does not permit watching: it needs %s", auth.Read)
	}
	return false, nil
}

// dispatch acts on one frame. Errors are frame.Problems.
func (s *Session) dispatch(f *frame.ClientFrame) error {
	s.mu.Lock()
	identity, known := s.identity, s.known
	s.mu.Unlock()
	if f.Type == frame.Auth {
		return s.auth(f, identity, known)
	}
	if !known {
		return problem(code.Unauthenticated, "the first frame must be auth")
	}
	order := f.Type == frame.Cancel || f.Type == frame.Retry
	if needed := needs[f.Type]; !identity.May(needed) && (!order || !identity.MayOrder(needed)) {
		return problem(code.Forbidden, "the token does not permit this: it needs %s", needed)
	}
	switch f.Type {
	case frame.Submit:
		return s.submit(f, identity)
	case frame.SubmitBatch:
		return s.submitBatch(f, identity)
	case frame.Subscribe:
		return s.subscribe(f, identity)
	case frame.Unsubscribe:
		return s.unsubscribe(f)
	case frame.Ping:
		s.send(wire.Encode(frame.PongFrame{Type: frame.Pong, ID: f.ID}))
		return nil
	case frame.WatchList:
		return s.watchList(f, identity)
	case frame.UnwatchList:
		return s.unwatchList(f)
	case frame.Cancel:
		return s.cancelJob(f, identity)
	case frame.Retry:
		return s.retryJob(f, identity)
	default:
		return problem(code.UnknownFrame, "%.32q is not a frame type", f.Type)
	}
}

// auth gives the session its identity, or renews its token. An anonymous session may take on an identity.
func (s *Session) auth(f *frame.ClientFrame, was auth.Identity, known bool) error {
	if f.Token == "" {
		return problem(code.InvalidFrame, "token is missing")
	}
	id, err := s.cfg.Verifier.Verify(f.Token)
	if err != nil {
		s.cfg.Log.Debug("token refused", "session", s.name, "err", err)
		return problem(code.Unauthenticated, "the token was refused")
	}
	if known && !was.Anonymous() && (id.Tenant != was.Tenant || id.Subject != was.Subject) {
		return problem(code.Forbidden, "the token is another tenant's or subject's")
	}
	if err := s.take(id, was, known); err != nil {
		return err
	}
	s.welcome(f.ID)
	if known {
		s.renewed(id)
	}
	return nil
}

// take makes id the session's identity, in place of was.
func (s *Session) take(id, was auth.Identity, known bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known && was.Anonymous() && s.subscriptionsLocked() > 0 {
		return problem(code.Forbidden, "this session already watches jobs of another identity")
	}
	// Grants for other jobs are counted for themselves, see Account.
	counted := known && !was.Anonymous() && was.Account() == id.Account()
	if !counted {
		if err := s.cfg.Limits.OpenSession(id.Tenant, id.Account()); err != nil {
			return err
		}
		if known {
			s.cfg.Limits.CloseSession(was.Tenant, was.Account())
		}
	}
	// No second warning for a token with the same expiry: a client that renews with the same token
	// would cause a warning each time.
	s.warned = s.warned && known && id.Expires.Equal(was.Expires)
	if !s.known && s.Proved != nil {
		s.Proved()
	}
	if !counted {
		s.join(id)
	}
	s.identity, s.known, s.scope = id, true, nil
	s.arm()
	return nil
}

// reads returns the scope of what an identity of the session may read. All watches of one identity share it.
func (s *Session) reads(id auth.Identity) *auth.Scope {
	scope := id.Scope(auth.Read)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.scope == nil || s.scope.Key() != scope.Key() {
		s.scope = scope
	}
	return s.scope
}

func (s *Session) welcome(id string) {
	s.send(wire.Encode(frame.WelcomeFrame{
		Type: frame.Welcome, ID: id, Connection: s.name, Protocol: frame.Protocol,
		PingInterval: s.cfg.PingInterval.Seconds(),
		Limits: frame.Limits{FrameBytes: s.cfg.FrameBytes, Subscriptions: s.cfg.Subscriptions,
			InFlightSubmits: s.cfg.InFlightSubmits},
	}))
}

// submit submits a job. The frame is answered when the job is durable.
func (s *Session) submit(f *frame.ClientFrame, id auth.Identity) error {
	request := f.SubmitRequest
	watches, refs, err := follows(&request, id)
	if err != nil {
		return err
	}
	var made string
	return s.later(f, id, watches, refs, func() (frame.AckFrame, int64, error) {
		return s.cfg.Jobs.Submit(s.deed(), id, request, func(jobID string) {
			made = jobID
			s.expectAck(jobID)
		})
	}, func() { s.acked(made) })
}

// follows reports whether the job of a submit is to be watched, and which of its streams are to be followed.
func follows(r *frame.SubmitRequest, id auth.Identity) (watches bool, refs []frame.StreamRef, err error) {
	watches, err = wantsWatch(r.Watch, id)
	if err != nil {
		return false, nil, err
	}
	refs, err = wire.DecodeStreams(r.Streams)
	switch {
	case err != nil:
		return false, nil, err
	case len(refs) > 0 && !id.May(auth.Read):
		return false, nil, problem(code.Forbidden, "the token does not permit to follow streams: it needs %s", auth.Read)
	case len(refs) > 0 && !watches:
		return false, nil, problem(code.InvalidFrame, "streams are followed only with a watch")
	}
	return watches, refs, nil
}

// cancelJob cancels a job. A watch of the job goes on.
func (s *Session) cancelJob(f *frame.ClientFrame, id auth.Identity) error {
	jobID, err := orderedJob(f)
	if err != nil {
		return err
	}
	return s.later(f, id, false, nil, func() (frame.AckFrame, int64, error) {
		return s.cfg.Jobs.Cancel(s.deed(), id, jobID)
	}, nil)
}

// retryJob retries an ended job and, unless "watch" is false, watches it, since an earlier watch has ended with the
// job.
func (s *Session) retryJob(f *frame.ClientFrame, id auth.Identity) error {
	jobID, err := orderedJob(f)
	if err != nil {
		return err
	}
	watches, err := wantsWatch(f.Watch, id)
	if err != nil {
		return err
	}
	return s.later(f, id, watches, nil, func() (frame.AckFrame, int64, error) {
		return s.cfg.Jobs.Retry(s.deed(), id, jobID)
	}, nil)
}

// deed returns the context of what the session does for its client, with the connection's name as its request. It is
// not the session's own context: a submit goes on when its client leaves.
func (s *Session) deed() context.Context { return requestid.With(context.Background(), s.name) }

func orderedJob(f *frame.ClientFrame) (string, error) {
	if f.JobID == "" {
		return "", problem(code.InvalidFrame, "jobId is missing")
	}
	return f.JobID, nil
}

// watchesTooMany is the error of a submit or retry for whose watch there is no place.
func (s *Session) watchesTooMany() error {
	return problem(code.LimitExceeded, "%d jobs are watched; with \"watch\":false this is still taken",
		s.cfg.Subscriptions)
}

// takePlace counts a frame that will be answered later among those in flight, unless too many are.
func (s *Session) takePlace() error {
	if int(s.inFlight.Add(1)) > s.cfg.InFlightSubmits {
		s.inFlight.Add(-1)
		return problem(code.LimitExceeded, "%d submits are in flight", s.cfg.InFlightSubmits)
	}
	return nil
}

// later runs do in a goroutine, so that other frames are processed meanwhile, and answers the frame with its ack or its
// error. refs are streams of the job to follow with the watch. Then it calls answered, if that is not nil. It refuses a
// frame when too many are in flight.
func (s *Session) later(
	f *frame.ClientFrame, id auth.Identity, watches bool, refs []frame.StreamRef,
	do func() (frame.AckFrame, int64, error), answered func(),
) error {
	if watches && !s.promise() {
		return s.watchesTooMany()
	}
	if err := s.takePlace(); err != nil {
		s.unpromise(watches)
		return err
	}
	s.unanswered.Add(1)
	frameID, kind, received := f.ID, f.Type, s.received
	s.submits.Go(func() {
		defer s.unanswered.Add(-1)
		if answered != nil {
			defer answered()
		}
		ack, version, err := do()
		s.inFlight.Add(-1) // before the answer, which may bring the next submit
		s.notePressure(err)
		if err != nil {
			s.unpromise(watches)
			s.fail(frameID, err)
			s.cfg.Metrics.Frame(kind, codeOf(err), time.Since(received))
			return
		}
		ack.Type, ack.ID = frame.Ack, frameID
		if watches {
			s.watchSubmitted(&ack, id, version, received, refs)
		} else {
			s.send(wire.Encode(ack))
		}
		s.cfg.Metrics.Frame(kind, "", time.Since(received))
	})
	return errLater
}
