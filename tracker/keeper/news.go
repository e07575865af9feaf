package keeper

import (
	"sync"

	"github.com/ackwire/ackwire/internal/wake"
)

// news is what the shard says, for the keeper's goroutine to look at. The shard's goroutine waits for nothing here but
// for mu, which is held only to look into a map.
type news struct {
	wake wake.Signal

	mu       sync.Mutex          // guards all below; no other lock is taken under it
	interest map[string]struct{} // jobs of which the keeper wants to hear
	told     map[string]struct{} // those of them that have changed
}

func newNews() news {
	return news{wake: wake.New(), interest: map[string]struct{}{}, told: map[string]struct{}{}}
}

// tell notes that a job has changed, if the keeper wants to hear of it.
func (n *news) tell(id string) {
	n.mu.Lock()
	_, wanted := n.interest[id]
	if wanted {
		n.told[id] = struct{}{}
	}
	n.mu.Unlock()
	if wanted {
		n.wake.Send()
	}
}

// want begins to note changes of jobs.
func (n *news) want(ids ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, id := range ids {
		n.interest[id] = struct{}{}
	}
}

// forget ends want.
func (n *news) forget(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.interest, id)
	delete(n.told, id)
}

// take returns up to limit jobs that have changed.
func (n *news) take(limit int) (ids []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id := range n.told {
		if len(ids) == limit {
			n.wake.Send()
			break
		}
		ids = append(ids, id)
		delete(n.told, id)
	}
	return ids
}
