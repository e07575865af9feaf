// Package view writes and reads the topic view: a table with the latest document of every
// job, which only the owner of a partition writes, in transactions. A tracker without local
// state restores from it; anybody else may read it like any compacted topic.
//
// A record's key is the job ID, its value the document, and a removed job is a tombstone.
// With each transaction comes a checkpoint record, which says what position of status the
// table reflects, and how many jobs with what sum it must have then.
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

// formatVersion is what this package writes.
const formatVersion = 1

// Checkpoint is the value of a checkpoint record.
type Checkpoint struct {
	V int `json:"v"`
	// Log is what the table reflects.
	Log store.Identity `json:"log"`
	// Next is the offset of the first status record that it does not reflect.
	Next int64 `json:"next"`
	// Count and Sum are what its rows must come to.
	Count int64  `json:"count"`
	Sum   uint64 `json:"sum,string"`
	// Partial is true between the transactions of a change that is too large for one: the
	// table then has some later rows, and Count and Sum say nothing.
	Partial bool `json:"partial,omitempty"`
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

// jobRecord makes a job's record; a tombstone when row is nil.
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
	if row.Subject != "" {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: topic.HeaderSubject, Value: []byte(row.Subject)})
	}
	return rec
}

var (
	errRecord = errors.New("record is not one of view's")
	errNoRow  = errors.New("record has no header " + topic.HeaderJobRow)
)

// decodeJob reads a job's record.
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

func header(rec *kgo.Record, key string) ([]byte, bool) {
	for _, h := range rec.Headers {
		if h.Key == key {
			return h.Value, true
		}
	}
	return nil, false
}
