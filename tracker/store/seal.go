package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sync/errgroup"
)

// A seal is a file in the store's folder that says how Close has left the store. Open does not read the whole store
// when its seal fits, because what a full check would find in a store that nobody has opened since is then either
// excluded, or found when it is read:
//
//   - Files that are lost, too short or too long, and changed bytes in any file but tables: the seal has the names and
//     sizes of all files, and a hash of all bytes outside tables. So the tables of the last version are all there, and
//     no log is lost that had later keys.
//   - Changed bytes within a table: Pebble compares each block with its checksum when it reads it.
//
// What was wrong before Close, although Pebble reads it without an error, was served before Close too. Verify looks for
// both kinds while the store is in use. A store without a seal that fits, as after a crash, is checked before it is
// used, but for rows of streams; one that was found unsound is not sealed, and checked with them.
//
// A seal also has what the partitions know of their jobs (see known), which else only reading all rows would tell.

const (
	sealName    = "seal"
	suspectName = "suspect" // a file: something was found wrong in the store, so that the next Open reads all of it
	sealVersion = 1
	sealEntry   = 16 // bytes of one job
	hashBytes   = 8
)

// seal is a seal that was read. Its file has the length of its JSON, the JSON, the entries of all partitions, and a
// hash of all that.
type seal struct {
	V          int               `json:"v"`
	Files      uint64            `json:"files,string"` // hash of names and sizes of files, and of what is not in tables
	Partitions []sealedPartition `json:"partitions"`
}

// sealedPartition is a partition as Close has left it.
type sealedPartition struct {
	Number  int32  `json:"number"`
	Totals  Totals `json:"totals"`
	Entries int    `json:"entries"`
	entries []byte
}

var errSeal = errors.New("the seal does not fit")

// fingerprint returns a hash of the names and sizes of the store's files, and of the content of those that are not
// tables.
func fingerprint(fs vfs.FS, dir string) (uint64, error) {
	names, err := fs.List(dir)
	if err != nil {
		return 0, err
	}
	slices.Sort(names)
	h := xxhash.New()
	for _, name := range names {
		if slices.Contains([]string{"LOCK", probeName, ballastName, sealName, suspectName}, name) {
			continue // these say nothing of the content
		}
		info, err := fs.Stat(fs.PathJoin(dir, name))
		if err != nil {
			return 0, err
		}
		_, _ = fmt.Fprintf(h, "%s %d\n", name, info.Size())
		if strings.HasSuffix(name, ".sst") {
			continue
		}
		if err := readInto(h, fs, fs.PathJoin(dir, name)); err != nil {
			return 0, err
		}
	}
	return h.Sum64(), nil
}

func readInto(w io.Writer, fs vfs.FS, name string) (err error) {
	f, err := fs.Open(name, vfs.SequentialReadsOption)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.Copy(w, f)
	return err
}

// seal writes the seal of a store whose database is closed. numbers are the partitions that it has.
func (s *Store) seal(numbers []int32) (err error) {
	head := seal{V: sealVersion}
	size := 0
	for _, n := range numbers {
		p := s.Partition(n)
		entries := p.known.entries()
		head.Partitions = append(head.Partitions, sealedPartition{n, p.totals, len(entries) / sealEntry, entries})
		size += len(entries)
	}
	if err := s.room(size); err != nil {
		return err
	}
	if head.Files, err = fingerprint(s.fs, s.dir); err != nil {
		return err
	}
	intro, err := json.Marshal(head)
	if err != nil {
		return err
	}
	name := s.fs.PathJoin(s.dir, sealName)
	f, err := s.fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	h := xxhash.New()
	w := io.MultiWriter(h, f) // the file is last, as it may change what it is given
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(intro))), intro...))
	for _, p := range head.Partitions {
		if err == nil {
			_, err = w.Write(p.entries)
		}
	}
	if err == nil {
		_, err = f.Write(h.Sum(nil))
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, s.fs.Remove(name))
	}
	return nil
}

// unseal removes the store's seal, before anything in the folder changes, and returns it. It returns nil when there is
// none, and errSeal when it does not fit the files.
func unseal(fs vfs.FS, dir string) (*seal, error) {
	name := fs.PathJoin(dir, sealName)
	info, err := fs.Stat(name)
	if err != nil {
		return nil, nil //nolint:nilerr // a store without a seal is checked, and so is one whose seal cannot be read
	}
	content := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	if err := errors.Join(readInto(content, fs, name), fs.Remove(name)); err != nil {
		return nil, err
	}
	sl, err := decodeSeal(content.Bytes())
	if err != nil {
		return nil, err
	}
	files, err := fingerprint(fs, dir)
	if err == nil && files != sl.Files {
		err = fmt.Errorf("%w the files", errSeal)
	}
	if err != nil {
		return nil, err
	}
	return sl, nil
}

func decodeSeal(b []byte) (*seal, error) {
	if len(b) < 4+hashBytes {
		return nil, fmt.Errorf("%w: it is too short", errSeal)
	}
	b, sum := b[:len(b)-hashBytes], b[len(b)-hashBytes:]
	if xxhash.Sum64(b) != binary.BigEndian.Uint64(sum) {
		return nil, fmt.Errorf("%w its own hash", errSeal)
	}
	n := uint64(binary.BigEndian.Uint32(b))
	b = b[4:]
	if n > uint64(len(b)) {
		return nil, fmt.Errorf("%w: it is too short", errSeal)
	}
	sl := &seal{}
	if err := json.Unmarshal(b[:n], sl); err != nil || sl.V != sealVersion {
		return nil, errors.Join(fmt.Errorf("%w this release: version %d", errSeal, sl.V), err)
	}
	b = b[n:]
	for i := range sl.Partitions {
		p := &sl.Partitions[i]
		if p.Entries < 0 || p.Entries > len(b)/sealEntry {
			return nil, fmt.Errorf("%w: it is too short", errSeal)
		}
		p.entries, b = b[:p.Entries*sealEntry], b[p.Entries*sealEntry:]
	}
	return sl, nil
}

// resume takes over what the seal says of each partition, after it has compared it with the store. With an error
// nothing is taken over.
func (s *Store) resume(sl *seal) error {
	numbers, err := s.partitions()
	if err != nil {
		return err
	}
	if len(numbers) != len(sl.Partitions) {
		return fmt.Errorf("%w: it has %d partitions, and the store has %d", errSeal, len(sl.Partitions), len(numbers))
	}
	all := make([]known, len(numbers))
	var g errgroup.Group
	for i, n := range numbers {
		sealed := &sl.Partitions[i]
		g.Go(func() error {
			totals, err := s.Partition(n).stored()
			if err == nil && (n != sealed.Number || totals != sealed.Totals) {
				err = fmt.Errorf("%w the totals of partition %d", errSeal, n)
			}
			if err == nil {
				var ok bool
				if all[i], ok = openKnown(sealed.entries, totals.Count); !ok {
					err = fmt.Errorf("%w the jobs of partition %d", errSeal, n)
				}
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, n := range numbers {
		p := s.Partition(n)
		p.totals, p.known = sl.Partitions[i].Totals, all[i]
	}
	return nil
}

// stored returns the totals as the database has them.
func (p *Partition) stored() (t Totals, err error) {
	value, err := p.s.value(p.s.db, p.key(kindMeta))
	if err == nil && value != nil {
		err = json.Unmarshal(value, &t)
	}
	return t, err
}
