package streams

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Part is what follows a cursor in a stream.
type Part struct {
	Kind  job.StreamKind    // empty while nobody has written to the stream
	From  stream.Cursor     // where it begins; Dispatch is 0 while no run has begun
	Text  []byte            // whole characters, of a text
	Items []json.RawMessage // values, of a list of values
	Reset bool              // another run counts than the one that was read: From is its beginning
	End   bool              // nothing follows
	Error code.Code         // why the stream is followed no longer; empty if it is
	// UpToDate says that nothing more was there when the part was made.
	UpToDate bool
}

// Next returns the cursor behind the part.
func (p *Part) Next() stream.Cursor {
	next := p.From
	next.At += int64(len(p.Text) + len(p.Items))
	return next
}

// Over reports whether the part is the last one.
func (p *Part) Over() bool { return p.End || p.Error != "" }

// says reports whether the part tells its reader anything.
func (p *Part) says() bool { return len(p.Text)+len(p.Items) > 0 || p.Reset || p.Over() }

// cut splits the part: head has about limit bytes. rest is nil if that is all.
func (p *Part) cut(limit int) (head Part, rest *Part) {
	text, items := wholeText(p.Text, limit), wholeItems(p.Items, limit)
	if text == len(p.Text) && items == len(p.Items) {
		return *p, nil
	}
	head, tail := *p, *p
	head.Text, head.Items = p.Text[:text], p.Items[:items]
	head.End, head.UpToDate = false, false
	tail.Text, tail.Items = p.Text[text:], p.Items[items:]
	tail.Reset, tail.From = false, head.Next()
	return head, &tail
}

// begins reports whether a text begins with a character: else the cursor before it is within one.
func begins(text []byte) bool { return len(text) == 0 || utf8.RuneStart(text[0]) }

// content returns what the pieces of a tracker's part are together.
func content(p *trackerpb.StreamPart) (text []byte, items []json.RawMessage, err error) {
	kind := job.StreamKind(p.Kind)
	switch {
	case len(p.Pieces) > 0 && !kind.Valid():
		return nil, nil, fmt.Errorf("a stream of the kind %.64q", p.Kind)
	case kind == job.StreamJSON:
		for _, piece := range p.Pieces {
			values, err := stream.Items(piece)
			if err != nil {
				return nil, nil, err
			}
			items = append(items, values...)
		}
	default:
		for _, piece := range p.Pieces {
			if !utf8.Valid(piece) && len(text) > 0 { // only the first may begin within a character
				return nil, nil, errors.New("a text is not UTF-8")
			}
			text = append(text, piece...)
		}
	}
	return text, items, nil
}

// cursorOf returns a cursor of a tracker's message, which may be nil.
func cursorOf(c *trackerpb.StreamCursor) stream.Cursor {
	return stream.Cursor{Dispatch: int(c.GetDispatch()), At: c.GetAt(), Life: c.GetLife()}
}

// ProtoOf returns a cursor for a message to a tracker. A reader that has nothing of its run may as well have the run
// that counts now, of whatever life.
func ProtoOf(c stream.Cursor) *trackerpb.StreamCursor {
	if c.At == 0 {
		c.Dispatch, c.Life = 0, 0
	}
	return &trackerpb.StreamCursor{Dispatch: int32(c.Dispatch), At: c.At, Life: c.Life}
}

// Frame returns the frame of a part.
func (p *Part) Frame(jobID, name string) frame.ChunkFrame {
	f := frame.ChunkFrame{
		Type: frame.Chunk, JobID: jobID, Stream: name, Kind: p.Kind, Run: p.From.Dispatch, From: p.From.At,
		Text: string(p.Text), Items: p.Items, Reset: p.Reset, Error: p.Error,
	}
	if p.End {
		f.EndAt(p.Next().At)
	}
	return f
}
