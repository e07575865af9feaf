package mine

import "hash/maphash"

// maxTold bounds the jobs of which a socket that follows all of its subject's jobs is sure to
// remember what it was sent: twice as many at most.
const maxTold = 1024

// Told is the version of each job that was put into the outbox of such a socket last: several of
// its subscriptions may cover a job, and each version is sent once. Jobs are known by a hash, the
// oldest are forgotten. Its owner guards it.
type Told struct{ now, before map[uint64]int64 }

var toldSeed = maphash.MakeSeed()

// Last is the version that was told last; 0 when it is not known. A nil Told knows nothing.
func (t *Told) Last(jobID string) int64 {
	if t == nil {
		return 0
	}
	key := maphash.String(toldSeed, jobID)
	return max(t.now[key], t.before[key])
}

// News notes a version, and reports whether it is above the last one.
func (t *Told) News(jobID string, version int64) bool {
	if version <= t.Last(jobID) {
		return false
	}
	if len(t.now) >= maxTold {
		t.before, t.now = t.now, nil
	}
	if t.now == nil {
		t.now = map[uint64]int64{}
	}
	t.now[maphash.String(toldSeed, jobID)] = version
	return true
}

// Forget makes any version of the job news.
func (t *Told) Forget(jobID string) {
	if t != nil {
		key := maphash.String(toldSeed, jobID)
		delete(t.now, key)
		delete(t.before, key)
	}
}
