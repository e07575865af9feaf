package ackwire

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strconv"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
)

const (
	// tailBuffer is how much a reader of a stream may leave unread before the client leaves the stream, in bytes. One
	// frame more may be held.
	tailBuffer = 64 << 10
	// itemOverhead is what an item costs beside its text, in bytes.
	itemOverhead = 32
)

// tail is one reader's place in a stream. It takes part in the job's subscription while it has room for more: a reader
// that is too slow leaves the subscription, and joins it again from its cursor once it has read what is here. So what
// the server sends is never waited for, and a reader is sent an exact continuation whatever connection it comes from:
// pieces below the cursor are dropped, and one above it makes the client ask again. Guarded by Client.mu, but for the
// fields that newTail sets.
type tail struct {
	jobID, name string
	wake        chan struct{} // capacity 1: for the reader

	sub    *sub          // the subscription that it takes part in; nil while it takes part in none
	cursor stream.Cursor // behind all that has arrived; Dispatch is 0 while nothing has
	after  int64         // while sub is nil: the version of the job that was seen
	unread Chunk         // what has arrived since the last take, but for its Text
	text   []byte        // the text of unread
	size   int           // what text and the items of unread take, in bytes
	taken  bool          // the reader has something of the cursor's run
	ended  bool          // nothing follows unread
	err    error         // follows unread; set with ended
}

func newTail(jobID, name string, from stream.Cursor) *tail {
	return &tail{
		jobID: jobID, name: name, wake: make(chan struct{}, 1), cursor: from, taken: from.At > 0,
		unread: Chunk{Run: from.Dispatch, From: from.At},
	}
}

// has reports whether there is something to take.
func (t *tail) has() bool { return t.size > 0 || t.unread.Reset }

// restart begins another run: what has arrived of the one before is dropped, and the reader is told if it has any of
// it.
func (t *tail) restart(run int) {
	t.unread = Chunk{Run: run, Reset: t.unread.Reset || t.taken}
	t.text, t.size, t.taken = nil, 0, false
	t.cursor = stream.Cursor{Dispatch: run}
}

// put adds what is new of a piece. It reports false if something is missing between the cursor and the piece.
func (t *tail) put(f *frame.ChunkFrame) bool {
	switch {
	case f.Run < t.cursor.Dispatch:
		return true // of a run that counts no more
	case f.Run > t.cursor.Dispatch && f.From > 0, f.Run == t.cursor.Dispatch && f.From > t.cursor.At:
		return false
	case f.Run > t.cursor.Dispatch:
		t.restart(f.Run)
	}
	known := t.cursor.At - f.From
	if known < int64(len(f.Text)) {
		text := f.Text[known:]
		t.text = append(t.text, text...)
		t.size += len(text)
		t.cursor.At += int64(len(text))
	}
	if known < int64(len(f.Items)) {
		items := f.Items[known:]
		t.unread.Items = append(t.unread.Items, items...)
		for _, item := range items {
			t.size += len(item) + itemOverhead
		}
		t.cursor.At += int64(len(items))
	}
	t.ended = t.ended || f.End
	return true
}

// take returns what has arrived since the last take.
func (t *tail) take() Chunk {
	c := t.unread
	c.Text = string(t.text)
	t.taken = t.taken || t.size > 0
	t.unread = Chunk{Run: t.cursor.Dispatch, From: t.cursor.At}
	t.text, t.size = nil, 0
	return c
}

// finish ends the stream for its reader, which still takes what has arrived.
func (t *tail) finish(err error) {
	if !t.ended {
		t.ended, t.err = true, err
	}
	signal(t.wake)
}

// stream implements transport.
func (c *Client) stream(ctx context.Context, j *Job, name string, cfg streamConfig) iter.Seq2[Chunk, error] {
	return func(yield func(Chunk, error) bool) {
		t, err := c.openTail(j, name, cfg)
		if err != nil {
			yield(Chunk{}, err)
			return
		}
		defer c.closeTail(t)
		for {
			if err := ctx.Err(); err != nil {
				yield(Chunk{}, err)
				return
			}
			chunk, has, over := c.nextChunk(t)
			switch {
			case has:
				if !yield(chunk, nil) {
					return
				}
				continue
			case over:
				if t.err != nil { // never written again
					yield(Chunk{}, t.err)
				}
				return
			}
			select {
			case <-t.wake:
			case <-ctx.Done():
			}
		}
	}
}

// openTail returns the tail that the job's submit has opened, to the first reader, and else a new one.
func (c *Client) openTail(j *Job, name string, cfg streamConfig) (*tail, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.IndexFunc(j.tails, func(t *tail) bool { return t.name == name }); i >= 0 && !cfg.given {
		t := j.tails[i]
		j.tails = slices.Delete(j.tails, i, i+1)
		return t, nil
	}
	t := newTail(j.ID, name, cfg.from)
	return t, c.attachLocked(t)
}

func (c *Client) closeTail(t *tail) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.detachLocked(t)
}

// nextChunk takes what has arrived, and has the rest sent if t had left the stream. over reports that nothing follows.
func (c *Client) nextChunk(t *tail) (chunk Chunk, has, over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !t.has() {
		return Chunk{}, false, t.ended
	}
	chunk = t.take()
	if t.sub == nil && !t.ended {
		if err := c.attachLocked(t); err != nil {
			t.finish(err)
		}
	}
	return chunk, true, false
}

// attachLocked makes t take part in the job's subscription, which is made if there is none, and has it asked for from
// t's cursor.
func (c *Client) attachLocked(t *tail) error {
	if c.err != nil {
		return c.err
	}
	if err := checkJobID(t.jobID); err != nil {
		return err
	}
	s, known := c.subs[t.jobID]
	if !known {
		s = c.subLocked(t.jobID)
		s.after = t.after
	} else if !s.streams(t.name) && len(s.names()) >= job.MaxStreams {
		return newError(code.LimitExceeded, fmt.Sprintf("%d streams of job %s are followed", job.MaxStreams, t.jobID))
	}
	s.join(t)
	c.markDirtyLocked(s)
	if !known {
		c.startFromMineLocked(s)
	}
	return nil
}

// detachLocked makes t leave its subscription, if it takes part in one. The server is asked for what is left of it.
func (c *Client) detachLocked(t *tail) {
	s := t.sub
	if s == nil {
		return
	}
	t.sub, t.after = nil, s.seen()
	s.tails = slices.DeleteFunc(s.tails, func(other *tail) bool { return other == t })
	c.unrefLocked(s)
	if c.subs[s.jobID] == s && s.asked == c.cur && !t.ended && !s.streams(t.name) {
		c.markDirtyLocked(s)
	}
}

// onChunkLocked gives a piece of a stream to its readers.
func (c *Client) onChunkLocked(cn *conn, jobID, b []byte) bool {
	s := c.subs[string(jobID)]
	if s == nil || len(s.tails) == 0 {
		return true // of a stream that was left
	}
	var f frame.ChunkFrame
	if json.Unmarshal(b, &f) != nil || f.Run < 0 || f.From < 0 || f.Text != "" && len(f.Items) > 0 {
		return false
	}
	missing := false
	for _, t := range slices.Clone(s.tails) {
		switch {
		case t.name != f.Stream:
			continue
		case f.Error != "" && s.asked != cn:
			continue // the connection in use says for itself
		case slices.Contains(code.All, f.Error) && f.Error.Info().Retryable:
			missing = true
			continue
		case f.Error != "":
			t.finish(newError(f.Error, "stream "+f.Stream+" of job "+f.JobID+": "+f.Error.Info().Title))
		case !t.put(&f):
			missing = true
		}
		if t.ended || t.size >= tailBuffer {
			c.detachLocked(t)
		}
		signal(t.wake)
	}
	if missing && c.cur == cn && s.asked == cn && !s.dirty && !cn.asks(s) {
		cn.later = append(cn.later, s)
		c.armLaterLocked(cn, 0)
	}
	return true
}

// asks reports whether a subscribe frame with s waits for its answer.
func (cn *conn) asks(s *sub) bool {
	for _, batch := range cn.batches {
		if slices.Contains(batch, s) {
			return true
		}
	}
	return slices.Contains(cn.later, s)
}

// join makes t take part. The subscription lives as long as it.
func (s *sub) join(t *tail) {
	s.refs++
	s.tails = append(s.tails, t)
	t.sub = s
}

// streams reports whether somebody reads the stream of that name.
func (s *sub) streams(name string) bool {
	return slices.ContainsFunc(s.tails, func(t *tail) bool { return t.name == name })
}

// names returns the streams that somebody reads, in order.
func (s *sub) names() []string {
	var names []string
	for _, t := range s.tails {
		if !slices.Contains(names, t.name) {
			names = append(names, t.name)
		}
	}
	slices.Sort(names)
	return names
}

// furthestBack returns the least cursor of those who read a stream: from there on its pieces are needed.
func (s *sub) furthestBack(name string) stream.Cursor {
	var least *tail
	for _, t := range s.tails {
		if t.name == name && (least == nil || t.cursor.Dispatch < least.cursor.Dispatch ||
			t.cursor.Dispatch == least.cursor.Dispatch && t.cursor.At < least.cursor.At) {
			least = t
		}
	}
	return least.cursor
}

// streamRoom bounds what one tail adds to a subscribe frame, in bytes, and what all of a job add once.
const streamRoom = len(`,"streams":[{"stream":"","run":2147483647,"at":9223372036854775807}]`) + job.MaxStreamName

// appendStreams appends the streams that the subscription follows on cn from now on. It appends nothing if there are
// none, and were none on cn.
func (s *sub) appendStreams(cn *conn, b []byte) []byte {
	if len(s.tails) == 0 && s.streamed != cn {
		return b
	}
	s.streamed = cn
	b = append(b, `,"streams":[`...)
	for i, name := range s.names() {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(append(b, `{"stream":`...), name)
		if at := s.furthestBack(name); at.Dispatch > 0 {
			b = strconv.AppendInt(append(b, `,"run":`...), int64(at.Dispatch), 10)
			b = strconv.AppendInt(append(b, `,"at":`...), at.At, 10)
		}
		b = append(b, '}')
	}
	if len(s.tails) == 0 {
		s.streamed = nil
	}
	return append(b, ']')
}

// passOnLocked gives the readers of streams to another subscription when the job has ended: the rest of its streams may
// still be on its way. With an error it ends them.
func (c *Client) passOnLocked(s *sub, asked *conn, dirty bool, err error) {
	tails := s.tails
	s.tails = nil
	if len(tails) == 0 {
		return
	}
	if err != nil {
		for _, t := range tails {
			t.sub = nil
			t.finish(err)
		}
		return
	}
	next := c.subLocked(s.jobID)
	next.after, next.asked, next.streamed = s.seen(), asked, s.streamed
	s.refs -= len(tails)
	for _, t := range tails {
		next.join(t)
	}
	if dirty || asked != nil && asked.asks(s) {
		c.markDirtyLocked(next)
	}
}

// openTailsLocked opens a tail for each stream that an acked submit has asked for.
func (c *Client) openTailsLocked(cn *conn, s *sub, names []string) []*tail {
	var tails []*tail
	for _, name := range names {
		if slices.ContainsFunc(tails, func(t *tail) bool { return t.name == name }) {
			continue
		}
		t := newTail(s.jobID, name, stream.Cursor{})
		tails = append(tails, t)
		if s.ended || len(s.tails) > len(tails)-1 || c.cur != cn {
			// Others read streams of the job, whose cursors the submit did not have.
			if err := c.attachLocked(t); err != nil {
				t.finish(err)
			}
			continue
		}
		s.join(t)
		s.streamed = cn
	}
	return tails
}
