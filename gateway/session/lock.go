package session

import (
	"sync/atomic"

	"github.com/ackwire/ackwire/internal/wake"
)

// lock is a mutex for testing/synctest bubbles: while a goroutine waits for it the bubble's clock goes on, which it
// does not for a sync.Mutex. It is held during writes, which may block. Without contention it costs two atomic
// operations, less than a channel.
type lock struct {
	state atomic.Int32
	wake  wake.Signal // wakes one waiting goroutine
}

const (
	free    = iota
	held    // no goroutine waits
	awaited // held, and goroutines may wait
)

func newLock() lock { return lock{wake: wake.New()} }

func (l *lock) try() bool { return l.state.CompareAndSwap(free, held) }

func (l *lock) lock() {
	if l.try() {
		return
	}
	// A goroutine that has waited leaves the state at awaited, since others may still wait.
	for l.state.Swap(awaited) != free {
		<-l.wake
	}
}

func (l *lock) unlock() {
	if l.state.Swap(free) == awaited {
		l.wake.Send() // if a signal is pending already, its receiver will find the lock free
	}
}
