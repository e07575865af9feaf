package event

import "github.com/ackwire/ackwire/schemas/job"

// MaxBlobChars bounds a blob's key, and its name, in characters.
const MaxBlobChars = 1024

// bounds checks the size of fields that an event of any type may carry, since a reader may store them even if the type
// does not need them. Some things are not checked here but by the fold: it shortens the messages of errors and of
// progress, it leaves out a stage or data of progress that is not valid, which job.Progress.Omitted tells, and a result
// that is too large fails its job.
func (e *Event) bounds(need func(name string, ok bool)) {
	if !e.short() {
		e.boundTexts(need)
	}
	need("runAt", e.RunAt == nil || job.ValidTime(*e.RunAt))
	need("streams", e.Streams.Validate() == nil)
	need("requestedAt", e.RequestedAt == nil || job.ValidTime(*e.RequestedAt))
}

// short reports whether all texts are surely within their bounds, for they have no more bytes than they may have
// characters.
func (e *Event) short() bool {
	return max(len(e.JobID), len(e.Job), len(e.Tenant), len(e.Subject), len(e.PayloadHash), len(e.Run),
		len(e.Worker), len(e.Bulk)) <= job.MaxNameChars && max(len(e.CallbackURL), len(e.ResultURL)) <= job.MaxURLChars
}

func (e *Event) boundTexts(need func(name string, ok bool)) {
	for _, f := range []struct {
		name, text string
		chars      int
	}{
		{"jobId", e.JobID, job.MaxNameChars}, {"job", e.Job, job.MaxNameChars}, {"tenant", e.Tenant, job.MaxNameChars},
		{"subject", e.Subject, job.MaxNameChars}, {"payloadHash", e.PayloadHash, job.MaxNameChars},
		{"run", e.Run, job.MaxNameChars}, {"worker", e.Worker, job.MaxNameChars}, {"bulk", e.Bulk, job.MaxNameChars},
		{"callbackUrl", e.CallbackURL, job.MaxURLChars}, {"resultUrl", e.ResultURL, job.MaxURLChars},
	} {
		need(f.name, job.Bounded(f.text, f.chars))
	}
}
