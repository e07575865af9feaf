package cli

import (
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/ackwire/ackwire/internal/kafka"
)

// EitherFlags are the flags of commands that ask a gateway, or with a setting of Kafka's read and write Kafka itself.
type EitherFlags struct {
	Flags       `embed:""`
	Kafka       kafka.Config `embed:""`
	TopicPrefix string       `help:"Prefix of all topics." default:"ackwire."`

	// direct says that Kafka is asked and no gateway.
	direct bool
}

// eitherHelp explains whom such a command asks.
const eitherHelp = "It asks the gateway at --url, with a token that has the permission operate. With a setting of " +
	"Kafka's (--kafka, any other --kafka-..., or --topic-prefix; as a flag, a variable or in the file of --config) and " +
	"neither --url nor --token on the command line it connects to Kafka instead, which works while no gateway does. "

// AfterApply decides whom to ask. The flag parser calls it.
func (f *EitherFlags) AfterApply(parsed *kong.Context) error {
	var gateway, broker bool // named on the command line
	for _, p := range parsed.Path {
		if p.Flag != nil && !p.Resolved {
			gateway = gateway || ofGateway(p.Flag)
			broker = broker || ofKafka(p.Flag)
		}
	}
	switch {
	case gateway && broker:
		return errors.New("name a gateway by --url and --token, or Kafka by its settings, not both")
	case !gateway:
		f.direct = broker || slices.ContainsFunc(parsed.Flags(), func(flag *kong.Flag) bool {
			return ofKafka(flag) && configured(parsed, flag)
		})
	}
	if f.direct {
		return f.Kafka.Check()
	}
	return nil
}

func ofGateway(flag *kong.Flag) bool { return flag.Name == "url" || flag.Name == "token" }

func ofKafka(flag *kong.Flag) bool {
	return flag.Name == "kafka" || strings.HasPrefix(flag.Name, "kafka-") || flag.Name == "topic-prefix"
}

// configured reports whether a variable or a configuration file sets the flag.
func configured(parsed *kong.Context, flag *kong.Flag) bool {
	for _, p := range parsed.Path {
		if p.Flag == flag && p.Resolved {
			return true
		}
	}
	return slices.ContainsFunc(flag.Tag.Envs, func(name string) bool { return os.Getenv(name) != "" })
}

// kafka returns the flags for Kafka.
func (f *EitherFlags) kafka() *KafkaFlags {
	return &KafkaFlags{Kafka: f.Kafka, TopicPrefix: f.TopicPrefix, JSON: f.JSON}
}
