package embedded

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ackwire/ackwire/embedded/internal/serve"
	"github.com/ackwire/ackwire/internal/command"
)

// Config is the configuration of an Ackwire that runs within a program. A field that is zero has its
// default, so that a program sets only what it needs.
type Config struct {
	// Data is the folder of all data: the broker's log, the tracker's state, blobs, and the key that
	// signs tokens (Key). It is created if it is missing, readable by its owner only; only one
	// process at a time may use it. Default "data".
	Data string
	// Listen is the address, host:port, at which clients reach Ackwire; port 0 means a free port. On a
	// loopback address clients without a token are accepted, as tenant AnonymousTenant, unless the setting
	// no-anonymous is given. Default 127.0.0.1:8080.
	Listen string
	// OpsListen is the address of /metrics, /healthz, /readyz and /startupz, and of /debug/pprof with the
	// setting debug-endpoints. Default: a free port of 127.0.0.1 (Server.OpsAddr).
	OpsListen string
	// KafkaListen is the address of the embedded broker, to which workers connect. Default: a free port
	// of 127.0.0.1 (Server.KafkaAddr); workers in other processes need a fixed one.
	KafkaListen string
	// TrackerListen is the address of the tracker, to which gateways connect: this process's own and,
	// with Brokers, those of other processes. Default: a free port of 127.0.0.1.
	TrackerListen string
	// Brokers are the bootstrap addresses, host:port, of a Kafka to use instead of the embedded
	// broker. Default: none.
	Brokers []string
	// Sync makes the embedded broker sync every write to the disk before it is acknowledged. Without
	// it the log survives a crash of the process, but may lose records at a power loss.
	Sync bool
	// TopicPrefix starts the name of every topic and group. Default "ackwire.".
	TopicPrefix string
	// Partitions is the number of partitions of topics. It cannot be changed later. Workers in other processes that
	// set processor.Config.Partitions must have the same. Default 12.
	Partitions int32
	// JobTypes is the YAML file of job types. Default: the demo types of schemas/jobtypes/default.yaml.
	// Your own workers check results by its schemas with processor.WithResultCheck.
	JobTypes string
	// NoProcessor runs no worker in this process. By default one delivers webhooks and runs the demo
	// types; it leaves a lane to other workers while there are any.
	NoProcessor bool

	// Settings are all other settings, each written NAME=VALUE, with the names, values and defaults of
	// the command `ackwire serve` (docs/configure.md):
	//
	//	Settings: []string{"jwks-url=https://id.example/keys", "tenant-jobs=1000", "allowed-origins=shop.example"}
	//
	// Values are written as on the command line: durations such as 90s, switches as true or false, lists
	// with commas. Repeating the setting of a list adds to it; of any other setting the last value
	// counts. Neither the environment nor a file is read. A setting that has a field in Config may be
	// given by the field or here, not by both. Logs and traces are set by the options WithLogger and
	// WithTracerProvider.
	Settings []string
}

// anyPort is the default address of listeners whose address a program can ask for.
const anyPort = "127.0.0.1:0"

// optionOf names the option that takes the place of a setting of the command.
var optionOf = map[string]string{
	"log-level": "WithLogger", "log-format": "WithLogger",
	"trace-endpoint": "WithTracerProvider", "trace-ratio": "WithTracerProvider",
}

// settings returns the command's settings for the configuration. The error joins all problems of Config.Settings.
func (c Config) settings() (serve.Settings, error) {
	s := serve.DefaultSettings()
	s.Broker.Listen, s.OpsListen, s.Tracker.Listen = anyPort, anyPort, anyPort
	given := map[string]bool{} // settings whose field is set
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

// Validate returns an error that joins all problems of the configuration, after defaults are filled in. Start calls it.
func (c Config) Validate() error {
	s, err := c.settings()
	return errors.Join(err, s.Validate())
}
