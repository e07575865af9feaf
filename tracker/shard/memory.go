package shard

import (
	"github.com/ackwire/ackwire/tracker/store"
)

// memory is the jobs that a shard has in memory: those that changed since the last checkpoint, are watched or asked
// for, are held by a run, or soon owe something. The store has all others. Owned by the shard's goroutine.
type memory struct {
	store *store.Partition
	all   map[string]*entry // by job ID
	// loadedTo is a time by the log's clock, in Unix milliseconds: each job that owes something before it is in memory.
	loadedTo int64
	leaving  func(*entry) // is called with an entry before it leaves
}

func newMemory(p *store.Partition, leaving func(*entry)) memory {
	return memory{store: p, all: map[string]*entry{}, leaving: leaving}
}

// lookup returns the job's entry, from memory or the store. An entry that was not in memory is not kept.
func (m *memory) lookup(id string) (*entry, error) {
	if e := m.all[id]; e != nil {
		return e, nil
	}
	stored, err := m.store.Get(id)
	if err != nil {
		return nil, err
	}
	return storedEntry(id, stored), nil
}

// find returns the job's entry as lookup does, or nil if there is no such job in the scope. It does not read the
// document of a job outside the scope.
func (m *memory) find(id string, scope Scope) (*entry, error) {
	if m.all[id] == nil {
		stored, err := m.store.Find(id, scope.owners(), func(of *store.Meta) bool {
			return scope.has(id, of.Tenant, of.Subject, of.Type)
		})
		if err != nil || stored == nil {
			return nil, err
		}
		return storedEntry(id, stored), nil
	}
	if e := m.all[id]; scope.finds(e.job) {
		return e, nil
	}
	return nil, nil
}

// keep puts an entry into memory that changed, is watched or will owe something.
func (m *memory) keep(e *entry) { m.all[e.id] = e }

// release drops an entry that the store can stand for, unless another has its place by now.
func (m *memory) release(e *entry) {
	if e.idle(m.loadedTo) && m.all[e.id] == e {
		m.leaving(e)
		delete(m.all, e.id)
	}
}
