package frame

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/strict"
)

// StreamRef names a stream to follow, and the cursor that the client has: everything before At in run Run. Without a
// Run the client has nothing, and is sent the stream of the run that counts from its beginning.
type StreamRef struct {
	Stream string `json:"stream"`        // see job.ValidStream
	Run    int    `json:"run,omitempty"` // the dispatch number of a run, from 1
	At     int64  `json:"at,omitempty"`  // bytes of text, or values; 0 without Run
	Life   uint32 `json:"-"`             // see stream.Cursor; 0 stands for any
}

// ChunkFrame carries the next piece of a stream that the socket follows. Pieces of one stream come in order, each where
// the one before it ended; their order among other frames is not promised.
type ChunkFrame struct {
	Type   Type           `json:"type"`           // Chunk
	JobID  string         `json:"jobId"`          // the job whose stream it is
	Stream string         `json:"stream"`         // the stream's name
	Kind   job.StreamKind `json:"kind,omitempty"` // absent while nobody has written to the stream
	// Run is the dispatch number of the run that wrote the piece; 0 while no run has begun. From is where the piece
	// begins: bytes of text, or values.
	Run   int               `json:"run"`
	From  int64             `json:"from"`
	Text  string            `json:"text,omitempty"`  // of a stream of text: whole characters
	Items []json.RawMessage `json:"items,omitempty"` // of a stream of values
	// Reset says that run Run counts from now on, and that what the client has of an earlier one is void. From is 0.
	Reset bool `json:"reset,omitempty"`
	// End says that the stream is whole and nothing follows. Total, with End, is how much the run has written, be it 0;
	// else it is nil. EndAt sets both.
	End   bool   `json:"end,omitempty"`
	Total *int64 `json:"total,omitempty"`
	// Error says why the stream is not followed, or no longer: nothing follows. The job stays watched.
	Error code.Code `json:"error,omitempty"`
}

// EndAt makes the frame the last one, of a stream that has so much.
func (f *ChunkFrame) EndAt(total int64) { f.End, f.Total = true, &total }

// ParseStreams reads the streams of a submit or subscribe: a list of names and of StreamRefs, at most job.MaxStreams,
// each stream once. The error is the detail that its client reads.
func ParseStreams(b []byte) ([]StreamRef, error) {
	if err := strict.Check(b); err != nil {
		return nil, errors.New("streams is not valid JSON")
	}
	var list []json.RawMessage
	if err := json.Unmarshal(b, &list); err != nil || list == nil {
		return nil, errors.New("streams must be a list of names or of {stream, run?, at?}")
	}
	if len(list) > job.MaxStreams {
		return nil, fmt.Errorf("streams has more than %d entries", job.MaxStreams)
	}
	refs := make([]StreamRef, len(list))
	for i, entry := range list {
		err := refs[i].read(entry)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(refs[:i], func(r StreamRef) bool { return r.Stream == refs[i].Stream }) {
			return nil, fmt.Errorf("streams has %s twice", refs[i].Stream)
		}
	}
	return refs, nil
}

func (r *StreamRef) read(entry json.RawMessage) error {
	var err error
	switch entry[0] {
	case '"':
		err = json.Unmarshal(entry, &r.Stream)
	case '{':
		err = json.Unmarshal(entry, r)
	default:
		err = errors.New("neither")
	}
	switch {
	case err != nil:
		return errors.New("streams has an entry that is neither a name nor {stream, run?, at?}")
	case !job.ValidStream(r.Stream):
		return fmt.Errorf("streams has %.64q, which is not the name of a stream", r.Stream)
	case r.Run < 0 || r.Run > 1<<31-1 || r.At < 0:
		return fmt.Errorf("streams has a run or at of %s that is no cursor", r.Stream)
	case r.Run == 0 && r.At > 0:
		return fmt.Errorf("streams has an at of %s without its run", r.Stream)
	}
	return nil
}

// StreamList is the body of GET /v1/jobs/{id}/streams: the streams of the run that counts, by name.
type StreamList struct {
	Run     int          `json:"run"`     // the run's dispatch number; 0 while none has begun
	Streams []StreamInfo `json:"streams"` // empty while nobody has written to one
}

// StreamInfo says how far a stream has come.
type StreamInfo struct {
	Name  string         `json:"name"`  // see job.ValidStream
	Kind  job.StreamKind `json:"kind"`  // what it is made of
	Total int64          `json:"total"` // bytes of text, or values, by now
	Ended bool           `json:"ended"` // the job has ended and the stream is whole
}
