package processor

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ackwire/ackwire/internal/blobs"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/topic"
)

// Config is how a processor runs. A zero field means its default, so that a program may
// set only what it needs; the command line shows the same defaults.
type Config struct {
	Kafka kafka.Config `embed:""`

	// TopicPrefix starts the name of every topic and group. Default "ackwire.".
	TopicPrefix string `help:"Prefix of topic and group names." default:"ackwire."`
	// Partitions is the partition count of topics that this process has to create. All
	// services that share a Kafka should be given the same. Default 12.
	Partitions int32 `help:"Partitions of topics that do not exist yet." default:"12"`
	// Lanes are the lanes whose jobs this processor takes. Default "default".
	Lanes []string `help:"Lanes to take jobs from." default:"default" sep:"," aliases:"lane"`
	// Slots is how many jobs of each lane may be held at the same time. Default 64.
	Slots int `help:"Jobs held at the same time, per lane." default:"64"`
	// WorkerID names this process in the log, to the tracker, and to the owners of the jobs that
	// it runs. It must be unique among the workers that live at the same time. Default: random.
	WorkerID string `help:"Unique name of this worker, which owners of jobs and webhooks are shown. Default: a random one." placeholder:"ID"`
	// WorkerHost has the default WorkerID begin with the host's name.
	WorkerHost bool `help:"Let the default name of the worker begin with the host's, where owners of jobs may know it."`
	// ProgressRate is how many progress events a job may append per second; between two
	// of them the latest call wins. Default 4.
	ProgressRate float64 `help:"Progress events per second and job; the latest wins." default:"4"`
	// Blobs is the store for files, for results above ResultLimit and for large payloads.
	// Without one a larger result is the permanent failure result_too_large.
	Blobs blobs.Config `embed:""`
	// FileLimit is the size in bytes of the largest file or result in the store. Default 1 GiB.
	FileLimit int64 `help:"Largest file or result in the blob store, in bytes." default:"1073741824"`
	// ResultLimit is the size in bytes of the largest inline result. Default 65536.
	ResultLimit int `help:"Largest inline result, in bytes." default:"65536"`
	// Grace is how long running jobs may go on after the processor was told to stop, before
	// they are released. Default 10s.
	Grace time.Duration `help:"How long running jobs may go on when the process stops, before they are released." default:"10s"`
	// ClaimsAlwaysWait makes every claim wait for the tracker's grant. No job that was
	// cancelled before it began is then ever started; each start costs one round trip
	// through the tracker.
	ClaimsAlwaysWait bool `help:"Wait for the tracker's grant before every start."`
	// StepBack makes the processor leave a lane, within about a second, when another worker
	// joins the lane's consumer group, and take it again when none is left: for a processor that
	// is only there until somebody has workers.
	StepBack bool `kong:"-"`
}

// Defaults and bounds of Config.
const (
	defaultSlots        = 64
	defaultLane         = "default"
	defaultProgressRate = 4
	defaultResultLimit  = 64 << 10
	defaultGrace        = 10 * time.Second
	defaultFileLimit    = 1 << 30

	maxSlots        = 4096
	maxLanes        = 64
	maxPartitions   = 10_000
	maxProgressRate = 100
	maxWorkerID     = 128
	// maxResultLimit keeps a status record below a broker's default of 1 MiB even if
	// every byte of a result has to be escaped.
	maxResultLimit = 128 << 10
	maxGrace       = 24 * time.Hour
	// maxPayload bounds a payload from the blob store, which a gateway has bounded before.
	maxPayload = 64 << 20
)

// withDefaults fills in what is not set.
func (c Config) withDefaults() Config {
	if len(c.Kafka.Brokers) == 0 {
		c.Kafka.Brokers = []string{"127.0.0.1:9092"}
	}
	if c.TopicPrefix == "" {
		c.TopicPrefix = topic.DefaultPrefix
	}
	if c.Partitions == 0 {
		c.Partitions = topic.DefaultPartitions
	}
	if len(c.Lanes) == 0 {
		c.Lanes = []string{defaultLane}
	}
	if c.Slots == 0 {
		c.Slots = defaultSlots
	}
	if c.ProgressRate == 0 {
		c.ProgressRate = defaultProgressRate
	}
	if c.ResultLimit == 0 {
		c.ResultLimit = defaultResultLimit
	}
	if c.Grace == 0 {
		c.Grace = defaultGrace
	}
	if c.FileLimit == 0 {
		c.FileLimit = defaultFileLimit
	}
	return c
}

// Validate reports every problem of the configuration.
func (c Config) Validate() error {
	c = c.withDefaults()
	problems := []error{c.Kafka.Validate(), c.names().Validate(), c.Blobs.Validate()}
	within := func(name string, ok bool, bounds ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(name+" must be %v to %v", bounds...))
		}
	}
	within("partitions", c.Partitions >= 1 && c.Partitions <= maxPartitions, 1, maxPartitions)
	within("slots", c.Slots >= 1 && c.Slots <= maxSlots, 1, maxSlots)
	within("progress-rate", c.ProgressRate > 0 && c.ProgressRate <= maxProgressRate, "above 0", maxProgressRate)
	within("result-limit", c.ResultLimit >= 1 && c.ResultLimit <= maxResultLimit, 1, maxResultLimit)
	within("file-limit", c.FileLimit >= 1, 1, "any size")
	within("grace", c.Grace > 0 && c.Grace <= maxGrace, "above 0", maxGrace)
	if len(c.WorkerID) > maxWorkerID || strings.ContainsFunc(c.WorkerID, func(r rune) bool { return r <= ' ' || r > '~' }) {
		problems = append(problems, fmt.Errorf("worker-id must be at most %d printable ASCII characters without spaces", maxWorkerID))
	}
	if len(c.Lanes) > maxLanes {
		problems = append(problems, fmt.Errorf("lanes: more than %d", maxLanes))
	}
	seen := map[string]bool{}
	for _, lane := range c.Lanes {
		switch {
		case !topic.ValidLane(lane):
			problems = append(problems, fmt.Errorf("lanes: %q is not a lane's name", lane))
		case seen[lane]:
			problems = append(problems, fmt.Errorf("lanes: %q is named twice", lane))
		}
		seen[lane] = true
	}
	return errors.Join(problems...)
}

func (c Config) names() topic.Names { return topic.Names{Prefix: c.TopicPrefix} }
