package topic

import (
	"maps"
	"strconv"
	"time"
)

// Spec is how a topic is made when it does not exist. Existing topics are left as they are.
type Spec struct {
	Name       string            // with the prefix
	Partitions int32             // how many it is made with
	Configs    map[string]string // the topic's settings by Kafka's names; what is not there is the broker's
}

// DefaultPartitions is the partition count of status (and view, which must have the
// same), of each lane's requests and of control.
const DefaultPartitions = 12

// How long the log is kept. Requests and status must be kept at least as long as the
// longest job lives from its start to its expiry, deferred as long as the longest schedule.
const (
	logRetention      = 8 * 24 * time.Hour
	deferredRetention = 45 * 24 * time.Hour
	controlRetention  = time.Hour
	deadRetention     = 30 * 24 * time.Hour
)

// The broker's clock is the log's clock: see package event. Where records of other topics come
// from machines whose clocks are wrong, brokers would refuse them, or remove them too early.
var appendTime = map[string]string{"message.timestamp.type": "LogAppendTime"}

func keep(d time.Duration, more map[string]string) map[string]string {
	configs := map[string]string{
		"cleanup.policy": "delete",
		"retention.ms":   strconv.FormatInt(d.Milliseconds(), 10),
	}
	maps.Copy(configs, more)
	return configs
}

// RequestsSpec is the topic of a lane's requests. How old a request is, and for how long it is
// kept, is the log's to say, too.
func (n Names) RequestsSpec(lane string, partitions int32) Spec {
	return Spec{n.Requests(lane), partitions, keep(logRetention, appendTime)}
}

// DeferredSpec is the topic deferred.
func (n Names) DeferredSpec(partitions int32) Spec {
	return Spec{n.Deferred(), partitions, keep(deferredRetention, appendTime)}
}

// StatusSpec is the topic status. It must never be compacted: compaction keeps the last
// record, not the right one, so a zombie's late write would win.
func (n Names) StatusSpec(partitions int32) Spec {
	return Spec{n.Status(), partitions, keep(logRetention, appendTime)}
}

// ViewSpec is the topic view: the latest document of every job. Only the tracker that owns
// a partition writes it, in transactions, so it may be compacted. Tombstones stay a day, for
// those who follow the table; a segment is closed after an hour, so that a quiet one is
// compacted, too.
func (n Names) ViewSpec(partitions int32) Spec {
	return Spec{n.View(), partitions, map[string]string{
		"cleanup.policy":            "compact",
		"delete.retention.ms":       strconv.FormatInt((24 * time.Hour).Milliseconds(), 10),
		"segment.ms":                strconv.FormatInt(time.Hour.Milliseconds(), 10),
		"min.cleanable.dirty.ratio": "0.2",
	}}
}

// ControlSpec is the topic control.
func (n Names) ControlSpec(partitions int32) Spec {
	return Spec{n.Control(), partitions, keep(controlRetention, appendTime)}
}

// DeadSpec is the topic dead.
func (n Names) DeadSpec() Spec {
	return Spec{n.Dead(), 1, keep(deadRetention, appendTime)}
}
