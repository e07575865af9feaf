package external

import "sync"

// budget bounds the bytes of bodies that are held in memory.
type budget struct {
	max int64

	mu   sync.Mutex // guards used; no other lock is taken under it
	used int64
}

// take takes n bytes. It returns false, and takes nothing, if they are not left.
func (b *budget) take(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > b.max-b.used {
		return false
	}
	b.used += n
	return true
}

// give gives n bytes back.
func (b *budget) give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
}
