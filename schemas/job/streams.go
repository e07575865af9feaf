package job

import "errors"

// Bounds of a job's streams.
const (
	MaxStreams    = 8  // of a job
	MaxStreamName = 32 // characters
)

// StreamLog is the name of the stream that is a job's log, of the kind StreamJSON: each item is an object with time
// (RFC 3339), level, message, and what the handler adds.
const StreamLog = "log"

// StreamKind says what a stream is made of.
type StreamKind string

// The kinds of streams.
const (
	StreamText StreamKind = "text" // one text in UTF-8; positions count bytes
	StreamJSON StreamKind = "json" // a list of JSON values; positions count values
)

// Valid reports whether the kind is one that this package knows.
func (k StreamKind) Valid() bool { return k == StreamText || k == StreamJSON }

// StreamTotal is how much one run has written to one stream.
type StreamTotal struct {
	Kind  StreamKind `json:"kind"`  // what the stream is made of
	Total int64      `json:"total"` // bytes of text, or values
}

// Streams are the totals of a run's streams, by name.
type Streams map[string]StreamTotal

// Validate checks the number of streams, their names, kinds and totals.
func (s Streams) Validate() error {
	if len(s) > MaxStreams {
		return errors.New("a job has more than 8 streams")
	}
	for name, t := range s {
		if !ValidStream(name) || !t.Kind.Valid() || t.Total < 0 || name == StreamLog && t.Kind != StreamJSON {
			return errors.New("a stream's name, kind or total is not valid")
		}
	}
	return nil
}

// ValidStream reports whether s can name a stream: 1 to 32 of the characters a-z 0-9 _ -.
func ValidStream(s string) bool {
	for i := range len(s) {
		if c := s[i]; !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return s != "" && len(s) <= MaxStreamName
}
