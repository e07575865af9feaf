package processor

import (
	"time"
	"unicode/utf8"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
)

// pipe holds what one stream has not stored yet, cut into pieces. Its positions are those of schemas/stream: bytes of
// text, or items. streams.mu guards it.
type pipe struct {
	name string
	kind job.StreamKind // empty until the first use

	open  piece   // the one that is being filled
	full  []piece // those before it, which are not sent either
	due   bool    // open is sent without waiting for more
	timer *time.Timer

	sent    int64 // the position behind the pieces that were sent
	stored  int64 // the position behind those that are stored
	sending bool  // a piece is on its way: there is at most one, so that a failure leaves no gap
	failed  bool  // a piece was not stored: none is sent any more
}

// piece is a part of a stream that becomes one record.
type piece struct {
	value  []byte // text, or items with commas between them
	length int64  // bytes of text, or items
}

// addText adds whole characters. It reports whether a new piece was begun.
func (p *pipe) addText(text []byte) (began bool) {
	for len(text) > 0 {
		n := min(len(text), stream.MaxPiece-len(p.open.value))
		if n < len(text) {
			n = stream.WholeText(text[:n])
		}
		if n == 0 {
			p.shut()
			continue
		}
		began = began || len(p.open.value) == 0
		p.open.value = append(p.open.value, text[:n]...)
		p.open.length += int64(n)
		text = text[n:]
	}
	p.shutIfFull()
	return began
}

// addItem adds an item of at most stream.MaxPiece bytes. It reports whether a new piece was begun.
func (p *pipe) addItem(item []byte) (began bool) {
	if len(p.open.value)+len(",")+len(item) > stream.MaxPiece {
		p.shut()
	}
	began = p.open.length == 0
	if !began {
		p.open.value = append(p.open.value, ',')
	}
	p.open.value = append(p.open.value, item...)
	p.open.length++
	p.shutIfFull()
	return began
}

func (p *pipe) shutIfFull() {
	if len(p.open.value) >= stream.MaxPiece {
		p.shut()
	}
}

// shut ends the open piece.
func (p *pipe) shut() {
	if p.open.length > 0 {
		p.full = append(p.full, p.open)
		p.open, p.due = piece{}, false
	}
}

// next takes the piece that is to be sent now. It reports false if there is none.
func (p *pipe) next() (piece, bool) {
	if len(p.full) == 0 && p.due {
		p.shut()
	}
	if p.sending || p.failed || len(p.full) == 0 {
		return piece{}, false
	}
	first := p.full[0]
	p.full[0] = piece{} // so that its memory is free once it is stored
	p.full = p.full[1:]
	return first, true
}

// idle reports whether all that was added is stored, or never will be.
func (p *pipe) idle() bool { return p.failed || !p.sending && len(p.full) == 0 && p.open.length == 0 }

// drop forgets what was not sent, and returns how many bytes that was.
func (p *pipe) drop() int {
	n := len(p.open.value)
	for _, f := range p.full {
		n += len(f.value)
	}
	p.open, p.full, p.due = piece{}, nil, false
	if p.timer != nil {
		p.timer.Stop()
	}
	return n
}

// maxPart is how many bytes of a write are decoded and admitted at a time. With each byte replaced it is still below
// maxUnsent and below every limit of bytes per second's burst.
const maxPart = 8 << 10

// decoder makes UTF-8 of bytes that come in parts: it replaces each byte that belongs to no character, and keeps the
// beginning of a character until its end comes.
type decoder struct {
	tail [utf8.UTFMax]byte
	n    int // bytes of tail that are used
}

// decode returns the characters of the tail and b that are whole. The text may share the memory of b.
func (d *decoder) decode(b []byte) []byte {
	if d.n > 0 {
		b = append(append(make([]byte, 0, d.n+len(b)), d.tail[:d.n]...), b...)
	}
	whole := stream.WholeText(b)
	d.n = copy(d.tail[:], b[whole:])
	return replaced(b[:whole])
}

// measure returns how many bytes of text decode would return for b, which may be of any size.
func (d *decoder) measure(b []byte) (n int) {
	dry := *d
	for len(b) > 0 {
		part := b[:min(len(b), maxPart)]
		n += len(dry.decode(part))
		b = b[len(part):]
	}
	return n
}

// rest returns the tail as text, and empties it.
func (d *decoder) rest() []byte {
	text := replaced(d.tail[:d.n])
	d.n = 0
	return text
}

// replaced returns b with each byte that belongs to no character replaced.
func replaced(b []byte) []byte {
	if utf8.Valid(b) {
		return b
	}
	text := make([]byte, 0, len(b)+len(b)/2)
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		text = utf8.AppendRune(text, r) // utf8.RuneError is U+FFFD
		b = b[size:]
	}
	return text
}
