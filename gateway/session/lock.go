package session

import "sync/atomic"

// lock is a mutex that may be waited for in a simulation, whose clock stands still while a
// sync.Mutex is: a write to a client that does not read takes its time. Nobody waiting, it costs
// two atomic operations, and not a channel's two.
type lock struct {
	state atomic.Int32
	wake  chan struct{} // capacity 1: one of those who wait may look again
}

const (
	free    = iota
	held    // and nobody waits
	awaited // held, and somebody may wait
)

func newLock() lock { return lock{wake: make(chan struct{}, 1)} }

func (l *lock) try() bool { return l.state.CompareAndSwap(free, held) }

func (l *lock) lock() {
	if l.try() {
		return
	}
	// Whoever waited says so when it has the lock, too: there may be others.
	for l.state.Swap(awaited) != free {
		<-l.wake
	}
}

func (l *lock) unlock() {
	if l.state.Swap(free) == awaited {
		select {
		case l.wake <- struct{}{}:
		default: // somebody is woken already, and finds it free
		}
	}
}
