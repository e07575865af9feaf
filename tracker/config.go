package tracker

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ackwire/ackwire/blobs"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/peers"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/schemas/topic"
)

// Config is the configuration of a tracker.
type Config struct {
	Kafka       kafka.Config      `embed:""`
	Topics      kafka.Topics      `embed:""`
	TopicPrefix string            `help:"Prefix of all topics and consumer groups." default:"ackwire."`
	Partitions  int32             `help:"Number of partitions of topics that this process makes. All processes must have the same number: existing topics are compared with it, status and view exactly, while those of requests may have more." default:"12"`
	Data        string            `help:"Folder of the local state; it can be rebuilt from the log." default:"data/tracker"`
	Blobs       service.BlobStore `embed:""`
	Internal    peers.Config      `embed:""`

	Settings `embed:""`

	// BrokerTimes says that the broker sets the times of all records, though these do not say so: the embedded
	// broker cannot mark them.
	BrokerTimes bool `kong:"-"`
	// FS is the file system that holds Data; nil means the operating system's. Simulations pass one in
	// memory.
	FS vfs.FS `kong:"-"`
}

// Settings are the settings of a tracker only, apart from those that it shares with other services of
// the same process.
type Settings struct {
	Listen    string `name:"tracker-listen" help:"Address of the tracker's API." default:"127.0.0.1:8090"`
	Advertise string `name:"tracker-advertise" help:"host:port at which gateways reach this tracker; by default tracker-listen." placeholder:"HOST:PORT"`

	NoView  bool `name:"tracker-no-view" help:"Do not write the topic view, as on a Kafka without transactions: the data folder is then the only copy of jobs whose events the topic status no longer has."`
	MinFree int  `name:"tracker-min-free" help:"Free space to keep on the disk, in MiB: with less, the tracker is not ready and writes nothing until there is room again. 0 turns the check off." default:"256"`

	SessionTimeout time.Duration `name:"tracker-session-timeout" help:"Other trackers take over from one that has sent no heartbeat to Kafka for this long. By default kafka-session-timeout, which is 10s unless kafka-profile or that flag says otherwise." placeholder:"DURATION"`
}

// Validate joins all problems of the configuration.
func (c Config) Validate() error {
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	problems = append(problems, c.Kafka.Check(), topic.Names{Prefix: c.TopicPrefix}.Validate(),
		c.Topics.Check(), topic.CheckOverrides(c.Topics.Settings))
	if c.Partitions < 1 || c.Partitions > 10_000 {
		problem("partitions must be between 1 and 10000, not %d", c.Partitions)
	}
	if host, _, err := net.SplitHostPort(c.Listen); err != nil {
		problem("tracker-listen: %w", err)
	} else if ip := net.ParseIP(host); c.Advertise == "" && (host == "" || ip != nil && ip.IsUnspecified()) {
		problem("tracker-advertise must be set when tracker-listen %q means all addresses: gateways connect to the "+
			"address that is advertised", c.Listen)
	}
	if c.Advertise != "" {
		if host, port, err := net.SplitHostPort(c.Advertise); err != nil || host == "" || port == "" || port == "0" {
			problem("tracker-advertise must be host:port, not %q", c.Advertise)
		}
	}
	problems = append(problems, c.Internal.Validate())
	if host, _, err := net.SplitHostPort(c.Listen); err == nil && !service.Loopback(host) && !c.Internal.Authenticates() &&
		!c.Internal.Insecure {
		problem("tracker-listen %s can be reached from other machines, and anyone who reaches it can read and change the "+
			"jobs of all tenants: set internal-key-file, or internal-tls-cert, internal-tls-key and internal-tls-ca, here and "+
			"at the gateways; or accept that with insecure-internal", c.Listen)
	}
	if c.Data == "" {
		problem("data must name a folder")
	}
	if c.MinFree < 0 || c.MinFree > 1<<20 {
		problem("tracker-min-free must be between 0 and 1048576 MiB, not %d", c.MinFree)
	}
	if c.Blobs.URL != "" {
		problems = append(problems, blobs.CheckURL(c.Blobs.URL))
	}
	if s := c.sessionTimeout(); s < 6*time.Second || s > 5*time.Minute {
		problem("tracker-session-timeout must be between 6s and 5m (the broker's bounds), not %s", s)
	} else if bounds := c.Kafka.Bounds(); s <= bounds.Ask {
		problem("tracker-session-timeout (%s) must be more than twice kafka-request-timeout (%s, kafka-profile=%s), or "+
			"trackers are taken for dead while they wait for an answer", s, bounds.Request, c.Kafka.Timeouts.Profile)
	}
	return errors.Join(problems...)
}

// sessionTimeout returns after which time without a heartbeat others take over from a tracker.
func (c Config) sessionTimeout() time.Duration {
	if c.SessionTimeout != 0 {
		return c.SessionTimeout
	}
	return c.Kafka.Bounds().Session
}

// hosts returns the host names by which gateways reach the tracker.
func (c Config) hosts() (names []string) {
	for _, address := range []string{c.Listen, c.Advertise} {
		if host, _, err := net.SplitHostPort(address); err == nil && host != "" {
			names = append(names, host)
		}
	}
	return names
}
