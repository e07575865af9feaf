package sse

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"math"
	"strings"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/gateway/streams"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/stream"
)

// parts are the streams of jobs that an event stream follows, too, and how far its client has come.
type parts struct {
	want   [][]frame.StreamRef // by job, as in ids.jobs; where each stream goes on
	over   [][]bool            // by job and stream: the client has the end
	reader *streams.Reader     // nil before Begin, or if there are none
}

// chunk is what the source of a part tells the loop that writes it.
type chunk struct {
	jobID, name string
	next        stream.Cursor
	over        bool
}

// With makes the event stream follow streams of its jobs, too: refs by job, in the order of the jobs.
func (s *Stream) With(refs [][]frame.StreamRef) {
	s.parts.want = refs
	s.parts.over = make([][]bool, len(refs))
	for i := range refs {
		s.parts.over[i] = make([]bool, len(refs[i]))
	}
}

// WithNames is With for the same streams of each job. last is the ID of the last event that the client has
// (Last-Event-ID): the streams go on behind it.
func (s *Stream) WithNames(names []string, last string) {
	if len(names) == 0 {
		return
	}
	refs := make([][]frame.StreamRef, len(s.ids.jobs))
	for i := range refs {
		for _, name := range names {
			refs[i] = append(refs[i], frame.StreamRef{Stream: name})
		}
	}
	s.With(refs)
	if _, cursors, ok := strings.Cut(last, cursorMark); ok {
		s.parts.read(cursors)
	}
	s.ids.parts = &s.parts
}

// Begin begins to follow the streams of the jobs that are not refused. The caller has all answers.
func (s *Stream) Begin(room *streams.Room, scope *auth.Scope) {
	if len(s.parts.want) == 0 {
		return
	}
	s.parts.reader = streams.NewReader(room, &s.out, func() { s.put(outbox.Start) }, s.chunk, s.partsOver)
	for i, sub := range s.subs {
		if sub.answer.Error != "" {
			continue
		}
		var refs []frame.StreamRef
		for k, ref := range s.parts.want[i] {
			if !s.parts.over[i][k] {
				refs = append(refs, ref)
			}
		}
		s.mu.Lock()
		s.live += len(refs)
		s.mu.Unlock()
		s.parts.reader.Follow(scope, sub.JobID, refs)
	}
}

func (s *Stream) partsOver(string, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live--
	s.wake.Send()
}

// chunk returns the event of a part.
func (s *Stream) chunk(jobID, name string, p streams.Part) *outbox.Frame {
	f := &outbox.Frame{Chunk: chunk{jobID, name, p.Next(), p.Over()}}
	if s.frames {
		f.Bytes = FrameEvent(p.Frame(jobID, name))
	} else {
		f.Bytes = Event("chunk", p.Frame(jobID, name))
	}
	return f
}

// note records a part that is about to be written.
func (p *parts) note(d *ids, c chunk) {
	i := d.place(c.jobID)
	if i < 0 {
		return
	}
	for k := range p.want[i] {
		if ref := &p.want[i][k]; ref.Stream == c.name {
			ref.Run, ref.At, ref.Life = c.next.Dispatch, c.next.At, c.next.Life
			p.over[i][k] = c.over
		}
	}
}

// cursorMark stands in an event's ID before the cursors of streams.
const cursorMark = "."

// append appends the cursors of all streams. They are valid only for the same streams of as many jobs.
func (p *parts) append(b []byte) []byte {
	raw := binary.BigEndian.AppendUint32(nil, p.sum())
	for i, refs := range p.want {
		for k, ref := range refs {
			over := uint64(0)
			if p.over[i][k] {
				over = 1
			}
			raw = binary.AppendUvarint(raw, uint64(ref.Run))
			raw = binary.AppendUvarint(raw, uint64(ref.At)<<1|over)
			raw = binary.AppendUvarint(raw, uint64(ref.Life))
		}
	}
	return base64.RawURLEncoding.AppendEncode(append(b, cursorMark...), raw)
}

// read reads the cursors of append. What is not valid counts as none.
func (p *parts) read(cursors string) {
	raw, err := base64.RawURLEncoding.DecodeString(cursors)
	if err != nil || len(raw) < 4 || binary.BigEndian.Uint32(raw) != p.sum() {
		return
	}
	raw = raw[4:]
	type place struct {
		stream.Cursor
		over bool
	}
	var all []place
	for len(raw) > 0 {
		run, n := binary.Uvarint(raw)
		if n <= 0 || run > math.MaxInt32 {
			return
		}
		pos, m := binary.Uvarint(raw[n:])
		if m <= 0 || pos>>1 > stream.MaxPosition || run == 0 && pos>>1 > 0 {
			return
		}
		raw = raw[n+m:]
		life, n := binary.Uvarint(raw)
		if n <= 0 || life > math.MaxUint32 {
			return
		}
		raw = raw[n:]
		all = append(all, place{stream.Cursor{Dispatch: int(run), At: int64(pos >> 1), Life: uint32(life)}, pos&1 == 1})
	}
	if len(all) != p.count() {
		return
	}
	for i, refs := range p.want {
		for k := range refs {
			refs[k].Run, refs[k].At, refs[k].Life = all[0].Dispatch, all[0].At, all[0].Life
			p.over[i][k] = all[0].over
			all = all[1:]
		}
	}
}

func (p *parts) count() (n int) {
	for _, refs := range p.want {
		n += len(refs)
	}
	return n
}

// told reports whether the client has the end of all streams.
func (p *parts) told() bool {
	for i := range p.over {
		for _, over := range p.over[i] {
			if !over {
				return false
			}
		}
	}
	return true
}

func (p *parts) sum() uint32 {
	h := crc32.NewIEEE()
	for _, refs := range p.want {
		for _, ref := range refs {
			_, _ = h.Write([]byte(ref.Stream + "\n"))
		}
		_, _ = h.Write([]byte("\n"))
	}
	return h.Sum32()
}

// close ends the streams.
func (p *parts) close() {
	if p.reader != nil {
		p.reader.Close()
	}
}
