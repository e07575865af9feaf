package subjects

import "hash/maphash"

// How many jobs Told always remembers; it holds up to twice as many.
const (
	maxTold  = 1024 // while the socket watches all jobs of its subject
	maxEnded = 128  // before that; every socket may need these 24 bytes per job
)

// Told remembers the last version of each job that a socket was sent: several of its subscriptions may cover a job,
// but each version is sent only once. Before the socket watches all jobs of its subject, only jobs whose own watches
// have ended are entered, since each watch knows the version of its own job. Jobs are identified by a hash, and the
// oldest are forgotten. Its owner must guard it. The zero Told is empty.
type Told struct {
	now, before map[uint64]int64 // two generations: when now is full it becomes before
	follows     bool             // the socket watches all jobs of its subject
	lost        bool             // a version was forgotten
}

var toldSeed = maphash.MakeSeed()

// Follow raises the bound, for a socket that watches all jobs of its subject from now on.
func (t *Told) Follow() { t.follows = true }

// Complete reports whether no version was forgotten yet.
func (t *Told) Complete() bool { return !t.lost }

func (t *Told) bound() int {
	if t.follows {
		return maxTold
	}
	return maxEnded
}

// Last returns the last version of a job; 0 if it is not known.
func (t *Told) Last(jobID string) int64 {
	key := maphash.String(toldSeed, jobID)
	return max(t.now[key], t.before[key])
}

// News records a version and reports whether it is above the last one.
func (t *Told) News(jobID string, version int64) bool {
	if version <= t.Last(jobID) {
		return false
	}
	if len(t.now) >= t.bound() {
		t.lost = t.lost || len(t.before) > 0
		t.before, t.now = t.now, nil
	}
	if t.now == nil {
		t.now = map[uint64]int64{}
	}
	t.now[maphash.String(toldSeed, jobID)] = version
	return true
}

// Forget removes a job, so that any version of it is news.
func (t *Told) Forget(jobID string) {
	key := maphash.String(toldSeed, jobID)
	delete(t.now, key)
	delete(t.before, key)
}
