package view

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker/store"
)

// Reasons why a view cannot be restored from.
var (
	ErrEmpty    = errors.New("view has no checkpoint")
	ErrOtherLog = errors.New("view reflects another log")
)

// pollRecords is the largest number of records of one poll.
const pollRecords = 10_000

// Read fills an empty store with the partition's jobs as the last owner left them. No other tracker can
// write meanwhile, for the writer has fenced them. progress is called with the number of records that were
// read and the number that the partition has.
//
// It first writes an owner record with a nonce, and reads from the beginning until it meets that record: so
// it has read everything that was committed before.
//
// Errors: ErrEmpty, ErrOtherLog, store.ErrUnsound (the rows do not match the last checkpoint), and
// others that are worth another try.
func (w *Writer) Read(ctx context.Context, into *store.Partition, progress func(records, of int64)) error {
	nonce, err := w.announce(ctx)
	if err != nil {
		return err
	}
	cl, err := w.cfg.Reader(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{w.cfg.Names.View(): {w.partition: kgo.NewOffset().AtStart()}}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxBytes(fetchBytes), kgo.FetchMaxPartitionBytes(fetchBytes),
	)
	if err != nil {
		return err
	}
	defer cl.Close()
	r := reading{w: w, into: into, nonce: nonce, rowless: map[string]int64{}}
	for !r.done {
		fetches := cl.PollRecords(ctx, pollRecords)
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, e := range fetches.Errors() {
			return fmt.Errorf("read view %d: %w", w.partition, e.Err)
		}
		if err := r.take(fetches.Records()); err != nil {
			return err
		}
		fetches.EachPartition(func(f kgo.FetchTopicPartition) { progress(r.records, r.records+max(f.HighWatermark-r.at, 0)) })
	}
	return r.finish()
}

const fetchBytes = 16 << 20 // at most, of one fetch

// reading is the state of one restore.
type reading struct {
	w       *Writer
	into    *store.Partition
	nonce   string      // of the owner record that ends the restore
	last    *Checkpoint // the last one that was read
	records int64       // that were read
	at      int64       // offset of the next record
	done    bool
	rowless map[string]int64 // jobs whose last record has no row, with the offset of that record
}

// take applies a batch of records. Of several records of one job only the last counts.
func (r *reading) take(records []*kgo.Record) error {
	loads := make([]store.Load, 0, len(records))
	place := make(map[string]int, len(records))
	for _, rec := range records {
		r.records++
		r.at = rec.Offset + 1
		kind, isSpecial := specialKind(rec)
		if isSpecial {
			if err := r.special(kind, rec); err != nil {
				return err
			}
			if r.done {
				break
			}
			continue
		}
		load, err := decodeJob(rec)
		switch {
		case errors.Is(err, errNoRow):
			r.rowless[string(rec.Key)] = rec.Offset
			if len(r.rowless) > maxRowless {
				return fmt.Errorf("%w: %w: offset %d", store.ErrUnsound, err, rec.Offset)
			}
			continue // it was too large, or another program wrote it; a record with a row may follow
		case err != nil:
			return fmt.Errorf("%w: %w", store.ErrUnsound, err)
		}
		delete(r.rowless, load.ID)
		if i, ok := place[load.ID]; ok {
			loads[i] = load
			continue
		}
		place[load.ID] = len(loads)
		loads = append(loads, load)
	}
	for len(loads) > 0 {
		n := min(len(loads), applyBatch)
		if err := r.into.Apply(loads[:n], nil); err != nil {
			return err
		}
		loads = loads[n:]
	}
	return nil
}

// maxRowless is how many jobs may have a last record without a row before a restore gives up.
const maxRowless = 10_000

// applyBatch is how many jobs are written to the store in one batch.
const applyBatch = 1000

// special takes a checkpoint or an owner record.
func (r *reading) special(kind string, rec *kgo.Record) error {
	switch kind {
	case topic.ViewCheckpoint:
		c := &Checkpoint{}
		if err := json.Unmarshal(rec.Value, c); err != nil {
			return fmt.Errorf("%w: checkpoint at offset %d: %w", store.ErrUnsound, rec.Offset, err)
		}
		r.last = c
	case topic.ViewOwner:
		var o owner
		if json.Unmarshal(rec.Value, &o) == nil && o.Nonce == r.nonce {
			r.done = true
		}
	}
	return nil
}

// finish compares the rows with the last checkpoint and sets the store's position to the checkpoint's.
func (r *reading) finish() error {
	for id, at := range r.rowless {
		return fmt.Errorf("%w: job %.256q: %w: offset %d", store.ErrUnsound, id, errNoRow, at)
	}
	switch c := r.last; {
	case c == nil:
		return ErrEmpty
	case c.V != formatVersion:
		return fmt.Errorf("%w: format %d", ErrOtherLog, c.V)
	case c.Log != r.w.cfg.Log:
		return fmt.Errorf("%w: %+v, and the log is %+v", ErrOtherLog, c.Log, r.w.cfg.Log)
	case c.Partial:
		// Rows may be later than the position: folding those events again changes nothing. There is no
		// sum to compare them with, so each row is checked.
		if err := r.into.Decodable(); err != nil {
			return err
		}
		if err := r.into.Close(c.ClosedAt); err != nil {
			return err
		}
		return r.into.Place(c.Next)
	default:
		return r.into.Apply(nil, &store.Totals{Next: c.Next, Count: c.Count, Sum: c.Sum, ClosedAt: c.ClosedAt})
	}
}
