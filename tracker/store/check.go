package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/sync/errgroup"
)

// ErrUnsound is the error of a store, or a view, that must not be used, because its rows do not match its
// totals.
var ErrUnsound = errors.New("state is not sound")

// checksAtOnce is how many partitions are checked at a time for each core: while one waits for the disk,
// another one is decoded.
const checksAtOnce = 3

// check reads the whole store and compares it with the totals of each partition. Reading makes Pebble
// verify every block's checksum; the totals show an entry that is missing, or that was deleted and came
// back, in files that can still be read.
func (s *Store) check() error {
	numbers, err := s.partitions()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnsound, err)
	}
	var g errgroup.Group
	g.SetLimit(checksAtOnce * runtime.GOMAXPROCS(0))
	for _, n := range numbers {
		p := s.Partition(n)
		g.Go(func() error {
			if err := p.check(); err != nil {
				return fmt.Errorf("%w: partition %d: %w", ErrUnsound, n, err)
			}
			return nil
		})
	}
	return errors.Join(g.Wait(), s.sound())
}

// check reads all keys of the partition, adds up rows, index keys and counters, and compares the sums with
// the stored totals. It also fills p.known.
func (p *Partition) check() (err error) {
	it, err := p.s.db.NewIter(&pebble.IterOptions{
		LowerBound: p.prefix, UpperBound: binary.BigEndian.AppendUint32(nil, uint32(p.number)+1)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	var found, stored Totals
	var counted int64
	jobs := known{}
	start := len(p.prefix) + 1
	for it.First(); it.Valid(); it.Next() {
		key := it.Key()
		if len(key) < start {
			return errKey
		}
		switch key[start-1] {
		case kindTenant, kindSubject, kindState, kindDue, kindExpiry:
			found.IndexSum += keySum(key)
			continue
		case kindRemoved, kindBlobs:
			continue
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		switch key[start-1] {
		case kindRow:
			id := key[start:]
			found.Count++
			found.Sum += xxhash.Sum64(value)*sumFactor ^ xxhash.Sum64(id)
			tenant, subject, err := cutOwner(value)
			if err != nil {
				return fmt.Errorf("job %s: %w", id, err)
			}
			jobs.count(xxhash.Sum64(id), uint16(xxhash.Sum64(tenant)), uint32(xxhash.Sum64(subject)))
		case kindMeta:
			if err := json.Unmarshal(value, &stored); err != nil {
				return fmt.Errorf("totals: %w", err)
			}
		case kindCount:
			if len(value) != 8 {
				return errors.New("a counter is not a number")
			}
			counted += int64(binary.BigEndian.Uint64(value))
		default:
			return errKey
		}
	}
	if err := it.Error(); err != nil {
		return err
	}
	switch {
	case found.Count != stored.Count || found.Sum != stored.Sum:
		return fmt.Errorf("it has %d jobs with sum %016x, and should have %d with %016x", found.Count, found.Sum,
			stored.Count, stored.Sum)
	case found.IndexSum != stored.IndexSum:
		return fmt.Errorf("its indexes have sum %016x, and should have %016x", found.IndexSum, stored.IndexSum)
	case counted != stored.Count:
		return fmt.Errorf("its counters add up to %d, and it has %d jobs", counted, stored.Count)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.totals, p.known = stored, jobs
	return nil
}

// Decodable checks that every row is a job that a tracker could have written. It is for rows that come
// from the view, whose sums may have been made by another program. The error is ErrUnsound.
func (p *Partition) Decodable() error {
	start := len(p.prefix) + 1
	return p.s.scan(p.s.db, p.key(kindRow), p.key(kindRow+1), func(key, value []byte) (bool, error) {
		id := string(key[start:])
		row, err := decodeRow(id, value)
		if err != nil {
			return false, fmt.Errorf("%w: %w", ErrUnsound, err)
		}
		switch j, err := row.Job(); {
		case err != nil:
			return false, fmt.Errorf("%w: %w", ErrUnsound, err)
		case j.Doc.JobID != id || !j.Whole() || MetaOf(j) != row.Meta:
			return false, fmt.Errorf("%w: job %s: its parts do not fit together", ErrUnsound, id)
		}
		return true, nil
	})
}
