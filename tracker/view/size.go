package view

import (
	"encoding/json"
	"math"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/tracker/store"
)

// defaultRecord is the largest record that a client sends and a broker takes by default
// (max.message.bytes), less the frame of the batch that it goes in.
const defaultRecord = 1_000_012 - 1024

// minBatch is below what any broker is worth asking to take.
const minBatch = 1024

// sizes is what a view has learned of how much its broker takes at once. The fold keeps
// documents below defaultRecord; what is larger was folded by an earlier version, or the topic's
// max.message.bytes is lower than the default.
type sizes struct {
	maxRecord int  // 0: defaultRecord
	maxBatch  int  // 0: what the client makes of it
	learned   bool // by the last transaction
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

// learn takes the sizes of the records that were refused for their size. One that was alone is
// too large; several were too large together.
func (s *sizes) learn(refused []int) {
	s.learned = false
	switch {
	case len(refused) == 1 && refused[0] > minBatch:
		s.maxRecord, s.learned = min(s.record()*7/8, refused[0]-1), true // in few steps
	case len(refused) > 1 && (s.maxBatch == 0 || s.maxBatch > minBatch):
		s.maxBatch, s.learned = max(min(s.batch(), defaultRecord)/2, minBatch), true
	}
}

// size is about what a record takes in a batch.
func size(rec *kgo.Record) int {
	n := len(rec.Key) + len(rec.Value) + 32
	for _, h := range rec.Headers {
		n += len(h.Key) + len(h.Value) + 8
	}
	return n
}

// stub is what readers of the table get in place of a record that is too large: the document
// without its result, or little more than its ID. No tracker restores from a view with a stub:
// the partition is then rebuilt from status. It is nil when not even that fits.
func (s *sizes) stub(rec *kgo.Record, row *store.Row) *kgo.Record {
	if row == nil {
		return nil // a tombstone, and its key alone is too large
	}
	// the version
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
