package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/ackwire/ackwire/tracker/fold"
)

// Totals has counts and hashes over all rows of a partition, and the position in status up to which they
// are folded. It is written in one batch with the rows, so that a row that is lost later is noticed.
type Totals struct {
	// Next is the offset of the next status record to fold.
	Next int64 `json:"next"`
	// Viewed is the position up to which the topic view is written.
	Viewed int64 `json:"viewed,omitempty"`
	// ClosedAt is the first offset after the partition's topic.MarkClosed; 0 if it has none. It may be above Next.
	ClosedAt int64 `json:"closedAt,omitempty"`
	// Count is the number of rows, Active the number of jobs that have not ended.
	Count  int64 `json:"count"`
	Active int64 `json:"active"`
	// Sum and IndexSum are the sums of the hashes of all rows and of all index keys.
	Sum      uint64 `json:"sum"`
	IndexSum uint64 `json:"indexSum"`
}

// Partition is the part of the store that has one partition's jobs and position. Only one goroutine may
// write it at a time.
type Partition struct {
	s      *Store
	number int32
	prefix []byte

	mu     sync.Mutex // guards all below
	totals Totals
	known  known
}

// Totals returns the partition's totals as last committed.
func (p *Partition) Totals() Totals {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.totals
}

// Position returns the offset of the next status record to fold; 0 for a new partition.
func (p *Partition) Position() int64 { return p.Totals().Next }

// Saved is what the store has of a job: it is needed to remove its index keys and its part of the sums when
// the job changes.
type Saved struct {
	Meta
	sum uint64
}

// Stored is a job that was read from the store.
type Stored struct {
	Job   *fold.Job
	Doc   []byte
	Saved *Saved
}

// Get returns a job, or nil when there is none. The job may be the marker of one that was erased.
func (p *Partition) Get(id string) (*Stored, error) { return p.Find(id, Owners{}, nil) }

// Find returns a job if it is one of the owners', and wanted, unless that is nil, takes its meta. Else it returns nil,
// without reading the document. It finds the marker of an erased job only where wanted is nil.
func (p *Partition) Find(id string, of Owners, wanted func(*Meta) bool) (*Stored, error) {
	if !p.mayHave(id, of) {
		return nil, nil
	}
	value, c, err := p.s.db.Get(p.rowKey(id))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read job %s: %w", id, err)
	}
	if wanted != nil {
		m, _, err := CutMeta(value)
		if err != nil || m.Erased() || !wanted(&m) {
			return nil, errors.Join(err, c.Close())
		}
	}
	value = append(make([]byte, 0, len(value)), value...)
	if err := c.Close(); err != nil {
		return nil, fmt.Errorf("read job %s: %w", id, err)
	}
	row, err := decodeRow(id, value)
	if err != nil {
		return nil, p.s.unsound(err)
	}
	j, err := row.Job()
	if err != nil {
		return nil, p.s.unsound(err)
	}
	return &Stored{Job: j, Doc: row.Doc, Saved: &Saved{Meta: row.Meta, sum: rowSum(id, value)}}, nil
}

func (p *Partition) mayHave(id string, of Owners) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known.may(id, of)
}

// Change is one job as a checkpoint writes it.
type Change struct {
	ID string
	// Job is nil for a job that was removed; Doc is its document's bytes, nil when they were
	// not made yet.
	Job *fold.Job
	Doc []byte
	// Was is the job as the store has it; nil when it has not.
	Was *Saved
	// Over are the lives of the job's ID that are over since the last checkpoint, whose blobs are to
	// be removed. A new life may have the ID by now.
	Over []string
	// Now is the job as the store has it afterwards; Checkpoint sets it.
	Now *Saved
}

// Checkpoint writes changed jobs and the position next up to which they are folded, in one batch, and the
// view's position unless it is 0. The write is not synced: after a power loss the store is at an earlier
// checkpoint, never between two. The error is ErrFull when the disk has no room.
func (p *Partition) Checkpoint(changes []Change, next, viewed int64) (err error) {
	if err := p.s.Full(); err != nil {
		return err // before the work of making a batch
	}
	w := p.newWrite()
	defer func() { err = errors.Join(err, w.batch.Close()) }()
	for i := range changes {
		c := &changes[i]
		var row *Row
		if c.Job != nil {
			r, err := NewRow(c.Job, c.Doc)
			if err != nil {
				return err
			}
			row = &r
		}
		if c.Now, err = w.put(c.ID, c.Was, row, next); err != nil {
			return fmt.Errorf("checkpoint job %s: %w", c.ID, err)
		}
		if err := w.mark(c); err != nil {
			return fmt.Errorf("mark blobs of job %s: %w", c.ID, err)
		}
	}
	w.totals.Next = next
	if viewed > 0 {
		w.totals.Viewed = viewed
		if err := w.dropViewed(viewed); err != nil {
			return fmt.Errorf("forget removed jobs that the view knows: %w", err)
		}
	}
	return w.commit()
}

// Load is a job that was read from the topic view; Row is nil when it was removed.
type Load struct {
	ID  string
	Row *Row
}

// Apply writes jobs that were read from the topic view. With totals it checks that the partition then has
// these, else the error is ErrUnsound, and sets its position to theirs.
func (p *Partition) Apply(loads []Load, totals *Totals) (err error) {
	w := p.newWrite()
	defer func() { err = errors.Join(err, w.batch.Close()) }()
	batch := map[string]*Saved{} // jobs that this batch has written
	for _, l := range loads {
		was, done := batch[l.ID]
		if !done {
			if was, err = p.saved(l.ID); err != nil {
				return err
			}
		}
		if batch[l.ID], err = w.put(l.ID, was, l.Row, 0); err != nil {
			return fmt.Errorf("apply job %s: %w", l.ID, err)
		}
	}
	if totals != nil {
		if totals.Count != w.totals.Count || totals.Sum != w.totals.Sum {
			return fmt.Errorf("%w: %d jobs with sum %016x, and the checkpoint says %d with %016x",
				ErrUnsound, w.totals.Count, w.totals.Sum, totals.Count, totals.Sum)
		}
		w.totals.Next, w.totals.Viewed, w.totals.ClosedAt = totals.Next, totals.Next, totals.ClosedAt
	}
	return w.commit()
}

// Place sets the partition's position, to fold events again that its rows may reflect already.
func (p *Partition) Place(next int64) (err error) {
	w := p.newWrite()
	defer func() { err = errors.Join(err, w.batch.Close()) }()
	w.totals.Next, w.totals.Viewed = next, next
	return w.commit()
}

// Close sets Totals.ClosedAt, unless it is set.
func (p *Partition) Close(at int64) (err error) {
	if at == 0 || p.Totals().ClosedAt > 0 {
		return nil
	}
	w := p.newWrite()
	defer func() { err = errors.Join(err, w.batch.Close()) }()
	w.totals.ClosedAt = at
	return w.commit()
}

func (p *Partition) saved(id string) (*Saved, error) {
	if !p.mayHave(id, Owners{}) {
		return nil, nil
	}
	value, err := p.s.value(p.s.db, p.rowKey(id))
	if err != nil || value == nil {
		return nil, err
	}
	m, _, err := CutMeta(value)
	if err != nil {
		return nil, fmt.Errorf("job %s: %w", id, err)
	}
	return &Saved{Meta: m, sum: rowSum(id, value)}, nil
}

// write is a batch with the totals and counters as it leaves them.
type write struct {
	p        *Partition
	batch    *pebble.Batch
	totals   Totals
	counts   map[string]int64 // by the counter's key
	was, now keySet
	value    []byte
	added    []owned
	changed  []string // IDs of jobs that got another owner: a new job has the ID
	removed  []string // IDs
}

// owned is a job and its owner.
type owned struct{ id, tenant, subject string }

func (p *Partition) newWrite() *write {
	return &write{p: p, batch: p.s.db.NewBatch(), totals: p.Totals(), counts: map[string]int64{}}
}

// put writes a job's row in place of was, or removes the job when row is nil; next is the position. It
// returns what the store then has of the job.
func (w *write) put(id string, was *Saved, row *Row, next int64) (*Saved, error) {
	var saved *Saved
	var meta *Meta
	if row != nil {
		w.value = appendRow(w.value[:0], *row)
		saved = &Saved{Meta: row.Meta, sum: rowSum(id, w.value)}
		meta = &saved.Meta
		if err := w.batch.Set(w.p.rowKey(id), w.value, nil); err != nil {
			return nil, err
		}
		w.count(meta, saved.sum, 1)
	}
	var before *Meta
	if was != nil {
		before = &was.Meta
		w.count(before, -was.sum, -1)
	}
	switch {
	case was == nil && row != nil:
		w.added = append(w.added, owned{id, row.Tenant, row.Subject})
	case was != nil && row != nil && (was.Tenant != row.Tenant || was.Subject != row.Subject):
		w.changed = append(w.changed, id)
	case was != nil && row == nil:
		w.removed = append(w.removed, id)
		if err := w.remove(id, next); err != nil {
			return nil, err
		}
	}
	if was != nil && (row == nil || row.Erased()) {
		if err := dropStreams(w.p, w.batch, id); err != nil {
			return nil, err
		}
	}
	return saved, w.index(id, before, meta)
}

func (w *write) count(m *Meta, sum uint64, by int64) {
	w.totals.Sum += sum
	w.totals.Count += by
	if !m.Ended() {
		w.totals.Active += by
	}
	w.counts[string(appendTuple(w.p.key(kindCount), m))] += by
}

// remove deletes the row and notes that the view still needs a tombstone.
func (w *write) remove(id string, next int64) error {
	if err := w.batch.Delete(w.p.rowKey(id), nil); err != nil || next == 0 {
		return err
	}
	if w.p.s.opts.View {
		at := binary.BigEndian.AppendUint64(nil, uint64(next))
		if err := w.batch.Set(append(w.p.key(kindRemoved), id...), at, nil); err != nil {
			return err
		}
	}
	return nil
}

// mark notes lives whose blobs are to be removed.
func (w *write) mark(c *Change) error {
	if !w.p.s.opts.Blobs {
		return nil
	}
	over := c.Over
	if c.Was != nil && c.Job == nil && len(over) == 0 {
		over = []string{""}
	}
	for _, life := range over {
		if err := w.batch.Set(append(w.p.key(kindBlobs), markOf(c.ID, life)...), nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// index replaces the index keys of before by those of after; keys that both have stay.
func (w *write) index(id string, before, after *Meta) error {
	tags := !sameTags(before, after)
	w.was.set(w.p, id, before, tags)
	w.now.set(w.p, id, after, tags)
	for i := range w.was.ends {
		key := w.was.at(i)
		if w.now.has(key) {
			continue
		}
		w.totals.IndexSum -= keySum(key)
		if err := w.batch.Delete(key, nil); err != nil {
			return err
		}
	}
	for i := range w.now.ends {
		key := w.now.at(i)
		if w.was.has(key) {
			continue
		}
		w.totals.IndexSum += keySum(key)
		if err := w.batch.Set(key, nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// dropViewed deletes the notes of removals whose tombstones are in the view.
func (w *write) dropViewed(viewed int64) error {
	return w.p.s.scan(w.p.s.db, w.p.key(kindRemoved), w.p.key(kindRemoved+1), func(key, value []byte) (bool, error) {
		if len(value) == 8 && int64(binary.BigEndian.Uint64(value)) > viewed {
			return true, nil
		}
		return true, w.batch.Delete(slices.Clone(key), nil)
	})
}

// commit adds counters and totals to the batch and writes it. known is raised before the commit and lowered
// after it, so that a reader never misses a job that is there.
func (w *write) commit() error {
	p := w.p
	for key, by := range w.counts {
		if by == 0 {
			continue
		}
		value, err := p.s.value(p.s.db, []byte(key))
		if err != nil {
			return fmt.Errorf("read counter: %w", err)
		}
		n := by
		if len(value) == 8 {
			n += int64(binary.BigEndian.Uint64(value))
		}
		if n == 0 {
			err = w.batch.Delete([]byte(key), nil)
		} else {
			err = w.batch.Set([]byte(key), binary.BigEndian.AppendUint64(nil, uint64(n)), nil)
		}
		if err != nil {
			return fmt.Errorf("write counter: %w", err)
		}
	}
	totals, err := json.Marshal(w.totals)
	if err != nil {
		return err
	}
	if err := w.batch.Set(p.key(kindMeta), totals, nil); err != nil {
		return fmt.Errorf("write totals: %w", err)
	}
	if err := errors.Join(p.s.sound(), p.s.room(w.batch.Len())); err != nil {
		return err
	}
	p.mu.Lock()
	for _, j := range w.added {
		p.known.add(j.id, j.tenant, j.subject)
	}
	for _, id := range w.changed {
		p.known.noteOwner(id)
	}
	p.mu.Unlock()
	if err := w.batch.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("commit checkpoint: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.totals = w.totals
	for _, id := range w.removed {
		p.known.remove(id)
	}
	return nil
}

// Clear removes all rows of the partition, because they do not fit its log.
func (p *Partition) Clear() error {
	end := binary.BigEndian.AppendUint32(nil, uint32(p.number)+1)
	if err := p.s.db.DeleteRange(p.prefix, end, pebble.Sync); err != nil {
		return fmt.Errorf("clear partition %d: %w", p.number, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.totals, p.known = Totals{}, newKnown()
	return nil
}
