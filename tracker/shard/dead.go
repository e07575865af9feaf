package shard

import (
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/topic"
)

// deadLetter is the record for the topic dead: the original one and the reason.
func deadLetter(names topic.Names, rec *kgo.Record, reason string, cause error) *kgo.Record {
	add := func(key, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: key, Value: []byte(value)} }
	return &kgo.Record{
		Topic: names.Dead(),
		Key:   rec.Key,
		Value: rec.Value,
		Headers: append(slices.Clip(rec.Headers),
			add(topic.HeaderDeadReason, reason),
			add(topic.HeaderDeadDetail, cause.Error()),
			add(topic.HeaderDeadTopic, rec.Topic),
			add(topic.HeaderDeadPartition, strconv.Itoa(int(rec.Partition))),
			add(topic.HeaderDeadOffset, strconv.FormatInt(rec.Offset, 10)),
			add(topic.HeaderDeadBy, "tracker"),
		),
	}
}
