package processor

import (
	"context"
	"log/slog"
	"sync"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
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
	// Tags are what the submitter has attached to the job; nil if there are none. They must not be changed.
	Tags map[string]string
	// Log writes to the worker's log, with the attributes job, run and attempt. Lines of level INFO and above are also
	// items of the job's stream log, which all see who may see the job, with the attributes that the handler adds. It
	// never waits: above 64 KiB per second, or 1 MiB per run, lines are left out of the stream, which says how many.
	Log *slog.Logger

	own     *slog.Logger // the worker's log alone
	streams *streams

	report func(job.Progress)
	store  func(context.Context, File) (*event.Blob, error)

	mu   sync.Mutex // guards file
	file *event.Blob
}
