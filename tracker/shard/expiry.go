package shard

import (
	"fmt"
	"time"

	"github.com/ackwire/ackwire/tracker/fold"
	"github.com/ackwire/ackwire/tracker/store"
)

// expiryBatch is how many jobs are found expired at a time.
const expiryBatch = 1000

// expiredRearm is after how long an expired that was appended and not folded is appended
// again.
const expiredRearm = 30 * time.Second

// expire appends expired for jobs whose retention is over.
func (d *debts) expire(now time.Time) error {
	for id, at := range d.expiring {
		if now.Sub(at) > expiredRearm {
			delete(d.expiring, id)
		}
	}
	if len(d.expiring) >= expiryBatch {
		return nil
	}
	over := now.Add(-d.clock.ahead.by)
	if over.UnixMilli() < d.nextExpiry {
		return nil
	}
	ids, err := d.jobs.store.Expired(over.UnixMilli(), expiryBatch)
	if err == nil && len(ids) == 0 {
		d.nextExpiry, err = d.jobs.store.NextExpiry()
	}
	if err != nil {
		return fmt.Errorf("look for expired jobs: %w", err)
	}
	for _, id := range ids {
		if _, asked := d.expiring[id]; asked {
			continue
		}
		e, err := d.jobs.lookup(id)
		if err != nil {
			return err
		}
		j := e.folded()
		if j == nil || !j.Ended() || fold.NextDebt(j, now).At.After(over) {
			continue // it was retried or removed, and the store does not know yet
		}
		d.expiring[id] = now
		d.sender.append(fold.DebtEvent(j, fold.Expiry), nil)
	}
	return nil
}

// saved notes what the store has of a job by now: it may be the next that expires.
func (d *debts) saved(s *store.Saved) {
	if s != nil && s.Ended() && s.Due != 0 {
		d.nextExpiry = min(d.nextExpiry, s.Due)
	}
}
