package keeper

import (
	"fmt"
)

// job returns a job from memory, or else what the store has of it. k.mu is held.
func (k *Keeper) job(id string) (*jobState, error) {
	if j := k.jobs[id]; j != nil {
		k.used.MoveToFront(j.place)
		return j, nil
	}
	k.news.want(id)
	j := &jobState{id: id, endAt: -1, tails: map[string]*tail{}, waking: map[Waker]struct{}{}}
	value, closed, err := k.cfg.Store.Streams(id)
	if err != nil {
		return nil, err
	}
	if value != nil {
		if j.row, _, err = decodeRow(value); err != nil {
			return nil, fmt.Errorf("streams of job %s: %w", id, err)
		}
		j.closed = closed
	}
	if j.row.Streams == nil {
		j.row.Streams = map[string]*streamState{}
	}
	j.place = k.used.PushFront(j)
	k.jobs[id] = j
	return j, nil
}

// pinned reports whether a job must stay in memory.
func (j *jobState) pinned(k *Keeper) bool {
	_, isEnding := k.ending[j]
	return j.dirty || j.leaving || isEnding || j.holds > 0 || len(j.waking) > 0
}

// release removes a job from memory for which the store can stand, and of which nothing more is to be heard. k.mu is
// held.
func (k *Keeper) release(j *jobState) {
	if (j.closed || j.asked && !j.facts.Found) && !j.pinned(k) && k.jobs[j.id] == j {
		k.remove(j)
		k.news.forget(j.id)
	}
}

// shrink removes the jobs that were not used for the longest time. It hears of those whose row is open, all the same.
func (k *Keeper) shrink() {
	for looked := 0; len(k.jobs) > maxJobs && looked < MaxAsked; looked++ {
		j := k.used.Back().Value.(*jobState) //nolint:forcetypeassert // the list has only jobs
		if j.pinned(k) {
			k.used.MoveToFront(j.place)
			continue
		}
		k.remove(j)
		if len(j.row.Streams) == 0 {
			k.news.forget(j.id)
		}
	}
}

func (k *Keeper) remove(j *jobState) {
	k.dropTails(j)
	k.used.Remove(j.place)
	delete(k.jobs, j.id)
}

func (k *Keeper) dropTails(j *jobState) {
	for _, t := range j.tails {
		k.shared.tails.drop(t)
	}
	clear(j.tails)
}

// change notes that the store lacks something of a job.
func (k *Keeper) change(j *jobState) {
	j.dirty = true
	k.dirty[j] = struct{}{}
}

func (j *jobState) wake() {
	for w := range j.waking {
		w.Wake()
	}
}

// learn takes what the shard says of a job. k.mu is held.
func (k *Keeper) learn(j *jobState, f Facts) {
	was, first := j.facts, !j.asked
	if !first && f.AsOf < was.AsOf {
		return
	}
	j.facts, j.asked = f, true
	if !f.Found || f.Run != j.row.Run || f.Dispatch != j.row.Dispatch {
		k.beginRun(j)
	}
	switch {
	case !f.Ended:
		j.settled, j.endAt = false, -1
		delete(k.ending, j)
	case !j.settled && !j.closed:
		k.ending[j] = struct{}{}
		k.news.wake.Send()
	}
	k.held.resolve(j.id, func(r *heldRecord) bool {
		if k.weigh(j, r) == waits {
			return false
		}
		j.holds--
		return true
	})
	if first || f.Found != was.Found || f.Ended != was.Ended || f.Run != was.Run || f.Life != was.Life {
		j.wake()
	}
}

// beginRun forgets what a former run has written, or all if there is no such job any more.
func (k *Keeper) beginRun(j *jobState) {
	k.dropTails(j)
	if len(j.row.Streams) > 0 || j.closed {
		k.change(j)
	}
	j.row = row{Dispatch: j.facts.Dispatch, Run: j.facts.Run, Streams: map[string]*streamState{}}
	j.closed, j.settled, j.leaving = false, false, false
	j.whole, j.endAt = nil, -1
}

// watch has w be woken whenever there may be more to read of a job, until the returned function is called.
func (k *Keeper) watch(id string, w Waker) (stop func(), err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, ErrNotOwner
	}
	if k.watches >= maxWatches {
		return nil, ErrCrowded
	}
	j, err := k.job(id)
	if err != nil {
		return nil, err
	}
	if !j.asked {
		k.news.tell(id)
	}
	if _, has := j.waking[w]; has {
		return func() {}, nil
	}
	j.waking[w] = struct{}{}
	k.watches++
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if _, has := j.waking[w]; has {
			delete(j.waking, w)
			k.watches--
			k.release(j)
		}
	}, nil
}
