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

// Config holds the settings of a processor. Fields that are zero have their defaults.
type Config struct {
	// Brokers are the addresses, host:port, of some of Kafka's brokers. Default 127.0.0.1:9092.
	Brokers []string
	// Security has the settings that encrypt connections to Kafka and that authenticate this process. Default: neither.
	Security Security
	// Timeouts says how long this process waits for Kafka. Default: the profile local, for a Kafka in the same zone.
	Timeouts Timeouts
	// Rack is the rack or zone of this process, as in broker.rack of Kafka's brokers. Requests are then read from the
	// nearest replica (KIP-392), if the brokers have a replica.selector.class that is aware of racks. Default: none.
	Rack string
	// Compression is that of the records that this process writes to Kafka: "snappy", "gzip", "lz4", "zstd" or "none".
	// Azure Event Hubs takes only "gzip" and "none". Default "snappy".
	Compression string
	// TopicPrefix is the prefix of the names of all topics and groups. It must be that of the gateways and
	// trackers. Default "ackwire.".
	TopicPrefix string
	// Partitions is the number of partitions of topics that this process makes, and that existing topics must have; those
	// of requests may have more. Default: topics are made with 12, and existing ones may have any number.
	Partitions int32
	// Topics says what to do with topics at the start: "create" makes those that are missing and verifies all, "verify"
	// only verifies, "off" does neither. Default "create".
	Topics string
	// TopicSettings are settings of topics other than the built-in ones, each written KIND.SETTING=VALUE, such as
	// "requests.partitions=24". They must be those of the gateways and trackers. Default: none.
	TopicSettings []string
	// Lanes are the lanes from which this processor takes jobs, 64 at most. Default "default".
	Lanes []string
	// Slots is how many jobs of each lane may run or wait here at the same time, 4096 at most. Default 64.
	Slots int
	// WorkerID is the worker's unique name: the log, the tracker and the owners of the jobs that it runs see it.
	// It has at most 128 printable ASCII characters without spaces, and must be unique among the workers that
	// run at the same time. Default: a random one.
	WorkerID string
	// WorkerHost makes the default WorkerID start with the host's name, which owners of jobs then see.
	WorkerHost bool
	// ProgressRate is how many progress events a job may append per second, 100 at most; between
	// two of them the latest call wins. Default 4.
	ProgressRate float64
	// FileLimit is the size in bytes of the largest file or result in the blob store. Default 1 GiB.
	FileLimit int64
	// ResultLimit is the size in bytes of the largest result that is stored in the job's log,
	// 131072 at most; a larger one goes to the blob store (WithBlobs). Default 65536.
	ResultLimit int
	// StreamLimit is how many bytes a run may write to its streams (Job.Stream), its log not counted; 1 GiB at most. It
	// is per job type with WithStreamLimits. Default 8 MiB.
	StreamLimit int64
	// StreamRate is how many bytes per second a run may write to its streams: writes wait. It is 1 KiB to 64 MiB, and per
	// job type with WithStreamLimits. Default 256 KiB.
	StreamRate int64
	// Grace is how long running jobs may go on after the processor was told to stop, before
	// they are handed back; 24h at most. Default 10s.
	Grace time.Duration
	// ClaimsAlwaysWait makes every claim wait for the tracker's grant. Then no job that was
	// cancelled before it began is ever started; each start costs one round trip
	// to the tracker.
	ClaimsAlwaysWait bool
	// StepBack makes the processor leave a lane, within about a second, when another worker
	// joins the lane's consumer group, and take it again when no other worker is left. It is for a
	// processor that works only as long as no other worker does, such as the demo's.
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
	// maxPayload bounds a payload from the blob store, in bytes. Gateways accept only smaller ones.
	maxPayload = 64 << 20
)

// withDefaults sets the defaults of zero fields. It copies the slices.
func (c Config) withDefaults() Config {
	c.Brokers, c.Lanes = slices.Clone(c.Brokers), slices.Clone(c.Lanes)
	c.Security = c.Security.clone()
	if len(c.Brokers) == 0 {
		c.Brokers = []string{defaultBroker}
	}
	if c.TopicPrefix == "" {
		c.TopicPrefix = topic.DefaultPrefix
	}
	c.TopicSettings = slices.Clone(c.TopicSettings)
	if c.Topics == "" {
		c.Topics = kafka.TopicsCreate
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
	if c.StreamLimit == 0 {
		c.StreamLimit = defaultStreamLimit
	}
	if c.StreamRate == 0 {
		c.StreamRate = defaultStreamRate
	}
	if c.Grace == 0 {
		c.Grace = defaultGrace
	}
	if c.FileLimit == 0 {
		c.FileLimit = defaultFileLimit
	}
	return c
}

// Validate reports every problem of the configuration; zero fields count as their defaults. New calls it.
func (c Config) Validate() error {
	c = c.withDefaults()
	problems := []error{
		c.kafka().Check(), c.names().Validate(), c.kafkaTopics().Check(), topic.CheckOverrides(c.TopicSettings),
	}
	within := func(name string, ok bool, bounds ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(name+" must be %v to %v", bounds...))
		}
	}
	within("partitions", c.Partitions >= 0 && c.Partitions <= maxPartitions, 0, maxPartitions)
	within("slots", c.Slots >= 1 && c.Slots <= maxSlots, 1, maxSlots)
	within("progress-rate", c.ProgressRate > 0 && c.ProgressRate <= maxProgressRate, "above 0", maxProgressRate)
	within("result-limit", c.ResultLimit >= 1 && c.ResultLimit <= maxResultLimit, 1, maxResultLimit)
	within("file-limit", c.FileLimit >= 1, 1, "any size")
	within("stream-limit", c.StreamLimit >= 1 && c.StreamLimit <= maxStreamLimit, 1, maxStreamLimit)
	within("stream-rate", c.StreamRate >= minStreamRate && c.StreamRate <= maxStreamRate, minStreamRate, maxStreamRate)
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

func (c Config) kafkaTopics() kafka.Topics {
	return kafka.Topics{Mode: c.Topics, Settings: c.TopicSettings}
}

func (c Config) kafka() kafka.Config {
	return kafka.Config{Brokers: c.Brokers, Rack: c.Rack, Compression: c.Compression,
		Security: kafka.Security(c.Security), Timeouts: kafka.Timeouts(c.Timeouts)}
}
