// Package stream holds the records of the topic streams: what running jobs write to their streams, piece by piece. A
// record's key is the job ID, and its partition that of the job's events. Its headers say which stream it belongs to,
// which run wrote it, and where in the stream it begins. Its value is a piece of text, which ends between two
// characters, or a JSON array of values.
package stream

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/strict"
	"github.com/ackwire/ackwire/schemas/topic"
)

// MaxPiece is the size of the largest piece of text, and of the largest JSON value, in bytes.
const MaxPiece = 32 << 10

// MaxValue is the size of the largest value of a record, in bytes: of an array with one value of MaxPiece.
const MaxValue = MaxPiece + len("[]")

// Headers of a record of the topic streams, beside topic.HeaderVersion and topic.HeaderDispatch.
const (
	HeaderStream = "ackwire-stream"      // the stream's name
	HeaderKind   = "ackwire-stream-kind" // a job.StreamKind
	HeaderRun    = "ackwire-run"         // the run that wrote the record: event.Event.Run
	HeaderFrom   = "ackwire-stream-from" // decimal: where the piece begins, in bytes of text or in values
)

// Chunk is one record: a piece of one stream of one run.
type Chunk struct {
	JobID    string         // the record's key
	Stream   string         // see job.ValidStream
	Kind     job.StreamKind // of the stream
	Dispatch int            // the run's, from 1
	Run      string         // the run's name
	From     int64          // the position of the piece's beginning
	Value    []byte         // text, or a JSON array with at least one value
	Length   int64          // bytes of text, or values; Parse sets it
}

// End returns the position behind the piece.
func (c *Chunk) End() int64 { return c.From + c.Length }

// Headers returns the record's headers.
func (c *Chunk) Headers() []topic.Header {
	return []topic.Header{
		{Key: topic.HeaderVersion, Value: []byte(topic.RequestVersion)},
		{Key: HeaderStream, Value: []byte(c.Stream)},
		{Key: HeaderKind, Value: []byte(c.Kind)},
		{Key: topic.HeaderDispatch, Value: strconv.AppendInt(nil, int64(c.Dispatch), 10)},
		{Key: HeaderRun, Value: []byte(c.Run)},
		{Key: HeaderFrom, Value: strconv.AppendInt(nil, c.From, 10)},
	}
}

// Parse reads a record. Unknown headers are ignored; if a header is repeated, the last one counts. The error joins all
// problems. The chunk shares the value's memory.
func Parse(key string, headers []topic.Header, value []byte) (Chunk, error) {
	c := Chunk{JobID: key, Value: value}
	var version, dispatch, from string
	for _, h := range headers {
		switch v := string(h.Value); h.Key {
		case topic.HeaderVersion:
			version = v
		case HeaderStream:
			c.Stream = v
		case HeaderKind:
			c.Kind = job.StreamKind(v)
		case topic.HeaderDispatch:
			dispatch = v
		case HeaderRun:
			c.Run = v
		case HeaderFrom:
			from = v
		}
	}
	if version != topic.RequestVersion {
		return Chunk{}, fmt.Errorf("unknown version %.64q of a record of a stream", version)
	}
	var problems []error
	need := func(ok bool, problem string) {
		if !ok {
			problems = append(problems, errors.New(problem))
		}
	}
	name := func(s string) bool { return s != "" && utf8.ValidString(s) && job.Bounded(s, job.MaxNameChars) }
	n, err := strconv.ParseInt(dispatch, 10, 32)
	need(err == nil && n > 0, "header "+topic.HeaderDispatch+" is not a positive number")
	c.Dispatch = int(n)
	c.From, err = strconv.ParseInt(from, 10, 64)
	need(err == nil && c.From >= 0 && c.From <= MaxPosition-int64(MaxValue), "header "+HeaderFrom+" is not a position")
	need(name(key), "the record's key is not a job ID")
	need(job.ValidStream(c.Stream), "header "+HeaderStream+" is not the name of a stream")
	need(name(c.Run), "header "+HeaderRun+" is not the name of a run")
	need(c.Stream != job.StreamLog || c.Kind == job.StreamJSON, "the stream log is of the kind json")
	c.Length, err = Length(c.Kind, value)
	if err != nil {
		problems = append(problems, err)
	}
	return c, errors.Join(problems...)
}

// Length checks the value of a record and returns how long it is: in bytes of text, or in values.
func Length(kind job.StreamKind, value []byte) (int64, error) {
	switch {
	case !kind.Valid():
		return 0, errors.New("header " + HeaderKind + " is neither text nor json")
	case len(value) == 0:
		return 0, errors.New("a record of a stream is empty")
	case len(value) > MaxValue || kind == job.StreamText && len(value) > MaxPiece:
		return 0, fmt.Errorf("a piece of a stream has more than %d bytes", MaxPiece)
	case kind == job.StreamText && !utf8.Valid(value):
		return 0, errors.New("a piece of text is not UTF-8, or does not end between two characters")
	case kind == job.StreamText:
		return int64(len(value)), nil
	}
	items, err := Items(value)
	if err == nil && len(items) == 0 {
		err = errors.New("a record of a stream is empty")
	}
	return int64(len(items)), err
}

// Items returns the values of a JSON array. The error says why it is not strict JSON, or not an array.
func Items(value []byte) ([]json.RawMessage, error) {
	if err := strict.Check(value); err != nil {
		return nil, fmt.Errorf("values of a stream: %w", err)
	}
	var items []json.RawMessage
	if err := json.Unmarshal(value, &items); err != nil {
		return nil, errors.New("values of a stream are not an array")
	}
	return items, nil
}

// WholeText returns how many bytes of b, from its beginning, are whole characters: all, unless b ends within one. Bytes
// that belong to no character count as characters of their own; see strings.ToValidUTF8 for how to replace them.
func WholeText(b []byte) int {
	for i := len(b) - 1; i >= 0 && i >= len(b)-utf8.UTFMax+1; i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return i
			}
			return len(b)
		}
	}
	return len(b)
}

// MaxPosition is the largest position in a stream, which Offset writes with as many digits as any other.
const MaxPosition = 9_999_999_999_999

// Cursor is a position in a stream: of a run, by its dispatch number, and in what it wrote.
type Cursor struct {
	Dispatch int   // of the run, from 1
	At       int64 // bytes of text, or values
	// Life tells lives of the job's ID apart, each of which counts its dispatches from 1: see LifeOf. 0 stands for any.
	Life uint32
}

// LifeOf returns the mark of one life of a job's ID for cursors; 0 if the life has no name. Two lives have the same
// mark by a chance of 1 in 4 billion.
func LifeOf(life string) uint32 {
	if life == "" {
		return 0
	}
	return max(crc32.ChecksumIEEE([]byte(life)), 1)
}

// Offset returns the cursor as an offset of the Durable Streams protocol (§6): texts that sort, byte by
// byte, as the cursors of one life do.
func (c Cursor) Offset() string {
	if c.Life == 0 {
		return fmt.Sprintf("%010d_%013d", c.Dispatch, c.At)
	}
	return fmt.Sprintf("%010d_%013d_%08x", c.Dispatch, c.At, c.Life)
}

// ParseOffset reads an offset of Offset.
func ParseOffset(s string) (Cursor, error) {
	run, at, _ := strings.Cut(s, "_")
	at, life, _ := strings.Cut(at, "_")
	n, err := strconv.ParseUint(run, 10, 31)
	p, err2 := strconv.ParseUint(at, 10, 63)
	mark, _ := strconv.ParseUint(life, 16, 32) // what is not a mark is not written as s
	c := Cursor{Dispatch: int(n), At: int64(p), Life: uint32(mark)}
	if err == nil && err2 == nil && n > 0 && c.Offset() == s {
		return c, nil
	}
	return Cursor{}, fmt.Errorf("%.64q is not an offset of a stream", s)
}
