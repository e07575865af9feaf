package streams

import (
	"context"
	"fmt"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// State says what Place.Take has found.
type State int

// The states.
const (
	Some    State = iota // a part
	Wait                 // nothing now; the place's notify is called when there is more
	Missing              // the buffer does not have it: it must be fetched
)

// readAgain is the wait before a tracker is asked again that had no answer, or nothing new.
const readAgain = 200 * time.Millisecond

// Place is where one reader stands in a stream. Take and Fetch are called by one goroutine at a time.
type Place struct {
	// Set by Open, then only read.
	room   *Room
	scope  *auth.Scope
	key    key
	notify func() // must not block

	mu      sync.Mutex // guards the fields below; the room's and the buffer's locks are taken under it
	buf     *buffer    // nil once the place is closed
	at      stream.Cursor
	reset   bool  // the reader must be told that another run counts
	ahead   int   // the buffer's epoch in which a fetch has reached the stream's end; 0 for none
	barren  bool  // the last fetch has brought nothing
	fetched *Part // what a fetch has brought, and was not taken yet
	over    bool  // the last part was taken
}

// Take returns what follows, about limit bytes of it, and moves the place behind it. A value stays whole, whatever its
// size.
func (p *Place) Take(limit int) (Part, State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.buf == nil || p.over {
		return Part{}, Wait
	}
	if f := p.fetched; f != nil {
		var head Part
		head, p.fetched = f.cut(limit)
		p.at, p.over = head.Next(), head.Over()
		p.room.metrics.taken(fromTracker)
		return head, Some
	}
	part, state := p.buf.take(p, limit)
	if state == Some {
		p.over = part.Over()
		p.room.metrics.taken(fromBuffer)
	}
	return part, state
}

// At returns the cursor of the place.
func (p *Place) At() stream.Cursor {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

// Fetch asks the tracker for what Take misses, about limit bytes. It waits for its turn, and a moment if the last fetch
// has brought nothing.
func (p *Place) Fetch(ctx context.Context, limit int) error {
	p.mu.Lock()
	at, barren, b := p.at, p.barren, p.buf
	p.mu.Unlock()
	if b == nil {
		return context.Canceled
	}
	if barren && !pause.For(ctx, readAgain) {
		return ctx.Err()
	}
	b.mu.Lock()
	epoch := b.epoch
	b.mu.Unlock()
	got, err := p.room.read(ctx, p.scope, p.key, at, limit)
	var part Part
	if err == nil {
		part, err = PartOf(got, at)
	}
	if err != nil {
		switch connect.CodeOf(err) {
		case connect.CodeNotFound:
			part = Part{From: at, Error: code.NotFound}
		case connect.CodeInvalidArgument, connect.CodeOutOfRange:
			part = Part{From: at, Error: code.InvalidOffset}
		default:
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.buf == nil {
		return context.Canceled
	}
	part.Reset = part.Reset || p.reset
	p.reset = false
	p.barren = !part.says()
	if p.barren {
		p.at = part.From // the run may be known by now
	} else {
		p.fetched = &part
	}
	p.ahead = 0
	if part.UpToDate && !part.Over() {
		p.room.live(p, part.Next())
		if p.buf == b {
			p.ahead = max(epoch, 1)
		}
	}
	return nil
}

// PartOf returns the part with which a tracker has answered a read at a cursor.
func PartOf(got *trackerpb.StreamPart, at stream.Cursor) (part Part, err error) {
	text, items, err := content(got)
	if err != nil {
		return part, fmt.Errorf("read a stream: %w", err)
	}
	part = Part{
		Kind: job.StreamKind(got.Kind), From: cursorOf(got.From), Text: text, Items: items, UpToDate: got.UpToDate,
		End: got.Ended && got.UpToDate,
	}
	sameRun := part.From.Dispatch == at.Dispatch && (at.Life == 0 || part.From.Life == at.Life)
	part.Reset = got.Reset_ || at.Dispatch != 0 && !sameRun
	switch {
	case got.Gone:
		return Part{Kind: part.Kind, From: at, Error: code.StreamGone}, nil
	case at.At > 0 && sameRun && part.From.At != at.At:
		// The tracker begins elsewhere in the same run: the cursor lies within a character, or behind the end.
		return Part{Kind: part.Kind, From: at, Error: code.InvalidOffset}, nil
	}
	return part, nil
}

// Forget drops what a fetch has brought, if it was not taken: the reader is slow, and fetches it again when it reads
// on.
func (p *Place) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.fetched; f != nil {
		p.reset = f.Reset
		if p.reset {
			p.at = f.From
		}
		p.fetched, p.barren = nil, false
	}
}

// Failed makes the next fetch wait a moment.
func (p *Place) Failed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.barren = true
}

// Close ends the place. notify may still be called once.
func (p *Place) Close() {
	p.mu.Lock()
	b := p.buf
	p.buf, p.fetched = nil, nil
	p.mu.Unlock()
	if b != nil {
		b.disarm(p)
		p.room.leave(b)
	}
}
