package session

import (
	"context"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/bulk"
	"github.com/ackwire/ackwire/gateway/requestid"
	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/frame"
)

const (
	// perFrame is how many submits of a batch count as one frame for the rate.
	perFrame = 8
	// answerPause is the wait before it is looked again whether there is room for a batch's answer.
	answerPause = 20 * time.Millisecond
)

// jobBatch is a batch that is under way on a session.
type jobBatch struct {
	frameID  string
	received time.Time
	identity auth.Identity
	items    []bulk.Item
	follows  []followed // one for each item
	end      func()     // releases its bytes
}

// followed says what the session follows of the job of one item, and which job that is.
type followed struct {
	watches bool // a place for its watch is promised
	refs    []frame.StreamRef
	made    string // the job whose statuses wait for the answer; empty if there is none
}

// submitBatch submits the jobs of a submitBatch frame. The frame counts as one of the submits in flight, and is
// answered when each of its jobs has its outcome. The batches of a session run one after the other, which
// bounds how many of their submits are in flight.
func (s *Session) submitBatch(f *frame.ClientFrame, id auth.Identity) error {
	items, err := wire.DecodeSubmits(f.Jobs)
	if err != nil {
		return err
	}
	if more := len(items) / perFrame; more > 0 {
		if err := s.limitFrames(more); err != nil {
			return err
		}
	}
	if err := s.takePlace(); err != nil {
		return err
	}
	end, err := s.cfg.Jobs.HoldBatch(id, int64(len(f.Jobs)))
	if err != nil {
		s.inFlight.Add(-1)
		s.notePressure(err)
		return err
	}
	if s.running == nil {
		s.running = make(chan struct{}, 1)
	}
	b := &jobBatch{
		frameID: f.ID, received: s.received, identity: id, items: items, follows: make([]followed, len(items)), end: end,
	}
	for i := range items {
		b.follows[i], items[i].Err = s.promiseItem(items[i], id)
	}
	s.unanswered.Add(1)
	s.submits.Go(func() {
		defer s.unanswered.Add(-1)
		s.runBatch(b)
	})
	return errLater
}

// promiseItem reserves the place for the watch of an item's job, if that is to be watched.
func (s *Session) promiseItem(item bulk.Item, id auth.Identity) (f followed, err error) {
	if item.Err != nil {
		return f, item.Err
	}
	f.watches, f.refs, err = follows(&item.Request, id)
	if err == nil && f.watches && !s.promise() {
		f.watches, err = false, s.watchesTooMany()
	}
	return f, err
}

// runBatch submits the items and answers.
func (s *Session) runBatch(b *jobBatch) {
	defer b.end()
	ctx := requestid.With(s.ctx, s.name)
	if s.batchTurn(ctx) {
		defer func() { <-s.running }()
	}
	results := s.cfg.Jobs.SubmitBatch(ctx, b.identity, b.items, func(i int, jobID string) {
		b.follows[i].made = jobID
		s.expectAck(jobID)
	})
	s.inFlight.Add(-1) // before the answer, which may bring the next submit
	s.notePressure(bulk.FirstError(results))
	s.answerBatch(b, results)
	for _, f := range b.follows {
		if f.made != "" {
			s.acked(f.made)
		}
	}
	s.cfg.Metrics.Frame(frame.SubmitBatch, "", time.Since(b.received))
}

// batchTurn waits until no other batch of the session runs, and the answers of those before have room in the outbox. It
// reports false if the session ends before: then no submit of the batch begins, and there is nothing to release.
func (s *Session) batchTurn(ctx context.Context) bool {
	select {
	case s.running <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	for ctx.Err() == nil && !s.out.RoomForAnswer() {
		pause.For(ctx, answerPause)
	}
	return true
}

// answerBatch sends the answer, and begins the watches of the jobs before it, so that they miss nothing. Their slots
// are held until then: an ack is the first that a client hears of a job.
func (s *Session) answerBatch(b *jobBatch, results []bulk.Result) {
	answer := frame.AcksFrame{Type: frame.Acks, ID: b.frameID, Results: bulk.Answer(results, func(err error) {
		s.cfg.Log.Error("submit of a batch failed", "session", s.name, "err", err)
	})}
	for _, r := range answer.Results {
		if r.Error != nil {
			s.cfg.Metrics.Error(r.Error.Code)
		}
	}
	s.registering.Lock()
	defer s.registering.Unlock()
	var held []*watch
	begun := map[string]*watch{}
	for i, r := range results {
		f := b.follows[i]
		again := begun[r.Ack.JobID]
		switch {
		case !f.watches:
			continue
		case r.Err != nil:
			s.unpromise(true)
		case again != nil: // two items of one key: one watch, and the last streams
			s.unpromise(true)
			if f.refs != nil {
				again.streams = f.refs
			}
		default:
			w, over := s.watchHeld(r.Ack.JobID, b.identity, r.Version, b.received)
			held = append(held, w)
			if !over {
				w.streams, begun[w.JobID] = f.refs, w
			}
		}
	}
	s.send(wire.Encode(answer))
	for _, w := range held {
		s.act(s.out.Release(&w.slot))
	}
	for _, w := range held {
		if begun[w.JobID] == w {
			s.followStreams(w.Scope, w.JobID, w.streams)
		}
	}
}
