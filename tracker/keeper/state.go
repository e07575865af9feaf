package keeper

import (
	"container/list"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// Waker is woken when there may be more to read of a job. Wake must not block, and calls no method of the keeper.
type Waker interface{ Wake() }

// jobState is a job in the keeper's memory. Guarded by Keeper.mu.
type jobState struct {
	id    string
	facts Facts
	asked bool // facts were told at least once

	row    row  // of the run that counts
	closed bool // the row is closed: it does not change until another run counts
	// settled says that the job has ended, and all that the topic held by then was read.
	settled bool
	// endAt is the end of the topic as it was after the job had ended; below 0 while that is not known.
	endAt   int64
	whole   []keptStream // the content of a row that was closed, until the store has it
	tails   map[string]*tail
	waking  map[Waker]struct{}
	holds   int // records that wait
	dirty   bool
	leaving bool // the content is being collected, to close the row
	place   *list.Element
}

// row is what the store has of a job's streams.
type row struct {
	Dispatch int                     `json:"dispatch"`
	Run      string                  `json:"run"`
	Streams  map[string]*streamState `json:"streams"`
}

// streamState is how far one stream of the run that counts has come.
type streamState struct {
	Kind  job.StreamKind `json:"kind"`
	End   int64          `json:"end"`
	Bytes int64          `json:"bytes"` // of the values of its records
	// Gone says that what the run has written behind End is lost.
	Gone  bool  `json:"gone,omitempty"`
	Marks marks `json:"marks,omitzero"`
}

// keptStream is the whole content of one stream.
type keptStream struct {
	Name   string
	Pieces []piece
}

// isWhole reports whether all that counts of a stream was read, if the job's document tells how much that is.
func (f *Facts) isWhole(name string, s *streamState) bool {
	total, told := f.Totals[name]
	return told && (total.Total == 0 || s != nil && s.End >= total.Total)
}

// complete reports whether the job has ended, and all that its document tells of was read.
func (f *Facts) complete(r *row) bool {
	if !f.Ended || len(f.Totals) == 0 {
		return false
	}
	for name := range f.Totals {
		if !f.isWhole(name, r.Streams[name]) {
			return false
		}
	}
	return true
}

// rowFormat is the first byte of a row: then the length of its JSON, the JSON, and the values of the content.
const rowFormat = 1

var errRow = errors.New("a row of streams is not of this format")

// storedRow is the JSON of a row.
type storedRow struct {
	row
	Kept []storedStream `json:"kept,omitempty"`
}

// storedStream has the lengths of the pieces whose values follow the JSON: in positions and in bytes.
type storedStream struct {
	Name    string     `json:"name"`
	Lengths [][2]int64 `json:"lengths"`
}

// encodeRow encodes a row, with the content of its streams if that is kept.
func encodeRow(r row, whole []keptStream) ([]byte, error) {
	head := storedRow{row: r}
	for _, s := range whole {
		lengths := make([][2]int64, len(s.Pieces))
		for i, p := range s.Pieces {
			lengths[i] = [2]int64{p.To - p.From, int64(len(p.Value))}
		}
		head.Kept = append(head.Kept, storedStream{s.Name, lengths})
	}
	intro, err := plainjson.Marshal(head)
	if err != nil {
		return nil, err
	}
	b := append(binary.AppendUvarint([]byte{rowFormat}, uint64(len(intro))), intro...)
	for _, s := range whole {
		for _, p := range s.Pieces {
			b = append(b, p.Value...)
		}
	}
	return b, nil
}

// decodeRow decodes a row. The content shares its memory.
func decodeRow(b []byte) (r row, whole []keptStream, err error) {
	if len(b) == 0 || b[0] != rowFormat {
		return r, nil, errRow
	}
	b = b[1:]
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return r, nil, errRow
	}
	var head storedRow
	if err := json.Unmarshal(b[size:size+int(n)], &head); err != nil {
		return r, nil, fmt.Errorf("%w: %w", errRow, err)
	}
	b = b[size+int(n):]
	for name, s := range head.Streams {
		if s == nil || !s.Kind.Valid() || !job.ValidStream(name) {
			return r, nil, errRow
		}
	}
	for _, s := range head.Kept {
		kept := keptStream{Name: s.Name}
		at := int64(0)
		for _, l := range s.Lengths {
			if l[0] <= 0 || l[1] <= 0 || l[1] > int64(len(b)) {
				return r, nil, errRow
			}
			kept.Pieces = append(kept.Pieces, piece{at, at + l[0], b[:l[1]:l[1]]})
			at += l[0]
			b = b[l[1]:]
		}
		whole = append(whole, kept)
	}
	return head.row, whole, nil
}
