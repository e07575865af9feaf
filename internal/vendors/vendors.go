// Package vendors makes a Kafka in memory (kfake) refuse what managed Kafkas refuse, for tests. What each vendor
// refuses is taken from its public pages and from the reports of others, which the comments name; where neither says
// what happens the worse case is assumed, and the comment says so. No vendor itself was ever asked.
package vendors

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// Vendor is a managed Kafka: what it refuses, and the flags with which Ackwire runs on it.
type Vendor struct {
	Name string // as docs/kafka.md has it

	// Flags are those that gateways, trackers and processors need, beside those that connect; Tracker are more of the
	// trackers.
	Flags, Tracker []string
	// Refused is a part of the error with which a tracker or a gateway does not start even with the flags; empty if the
	// whole system works.
	Refused string

	Brokers int // in the cluster's metadata

	Topics TopicRules
	// Versions are the highest versions of requests. A request that is not among them is not known.
	Versions *kversion.Versions
	// Coordinator is the error of who asks for the coordinator of transactions; empty if there are transactions.
	Coordinator string
	// Codecs are the compressions of batches that are taken; nil: all.
	Codecs []Codec
	// MaxRequest is the size of the largest produce request, in bytes: the connection of who sends a larger one is
	// closed. 0: no limit.
	MaxRequest int
}

// TopicRules say which topics a vendor makes, and what it tells of them.
type TopicRules struct {
	// Never says why the vendor makes no topics by CreateTopics at all; empty if it does.
	Never string
	// Settings has what CreateTopics takes, by the setting's name; nil: everything.
	Settings map[string]Bounds
	// Ignores says that other settings are ignored and not refused.
	Ignores bool
	// Refusal is the error of a topic with a setting that is not taken, and Text its message.
	Refusal *kerr.Error
	Text    func(name, value string, b Bounds) string
	// Replication is the only replication factor that is taken, beside -1 for the default; 0: any.
	Replication int16
	// Replicas is how many replicas the metadata tells of, whatever was asked for; 0: as many as Replication.
	Replicas int16
	// Defaults are settings of all topics that do not say otherwise.
	Defaults map[string]string
	// Tells are the settings that DescribeConfigs tells; nil: all.
	Tells []string
	// MaxRetention is the longest retention.ms; 0: no limit.
	MaxRetention int64
}

// Bounds are those of a setting's value, if it is a number. The zero value has none.
type Bounds struct{ Min, Max int64 }

// Codec is the compression of a batch, as its attributes have it.
type Codec int8

// Codecs.
const (
	None Codec = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

// versions returns those of a Kafka, with some requests less or in older versions; -1 stands for none.
func versions(of *kversion.Versions, change map[kmsg.Key]int16) *kversion.Versions {
	for k, v := range change {
		of.SetMaxKeyVersion(k.Int16(), v)
	}
	return of
}

// no are versions of requests that are not known.
func no(keys ...kmsg.Key) map[kmsg.Key]int16 {
	all := map[kmsg.Key]int16{}
	for _, k := range keys {
		all[k] = -1
	}
	return all
}
