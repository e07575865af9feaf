// Package store keeps the state of a tracker's partitions in Pebble: job documents, which
// jobs are still active, when ended jobs expire, and the position in status that all this
// reflects. What was folded and the position it was folded from are one batch.
//
// Keys start with the partition (4 bytes, big endian) and a kind:
//
//	d <job ID>                      the job, JSON
//	a <job ID>                      present while the job has not ended
//	x <expiry, ms, 8 bytes> <job ID>  present once it has; may be stale after a retry
//	m                               position: JSON
package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ackwire/ackwire/tracker/fold"
)

// Identity names the log that a store reflects. A store of another log is set aside.
type Identity struct {
	ClusterID  string `json:"clusterId"`
	TopicID    string `json:"topicId"`
	Topic      string `json:"topic"`
	Partitions int32  `json:"partitions"`
}

// Bounds of the store.
const (
	cacheBytes    = 64 << 20
	memTableBytes = 16 << 20
	maxOpenFiles  = 500
)

// Store is one Pebble database. Its methods may be called from any goroutine; one
// partition's writes come from one goroutine at a time.
type Store struct {
	db   *pebble.DB
	lock *pebble.Lock
	log  *slog.Logger
}

var identityKey = []byte("identity")

// Open opens the store in dir, or makes it. A store of another log, or one that Pebble
// cannot open, is moved aside to a folder beside dir and a new one begun: the log has all.
func Open(fs vfs.FS, dir string, id Identity, log *slog.Logger) (*Store, error) {
	s, err := open(fs, dir, id, log)
	if err == nil {
		return s, nil
	}
	if !errors.Is(err, errUnsound) {
		return nil, err
	}
	aside := fmt.Sprintf("%s.set-aside-%d", dir, time.Now().UnixNano())
	log.Warn("store set aside, state will be rebuilt from the log", "dir", dir, "aside", aside, "reason", err)
	if err := fs.Rename(dir, aside); err != nil {
		return nil, fmt.Errorf("set store %s aside: %w", dir, err)
	}
	return open(fs, dir, id, log)
}

// errUnsound marks errors after which a store must not be used.
var errUnsound = errors.New("store is not usable")

func open(fs vfs.FS, dir string, id Identity, log *slog.Logger) (*Store, error) {
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make store folder: %w", err)
	}
	cache := pebble.NewCache(cacheBytes)
	defer cache.Unref()
	// Whether the folder can be written is told apart from whether its content is sound.
	probe := filepath.Join(dir, "probe")
	f, err := fs.Create(probe, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, fmt.Errorf("store folder is not writable: %w", err)
	}
	_ = f.Close()
	_ = fs.Remove(probe)
	// And so is whether another process has it: that one's store must not be moved away.
	lock, err := pebble.LockDirectory(dir, fs)
	if err != nil {
		return nil, fmt.Errorf("store folder is in use by another process: %w", err)
	}
	db, err := pebble.Open(dir, &pebble.Options{
		FS:                 fs,
		Lock:               lock,
		Cache:              cache,
		FormatMajorVersion: pebble.FormatNewest,
		MemTableSize:       memTableBytes,
		MaxOpenFiles:       maxOpenFiles,
		Logger:             pebbleLogger{log},
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", errUnsound, err), lock.Close())
	}
	s := &Store{db: db, lock: lock, log: log}
	if err := s.checkIdentity(id); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *Store) checkIdentity(id Identity) error {
	var have Identity
	found, err := s.get(identityKey, &have)
	switch {
	case err != nil:
		return fmt.Errorf("%w: identity: %w", errUnsound, err)
	case found && have != id:
		return fmt.Errorf("%w: it reflects %+v, the log is %+v", errUnsound, have, id)
	case found:
		return nil
	}
	b, err := json.Marshal(id)
	if err != nil {
		return err
	}
	return s.db.Set(identityKey, b, pebble.Sync)
}

// Close flushes and closes the store.
func (s *Store) Close() error {
	if err := s.db.Flush(); err != nil {
		return errors.Join(fmt.Errorf("flush store: %w", err), s.close())
	}
	return s.close()
}

func (s *Store) close() error { return errors.Join(s.db.Close(), s.lock.Close()) }

func (s *Store) get(key []byte, into any) (found bool, err error) {
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer closer.Close()
	return true, json.Unmarshal(v, into)
}

// Partition returns the part of the store that one partition of status owns.
func (s *Store) Partition(p int32) *Partition {
	return &Partition{s: s, prefix: binary.BigEndian.AppendUint32(nil, uint32(p))}
}

// Partition is one partition's jobs and position.
type Partition struct {
	s      *Store
	prefix []byte
}

// position is what is stored under m.
type position struct {
	Next int64 `json:"next"`
}

func (p *Partition) key(kind byte, rest ...byte) []byte {
	k := make([]byte, 0, len(p.prefix)+1+len(rest))
	k = append(k, p.prefix...)
	k = append(k, kind)
	return append(k, rest...)
}

func (p *Partition) expiryKey(at time.Time, id string) []byte {
	k := p.key('x')
	k = binary.BigEndian.AppendUint64(k, uint64(at.UnixMilli()))
	return append(k, id...)
}

// Position returns the offset of the next status record to fold; 0 for a new partition.
func (p *Partition) Position() (next int64, err error) {
	var pos position
	if _, err := p.s.get(p.key('m'), &pos); err != nil {
		return 0, fmt.Errorf("read position: %w", err)
	}
	return pos.Next, nil
}

// Get returns a job; nil when there is none.
func (p *Partition) Get(id string) (*fold.Job, error) {
	var j fold.Job
	found, err := p.s.get(p.key('d', []byte(id)...), &j)
	if err != nil {
		return nil, fmt.Errorf("read job %s: %w", id, err)
	}
	if !found {
		return nil, nil
	}
	return &j, nil
}

// Active calls f for every job that has not ended.
func (p *Partition) Active(f func(*fold.Job)) error {
	return p.scan(p.key('a'), p.key('a'+1), func(key []byte) (bool, error) {
		j, err := p.Get(string(key[len(p.prefix)+1:]))
		if err != nil {
			return false, err
		}
		if j != nil && !j.Ended() {
			f(j)
		}
		return true, nil
	})
}

// Expired returns up to limit jobs whose retention is over at the given time.
func (p *Partition) Expired(at time.Time, limit int) ([]*fold.Job, error) {
	var jobs []*fold.Job
	err := p.scan(p.key('x'), p.expiryKey(at, ""), func(key []byte) (bool, error) {
		j, err := p.Get(string(key[len(p.prefix)+9:]))
		if err != nil {
			return false, err
		}
		if j != nil && j.Ended() && !fold.ExpiresAt(j).After(at) {
			jobs = append(jobs, j)
			return len(jobs) < limit, nil
		}
		// Left behind by a job that was retried or removed since.
		return true, p.s.db.Delete(key, pebble.NoSync)
	})
	return jobs, err
}

func (p *Partition) scan(from, to []byte, f func(key []byte) (more bool, err error)) (err error) {
	it, err := p.s.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return fmt.Errorf("scan store: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for it.First(); it.Valid(); it.Next() {
		more, err := f(it.Key())
		if err != nil || !more {
			return err
		}
	}
	return it.Error()
}

// Clear removes all that the partition has: it does not fit its log.
func (p *Partition) Clear() error {
	end := binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(p.prefix)+1)
	if err := p.s.db.DeleteRange(p.prefix, end, pebble.Sync); err != nil {
		return fmt.Errorf("clear partition: %w", err)
	}
	return nil
}

// Change is one job as a checkpoint writes it.
type Change struct {
	ID string
	// Job is nil for a job that was removed.
	Job *fold.Job
}

// Checkpoint writes changed jobs and the position they reflect, in one batch. It is not
// synced: after a power loss the store is at an earlier checkpoint, never between two.
func (p *Partition) Checkpoint(changes []Change, next int64) (err error) {
	b := p.s.db.NewBatch()
	defer func() { err = errors.Join(err, b.Close()) }()
	for _, c := range changes {
		id := []byte(c.ID)
		doc, active := p.key('d', id...), p.key('a', id...)
		if c.Job == nil {
			err = errors.Join(b.Delete(doc, nil), b.Delete(active, nil))
		} else {
			err = p.put(b, c, doc, active)
		}
		if err != nil {
			return fmt.Errorf("checkpoint job %s: %w", c.ID, err)
		}
	}
	pos, err := json.Marshal(position{Next: next})
	if err != nil {
		return err
	}
	if err := b.Set(p.key('m'), pos, nil); err != nil {
		return fmt.Errorf("checkpoint position: %w", err)
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("commit checkpoint: %w", err)
	}
	return nil
}

func (p *Partition) put(b *pebble.Batch, c Change, doc, active []byte) error {
	value, err := json.Marshal(c.Job)
	if err != nil {
		return err
	}
	if err := b.Set(doc, value, nil); err != nil {
		return err
	}
	if !c.Job.Ended() {
		return b.Set(active, nil, nil)
	}
	if err := b.Delete(active, nil); err != nil {
		return err
	}
	return b.Set(p.expiryKey(fold.ExpiresAt(c.Job), c.ID), nil, nil)
}

// pebbleLogger hands Pebble's messages to slog; its chatter about compactions is debug.
type pebbleLogger struct{ log *slog.Logger }

func (l pebbleLogger) Infof(format string, args ...any) {
	l.log.Debug("pebble: " + fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.log.Error("pebble: " + fmt.Sprintf(format, args...))
}

// Fatalf is called when going on would lose data; Pebble expects it not to return.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	message := "pebble: " + fmt.Sprintf(format, args...)
	l.log.Error(message)
	panic(message)
}
