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

// Worker holds the settings of a processor: those of processor.Config, and the blob store.
type Worker struct {
	Kafka  kafka.Config `embed:""`
	Topics kafka.Topics `embed:""`

	TopicPrefix string            `help:"Prefix of topic and group names." default:"ackwire."`
	Partitions  int32             `help:"Number of partitions of topics that this process makes, and that existing topics must have; those of requests may have more. Without it topics are made with 12, and existing ones may have any number." placeholder:"N"`
	Lanes       []string          `help:"Lanes to take jobs from." default:"default" sep:"," aliases:"lane"`
	JobTypes    string            `help:"YAML file of job types. Results that do not fit their type's resultSchema fail the job; without the file no result is checked." placeholder:"FILE"`
	Blobs       service.BlobStore `embed:""`

	Runs `embed:""`
}

// Runs holds the settings that a processor has even in a process with other services. Such a process may set another
// default of grace (`set:"grace=5s"`).
type Runs struct {
	Slots            int           `help:"Jobs that run or wait at the same time, per lane." default:"64"`
	WorkerID         string        `help:"Unique name of this worker. The owners of its jobs and webhook endpoints see it. Default: a random name." placeholder:"ID"`
	WorkerHost       bool          `help:"Start the worker's default name with the host name, which the owners of its jobs then see."`
	ProgressRate     float64       `help:"Most progress events per second and job. Of calls in between only the latest is sent." default:"4"`
	FileLimit        int64         `help:"Largest file or result in the blob store, in bytes." default:"1073741824"`
	ResultLimit      int           `help:"Largest inline result, in bytes." default:"65536"`
	StreamLimit      int64         `help:"Bytes that a run may write to its streams, unless its job type says otherwise." default:"8388608"`
	StreamRate       int64         `help:"Bytes per second that a run may write to its streams, unless its job type says otherwise; above it the run waits." default:"262144"`
	Grace            time.Duration `help:"How long running jobs may go on when the process stops, before they are handed back." default:"${grace=10s}"`
	ClaimsAlwaysWait bool          `help:"Wait for the tracker's grant before every start."`
}

// Config returns the settings as a processor.Config, which does not include the blob store.
func (w Worker) Config() processor.Config {
	cfg := w.Runs.Config()
	cfg.Brokers = w.Kafka.Brokers
	cfg.Security = processor.Security(w.Kafka.Security)
	cfg.Rack, cfg.Compression = w.Kafka.Rack, w.Kafka.Compression
	cfg.Timeouts = processor.Timeouts(w.Kafka.Timeouts)
	cfg.TopicPrefix = w.TopicPrefix
	cfg.Partitions = w.Partitions
	cfg.Topics, cfg.TopicSettings = w.Topics.Mode, w.Topics.Settings
	cfg.Lanes = w.Lanes
	return cfg
}

// Config returns the settings as a processor.Config.
func (r Runs) Config() processor.Config {
	return processor.Config{
		Slots: r.Slots, WorkerID: r.WorkerID, WorkerHost: r.WorkerHost, ProgressRate: r.ProgressRate,
		FileLimit: r.FileLimit, ResultLimit: r.ResultLimit, StreamLimit: r.StreamLimit, StreamRate: r.StreamRate,
		Grace: r.Grace, ClaimsAlwaysWait: r.ClaimsAlwaysWait,
	}
}

// Validate reports every problem of the settings. The flag parser calls it.
func (w Worker) Validate() error {
	err := w.Config().Validate()
	if w.Blobs.URL != "" {
		err = errors.Join(err, blobs.CheckURL(w.Blobs.URL))
	}
	_, broken := ByType(w.JobTypes)
	return errors.Join(err, broken)
}

// Options returns the options that give a processor the logger, metrics, tracer and dialer of env.
func Options(env service.Env) []processor.Option {
	return []processor.Option{
		processor.WithLogger(env.Log), processor.WithMetrics(env.Metrics),
		processor.WithTracerProvider(env.Traces), processor.WithDialer(env.Dial),
	}
}

// ByType returns the options that check results against the schemas in a file of job types, and apply its limits of
// streams. If jobTypes is empty it returns none: the built-in job types accept every result, and set no such limits.
func ByType(jobTypes string) ([]processor.Option, error) {
	if jobTypes == "" {
		return nil, nil
	}
	types, err := jobtypes.Load(jobTypes)
	if err != nil {
		return nil, err
	}
	return []processor.Option{
		processor.WithResultCheck(types.CheckResult), processor.WithStreamLimits(types.StreamLimits),
	}, nil
}

// WithBlobs opens the blob store, if one is configured, and returns the option for it. Call done when the processor has
// ended.
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
