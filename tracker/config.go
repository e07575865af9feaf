// Package tracker is the service that knows the truth about every job: it folds the topic
// status, keeps timers, and answers gateways. See DESIGN.md.
package tracker

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ackwire/ackwire/blobs"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/schemas/topic"
)

// Config is what a tracker needs to know.
type Config struct {
	Kafka       kafka.Config      `embed:""`
	TopicPrefix string            `help:"Prefix of all topics and consumer groups." default:"ackwire."`
	Partitions  int32             `help:"Partitions of topics that do not exist yet." default:"12"`
	Data        string            `help:"Folder of the local state; it can be rebuilt from the log." default:"data/tracker"`
	Blobs       service.BlobStore `embed:""`

	Settings `embed:""`

	// FS is where Data lies; nil is the operating system's. Simulations hand in their own.
	FS vfs.FS `kong:"-"`
}

// Settings are what only a tracker needs to know, also one that runs in a process with other services.
type Settings struct {
	Listen    string `name:"tracker-listen" help:"Address of the tracker's API." default:"127.0.0.1:8090"`
	Advertise string `name:"tracker-advertise" help:"host:port at which gateways reach this tracker; by default the address it listens at." placeholder:"HOST:PORT"`

	NoView  bool `name:"tracker-no-view" help:"Do not keep the topic view: the local store is then the only copy of what status no longer holds."`
	MinFree int  `name:"tracker-min-free" help:"MiB of the disk that stay free: with less, the tracker is not ready and writes nothing until there is room again. 0 does not look." default:"256"`

	SessionTimeout time.Duration `name:"tracker-session-timeout" help:"After this long without a sign of life another tracker takes over." default:"10s"`
}

// Validate joins all problems of the configuration.
func (c Config) Validate() error {
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	problems = append(problems, c.Kafka.Check(), topic.Names{Prefix: c.TopicPrefix}.Validate())
	if c.Partitions < 1 || c.Partitions > 10_000 {
		problem("partitions must be between 1 and 10000, not %d", c.Partitions)
	}
	if host, _, err := net.SplitHostPort(c.Listen); err != nil {
		problem("tracker-listen: %w", err)
	} else if ip := net.ParseIP(host); c.Advertise == "" && (host == "" || ip != nil && ip.IsUnspecified()) {
		problem("tracker-advertise must be set when tracker-listen %q is all addresses: gateways are told where to find "+
			"this tracker", c.Listen)
	}
	if c.Advertise != "" {
		if host, port, err := net.SplitHostPort(c.Advertise); err != nil || host == "" || port == "" || port == "0" {
			problem("tracker-advertise must be host:port, not %q", c.Advertise)
		}
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
	if c.SessionTimeout < 6*time.Second || c.SessionTimeout > 5*time.Minute {
		problem("tracker-session-timeout must be between 6s and 5m (the broker's bounds), not %s", c.SessionTimeout)
	}
	return errors.Join(problems...)
}
