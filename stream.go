package ackwire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
)

// Chunk is the next piece of a stream: a text, or items.
type Chunk struct {
	// Text is a piece of a stream of text, in whole characters. Items are values of a stream of values. Both are empty in
	// a chunk that has only Reset.
	Text  string
	Items []json.RawMessage
	// Run is the run that wrote the piece, by its dispatch number, which rises. From is where in the stream the piece
	// begins: bytes of text, or items.
	Run  int
	From int64
	// Reset says that the run whose chunks came before was lost and another one counts: all that came before is void.
	// From is 0 then.
	Reset bool

	life uint32 // of the job's ID; see stream.Cursor
}

// Cursor returns the position behind the chunk. FromCursor goes on there.
func (c Chunk) Cursor() stream.Cursor {
	return stream.Cursor{Dispatch: c.Run, At: c.From + int64(len(c.Text)+len(c.Items)), Life: c.life}
}

// StreamOption changes where reading a stream begins.
type StreamOption func(*streamConfig)

type streamConfig struct {
	from  stream.Cursor
	given bool
}

// FromCursor begins behind what was read before, perhaps by another process: see Chunk.Cursor. If another run counts by
// now, the first chunk has Reset. The zero cursor, and the default, is the beginning of the run that counts.
func FromCursor(c stream.Cursor) StreamOption {
	return func(s *streamConfig) { s.from, s.given = c, c != stream.Cursor{} }
}

// check refuses the name of a stream and a cursor that the server would refuse.
func (s *streamConfig) check(name string) error {
	switch {
	case !job.ValidStream(name):
		return newError(code.InvalidFrame, fmt.Sprintf("%.64q is not the name of a stream", name))
	case s.from.Dispatch < 0 || s.from.At < 0 || s.from.Dispatch == 0 && s.from.At > 0:
		return newError(code.InvalidFrame, fmt.Sprintf("run %d, at %d is not a cursor", s.from.Dispatch, s.from.At))
	}
	return nil
}

// WithStreams asks for streams of the job with the submit itself, which saves a round trip: the first Stream of each
// name through the job's handle reads what has arrived since the ack, and misses nothing. They are at most 8. Without
// WithStreams, Stream asks when it is called, and misses nothing either. With NoWatch, and over HTTP, the option
// changes nothing.
func WithStreams(names ...string) SubmitOption {
	return func(s *submitConfig) { s.streams = append(s.streams[:len(s.streams):len(s.streams)], names...) }
}

// Stream follows what the job's handler writes to one of its streams, from the beginning (or FromCursor) to the end:
// such as a language model's tokens. "log" is the job's log. The sequence yields a chunk whenever there is something
// new, and ends when the job has ended and the stream is whole. A stream that nobody writes to ends with the job.
//
//	for chunk, err := range job.Stream(ctx, "tokens") {
//		if err != nil {
//			return err
//		}
//		if chunk.Reset {
//			text.Reset()
//		}
//		text.WriteString(chunk.Text)
//	}
//
// Each chunk goes on exactly where the one before it ended, over lost connections and other gateways. The exception is
// a chunk with Reset: the worker was lost, or the attempt has failed, another run has taken over, and what came before
// is void. Each range is a reader of its own; one that is slower than the stream is sent larger chunks, and holds up
// neither statuses nor other readers: the client keeps at most 64 KiB and one frame for it, and asks for the rest when
// that is read. Streams are not part of WatchMine.
//
// An error is yielded once, as the last element. An *Error with the code stream_gone says that the stream's records are
// gone: Kafka keeps them for a day by default.
func (j *Job) Stream(ctx context.Context, name string, opts ...StreamOption) iter.Seq2[Chunk, error] {
	var cfg streamConfig
	for _, o := range opts {
		o(&cfg)
	}
	if err := cfg.check(name); err != nil {
		return func(yield func(Chunk, error) bool) { yield(Chunk{}, err) }
	}
	return j.via.stream(ctx, j, name, cfg)
}

// Streams lists the job's streams, with what the run that counts has written to each by now
// (GET /v1/jobs/{id}/streams).
func (j *Job) Streams(ctx context.Context) (frame.StreamList, error) {
	return j.via.rest().streams(ctx, j.ID)
}

// ErrStreamReset is returned by a StreamReader when another run counts: all that was read before is void. The next Read
// is the first of the new run.
var ErrStreamReset = errors.New("ackwire: another run of the job counts: what was read of its stream is void")

// StreamReader reads a stream as bytes: the text, or each item as JSON in a line of its own. It is for one goroutine.
type StreamReader struct {
	next func() (Chunk, error, bool)
	stop func()
	rest []byte // of the last chunk
	err  error  // of every further Read, once rest is empty
}

// ReadStream reads a stream like Stream, as an io.ReadCloser. Read returns io.EOF at the stream's end, and
// ErrStreamReset when what was read before is void: the caller discards that and reads on. ctx bounds the reading. The
// caller must Close the reader.
func (j *Job) ReadStream(ctx context.Context, name string, opts ...StreamOption) *StreamReader {
	next, stop := iter.Pull2(j.Stream(ctx, name, opts...))
	return &StreamReader{next: next, stop: stop}
}

// Read implements io.Reader. Its errors are those of Stream, io.EOF and ErrStreamReset.
func (r *StreamReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		chunk, err, ok := r.next()
		switch {
		case !ok:
			r.err = io.EOF
		case err != nil:
			r.err = err
		default:
			r.rest = chunk.appendLines(r.rest[:0])
			if chunk.Reset {
				return 0, ErrStreamReset
			}
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// Close ends the reading. It always returns nil.
func (r *StreamReader) Close() error {
	r.stop()
	r.rest = nil
	if r.err == nil {
		r.err = io.ErrClosedPipe
	}
	return nil
}

// appendLines appends the text, or each item in a line.
func (c Chunk) appendLines(b []byte) []byte {
	lines := bytes.NewBuffer(append(b, c.Text...))
	for _, item := range c.Items {
		_ = json.Compact(lines, item) // it was decoded
		lines.WriteByte('\n')
	}
	return lines.Bytes()
}
