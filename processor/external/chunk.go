package external

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/strict"
)

// chunk is what a handler writes to one of its run's streams: text, or items.
type chunk struct {
	Stream string            `json:"stream"`
	Text   *string           `json:"text"`
	Items  []json.RawMessage `json:"items"`
}

// isChunk reports whether an object of these keys is a chunk: stream, and one of text and items.
func isChunk(keys map[string]json.RawMessage) bool {
	_, named := keys["stream"]
	_, text := keys["text"]
	_, items := keys["items"]
	return named && len(keys) == 2 && (text || items)
}

// parseChunk reads a chunk from strict JSON that isChunk has taken.
func parseChunk(b []byte) (*chunk, error) {
	var c chunk
	if err := strict.Unmarshal(b, &c); err != nil {
		return nil, invalidStream(fmt.Errorf("a chunk could not be read: %w", err))
	}
	if c.Text == nil && c.Items == nil {
		return nil, invalidStream(errors.New("the text or the items of a chunk are null"))
	}
	return &c, nil
}

// write writes the chunk to its stream. It waits as processor.Stream does, and returns its errors. Of items that are
// refused those before them are written.
func (c *chunk) write(j *processor.Job) error {
	s := j.Stream(c.Stream)
	if c.Text != nil {
		_, err := s.Write([]byte(*c.Text))
		return err
	}
	for _, item := range c.Items {
		if err := s.Send(item); err != nil {
			return err
		}
	}
	return nil
}

func invalidStream(err error) error {
	return processor.WithCode(job.CodeInvalidStream, processor.Permanent(err))
}
