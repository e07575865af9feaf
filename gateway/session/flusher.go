package session

import (
	"runtime"
	"sync"
)

// flushTurns is how many writes of one session follow each other before others have their turn.
const flushTurns = 4

// keptQueue is how long a queue's memory is kept when nobody waits.
const keptQueue = 1024

// flusher writes what sessions have to say from a few goroutines, however many sessions have
// something: a job that a thousand watch would else start a thousand. They never wait for a
// client: one that does not take all at once gets a goroutine of its own. While nothing is to be
// written there is none.
type flusher struct {
	mu      sync.Mutex // guards all below; no other lock is taken under it
	queue   []*Session // a session is in it at most once, as its outbox starts one flush
	head    int        // of those who wait, in the queue
	running int
}

var maxFlushers = runtime.GOMAXPROCS(0)

func (f *flusher) add(s *Session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.queue) == cap(f.queue) && f.head > len(f.queue)/2 { // rather than to grow
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

// next takes the next session, or ends a flusher's run.
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
