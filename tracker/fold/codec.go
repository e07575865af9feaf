package fold

import (
	"fmt"

	"github.com/ackwire/ackwire/schemas/codec"
	"github.com/ackwire/ackwire/schemas/job"
)

var jobs = codec.New[Job]()

// Inner encodes the job without its document.
func (j *Job) Inner() ([]byte, error) { return jobs.Encode(j) }

// DecodeJob reads a job from what Document and Inner have returned.
func DecodeJob(document, inner []byte) (*Job, error) {
	j := &Job{}
	if _, err := jobs.Decode(inner, j); err != nil {
		return nil, err
	}
	doc, err := job.DecodeDocument(document)
	if err != nil {
		return nil, fmt.Errorf("document: %w", err)
	}
	j.Doc = doc
	return j, nil
}
