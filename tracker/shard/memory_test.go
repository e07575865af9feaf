package shard

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/fold"
	"github.com/ackwire/ackwire/tracker/store"
)

// storeOf opens a store on a disk in memory that has these jobs.
func storeOf(t *testing.T, jobs ...*fold.Job) *store.Partition {
	t.Helper()
	st, err := store.Open(vfs.NewMem(), "store", identity, store.Options{MemTable: 1 << 20}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	var changes []store.Change
	for _, j := range jobs {
		changes = append(changes, store.Change{ID: j.Doc.JobID, Job: j})
	}
	p := st.Partition(testPartition)
	if err := p.Checkpoint(changes, int64(len(jobs)), 0); err != nil {
		t.Fatal(err)
	}
	return p
}

// aJob returns a job in a state, of the subject ann.
func aJob(id string, state job.State) *fold.Job {
	now := time2000()
	j := &fold.Job{
		Doc: job.Document{JobID: id, Type: "demo.echo", State: state, Attempt: 1, MaxAttempts: 3, CreatedAt: now,
			UpdatedAt: now, Subject: "ann", Lane: "default"},
		Version: 1, Tenant: tenant, PayloadHash: "sha256:1", Policy: policy(),
		Accepted: true, Dispatch: 1, RoundAt: now, RenewedAt: now,
	}
	switch {
	case state == job.Processing:
		j.Run, j.Worker, j.Doc.StartedAt = "r1", "w1", &now
	case state.Terminal():
		j.Doc.FinishedAt = &now
	}
	return j
}

func TestMemoryLooksInTheStore(t *testing.T) {
	m := newMemory(storeOf(t, aJob("a", job.Pending)), func(*entry) {})
	ann, bob := "ann", "bob"
	for _, c := range []struct {
		why, id string
		owner   *string
		want    bool
	}{
		{"the store has it", "a", nil, true},
		{"nobody has it", "b", nil, false},
		{"it is ann's", "a", &ann, true},
		{"it is not bob's", "a", &bob, false},
	} {
		for _, kept := range []bool{false, true} {
			if kept {
				e, err := m.lookup(c.id)
				if err != nil {
					t.Fatal(err)
				}
				m.keep(e)
			}
			e, err := m.find(c.id, Scope{Tenant: tenant, Owner: c.owner})
			if err != nil || (e != nil) != c.want {
				t.Errorf("%s (in memory: %v): found %v, %v", c.why, kept, e, err)
			}
			delete(m.all, c.id)
		}
	}
	if len(m.all) != 0 {
		t.Errorf("looking has kept %d entries", len(m.all))
	}
}

func TestMemoryReleasesWhatTheStoreStandsFor(t *testing.T) {
	var left []*entry
	m := newMemory(storeOf(t), func(e *entry) { left = append(left, e) })
	m.loadedTo = time2000().UnixMilli() + 1
	for _, c := range []struct {
		why  string
		e    *entry
		kept bool
	}{
		{"it waits, and owes nothing soon", &entry{job: aJob("a", job.Pending)}, false},
		{"it has ended", &entry{job: aJob("a", job.Completed)}, false},
		{"it was removed", &entry{}, false},
		{"it has changed", &entry{job: aJob("a", job.Completed), dirty: true}, true},
		{"it is being written", &entry{job: aJob("a", job.Completed), flushing: true}, true},
		{"a run holds it", &entry{job: aJob("a", job.Processing)}, true},
		{"somebody waits for it", &entry{job: aJob("a", job.Pending), waits: []*ask{{}}}, true},
		{"it is being handed out", &entry{job: aJob("a", job.Retrying), paying: true}, true},
		{"its webhook is being queued", &entry{job: aJob("a", job.Completed), calling: true}, true},
	} {
		left = nil
		c.e.id = "a"
		m.keep(c.e)
		m.release(c.e)
		if (m.all["a"] != nil) != c.kept || (len(left) == 0) != c.kept {
			t.Errorf("%s: in memory %v, %d have left", c.why, m.all["a"] != nil, len(left))
		}
	}
	other := &entry{id: "a"}
	m.keep(other)
	m.release(&entry{id: "a"})
	if m.all["a"] != other {
		t.Error("an entry has dropped the one that is in its place")
	}
}

// time2000 is when a bubble's time begins.
func time2000() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }
