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

// Options are the options of a store.
type Options struct {
	// View keeps a note of each removed job until its tombstone is in the topic view.
	View bool
	// Blobs keeps a mark of each removed job until its blobs are removed.
	Blobs bool
	// MinFree is how many bytes of the disk must stay free; 0 turns the check off.
	MinFree uint64
	// MemTable is the size of Pebble's memory tables in bytes; 0 means memTableBytes.
	MemTable uint64
	// Check has Open read the whole store, even if it is sealed.
	Check bool
}

// Store is one Pebble database. Its methods may be called from any goroutine; one
// partition's writes come from one goroutine at a time.
type Store struct {
	db     *pebble.DB
	lock   *pebble.Lock
	log    *slog.Logger
	opts   Options
	disk   *disk // nil: free space is not checked
	fs     vfs.FS
	dir    string
	aside  string                // folder of the store that Open has set aside
	rot    atomic.Pointer[error] // why the store is not sound: what was found first since Open
	rotten chan struct{}         // closed when rot is set

	sealed    bool        // Open has trusted a seal
	unchecked atomic.Bool // Open has not read all, and Verify has not yet

	mu    sync.Mutex // guards parts
	parts map[int32]*Partition
}

var identityKey = []byte("identity")

// probeName is the name of a file that is written to see whether the folder can be written to.
const probeName = "probe"

// format is the version of the store's format. A store of another format is set aside.
const format = 2

// stamp is the value of identityKey.
type stamp struct {
	Identity
	Format int `json:"format"`
}

// Open opens the store in dir, or creates it, and checks it. It reads all of a store that was not closed in order; one
// that was has a seal, and is used at once and checked by Verify. A store of another log, one that Pebble cannot
// read, and one whose content does not match its totals is renamed to a folder beside dir, and a new one is
// created: its state can be restored from view and status. Only the last store that was set aside is kept.
// The error is ErrFull when the disk has no room, and ErrPartitions when status has other partitions.
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
		log.Warn("stores that were set aside before are not removed", "err", err)
	}
	if s, err = open(fs, dir, id, opts, log); err != nil {
		return nil, err
	}
	s.aside = aside
	return s, nil
}

const asideInfix = ".set-aside-"

// dropAside removes the stores that were set aside, but for the last one.
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

// SetAside returns the folder to which Open has moved a store that was not sound, or the empty string.
func (s *Store) SetAside() string { return s.aside }

// open opens the store and checks it. The error is ErrUnsound only when the store's content is at fault, for
// the store is set aside then: problems of the folder, its lock and the disk's space are told apart first.
func open(fs vfs.FS, dir string, id Identity, opts Options, log *slog.Logger) (*Store, error) {
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make store folder: %w", err)
	}
	cache := pebble.NewCache(cacheBytes)
	defer cache.Unref()
	probe := filepath.Join(dir, probeName)
	f, err := fs.Create(probe, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, fmt.Errorf("store folder is not writable: %w", err)
	}
	_ = f.Close()
	_ = fs.Remove(probe)
	lock, err := pebble.LockDirectory(dir, fs)
	if err != nil {
		return nil, fmt.Errorf("store folder is in use by another process: %w", err)
	}
	s := &Store{lock: lock, log: log, opts: opts, fs: fs, dir: dir, parts: map[int32]*Partition{},
		rotten: make(chan struct{})}
	if opts.MinFree > 0 {
		if s.disk, err = newDisk(fs, dir, opts.MinFree); err != nil {
			return nil, errors.Join(err, lock.Close())
		}
	}
	sl, err := unseal(fs, dir)
	if err != nil {
		log.Warn("the store is checked in full before it is used", "reason", err)
	}
	s.db, err = openDB(dir, &pebble.Options{
		FS:                 fs,
		Lock:               lock,
		Cache:              cache,
		FormatMajorVersion: pebble.FormatNewest,
		MemTableSize:       cmp.Or(opts.MemTable, memTableBytes),
		MaxOpenFiles:       maxOpenFiles,
		// A restore writes all jobs at once. It should not wait for compactions, which catch up
		// afterwards; and the larger the levels, the less often they are rewritten.
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
		err = s.admit(sl)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// admit checks the store, unless its seal allows that it is used at once.
func (s *Store) admit(sl *seal) error {
	if sl != nil && !s.opts.Check {
		err := s.resume(sl)
		if err == nil {
			s.sealed = true
			s.unchecked.Store(true)
			return s.sound()
		}
		s.log.Warn("the store is checked in full before it is used", "reason", err)
	}
	suspect := s.fs.PathJoin(s.dir, suspectName)
	_, err := s.fs.Stat(suspect)
	whole := err == nil || s.opts.Check
	passed, err := s.check(whole)
	if err == nil && whole {
		_ = s.fs.Remove(suspect) // if it stays, the next check is whole, too
	}
	s.unchecked.Store(passed)
	return err
}

// Sealed reports whether the store was used at once, by its seal.
func (s *Store) Sealed() bool { return s.sealed }

// Unchecked reports whether Open has not read all of the store, and Verify has not yet: a sealed one is used at once,
// and rows of streams are read later.
func (s *Store) Unchecked() bool { return s.unchecked.Load() }

// corrupted is called by Pebble when it finds a corrupt file. Without such a listener Pebble would end the
// process, even while Open still checks whether the store is sound.
func (s *Store) corrupted(info pebble.DataCorruptionInfo) {
	if s.Distrust(fmt.Errorf("%w: %w", ErrUnsound, info.Details)) {
		s.log.Error("the store is corrupt", "file", info.Path, "err", info.Details)
	}
}

// Distrust takes that the store may not be sound: no more is written to it, and the next Open reads all of it. It
// returns false if that was known.
func (s *Store) Distrust(why error) bool {
	if !s.rot.CompareAndSwap(nil, &why) {
		return false
	}
	close(s.rotten)
	return true
}

// Sound returns why the store is not sound, as far as that is known; else nil.
func (s *Store) Sound() error { return s.sound() }

// sound returns an error once the store is known not to be sound: nothing may be written to it then.
func (s *Store) sound() error {
	if err := s.rot.Load(); err != nil {
		return *err
	}
	return nil
}

// openDB opens the database, and returns a panic of Pebble as an error.
func openDB(dir string, o *pebble.Options) (db *pebble.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			db, err = nil, fmt.Errorf("pebble gave up: %v", r)
		}
	}()
	return pebble.Open(dir, o)
}

// checkIdentity writes the identity of a new store, and compares that of an old one with id.
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

// ErrPartitions is returned when the number of partitions of status has changed. Jobs would be looked up in
// the wrong partition then, so no tracker may go on.
var ErrPartitions = errors.New("the number of partitions of status has changed")

// Close flushes, closes and seals the store. It does not seal one that is not known to be sound.
func (s *Store) Close() error {
	if s.sound() != nil {
		if err := s.suspect(); err != nil {
			s.log.Warn("the store is not sound, and the next start may not find that at once", "err", err)
		}
	}
	if err := s.db.Flush(); err != nil {
		return errors.Join(fmt.Errorf("flush store: %w", err), s.close())
	}
	numbers, err := s.partitions()
	if err = errors.Join(err, s.db.Close()); err == nil && s.sound() == nil {
		if err := s.seal(numbers); err != nil {
			s.log.Warn("the store is not sealed: it will be checked in full when it is opened", "err", err)
		}
	}
	return errors.Join(err, s.lock.Close())
}

// suspect leaves a file in the store's folder by which the next Open reads all of it.
func (s *Store) suspect() error {
	f, err := s.fs.Create(s.fs.PathJoin(s.dir, suspectName), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// close closes the store without a seal.
func (s *Store) close() error { return errors.Join(s.db.Close(), s.lock.Close()) }

// Partition returns the part of the store that one partition of status owns.
func (s *Store) Partition(n int32) *Partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.parts[n]
	if p == nil {
		p = &Partition{s: s, number: n, prefix: binary.BigEndian.AppendUint32(nil, uint32(n)), known: newKnown()}
		s.parts[n] = p
	}
	return p
}

// Copy makes a snapshot of a store that is not open.
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

// Snapshot writes a copy of the open store to dir, which must not exist. Files are hard-linked where the file
// system can. A tracker may start on the copy.
func (s *Store) Snapshot(dir string) error {
	if err := s.db.Checkpoint(dir, pebble.WithFlushedWAL()); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}

// pebbleLogger passes Pebble's messages to slog, informational ones at level debug.
type pebbleLogger struct{ log *slog.Logger }

func (l pebbleLogger) Infof(format string, args ...any) {
	l.log.Debug("pebble: " + fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.log.Error("pebble: " + fmt.Sprintf(format, args...))
}

// Fatalf is called by Pebble when it cannot go on without losing data; it must not return.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	message := "pebble: " + fmt.Sprintf(format, args...)
	l.log.Error(message)
	panic(message)
}
