// Package bubble runs tests in a bubble of testing/synctest, where time is virtual.
//
// With the race detector a bubble gets one processor. The Go runtime runs the timers of a bubble in one context of
// the detector, which belongs to the bubble: two threads that run timers of the same bubble at once corrupt it, and
// the process ends with SIGSEGV or "ThreadSanitizer: CHECK failed" (golang/go#78156; Go 1.26.8 still does it). A
// goroutine that looks at a channel of a due timer runs that timer itself, so that a large bubble gets there sooner or
// later. The detector judges by what happens before what, not by what happens at once, and finds the same races on one
// processor.
package bubble

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
)

// Test is synctest.Test, for use with the race detector, too. Tests that run in parallel with it have one processor
// as long as it runs.
func Test(t *testing.T, f func(*testing.T)) {
	t.Helper()
	if raceDetector {
		enter()
		defer leave()
	}
	synctest.Test(t, f)
}

var bubbles struct {
	mu         sync.Mutex
	running    int
	processors int // how many there were before the first bubble
}

func enter() {
	bubbles.mu.Lock()
	defer bubbles.mu.Unlock()
	bubbles.running++
	if bubbles.running == 1 {
		bubbles.processors = runtime.GOMAXPROCS(1)
	}
}

func leave() {
	bubbles.mu.Lock()
	defer bubbles.mu.Unlock()
	bubbles.running--
	if bubbles.running == 0 {
		runtime.GOMAXPROCS(bubbles.processors)
	}
}
