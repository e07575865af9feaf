// Package watch is the tracker's side of one gateway's watch stream: what is to be sent,
// conflated per job. Shards put updates in and never wait; one sender takes them out.
package watch

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Bounds of one response and of one stream.
const (
	maxAnswers = 4096
	maxUpdates = 256
	maxBytes   = 1 << 20 // of documents, and the one that goes beyond
	maxLoose   = 100_000 // jobs that are watched by subject and wait to be sent
)

// ErrClosed is returned once the stream's owner has gone.
var ErrClosed = errors.New("watch stream is closed")

// Stream is what one gateway is still to be sent.
type Stream struct {
	wake  chan struct{} // capacity 1: something is pending
	taken chan struct{} // capacity 1: answers were taken

	mu         sync.Mutex // guards all below and the fields of the stream's watches
	answers    []*trackerpb.Watched
	coverage   []*trackerpb.Coverage
	head, tail *Watch            // watches with a pending update, oldest first
	loose      map[string]*Watch // those of them that nobody holds, by job
	closed     bool
}

// NewStream returns an open stream.
func NewStream() *Stream {
	return &Stream{wake: make(chan struct{}, 1), taken: make(chan struct{}, 1), loose: map[string]*Watch{}}
}

// Watch is one job that one stream watches. It holds at most one pending update.
type Watch struct {
	stream *Stream

	pending *trackerpb.Job
	next    *Watch
	queued  bool
	loose   bool // it lives in its stream's loose until it is sent
}

// NewWatch returns a watch without a pending update.
func (s *Stream) NewWatch() *Watch { return &Watch{stream: s} }

// Answer queues the answer to an add, or the end of a watch. It is sent before any
// update that is put later.
func (s *Stream) Answer(w *trackerpb.Watched) {
	s.mu.Lock()
	if !s.closed {
		s.answers = append(s.answers, w)
	}
	s.mu.Unlock()
	s.signal()
}

// Cover queues what is said of subjects in a partition. It is sent before any update that is
// put later.
func (s *Stream) Cover(c *trackerpb.Coverage) {
	s.mu.Lock()
	if !s.closed {
		s.coverage = append(s.coverage, c)
	}
	s.mu.Unlock()
	s.signal()
}

// PutLoose queues an update of a job that is watched by its subject only, in place of one
// that was not sent yet; false when the stream is closed. One that has far too many waiting
// is: its gateway comes again and asks for what it missed.
func (s *Stream) PutLoose(j *trackerpb.Job) bool {
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
		w = &Watch{stream: s, loose: true}
		s.loose[j.JobId] = w
	}
	s.putLocked(w, j)
	s.mu.Unlock()
	s.signal()
	return true
}

// Put queues an update, in place of one that was not sent yet.
func (w *Watch) Put(j *trackerpb.Job) {
	s := w.stream
	s.mu.Lock()
	if !s.closed {
		s.putLocked(w, j)
	}
	s.mu.Unlock()
	s.signal()
}

func (s *Stream) putLocked(w *Watch, j *trackerpb.Job) {
	w.pending = j
	if !w.queued {
		w.queued, w.next = true, nil
		if s.tail == nil {
			s.head = w
		} else {
			s.tail.next = w
		}
		s.tail = w
	}
}

// Drop forgets the watch's pending update.
func (w *Watch) Drop() {
	w.stream.mu.Lock()
	w.pending = nil
	w.stream.mu.Unlock()
}

func (s *Stream) signal() { signal(s.wake) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Room waits until fewer than limit answers are pending, so that a gateway that adds
// watches and reads nothing is held back; false when ctx ended first. One caller at a time.
func (s *Stream) Room(ctx context.Context, limit int) bool {
	for {
		s.mu.Lock()
		n := len(s.answers)
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

// Next blocks until there is something to send.
func (s *Stream) Next(ctx context.Context) (*trackerpb.WatchResponse, error) {
	for {
		if r := s.take(); r != nil {
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

func (s *Stream) take() *trackerpb.WatchResponse {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &trackerpb.WatchResponse{Coverage: s.coverage}
	s.coverage = nil
	if n := len(s.answers); n > maxAnswers {
		// An update must not be sent before its watch's answer: updates wait for the rest.
		r.Watched = slices.Clone(s.answers[:maxAnswers])
		s.answers = slices.Delete(s.answers, 0, maxAnswers)
		signal(s.taken)
		s.signal()
		return r
	} else if n > 0 {
		r.Watched, s.answers = s.answers, nil
		signal(s.taken)
	}
	for size := 0; s.head != nil && len(r.Updates) < maxUpdates && size < maxBytes; {
		w := s.head
		s.head = w.next
		if s.head == nil {
			s.tail = nil
		}
		w.queued, w.next = false, nil
		if w.loose && w.pending != nil {
			delete(s.loose, w.pending.JobId)
		}
		if w.pending != nil {
			r.Updates = append(r.Updates, w.pending)
			size += len(w.pending.Document)
			w.pending = nil
		}
	}
	if s.head != nil {
		s.signal()
	}
	if len(r.Watched) == 0 && len(r.Updates) == 0 && len(r.Coverage) == 0 {
		return nil // all that was pending has been dropped
	}
	return r
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
	s.answers, s.coverage, s.head, s.tail = nil, nil, nil, nil
	clear(s.loose)
	s.mu.Unlock()
	s.signal()
}
