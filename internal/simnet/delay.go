package simnet

import (
	"context"
	"net"
	"time"
)

// Delay sets how long data is under way: from the host (out) and to it (in), on the connections that are made from now
// on. To connect takes both. The delays of the hosts at both ends of a connection add up. Bandwidth has no bound.
func (h *Host) Delay(out, in time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.out, h.in = out, in
}

func (h *Host) delays() (out, in time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.out, h.in
}

// connecting waits for as long as a host takes to connect to an address.
func (h *Host) connecting(ctx context.Context, address string) error {
	out, in := h.delays()
	h.net.mu.Lock()
	listens := h.net.ports[portOf(address)]
	h.net.mu.Unlock()
	if listens != nil {
		o, i := listens.delays()
		out, in = out+i, in+o
	}
	if out+in == 0 {
		return nil
	}
	timer := time.NewTimer(out + in)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// flying bounds the segments that are under way in one direction of a connection.
const flying = 1 << 12

// segment is data, or the end of a connection, that arrives at a time.
type segment struct {
	data []byte
	end  bool
	due  time.Time
}

// delayed returns a connection whose data reaches c after out, and which gets c's data after in.
func delayed(c net.Conn, out, in time.Duration) net.Conn {
	if out+in == 0 {
		return c
	}
	near, far := net.Pipe()
	relay(far, c, out)
	relay(c, far, in)
	return near
}

// relay writes to one connection what the other brings, after a delay, until either is closed; then it closes both.
func relay(from, to net.Conn, delay time.Duration) {
	under := make(chan segment, flying)
	go func() {
		defer close(under)
		buf := make([]byte, 64<<10)
		for {
			n, err := from.Read(buf)
			due := time.Now().Add(delay)
			if n > 0 {
				under <- segment{data: append([]byte(nil), buf[:n]...), due: due}
			}
			if err != nil {
				under <- segment{end: true, due: due}
				return
			}
		}
	}()
	go func() {
		broken := false
		for s := range under {
			if broken {
				continue
			}
			time.Sleep(time.Until(s.due))
			if !s.end {
				_, err := to.Write(s.data)
				broken = err != nil
			}
			if s.end || broken {
				_, _ = to.Close(), from.Close()
			}
		}
	}()
}
