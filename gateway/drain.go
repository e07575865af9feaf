package gateway

import (
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/ackwire/ackwire/gateway/session"
	"github.com/ackwire/ackwire/schemas/code"
)

// Bounds of the drain.
const (
	maxReconnectAfter = 2 * time.Second        // goaway's delay is jittered up to here
	settleMore        = 2 * time.Second        // wait for submits and unwritten frames, on top of SubmitTimeout
	lastWords         = 500 * time.Millisecond // from goaway to the first close
	closeBatch        = 500                    // sessions closed at once while draining
	closePause        = 20 * time.Millisecond
	closeTimeout      = 3 * time.Second
)

// drainOnClose begins the drain when the server closes its listener, which is the first
// thing that the server does when its context ends.
type drainOnClose struct {
	net.Listener
	drain func()
}

// Close implements net.Listener.
func (d *drainOnClose) Close() error {
	d.drain()
	return d.Listener.Close()
}

// end is the end of a gateway, in two steps: it is told to stop, and then it drains.
type end struct {
	leaving chan struct{} // closed when the gateway is told to stop
	drain   chan struct{} // closed when the drain begins
	once    sync.Once
}

func newEnd() *end { return &end{leaving: make(chan struct{}), drain: make(chan struct{})} }

func (e *end) beginDrain() { e.once.Do(func() { close(e.drain) }) }

// begun reports whether the gateway was told to stop, or drains.
func (e *end) begun() bool {
	select {
	case <-e.leaving:
		return true
	case <-e.drain:
		return true
	default:
		return false
	}
}

// drain closes the sockets: it sends goaway, waits until each has nothing in flight, for settle at most, and closes
// them in batches.
func (s *sessions) drain(settle time.Duration) {
	s.mu.Lock()
	s.closed = true
	open := make([]*session.Session, 0, len(s.open))
	for one := range s.open {
		open = append(open, one)
	}
	s.mu.Unlock()
	for _, one := range open {
		one.Goaway("restart", time.Duration(rand.Int64N(int64(maxReconnectAfter))))
	}
	// Frames that clients send before they have read the goaway are still answered.
	time.Sleep(lastWords)
	deadline := time.Now().Add(settle)
	for rest := open; len(rest) > 0; time.Sleep(closePause) {
		closing := 0
		rest = slices.DeleteFunc(slices.Clone(rest), func(one *session.Session) bool {
			if closing == closeBatch || !one.Settled() && time.Now().Before(deadline) {
				return false
			}
			closing++
			one.Close(code.CloseServiceRestart)
			return true
		})
	}
	done := make(chan struct{})
	go func() {
		s.served.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(closeTimeout):
		for _, one := range open {
			one.Kill()
		}
		<-done
	}
	if len(open) > 0 {
		s.cfg.Log.Info("sessions drained", "sessions", len(open))
	}
}
