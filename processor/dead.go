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

// deadBy is the value of topic.HeaderDeadBy: the service that could not decode the record.
const deadBy = "processor"

const maxDeadDetail = 512 // bytes

// reasonFor returns why a record is not a request that this worker can read.
func reasonFor(headers []topic.Header) deadReason {
	for _, h := range headers {
		if h.Key == topic.HeaderVersion && len(h.Value) > 0 && string(h.Value) != topic.RequestVersion {
			return deadUnknownVersion
		}
	}
	return deadBadRequest
}

// writeDeadLetter writes a record to the dead letters, in a goroutine. Until that is durable the record keeps its slot,
// and its offset is not committed. A letter that is too large for the broker is written without its value, then without
// key and headers: its headers still say where the original record is.
func (p *Processor) writeDeadLetter(l *lane, part *partition, rec *kgo.Record, reason deadReason, why error) {
	letter := deadLetter(p.names.Dead(), rec, reason, why.Error())
	p.deadLetters.Go(func() {
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
				size := len(rec.Value)
				rec.Value = nil
				letter = deadLetter(p.names.Dead(), rec, reason, fmt.Sprintf("value of %d bytes left out: %v", size, why))
			case errors.Is(err, kerr.MessageTooLarge) && (rec.Key != nil || len(rec.Headers) > 0):
				rec.Key, rec.Headers = nil, nil
				letter = deadLetter(p.names.Dead(), rec, reason, fmt.Sprintf("value, key and headers left out: %v", why))
			default:
				// A new record for each try: the client may still use the former one.
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
