package view

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker/store"
)

// formatVersion is the version of the format that this package writes and reads.
const formatVersion = 1

// Checkpoint is the value of a checkpoint record.
type Checkpoint struct {
	V int `json:"v"`
	// Log is the log from which the table was folded.
	Log store.Identity `json:"log"`
	// Next is the offset of the first status record that the table does not reflect.
	Next int64 `json:"next"`
	// Count and Sum are the number of rows and the sum of their hashes.
	Count int64  `json:"count"`
	Sum   uint64 `json:"sum,string"`
	// Partial is true while a change that is too large for one transaction is written in several:
	// the table then has some later rows, and Count and Sum are not set.
	Partial bool `json:"partial,omitempty"`
	// ClosedAt is store.Totals.ClosedAt.
	ClosedAt int64 `json:"closedAt,omitempty"`
	// At is when it was written.
	At time.Time `json:"at"`
}

// owner is the value of an owner record.
type owner struct {
	V       int       `json:"v"`
	Address string    `json:"address"`
	Nonce   string    `json:"nonce"`
	At      time.Time `json:"at"`
}

// special returns a record that is not a job's: a checkpoint or an owner record.
func special(topicName string, p int32, kind string, value any) (*kgo.Record, error) {
	b, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	return &kgo.Record{
		Topic: topicName, Partition: p, Key: []byte(kind + "/" + strconv.Itoa(int(p))), Value: b,
		Headers: []kgo.RecordHeader{{Key: topic.HeaderViewKind, Value: []byte(kind)}},
	}, nil
}

// jobRecord returns a job's record; a tombstone when row is nil. The record of an erased job is marked, and a tombstone
// is to be written before it.
func jobRecord(topicName string, p int32, id string, row *store.Row) *kgo.Record {
	rec := &kgo.Record{Topic: topicName, Partition: p, Key: []byte(id)}
	if row == nil {
		return rec
	}
	opaque := store.AppendMeta(nil, row.Meta)
	rec.Value = row.Doc
	rec.Headers = []kgo.RecordHeader{
		{Key: topic.HeaderJobVersion, Value: strconv.AppendInt(nil, row.Version, 10)},
		{Key: topic.HeaderTenant, Value: []byte(row.Tenant)},
		{Key: topic.HeaderLane, Value: []byte(row.Lane)},
		{Key: topic.HeaderJobRow, Value: append(binary.AppendUvarint(opaque, uint64(len(row.Inner))), row.Inner...)},
	}
	if row.Erased() {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: topic.HeaderViewKind, Value: []byte(topic.ViewErased)})
	}
	if row.Subject != "" {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: topic.HeaderSubject, Value: []byte(row.Subject)})
	}
	return rec
}

var (
	errRecord = errors.New("record is not one of view's")
	errNoRow  = errors.New("record has no header " + topic.HeaderJobRow)
)

// decodeJob decodes a job's record. The error is errNoRow when it lacks the header with the row.
func decodeJob(rec *kgo.Record) (store.Load, error) {
	load := store.Load{ID: string(rec.Key)}
	if rec.Value == nil {
		return load, nil
	}
	opaque, ok := header(rec, topic.HeaderJobRow)
	if !ok {
		return load, errNoRow
	}
	m, rest, err := store.CutMeta(opaque)
	if err != nil {
		return load, fmt.Errorf("offset %d: %w", rec.Offset, err)
	}
	n, size := binary.Uvarint(rest)
	if size <= 0 || n != uint64(len(rest)-size) {
		return load, fmt.Errorf("%w: offset %d", errRecord, rec.Offset)
	}
	load.Row = &store.Row{Meta: m, ID: load.ID, Doc: rec.Value, Inner: rest[size:]}
	return load, nil
}

// specialKind returns the kind of a record that is not a job's. A marker of an erased job is decoded like a job.
func specialKind(rec *kgo.Record) (kind string, special bool) {
	value, ok := header(rec, topic.HeaderViewKind)
	kind = string(value)
	return kind, ok && kind != topic.ViewErased
}

func header(rec *kgo.Record, key string) ([]byte, bool) {
	for _, h := range rec.Headers {
		if h.Key == key {
			return h.Value, true
		}
	}
	return nil, false
}
