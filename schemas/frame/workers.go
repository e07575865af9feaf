package frame

import "time"

// Workers is the body of GET /v1/workers: the workers of all lanes and what they hold.
type Workers struct {
	Workers []Worker     `json:"workers"` // sorted by name
	Lanes   []WorkerLane `json:"lanes"`   // sorted by name
	// AsOf is a time up to which all claims and ends of jobs are included.
	AsOf time.Time `json:"asOf"`
	// Truncated is true if there are more workers or lanes. The workers that hold most jobs are never left out for others.
	Truncated bool `json:"truncated"`
}

// Worker is a worker that has announced itself within the last two minutes, or that holds jobs.
type Worker struct {
	Worker string `json:"worker"` // its name, as in the attempts of jobs
	// Announced is false for a worker that is known only by the jobs that it holds: it is no processor of this library, or
	// of an earlier release, or has not announced itself for two minutes. Then it has no lanes, version and start.
	Announced bool         `json:"announced"`
	Lanes     []WorkerSlot `json:"lanes"`   // that it takes
	Running   int64        `json:"running"` // jobs that it holds
	Version   string       `json:"version,omitempty"`
	StartedAt *time.Time   `json:"startedAt,omitempty"` // by the worker's clock
	// SeenAt is when it was last heard of: an announcement, or a sign of one of the jobs in Holds.
	SeenAt   time.Time `json:"seenAt"`
	Draining bool      `json:"draining,omitempty"` // it takes no more jobs, and ends when those that it holds have
	Holds    []HeldJob `json:"holds"`              // the jobs that it has held for longest, 20 at most
	// PausedEndpoints are the endpoints of webhooks that it does not call for a while, 100 at most: those with the most
	// failures first. PausedMore is true if there are others.
	PausedEndpoints []PausedEndpoint `json:"pausedEndpoints,omitempty"`
	PausedMore      bool             `json:"pausedMore,omitempty"`
}

// WorkerSlot is a lane that a worker takes.
type WorkerSlot struct {
	Lane    string `json:"lane"`              // its name
	Slots   int    `json:"slots"`             // jobs of the lane that it holds at the same time, at most
	Yielded bool   `json:"yielded,omitempty"` // it leaves the lane to other workers as long as there are any
}

// HeldJob is a job that a worker holds. Whether its handler is stuck follows from Since and ProgressAt.
type HeldJob struct {
	JobID    string    `json:"jobId"`    // the job's ID
	Tenant   string    `json:"tenant"`   // whose job it is
	Type     string    `json:"type"`     // the job type
	Lane     string    `json:"lane"`     // on which it runs
	Attempt  int       `json:"attempt"`  // the current one, from 1
	Since    time.Time `json:"since"`    // when the worker claimed it
	LastSign time.Time `json:"lastSign"` // when the worker last said that it runs, which needs nothing of the handler
	// ProgressAt is when the handler last told progress; absent if it has not.
	ProgressAt *time.Time `json:"progressAt,omitempty"`
	Percent    *float64   `json:"percent,omitempty"` // of that progress
	Stage      string     `json:"stage,omitempty"`   // of that progress
}

// PausedEndpoint is an endpoint of webhooks that a worker does not call for a while, because it failed several times in
// a row.
type PausedEndpoint struct {
	Tenant string `json:"tenant"` // whose webhooks are held back
	// Endpoint is scheme, host and path of the URL; without a path if the host accepts no connections.
	Endpoint string    `json:"endpoint"`
	Until    time.Time `json:"until"`    // then it is tried again
	Failures int       `json:"failures"` // in a row
}

// WorkerLane is a lane with its workers and its work, of all tenants.
type WorkerLane struct {
	Lane    string `json:"lane"`    // its name
	Workers int    `json:"workers"` // members of the lane's consumer group, as in GET /v1/stats
	// Slots are those of the workers that have announced themselves and take jobs.
	Slots   int   `json:"slots"`
	Running int64 `json:"running"` // jobs that are processing
	Waiting int64 `json:"waiting"` // requests that no worker has taken, as in GET /v1/stats
	// OldestWait is for how many seconds the oldest of them has waited, 0 if there is none; absent while it is not known.
	OldestWait *float64 `json:"oldestWait,omitempty"`
}
