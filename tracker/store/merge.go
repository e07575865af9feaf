package store

import (
	"bytes"
	"container/heap"
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// merge walks several indexes at once in the order of a list.
type merge struct {
	cursors cursorHeap
	passed  Place // the last place that next has left
}

// cursor walks one index, or the jobs that are in several indexes with the same order of jobs.
type cursor struct {
	its       []*pebble.Iterator // the first leads
	partition *Partition
	from      []int // for each, the index in its keys at which the time begins
	place     Place
	match     bool // all iterators are at place; else nothing at place is known but that the list has come by it
}

// merge opens iterators on the narrowest index of each partition that has all matches.
func (r *Reader) merge(q Query, partitions []*Partition) (_ *merge, err error) {
	m := &merge{}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.close())
		}
	}()
	for _, p := range partitions {
		prefixes, err := r.prefixes(q, p, maxCursors/len(partitions))
		if err != nil {
			return nil, err
		}
		if len(q.Tags) > 0 && len(prefixes) > 0 {
			if err := m.open(r, q, p, prefixes); err != nil {
				return nil, err
			}
			continue
		}
		for _, prefix := range prefixes {
			if err := m.open(r, q, p, [][]byte{prefix}); err != nil {
				return nil, err
			}
		}
	}
	heap.Init(&m.cursors)
	return m, nil
}

// open adds a cursor of the jobs of a partition that are in all indexes whose keys begin with the prefixes.
func (m *merge) open(r *Reader, q Query, p *Partition, prefixes [][]byte) (err error) {
	c := &cursor{partition: p}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	for _, prefix := range prefixes {
		from, to := bounds(q, prefix)
		if bytes.Compare(from, to) >= 0 {
			return c.close()
		}
		it, err := r.snap.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
		if err != nil {
			return err
		}
		c.its, c.from = append(c.its, it), append(c.from, len(prefix))
		it.First()
	}
	ok, err := c.read()
	if err == nil && ok {
		m.cursors = append(m.cursors, c)
		return nil
	}
	return errors.Join(err, c.close())
}

// prefixes returns the beginnings of the index keys to look at in a partition: a match is in one of the indexes or,
// with tags, in all of them.
func (r *Reader) prefixes(q Query, p *Partition, limit int) (prefixes [][]byte, err error) {
	if len(q.Tags) > 0 {
		for _, t := range q.Tags {
			prefixes = append(prefixes, tagPrefix(p, q.Tenant, t))
		}
		if len(q.Subjects) == 1 && q.Subjects[0] != "" {
			prefixes = append(prefixes, appendText(appendText(p.key(kindSubject), q.Tenant), q.Subjects[0]))
		}
		return prefixes, nil
	}
	// Jobs without a subject are not in the index of subjects.
	if n := len(q.Subjects); n > 0 && n <= max(limit, 1) && !slices.Contains(q.Subjects, "") {
		for _, subject := range q.Subjects {
			prefixes = append(prefixes, appendText(appendText(p.key(kindSubject), q.Tenant), subject))
		}
		return prefixes, nil
	}
	if len(q.States)+len(q.Types)+len(q.Lanes) > 0 {
		counts := map[Tuple]int64{}
		if err := r.Counts(p, q.Tenant, counts); err != nil {
			return nil, err
		}
		for t := range counts {
			if among(q.States, t.State) && q.wants(t.Type) && among(q.Lanes, t.Lane) {
				prefixes = append(prefixes, appendTuple(p.key(kindState), &Meta{Tenant: q.Tenant, Type: t.Type, Lane: t.Lane,
					State: t.State}))
			}
		}
		if len(prefixes) <= limit {
			return prefixes, nil
		}
	}
	return [][]byte{appendText(p.key(kindTenant), q.Tenant)}, nil
}

func tagPrefix(p *Partition, tenant string, t Tag) []byte {
	return appendText(appendText(appendText(p.key(kindTag), tenant), t.Key), t.Value)
}

// bounds returns the range of index keys that a list reads: from from up to, not including, to.
func bounds(q Query, prefix []byte) (from, to []byte) {
	from, to = slices.Clone(prefix), after(prefix)
	if q.CreatedBefore != 0 {
		from = appendNewestFirst(slices.Clone(prefix), q.CreatedBefore-1)
	}
	if q.After != nil {
		behind := append(append(appendNewestFirst(slices.Clone(prefix), q.After.Created), q.After.ID...), 0)
		if bytes.Compare(behind, from) > 0 {
			from = behind
		}
	}
	if q.CreatedFrom != 0 {
		to = appendNewestFirst(slices.Clone(prefix), q.CreatedFrom-1)
	}
	return from, to
}

// next moves the first cursor forward, and closes it at its end.
func (m *merge) next() error {
	c := m.cursors[0]
	m.passed = c.place
	if c.match {
		c.its[0].Next()
	}
	ok, err := c.read()
	if err == nil && ok {
		heap.Fix(&m.cursors, 0)
		return nil
	}
	heap.Pop(&m.cursors)
	return errors.Join(err, c.close())
}

func (m *merge) close() (err error) {
	for _, c := range m.cursors {
		err = errors.Join(err, c.close())
	}
	return err
}

func (c *cursor) close() (err error) {
	for _, it := range c.its {
		err = errors.Join(err, it.Close())
	}
	return err
}

// read sets the cursor's place from its iterators; ok is false at the end.
//
// All keys of the indexes go on in the same way behind their prefixes, in the order of the list. So an iterator that is
// behind another one's job is moved to that job or, if it does not have it, beyond. One call moves each iterator once
// at most, so that the caller counts what is looked at; if they do not agree then, the place is no match.
func (c *cursor) read() (ok bool, err error) {
	lead := c.its[0]
	if !lead.Valid() {
		return false, lead.Error()
	}
	rest := lead.Key()[c.from[0]:]
	if len(rest) < 8 {
		return false, errKey
	}
	c.place, c.match = Place{newestFirst(rest), string(rest[8:])}, true
	for i, it := range c.its[1:] {
		if !it.Valid() {
			return false, it.Error()
		}
		prefix := it.Key()[:c.from[i+1]]
		if bytes.Compare(it.Key()[len(prefix):], rest) < 0 && !it.SeekGE(append(slices.Clone(prefix), rest...)) {
			return false, it.Error()
		}
		order := bytes.Compare(it.Key()[len(prefix):], rest)
		if order == 0 {
			continue
		}
		// No job before the iterator's is in both: the lead goes there.
		c.match = false
		to := append(slices.Clone(lead.Key()[:c.from[0]]), it.Key()[len(prefix):]...)
		lead.SeekGE(to)
		return true, nil
	}
	return true, nil
}

// cursorHeap orders cursors by their places.
type cursorHeap []*cursor

func (h cursorHeap) Len() int           { return len(h) }
func (h cursorHeap) Less(i, j int) bool { return h[i].place.Compare(h[j].place) < 0 }
func (h cursorHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *cursorHeap) Push(x any) { *h = append(*h, x.(*cursor)) }

// Pop implements heap.Interface.
func (h *cursorHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
