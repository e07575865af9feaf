package processor

import (
	"context"
	"log/slog"
	"math"
	"sync"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/text"
)

// Job is one run of a job, as its handler sees it. It is valid until the handler returns.
type Job struct {
	// ID is the job's ID, which is the same in every attempt.
	ID string
	// Type is the job's type.
	Type string
	// Attempt is the number of the attempt, from 1. An attempt that was handed back (because a processor
	// stopped) is handed out again under the same number.
	Attempt int
	// MaxAttempts is the number of attempts with which the job was created. After an explicit retry by the
	// job's owner, Attempt may be above it.
	MaxAttempts int
	// Dispatch and Run are the fencing token for the handler's own side effects. Dispatch
	// rises each time the job is handed out; Run is random and different in every execution.
	// A store that refuses a dispatch below the highest it has seen is safe from
	// a worker that was cut off and does not know it.
	Dispatch int
	Run      string
	// Tenant and Subject say who owns the job. Subject may be empty.
	Tenant  string
	Subject string
	// Log has the attributes job, run and attempt.
	Log *slog.Logger

	report func(job.Progress)
	store  func(context.Context, File) (*event.Blob, error)

	mu   sync.Mutex // guards file
	file *event.Blob
}

// maxProgressMessage bounds a progress message, in bytes; a longer one is cut.
const maxProgressMessage = 256

// Progress reports the job's progress: percent from 0 to 100 and a message for people.
// It never blocks. Calls are conflated to Config.ProgressRate: the latest call wins, and the
// last one before the handler returns is always sent. A percent below an earlier one
// counts as the earlier one. After the handler has returned Progress does nothing.
func (j *Job) Progress(percent float64, message string) {
	j.Advance(Progress{Percent: percent, Message: message})
}

// Progress is a job's progress; see Job.Advance.
type Progress struct {
	// Percent is from 0 to 100.
	Percent float64
	// Message is for people; above 256 bytes it is cut.
	Message string
	// Current and Total are counts in the handler's own unit, such as rows. With a Total above 0 and a Percent
	// of 0, Percent is computed from them.
	Current, Total int64
}

// Advance is like Job.Progress, and also takes counts.
func (j *Job) Advance(p Progress) {
	if math.IsNaN(p.Percent) {
		p.Percent = 0
	}
	p.Current, p.Total = max(p.Current, 0), max(p.Total, 0)
	if p.Percent == 0 && p.Total > 0 {
		p.Percent = 100 * float64(p.Current) / float64(p.Total)
	}
	j.report(job.Progress{
		Percent: min(max(p.Percent, 0), 100),
		Message: text.Clip(p.Message, maxProgressMessage),
		Current: p.Current, Total: p.Total,
	})
}
