package fold

import (
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// Bounds of a document in bytes, so that store, view and gateways can carry it.
const (
	// MaxResult is the largest inline result in a document: 128 KiB, the most that a worker of
	// Ackwire's library writes, with every character escaped as six.
	MaxResult = 768 << 10
	// MaxDocument is the largest document with a result. A record of view has the document and the
	// fold's other fields, and must stay below the 1,000,012 bytes that Kafka's clients and brokers
	// take by default.
	MaxDocument = 900_000
	// safeResult is the size up to which a result cannot make a document larger than MaxDocument.
	safeResult = 64 << 10
)

// tooLarge reports whether the job's result makes its document too large.
func (j *Job) tooLarge() bool {
	n := len(j.Doc.Result)
	return n > MaxResult || n > safeResult && len(j.Document()) > MaxDocument
}

// resultTooLarge returns the failure of a job whose worker wrote a result that is too large.
func resultTooLarge() *event.Failure {
	return &event.Failure{Error: job.Error{Code: job.CodeResultTooLarge, Message: "the result is too large for the log"}}
}

// Times in documents are written by RFC 3339, whose years have four digits.
var (
	minDocTime = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	maxDocTime = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
)

// writable reports whether the job can be encoded, that is, whether its times can be written by RFC 3339.
// Its other fields always can: texts and JSON were decoded, numbers are whole, percents and policies were
// validated.
func (j *Job) writable() bool {
	ok := func(t *time.Time) bool { return t == nil || !t.Before(minDocTime) && t.Before(maxDocTime) }
	d := &j.Doc
	if n := len(d.Attempts); n > 0 { // earlier attempts were checked with earlier events
		if last := &d.Attempts[n-1]; !ok(&last.StartedAt) || !ok(last.EndedAt) {
			return false
		}
	}
	return ok(&d.CreatedAt) && ok(&d.UpdatedAt) && ok(d.StartedAt) && ok(d.FinishedAt) && ok(d.RetryAt) && ok(d.RunAt) &&
		ok(&j.RoundAt) && ok(&j.RenewedAt) && ok(j.CancelAt) && (j.Unserved == nil || ok(&j.Unserved.Since))
}

// Whole reports whether the job has all fields that its state needs. A job that Fold made always has;
// one that was read from elsewhere may not.
func (j *Job) Whole() bool {
	d := &j.Doc
	switch {
	case !d.State.Valid() && !j.Erased() || !j.writable():
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
