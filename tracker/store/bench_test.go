package store

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/fold"
)

const benchBatch = 500

// BenchmarkCheckpoint writes new jobs with their indexes and counts, beside a plain Pebble
// batch of as many values with two index keys and a position each: ns/job.
func BenchmarkCheckpoint(b *testing.B) {
	report := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchBatch), "ns/job")
		b.ReportMetric(0, "ns/op")
	}
	b.Run("store", func(b *testing.B) {
		s := open1(b, vfs.Default, b.TempDir(), identity)
		defer shut(b, s)
		p, saved := s.Partition(0), savedIn{}
		var next int64
		for b.Loop() {
			jobs := make([]*fold.Job, benchBatch)
			for i := range jobs {
				next++
				jobs[i] = aJob(fmt.Sprintf("job-%d", next), job.Processing, next)
			}
			saved.save(b, p, next, jobs...)
		}
		report(b)
	})
	b.Run("plain", func(b *testing.B) {
		s := open1(b, vfs.Default, b.TempDir(), identity)
		defer func() { _ = s.close() }() // these keys are no partition's
		var next int64
		for b.Loop() {
			batch := s.db.NewBatch()
			for range benchBatch {
				next++
				r, err := NewRow(aJob(fmt.Sprintf("job-%d", next), job.Processing, next), nil)
				if err != nil {
					b.Fatal(err)
				}
				err = errors.Join(batch.Set([]byte("d"+r.ID), appendRow(nil, r), nil), batch.Set([]byte("x"+r.ID), nil, nil),
					batch.Set([]byte("y"+r.ID), nil, nil))
				if err != nil {
					b.Fatal(err)
				}
			}
			if err := errors.Join(batch.Set([]byte("m"), []byte("position"), nil), batch.Commit(pebble.NoSync),
				batch.Close()); err != nil {
				b.Fatal(err)
			}
		}
		report(b)
	})
}

const (
	million        = 1_000_000
	millionParts   = 12
	millionOwners  = 1000
	millionTenants = 10
)

// fill gives a store a million ended jobs of many owners.
func fill(b *testing.B, s *Store) (parts []*Partition) {
	b.Helper()
	for p := range int32(millionParts) {
		part, saved := s.Partition(p), savedIn{}
		parts = append(parts, part)
		for n := int(p); n < million; {
			var jobs []*fold.Job
			for ; n < million && len(jobs) < 1000; n += millionParts {
				j := aJob(fmt.Sprintf("0198c0de-0000-7000-8000-%012d", n), job.Completed, int64(n+1))
				j.Doc.Subject, j.Tenant = fmt.Sprintf("owner-%d", n%millionOwners), fmt.Sprintf("tenant-%d", n%millionTenants)
				j.Doc.CreatedAt = t0.Add(time.Duration(n) * time.Millisecond)
				jobs = append(jobs, j)
			}
			saved.save(b, part, int64(n+1), jobs...)
			clear(saved)
		}
	}
	return parts
}

// BenchmarkMillion asks a store of a million jobs on the disk: the newest 50 of an owner, of
// a tenant, of a tenant and a state, one job by ID, the counts; and opens it, which checks
// every row.
func BenchmarkMillion(b *testing.B) {
	dir := b.TempDir()
	s, err := Open(vfs.Default, dir, identity, Options{}, quiet)
	if err != nil {
		b.Fatal(err)
	}
	parts := fill(b, s)
	list := func(q Query) func(*testing.B) {
		return func(b *testing.B) {
			for b.Loop() {
				r := s.NewReader()
				page, err := r.List(q, parts, nil)
				if err = errors.Join(err, r.Close()); err != nil || len(page.Jobs) != q.Limit {
					b.Fatal(len(page.Jobs), err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1000, "ms/list")
		}
	}
	b.Run("owner", list(Query{Tenant: "tenant-7", Subjects: []string{"owner-77"}, Limit: 50}))
	b.Run("tenant", list(Query{Tenant: "tenant-7", Limit: 50}))
	b.Run("state", list(Query{Tenant: "tenant-7", States: []job.State{job.Completed}, Limit: 50}))
	b.Run("get", func(b *testing.B) {
		for n := 0; b.Loop(); n = (n + 7919) % million {
			if got, err := parts[n%millionParts].Get(fmt.Sprintf("0198c0de-0000-7000-8000-%012d", n)); got == nil || err != nil {
				b.Fatal(got, err)
			}
		}
	})
	b.Run("counts", func(b *testing.B) {
		for b.Loop() {
			r, counts := s.NewReader(), map[Tuple]int64{}
			for _, p := range parts {
				if err := r.Counts(p, "tenant-7", counts); err != nil {
					b.Fatal(err)
				}
			}
			if err := r.Close(); err != nil || counts[Tuple{"t", "default", job.Completed}] != million/millionTenants {
				b.Fatal(counts, err)
			}
		}
	})
	shut(b, s)
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			if s, err = Open(vfs.Default, dir, identity, Options{}, quiet); err != nil || s.SetAside() != "" {
				b.Fatal(err)
			}
			b.StopTimer()
			shut(b, s)
			b.StartTimer()
		}
	})
}
