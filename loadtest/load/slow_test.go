package load

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/ackwire/ackwire/internal/bubble"
)

// A slow client reads so many bytes a second, until it wakes.
func TestASlowConnectionReadsSoMuchASecond(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		awake := make(chan struct{})
		c := newSlowConn(near, 200, awake)
		go func() { _, _ = far.Write(make([]byte, 1100)) }()
		read := func(n int) time.Duration {
			began := time.Now()
			if _, err := io.ReadFull(c, make([]byte, n)); err != nil {
				t.Fatal(err)
			}
			return time.Since(began)
		}
		if took := read(100); took != 0 {
			t.Errorf("before it is throttled 100 bytes take %v", took)
		}
		c.throttle()
		if took := read(600); took != 3*time.Second {
			t.Errorf("600 bytes at 200 a second take %v", took)
		}
		time.AfterFunc(time.Second, func() { close(awake) })
		if took := read(400); took != time.Second {
			t.Errorf("400 bytes of a client that wakes after a second take %v", took)
		}
		_ = far.Close()
		_ = c.Close()
	})
}

// Closing ends a read that waits.
func TestASlowConnectionCanBeClosed(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		c := newSlowConn(near, 1, make(chan struct{}))
		c.throttle()
		time.AfterFunc(10*time.Millisecond, func() { _ = c.Close() })
		began := time.Now()
		if _, err := c.Read(make([]byte, 1)); err == nil || time.Since(began) != 10*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}
