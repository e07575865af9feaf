// Package sse is one event stream (WHATWG HTML, server-sent events): the statuses of some
// jobs, by the same outbox that sockets have.
package sse

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/ackwire/ackwire/gateway/hub"
	"github.com/ackwire/ackwire/gateway/mine"
	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/internal/wake"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

const (
	flushBytes   = 16 << 10
	writeTimeout = 10 * time.Second // a client that takes nothing for so long is too slow
	retryHint    = time.Second      // how long a client waits before it comes back
)

// Answer is what became of a watch: its version now, or why there is none.
type Answer struct {
	JobID   string    `json:"jobId"`
	Version int64     `json:"-"`
	Error   code.Code `json:"error,omitempty"`

	reset bool // the version is below what the client has; see frame.SubscribedJob
}

// Stream follows jobs for one client.
type Stream struct {
	hub    *hub.Hub
	mine   *all // nil unless the stream follows a subject
	frames bool // the client reads the frames of a socket
	room   Room
	out    outbox.Outbox
	wake   wake.Signal // there is something to write
	subs   []*subscription
	ids    ids

	mu       sync.Mutex // guards all below; taken under the hub's lock
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
	sent     bool // a status was put, or is owed
	left     bool // the hub has no more of it: its last status is owed
}

// New begins to follow one job of a tenant. last is the ID of the last event that its client has:
// a version, after which the stream goes on; anything else is none. Close must be called.
func New(h *hub.Hub, room Room, tenant, jobID, last string) *Stream {
	version, err := strconv.ParseInt(last, 10, 64)
	if err != nil || version < 0 {
		version = 0
	}
	return begin(h, room, tenant, ids{jobs: []string{jobID}, told: told{version}})
}

// NewMany begins to follow some jobs of a tenant, each named once. last is the ID of the last event
// that its client has: a cursor, after which the stream goes on; anything else is none. Close must
// be called.
func NewMany(h *hub.Hub, room Room, tenant string, jobs []string, last string) *Stream {
	return begin(h, room, tenant, ids{jobs: jobs, told: readCursor(last, jobs), many: true})
}

func begin(h *hub.Hub, room Room, tenant string, of ids) *Stream {
	s := newStream(h, room, of)
	s.watchJobs(tenant)
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
func (s *Stream) watchJobs(tenant string) {
	asked := time.Now().UnixMilli()
	for i, jobID := range s.ids.jobs {
		sub := &subscription{stream: s, answer: Answer{JobID: jobID}}
		sub.slot.Since, sub.slot.Owner = asked, sub
		sub.Subscription = hub.Subscription{Subscriber: sub, JobID: jobID, Tenant: tenant, After: max(s.ids.told[i], 0)}
		s.out.Skip(&sub.slot, sub.After)
		s.subs = append(s.subs, sub)
	}
	for _, sub := range s.subs {
		s.hub.Subscribe(&sub.Subscription)
	}
}

// all is a stream that follows every job of a subject.
type all struct {
	mine.Subscription
	stream *Stream
	index  *mine.Index
	group  outbox.Group
	told   mine.Told // owned by the caller of MineStatus, which is one at a time
	refuse code.Code
	reset  bool // what the client gave is no cursor of this log
}

// maxWaiting bounds the jobs whose statuses wait for a client that follows a subject.
const maxWaiting = 2 * frame.MaxSubscriptions

// NewMine begins to follow every job of a subject: a stream that never finishes. last is the ID of
// the last event that its client has: a cursor, after which the stream goes on; anything else is
// none. Close must be called.
func NewMine(x *mine.Index, room Room, tenant, subject, last string) *Stream {
	s := newStream(nil, room, ids{})
	s.waiting, s.live, s.out.MaxStatuses = 1, 1, maxWaiting
	s.watchMine(x, tenant, subject, last)
	return s
}

// watchMine begins to follow every job of a subject.
func (s *Stream) watchMine(x *mine.Index, tenant, subject, last string) {
	s.mine = &all{stream: s, index: x, group: outbox.Group{Since: time.Now().UnixMilli()}}
	s.mine.group.Owner = s.mine
	s.mine.told.Follow()
	s.mine.Subscription = mine.Subscription{Subscriber: s.mine, Tenant: tenant, Subject: subject, After: last}
	x.Subscribe(&s.mine.Subscription)
}

// Subscribed implements mine.Subscriber.
func (a *all) Subscribed(c code.Code, reset bool) {
	a.stream.mu.Lock()
	defer a.stream.mu.Unlock()
	a.refuse, a.reset = c, reset
	a.stream.hasAnswer()
}

// hasAnswer notes that one more watch is answered. s.mu is held.
func (s *Stream) hasAnswer() {
	s.waiting--
	if s.waiting == 0 {
		close(s.answered)
	}
}

// MineStatus implements mine.Subscriber.
func (a *all) MineStatus(jobID string, f *outbox.Frame) {
	if a.told.News(jobID, f.Version) {
		a.stream.put(a.stream.out.PutGroup(&a.group, jobID, f))
	}
}

// Cursor implements mine.Subscriber: an ID without an event, which an EventSource keeps.
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

// Room implements mine.Subscriber.
func (a *all) Room() bool { return a.stream.out.Room() }

// Close ends all that New or NewMine began.
func (s *Stream) Close() {
	if s.mine != nil {
		s.mine.index.Unsubscribe(&s.mine.Subscription)
	}
	for _, sub := range s.subs {
		s.hub.Unsubscribe(&sub.Subscription)
	}
	s.out.Abandon()
}

// Answers waits until each watch has its answer, and what came with it.
func (s *Stream) Answers(ctx context.Context) ([]Answer, error) {
	select {
	case <-s.answered:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s.hub != nil {
		s.hub.Settle() // an answer may be known before its job's end is
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	answers := make([]Answer, len(s.subs))
	for i, sub := range s.subs {
		answers[i] = sub.answer
	}
	if s.mine != nil {
		answers = append(answers, Answer{Error: s.mine.refuse, reset: s.mine.reset})
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

// Reset implements hub.Subscriber: the IDs of what follows may be lower.
func (sub *subscription) Reset(version int64) {
	s := sub.stream
	s.mu.Lock()
	notice := sub.notice(version)
	s.mu.Unlock()
	s.put(s.out.Reset(&sub.slot, notice))
}

// put notes what became of a status.
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

// end notes that nothing follows. stream.mu is held.
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

// Finished reports whether the client has been told all, in this stream's past: that each job has
// ended, or cannot be followed. Such a client is told to stay away.
func (s *Stream) Finished() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mine != nil || s.frames {
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

// Options say when a stream ends, besides with its last job or its client.
type Options struct {
	KeepAlive      time.Duration       // between two comments
	Token          Token               // the client's; the zero Token never ends
	Drain          <-chan struct{}     // closed when the server is about to stop
	ReconnectAfter time.Duration       // what the client is told then
	Hello          []byte              // of a stream of frames: what comes first
	Wait           time.Duration       // how long a long poll lasts at most; 0 is none
	Sent           func(times []int64) // statuses written; see outbox.Take
}

// Token says when a client's token ends.
type Token struct {
	Expires time.Time // by its own word
	Warn    time.Time // when the client is told that it will
	Over    time.Time // when the stream ends
}

// Why a stream has ended.
type Why string

// Reasons lists every reason.
var Reasons = []Why{Finished, Left, Drained, TokenExpired, TooSlow}

// The reasons.
const (
	Finished     Why = "finished" // every job has ended, or a long poll
	Left         Why = "left"     // the client
	Drained      Why = "drained"
	TokenExpired Why = "token_expired"
	TooSlow      Why = "slow_consumer"
)

// Serve writes events until the last job has ended, the client leaves, its token expires, or
// the server drains; the client is told which. First it tells of the watches that were
// refused.
func (s *Stream) Serve(ctx context.Context, w http.ResponseWriter, opts Options, refused []Answer) Why {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would gather events
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
	// A status goes out as it is: what many streams are slow to take has no copy for each.
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
		live, slow := s.state() // before what there is to write: what comes later wakes up
		if slow {
			return TooSlow
		}
		frames, times, again := []*outbox.Frame(nil), []int64(nil), false
		for more := true; more; {
			frames, times, more = s.out.Take(frames[:0], times[:0], flushBytes)
			for i, f := range frames {
				polled.took(f)
				if f.JobID == "" { // an event as it is: a cursor
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

// lost says why a write failed. The server ends the request's context then, whatever it was.
func lost(broken error) Why {
	if errors.Is(broken, os.ErrDeadlineExceeded) {
		return TooSlow
	}
	return Left
}
