package view

import (
	"encoding/json"
	"math"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/tracker/store"
)

// defaultRecord is the size of the largest record that clients send and brokers take by default
// (max.message.bytes), less the header of its batch.
const defaultRecord = 1_000_012 - 1024

// minBatch is the smallest batch that is tried; every broker takes it.
const minBatch = 1024

// sizes holds the largest record and batch that the view's broker has been found to take. The fold keeps
// documents below defaultRecord. A document is too large only when an earlier version folded it, or when
// the topic's max.message.bytes is below the default.
type sizes struct {
	maxRecord int  // 0 means defaultRecord
	maxBatch  int  // 0 leaves it to the client
	learned   bool // the last transaction has lowered one of them, so another try may succeed
}

func (s *sizes) record() int {
	if s.maxRecord == 0 {
		return defaultRecord
	}
	return s.maxRecord
}

func (s *sizes) batch() int {
	if s.maxBatch == 0 {
		return math.MaxInt
	}
	return s.maxBatch
}

// learn lowers the bounds. refused are the sizes of the records that the broker refused because of their
// size: one alone is too large itself, several were too large as a batch.
func (s *sizes) learn(refused []int) {
	s.learned = false
	switch {
	case len(refused) == 1 && refused[0] > minBatch:
		s.maxRecord, s.learned = min(s.record()*7/8, refused[0]-1), true // by an eighth at least, to need few steps
	case len(refused) > 1 && (s.maxBatch == 0 || s.maxBatch > minBatch):
		s.maxBatch, s.learned = max(min(s.batch(), defaultRecord)/2, minBatch), true
	}
}

// size returns about how many bytes a record takes in a batch.
func size(rec *kgo.Record) int {
	n := len(rec.Key) + len(rec.Value) + 32
	for _, h := range rec.Headers {
		n += len(h.Key) + len(h.Value) + 8
	}
	return n
}

// stub returns a smaller record to write in place of one that is too large: the document without its
// result, or an empty document; nil when not even that fits. It has no row, so no tracker restores from a
// view with a stub: the partition is rebuilt from status instead.
func (s *sizes) stub(rec *kgo.Record, row *store.Row) *kgo.Record {
	if row == nil {
		return nil // a tombstone whose key alone is too large
	}
	// Of the headers only the first is kept, the version.
	stub := &kgo.Record{Topic: rec.Topic, Partition: rec.Partition, Key: rec.Key, Headers: rec.Headers[:1:1]}
	var doc job.Document
	if json.Unmarshal(row.Doc, &doc) == nil {
		doc.Result = nil
		if b, err := plainjson.Marshal(&doc); err == nil {
			stub.Value = b
		}
	}
	if stub.Value == nil || size(stub) > s.record() {
		stub.Value = []byte("{}")
	}
	if size(stub) > s.record() {
		return nil
	}
	return stub
}
