package store

import (
	"errors"
	"log/slog"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Positions returns the position of each partition of a store, after it has checked that the store is sound
// and belongs to the log id. Unlike Open it creates no store and sets none aside.
func Positions(fs vfs.FS, dir string, id Identity, opts Options, log *slog.Logger) (next map[int32]int64, err error) {
	if _, err := fs.Stat(dir); err != nil {
		return nil, err
	}
	opts.MinFree, opts.Check = 0, true
	s, err := open(fs, dir, id, opts, log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	numbers, err := s.partitions()
	if err != nil {
		return nil, err
	}
	next = map[int32]int64{}
	for _, n := range numbers {
		next[n] = s.Partition(n).Position()
	}
	return next, nil
}
