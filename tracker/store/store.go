// Package store keeps the state of a tracker's partitions in Pebble: a row per job, the
// indexes by which jobs are found, counters, and the position in status that all this
// reflects. What was folded and the position it was folded from are one batch, and so are
// a count and a hash of all rows: a store is used only if they fit what it has.
//
// Keys start with the partition (4 bytes, big endian) and a kind: see keys.go.
package store

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
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
	memTableBytes = 32 << 20
	maxOpenFiles  = 500
)

// Options say what a store keeps beside the jobs, and how much of the disk it leaves alone.
type Options struct {
	// View: removed jobs are remembered until the topic view knows.
	View bool
	// Blobs: removed jobs are remembered until their blobs are removed.
	Blobs bool
	// MinFree is how many bytes of the disk stay free; 0 does not look.
	MinFree uint64
	// MemTable is how many bytes of writes Pebble gathers in memory; 0 is memTableBytes.
	MemTable uint64
}

// Store is one Pebble database. Its methods may be called from any goroutine; one
// partition's writes come from one goroutine at a time.
type Store struct {
	db    *pebble.DB
	lock  *pebble.Lock
	log   *slog.Logger
	opts  Options
	disk  *disk // nil when nobody looks
	aside string
	rot   atomic.Pointer[error] // what Pebble found unreadable since Open

	mu    sync.Mutex // guards parts
	parts map[int32]*Partition
}

var identityKey = []byte("identity")

// format is what this package writes; a store of another one is set aside.
const format = 2

// stamp is stored under identityKey.
type stamp struct {
	Identity
	Format int `json:"format"`
}

// Open opens the store in dir, or makes it. A store of another log, one that Pebble cannot
// read or one that has not all that it should is moved aside to a folder beside dir and a
// new one begun: view and log have all. Of those set aside the last is kept.
func Open(fs vfs.FS, dir string, id Identity, opts Options, log *slog.Logger) (*Store, error) {
	s, err := open(fs, dir, id, opts, log)
	if err == nil {
		return s, nil
	}
	if !errors.Is(err, ErrUnsound) {
		return nil, err
	}
	aside := fmt.Sprintf("%s%s%d", dir, asideInfix, time.Now().UnixNano())
	log.Warn("store set aside, state will be restored from view or status", "dir", dir, "aside", aside, "reason", err)
	if err := fs.Rename(dir, aside); err != nil {
		return nil, fmt.Errorf("set store %s aside: %w", dir, err)
	}
	if err := dropAside(fs, dir, aside); err != nil {
		log.Warn("stores that were set aside before are still there", "err", err)
	}
	if s, err = open(fs, dir, id, opts, log); err != nil {
		return nil, err
	}
	s.aside = aside
	return s, nil
}

const asideInfix = ".set-aside-"

// dropAside removes what was set aside before the last one.
func dropAside(fs vfs.FS, dir, last string) error {
	parent := fs.PathDir(dir)
	names, err := fs.List(parent)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, fs.PathBase(dir)+asideInfix) && name != fs.PathBase(last) {
			err = errors.Join(err, fs.RemoveAll(fs.PathJoin(parent, name)))
		}
	}
	return err
}

// SetAside is where Open put a store that was not sound; empty when it did not.
func (s *Store) SetAside() string { return s.aside }

func open(fs vfs.FS, dir string, id Identity, opts Options, log *slog.Logger) (*Store, error) {
	if err := fs.MkdirAll(dir, 0o700); err != nil {
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
	s := &Store{lock: lock, log: log, opts: opts, parts: map[int32]*Partition{}}
	if opts.MinFree > 0 {
		if s.disk, err = newDisk(fs, dir, opts.MinFree); err != nil {
			return nil, errors.Join(err, lock.Close())
		}
	}
	s.db, err = openDB(dir, &pebble.Options{
		FS:                 fs,
		Lock:               lock,
		Cache:              cache,
		FormatMajorVersion: pebble.FormatNewest,
		MemTableSize:       cmp.Or(opts.MemTable, memTableBytes),
		MaxOpenFiles:       maxOpenFiles,
		// A restore writes everything at once: it should not wait for compactions, which catch
		// up afterwards, and levels that are larger are rewritten less often.
		L0CompactionThreshold: 4,
		L0StopWritesThreshold: 64,
		LBaseMaxBytes:         512 << 20,
		Logger:                pebbleLogger{log},
		EventListener:         &pebble.EventListener{DataCorruption: s.corrupted},
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrUnsound, err), lock.Close())
	}
	err = s.checkIdentity(id)
	if err == nil {
		err = s.check()
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// corrupted is called by Pebble for what it cannot read. By default it would end the process
// at once, also while Open still looks whether the store is sound.
func (s *Store) corrupted(info pebble.DataCorruptionInfo) {
	err := fmt.Errorf("%w: %w", ErrUnsound, info.Details)
	if s.rot.CompareAndSwap(nil, &err) {
		s.log.Error("the store has rotten", "file", info.Path, "err", info.Details)
	}
}

// sound returns an error once something was found that cannot be read: nothing more may be
// built on it.
func (s *Store) sound() error {
	if err := s.rot.Load(); err != nil {
		return *err
	}
	return nil
}

// openDB opens the database; what makes Pebble give up while it does is an error.
func openDB(dir string, o *pebble.Options) (db *pebble.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			db, err = nil, fmt.Errorf("pebble gave up: %v", r)
		}
	}()
	return pebble.Open(dir, o)
}

func (s *Store) checkIdentity(id Identity) error {
	want := stamp{id, format}
	value, err := s.value(s.db, identityKey)
	if err != nil {
		return fmt.Errorf("%w: identity: %w", ErrUnsound, err)
	}
	if value == nil {
		if numbers, err := s.partitions(); err != nil || len(numbers) > 0 {
			return errors.Join(fmt.Errorf("%w: it has lost its identity", ErrUnsound), err)
		}
		b, err := json.Marshal(want)
		if err != nil {
			return err
		}
		return s.db.Set(identityKey, b, pebble.Sync)
	}
	var have stamp
	if err := json.Unmarshal(value, &have); err != nil {
		return fmt.Errorf("%w: identity: %w", ErrUnsound, err)
	}
	switch grown := have; {
	case have == want:
		return nil
	case have.Format == format:
		grown.Partitions = id.Partitions
		if grown == want {
			return fmt.Errorf("%w: it has %d, the topic now has %d", ErrPartitions, have.Partitions, id.Partitions)
		}
		return fmt.Errorf("%w: it reflects %+v, the log is %+v", ErrUnsound, have.Identity, id)
	default:
		return fmt.Errorf("%w: its format is %d, and this release writes %d", ErrUnsound, have.Format, format)
	}
}

// ErrPartitions says that the topic status was given more partitions. Jobs would be looked
// for where their events are not, so nobody may go on.
var ErrPartitions = errors.New("the number of partitions of status has changed")

// Close flushes and closes the store.
func (s *Store) Close() error {
	if err := s.db.Flush(); err != nil {
		return errors.Join(fmt.Errorf("flush store: %w", err), s.close())
	}
	return s.close()
}

func (s *Store) close() error { return errors.Join(s.db.Close(), s.lock.Close()) }

// Partition returns the part of the store that one partition of status owns.
func (s *Store) Partition(n int32) *Partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.parts[n]
	if p == nil {
		p = &Partition{s: s, number: n, prefix: binary.BigEndian.AppendUint32(nil, uint32(n)), known: map[uint64]uint8{}}
		s.parts[n] = p
	}
	return p
}

// Copy makes a snapshot of a store that nobody has open.
func Copy(fs vfs.FS, from, to string, log *slog.Logger) error {
	lock, err := pebble.LockDirectory(from, fs)
	if err != nil {
		return fmt.Errorf("store folder is in use by another process: %w", err)
	}
	db, err := openDB(from, &pebble.Options{
		FS: fs, Lock: lock, FormatMajorVersion: pebble.FormatNewest, Logger: pebbleLogger{log},
	})
	if err != nil {
		return errors.Join(err, lock.Close())
	}
	s := &Store{db: db, lock: lock}
	return errors.Join(s.Snapshot(to), s.close())
}

// Snapshot writes a copy of the store to dir, which must not exist, while it is in use.
// Files are linked where the file system can. A tracker may start on it.
func (s *Store) Snapshot(dir string) error {
	if err := s.db.Checkpoint(dir, pebble.WithFlushedWAL()); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
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
