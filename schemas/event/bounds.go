package event

import "github.com/ackwire/ackwire/schemas/job"

// MaxBlobChars bounds a blob's key, and its name.
const MaxBlobChars = 1024

// bounds checks the size of what any event may carry, whether its type needs it or not: a
// reader may keep it. How a run failed and how far it came is shortened where it is kept, and
// a result that is too large fails its job: that is the fold's to say.
func (e *Event) bounds(need func(name string, ok bool)) {
	for _, f := range []struct {
		name, text string
		chars      int
	}{
		{"jobId", e.JobID, job.MaxNameChars}, {"job", e.Job, job.MaxNameChars}, {"tenant", e.Tenant, job.MaxNameChars},
		{"subject", e.Subject, job.MaxNameChars}, {"payloadHash", e.PayloadHash, job.MaxNameChars},
		{"run", e.Run, job.MaxNameChars}, {"worker", e.Worker, job.MaxNameChars},
		{"callbackUrl", e.CallbackURL, job.MaxURLChars}, {"resultUrl", e.ResultURL, job.MaxURLChars},
	} {
		need(f.name, job.Bounded(f.text, f.chars))
	}
	need("runAt", e.RunAt == nil || job.ValidTime(*e.RunAt))
	need("requestedAt", e.RequestedAt == nil || job.ValidTime(*e.RequestedAt))
}
