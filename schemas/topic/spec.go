package topic

import (
	"maps"
	"strconv"
	"time"
)

// Spec describes a topic, which is created if it does not exist. Existing topics are not changed.
type Spec struct {
	Name       string            // with the prefix
	Partitions int32             // number of partitions when it is created
	Configs    map[string]string // topic settings, by Kafka's names; the broker's defaults apply to all others
}

// DefaultPartitions is the number of partitions of status, of view (which must have as many as status), of each lane's
// requests, and of control.
const DefaultPartitions = 12

// Retention times of the topics. Requests and status must be kept at least as long as the longest job lives, from its
// start to its expiry; deferred as long as the longest schedule.
const (
	logRetention      = 8 * 24 * time.Hour
	deferredRetention = 45 * 24 * time.Hour
	controlRetention  = time.Hour
	deadRetention     = 30 * 24 * time.Hour
)

// appendTime makes the broker set the timestamps of a topic's records: they are the log's clock, see package event.
// With timestamps from a machine whose clock is wrong, a broker could refuse records or remove them too early.
var appendTime = map[string]string{"message.timestamp.type": "LogAppendTime"}

func keep(d time.Duration, more map[string]string) map[string]string {
	configs := map[string]string{
		"cleanup.policy": "delete",
		"retention.ms":   strconv.FormatInt(d.Milliseconds(), 10),
	}
	maps.Copy(configs, more)
	return configs
}

// RequestsSpec describes the topic of a lane's requests. Its timestamps are the broker's too, since the tracker
// compares a request's age with the log's clock.
func (n Names) RequestsSpec(lane string, partitions int32) Spec {
	return Spec{n.Requests(lane), partitions, keep(logRetention, appendTime)}
}

// DeferredSpec describes the topic deferred.
func (n Names) DeferredSpec(partitions int32) Spec {
	return Spec{n.Deferred(), partitions, keep(deferredRetention, appendTime)}
}

// StatusSpec describes the topic status. It must never be compacted: compaction keeps the last record of a key, which
// may be the late write of a worker that no longer holds the job.
func (n Names) StatusSpec(partitions int32) Spec {
	return Spec{n.Status(), partitions, keep(logRetention, appendTime)}
}

// ViewSpec describes the topic view: the latest document of every job. Only the tracker that owns a partition writes
// it, in transactions, so it may be compacted. Tombstones are kept for a day, so that consumers of the table see
// removals. A segment is closed after an hour, since only closed segments are compacted.
func (n Names) ViewSpec(partitions int32) Spec {
	return Spec{n.View(), partitions, map[string]string{
		"cleanup.policy":            "compact",
		"delete.retention.ms":       strconv.FormatInt((24 * time.Hour).Milliseconds(), 10),
		"segment.ms":                strconv.FormatInt(time.Hour.Milliseconds(), 10),
		"min.cleanable.dirty.ratio": "0.2",
	}}
}

// ControlSpec describes the topic control.
func (n Names) ControlSpec(partitions int32) Spec {
	return Spec{n.Control(), partitions, keep(controlRetention, appendTime)}
}

// DeadSpec describes the topic dead, which has one partition.
func (n Names) DeadSpec() Spec {
	return Spec{n.Dead(), 1, keep(deadRetention, appendTime)}
}
