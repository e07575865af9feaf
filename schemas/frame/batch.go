package frame

// MaxBatch is how many submits a batch may have.
const MaxBatch = 1000

// MaxBatchGrants is how many submits of a batch may ask for a grant: it bounds the size of the answer.
const MaxBatchGrants = 100

// Outcome says what became of one submit of a batch.
type Outcome string

// The outcomes of a submit.
const (
	Acked   Outcome = "acked"   // the job is durable
	Refused Outcome = "refused" // nothing was written
	Unknown Outcome = "unknown" // the job may or may not exist; the submit may be sent again with the same key
)

// BatchRequest is the body of POST /v1/jobs:batch; a submitBatch frame has the same list.
type BatchRequest struct {
	Jobs []SubmitRequest `json:"jobs"` // 1 to MaxBatch
}

// AcksFrame answers submitBatch, once the outcome of each of its submits is known, or it is known that it cannot be
// told. Over HTTP it is the body of 200, without type and id.
type AcksFrame struct {
	Type    Type          `json:"type,omitempty"` // Acks; absent over HTTP
	ID      string        `json:"id,omitempty"`   // the ID of the frame that it answers
	Results []BatchResult `json:"results"`        // in the order of the submits
}

// BatchResult is the outcome of one submit of a batch.
type BatchResult struct {
	Outcome Outcome   `json:"outcome"`       // Acked, Refused or Unknown
	Ack     *AckFrame `json:"ack,omitempty"` // of Acked, without type and id
	// Error, of Refused and Unknown, is as over a socket. If there are many, it may be without detail and errors.
	Error *Problem `json:"error,omitempty"`
}
