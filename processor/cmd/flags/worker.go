// Package flags holds the settings of the commands that run a processor, as flags, and makes of
// them what the packages processor and webhook take.
package flags

import (
	"context"
	"errors"
	"time"

	"github.com/ackwire/ackwire/blobs"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/schemas/jobtypes"
)

// Worker is how a processor runs: processor.Config and the blob store.
type Worker struct {
	Kafka kafka.Config `embed:""`

	TopicPrefix string            `help:"Prefix of topic and group names." default:"ackwire."`
	Partitions  int32             `help:"Partitions of topics that do not exist yet." default:"12"`
	Lanes       []string          `help:"Lanes to take jobs from." default:"default" sep:"," aliases:"lane"`
	JobTypes    string            `help:"YAML file of job types. Results that do not fit their type's resultSchema fail the job; without the file no result is checked." placeholder:"FILE"`
	Blobs       service.BlobStore `embed:""`

	Runs `embed:""`
}

// Runs are the settings of how jobs are run, which a processor has also in a process with other
// services. Such a process may set another default of grace (`set:"grace=5s"`).
type Runs struct {
	Slots            int           `help:"Jobs held at the same time, per lane." default:"64"`
	WorkerID         string        `help:"Unique name of this worker, which owners of jobs and webhooks are shown. Default: a random one." placeholder:"ID"`
	WorkerHost       bool          `help:"Let the default name of the worker begin with the host's, where owners of jobs may know it."`
	ProgressRate     float64       `help:"Progress events per second and job; the latest wins." default:"4"`
	FileLimit        int64         `help:"Largest file or result in the blob store, in bytes." default:"1073741824"`
	ResultLimit      int           `help:"Largest inline result, in bytes." default:"65536"`
	Grace            time.Duration `help:"How long running jobs may go on when the process stops, before they are released." default:"${grace=10s}"`
	ClaimsAlwaysWait bool          `help:"Wait for the tracker's grant before every start."`
}

// Config returns the settings as the library takes them, all but the blob store.
func (w Worker) Config() processor.Config {
	cfg := w.Runs.Config()
	cfg.Brokers = w.Kafka.Brokers
	cfg.TopicPrefix = w.TopicPrefix
	cfg.Partitions = w.Partitions
	cfg.Lanes = w.Lanes
	return cfg
}

// Config returns the settings as the library takes them.
func (r Runs) Config() processor.Config {
	return processor.Config{
		Slots: r.Slots, WorkerID: r.WorkerID, WorkerHost: r.WorkerHost, ProgressRate: r.ProgressRate,
		FileLimit: r.FileLimit, ResultLimit: r.ResultLimit, Grace: r.Grace, ClaimsAlwaysWait: r.ClaimsAlwaysWait,
	}
}

// Validate reports every problem of the settings; the parser of flags calls it.
func (w Worker) Validate() error {
	err := w.Config().Validate()
	if w.Blobs.URL != "" {
		err = errors.Join(err, blobs.CheckURL(w.Blobs.URL))
	}
	_, broken := CheckResults(w.JobTypes)
	return errors.Join(err, broken)
}

// Options gives a processor what a process of ours has.
func Options(env service.Env) []processor.Option {
	return []processor.Option{
		processor.WithLogger(env.Log), processor.WithMetrics(env.Metrics),
		processor.WithTracerProvider(env.Traces), processor.WithDialer(env.Dial),
	}
}

// CheckResults has results checked by the file of job types. An empty name means the built-in job types, which take
// every result.
func CheckResults(jobTypes string) (processor.Option, error) {
	if jobTypes == "" {
		return nil, nil
	}
	types, err := jobtypes.Load(jobTypes)
	if err != nil {
		return nil, err
	}
	return processor.WithResultCheck(types.CheckResult), nil
}

// WithBlobs opens the store that is set, if one is. Call done when the processor has ended.
func WithBlobs(ctx context.Context, set service.BlobStore) (opt processor.Option, done func() error, err error) {
	if set.URL == "" {
		return nil, func() error { return nil }, nil
	}
	store, err := blobs.Open(ctx, set.URL)
	if err != nil {
		return nil, nil, err
	}
	return processor.WithBlobs(store), store.Close, nil
}
