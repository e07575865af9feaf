package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// The keeper of a partition has a row for each job whose streams it knows: an open one while more may come, and a
// closed one afterwards. Rows and the keeper's position in the topic streams are written in one batch. They are in no
// sum of the partition, for each can be made again from the topic. A job that is removed or erased takes its rows with
// it.

// StreamsChange is one row as the keeper writes it.
type StreamsChange struct {
	ID string
	// Row is nil when the rows of the job are to be removed.
	Row    []byte
	Closed bool
}

func (p *Partition) openKey(id string) []byte   { return append(p.key(kindOpen), id...) }
func (p *Partition) closedKey(id string) []byte { return append(p.key(kindClosed), id...) }

// StreamsPosition returns the offset of the next record of the topic streams that the keeper will read. ok is false
// when there is none.
func (p *Partition) StreamsPosition() (next int64, ok bool, err error) {
	value, err := p.s.value(p.s.db, p.key(kindKeeper))
	if err != nil || len(value) != 8 {
		return 0, false, err
	}
	return int64(binary.BigEndian.Uint64(value)), true, nil
}

// Streams returns the row of a job's streams, nil when there is none, and whether it is closed.
func (p *Partition) Streams(id string) (row []byte, closed bool, err error) {
	if row, err = p.s.value(p.s.db, p.openKey(id)); row == nil && err == nil {
		row, err = p.s.value(p.s.db, p.closedKey(id))
		closed = row != nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read streams of job %s: %w", id, err)
	}
	return row, closed, nil
}

// SaveStreams writes rows and the position up to which records of the topic streams are in them, in one batch. As
// checkpoints are, it is not synced. The error is ErrFull when the disk has no room.
func (p *Partition) SaveStreams(changes []StreamsChange, next int64) (err error) {
	batch := p.s.db.NewBatch()
	defer func() { err = errors.Join(err, batch.Close()) }()
	for _, c := range changes {
		if err := p.saveStreams(batch, c); err != nil {
			return fmt.Errorf("save streams of job %s: %w", c.ID, err)
		}
	}
	if err := batch.Set(p.key(kindKeeper), binary.BigEndian.AppendUint64(nil, uint64(next)), nil); err != nil {
		return fmt.Errorf("save the position in streams: %w", err)
	}
	if err := errors.Join(p.s.sound(), p.s.room(batch.Len())); err != nil {
		return err
	}
	if err := batch.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("commit streams: %w", err)
	}
	return nil
}

func (p *Partition) saveStreams(batch *pebble.Batch, c StreamsChange) error {
	is, was := p.openKey(c.ID), p.closedKey(c.ID)
	switch {
	case c.Row == nil:
		return dropStreams(p, batch, c.ID)
	case c.Closed:
		is, was = was, is
	}
	return errors.Join(batch.Set(is, c.Row, nil), batch.Delete(was, nil))
}

func dropStreams(p *Partition, batch *pebble.Batch, id string) error {
	return errors.Join(batch.Delete(p.openKey(id), nil), batch.Delete(p.closedKey(id), nil))
}

// OpenStreams calls f with the IDs of all jobs whose row is open.
func (p *Partition) OpenStreams(f func(id string)) error {
	start := len(p.prefix) + 1
	return p.s.scan(p.s.db, p.key(kindOpen), p.key(kindOpen+1), func(key, _ []byte) (bool, error) {
		f(string(key[start:]))
		return true, nil
	})
}

// StrayStreams looks at up to limit closed rows behind that of a job, and returns those whose job the store does not
// have, and the last that it has looked at; empty when there are no more.
func (p *Partition) StrayStreams(after string, limit int) (stray []string, last string, err error) {
	start, looked := len(p.prefix)+1, 0
	from := p.key(kindClosed)
	if after != "" {
		from = append(p.closedKey(after), 0)
	}
	err = p.s.scan(p.s.db, from, p.key(kindClosed+1), func(key, _ []byte) (bool, error) {
		looked++
		last = string(key[start:])
		row, err := p.s.value(p.s.db, p.rowKey(last))
		if err == nil && row == nil {
			stray = append(stray, last)
		}
		return looked < limit, err
	})
	if looked < limit {
		last = ""
	}
	return stray, last, err
}
