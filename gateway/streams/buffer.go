package streams

import (
	"sync"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// key names a followed stream. Readers with one scope share it; a tracker checks the scope of each.
type key struct{ scope, jobID, name string }

// buffer is a stream that is followed, as far as it has come. It is followed at the tracker from the moment when one of
// its readers has reached the end of what there is: until then each reader asks for what it needs.
type buffer struct {
	key key

	// Guarded by the room's lock.
	readers int
	handle  uint32      // of the follow at the tracker; 0 if there is none
	scope   *auth.Scope // with which it is followed

	mu     sync.Mutex // guards the fields below; no other lock is taken under it
	window window
	run    int             // the run that counts; 0 while none has begun
	life   uint32          // see stream.Cursor; 0 while it is not known
	epoch  int             // changes when the window begins anew
	live   bool            // the window follows the stream, or has its end
	ended  bool            // nothing follows behind the window
	dead   bool            // it has no readers, and holds nothing any more
	failed code.Code       // why the stream is followed no longer
	armed  map[*Place]bool // the places that are to be told when there is more
}

func newBuffer(k key, spare func(int) bool) *buffer {
	return &buffer{key: k, window: window{spare: spare}, armed: map[*Place]bool{}}
}

// begin makes the window follow the stream from a cursor on. kind is empty if it is not known.
func (b *buffer) begin(at stream.Cursor) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.restart(at)
	b.live = true
}

func (b *buffer) restart(at stream.Cursor) {
	b.run, b.life = at.Dispatch, at.Life
	b.epoch++
	b.window.restart(at.At)
}

// end returns the cursor behind the window.
func (b *buffer) end() stream.Cursor {
	b.mu.Lock()
	defer b.mu.Unlock()
	return stream.Cursor{Dispatch: b.run, At: b.window.end, Life: b.life}
}

// over reports whether nothing more comes.
func (b *buffer) over() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ended || b.failed != ""
}

// fail ends the buffer for a reason, and returns the places that are to be told.
func (b *buffer) fail(why code.Code) []*Place {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failed = why
	return b.woken()
}

// add appends what a tracker has sent, and returns the places that are to be told. A part that does not follow the
// window makes it begin anew: its readers then ask for what they miss.
func (b *buffer) add(p *trackerpb.StreamPart) ([]*Place, error) {
	text, items, err := content(p)
	if err != nil {
		return nil, err
	}
	from := cursorOf(p.From)
	b.mu.Lock()
	defer b.mu.Unlock()
	kind := job.StreamKind(p.Kind)
	switch w := &b.window; {
	case b.dead:
		return nil, nil
	case p.Gone:
		b.live = false // readers ask the tracker, which tells them
		return b.woken(), nil
	case p.Reset_, from.Dispatch != b.run && (b.run != 0 || w.end != 0):
		b.restart(from)
	case from.At != w.end, w.kind != "" && kind != "" && w.kind != kind:
		b.restart(from)
	}
	b.run, b.life = from.Dispatch, from.Life
	if kind != "" {
		b.window.kind = kind
	}
	if len(text) > 0 {
		b.window.addText(text)
	}
	if len(items) > 0 {
		b.window.addItems(items)
	}
	b.ended = b.ended || p.Ended
	return b.woken(), nil
}

// woken returns the places that wait, which then wait no longer. b.mu is held.
func (b *buffer) woken() []*Place {
	all := make([]*Place, 0, len(b.armed))
	for p := range b.armed {
		all = append(all, p)
	}
	clear(b.armed)
	return all
}

// disarm makes a place wait no longer.
func (b *buffer) disarm(p *Place) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.armed, p)
}

// take returns what follows a place, which then stands behind it. p.mu is held.
func (b *buffer) take(p *Place, limit int) (Part, State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := &b.window
	switch {
	case b.failed != "":
		return Part{From: p.at, Error: b.failed}, Some
	case !b.live, p.at.At > 0 && p.at.Life != 0 && b.life != 0 && p.at.Life != b.life:
		return Part{}, Missing
	case b.run > p.at.Dispatch:
		if p.at.Dispatch != 0 {
			p.reset = true
		}
		p.at = stream.Cursor{Dispatch: b.run}
	}
	p.at.Life = b.life
	ahead := p.at.Dispatch > b.run || p.at.At > w.end
	switch {
	case ahead && p.ahead == b.epoch && !b.ended: // the tracker had told the place, and tells the buffer next
		b.armed[p] = true
		return Part{}, Wait
	case ahead, p.at.At < w.start:
		return Part{}, Missing
	}
	part := Part{Kind: w.kind, From: p.at, Reset: p.reset, UpToDate: true}
	if w.end > p.at.At {
		part.Text, part.Items = w.take(p.at.At, limit)
		if !begins(part.Text) {
			return Part{From: p.at, Error: code.InvalidOffset}, Some
		}
		part.UpToDate = part.Next().At == w.end
	}
	part.End = b.ended && part.UpToDate
	if !part.says() {
		b.armed[p] = true
		return Part{}, Wait
	}
	p.at, p.reset = part.Next(), false
	return part, Some
}
