package fold

import (
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// Bounds of what a document carries, in bytes, so that store, view and gateways can take it.
const (
	// MaxResult is the largest inline result as the document has it: 128 KiB, the most that a
	// worker of ours writes, if every character is escaped sixfold.
	MaxResult = 768 << 10
	// MaxDocument is the largest document with a result. A record of view holds it and what
	// the fold keeps beside it, below the 1,000,012 bytes that clients and brokers take.
	MaxDocument = 900_000
	// safeResult is a result with which no document is above MaxDocument.
	safeResult = 64 << 10
)

// tooLarge reports whether the job, which has just got its result, is too large for a document.
func (j *Job) tooLarge() bool {
	n := len(j.Doc.Result)
	return n > MaxResult || n > safeResult && len(j.Document()) > MaxDocument
}

// resultTooLarge is how a job fails whose worker wrote a larger result into the log than it may.
func resultTooLarge() *event.Failure {
	return &event.Failure{Error: job.Error{Code: job.CodeResultTooLarge, Message: "the result is too large for the log"}}
}

// Times of documents are RFC 3339: years of four digits.
var (
	minDocTime = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	maxDocTime = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
)

// writable reports whether the job, as an event leaves it, can be encoded: whether its times
// have a place in a document. All else that it is made of always has: texts and JSON that were
// decoded, whole numbers, and percents and policies that were validated.
func (j *Job) writable() bool {
	ok := func(t *time.Time) bool { return t == nil || !t.Before(minDocTime) && t.Before(maxDocTime) }
	d := &j.Doc
	if n := len(d.Attempts); n > 0 { // those before the last came with earlier events
		if last := &d.Attempts[n-1]; !ok(&last.StartedAt) || !ok(last.EndedAt) {
			return false
		}
	}
	return ok(&d.CreatedAt) && ok(&d.UpdatedAt) && ok(d.StartedAt) && ok(d.FinishedAt) && ok(d.RetryAt) && ok(d.RunAt) &&
		ok(&j.RoundAt) && ok(&j.RenewedAt) && ok(j.CancelAt) && (j.Unserved == nil || ok(&j.Unserved.Since))
}

// Whole reports whether the job has what its state needs: what the fold made always does.
func (j *Job) Whole() bool {
	d := &j.Doc
	switch {
	case !d.State.Valid() || !j.writable():
		return false
	case j.Ended():
		return d.FinishedAt != nil
	case d.State == job.Processing:
		return d.StartedAt != nil && j.Run != ""
	case d.State == job.Retrying:
		return d.RetryAt != nil
	case d.State == job.Scheduled:
		return d.RunAt != nil
	}
	return true
}
