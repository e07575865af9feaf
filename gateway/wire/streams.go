package wire

import (
	"encoding/json"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/stream"
)

// DecodeStreams reads a field streams: names of streams, or objects with stream, run and at. Without the field there
// are none.
func DecodeStreams(b json.RawMessage) ([]frame.StreamRef, error) {
	if len(b) == 0 {
		return nil, nil
	}
	refs, err := frame.ParseStreams(b)
	if err != nil {
		return nil, invalid("%s", err)
	}
	for _, ref := range refs {
		if ref.At > stream.MaxPosition {
			return nil, invalid("streams has an at of %s that is out of range", ref.Stream)
		}
	}
	return refs, nil
}
