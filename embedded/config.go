package embedded

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ackwire/ackwire/embedded/internal/serve"
	"github.com/ackwire/ackwire/internal/command"
)

// Config is how Ackwire runs within a program. A field that is zero has its default, so that a
// program sets only what it needs.
type Config struct {
	// Data is the folder of all that is kept: the broker's log, the tracker's state, blobs, and the
	// key that tokens are signed with (Key). It is made if need be, for its owner only; one process
	// at a time may use it. Default "data".
	Data string
	// Listen is the address at which clients reach Ackwire; port 0 is one that is free. On loopback a
	// client without a token is let in, as tenant AnonymousTenant. Default 127.0.0.1:8080.
	Listen string
	// OpsListen is the address of /metrics, /healthz, /readyz, /startupz and /debug/pprof. Default: a
	// free port of 127.0.0.1 (Server.OpsAddr).
	OpsListen string
	// KafkaListen is the address of the embedded broker, which workers dial. Default: a free port of
	// 127.0.0.1 (Server.KafkaAddr); workers in other processes need one that stays.
	KafkaListen string
	// TrackerListen is the address of the tracker, which gateways dial: this process's own and, with
	// Brokers, those of others. Default: a free port of 127.0.0.1.
	TrackerListen string
	// Brokers are the addresses, host:port, of some brokers of a Kafka, in place of the embedded
	// broker. Default: none.
	Brokers []string
	// Sync has the embedded broker flush every write to the disk before it is acknowledged. Without
	// it the log survives a crash of the process, and power loss it may not.
	Sync bool
	// TopicPrefix starts the name of every topic and group. Default "ackwire.".
	TopicPrefix string
	// Partitions is the partition count of topics that this process has to create. It cannot be
	// changed later. Default 12.
	Partitions int32
	// JobTypes is the YAML file of job types. Default: those of schemas/jobtypes/default.yaml, which
	// are for trying. Workers of your own check results by its schemas with processor.WithResultCheck.
	JobTypes string
	// NoProcessor runs no worker in this process. Without it one delivers webhooks and runs the job
	// types that are for trying, and leaves a lane to other workers while there are any.
	NoProcessor bool

	// Settings are all others, each written NAME=VALUE, with the names, values and defaults that the
	// command `ackwire serve` has (docs/configure.md):
	//
	//	Settings: []string{"jwks-url=https://id.example/keys", "tenant-jobs=1000", "allowed-origins=shop.example"}
	//
	// Values are as on the command line: durations as in 90s, switches true or false, lists with
	// commas. A list's setting may be repeated, which adds to it; of any other the last one holds.
	// Neither the environment nor a file is read. A setting that has a field here may be given
	// in either place, not in both. Those of logs and traces are options: WithLogger, WithTracerProvider.
	Settings []string
}

// anyPort is the address of a listener that only this process, or who asks it, needs to find.
const anyPort = "127.0.0.1:0"

// optionOf tells which option takes the place of a setting of the command.
var optionOf = map[string]string{
	"log-level": "WithLogger", "log-format": "WithLogger",
	"trace-endpoint": "WithTracerProvider", "trace-ratio": "WithTracerProvider",
}

// settings are the command's that say the same. The error joins all problems of Config.Settings.
func (c Config) settings() (serve.Settings, error) {
	s := serve.DefaultSettings()
	s.Broker.Listen, s.OpsListen, s.Tracker.Listen = anyPort, anyPort, anyPort
	given := map[string]bool{} // settings that have a field which is set
	text := func(name, value string, to *string) {
		if value != "" {
			*to, given[name] = value, true
		}
	}
	text("data", c.Data, &s.Broker.Data)
	text("listen", c.Listen, &s.Gateway.Listen)
	text("ops-listen", c.OpsListen, &s.OpsListen)
	text("kafka-listen", c.KafkaListen, &s.Broker.Listen)
	text("tracker-listen", c.TrackerListen, &s.Tracker.Listen)
	text("topic-prefix", c.TopicPrefix, &s.Gateway.TopicPrefix)
	text("job-types", c.JobTypes, &s.Gateway.JobTypes)
	if c.Partitions != 0 {
		s.Gateway.Partitions, given["partitions"] = c.Partitions, true
	}
	if len(c.Brokers) > 0 {
		s.Gateway.Kafka.Brokers, given["kafka"] = slices.Clone(c.Brokers), true
	}
	s.Broker.Sync, given["kafka-sync"] = c.Sync, c.Sync
	s.NoProcessor, given["no-processor"] = c.NoProcessor, c.NoProcessor

	var problems []error
	others := make([]string, 0, len(c.Settings))
	for _, setting := range c.Settings {
		name, _, _ := strings.Cut(setting, "=")
		switch {
		case given[name]:
			problems = append(problems, fmt.Errorf("setting %s is given by a field of Config, too", name))
		case optionOf[name] != "":
			problems = append(problems, fmt.Errorf("setting %s is the command's only: use %s", name, optionOf[name]))
		default:
			others = append(others, setting)
		}
	}
	problems = append(problems, command.Set(&s, others))
	return s, errors.Join(problems...)
}

// Validate reports every problem of the configuration, with the defaults filled in. Start calls it.
func (c Config) Validate() error {
	s, err := c.settings()
	return errors.Join(err, s.Validate())
}
