package store

import (
	"encoding/json"
	"fmt"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// Waiting returns the IDs of up to limit jobs that wait for a worker and whose request's position fits. It
// reads every job that waits, which is too slow for a shard's goroutine.
func (p *Partition) Waiting(limit int, fits func(event.Position) bool) (ids []string, err error) {
	tuples, err := p.tuples(job.Pending, job.Queued)
	if err != nil {
		return nil, err
	}
	for _, tuple := range tuples {
		from := append(p.key(kindState), tuple...)
		err := p.s.scan(p.s.db, from, after(from), func(key, _ []byte) (bool, error) {
			id := string(key[len(from)+8:])
			fits, err := p.requestFits(id, fits)
			if err != nil {
				return false, err
			}
			if fits {
				ids = append(ids, id)
			}
			return len(ids) < limit, nil
		})
		if err != nil || len(ids) == limit {
			return ids, err
		}
	}
	return ids, nil
}

// tuples returns the prefixes, in the index of states, of all jobs in one of the states.
func (p *Partition) tuples(states ...job.State) (all [][]byte, err error) {
	start := len(p.prefix) + 1
	err = p.s.scan(p.s.db, p.key(kindCount), p.key(kindCount+1), func(key, _ []byte) (bool, error) {
		rest := key[start:]
		var text string
		for range 4 { // tenant, type, lane, state
			var err error
			if text, rest, err = cutText(rest); err != nil {
				return false, err
			}
		}
		for _, s := range states {
			if text == string(s) {
				all = append(all, append([]byte(nil), key[start:]...))
			}
		}
		return true, nil
	})
	return all, err
}

func (p *Partition) requestFits(id string, fits func(event.Position) bool) (bool, error) {
	value, err := p.s.value(p.s.db, p.rowKey(id))
	if err != nil || value == nil {
		return false, err
	}
	row, err := decodeRow(id, value)
	if err != nil {
		return false, err
	}
	var inner struct {
		Request *event.Position `json:"request"`
	}
	if err := json.Unmarshal(row.Inner, &inner); err != nil {
		return false, fmt.Errorf("decode job %s: %w", id, err)
	}
	return inner.Request != nil && fits(*inner.Request), nil
}
