package watch

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/ackwire/ackwire/internal/wake"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Bounds of one response and of one stream.
const (
	maxAnswers = 4096
	maxUpdates = 256
	maxBytes   = 1 << 20 // of documents in one response; the last document may exceed it
	maxLoose   = 100_000 // jobs that are watched by subject and wait to be sent
	maxHeld    = 4 << 20 // bytes of documents that wait; beyond it only the job's ID is kept
	maxLoads   = 16      // documents that are loaded for one response
	maxTurns   = 64      // adds that shards have not handled yet
)

// ErrClosed is returned by Next after Close.
var ErrClosed = errors.New("watch stream is closed")

// Source loads documents that a stream has not kept. Shards implement it.
type Source interface {
	// Load returns the watch's job as it is now. If the watch is of a job that had ended and was opened
	// again since, the source keeps the watch from then on. Without a job, the outcome says why.
	Load(ctx context.Context, w *Watch) (*trackerpb.Job, trackerpb.Watched_Outcome)
}

// Stream holds what is to be sent to one gateway.
type Stream struct {
	wake  wake.Signal   // something is pending
	taken wake.Signal   // answers were taken
	turns chan struct{} // one value for each add that a shard has not handled yet

	mu       sync.Mutex // guards all below and the fields of the stream's watches
	answers  []*trackerpb.Watched
	coverage []*trackerpb.Coverage
	queues   *trackerpb.Queues // the newest report; nil if it was sent
	news     queue             // watches with a pending update
	states   fairQueue         // watches that were just added, with the job's state at that time
	loose    map[string]*Watch // pending watches of kind loose, by job ID
	ended    map[string]*Watch // pending watches of kind ended, by job ID
	held     int               // bytes of the documents that wait
	lists    lists
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
	Tenant string // the job's
	Source Source
	kind   kind

	pending *trackerpb.Job // the update to send; nil when there is none
	unkept  bool           // pending lacks its document, which is loaded when it is to be sent
	dropped bool           // the update must not be sent any more
	next    *Watch
	queued  bool
}

// kind says where a watch is kept.
type kind uint8

const (
	held  kind = iota // by its shard, until it is removed
	loose             // by the stream, until it is sent: the job is watched by its subject only
	ended             // by the stream, until it is sent: the job had ended when it was added
)

// NewWatch returns a watch for a shard to keep, without a pending update.
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

// Cover queues which subjects a partition's shard watches or has stopped watching. It is sent before any
// update that is put later.
func (s *Stream) Cover(c *trackerpb.Coverage) {
	s.mu.Lock()
	if !s.closed {
		s.coverage = append(s.coverage, c)
	}
	s.mu.Unlock()
	s.wake.Send()
}

// PutLoose queues an update of a job that is watched by its subject only, in place of an update of the
// job that was not sent yet. It returns false when the stream is closed. With maxLoose jobs waiting it
// closes the stream: the gateway connects again and asks for what it missed.
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

// Put queues an update, in place of an earlier one that was not sent yet.
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

// unkeep removes the watch's pending update.
func (s *Stream) unkeep(w *Watch) {
	if w.pending != nil {
		s.held -= len(w.pending.Document)
	}
	w.pending, w.unkept = nil, false
}

// Drop removes the watch's pending update.
func (w *Watch) Drop() {
	w.Stream.mu.Lock()
	w.Stream.unkeep(w)
	w.Stream.mu.Unlock()
}

// Room waits until fewer than limit answers, and fewer than limit states of ended jobs, are pending, so
// that a gateway cannot add watches faster than it reads. It returns false when ctx ended first. Only
// one goroutine may call it at a time.
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

// Turn waits until fewer than maxTurns adds of this stream wait in shards, so that the requests of other
// gateways do not wait behind a thousand of them. done must be called when the shard has handled the add;
// more calls do nothing. ok is false when ctx ended first.
func (s *Stream) Turn(ctx context.Context) (done func(), ok bool) {
	select {
	case s.turns <- struct{}{}:
		return sync.OnceFunc(func() { <-s.turns }), true
	case <-ctx.Done():
		return nil, false
	}
}

// Next waits until there is something to send and returns it. The error is ErrClosed or ctx's.
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

// take removes what fits into the next response from the queues. It also returns the watches whose
// documents must be loaded for it.
func (s *Stream) take() (r *trackerpb.WatchResponse, loads []*Watch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r = &trackerpb.WatchResponse{Coverage: s.coverage, Queues: s.queues}
	s.coverage, s.queues = nil, nil
	if n := len(s.answers); n > maxAnswers {
		// An update must not be sent before its watch's answer, so updates wait until all answers are sent.
		r.Watched = slices.Clone(s.answers[:maxAnswers])
		s.answers = slices.Delete(s.answers, 0, maxAnswers)
		s.taken.Send()
		s.wake.Send()
		return r, nil
	} else if n > 0 {
		r.Watched, s.answers = s.answers, nil
		s.taken.Send()
	}
	s.takeLists(r, time.Now())
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
			continue // load calls sent
		default:
			r.Updates = append(r.Updates, w.pending)
			size += len(w.pending.Document)
		}
		s.sent(w)
	}
	s.wake.Send() // there may be more
	return r, loads
}

// sent removes the watch's update, and the watch itself if only the stream keeps it. s.mu is held.
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

// Close drops what is pending; what is put later is dropped, too.
func (s *Stream) Close() {
	s.mu.Lock()
	s.closed = true
	s.answers = nil
	s.coverage = nil
	s.queues = nil
	s.news = queue{}
	s.states = fairQueue{}
	s.held = 0
	clear(s.loose)
	clear(s.ended)
	s.closeLists()
	s.mu.Unlock()
	s.wake.Send()
}
