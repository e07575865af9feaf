package gateway

import (
	"context"
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

func (g *Gateway) beginDrain() { g.drainOnce.Do(func() { close(g.drain) }) }

// untilDrain returns a context that ends with ctx, after d, or when the drain begins.
func (g *Gateway) untilDrain(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, d)
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-g.drain:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		cancel()
		watching.Wait()
	}
}

// closeSessions drains the sockets: it sends goaway, waits until each has nothing in flight, and closes them in
// batches.
func (g *Gateway) closeSessions() {
	g.mu.Lock()
	g.closed = true
	open := make([]*session.Session, 0, len(g.open))
	for s := range g.open {
		open = append(open, s)
	}
	g.mu.Unlock()
	for _, s := range open {
		s.Goaway("restart", time.Duration(rand.Int64N(int64(maxReconnectAfter))))
	}
	// Frames that clients send before they have read the goaway are still answered.
	time.Sleep(lastWords)
	deadline := time.Now().Add(g.cfg.SubmitTimeout + settleMore)
	for rest := open; len(rest) > 0; time.Sleep(closePause) {
		closing := 0
		rest = slices.DeleteFunc(slices.Clone(rest), func(s *session.Session) bool {
			if closing == closeBatch || !s.Settled() && time.Now().Before(deadline) {
				return false
			}
			closing++
			s.Close(code.CloseServiceRestart)
			return true
		})
	}
	done := make(chan struct{})
	go func() {
		g.served.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(closeTimeout):
		for _, s := range open {
			s.Kill()
		}
		<-done
	}
	if len(open) > 0 {
		g.log.Info("sessions drained", "sessions", len(open))
	}
}
