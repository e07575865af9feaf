package api

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/gateway/requestid"
	"github.com/ackwire/ackwire/gateway/session"
	"github.com/ackwire/ackwire/gateway/sse"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// follows are the routes of event streams.
type follows struct {
	*door
	pace    *pace
	tickets *tickets
}

// getJobEvents handles GET /v1/jobs/{id}/events. A client that reconnects sends the last version that it has as
// Last-Event-ID.
func (f *follows) getJobEvents(w http.ResponseWriter, r *http.Request) {
	id, paced, ok := f.follower(w, r)
	if !ok {
		return
	}
	jobID, ok := job.ParseID(r.PathValue("id"))
	if !ok {
		f.problem(w, frame.NewProblem(code.NotFound, ""))
		return
	}
	names, err := frame.ParseStreamNames(r.URL.Query()["stream"])
	if err != nil {
		f.problem(w, frame.NewProblem(code.InvalidFrame, err.Error()))
		return
	}
	f.serveEvents(w, r, id, following{watches: 1, paced: paced}, func(room sse.Room, last string) *sse.Stream {
		s := sse.New(f.cfg.Hub, room, id.Scope(auth.Read), jobID, last)
		s.WithNames(names, last)
		return s
	})
}

// getEvents handles GET /v1/events?job=…&job=…, a stream of several jobs, and ?mine=true, a stream of all jobs of the
// client's subject from now on.
func (f *follows) getEvents(w http.ResponseWriter, r *http.Request) {
	id, paced, ok := f.follower(w, r)
	if !ok {
		return
	}
	asked, err := frame.ParseEventsQuery(r.URL.RawQuery)
	jobs, all := asked.Jobs, asked.Mine
	switch {
	case err != nil:
		f.problem(w, frame.NewProblem(code.InvalidFrame, err.Error()))
		return
	case len(jobs) > f.cfg.Subscriptions:
		f.problem(w, frame.NewProblem(code.LimitExceeded, fmt.Sprintf("a stream may follow %d jobs", f.cfg.Subscriptions)))
		return
	case len(jobs)*len(asked.Streams) > frame.MaxFollowedStreams:
		f.problem(w, errTooManyStreams)
		return
	}
	if all && !id.MayFollowAll() {
		f.problem(w, errGrantSubject)
		return
	}
	if all {
		f.serveEvents(w, r, id, following{watches: 1, paced: paced}, func(room sse.Room, last string) *sse.Stream {
			return sse.NewSubject(f.cfg.Subjects, room, id.Tenant, id.Subject, last)
		})
		return
	}
	f.serveEvents(w, r, id, following{watches: len(jobs), paced: paced}, func(room sse.Room, last string) *sse.Stream {
		s := sse.NewMany(f.cfg.Hub, room, id.Scope(auth.Read), jobs, last)
		s.WithNames(asked.Streams, last)
		return s
	})
}

// errTooManyStreams is the error for a client that asks for too many streams of jobs.
var errTooManyStreams = frame.NewProblem(code.LimitExceeded,
	fmt.Sprintf("an event stream may follow %d streams of jobs", frame.MaxFollowedStreams))

// errGrantSubject is the error for a grant that asks for all jobs of its subject.
var errGrantSubject = frame.NewProblem(code.Forbidden, "a grant follows its jobs one by one")

// following says how an event stream is served.
type following struct {
	watches int           // how many watches it counts as
	paced   bool          // it has had its turn of handshakes
	frames  bool          // its events are the frames of a socket
	wait    time.Duration // longest time of a long poll; 0 if it is none
}

// serveEvents serves the stream that begin makes, until all its jobs have ended. If some jobs cannot be followed the
// stream says so; if none can, the request is refused.
//
// An EventSource stops for ever after any status but 200, and reconnects after the end of each 200. So an invalid
// Last-Event-ID is not refused, and a client that has everything is answered 204 (WHATWG HTML §9.2.3).
func (f *follows) serveEvents(w http.ResponseWriter, r *http.Request, id auth.Identity, of following,
	begin func(room sse.Room, last string) *sse.Stream) {
	if !of.paced {
		if err := f.pace.turn(r.Context()); err != nil {
			f.problem(w, err)
			return
		}
	}
	if err := f.cfg.Limits.OpenSession(id.Tenant, id.Account()); err != nil {
		f.problem(w, err)
		return
	}
	defer f.cfg.Limits.CloseSession(id.Tenant, id.Account())
	if err := f.cfg.Limits.Ask(id.Tenant, id.Account(), of.watches); err != nil {
		f.problem(w, err)
		return
	}
	if !f.cfg.Limits.Watch(id.Tenant, of.watches) {
		f.problem(w, frame.NewProblem(code.LimitExceeded, "the tenant watches as many jobs as it may"))
		return
	}
	defer f.cfg.Limits.Watch(id.Tenant, -of.watches)
	account := f.cfg.Waiting.Open(id.Tenant, id.Account())
	defer account.Close()
	room := sse.Room{Bytes: f.cfg.WaitingBytes, Account: account, Load: f.cfg.Load, NoJob: session.ErrNoJob}
	s := begin(room, r.Header.Get(lastEventID))
	defer s.Close()
	ctx, cancel := f.cfg.untilDrain(r.Context(), f.cfg.ReadTimeout)
	answers, err := s.Answers(ctx)
	cancel()
	if err != nil {
		f.problem(w, problem.Unavailable("the tracker does not answer"))
		return
	}
	var refused []sse.Answer
	for _, a := range answers {
		if a.Error != "" && (!of.frames || a.JobID == "") { // a stream of frames has its own answers per job
			refused = append(refused, a)
		}
	}
	if s.Finished() {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if len(refused) > 0 && (of.frames || len(refused) == len(answers)) {
		p := frame.NewProblem(worth(refused), "")
		if p.Retryable {
			p.RetryAfter = problem.RetryAfter.Seconds()
		}
		f.problem(w, p)
		return
	}
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		return
	}
	opts := sse.Options{
		KeepAlive: f.cfg.PingInterval, Drain: f.cfg.Drain, Sent: f.cfg.Metrics.Sent, Wait: of.wait,
		ReconnectAfter: time.Duration(rand.Int64N(int64(f.cfg.ReconnectAfter))),
	}
	if !id.Anonymous() {
		opts.Token = sse.Token{
			Expires: id.Expires, Warn: time.Now().Add(id.UntilWarning()), Over: time.Now().Add(id.UntilOver()),
		}
	}
	if of.frames {
		opts.Hello = append(sse.FrameEvent(f.welcome(w)), sse.FrameEvent(s.Subscribed(answers))...)
		if of.wait > 0 {
			w.Header().Set(preferenceApplied, waitApplied(of.wait))
		}
	}
	s.Begin(f.cfg.Streams, id.Scope(auth.Read))
	f.cfg.Metrics.eventStreams.Inc()
	why := s.Serve(r.Context(), w, opts, refused)
	f.cfg.Metrics.eventStreams.Dec()
	f.cfg.Metrics.eventStreamEnds.WithLabelValues(string(why)).Inc()
}

// welcome returns the first frame of a stream of frames. The connection's name is the ID of the request.
func (f *follows) welcome(w http.ResponseWriter) frame.WelcomeFrame {
	return frame.WelcomeFrame{
		Type: frame.Welcome, Connection: w.Header().Get(requestid.Header), Protocol: frame.Protocol,
		PingInterval: f.cfg.PingInterval.Seconds(),
		Limits: frame.Limits{FrameBytes: f.cfg.FrameBytes, Subscriptions: f.cfg.Subscriptions,
			InFlightSubmits: f.cfg.InFlightSubmits},
	}
}

// worth returns the error code if none of the jobs can be followed: a retryable one, if there is any.
func worth(refused []sse.Answer) code.Code {
	for _, a := range refused {
		if a.Error.Info().Retryable {
			return a.Error
		}
	}
	return refused[0].Error
}

// follower is identify for event streams, which take tickets, too. paced reports whether the request has had its turn
// of handshakes (pace) already.
func (f *follows) follower(w http.ResponseWriter, r *http.Request) (id auth.Identity, paced, ok bool) {
	ticket := r.URL.Query().Get(ticketParam)
	if ticket == "" {
		id, ok = f.identify(w, r, auth.Read)
		return id, false, ok
	}
	if err := f.pace.turn(r.Context()); err != nil { // before the ticket is used up
		f.problem(w, err)
		return id, true, false
	}
	id, err := f.tickets.redeem(r.Context(), ticket)
	if err != nil {
		f.problem(w, err)
		return id, true, false
	}
	return id, true, f.permitted(w, r, id, auth.Read)
}
