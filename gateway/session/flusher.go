package session

import (
	"runtime"
	"sync"
)

// flushTurns is how many writes a session may make before the next session's turn.
const flushTurns = 4

// keptQueue is the largest capacity of an empty queue that is kept.
const keptQueue = 1024

// flusher writes the outboxes of all sessions from a few goroutines, one per CPU. Without it a status for a thousand
// sessions would start a thousand goroutines. Its writes never block: a session whose client does not read everything
// at once gets a goroutine of its own. While there is nothing to write there are no goroutines.
type flusher struct {
	mu      sync.Mutex // guards the fields below; no other lock is taken under it
	queue   []*Session // has a session at most once, since an outbox starts only one flush
	head    int        // index of the first waiting session in queue
	running int        // number of goroutines
}

var maxFlushers = runtime.GOMAXPROCS(0)

func (f *flusher) add(s *Session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.queue) == cap(f.queue) && f.head > len(f.queue)/2 { // move the rest to the front instead of growing
		n := copy(f.queue, f.queue[f.head:])
		clear(f.queue[n:])
		f.queue, f.head = f.queue[:n], 0
	}
	f.queue = append(f.queue, s)
	if f.running < maxFlushers {
		f.running++
		go f.run()
	}
}

func (f *flusher) run() {
	for s := f.next(); s != nil; s = f.next() {
		s.flush()
	}
}

// next returns the next session, or nil if there is none: then the calling goroutine ends.
func (f *flusher) next() *Session {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.head == len(f.queue) {
		f.running--
		f.queue, f.head = f.queue[:0], 0
		if cap(f.queue) > keptQueue {
			f.queue = nil
		}
		return nil
	}
	s := f.queue[f.head]
	f.queue[f.head] = nil
	f.head++
	return s
}
