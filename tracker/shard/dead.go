package shard

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/text"
	"github.com/ackwire/ackwire/schemas/topic"
)

const maxDeadDetail = 512 // bytes

// bury copies a record that nobody can use to the dead letters. With the headers that say why
// it may be larger than what a broker takes: then first its value, and then its own headers and
// key are left out. Its place says where they are.
func (s *sender) bury(rec *kgo.Record, reason DeadReason, cause error) {
	s.metrics.dead.WithLabelValues(string(reason)).Inc()
	detail := text.Clip(cause.Error(), maxDeadDetail)
	s.log.Warn("record goes to the dead letters", "offset", rec.Offset, "reason", reason, "err", detail)
	var try func(letters []*kgo.Record)
	try = func(letters []*kgo.Record) {
		s.kafka.Produce(letters[0], func(err error) {
			if errors.Is(err, kerr.MessageTooLarge) && len(letters) > 1 {
				try(letters[1:])
				return
			}
			if err != nil {
				s.log.Error("dead letter not written", "offset", rec.Offset, "err", err)
			}
		})
	}
	without := *rec
	without.Value = nil
	bare := without
	bare.Key, bare.Headers = nil, nil
	leftOut := fmt.Sprintf("value of %d bytes left out: %s", len(rec.Value), detail)
	try([]*kgo.Record{
		deadLetter(s.names, rec, string(reason), detail),
		deadLetter(s.names, &without, string(reason), leftOut),
		deadLetter(s.names, &bare, string(reason), leftOut),
	})
}

// deadLetter is the record for the topic dead: the original one and the reason.
func deadLetter(names topic.Names, rec *kgo.Record, reason, detail string) *kgo.Record {
	add := func(key, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: key, Value: []byte(value)} }
	return &kgo.Record{
		Topic: names.Dead(),
		Key:   rec.Key,
		Value: rec.Value,
		Headers: append(slices.Clip(rec.Headers),
			add(topic.HeaderDeadReason, reason),
			add(topic.HeaderDeadDetail, detail),
			add(topic.HeaderDeadTopic, rec.Topic),
			add(topic.HeaderDeadPartition, strconv.Itoa(int(rec.Partition))),
			add(topic.HeaderDeadOffset, strconv.FormatInt(rec.Offset, 10)),
			add(topic.HeaderDeadBy, "tracker"),
		),
	}
}
