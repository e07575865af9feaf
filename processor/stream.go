package processor

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/stream"
	"github.com/ackwire/ackwire/schemas/strict"
)

// maxHandlerStreams is how many streams a handler may name: one of a job's is always its log.
const maxHandlerStreams = job.MaxStreams - 1

// Stream is what a run makes while it works, for clients that follow the job: either a text, by Write, or a list of
// JSON values, by Send. The first use decides which. It is safe for concurrent use; what one call writes stays
// together.
//
// What is written goes to Kafka 25 ms after the first byte that was not sent, or as soon as 32 KiB are there. The run's
// last event follows when all is stored. If a piece cannot be stored, later ones of its stream are not sent, all writes
// return an error with the code stream_not_stored, and the run fails with that code, which is retryable.
//
// A write that would exceed Config.StreamLimit, counted over all streams of the run, writes nothing and returns a
// permanent error with the code stream_too_large. Writes wait while the run is above Config.StreamRate, or while
// 128 KiB of it are not stored. They return the context's cause once the handler's context has ended.
type Stream struct {
	// Set before the first use, then only read.
	of      *streams
	pipe    *pipe
	invalid error // why there is no such stream; nil if there is

	// writing has capacity 1: a lock that is held during a write, taken before streams.mu. A writer that waits for a
	// mutex would hold up the virtual time of a test.
	writing chan struct{}
	text    decoder // guarded by writing
}

// Stream returns the run's stream of that name: 1 to 32 of the characters a-z 0-9 _ -, but not log, which Job.Log
// writes. A run may name 7 streams beside its log. A stream that may not be has only errors: each of its methods
// returns one with the code invalid_stream, which is permanent.
func (j *Job) Stream(name string) *Stream { return j.streams.named(name) }

// Write appends to a text, as UTF-8. Each byte that belongs to no character is replaced with U+FFFD; a character may be
// written in parts. It returns how many bytes of b were taken: with the codes stream_too_large and invalid_stream none.
func (s *Stream) Write(b []byte) (int, error) {
	if s.invalid != nil {
		return 0, s.invalid
	}
	s.writing <- struct{}{}
	defer func() { <-s.writing }()
	grows := s.text.measure(b)
	if err := s.of.reserve(s.pipe, job.StreamText, grows); err != nil {
		return 0, err
	}
	for taken := 0; taken < len(b); {
		part := b[taken:min(len(b), taken+maxPart)]
		was := s.text
		text := s.text.decode(part)
		if err := s.of.addText(s.pipe, text); err != nil {
			s.text = was
			s.of.unreserve(grows)
			return taken, err
		}
		grows -= len(text)
		taken += len(part)
	}
	return len(b), nil
}

// Send appends the JSON of v, of at most 32 KiB, to a list. JSON that is larger, or not strict (RFC 7493), is a
// permanent error with the code stream_too_large or invalid_stream.
func (s *Stream) Send(v any) error {
	if s.invalid != nil {
		return s.invalid
	}
	item, err := s.encode(v)
	if err != nil {
		return err
	}
	return s.send([][]byte{item}, len(item))
}

// SendAll is Send for many items: all are appended, one after the other, or none. Only when the run ends meanwhile, or
// a piece cannot be stored, the last ones may be missing.
func (s *Stream) SendAll(values []json.RawMessage) error {
	if s.invalid != nil {
		return s.invalid
	}
	items, size := make([][]byte, len(values)), 0
	for i, v := range values {
		item, err := s.encode(v)
		if err != nil {
			return err
		}
		items[i] = item
		size += len(item)
	}
	return s.send(items, size)
}

// encode returns the JSON of an item.
func (s *Stream) encode(v any) ([]byte, error) {
	item, err := plainjson.Marshal(v)
	switch {
	case err != nil:
		return nil, invalidStream(fmt.Errorf("encode an item of the stream %s: %w", s.pipe.name, err))
	case len(item) > stream.MaxPiece:
		return nil, streamTooLarge(fmt.Errorf("an item of the stream %s has %d bytes, above the limit of %d", s.pipe.name,
			len(item), stream.MaxPiece))
	}
	if err := checkItem(item); err != nil {
		return nil, invalidStream(fmt.Errorf("an item of the stream %s %w", s.pipe.name, err))
	}
	return item, nil
}

// send appends items of size bytes together.
func (s *Stream) send(items [][]byte, size int) error {
	s.writing <- struct{}{}
	defer func() { <-s.writing }()
	if err := s.of.reserve(s.pipe, job.StreamJSON, size); err != nil {
		return err
	}
	for _, item := range items {
		if err := s.of.addItem(s.pipe, item); err != nil {
			s.of.unreserve(size)
			return err
		}
		size -= len(item)
	}
	return nil
}

// checkItem returns an error unless item, which is one JSON value, is strict JSON also as a member of an array.
func checkItem(item []byte) error {
	array := make([]byte, 0, len(item)+2)
	array = append(array, '[')
	array = append(array, item...)
	return strict.Check(append(array, ']'))
}

// Flush sends what was written without waiting for more, and waits until it is stored. The beginning of a character
// whose end was not written yet is left.
func (s *Stream) Flush() error {
	if s.invalid != nil {
		return s.invalid
	}
	return s.of.flush(s.pipe)
}

// Stored returns what the stream is made of, empty while nothing was written to it, and how much of it is stored: bytes
// of text, or items. After Flush that is at least what was written before.
func (s *Stream) Stored() (kind job.StreamKind, end int64) {
	if s.invalid != nil {
		return "", 0
	}
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	return s.pipe.kind, s.pipe.stored
}

// finish ends the stream's text. It writes the beginning of a character that has no end as replaced bytes.
func (s *Stream) finish() error {
	s.writing <- struct{}{}
	defer func() { <-s.writing }()
	return s.of.addLast(s.pipe, s.text.rest())
}

func invalidStream(err error) error  { return WithCode(job.CodeInvalidStream, Permanent(err)) }
func streamTooLarge(err error) error { return WithCode(job.CodeStreamTooLarge, Permanent(err)) }
func notStored(err error) error      { return WithCode(job.CodeStreamNotStored, err) }

// ErrStreamsClosed is returned by writes to a stream after the handler has returned.
var ErrStreamsClosed = errors.New("the run has ended: nothing can be written to its streams any more")
