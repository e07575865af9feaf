package mine

import "hash/maphash"

// Bounds of the jobs that Told is sure to remember: it keeps twice as many at most.
const (
	maxTold  = 1024 // while the socket follows all jobs of its subject
	maxEnded = 128  // before: a socket that never will pays for these, 24 bytes each
)

// Told is the version of each job that a socket was sent last: several of its subscriptions may
// cover a job, and each version is sent once. Before the socket follows all jobs of its subject,
// only the jobs count whose watches have ended, for each watch knows of its own job. Jobs are known
// by a hash, the oldest are forgotten. Its owner guards it. The zero Told is empty.
type Told struct {
	now, before map[uint64]int64
	follows     bool // all jobs of the subject
	lost        bool // something was forgotten
}

var toldSeed = maphash.MakeSeed()

// Follow raises the bound for a socket that follows all jobs of its subject from now on.
func (t *Told) Follow() { t.follows = true }

// Complete reports whether nothing was forgotten yet.
func (t *Told) Complete() bool { return !t.lost }

func (t *Told) bound() int {
	if t.follows {
		return maxTold
	}
	return maxEnded
}

// Last is the version that was told last; 0 when it is not known.
func (t *Told) Last(jobID string) int64 {
	key := maphash.String(toldSeed, jobID)
	return max(t.now[key], t.before[key])
}

// News notes a version, and reports whether it is above the last one.
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

// Forget makes any version of the job news.
func (t *Told) Forget(jobID string) {
	key := maphash.String(toldSeed, jobID)
	delete(t.now, key)
	delete(t.before, key)
}
