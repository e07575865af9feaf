package processor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/topic"
)

// Config is how a processor runs. A field that is zero has its default, so that a program sets only
// what it needs.
type Config struct {
	// Brokers are the addresses, host:port, of some of Kafka's brokers. Default 127.0.0.1:9092.
	Brokers []string
	// TopicPrefix starts the name of every topic and group, and must be the one that the gateways
	// and trackers have. Default "ackwire.".
	TopicPrefix string
	// Partitions is the partition count of topics that this process has to create. All
	// services that share a Kafka should be given the same. Default 12.
	Partitions int32
	// Lanes are the lanes whose jobs this processor takes, 64 at most. Default "default".
	Lanes []string
	// Slots is how many jobs of each lane may be held at the same time, 4096 at most. Default 64.
	Slots int
	// WorkerID names this process in the log, to the tracker, and to the owners of the jobs that
	// it runs: at most 128 printable ASCII characters without spaces. It must be unique among the
	// workers that live at the same time. Default: a random one.
	WorkerID string
	// WorkerHost has the default WorkerID begin with the host's name, which owners of jobs then see.
	WorkerHost bool
	// ProgressRate is how many progress events a job may append per second, 100 at most; between
	// two of them the latest call wins. Default 4.
	ProgressRate float64
	// FileLimit is the size in bytes of the largest file or result in the blob store. Default 1 GiB.
	FileLimit int64
	// ResultLimit is the size in bytes of the largest result that is kept in the job's log,
	// 131072 at most; a larger one goes to the blob store (WithBlobs). Default 65536.
	ResultLimit int
	// Grace is how long running jobs may go on after the processor was told to stop, before
	// they are released; 24h at most. Default 10s.
	Grace time.Duration
	// ClaimsAlwaysWait makes every claim wait for the tracker's grant. No job that was
	// cancelled before it began is then ever started; each start costs one round trip
	// through the tracker.
	ClaimsAlwaysWait bool
	// StepBack makes the processor leave a lane, within about a second, when another worker
	// joins the lane's consumer group, and take it again when none is left: for a processor that
	// is only there until somebody has workers.
	StepBack bool
}

// Defaults and bounds of Config.
const (
	defaultBroker       = "127.0.0.1:9092"
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

// withDefaults fills in what is not set. The slices are copies.
func (c Config) withDefaults() Config {
	c.Brokers, c.Lanes = slices.Clone(c.Brokers), slices.Clone(c.Lanes)
	if len(c.Brokers) == 0 {
		c.Brokers = []string{defaultBroker}
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

// Validate reports every problem of the configuration, with the defaults filled in. New calls it.
func (c Config) Validate() error {
	c = c.withDefaults()
	problems := []error{c.kafka().Check(), c.names().Validate()}
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
	if len(c.WorkerID) > maxWorkerID || strings.ContainsFunc(c.WorkerID, func(r rune) bool {
		return r <= ' ' || r > '~'
	}) {
		problems = append(problems, fmt.Errorf("worker-id must be at most %d printable ASCII characters without spaces",
			maxWorkerID))
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

func (c Config) kafka() kafka.Config { return kafka.Config{Brokers: c.Brokers} }
