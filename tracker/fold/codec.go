package fold

import (
	"fmt"

	"github.com/ackwire/ackwire/schemas/codec"
	"github.com/ackwire/ackwire/schemas/job"
)

// inner is a Job as it is written beside its document. It has some of the document's fields, too: trackers of
// earlier versions did not write them into documents, and look for them here.
type inner struct {
	Job
	Lane    string `json:"lane,omitempty"`
	Subject string `json:"subject,omitempty"`
}

var inners = codec.New[inner]()

// Inner encodes the job without its document.
func (j *Job) Inner() ([]byte, error) {
	return inners.Encode(&inner{Job: *j, Lane: j.Doc.Lane, Subject: j.Doc.Subject})
}

// DecodeJob reads a job from what Document and Inner have returned.
func DecodeJob(document, rest []byte) (*Job, error) {
	var in inner
	if _, err := inners.Decode(rest, &in); err != nil {
		return nil, err
	}
	doc, err := job.DecodeDocument(document)
	if err != nil {
		return nil, fmt.Errorf("document: %w", err)
	}
	doc.Lane, doc.Subject = in.Lane, in.Subject
	j := in.Job
	j.Doc = doc
	return &j, nil
}
