package store

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/fold"
)

// Tuple is the combination of fields by which jobs are counted.
type Tuple struct {
	Type  string
	Lane  string
	State job.State
}

// TupleOf returns the job's tuple.
func TupleOf(m *Meta) Tuple { return Tuple{m.Type, m.Lane, m.State} }

// Counts adds the tenant's jobs of a partition to counts.
func (r *Reader) Counts(p *Partition, tenant string, counts map[Tuple]int64) error {
	return r.counts(appendText(p.key(kindCount), tenant), false, func(t Tuple, n int64) { counts[t] += n })
}

// OwnCounts adds those jobs of a partition to counts that the query selects by its tenant, subjects, types, tags and
// IDs. It reads their metas, by the index of the subjects where it can.
func (r *Reader) OwnCounts(p *Partition, q Query, counts map[Tuple]int64) error {
	count := func(id string) error {
		value, c, err := r.snap.Get(p.rowKey(id))
		if errors.Is(err, pebble.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		m, _, err := CutMeta(value)
		if err == nil && q.Selects(id, &m) {
			counts[TupleOf(&m)]++
		}
		return errors.Join(err, c.Close())
	}
	if q.IDs != nil {
		for _, id := range q.IDs {
			if p.mayHave(id, Owners{Tenant: &q.Tenant}) {
				if err := count(id); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if len(q.Tags) > 0 {
		return r.each(q, p, count)
	}
	prefixes, err := r.prefixes(q, p, maxCursors)
	if err != nil {
		return err
	}
	for _, prefix := range prefixes {
		err := r.s.scan(r.snap, prefix, after(prefix), func(key, _ []byte) (bool, error) {
			if len(key) < len(prefix)+8 {
				return false, errKey
			}
			return true, count(string(key[len(prefix)+8:]))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// each calls f with the IDs of the jobs of a partition that have the query's tags and, if it names one, its subject.
func (r *Reader) each(q Query, p *Partition, f func(id string) error) (err error) {
	m, err := r.merge(q, []*Partition{p})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	for len(m.cursors) > 0 {
		if c := m.cursors[0]; c.match {
			if err := f(c.place.ID); err != nil {
				return err
			}
		}
		if err := m.next(); err != nil {
			return err
		}
	}
	return nil
}

// Selects reports whether a job is counted: as Matches, but webhooks are counted as other jobs are.
func (q *Query) Selects(id string, m *Meta) bool {
	return !q.None && m.Tenant == q.Tenant && among(q.Subjects, m.Subject) && among(q.Types, m.Type) && q.tagged(m) &&
		(q.IDs == nil || slices.Contains(q.IDs, id))
}

// AllCounts calls f with each counter of a partition, of all tenants, without the tenant's name.
func (r *Reader) AllCounts(p *Partition, f func(t Tuple, n int64)) error {
	return r.counts(p.key(kindCount), true, f)
}

// counts reads the counters whose keys begin with prefix. tenants says that a tenant follows the prefix.
func (r *Reader) counts(prefix []byte, tenants bool, f func(t Tuple, n int64)) error {
	return r.s.scan(r.snap, prefix, after(prefix), func(key, value []byte) (bool, error) {
		var t Tuple
		var state string
		var err error
		rest := key[len(prefix):]
		if tenants {
			if _, rest, err = cutText(rest); err != nil {
				return false, err
			}
		}
		for _, to := range []*string{&t.Type, &t.Lane, &state} {
			if *to, rest, err = cutText(rest); err != nil {
				return false, err
			}
		}
		if len(value) != 8 {
			return false, errKey
		}
		if t.State = job.State(state); t.State == fold.Erased {
			return true, nil // markers are counted for the check of the store alone
		}
		f(t, int64(binary.BigEndian.Uint64(value)))
		return true, nil
	})
}
