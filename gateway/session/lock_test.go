package session

import (
	"sync"
	"testing"
	"time"

	"github.com/ackwire/ackwire/internal/bubble"
)

// Only one goroutine holds the lock at a time, and none waits for ever.
func TestALockIsHeldByOne(t *testing.T) {
	const workers, turns = 8, 5_000
	l, n := newLock(), 0 // the race detector would see two holders
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() {
			for turn := range turns {
				if (i+turn)%3 == 0 {
					if !l.try() {
						l.lock()
					}
				} else {
					l.lock()
				}
				n++
				l.unlock()
			}
		})
	}
	all.Wait()
	if n != workers*turns || !l.try() || l.try() {
		t.Errorf("%d turns", n)
	}
}

// The clock of a bubble goes on while goroutines wait for the lock, and each gets its turn.
func TestALockIsWaitedForInASimulation(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		l := newLock()
		l.lock()
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				l.lock()
				time.Sleep(time.Second)
				l.unlock()
			})
		}
		began := time.Now()
		time.Sleep(time.Hour)
		l.unlock()
		all.Wait()
		if took := time.Since(began); took != time.Hour+5*time.Second {
			t.Errorf("took %s", took)
		}
	})
}
