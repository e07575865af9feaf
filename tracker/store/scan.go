package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

// value returns a copy of the key's value, or nil when there is none.
func (s *Store) value(r pebble.Reader, key []byte) (_ []byte, err error) {
	v, c, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return append(make([]byte, 0, len(v)), v...), nil
}

// scan calls f for each key from from up to, not including, to, until f returns false for more. Key and
// value are valid only until f returns.
func (s *Store) scan(r pebble.Reader, from, to []byte, f func(key, value []byte) (more bool, err error)) (err error) {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return fmt.Errorf("scan store: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for it.First(); it.Valid(); it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		more, err := f(it.Key(), value)
		if err != nil || !more {
			return err
		}
	}
	return it.Error()
}

// DueJobs calls f with the jobs in the index of timers whose Meta.Due is at least from and less than before,
// the soonest first, until f returns false. Times are by the log's clock in Unix milliseconds.
func (p *Partition) DueJobs(from, before int64, f func(id string, due int64) (more bool, err error)) error {
	return p.timed(kindDue, from, before, f)
}

// Expired returns up to limit IDs of ended jobs whose retention is over at the given time.
func (p *Partition) Expired(at int64, limit int) (ids []string, err error) {
	err = p.timed(kindExpiry, 0, at+1, func(id string, _ int64) (bool, error) {
		ids = append(ids, id)
		return len(ids) < limit, nil
	})
	return ids, err
}

// NextExpiry returns when the first retention is over, or never when no job has ended.
func (p *Partition) NextExpiry() (at int64, err error) {
	at = never
	err = p.timed(kindExpiry, 0, never, func(_ string, due int64) (bool, error) {
		at = due
		return false, nil
	})
	return at, err
}

// timed scans an index whose keys begin with a time.
func (p *Partition) timed(kind byte, from, before int64, f func(id string, at int64) (bool, error)) error {
	start := len(p.prefix) + 1
	return p.s.scan(p.s.db, appendTime(p.key(kind), from), appendTime(p.key(kind), before),
		func(key, _ []byte) (bool, error) {
			return f(string(key[start+8:]), int64(binary.BigEndian.Uint64(key[start:])))
		})
}

// Unviewed calls f with the IDs of jobs that changed or were removed after the position viewed. It reads
// every row.
func (r *Reader) Unviewed(p *Partition, viewed int64, f func(id string)) error {
	start := len(p.prefix) + 1
	err := r.s.scan(r.snap, p.key(kindRow), p.key(kindRow+1), func(key, value []byte) (bool, error) {
		m, _, err := CutMeta(value)
		if err != nil {
			return false, fmt.Errorf("job %s: %w", key[start:], err)
		}
		if m.Version > viewed {
			f(string(key[start:]))
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	return r.s.scan(r.snap, p.key(kindRemoved), p.key(kindRemoved+1), func(key, _ []byte) (bool, error) {
		f(string(key[start:]))
		return true, nil
	})
}

// markOf returns the mark of a life that is over and whose blobs may still be there: the job's ID and, where
// the life has a name, a 0 byte and the name.
func markOf(id, life string) string {
	if life == "" {
		return id
	}
	return id + "\x00" + life
}

// CutMark returns the ID and the life of a mark.
func CutMark(mark string) (id, life string) {
	if i := strings.LastIndexByte(mark, 0); i >= 0 {
		return mark[:i], mark[i+1:]
	}
	return mark, ""
}

// RemovedBlobs returns up to limit marks of removed jobs whose blobs may still be there.
func (p *Partition) RemovedBlobs(limit int) (marks []string, err error) {
	start := len(p.prefix) + 1
	err = p.s.scan(p.s.db, p.key(kindBlobs), p.key(kindBlobs+1), func(key, _ []byte) (bool, error) {
		marks = append(marks, string(key[start:]))
		return len(marks) < limit, nil
	})
	return marks, err
}

// BlobsRemoved deletes a mark.
func (p *Partition) BlobsRemoved(mark string) error {
	return p.s.db.Delete(append(p.key(kindBlobs), mark...), pebble.NoSync)
}

// partitions returns the numbers of the partitions that have keys in the database.
func (s *Store) partitions() (numbers []int32, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{UpperBound: identityKey})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for it.First(); it.Valid(); {
		if len(it.Key()) < 5 {
			return nil, errKey
		}
		n := binary.BigEndian.Uint32(it.Key())
		numbers = append(numbers, int32(n))
		it.SeekGE(binary.BigEndian.AppendUint32(nil, n+1))
	}
	return numbers, it.Error()
}
