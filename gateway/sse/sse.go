package sse

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/hub"
	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/gateway/subjects"
	"github.com/ackwire/ackwire/internal/wake"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

const (
	flushBytes   = 16 << 10
	writeTimeout = 10 * time.Second // a client that reads nothing for so long is too slow
	retryHint    = time.Second      // how long a client waits before it reconnects
)

// Answer is the answer to a watch of a job: the current version, or the error why it cannot be watched.
type Answer struct {
	JobID   string    `json:"jobId"`
	Version int64     `json:"-"`
	Error   code.Code `json:"error,omitempty"`

	reset bool // the version is below what the client has; see frame.SubscribedJob
}

// Stream follows jobs for one client.
type Stream struct {
	hub     *hub.Hub
	subject *all // nil unless the stream follows a subject
	frames  bool // the client reads the frames of a socket
	room    Room
	out     outbox.Outbox
	wake    wake.Signal // there is something to write
	subs    []*subscription
	ids     ids
	parts   parts // streams of the jobs

	mu       sync.Mutex // guards the fields below; taken under the hub's lock
	waiting  int        // subscriptions without an answer
	live     int        // subscriptions that are not over
	slow     bool
	answered chan struct{} // closed when waiting is 0
}

// subscription is one job of the stream.
type subscription struct {
	hub.Subscription
	stream *Stream
	slot   outbox.Slot
	answer Answer

	answered bool
	over     bool
	sent     bool // a status was queued or parked
	left     bool // the hub has ended it, but its last status is parked
}

// New begins to follow one job, if it is in the scope. last is the ID of the last event that its client has
// (Last-Event-ID): a version, after which the stream goes on. Any other value is ignored. The caller must Close the
// stream.
func New(h *hub.Hub, room Room, scope *auth.Scope, jobID, last string) *Stream {
	last, _, _ = strings.Cut(last, cursorMark)
	version, err := strconv.ParseInt(last, 10, 64)
	if err != nil || version < 0 {
		version = 0
	}
	return begin(h, room, scope, ids{jobs: []string{jobID}, told: told{version}})
}

// NewMany begins to follow those of several jobs that are in the scope, each of them named once. last is the ID of the
// last event that its client has (Last-Event-ID): a cursor, after which the stream goes on. Any other value is ignored.
// The caller must Close the stream.
func NewMany(h *hub.Hub, room Room, scope *auth.Scope, jobs []string, last string) *Stream {
	last, _, _ = strings.Cut(last, cursorMark)
	return begin(h, room, scope, ids{jobs: jobs, told: readCursor(last, jobs), many: true})
}

func begin(h *hub.Hub, room Room, scope *auth.Scope, of ids) *Stream {
	s := newStream(h, room, of)
	s.watchJobs(scope)
	return s
}

func newStream(h *hub.Hub, room Room, of ids) *Stream {
	s := &Stream{
		hub: h, room: room, wake: wake.New(), waiting: len(of.jobs), live: len(of.jobs),
		answered: make(chan struct{}), ids: of,
	}
	s.out.MaxStatuses, s.out.MaxBytes = 2*len(of.jobs), room.Bytes
	s.out.Join(room.Account)
	return s
}

// watchJobs begins to follow the stream's jobs.
func (s *Stream) watchJobs(scope *auth.Scope) {
	asked := time.Now().UnixMilli()
	for i, jobID := range s.ids.jobs {
		sub := &subscription{stream: s, answer: Answer{JobID: jobID}}
		sub.slot.Since, sub.slot.Owner = asked, sub
		sub.Subscription = hub.Subscription{Subscriber: sub, JobID: jobID, Scope: scope, After: max(s.ids.told[i], 0)}
		s.out.Skip(&sub.slot, sub.After)
		s.subs = append(s.subs, sub)
	}
	for _, sub := range s.subs {
		s.hub.Subscribe(&sub.Subscription)
	}
}

// all is a stream that follows every job of a subject.
type all struct {
	subjects.Subscription
	stream *Stream
	index  *subjects.Index
	group  outbox.Group
	told   subjects.Told // owned by the caller of SubjectStatus, of which there is one at a time
	refuse code.Code
	reset  bool // what the client gave is no cursor of this log
}

// maxWaiting bounds the statuses that wait in a stream that follows a subject.
const maxWaiting = 2 * frame.MaxSubscriptions

// NewSubject begins to follow every job of a subject. Such a stream never finishes by itself. last is the ID of the
// last event that its client has (Last-Event-ID): a cursor, after which the stream goes on. Any other value is ignored.
// The caller must Close the stream.
func NewSubject(x *subjects.Index, room Room, tenant, subject, last string) *Stream {
	s := newStream(nil, room, ids{})
	s.waiting, s.live, s.out.MaxStatuses = 1, 1, maxWaiting
	s.follow(tenant, subject, last)
	s.subject.watch(x)
	return s
}

// follow prepares a stream to follow every job of a subject.
func (s *Stream) follow(tenant, subject, last string) {
	s.subject = &all{stream: s, group: outbox.Group{Since: time.Now().UnixMilli()}}
	s.subject.group.Owner = s.subject
	s.subject.told.Follow()
	s.subject.Subscription = subjects.Subscription{Subscriber: s.subject, Tenant: tenant, Subject: subject, After: last}
}

// watch begins to follow the subject.
func (a *all) watch(x *subjects.Index) {
	a.index = x
	x.Subscribe(&a.Subscription)
}

// Subscribed implements subjects.Subscriber.
func (a *all) Subscribed(c code.Code, reset bool) {
	a.stream.mu.Lock()
	defer a.stream.mu.Unlock()
	a.refuse, a.reset = c, reset
	if reset { // the versions that the client has are not of this log
		a.told = subjects.Told{}
		a.told.Follow()
	}
	a.stream.hasAnswer()
}

// hasAnswer notes that one more watch is answered. s.mu is held.
func (s *Stream) hasAnswer() {
	s.waiting--
	if s.waiting == 0 {
		close(s.answered)
	}
}

// SubjectStatus implements subjects.Subscriber.
func (a *all) SubjectStatus(jobID string, f *outbox.Frame) {
	if a.told.News(jobID, f.Version) {
		a.stream.put(a.stream.out.PutGroup(&a.group, jobID, f))
	}
}

// Cursor implements subjects.Subscriber. It sends an ID without an event, which an EventSource stores as its last ID.
func (a *all) Cursor(cursor string) bool {
	event := []byte("id: " + cursor + "\n\n")
	if a.stream.frames {
		event = FrameEvent(frame.CursorFrame{Type: frame.Cursor, Cursor: cursor})
	}
	o := a.stream.out.Mark(event)
	if o == outbox.Start {
		a.stream.put(o)
	}
	return o != outbox.Old
}

// Room implements subjects.Subscriber.
func (a *all) Room() bool { return a.stream.out.Room() }

// Close ends the stream's subscriptions.
func (s *Stream) Close() {
	if s.subject != nil {
		s.subject.index.Unsubscribe(&s.subject.Subscription)
	}
	for _, sub := range s.subs {
		s.hub.Unsubscribe(&sub.Subscription)
	}
	s.parts.close()
	s.out.Abandon()
}

// Answers waits until every watch is answered, and returns the answers.
func (s *Stream) Answers(ctx context.Context) ([]Answer, error) {
	select {
	case <-s.answered:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s.hub != nil {
		s.hub.Settle() // wait for what comes with the answers, such as a job's end
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	answers := make([]Answer, len(s.subs))
	for i, sub := range s.subs {
		answers[i] = sub.answer
	}
	if s.subject != nil {
		answers = append(answers, Answer{Error: s.subject.refuse, reset: s.subject.reset})
	}
	return answers, nil
}

// Subscribed implements hub.Subscriber.
func (sub *subscription) Subscribed(version int64, c code.Code) {
	sub.stream.mu.Lock()
	defer sub.stream.mu.Unlock()
	sub.answer.Version, sub.answer.Error, sub.answered = version, c, true
	sub.stream.hasAnswer()
	if c != "" {
		sub.end()
	}
}

// Status implements hub.Subscriber.
func (sub *subscription) Status(f *outbox.Frame) {
	sub.parks(sub.stream.out.Put(&sub.slot, f), f.Terminal)
}

// Reset implements hub.Subscriber: the versions that follow may be lower.
func (sub *subscription) Reset(version int64) {
	s := sub.stream
	s.mu.Lock()
	notice := sub.notice(version)
	s.mu.Unlock()
	s.put(s.out.Reset(&sub.slot, notice))
}

// put handles the outbox's outcome of a status.
func (s *Stream) put(o outbox.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slow = s.slow || o == outbox.Overflow
	s.wake.Send()
}

// Over implements hub.Subscriber.
func (sub *subscription) Over() {
	sub.stream.mu.Lock()
	defer sub.stream.mu.Unlock()
	sub.end()
}

// end ends the subscription. stream.mu is held.
func (sub *subscription) end() {
	if !sub.over {
		sub.over = true
		sub.stream.live--
		sub.stream.wake.Send()
	}
}

func (s *Stream) state() (live int, slow bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live, s.slow
}

// Finished reports whether an earlier stream has already sent the client the end of every job, or that it cannot be
// followed. Such a client should be answered 204, after which an EventSource does not reconnect.
func (s *Stream) Finished() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.subject != nil || s.frames || !s.parts.told() {
		return false
	}
	for i, sub := range s.subs {
		refused := sub.answer.Error != ""
		switch {
		case !sub.over || sub.sent:
			return false
		case !refused && s.ids.told[i] <= 0, refused && (sub.answer.Error.Info().Retryable || s.ids.told[i] != toldRefused):
			return false
		}
	}
	return true
}

// Options are the settings of Serve.
type Options struct {
	KeepAlive      time.Duration       // interval of comments
	Token          Token               // the client's token; the zero Token never expires
	Drain          <-chan struct{}     // closed when the server is about to stop
	ReconnectAfter time.Duration       // how long the client should then wait before it reconnects
	Hello          []byte              // the first bytes of a stream of frames
	Wait           time.Duration       // longest time of a long poll; 0 if it is none
	Sent           func(times []int64) // is called with the times of written statuses; see outbox.Take
}

// Token says when a client's token expires.
type Token struct {
	Expires time.Time // its claim exp
	Warn    time.Time // when the client is warned
	Over    time.Time // when the stream ends
}

// Why is the reason why a stream has ended.
type Why string

// Reasons lists every reason.
var Reasons = []Why{Finished, Left, Drained, TokenExpired, TooSlow}

// The reasons.
const (
	Finished     Why = "finished" // every job has ended, or the long poll has
	Left         Why = "left"     // the client has left
	Drained      Why = "drained"  // the server stops
	TokenExpired Why = "token_expired"
	TooSlow      Why = "slow_consumer" // the client does not read fast enough
)

// Serve writes events until the last job has ended, the client leaves, its token expires, or the server drains, and
// returns which of these it was. The client gets an event for an expired token and for a drain. The first events are
// those of the watches that were refused.
//
// In its loop it writes everything that waits in the outbox, loads parked statuses for which there is room, and then
// waits for the next thing to do.
func (s *Stream) Serve(ctx context.Context, w http.ResponseWriter, opts Options, refused []Answer) Why {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // or nginx would buffer events
	w.WriteHeader(http.StatusOK)
	rc := http.NewResponseController(w)
	var broken error // why the last write failed
	write := func(b []byte) bool {
		if broken = rc.SetWriteDeadline(time.Now().Add(writeTimeout)); broken == nil {
			if _, broken = w.Write(b); broken == nil {
				broken = rc.Flush()
			}
		}
		return broken == nil
	}
	// A status is written from its shared frame, without a copy for each stream.
	writeStatus := func(b []byte, f *outbox.Frame) bool {
		if broken = rc.SetWriteDeadline(time.Now().Add(writeTimeout)); broken == nil {
			broken = s.writeStatus(w, b, f)
		}
		return broken == nil
	}
	keepAlive := time.NewTicker(opts.KeepAlive)
	defer keepAlive.Stop()
	var expiring, expired, later <-chan time.Time
	if !opts.Token.Over.IsZero() {
		warn, over := time.NewTimer(time.Until(opts.Token.Warn)), time.NewTimer(time.Until(opts.Token.Over))
		defer warn.Stop()
		defer over.Stop()
		expiring, expired = warn.C, over.C
	}
	// The server writes the answer's end after this returns, which may be long after the last write.
	defer func() {
		if broken == nil {
			_ = rc.SetWriteDeadline(time.Now().Add(writeTimeout))
		}
	}()
	polled, stop := s.newPoll(opts.Wait)
	defer stop()
	hello := opts.Hello
	if !s.frames {
		hello = Retry(retryHint)
	}
	for i, a := range refused {
		s.ids.refused(a)
		if i == len(refused)-1 {
			hello = s.ids.append(hello)
		}
		hello = append(hello, Event("refused", a)...)
	}
	if !write(hello) {
		return lost(broken)
	}
	for {
		live, slow := s.state() // read before the outbox: what comes later wakes the loop again
		if slow {
			return TooSlow
		}
		frames, times, again := []*outbox.Frame(nil), []int64(nil), false
		for more := true; more; {
			frames, times, more = s.out.Take(frames[:0], times[:0], flushBytes)
			for i, f := range frames {
				polled.took(f)
				if c, ok := f.Chunk.(chunk); ok && !s.frames {
					s.parts.note(&s.ids, c)
					var id []byte
					if !s.ids.many || i == len(frames)-1 {
						id = s.ids.append(nil)
					}
					if !write(append(id, f.Bytes...)) {
						return lost(broken)
					}
					continue
				}
				if f.JobID == "" { // an event as it is: a cursor, or a part of a stream
					if !write(f.Bytes) {
						return lost(broken)
					}
					continue
				}
				s.ids.status(f)
				var b []byte
				if !s.frames && (!s.ids.many || i == len(frames)-1) {
					b = s.ids.append(nil)
				}
				if !writeStatus(b, f) {
					return lost(broken)
				}
				frames[i] = nil
			}
			if more {
				if broken = rc.Flush(); broken != nil {
					return lost(broken)
				}
				s.out.Wrote()
				opts.Sent(times)
			} else if s.out.Owing() {
				more, again = s.loadOwed(ctx)
			}
		}
		if live == 0 && !s.frames || polled.done() {
			return Finished
		}
		later = nil
		if again {
			later = time.After(loadAgain)
		}
		select {
		case <-s.wake:
		case <-later:
		case <-keepAlive.C:
			if !write([]byte(": still here\n\n")) {
				return lost(broken)
			}
		case <-expiring:
			if !write(s.expiringEvent(opts.Token)) {
				return lost(broken)
			}
		case <-expired:
			write(s.expiredEvent())
			return TokenExpired
		case <-opts.Drain:
			write(s.goawayEvent(opts.ReconnectAfter))
			return Drained
		case <-polled.over:
			return Finished
		case <-ctx.Done():
			return Left
		}
	}
}

// lost returns why a write failed. The request's context does not say: the server ends it after any failed write.
func lost(broken error) Why {
	if errors.Is(broken, os.ErrDeadlineExceeded) {
		return TooSlow
	}
	return Left
}
