package session

import (
	"sync/atomic"

	"github.com/ackwire/ackwire/internal/wake"
)

// lock is a mutex that may be waited for in a simulation, whose clock stands still while a
// sync.Mutex is: a write to a client that does not read takes its time. Nobody waiting, it costs
// two atomic operations, and not a channel's two.
type lock struct {
	state atomic.Int32
	wake  wake.Signal // one of those who wait may look again
}

const (
	free    = iota
	held    // and nobody waits
	awaited // held, and somebody may wait
)

func newLock() lock { return lock{wake: wake.New()} }

func (l *lock) try() bool { return l.state.CompareAndSwap(free, held) }

func (l *lock) lock() {
	if l.try() {
		return
	}
	// One that has waited says so when it has the lock, too: others may wait.
	for l.state.Swap(awaited) != free {
		<-l.wake
	}
}

func (l *lock) unlock() {
	if l.state.Swap(free) == awaited {
		l.wake.Send() // where one was sent already, the woken goroutine finds the lock free
	}
}
