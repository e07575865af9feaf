package shard

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/event"
)

// decoded is a record of status, with the event that it holds.
type decoded struct {
	*kgo.Record
	event  event.Event
	reason DeadReason // why the record goes to the dead letters; with err
	err    error
}

// decodedBatch is how many records at most are handed to the shard at once: about half a millisecond's work. Between
// two batches it answers questions.
const decodedBatch = 64

// decodeAll decodes records. It runs in the goroutine that reads them from Kafka, so it uses only fields of the shard
// that never change.
func (s *Shard) decodeAll(records []*kgo.Record) []decoded {
	all := make([]decoded, len(records))
	for i, rec := range records {
		all[i].Record = rec
		if !rec.Attrs.IsControl() {
			s.decode(&all[i])
		}
	}
	return all
}

// decode reads the record's event, or why the record goes to the dead letters.
func (s *Shard) decode(d *decoded) {
	if d.Value == nil {
		d.reason, d.err = deadNoValue, errors.New("record has no value")
		return
	}
	d.event, d.err = event.Decode(d.Value)
	switch {
	case errors.Is(d.err, event.ErrVersion):
		d.reason = deadUnknownVersion
	case d.err != nil:
		d.reason = deadUndecodable
	case string(d.Key) != d.event.JobID:
		d.reason, d.err = deadKeyMismatch, errors.New("record key is not the event's jobId")
	case kafka.Partition(d.event.JobID, s.partitions) != s.partition:
		d.reason, d.err = deadWrongPartition, errors.New("record is not in its key's partition (murmur2)")
	case d.Timestamp.Year() > maxYear:
		d.reason, d.err = deadUndecodable, fmt.Errorf("record's time is after the year %d", maxYear)
	}
}
