package processor

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/text"
	"github.com/ackwire/ackwire/schemas/topic"
)

// deadBy is who met a record that nobody can decode: the value of topic.HeaderDeadBy.
const deadBy = "processor"

const maxDeadDetail = 512 // bytes

// reasonFor says why a record is not a request this worker knows.
func reasonFor(headers []topic.Header) deadReason {
	for _, h := range headers {
		if h.Key == topic.HeaderVersion && len(h.Value) > 0 && string(h.Value) != topic.RequestVersion {
			return deadUnknownVersion
		}
	}
	return deadBadRequest
}

// bury puts a record among the dead letters. The record keeps its slot, and its offset does
// not move on, until that is durable.
func (p *Processor) bury(l *lane, part *partition, rec *kgo.Record, reason deadReason, why error) {
	letter := deadLetter(p.names.Dead(), rec, reason, why.Error())
	p.burials.Go(func() {
		defer l.free()
		for {
			err := kafka.ProduceSync(p.produceCtx, p.client, letter)
			p.noteProduce(deadLetterLabel, err)
			switch {
			case err == nil:
				p.metrics.deadLetters.WithLabelValues(string(reason)).Inc()
				l.log.Error("record is not a request", "topic", rec.Topic, "partition", rec.Partition,
					"offset", rec.Offset, "reason", string(reason), "err", why)
				l.mark(part, rec.Offset)
				return
			case errors.Is(err, kerr.MessageTooLarge) && rec.Value != nil:
				// With the headers added it does not fit. Its place says where the value is.
				size := len(rec.Value)
				rec.Value = nil
				letter = deadLetter(p.names.Dead(), rec, reason, fmt.Sprintf("value of %d bytes left out: %v", size, why))
			case errors.Is(err, kerr.MessageTooLarge) && (rec.Key != nil || len(rec.Headers) > 0):
				rec.Key, rec.Headers = nil, nil
				letter = deadLetter(p.names.Dead(), rec, reason, fmt.Sprintf("value, key and headers left out: %v", why))
			default:
				// A record is not used twice: the client may still hold the former one.
				letter = deadLetter(p.names.Dead(), rec, reason, why.Error())
			}
			if !pause.For(p.produceCtx, retryPause) {
				return
			}
		}
	})
}

func deadLetter(name string, rec *kgo.Record, reason deadReason, detail string) *kgo.Record {
	letter := &kgo.Record{Topic: name, Key: rec.Key, Value: rec.Value}
	letter.Headers = append(letter.Headers, rec.Headers...)
	add := func(key, value string) {
		letter.Headers = append(letter.Headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
	}
	add(topic.HeaderDeadReason, string(reason))
	add(topic.HeaderDeadDetail, text.Clip(detail, maxDeadDetail))
	add(topic.HeaderDeadTopic, rec.Topic)
	add(topic.HeaderDeadPartition, strconv.Itoa(int(rec.Partition)))
	add(topic.HeaderDeadOffset, strconv.FormatInt(rec.Offset, 10))
	add(topic.HeaderDeadBy, deadBy)
	return letter
}
