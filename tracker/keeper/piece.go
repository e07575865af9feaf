package keeper

import (
	"bytes"
	"unicode/utf8"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
)

// piece is a part of a stream: text, or a JSON array of values. It is never changed.
type piece struct {
	From, To int64 // positions
	Value    []byte
}

// cut returns what of a piece lies at and behind the position at, which is within it. A position within a character
// stands for the character's beginning.
func cut(kind job.StreamKind, p piece, at int64) (piece, error) {
	if at <= p.From {
		return p, nil
	}
	if kind == job.StreamText {
		i := int(at - p.From)
		for i > 0 && !utf8.RuneStart(p.Value[i]) {
			i--
		}
		return piece{p.From + int64(i), p.To, p.Value[i:]}, nil
	}
	items, err := stream.Items(p.Value)
	if err != nil {
		return piece{}, err
	}
	b := []byte{'['}
	for i, item := range items[at-p.From:] {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, item...)
	}
	return piece{at, p.To, append(b, ']')}, nil
}

// gathering collects what follows a position: pieces of at most stream.MaxValue bytes, and about max bytes in all.
type gathering struct {
	kind   job.StreamKind
	max    int
	from   int64 // where the first piece begins
	next   int64 // behind the last one
	size   int
	pieces [][]byte
	own    bool // the last piece was made here, so that it may be changed
}

func gather(kind job.StreamKind, at int64, maxBytes int) *gathering {
	return &gathering{kind: kind, max: maxBytes, from: at, next: at}
}

// full reports whether nothing more is to be added.
func (g *gathering) full() bool { return g.size >= g.max }

// add adds what a piece has behind next, which is within it. It returns false if not all of that has found room.
func (g *gathering) add(p piece) (bool, error) {
	p, err := cut(g.kind, p, g.next)
	if err != nil {
		return false, err
	}
	whole := true
	room := g.max - g.size
	switch {
	case len(p.Value) <= room:
	case g.kind == job.StreamText:
		n := stream.WholeText(p.Value[:max(room, 0)])
		if n == 0 && len(g.pieces) == 0 {
			_, n = utf8.DecodeRune(p.Value)
		}
		p.To, p.Value = p.From+int64(n), p.Value[:n]
		whole = false
	case len(g.pieces) > 0:
		return false, nil
	}
	if len(p.Value) == 0 {
		return whole, nil
	}
	if len(g.pieces) == 0 {
		g.from = p.From
	}
	g.next = p.To
	g.size += len(p.Value)
	g.join(p.Value)
	if !whole {
		g.max = g.size
	}
	return whole, nil
}

// join appends a value, to the last piece if both are small. A piece that was not made here is copied first.
func (g *gathering) join(value []byte) {
	n := len(g.pieces)
	if n == 0 || len(g.pieces[n-1])+len(value) > stream.MaxPiece {
		g.pieces = append(g.pieces, value)
		g.own = false
		return
	}
	last := g.pieces[n-1]
	if !g.own {
		last = append(make([]byte, 0, min(2*(len(last)+len(value)), stream.MaxPiece)), last...)
		g.own = true
	}
	if g.kind == job.StreamText {
		g.pieces[n-1] = append(last, value...)
		return
	}
	const space = " \t\r\n"
	last = bytes.TrimRight(last, space)
	last = append(last[:len(last)-1], ',')
	g.pieces[n-1] = append(last, bytes.TrimLeft(value, space)[1:]...)
}
