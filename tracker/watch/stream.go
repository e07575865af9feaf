// Package watch is the tracker's side of one gateway's watch stream: what is to be sent,
// conflated per job. Shards put updates in and never wait; one sender takes them out. What a
// gateway does not take costs no more than the names of its jobs: beyond a few documents the
// stream keeps none, and loads each again when it is to be sent.
package watch

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/ackwire/ackwire/internal/wake"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Bounds of one response and of one stream.
const (
	maxAnswers = 4096
	maxUpdates = 256
	maxBytes   = 1 << 20 // of documents, and the one that goes beyond
	maxLoose   = 100_000 // jobs that are watched by subject and wait to be sent
	maxHeld    = 4 << 20 // bytes of documents that wait; of what comes beyond only the job is kept
	maxLoads   = 16      // documents that one response loads
	maxTurns   = 64      // adds that shards have not looked at
)

// ErrClosed is returned once the stream's owner has gone.
var ErrClosed = errors.New("watch stream is closed")

// Source has the documents that a stream no longer keeps.
type Source interface {
	// Load returns the watch's job as it is now, and keeps a watch that has ended going where the
	// job has been opened again. Without a job, the outcome says why.
	Load(ctx context.Context, w *Watch) (*trackerpb.Job, trackerpb.Watched_Outcome)
}

// Stream is what one gateway is still to be sent.
type Stream struct {
	wake  wake.Signal   // something is pending
	taken wake.Signal   // answers were taken
	turns chan struct{} // one for each add that a shard has not looked at

	mu       sync.Mutex // guards all below and the fields of the stream's watches
	answers  []*trackerpb.Watched
	coverage []*trackerpb.Coverage
	news     queue             // watches with a pending update
	states   fairQueue         // watches that were just added, with the state then
	loose    map[string]*Watch // of those that nobody holds, the ones watched by their subject, by job
	ended    map[string]*Watch // and those of jobs that had ended when they were added, by job
	held     int               // bytes of the documents that wait
	closed   bool
}

// NewStream returns an open stream.
func NewStream() *Stream {
	return &Stream{
		wake: wake.New(), taken: wake.New(), turns: make(chan struct{}, maxTurns),
		loose: map[string]*Watch{}, ended: map[string]*Watch{},
	}
}

// Watch is one job that one stream watches. It holds at most one pending update.
type Watch struct {
	// Set when it is made, then only read.
	Stream *Stream
	Tenant string // whose job it is
	Source Source
	kind   kind

	pending *trackerpb.Job // without its document where the stream keeps no more
	unkept  bool           // it is without
	dropped bool           // nobody wants it any more
	next    *Watch
	queued  bool
}

// kind says who has a watch.
type kind uint8

const (
	held  kind = iota // its shard does
	loose             // nobody, until it is sent: the job is watched by its subject
	ended             // nobody, until it is sent: the job had ended when it was added
)

// NewWatch returns a watch without a pending update.
func (s *Stream) NewWatch(tenant string, from Source) *Watch {
	return &Watch{Stream: s, Tenant: tenant, Source: from}
}

// Answer queues the answer to an add, or the end of a watch. It is sent before any
// update that is put later.
func (s *Stream) Answer(w *trackerpb.Watched) {
	s.mu.Lock()
	if !s.closed {
		s.answers = append(s.answers, w)
	}
	s.mu.Unlock()
	s.wake.Send()
}

// Cover queues what is said of subjects in a partition. It is sent before any update that is
// put later.
func (s *Stream) Cover(c *trackerpb.Coverage) {
	s.mu.Lock()
	if !s.closed {
		s.coverage = append(s.coverage, c)
	}
	s.mu.Unlock()
	s.wake.Send()
}

// PutLoose queues an update of a job that is watched by its subject only, in place of one
// that was not sent yet; false when the stream is closed. One that has far too many waiting
// is: its gateway comes again and asks for what it missed.
func (s *Stream) PutLoose(j *trackerpb.Job, tenant string, from Source) bool {
	s.mu.Lock()
	w := s.loose[j.JobId]
	switch {
	case s.closed:
		s.mu.Unlock()
		return false
	case w != nil:
	case len(s.loose) >= maxLoose:
		s.mu.Unlock()
		s.Close()
		return false
	default:
		w = &Watch{Stream: s, Tenant: tenant, Source: from, kind: loose}
		s.loose[j.JobId] = w
	}
	s.putLocked(w, j)
	s.mu.Unlock()
	s.wake.Send()
	return true
}

// Put queues an update, in place of one that was not sent yet.
func (w *Watch) Put(j *trackerpb.Job) {
	s := w.Stream
	s.mu.Lock()
	if !s.closed {
		s.putLocked(w, j)
	}
	s.mu.Unlock()
	s.wake.Send()
}

func (s *Stream) putLocked(w *Watch, j *trackerpb.Job) {
	s.keep(w, j)
	if !w.queued {
		s.news.push(w)
	}
}

// keep makes j the watch's pending update, with its document if there is room.
func (s *Stream) keep(w *Watch, j *trackerpb.Job) {
	s.unkeep(w)
	if size := len(j.Document); size <= maxHeld-s.held {
		s.held += size
		w.pending = j
		return
	}
	w.unkept = true
	w.pending = &trackerpb.Job{JobId: j.JobId, SubjectHandle: j.SubjectHandle}
}

// unkeep forgets the watch's pending update.
func (s *Stream) unkeep(w *Watch) {
	if w.pending != nil {
		s.held -= len(w.pending.Document)
	}
	w.pending, w.unkept = nil, false
}

// Drop forgets the watch's pending update.
func (w *Watch) Drop() {
	w.Stream.mu.Lock()
	w.Stream.unkeep(w)
	w.Stream.mu.Unlock()
}

// Room waits until fewer than limit answers, and states of ended jobs, are pending, so that a
// gateway that adds watches and reads nothing is held back; false when ctx ended first. One
// caller at a time.
func (s *Stream) Room(ctx context.Context, limit int) bool {
	for {
		s.mu.Lock()
		n := max(len(s.answers), len(s.ended))
		s.mu.Unlock()
		if n < limit {
			return true
		}
		select {
		case <-s.taken:
		case <-ctx.Done():
			return false
		}
	}
}

// Turn waits until shards have few adds of this stream to look at, so that others' questions do
// not wait behind a thousand of them. done must be called, once or more.
func (s *Stream) Turn(ctx context.Context) (done func(), ok bool) {
	select {
	case s.turns <- struct{}{}:
		return sync.OnceFunc(func() { <-s.turns }), true
	case <-ctx.Done():
		return nil, false
	}
}

// Next blocks until there is something to send.
func (s *Stream) Next(ctx context.Context) (*trackerpb.WatchResponse, error) {
	for {
		r, loads := s.take()
		if r = s.load(ctx, r, loads); r != nil {
			return r, nil
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if s.Closed() {
			return nil, ErrClosed
		}
	}
}

// take takes what the next response holds, and the watches whose documents it is to load.
func (s *Stream) take() (r *trackerpb.WatchResponse, loads []*Watch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r = &trackerpb.WatchResponse{Coverage: s.coverage}
	s.coverage = nil
	if n := len(s.answers); n > maxAnswers {
		// An update must not be sent before its watch's answer: updates wait for the rest.
		r.Watched = slices.Clone(s.answers[:maxAnswers])
		s.answers = slices.Delete(s.answers, 0, maxAnswers)
		s.taken.Send()
		s.wake.Send()
		return r, nil
	} else if n > 0 {
		r.Watched, s.answers = s.answers, nil
		s.taken.Send()
	}
	size := 0
	for len(r.Updates)+len(loads) < maxUpdates && len(loads) < maxLoads && size < maxBytes {
		w := s.news.pop()
		if w == nil {
			w = s.states.pop()
		}
		switch {
		case w == nil:
			return r, loads
		case w.pending == nil: // it was dropped
		case w.unkept:
			loads = append(loads, w)
			continue // it is done with once it is loaded
		default:
			r.Updates = append(r.Updates, w.pending)
			size += len(w.pending.Document)
		}
		s.sent(w)
	}
	s.wake.Send() // there may be more
	return r, loads
}

// sent forgets the watch's update, and a watch that nobody holds. s.mu is held.
func (s *Stream) sent(w *Watch) {
	if w.pending != nil {
		switch w.kind {
		case loose:
			delete(s.loose, w.pending.JobId)
		case ended:
			delete(s.ended, w.pending.JobId)
			s.taken.Send()
		}
	}
	s.unkeep(w)
}

// Closed reports whether Close was called.
func (s *Stream) Closed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Close drops what is pending and refuses what comes.
func (s *Stream) Close() {
	s.mu.Lock()
	s.closed = true
	s.answers = nil
	s.coverage = nil
	s.news = queue{}
	s.states = fairQueue{}
	s.held = 0
	clear(s.loose)
	clear(s.ended)
	s.mu.Unlock()
	s.wake.Send()
}
