package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrFull is returned when the disk has too little free space for another checkpoint. Nothing was written
// then, and the checkpoint may be tried again. It keeps Pebble from meeting a full disk, on which a synced
// write never returns.
var ErrFull = errors.New("disk is nearly full")

// disk watches the free space of the store's disk and keeps a ballast: a file that is removed when other
// programs fill the disk, so that Pebble's compactions and flushes still have room.
type disk struct {
	fs      vfs.FS
	dir     string
	minFree uint64

	mu      sync.Mutex // guards ballast
	ballast bool
}

const (
	ballastName  = "ballast"
	ballastShare = 2 // the ballast's size is minFree divided by this
	ballastBlock = 1 << 20
)

// newDisk returns nil when the file system does not report free space, and ErrFull when the disk is too
// full to open the store.
func newDisk(fs vfs.FS, dir string, minFree uint64) (*disk, error) {
	d := &disk{fs: fs, dir: dir, minFree: minFree}
	if _, err := fs.Stat(d.file()); err == nil {
		d.ballast = true
	}
	free, err := d.free()
	if errors.Is(err, vfs.ErrUnsupported) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("free space of %s: %w", dir, err)
	}
	// Pebble writes when it opens, so it must not be opened on a full disk.
	if free < minFree/ballastShare && !d.ballast || free < minFree/ballastShare && d.release() != nil {
		return nil, fmt.Errorf("%w: %d MiB are free in %s, and %d should be", ErrFull, free>>20, dir, minFree>>20)
	}
	return d, nil
}

func (d *disk) file() string { return filepath.Join(d.dir, ballastName) }

func (d *disk) free() (uint64, error) {
	usage, err := d.fs.GetDiskUsage(d.dir)
	return usage.AvailBytes, err
}

// room returns ErrFull when that many more bytes would leave too little of the disk free.
func (s *Store) room(bytes int) error {
	if s.disk == nil {
		return nil
	}
	return s.disk.room(uint64(bytes))
}

// Full returns ErrFull when the disk has no room for another checkpoint, else nil.
func (s *Store) Full() error { return s.room(0) }

// room removes the ballast when less than its size is free, and writes it again when there is plenty.
func (d *disk) room(bytes uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	free, err := d.free()
	if err != nil {
		return fmt.Errorf("free space: %w", err)
	}
	switch {
	case free < d.minFree/ballastShare && d.ballast:
		if err := d.release(); err != nil {
			return fmt.Errorf("%w: and the ballast could not be removed: %w", ErrFull, err)
		}
		return fmt.Errorf("%w: %d MiB were free, so the ballast was removed", ErrFull, free>>20)
	case free < d.minFree+bytes:
		return fmt.Errorf("%w: %d MiB are free, and %d must stay free", ErrFull, free>>20, d.minFree>>20)
	case !d.ballast && free > 2*d.minFree+bytes:
		return d.load()
	}
	return nil
}

func (d *disk) release() error {
	err := d.fs.Remove(d.file())
	d.ballast = err != nil
	return err
}

// load writes the ballast block by block: a sparse file would take no room.
func (d *disk) load() (err error) {
	f, err := d.fs.Create(d.file(), vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("make ballast: %w", err)
	}
	block := make([]byte, min(ballastBlock, d.minFree/ballastShare))
	for written := uint64(0); written < d.minFree/ballastShare && err == nil; written += uint64(len(block)) {
		_, err = f.Write(block)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("make ballast: %w", err), d.fs.Remove(d.file()))
	}
	d.ballast = true
	return nil
}
