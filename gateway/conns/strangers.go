package conns

import (
	"container/list"
	"net"
	"net/netip"
	"sync"

	"github.com/ackwire/ackwire/gateway/limits"
)

// strangers holds the connections and sockets whose client has not authenticated yet, the oldest first. When there are
// too many the oldest is closed, so that clients that never authenticate do not keep out those that do so at once.
type strangers struct {
	most       int
	perAddress int // 0 for no bound
	turned     func(limits.Bound)

	mu    sync.Mutex // guards the fields below; no connection is closed under it
	order list.List  // of *Stranger
	from  map[string]int
}

// Stranger is one such connection or socket, until it leaves.
type Stranger struct {
	from  string // "" for addresses of this machine, such as load balancers and tests
	close func()
	place *list.Element // nil once it has left
}

func newStrangers(most, perAddress int, turned func(limits.Bound)) *strangers {
	return &strangers{most: most, perAddress: perAddress, turned: turned, from: map[string]int{}}
}

// enter adds a stranger, until leave. It returns nil if there are too many of the same address. hangUp closes the
// connection, and may be called from any goroutine.
func (s *strangers) enter(addr net.Addr, hangUp func()) *Stranger {
	x := &Stranger{from: origin(addr), close: hangUp}
	s.mu.Lock()
	if x.from != "" && s.perAddress > 0 && s.from[x.from] >= s.perAddress {
		s.mu.Unlock()
		s.turned(limits.AddressStrangers)
		return nil
	}
	x.place = s.order.PushBack(x)
	s.from[x.from]++
	over := s.order.Len() > s.most
	s.mu.Unlock()
	if over {
		s.turned(limits.Strangers)
		s.evict()
	}
	return x
}

// leave removes a stranger. It does nothing if x is nil or has left already.
func (s *strangers) leave(x *Stranger) {
	if x == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(x)
}

// remove is called with s.mu held.
func (s *strangers) remove(x *Stranger) {
	if x.place == nil {
		return
	}
	s.order.Remove(x.place)
	x.place = nil
	s.from[x.from]--
	if s.from[x.from] <= 0 {
		delete(s.from, x.from)
	}
}

// evict closes the oldest stranger. It reports false if there is none.
func (s *strangers) evict() bool {
	s.mu.Lock()
	front := s.order.Front()
	if front == nil {
		s.mu.Unlock()
		return false
	}
	x := front.Value.(*Stranger)
	s.remove(x)
	s.mu.Unlock()
	x.close()
	return true
}

// size returns the number of strangers.
func (s *strangers) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.order.Len()
}

// origin returns the key under which an address is counted: the address in IPv4, and the /64 in IPv6, since an IPv6
// client has at least that many addresses.
func origin(addr net.Addr) string {
	if addr == nil {
		return ""
	}
	host, _, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	ip = ip.Unmap()
	if ip.IsLoopback() {
		return ""
	}
	if ip.Is6() {
		if p, err := ip.WithZone("").Prefix(64); err == nil {
			return p.String()
		}
	}
	return ip.String()
}
