package store

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/sync/errgroup"

	"github.com/ackwire/ackwire/tracker/fold"
)

// ErrUnsound is the error of a store, or a view, that must not be used, because its rows do not match its
// totals.
var ErrUnsound = errors.New("state is not sound")

// IsUnsound reports whether the error of a read says that the store is not sound. The store takes notice of that by
// itself: it is opened again and set aside, after which the same read succeeds.
func IsUnsound(err error) bool { return errors.Is(err, ErrUnsound) || pebble.IsCorruptionError(err) }

// checksAtOnce is how many partitions are checked at a time for each core: while one waits for the disk,
// another one is decoded.
const checksAtOnce = 3

// check reads the store and compares it with the totals of each partition. Reading makes Pebble verify every block's
// checksum; the totals show an entry that is missing, or that was deleted and came back, in files that can still be
// read. Unless whole is true, it passes over rows of streams, and reports that there are some: they are in no total,
// may be most of the store, and Pebble verifies a row when it is read.
func (s *Store) check(whole bool) (passed bool, err error) {
	numbers, err := s.partitions()
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnsound, err)
	}
	var g errgroup.Group
	var some atomic.Bool
	g.SetLimit(checksAtOnce * runtime.GOMAXPROCS(0))
	for _, n := range numbers {
		p := s.Partition(n)
		g.Go(func() error {
			found, err := p.check(nil, whole)
			if err != nil {
				return fmt.Errorf("%w: partition %d: %w", ErrUnsound, n, err)
			}
			if found.passed {
				some.Store(true)
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			p.totals, p.known = found.stored, found.jobs
			return nil
		})
	}
	err = errors.Join(g.Wait(), s.sound())
	return some.Load(), err
}

// Bounds of the check beside other work: a million jobs take about half a minute, and a tenth of a core.
const (
	verifyAfter = 5 * time.Second      // what follows a start goes first
	verifyStep  = 256 << 10            // bytes of keys and values that are read at one go
	verifyPause = 5 * time.Millisecond // after each step
)

// Verify reads all of a store of which Open has not, at a bounded rate, and compares it with the totals as check does.
// The store may be written meanwhile: each partition is read as it is at one moment. It returns at the first thing that
// is found wrong, by it or by any other read, and then Close makes the next Open read all of it, which finds it again
// and sets the store aside. The error is ErrUnsound, or that of ctx.
func (s *Store) Verify(ctx context.Context) error {
	if !s.Unchecked() {
		return nil
	}
	if err := s.rest(ctx, verifyAfter); err != nil {
		return err
	}
	began := time.Now()
	numbers, err := s.partitions()
	if err != nil {
		return s.unsound(err)
	}
	for _, n := range numbers {
		_, err := s.Partition(n).check(func() error { return s.rest(ctx, verifyPause) }, true)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return s.unsound(fmt.Errorf("partition %d: %w", n, err))
		}
	}
	if err := s.sound(); err != nil {
		return err
	}
	s.unchecked.Store(false)
	s.log.Info("store checked", "after", time.Since(began).Round(time.Millisecond))
	return nil
}

// unsound notes and returns what was found wrong.
func (s *Store) unsound(err error) error {
	if !errors.Is(err, ErrUnsound) {
		err = fmt.Errorf("%w: %w", ErrUnsound, err)
	}
	s.Distrust(err)
	return err
}

// rest waits. It ends early, with an error, when ctx ends or the store is found not to be sound.
func (s *Store) rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-s.rotten:
		return s.sound()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// check reads the keys of the partition and compares what they add up to with the stored totals. Unless whole is true,
// it passes over rows of streams. With a rest it calls that after every verifyStep bytes, and notes no jobs.
func (p *Partition) check(rest func() error, whole bool) (found sums, err error) {
	it, err := p.s.db.NewIter(&pebble.IterOptions{
		LowerBound: p.prefix, UpperBound: binary.BigEndian.AppendUint32(nil, uint32(p.number)+1)})
	if err != nil {
		return sums{}, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if rest == nil {
		found.jobs = newKnown()
	}
	start, step := len(p.prefix)+1, 0
	for valid := it.First(); valid; valid = found.next(it, p) {
		if len(it.Key()) < start {
			return sums{}, errKey
		}
		n, err := found.add(it, start, whole)
		if err != nil {
			return sums{}, err
		}
		step += n
		if step > verifyStep && rest != nil {
			step = 0
			if err := rest(); err != nil {
				return sums{}, err
			}
		}
	}
	return found, errors.Join(it.Error(), found.compare())
}

// sums is what the keys and rows of a partition add up to, and what they should.
type sums struct {
	found   Totals
	counted int64 // what the counters say
	stored  Totals
	jobs    known // without a map they are not noted

	passed bool // rows of streams were passed over
	behind byte // the kind to be passed over now; 0 for none
}

// next moves the iterator to the next key, or behind a kind that is passed over.
func (s *sums) next(it *pebble.Iterator, p *Partition) bool {
	if s.behind == 0 {
		return it.Next()
	}
	kind := s.behind
	s.passed, s.behind = true, 0
	return it.SeekGE(p.key(kind + 1))
}

// add adds the iterator's key, and its value if that says something. It returns how many bytes it has read. The key is
// the partition's prefix and a kind, of start bytes, and then what the kind says.
func (s *sums) add(it *pebble.Iterator, start int, whole bool) (int, error) {
	key := it.Key()
	switch key[start-1] {
	case kindTenant, kindSubject, kindState, kindTag, kindDue, kindExpiry:
		s.found.IndexSum += keySum(key)
		return len(key), nil
	case kindOpen, kindClosed:
		if !whole {
			s.behind = key[start-1]
		}
		return len(key), nil
	case kindRemoved, kindBlobs, kindKeeper:
		return len(key), nil
	}
	value, err := it.ValueAndErr()
	if err != nil {
		return 0, err
	}
	switch key[start-1] {
	case kindRow:
		id := key[start:]
		s.found.Count++
		s.found.Sum += xxhash.Sum64(value)*sumFactor ^ xxhash.Sum64(id)
		tenant, subject, err := cutOwner(value)
		if err != nil {
			return 0, fmt.Errorf("job %s: %w", id, err)
		}
		if s.jobs.changed != nil {
			s.jobs.count(xxhash.Sum64(id), uint16(xxhash.Sum64(tenant)), uint32(xxhash.Sum64(subject)))
		}
	case kindMeta:
		if err := json.Unmarshal(value, &s.stored); err != nil {
			return 0, fmt.Errorf("totals: %w", err)
		}
	case kindCount:
		if len(value) != 8 {
			return 0, errors.New("a counter is not a number")
		}
		s.counted += int64(binary.BigEndian.Uint64(value))
	default:
		return 0, errKey
	}
	return len(key) + len(value), nil
}

// compare returns how what was found differs from what was stored.
func (s *sums) compare() error {
	switch {
	case s.found.Count != s.stored.Count || s.found.Sum != s.stored.Sum:
		return fmt.Errorf("it has %d jobs with sum %016x, and should have %d with %016x", s.found.Count, s.found.Sum,
			s.stored.Count, s.stored.Sum)
	case s.found.IndexSum != s.stored.IndexSum:
		return fmt.Errorf("its indexes have sum %016x, and should have %016x", s.found.IndexSum, s.stored.IndexSum)
	case s.counted != s.stored.Count:
		return fmt.Errorf("its counters add up to %d, and it has %d jobs", s.counted, s.stored.Count)
	}
	return nil
}

// fits reports whether the meta is the job's.
func fits(j *fold.Job, m *Meta) bool {
	of := MetaOf(j)
	return of.Equal(m)
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
		case j.Doc.JobID != id || !j.Whole() || !fits(j, &row.Meta):
			return false, fmt.Errorf("%w: job %s: its parts do not fit together", ErrUnsound, id)
		}
		return true, nil
	})
}
