package store

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
)

// Bounds of one list.
const (
	maxCursors   = 256     // iterators that are merged
	maxLooked    = 2000    // rows that are read; the page may then have fewer matches than asked for
	maxRead      = 8 << 20 // bytes of documents that are read without a match
	maxListBytes = 1 << 20 // of documents in the page; one document is always taken
)

// Place is a job's position in a list: the newest first, and by ID among jobs of the same millisecond.
type Place struct {
	Created int64
	ID      string
}

// Compare is below 0 when p stands before q.
func (p Place) Compare(q Place) int {
	return cmp.Or(cmp.Compare(q.Created, p.Created), strings.Compare(p.ID, q.ID))
}

// Query selects jobs of one tenant. A field that is empty or 0 does not restrict; several values of one
// field are alternatives. Times are Unix milliseconds; "from" is inclusive, "before" is exclusive.
type Query struct {
	Tenant string
	// IDs are the only jobs of the list; nil does not restrict.
	IDs []string
	// None selects no job at all.
	None                   bool
	Subjects, Types, Lanes []string
	States                 []job.State
	// Tags are all to be there: they are no alternatives.
	Tags                       []Tag
	CreatedFrom, CreatedBefore int64
	UpdatedFrom, UpdatedBefore int64
	// After is the place after which the page begins; nil begins with the newest job.
	After *Place
	Limit int
	// Brief leaves the documents out of the page, and tells the jobs' rounds instead.
	Brief bool
}

// Tag is a tag that a job must have.
type Tag struct{ Key, Value string }

// tagged reports whether a job has all tags of the query.
func (q *Query) tagged(m *Meta) bool {
	for _, t := range q.Tags {
		if value, ok := m.Tags[t.Key]; !ok || value != t.Value {
			return false
		}
	}
	return true
}

// wants reports whether jobs of the type belong in the list. Webhooks do only if the query names their type.
func (q *Query) wants(jobType string) bool {
	if jobType == topic.WebhookType {
		return slices.Contains(q.Types, jobType)
	}
	return among(q.Types, jobType)
}

// Matches reports whether a job belongs in the list.
func (q *Query) Matches(m *Meta) bool {
	return !q.None && m.Tenant == q.Tenant && among(q.Subjects, m.Subject) && q.wants(m.Type) && among(q.Lanes, m.Lane) &&
		among(q.States, m.State) && q.tagged(m) &&
		within(m.Created, q.CreatedFrom, q.CreatedBefore) && within(m.Updated, q.UpdatedFrom, q.UpdatedBefore)
}

func among[T comparable](all []T, v T) bool { return len(all) == 0 || slices.Contains(all, v) }

func within(t, from, before int64) bool {
	return (from == 0 || t >= from) && (before == 0 || t < before)
}

// Fresh is a job as a shard has it in memory, which may be newer than in the store.
type Fresh struct {
	ID string
	// Meta is nil for a job that was removed.
	Meta *Meta
	// Doc returns the document's bytes.
	Doc func() []byte
	// Round returns the job's round.
	Round func() (int, error)
}

// Listed is one job of a page.
type Listed struct {
	Place
	Version int64
	Doc     []byte // nil in a brief page
	Ended   bool
	Round   int // see fold.Job; only in a brief page
}

// Page is a part of a list.
type Page struct {
	Jobs []Listed
	// Through is the place up to which the page has every match; nil when the list ends with the page.
	Through *Place
}

// Reader is the store at one moment. Close must be called.
type Reader struct {
	s    *Store
	snap *pebble.Snapshot
}

// NewReader returns the store as it is now.
func (s *Store) NewReader() *Reader { return &Reader{s: s, snap: s.db.NewSnapshot()} }

// Reader returns the partition's store as it is now.
func (p *Partition) Reader() *Reader { return p.s.NewReader() }

// Close ends the reader.
func (r *Reader) Close() error { return r.snap.Close() }

// Position returns the partition's position at the reader's moment.
func (r *Reader) Position(p *Partition) (int64, error) {
	var t Totals
	value, err := r.s.value(r.snap, p.key(kindMeta))
	if err == nil && value != nil {
		err = json.Unmarshal(value, &t)
	}
	return t.Next, err
}

// Row returns the job's row; nil when there is none.
func (r *Reader) Row(p *Partition, id string) (*Row, error) {
	value, err := r.s.value(r.snap, p.rowKey(id))
	if err != nil || value == nil {
		return nil, err
	}
	row, err := decodeRow(id, value)
	return &row, err
}

// after returns the first key behind all keys that begin with prefix, which must not end with 255.
func after(prefix []byte) []byte {
	next := slices.Clone(prefix)
	next[len(next)-1]++
	return next
}

// List returns a page of the jobs of some partitions. A job in fresh takes the place of the same job in
// the store.
//
// It walks the partitions' indexes merged in the list's order, and takes each matching fresh job before the
// first stored job that stands behind it. It ends when the page is full or a bound of reading is met.
func (r *Reader) List(q Query, partitions []*Partition, fresh []Fresh) (page Page, err error) {
	m := &merge{}
	switch {
	case q.None:
	case q.IDs != nil:
		fresh, err = r.named(q, partitions, fresh)
	default:
		m, err = r.merge(q, partitions)
	}
	if err != nil {
		return page, err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	waiting, known := matching(q, fresh)
	size := 0
	take := func(l Listed) bool {
		size += len(l.Doc)
		if len(page.Jobs) > 0 && size > maxListBytes {
			page.Through = &Place{page.Jobs[len(page.Jobs)-1].Created, page.Jobs[len(page.Jobs)-1].ID}
			return false
		}
		page.Jobs = append(page.Jobs, l)
		if len(page.Jobs) == q.Limit {
			page.Through = &Place{l.Created, l.ID}
			return false
		}
		return true
	}
	// pour takes the fresh jobs that stand before a place, or all of them for nil.
	pour := func(to *Place) bool {
		for len(waiting) > 0 && (to == nil || waiting[0].place.Compare(*to) < 0) {
			l, failed := listed(&q, waiting[0].Fresh, waiting[0].place)
			if failed != nil {
				err = failed
				return false
			}
			if !take(l) {
				return false
			}
			waiting = waiting[1:]
		}
		return true
	}
	for looked, read := 0, 0; len(m.cursors) > 0; looked++ {
		if looked == maxLooked || read >= maxRead {
			page.Through = &m.passed
			return page, nil
		}
		c := m.cursors[0]
		place, p, match := c.place, c.partition, c.match
		if !pour(&place) {
			return page, err
		}
		if err := m.next(); err != nil {
			return page, err
		}
		if !match || known[place.ID] {
			continue
		}
		row, err := r.Row(p, place.ID)
		switch {
		case err != nil:
			return page, err
		case row == nil:
			return page, fmt.Errorf("%w: job %s is in an index and has no row", ErrUnsound, place.ID)
		case !q.Matches(&row.Meta):
			read += len(row.Doc)
			continue
		}
		l, err := listed(&q, row.fresh(), place)
		if err != nil {
			return page, err
		}
		if !take(l) {
			return page, nil
		}
	}
	pour(nil)
	return page, err
}

// listed returns a job as the page of a query has it.
func listed(q *Query, f Fresh, at Place) (l Listed, err error) {
	l = Listed{Place: at, Version: f.Meta.Version, Ended: f.Meta.State.Terminal()}
	if q.Brief {
		l.Round, err = f.Round()
		return l, err
	}
	l.Doc = f.Doc()
	return l, nil
}

// fresh returns the row as if a shard had it in memory.
func (r *Row) fresh() Fresh {
	return Fresh{ID: r.ID, Meta: &r.Meta, Doc: func() []byte { return r.Doc }, Round: r.round}
}

// round reads the job's round alone.
func (r *Row) round() (int, error) {
	var inner struct {
		Round int `json:"round"`
	}
	if err := json.Unmarshal(r.Inner, &inner); err != nil {
		return 0, fmt.Errorf("%w: round of job %s: %w", ErrUnsound, r.ID, err)
	}
	return inner.Round, nil
}

// named returns those of fresh that the query names, and the stored jobs that it names and fresh does not have.
func (r *Reader) named(q Query, partitions []*Partition, fresh []Fresh) (all []Fresh, err error) {
	known := make(map[string]bool, len(fresh))
	for _, f := range fresh {
		known[f.ID] = true
		if slices.Contains(q.IDs, f.ID) {
			all = append(all, f)
		}
	}
	for _, id := range q.IDs {
		if known[id] {
			continue
		}
		for _, p := range partitions {
			if !p.mayHave(id, Owners{Tenant: &q.Tenant}) {
				continue
			}
			row, err := r.Row(p, id)
			switch {
			case err != nil:
				return nil, err
			case row != nil && q.Matches(&row.Meta):
				all = append(all, row.fresh())
			}
		}
	}
	return all, nil
}

type freshPlace struct {
	Fresh
	place Place
}

// matching returns the fresh jobs that belong in the list, in its order, and the IDs of all fresh jobs.
func matching(q Query, fresh []Fresh) (matches []freshPlace, known map[string]bool) {
	known = make(map[string]bool, len(fresh))
	for _, f := range fresh {
		known[f.ID] = true
		if f.Meta == nil || !q.Matches(f.Meta) {
			continue
		}
		if place := (Place{f.Meta.Created, f.ID}); q.After == nil || place.Compare(*q.After) > 0 {
			matches = append(matches, freshPlace{f, place})
		}
	}
	slices.SortFunc(matches, func(a, b freshPlace) int { return a.place.Compare(b.place) })
	return matches, known
}
